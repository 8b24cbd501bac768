//! What a verdict on counts tells: its outcomes, each with its figures, its evidence and what to do next. Pure.

use serde_json::json;

use super::NAME;
use super::history::display_labels;
use super::judge::{Case, Finding};
use super::lag;
use super::ledger::Key;
use super::reading::{Reading, Row, State};
use crate::check::{Group, Kind, Outcome, Table, Verdict};
use crate::figures::{clock, count, counted, duration, plural};

impl Case<'_> {
    /// The outcomes where sent and counted agree.
    pub(super) fn agree(&self, reading: &Reading) -> Vec<Outcome> {
        self.outcomes(reading, |_| Verdict::Pass, &[], None)
    }

    /// The outcomes where they differ, or where that cannot be told.
    pub(super) fn differ(&self, reading: &Reading, finding: Finding, rounds: usize) -> Vec<Outcome> {
        let mut notes = Vec::new();
        let no_data = !matches!(finding, Finding::Over | Finding::Short);
        let advice;
        let hint = match finding {
            Finding::Doubtful(reason) => {
                notes.push(format!("{reason}."));
                "What belongs to what must be clear first: Prometheus' scrape configuration, and `counter` in the stack file."
            }
            Finding::Unassigned(reason) => {
                notes.push(format!("{reason}."));
                "A series of the counter must have each label by which it is reconciled; `counter.except: {LABEL: [\"\"]}` leaves out those that count something else."
            }
            Finding::Mixed(reason) => {
                notes.push(format!("{reason}."));
                "Give each worker a port of its own, or have the client library add them up (Python: its multiprocess mode)."
            }
            Finding::Lag { why, behind } => {
                notes.push(format!("{why}."));
                advice = format!(
                    "Have it wait for them, before the load and after it: `reconcile: {{wait: {}}}`.",
                    lag::enough(behind)
                );
                advice.as_str()
            }
            Finding::NoData(reason) => {
                notes.push(format!("{reason}."));
                "What hides the counts must be mended first: `sre status`, or Prometheus' page of targets."
            }
            Finding::Replaced(reason) => {
                notes.push(format!("{reason}."));
                "A pod takes with it what nobody scraped. If nobody replaced it on purpose, its events tell why: kubectl get events."
            }
            Finding::Over => {
                notes.push("Prometheus counted more than was sent: somebody else was there, or requests are counted twice.".into());
                notes.extend(reading.unassigned.first().map(|series| format!("{}.", series.in_words())));
                "Is anybody else sending requests, such as health probes (`counter.except` leaves theirs out)? Is the counter raised twice on some path?"
            }
            Finding::Short => {
                notes.push(self.seen(rounds));
                "The service counts fewer requests than it answers. Is the counter raised on every path, also when the handler fails?"
            }
        };
        let judge = |state: State| match state {
            _ if no_data => Verdict::NoData,
            State::Agrees => Verdict::Pass,
            State::Short | State::Over => Verdict::Fail,
        };
        self.outcomes(reading, judge, &notes, Some(hint))
    }

    /// The evidence for a shortfall, in a sentence.
    fn seen(&self, rounds: usize) -> String {
        format!(
            "Every target was scraped after the last response; none restarted; {} within {} changed nothing.",
            counted(rounds.saturating_sub(1) as u64, "more scrape"),
            duration(self.deadline - self.ended),
        )
    }

    fn outcomes(
        &self,
        reading: &Reading,
        judge: impl Fn(State) -> Verdict,
        notes: &[String],
        hint: Option<&str>,
    ) -> Vec<Outcome> {
        let ledger = self.question.ledger;
        let (least, unknown, counted) = (ledger.answered(), ledger.unknown(), reading.counted());
        let sent = least + unknown;
        let total = reading.total;
        let mut all = Outcome::new(
            Kind::Reconcile,
            Group::Counts,
            NAME,
            judge(total),
            match (judge(total), unknown) {
                (Verdict::Pass, 0) => format!("{} = {}", count(sent), count(counted)),
                (Verdict::Pass, _) => {
                    format!("{} of {} to {}", count(counted), count(least), count(sent))
                }
                (Verdict::Fail, _) if total == State::Over => {
                    format!("{} sent, {} counted: counted more than was sent", count(sent), count(counted))
                }
                // What is gone was read for the last time before the end.
                (Verdict::NoData, _) if self.histories.iter().any(|history| history.gone) => {
                    format!("at least {} of {} counted", count(counted), count(sent))
                }
                _ => format!("{} sent, {} counted", count(sent), count(counted)),
            },
        );
        all.evidence = json!({
            "sent": sent, "answered": least, "unknown": unknown, "counted": counted,
            "tolerance": self.question.tolerance,
            "ended": self.ended, "deadline": self.deadline, "read": self.now,
            "rows": reading.rows.iter().map(|row| json!({
                "labels": row.key, "least": row.least, "most": row.most, "counted": row.counted,
            })).collect::<Vec<_>>(),
            "targets": self.histories.iter().zip(&reading.targets).map(|(history, target)| json!({
                "job": history.job(), "instance": history.instance(),
                "scrapes": history.scrapes.len(), "failed_scrapes": target.failed_scrapes,
                "restarts": target.restarts.iter().map(|gap| [gap.from, gap.to]).collect::<Vec<_>>(),
                "counted": target.rises.iter()
                    .filter(|rise| rise.labels.get("__name__") == Some(&self.question.counter.metric))
                    .map(|rise| rise.by).sum::<f64>(),
            })).collect::<Vec<_>>(),
            "duplicates": self.duplicates,
        });
        if unknown > 0 {
            all.notes.push(format!(
                "{} ended without a complete answer: the server may have counted each or not.",
                plural(unknown, "request", "requests")
            ));
        }
        for duplicate in &self.duplicates {
            all.notes.push(format!("{duplicate}: counted once."));
        }
        if judge(State::Agrees) == Verdict::Pass {
            for (target, gap) in reading.restarts() {
                all.notes.push(format!(
                    "{} was started again between {} and {}; the counts prove that nothing was lost.",
                    self.name(&self.histories[target]),
                    clock(gap.from),
                    clock(gap.to)
                ));
            }
        }
        if judge(State::Agrees) == Verdict::Pass && total == State::Agrees {
            for history in self.histories.iter().filter(|history| history.gone) {
                let replacement = self.replacement(history);
                all.notes.push(format!("{replacement}; the counts prove that nothing was lost."));
            }
        }
        let mut outcomes = vec![all, self.by_labels_outcome(reading, &judge)];
        let mut metrics: Vec<&str> = ledger.raised.iter().map(|raised| metric_of(&raised.series)).collect();
        metrics.dedup();
        for metric in metrics {
            let rows: Vec<Row> = reading
                .raised
                .iter()
                .filter(|row| metric_of(&row.key["series"]) == metric)
                .cloned()
                .collect();
            outcomes.push(self.rows_outcome(&format!("{metric} is raised as named"), &rows, &judge));
        }
        // What is wrong is told once, where it is first seen.
        if let Some(first) = outcomes.iter_mut().find(|outcome| outcome.verdict != Verdict::Pass) {
            first.notes.splice(0..0, notes.iter().cloned());
            if first.table.is_none() && first.name == NAME {
                first.table = difference_table(&reading.rows);
            }
            first.hint = hint.map(|hint| Kind::Reconcile.hint(hint)).or(first.hint.take());
        }
        outcomes
    }

    /// `by endpoint, method and status`.
    fn by_labels(&self) -> String {
        let counter = self.question.counter;
        let told: Vec<&str> =
            [(&counter.path, "endpoint"), (&counter.method, "method"), (&counter.status, "status")]
                .into_iter()
                .filter_map(|(label, name)| label.as_ref().map(|_| name))
                .collect();
        match told.split_last() {
            None => "by series".into(),
            Some((last, [])) => format!("by {last}"),
            Some((last, rest)) => format!("by {} and {last}", rest.join(", ")),
        }
    }

    /// The request counter, row by row. Requests of which none was answered completely agree with any count.
    fn by_labels_outcome(&self, reading: &Reading, judge: &impl Fn(State) -> Verdict) -> Outcome {
        let mut outcome = self.rows_outcome(&self.by_labels(), &reading.rows, judge);
        if outcome.verdict == Verdict::Pass && !reading.unproven.is_empty() {
            outcome.verdict = Verdict::NoData;
            let told = |(key, unknown): &(Key, u64)| {
                let labels = display_labels(key, &[]);
                format!(
                    "No request of {labels} got a complete answer: any count up to {} agrees.",
                    count(*unknown)
                )
            };
            outcome.notes.extend(reading.unproven.iter().take(10).map(told));
            outcome.hint =
                Some(Kind::Reconcile.hint("Why were they not answered? The table of errors tells."));
        }
        outcome
    }

    fn rows_outcome(&self, name: &str, rows: &[Row], judge: &impl Fn(State) -> Verdict) -> Outcome {
        let worst = rows.iter().map(|row| row.state).max();
        // No row at all says nothing.
        let verdict = worst.map_or(Verdict::NoData, judge);
        let equal = rows.iter().filter(|row| row.state == State::Agrees).count();
        let message = format!("{} of {} equal", count(equal as u64), count(rows.len() as u64));
        let mut outcome = Outcome::new(Kind::Reconcile, Group::Counts, name, verdict, message);
        if verdict != Verdict::Pass {
            outcome.table = difference_table(rows);
        }
        outcome
    }
}

