//! The verdict on log lines: pure, from what Loki has and what the client knows.
//!
//! A line that is missing is lost for certain only where a later line of the same replica has come: until then it may
//! be on its way, or whatever ships lines may stand still. What hides lines makes a shortfall `no-data`, never `fail`,
//! and never a pass.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;

use super::comparison::Comparison;
use crate::check::{Group, Kind, Outcome, Table, Verdict};
use crate::figures::{count, duration, plural};
use crate::load::NotedRequest;

/// Lines of one replica come in the order in which it wrote them, but for the batches that are on their way at once.
const SLACK: f64 = 1.0;

/// Ids that are named as evidence.
const NAMED: usize = 20;

/// Rows of a table at the most.
const ROWS: usize = 10;

/// All that the verdict rests on.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// What must hold, as a sentence.
    pub name: String,
    /// Requests against lines, as they were seen last.
    pub comparison: Comparison<'a>,
    /// Ids of requests that had no line when the bound was over.
    pub overdue: HashSet<String>,
    /// Seconds after the last answer within which lines must come.
    pub bound: f64,
    /// Seconds after the last answer at which lines were looked for first, and last.
    pub looked: (f64, f64),
    /// Names of the replicas.
    pub replicas: Vec<String>,
    /// How many replicas stand behind one address, where they do: a request does not tell then which one had it.
    pub behind_one: Option<usize>,
    /// What was found out around it.
    pub surroundings: Surroundings,
}

/// What may hide lines, asked for where lines are missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Surroundings {
    /// Replicas that did not run throughout, by their number, and what is known of it.
    pub interrupted: BTreeMap<usize, String>,
    /// Why it is not known whether they did.
    pub untold: Option<String>,
    /// Lines that the service says that it gave up, and the counter that says so.
    pub given_up: Option<(u64, String)>,
    /// What Loki has of the service at all, where it has no line of the run.
    pub silence: Option<String>,
}

/// Lines that are missing, by what is known of them.
#[derive(Debug, Default)]
struct Missing<'a> {
    /// Later lines of the same replica have come.
    lost: Vec<&'a NotedRequest>,
    /// Something hides them, by what it is.
    hidden: BTreeMap<String, u64>,
}

impl<'a> Case<'a> {
    /// The verdict.
    pub fn judge(&self) -> Outcome {
        let missing = self.missing();
        let late = self.late();
        let given_up = self.surroundings.given_up.as_ref().filter(|(lines, _)| *lines > 0);
        let proven = !missing.lost.is_empty() || (given_up.is_some() && !self.comparison.missing.is_empty());
        let verdict = match () {
            () if proven || late > 0 || self.comparison.is_wrong() => Verdict::Fail,
            () if !self.comparison.missing.is_empty() => Verdict::NoData,
            () => Verdict::Pass,
        };
        let mut outcome =
            Outcome::new(Kind::Logs, Group::Logs, self.name.clone(), verdict, self.message(verdict));
        outcome.notes = self.notes(&missing, late);
        if verdict != Verdict::Pass {
            outcome.table = self.table();
            outcome.hint = Some(Kind::Logs.hint(self.hint(verdict, &missing, late)));
        }
        outcome.evidence = self.evidence(&missing, late);
        outcome
    }

    fn message(&self, verdict: Verdict) -> String {
        let Comparison { due, unknown, unknown_found, .. } = &self.comparison;
        let (due, logged) = (due.len(), self.comparison.logged());
        match verdict {
            Verdict::Pass if *unknown == 0 => format!("{} = {}", figure(due), figure(logged)),
            Verdict::Pass => {
                format!("{} of {} to {}", figure(logged + unknown_found), figure(due), figure(due + unknown))
            }
            _ => format!("{} expected, {} logged", figure(due), figure(logged)),
        }
    }

