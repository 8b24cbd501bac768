//! The report of a run: one model, folded from its events, behind every format.

use std::borrow::Cow;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::redact;
use crate::check::{Kind, Outcome, Verdict};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::load::{Latency, LoadSummary};
use crate::run::{Event, EventKind, FaultEvent, LoadPlan, RunFolder, RunStarted};
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
    /// Requests that the client sent.
    pub sent: Option<u64>,
    /// Requests that the server counted, as Prometheus has it.
    pub counted: Option<u64>,
    /// Requests that were sent and whose fate the client cannot know.
    pub unknown: Option<u64>,
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
        let mut fold = Fold::begin(events)?;
        for event in events {
            fold.take(event);
        }
        Ok(fold.end())
    }

    /// The report of the run in a folder; says so where the run is still going on or its log is damaged.
    pub fn read(folder: &RunFolder) -> Result<Report> {
        let log = folder.read()?;
        let mut report = Report::from_events(&log.events)?;
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

/// What events have told so far.
struct Fold<'a> {
    first: &'a Event,
    last: Timestamp,
    head: RunStarted,
    load: Option<LoadReport>,
    load_started: Option<Timestamp>,
    faults: Vec<FaultReport>,
    checks: Vec<Outcome>,
    failure: Option<(String, u8)>,
    finished: Option<(f64, u8)>,
}

impl<'a> Fold<'a> {
    fn begin(events: &'a [Event]) -> Result<Fold<'a>> {
        let head = |event: &'a Event| match &event.kind {
            EventKind::RunStarted(head) => Some((event, head.clone())),
            _ => None,
        };
        let (first, head) =
            events.iter().find_map(head).ok_or_else(|| Error::no_data("no run is told of"))?;
        Ok(Fold {
            first,
            last: first.time,
            head,
            load: None,
            load_started: None,
            faults: Vec::new(),
            checks: Vec::new(),
            failure: None,
            finished: None,
        })
    }

    fn take(&mut self, event: &Event) {
        self.last = event.time;
        match &event.kind {
            EventKind::LoadStarted(plan) => {
                self.load_started = Some(event.time);
                self.load = Some(LoadReport { plan: plan.clone(), summary: None });
            }
            EventKind::LoadFinished(finished) => {
                if let Some(load) = &mut self.load {
                    load.summary = Some(finished.summary.clone());
                }
            }
            EventKind::FaultInjected(fault) => self.fault(fault).injected = self.since_load(event.time),
            EventKind::FaultHealed(fault) => self.fault(fault).healed = self.since_load(event.time),
            EventKind::FaultFailed { fault, error } => {
                self.fault(fault).error = Some(redact(error).into_owned())
            }
            // Whatever was judged before is judged again.
            EventKind::VerifyStarted => {
                self.checks.clear();
                self.failure = None;
                self.finished = None;
            }
            EventKind::CheckFinished(outcome) => self.checks.push(clean(outcome)),
            EventKind::RunFailed { error, exit } => self.failure = Some((redact(error).into_owned(), *exit)),
            EventKind::VerifyFinished { seconds, exit } => self.finished = Some((*seconds, *exit)),
            EventKind::RunStarted(_)
            | EventKind::BaselineTaken(_)
            | EventKind::LoadProgress(_)
            | EventKind::CheckStarted { .. }
            | EventKind::CheckWaiting { .. }
            | EventKind::Unknown => {}
        }
    }

    fn fault(&mut self, fault: &FaultEvent) -> &mut FaultReport {
        let at = self.faults.iter().position(|known| known.id == fault.id).unwrap_or_else(|| {
            self.faults.push(FaultReport {
                id: fault.id.clone(),
                description: fault.description.clone(),
                instances: fault.instances.clone(),
                injected: None,
                healed: None,
                error: None,
            });
            self.faults.len() - 1
        });
        &mut self.faults[at]
    }

    fn since_load(&self, time: Timestamp) -> Option<f64> {
        Some(time.duration_since(self.load_started?).as_secs_f64())
    }

