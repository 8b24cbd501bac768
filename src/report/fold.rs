//! From events to the report: what was seen, what was not, and which verdict that allows.

use jiff::Timestamp;

use super::model::{FaultReport, LoadReport, Report, Requests, RunVerdict, SCHEMA, State};
use super::{outcome_without_secrets, redact};
use crate::check::{Kind, Outcome};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::load::answered;
use crate::run::{Event, EventKind, FaultEvent, RunStarted};

/// The report of these events. Exit 3 where there is no `run-started` among them.
pub(super) fn fold(events: &[Event]) -> Result<Report> {
    let mut fold = Fold::begin(events)?;
    for event in events {
        fold.take(event);
    }
    Ok(fold.end())
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
            EventKind::RunStarted(head) => Some((event, (**head).clone())),
            _ => None,
        };
        let (first, head) = events.iter().find_map(head).ok_or_else(|| {
            Error::no_data("no run is told of")
                .because_of("its event log does not begin with a whole `run-started` event")
        })?;
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
            EventKind::CheckFinished(outcome) => self.checks.push(outcome_without_secrets(outcome)),
            EventKind::RunFailed { error, exit } => self.failure = Some((redact(error).into_owned(), *exit)),
            EventKind::VerifyFinished { seconds, exit } => self.finished = Some((*seconds, *exit)),
            EventKind::RunStarted(_)
            | EventKind::BaselineTaken(_)
            | EventKind::LoadProgress(_)
            | EventKind::CheckStarted { .. }
            | EventKind::CheckWaiting { .. }
            | EventKind::PrometheusStarted { .. }
            | EventKind::AlertmanagerTold(_)
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
            due: summary.map(|summary| summary.total.sent + summary.total.not_sent),
            sent: summary.map(|summary| summary.total.sent),
            answered: summary.map(|summary| summary.total.statuses.values().sum()),
            counted: self.checks.iter().find_map(counted_by),
            unknown: summary.map(|summary| summary.total.unknown),
        };
        let failures = summary.map(answered::failures).unwrap_or_default();
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
            failures: answered::for_machines(&failures),
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
    Exit::from_code(exit).is_some_and(Exit::is_interruption)
}

/// What the server counted, from the evidence of the check that compared it.
fn counted_by(check: &Outcome) -> Option<u64> {
    check.evidence.get("counted").filter(|_| check.kind == Kind::Reconcile)?.as_u64()
}