fn metric_of(series: &str) -> &str {
    series.split('{').next().unwrap_or(series).trim()
}

/// The rows that differ, ten at the most.
fn difference_table(rows: &[Row]) -> Option<Table> {
    let different: Vec<&Row> = rows.iter().filter(|row| row.state != State::Agrees).collect();
    let labels: Vec<&String> = different.first()?.key.keys().collect();
    let mut columns: Vec<String> = labels.iter().map(|label| (*label).clone()).collect();
    columns.extend(["sent", "counted", "difference"].map(String::from));
    let cells = |row: &&Row| {
        let mut cells: Vec<String> = labels.iter().map(|label| value(&row.key, label)).collect();
        let sent = match row.most {
            most if most == row.least => count(most),
            most => format!("{} to {}", count(row.least), count(most)),
        };
        let difference = match row.state {
            State::Over => format!("+{}", count(row.counted - row.most)),
            _ => format!("-{}", count(row.least.saturating_sub(row.counted))),
        };
        cells.extend([sent, count(row.counted), difference]);
        cells
    };
    let mut table = Table { columns, rows: different.iter().take(10).map(cells).collect() };
    if different.len() > 10 {
        let mut more = vec![format!("… {} more", different.len() - 10)];
        more.resize(table.columns.len(), String::new());
        table.rows.push(more);
    }
    Some(table)
}

fn value(key: &Key, label: &str) -> String {
    key.get(label).cloned().unwrap_or_default()
}
