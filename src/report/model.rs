//! The report of a run: one model, folded from its events, behind every format.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;

use super::fold;
use crate::check::{Outcome, Verdict};
use crate::error::{Error, Result};
use crate::figures::{count, plural};
use crate::load::{Latency, LoadSummary};
use crate::run::{Event, LoadPlan, RunFolder};
use crate::target::TargetKind;

/// The version of the report's shape, in its first key.
pub const SCHEMA: &str = "sre.run/v1";

/// The report of a run; serialised, it is what scripts rely on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// The stack's name.
    pub stack: String,
    /// Where it ran.
    pub target: TargetKind,
    /// The verdict on the system; never `pass` for a run that did not come to its end.
    pub verdict: RunVerdict,
    /// The exit code that the run ends with.
    pub exit: u8,
    /// How far the run came.
    pub state: State,
    /// Why it did not come to its end, where it could tell.
    pub error: Option<String>,
    /// Requests, by the client and by the server.
    pub requests: Requests,
    /// Requests that were not answered as expected, by request name and reason: `{"list": {"refused": 79}}`.
    pub failures: BTreeMap<String, BTreeMap<String, u64>>,
    /// Times from when requests were due to their complete answers; `null` without an answer.
    pub latency_ms: LatencyMs,
    /// What the checks found.
    pub checks: Vec<Outcome>,
    /// What else a reader must know: a damaged log, a load that ended early.
    pub notes: Vec<String>,
    /// When it started, on the client's clock.
    pub started: Timestamp,
    /// Seconds from its start to its verdict, or to the last thing that is known of it.
    pub seconds: f64,
    /// The seed of every random choice.
    pub seed: u64,
    /// How many replicas the load went to.
    pub replicas: usize,
    /// Versions of `sre` and of what ran.
    pub versions: IndexMap<String, String>,
    /// What the load was to be, and what became of it: by request name, by phase, in total.
    pub load: Option<LoadReport>,
    /// What was disturbed.
    pub faults: Vec<FaultReport>,
}

/// The verdict on the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunVerdict {
    /// Everything asked for was checked and passed.
    Pass,
    /// A check failed.
    Fail,
    /// Something that had to be seen could not be, or nothing was checked.
    NoData,
    /// The generator could not send what was asked.
    Overloaded,
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was judged.
    Finished,
    /// It was asked to end.
    Interrupted,
    /// It could not go on.
    Failed,
    /// It is still going on, or its process was killed.
    Unfinished,
}

/// Requests, by the client and by the server; `None` where that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Requests that were due: sent or not.
    pub due: Option<u64>,
    /// Requests that the client sent.
    pub sent: Option<u64>,
    /// Complete answers.
    pub answered: Option<u64>,
    /// Requests that the server counted, as Prometheus has it.
    pub counted: Option<u64>,
    /// Requests that were sent and whose fate the client cannot know.
    pub unknown: Option<u64>,
}

impl Requests {
    /// `79 of 100 requests without an answer`; `None` where all were answered, or that is not known.
    pub fn unanswered(&self) -> Option<String> {
        let due = self.due?;
        let unanswered = due.saturating_sub(self.answered?);
        let all = plural(due, "request", "requests");
        (unanswered > 0).then(|| format!("{} of {all} without an answer", count(unanswered)))
    }
}

/// Times in milliseconds; `None` without an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LatencyMs {
    /// Half took no longer.
    pub p50: Option<f64>,
    /// Nine in ten took no longer.
    pub p90: Option<f64>,
    /// 95 in a hundred took no longer.
    pub p95: Option<f64>,
    /// 99 in a hundred took no longer.
    pub p99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

impl From<Latency> for LatencyMs {
    fn from(times: Latency) -> LatencyMs {
        let known = |time| (times.count > 0).then_some(time);
        LatencyMs {
            p50: known(times.p50),
            p90: known(times.p90),
            p95: known(times.p95),
            p99: known(times.p99),
            max: known(times.max),
        }
    }
}

/// What the load was to be, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadReport {
    /// What it was to be.
    pub plan: LoadPlan,
    /// What became of it; `None` while that is not known.
    pub summary: Option<LoadSummary>,
}

/// A disturbance. Times are seconds since the load's start; `None` where it did not happen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultReport {
    /// Its number in the journal.
    pub id: String,
    /// What it did, in words.
    pub description: String,
    /// The `instance` labels of the replicas that it touched.
    pub instances: Vec<String>,
    /// When it was injected.
    pub injected: Option<f64>,
    /// When it was undone.
    pub healed: Option<f64>,
    /// Why it could not be injected or undone.
    pub error: Option<String>,
}

impl Report {
    /// The report of a run's events, however far it came.
    ///
    /// Exit 3 where there is no `run-started` among them.
    pub fn from_events(events: &[Event]) -> Result<Report> {
        fold::fold(events)
    }

    /// The report of the run in a folder; says so where the run is still going on or its log is damaged.
    pub fn read(folder: &RunFolder) -> Result<Report> {
        let log = folder.read()?;
        let mut report = Report::from_events(&log.events).map_err(|error| match &log.damage {
            Some(damage) => Error::no_data(format!("{} holds no run", folder.events_file().display()))
                .because_of(damage.to_string())
                .hint("Run it again: what a damaged log told is lost."),
            None => error,
        })?;
        if report.state == State::Unfinished {
            report.notes.push(if folder.is_running() {
                "The run is still going on.".into()
            } else {
                "The run did not come to its end: its process was killed.".into()
            });
        }
        report.notes.extend(log.damage.map(|damage| damage.to_string()));
        Ok(report)
    }

    /// How many checks have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// The checks by group, in the order in which they were judged.
    pub fn sorted_checks(&self) -> Vec<&Outcome> {
        let mut checks: Vec<&Outcome> = self.checks.iter().collect();
        checks.sort_by_key(|check| check.group);
        checks
    }

    /// What became of the load, where it is known.
    pub fn summary(&self) -> Option<&LoadSummary> {
        self.load.as_ref()?.summary.as_ref()
    }
}
