//! What a check is given: what was asked, what was done, and whom to ask.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::reconcile::Baseline;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::observe::{Prometheus, QueryResult};
use crate::run::{EventKind, Events, FaultEvent, LoadFinished};
use crate::scenario::Scenario;
use crate::stack::Stack;
use crate::target::{Endpoints, PodChanges};

/// What a check is given. Times are in seconds since 1970 on Prometheus' clock.
#[derive(Clone, Copy)]
pub struct CheckContext<'a> {
    /// What was asked.
    pub scenario: &'a Scenario,
    /// What counts requests, and which rules belong to it.
    pub stack: &'a Stack,
    /// Names of the stack's alert rules.
    pub rules: &'a [String],
    /// Where everything answers.
    pub endpoints: &'a Endpoints,
    /// The client of Prometheus, or why there is none.
    pub prometheus: &'a Result<Prometheus>,
    /// The counters before the load.
    pub baseline: Option<&'a Baseline>,
    /// The run's id, from which the ids of its requests follow.
    pub run: &'a str,
    /// The file with the requests that checks ask for one by one.
    pub noted: &'a std::path::Path,
    /// What the client knows.
    pub load: &'a LoadFinished,
    /// Faults that were injected and undone.
    pub faults: &'a Faults,
    /// What became of the service's pods during the load.
    pub pods: &'a PodChanges,
    /// When the next run began, if one did: what came later is not this run's.
    pub horizon: Option<f64>,
    /// Where events go.
    pub events: &'a Events,
    /// Ctrl-C and SIGTERM.
    pub interrupt: &'a Interrupt,
    /// Whether Prometheus was waited for in vain: the checks that follow do not wait for it again.
    pub in_vain: &'a AtomicBool,
}

/// Faults of a run, from its events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Those that were injected, in order.
    pub injected: Vec<FaultEvent>,
    /// Those that were undone, in order.
    pub healed: Vec<FaultEvent>,
}

impl<'a> CheckContext<'a> {
    /// The client of Prometheus.
    ///
    /// # Errors
    /// No data (exit 3) where the lab has none, or its credentials are missing.
    pub fn prometheus(&self) -> Result<&'a Prometheus> {
        self.prometheus.as_ref().map_err(Clone::clone)
    }

    /// What an expression gives now, but within the bound after the last answer, so that a verdict that is made again
    /// later is about the same time.
    ///
    /// # Errors
    /// No data (exit 3) where the lab has no Prometheus, or it does not answer.
    pub async fn query(&self, expression: &str, bound: Duration) -> Result<QueryResult> {
        let prometheus = self.prometheus()?;
        let now = prometheus.time().await?;
        let last = self.load.prometheus_ended.map_or(f64::MAX, |ended| ended + bound.as_secs_f64());
        let at = now.min(last).min(self.horizon.unwrap_or(f64::MAX));
        prometheus.query(expression, Some(at)).await
    }

    /// Tells that a check waits, and for what.
    ///
    /// # Errors
    /// Where the event log cannot be written.
    pub fn waiting(&self, name: &str, message: &str) -> Result<()> {
        let (name, message) = (name.to_owned(), message.to_owned());
        self.events.emit(EventKind::CheckWaiting { name, message })
    }

    /// How long answers that do not come are waited for: the bound, and some seconds in which Prometheus may
    /// come back.
    pub fn patience(&self, bound: Duration) -> Stopwatch {
        let bound = if self.is_in_vain() { Duration::ZERO } else { bound + Duration::from_secs(10) };
        Stopwatch { started: Instant::now(), bound, pause: FIRST_PAUSE }
    }

    /// Whether Prometheus was waited for in vain already.
    pub fn is_in_vain(&self) -> bool {
        self.in_vain.load(Ordering::Relaxed)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Bounds a wait on this machine's clock, and spaces its looks.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    started: Instant,
    bound: Duration,
    pause: Duration,
}

impl Stopwatch {
    /// Whether the bound is over.
    pub fn over(&self) -> bool {
        self.started.elapsed() > self.bound
    }

    /// The pause before the next look; each is longer than the one before, up to a second.
    pub fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        pause
    }
}

/// The error where a lab has no endpoint of some kind.
pub fn missing(what: &str) -> Error {
    Error::no_data(format!("this lab has no {what}"))
}