    fn state(&self) -> State {
        match (&self.failure, self.finished) {
            (Some((_, exit)), _) if interrupted(*exit) => State::Interrupted,
            (Some(_), _) => State::Failed,
            (None, Some(_)) => State::Finished,
            (None, None) => State::Unfinished,
        }
    }

    fn end(self) -> Report {
        let state = self.state();
        let summary = self.load.as_ref().and_then(|load| load.summary.as_ref());
        let mut notes = Vec::new();
        // Every cause but a pass stays a cause, whatever the run itself made of it.
        let mut causes: Vec<Exit> = self.checks.iter().map(|check| check.verdict.into()).collect();
        if state != State::Finished || self.checks.is_empty() {
            causes.push(Exit::NoData);
        }
        if summary.is_some_and(|summary| summary.overload.is_some()) {
            causes.push(Exit::Overloaded);
        }
        if summary.is_some_and(|summary| summary.interrupted) {
            causes.push(Exit::NoData);
            notes.push("The load was ended before its time.".into());
        }
        if self.faults.iter().any(|fault| fault.error.is_some()) {
            causes.push(Exit::NoData);
            notes.push("A fault could not be injected or undone.".into());
        }
        let told =
            self.finished.map(|(_, exit)| exit).into_iter().chain(self.failure.as_ref().map(|(_, e)| *e));
        causes.extend(told.map(|code| Exit::from_code(code).unwrap_or(Exit::NoData)));

        let requests = Requests {
            sent: summary.map(|summary| summary.total.sent),
            counted: self.checks.iter().find_map(counted),
            unknown: summary.map(|summary| summary.total.unknown),
        };
        let latency_ms = summary.map(|summary| summary.total.times.since_due.into()).unwrap_or_default();
        let elapsed = self.last.duration_since(self.first.time).as_secs_f64();
        Report {
            schema: SCHEMA,
            run: self.head.run,
            scenario: self.head.scenario,
            stack: self.head.stack,
            target: self.head.target,
            verdict: RunVerdict::of(&causes),
            exit: Exit::of_all(causes).code(),
            state,
            error: self.failure.map(|(error, _)| error),
            requests,
            latency_ms,
            checks: self.checks,
            notes,
            started: self.first.time,
            seconds: self.finished.map_or(elapsed, |(seconds, _)| seconds),
            seed: self.head.seed,
            replicas: self.head.replicas,
            versions: self.head.versions,
            load: self.load,
            faults: self.faults,
        }
    }
}

impl RunVerdict {
    /// What the causes say about the system; those that say nothing about it are passed over.
    fn of(causes: &[Exit]) -> RunVerdict {
        let judged =
            |exit: &&Exit| matches!(exit, Exit::Pass | Exit::CheckFailed | Exit::NoData | Exit::Overloaded);
        match Exit::of_all(causes.iter().filter(judged).copied()) {
            Exit::Pass => RunVerdict::Pass,
            Exit::CheckFailed => RunVerdict::Fail,
            Exit::Overloaded => RunVerdict::Overloaded,
            _ => RunVerdict::NoData,
        }
    }
}

fn interrupted(exit: u8) -> bool {
    matches!(Exit::from_code(exit), Some(Exit::Interrupted | Exit::Terminated))
}

/// What the server counted, from the evidence of the check that compared it.
fn counted(check: &Outcome) -> Option<u64> {
    check.evidence.get("counted").filter(|_| check.kind == Kind::Reconcile)?.as_u64()
}

/// The outcome without secrets.
fn clean(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    let cells = outcome.table.iter_mut().flat_map(|table| table.rows.iter_mut().flatten());
    let texts = [&mut outcome.name, &mut outcome.message];
    texts.into_iter().chain(&mut outcome.notes).chain(&mut outcome.hint).chain(cells).for_each(clean_text);
    clean_value(&mut outcome.evidence);
    outcome
}

fn clean_text(text: &mut String) {
    if let Cow::Owned(clean) = redact(text) {
        *text = clean;
    }
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(values) => values.iter_mut().for_each(clean_value),
        Value::Object(values) => values.values_mut().for_each(clean_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
