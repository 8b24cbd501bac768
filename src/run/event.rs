//! Everything that happens in a run is an event; reporters only consume events.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::check::alert::Fate;
use crate::check::{Outcome, reconcile::Baseline};
use crate::error::Result;
use crate::fault::Sign;
use crate::load::{LoadSummary, Sample};
use crate::report::{outcome_without_secrets, redact};
use crate::target::{Endpoints, ServicePod, TargetKind};

/// The version of the event log, in its first event.
pub const SCHEMA: &str = "sre.events/v1";

/// Something that happened, and when (on this machine's clock).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// The first event of every log.
    RunStarted(Box<RunStarted>),
    /// Prometheus' counters before the load.
    BaselineTaken(Box<Baseline>),
    /// The load begins.
    LoadStarted(LoadPlan),
    /// A second of the load went by.
    LoadProgress(Sample),
    /// The load has ended.
    LoadFinished(Box<LoadFinished>),
    /// A fault was injected.
    FaultInjected(FaultEvent),
    /// A fault was undone.
    FaultHealed(FaultEvent),
    /// A fault could not be injected or undone.
    FaultFailed {
        /// The fault.
        fault: FaultEvent,
        /// Why.
        error: String,
    },
    /// Prometheus' process is another one than was known of in this run.
    PrometheusStarted {
        /// When it started, in seconds since 1970.
        at: f64,
    },
    /// Alertmanager told what it does with an alert that is asked about.
    AlertmanagerTold(Box<Fate>),
    /// The checks begin, all of them or, after an earlier verdict, again.
    VerifyStarted,
    /// A check begins.
    CheckStarted {
        /// What must hold.
        name: String,
    },
    /// A check waits.
    CheckWaiting {
        /// What must hold.
        name: String,
        /// What it waits for, and for how long it may.
        message: String,
    },
    /// A check has its verdict.
    CheckFinished(Box<Outcome>),
    /// The run could not go on.
    RunFailed {
        /// What failed, why, and what to do next.
        error: String,
        /// The exit code that it ends with.
        exit: u8,
    },
    /// The last event of a run that was judged.
    VerifyFinished {
        /// Seconds since the run's start.
        seconds: f64,
        /// The exit code of its verdict.
        exit: u8,
    },
    /// An event that a newer version wrote; readers leave it out.
    #[serde(other)]
    Unknown,
}

/// What is run, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`SCHEMA`].
    pub schema: String,
    /// The run's id, which is its folder's name.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// The stack's name.
    pub stack: String,
    /// Where it runs.
    pub target: TargetKind,
    /// The seed of every random choice.
    pub seed: u64,
    /// How many replicas the load goes to.
    pub replicas: usize,
    /// Versions of `sre` and of what runs.
    pub versions: IndexMap<String, String>,
    /// Where everything answered.
    #[serde(default)]
    pub endpoints: Endpoints,
    /// Names of the stack's alert rules.
    #[serde(default)]
    pub rules: Vec<String>,
    /// By how many seconds the groups of these rules look back (`query_offset`), where their files say so.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub offsets: IndexMap<String, f64>,
}

/// What the load will be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// `arrival-rate` or `users`.
    pub executor: String,
    /// In words: `200/s for 60 s`.
    pub shape: String,
    /// Seconds that it will last.
    pub seconds: f64,
    /// Requests that the schedule asks for; `None` in the closed model.
    pub asked: Option<u64>,
    /// Request names, in their order.
    pub requests: Vec<String>,
}

/// The load has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadFinished {
    /// What the client knows.
    pub summary: LoadSummary,
    /// Prometheus' own time before the first request was sent, in seconds since 1970; `None` where it could not be asked.
    pub prometheus_started: Option<f64>,
    /// Prometheus' own time after the last answer came, in seconds since 1970; `None` where it could not be asked.
    pub prometheus_ended: Option<f64>,
    /// Seconds by which Prometheus' clock and this machine's went apart during the load, at the most.
    #[serde(default)]
    pub clock_moved: Option<f64>,
    /// The service's pods after the last answer, on a cluster; `None` elsewhere, or where they could not be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<ServicePod>>,
}

/// A fault that was injected or undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultEvent {
    /// Its name in the journal.
    pub id: String,
    /// Its number in the scenario, from 1.
    #[serde(default)]
    pub number: usize,
    /// What it does, in words: `latency 2s on users-api-0, users-api-1`.
    pub description: String,
    /// The `instance` labels of the replicas that it touches.
    pub instances: Vec<String>,
    /// Prometheus' own time when it happened, in seconds since 1970; `None` where it could not be asked.
    pub prometheus_time: Option<f64>,
    /// What monitoring shows of it, where it was injected and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<Sign>,
}

impl Event {
    /// The event as it is kept: its sentences without secrets. What is judged from it later, such as labels and
    /// addresses, stays as it was told: a label that was changed is another series.
    pub fn without_secrets(&self) -> Cow<'_, Event> {
        let mut event = self.clone();
        match &mut event.kind {
            EventKind::FaultFailed { error, .. } | EventKind::RunFailed { error, .. } => {
                *error = redact(error).into_owned();
            }
            EventKind::CheckWaiting { message, .. } => *message = redact(message).into_owned(),
            EventKind::CheckFinished(outcome) => **outcome = outcome_without_secrets(outcome),
            EventKind::LoadFinished(finished) => {
                let overload = finished.summary.overload.iter_mut().map(|overload| &mut overload.reason);
                for why in finished.summary.lost.iter_mut().chain(overload) {
                    *why = redact(why).into_owned();
                }
            }
            _ => return Cow::Borrowed(self),
        }
        Cow::Owned(event)
    }
}

/// Consumes events.
pub trait Reporter: Send {
    /// Takes one event. An error (a full disk) ends the run.
    fn event(&mut self, event: &Event) -> Result<()>;
}

/// Where events go: to every reporter, in the order in which they happened.
#[derive(Clone)]
pub struct Events {
    reporters: Arc<Mutex<Vec<Box<dyn Reporter>>>>,
}

impl Events {
    /// Events go to these reporters.
    pub fn new(reporters: Vec<Box<dyn Reporter>>) -> Events {
        Events { reporters: Arc::new(Mutex::new(reporters)) }
    }

    /// Tells every reporter what happened just now. The first error is returned; all are told.
    pub fn emit(&self, kind: EventKind) -> Result<()> {
        let event = Event { time: Timestamp::now(), kind };
        let mut reporters = self.reporters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        for reporter in reporters.iter_mut() {
            let told = reporter.event(&event);
            if result.is_ok() {
                result = told;
            }
        }
        result
    }
}