    fn missing(&self) -> Missing<'a> {
        let mut missing = Missing::default();
        for request in &self.comparison.missing {
            match self.hides(request) {
                None => missing.lost.push(request),
                Some(reason) => *missing.hidden.entry(reason).or_default() += 1,
            }
        }
        missing
    }

    /// What may hide a line that is missing; `None` where it is certainly lost.
    fn hides(&self, request: &NotedRequest) -> Option<String> {
        let Surroundings { interrupted, untold, .. } = &self.surroundings;
        if let Some(why) = untold {
            return Some(format!("Whether every replica ran throughout is not known: {why}"));
        }
        let interruption = match self.behind_one {
            None => interrupted.get(&request.replica),
            Some(_) => interrupted.values().next(),
        };
        if let Some(what) = interruption {
            return Some(format!("{what}: what it had not written by then went with it"));
        }
        let newest = match self.behind_one {
            None => self.comparison.newest.get(&request.replica).copied(),
            // The missing line is of one of them: it is overtaken where each has a later one.
            Some(all) if self.comparison.newest_of_source.len() < all => None,
            Some(_) => self.comparison.newest_of_source.values().copied().reduce(f64::min),
        };
        match newest {
            Some(newest) if newest > request.end + SLACK => None,
            Some(newest) => Some(format!(
                "Nothing newer of {} has come than what it answered {} after the load's start: does the log collector run?",
                self.replica(request.replica),
                duration(newest)
            )),
            None => Some(match &self.surroundings.silence {
                Some(silence) => silence.clone(),
                None => format!("The log store has no such line of {} at all", self.replica(request.replica)),
            }),
        }
    }

    fn replica(&self, replica: usize) -> &str {
        match (self.behind_one, self.replicas.get(replica)) {
            (None, Some(name)) => name,
            _ => "the service",
        }
    }

    /// Lines that came after the bound.
    fn late(&self) -> usize {
        let missing: HashSet<&str> =
            self.comparison.missing.iter().map(|request| request.id.as_str()).collect();
        self.overdue.iter().filter(|id| !missing.contains(id.as_str())).count()
    }

    fn notes(&self, missing: &Missing<'_>, late: usize) -> Vec<String> {
        let Comparison { doubled, different, unexpected, .. } = &self.comparison;
        let mut notes = Vec::new();
        if let Some(first) = missing.lost.first() {
            notes.push(format!(
                "{} lost: {} after the last answer not there, though later lines of {} are. One is {}.",
                plural(missing.lost.len() as u64, "line is", "lines are"),
                duration(self.looked.1),
                self.replica(first.replica),
                first.id,
            ));
        }
        for (reason, lines) in &missing.hidden {
            notes.push(format!(
                "{} missing. {reason}{}",
                plural(*lines, "line is", "lines are"),
                stop(reason)
            ));
        }
        if let Some((lines, counter)) = self.surroundings.given_up.as_ref().filter(|(lines, _)| *lines > 0) {
            notes
                .push(format!("The service itself gave up {} ({counter}).", plural(*lines, "line", "lines")));
        }
        if late > 0 {
            notes.push(format!(
                "{} late: not there {} after the last answer, and there {} after it.",
                plural(late as u64, "line was", "lines were"),
                duration(self.bound),
                duration(self.looked.1)
            ));
        }
        let (same, other): (Vec<_>, Vec<_>) = doubled.iter().partition(|doubled| doubled.same);
        for (doubled, how) in [
            (same, "word for word: written once, shipped more than once"),
            (other, "in other words: the service wrote more than one line"),
        ] {
            if let Some(first) = doubled.first() {
                notes.push(format!(
                    "{} more than one line, {how}. One is {}, with {}.",
                    plural(doubled.len() as u64, "request has", "requests have"),
                    first.id,
                    plural(first.lines as u64, "line", "lines"),
                ));
            }
        }
        if let Some((request, told)) = different.first() {
            notes.push(format!(
                "{} another status than the answer had. One is {}: {} was answered, {} is logged.",
                plural(different.len() as u64, "line tells", "lines tell"),
                request.id,
                status(request.status),
                status(*told),
            ));
        }
        if let Some(first) = unexpected.first() {
            notes.push(format!(
                "{} of a request that was not answered so. One is {}, with status {}.",
                plural(unexpected.len() as u64, "line tells", "lines tell"),
                first.id,
                status(first.status),
            ));
        }
        if self.comparison.unknown > 0 {
            notes.push(format!(
                "{} ended without a complete answer: each may be logged or not.",
                plural(self.comparison.unknown as u64, "request", "requests")
            ));
        }
        if self.looked.0 > self.bound {
            notes.push(format!(
                "They were looked for {} after the last answer: whether they came within {} is not known.",
                duration(self.looked.0),
                duration(self.bound)
            ));
        }
        notes
    }

    fn hint(&self, verdict: Verdict, missing: &Missing<'_>, late: usize) -> &'static str {
        let Comparison { doubled, different, unexpected, .. } = &self.comparison;
        if verdict == Verdict::NoData {
            return "What hides the lines must be mended first: does the log collector run, and does it reach the log store?";
        }
        if !missing.lost.is_empty() {
            return "Is a line written on every path, also when the handler fails? Does the log collector drop lines, or \
                    begin at the end of a file?";
        }
        if doubled.iter().any(|doubled| doubled.same) {
            return "Do two log collectors ship the same lines, or did one begin anew?";
        }
        match late {
            0 if doubled.is_empty() && different.is_empty() && unexpected.is_empty() => {
                "The service writes more than its stdout takes, or stdout was closed."
            }
            0 => "The service must write one line a request, with the status that it answers.",
            _ => "The log collector lags. A longer `wait` would let it.",
        }
    }

    /// The kinds of requests whose lines are not as they should be.
    fn table(&self) -> Option<Table> {
        let mut rows: BTreeMap<(&str, Option<u16>), (u64, u64)> = BTreeMap::new();
        for request in &self.comparison.due {
            rows.entry((&request.request, request.status)).or_default().0 += 1;
        }
        for request in &self.comparison.missing {
            rows.entry((&request.request, request.status)).or_default().1 += 1;
        }
        rows.retain(|_, (_, missing)| *missing > 0);
        if rows.is_empty() {
            return None;
        }
        let cells = |((request, answered), (due, missing)): (&(&str, Option<u16>), &(u64, u64))| {
            vec![request.to_string(), status(*answered), count(*due), count(due - missing), count(*missing)]
        };
        let mut table = Table {
            columns: ["request", "status", "expected", "logged", "missing"].map(String::from).to_vec(),
            rows: rows.iter().take(ROWS).map(cells).collect(),
        };
        if rows.len() > ROWS {
            let mut more = vec![format!("… {} more", rows.len() - ROWS)];
            more.resize(table.columns.len(), String::new());
            table.rows.push(more);
        }
        Some(table)
    }

    fn evidence(&self, missing: &Missing<'_>, late: usize) -> serde_json::Value {
        let comparison = &self.comparison;
        let ids =
            |ids: &mut dyn Iterator<Item = &str>| ids.take(NAMED).map(str::to_owned).collect::<Vec<_>>();
        json!({
            "expected": comparison.due.len(), "logged": comparison.logged(), "lines": comparison.lines,
            "unknown": comparison.unknown, "unknown_logged": comparison.unknown_found,
            "missing": comparison.missing.len(), "lost": missing.lost.len(), "late": late,
            "doubled": comparison.doubled.len(), "different": comparison.different.len(),
            "unexpected": comparison.unexpected.len(),
            "given_up": self.surroundings.given_up.as_ref().map(|(lines, _)| lines),
            "hidden": missing.hidden,
            "bound": self.bound, "looked_first": self.looked.0, "looked_last": self.looked.1,
            "ids": {
                "missing": ids(&mut comparison.missing.iter().map(|request| request.id.as_str())),
                "doubled": ids(&mut comparison.doubled.iter().map(|doubled| doubled.id)),
                "different": ids(&mut comparison.different.iter().map(|(request, _)| request.id.as_str())),
                "unexpected": ids(&mut comparison.unexpected.iter().map(|line| line.id.as_str())),
            },
        })
    }
}

fn figure(number: usize) -> String {
    count(number as u64)
}

fn status(status: Option<u16>) -> String {
    status.map_or_else(|| "none".into(), |status| status.to_string())
}

/// The end of a sentence, where it has none.
fn stop(sentence: &str) -> &'static str {
    if sentence.ends_with(['?', '.']) { "" } else { "." }
}
