//! How many of the requests that were due were answered as expected, and why the others were not. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{LoadSummary, Reason, RequestSummary};
use crate::check::{Group, Kind, Outcome, Table, Verdict};
use crate::figures::{count, percent};
use crate::scenario::{Metric, Operator, Scenario};

/// What must hold, as the outcome says it.
pub const NAME: &str = "requests were answered";

/// The share of requests that may fail where no threshold limits the error rate of the whole load.
pub const ALLOWED: f64 = 0.01;

/// Rows of the table of reasons at the most.
const ROWS: usize = 20;

/// So many requests of one name failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The request's name.
    pub request: String,
    /// The reason.
    pub reason: Reason,
    /// How many did.
    pub count: u64,
}

/// Every failure by request name and reason: names in the order of the scenario, the most frequent reason first.
pub fn failures(summary: &LoadSummary) -> Vec<Failed> {
    let of_name = |(name, request): (&String, &RequestSummary)| {
        let failed = |(reason, count): (&Reason, &u64)| Failed {
            request: name.clone(),
            reason: *reason,
            count: *count,
        };
        let mut failures: Vec<Failed> = request.reasons.iter().map(failed).collect();
        failures.sort_by_key(|failed| std::cmp::Reverse(failed.count));
        failures
    };
    summary.requests.iter().flat_map(of_name).collect()
}

/// `79 refused, 3 timeout`, the most frequent first; empty where nothing failed.
fn in_short(total: &RequestSummary) -> String {
    let mut reasons: Vec<(&Reason, &u64)> = total.reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let told = |(reason, number): &(&Reason, &u64)| {
        format!("{} {}", count(**number), reason.name().replace('-', " "))
    };
    reasons.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// Failures as a table: request, reason, how many; what does not fit is summed up in the last row.
pub fn table(failures: &[Failed]) -> Option<Table> {
    if failures.is_empty() {
        return None;
    }
    let row =
        |failed: &Failed| vec![failed.request.clone(), failed.reason.words().into(), count(failed.count)];
    let mut rows: Vec<Vec<String>> = failures.iter().take(ROWS).map(row).collect();
    if failures.len() > ROWS {
        let rest: u64 = failures[ROWS..].iter().map(|failed| failed.count).sum();
        rows.push(vec![format!("… {} more", failures.len() - ROWS), String::new(), count(rest)]);
    }
    Some(Table { columns: ["errors", "reason", "requests"].map(String::from).to_vec(), rows })
}

/// Failures for machines: `{"list": {"refused": 79}}`.
pub fn for_machines(failures: &[Failed]) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for failed in failures {
        all.entry(failed.request.clone()).or_default().insert(failed.reason.name(), failed.count);
    }
    all
}

/// Judges whether the requests that were due were answered as expected.
///
/// A load without one complete answer is `NoData`: it proves nothing. Where the scenario limits the error rate of the
/// whole load by a threshold, that is the limit; else more than [`ALLOWED`] is `Fail`. `None` where a worker was lost,
/// because nobody knows what it sent.
pub(super) fn judge(scenario: &Scenario, summary: &LoadSummary) -> Option<Outcome> {
    if !summary.lost.is_empty() {
        return None;
    }
    let total = &summary.total;
    let due = total.sent + total.not_sent;
    let answered: u64 = total.statuses.values().sum();
    let failures = failures(summary);
    let share = total.error_rate().unwrap_or_default();
    let limited = scenario.thresholds.iter().any(|threshold| {
        threshold.metric == Metric::ErrorRate
            && threshold.request.is_none()
            && threshold.phase.is_none()
            && matches!(threshold.operator, Operator::Less | Operator::AtMost)
    });
    let verdict = match () {
        () if answered == 0 => Verdict::NoData,
        () if share <= ALLOWED => Verdict::Pass,
        // The generator's own verdict says so; the threshold may be skipped as well.
        () if summary.overload.is_some() => Verdict::Skipped,
        () if limited => Verdict::Pass,
        () => Verdict::Fail,
    };
    let good = answered.saturating_sub(total.unexpected);
    let mut message = format!("{} of {}", count(good), count(due));
    if !failures.is_empty() {
        message += &format!(": {}", in_short(total));
    }
    let mut outcome = Outcome::new(Kind::Answered, Group::Load, NAME, verdict, message);
    match verdict {
        Verdict::NoData if due == 0 => outcome.notes.push("No request was due.".into()),
        Verdict::NoData => {
            outcome.notes.push("No request was answered: this load proves nothing about the service.".into());
        }
        Verdict::Fail => outcome.notes.push(format!(
            "{} of all requests failed; without a threshold on the error rate, up to {} may.",
            percent(share),
            percent(ALLOWED)
        )),
        Verdict::Pass | Verdict::Skipped => {}
    }
    outcome.table = table(&failures).filter(|_| verdict != Verdict::Pass);
    outcome.evidence = evidence(due, answered, total.unexpected, &failures);
    Some(outcome.hinted(match verdict {
        Verdict::NoData => "Does the service listen where the load goes? `sre status` tells.",
        _ => "Where so many may fail, say so: `thresholds: [\"error rate < 30%\"]`.",
    }))
}

fn evidence(due: u64, answered: u64, unexpected: u64, failures: &[Failed]) -> Value {
    json!({"due": due, "answered": answered, "unexpected": unexpected, "failures": for_machines(failures)})
}
