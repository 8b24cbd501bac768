//! What a run's folder tells: all that a verdict needs, read back from its files.

use super::{Event, EventKind, LoadFinished, RunFolder, RunStarted};
use crate::check::Faults;
use crate::check::alert::Fate;
use crate::check::reconcile::{AnsweredSecond, Baseline};
use crate::error::{Error, Result};
use crate::load::Histograms;
use crate::scenario::Scenario;
use crate::stack::Stack;

/// A run as its folder tells it.
#[derive(Debug, Clone)]
pub struct Record {
    /// What was run, and on what.
    pub started: RunStarted,
    /// The scenario as it ran.
    pub scenario: Scenario,
    /// The stack as it was.
    pub stack: Stack,
    /// The counters before the load, where they could be read.
    pub baseline: Option<Baseline>,
    /// What the client knows, where the load came to its end.
    pub load: Option<LoadFinished>,
    /// All times that the client measured; empty where the load did not come to its end.
    pub histograms: Histograms,
    /// Faults that were injected and undone.
    pub faults: Faults,
    /// When Prometheus started, each time that was seen.
    pub starts: Vec<f64>,
    /// What Alertmanager did with the alerts that are asked about.
    pub fates: Vec<Fate>,
    /// Every event.
    pub events: Vec<Event>,
}

impl Record {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// No data (exit 3) where its files are missing or damaged.
    pub fn read(folder: &RunFolder) -> Result<Record> {
        let log = folder.read()?;
        let damaged = |what: &str| {
            Error::no_data(format!("run {} cannot be judged", folder.id())).because_of(what.to_owned())
        };
        let mut started = None;
        let (mut baseline, mut load, mut faults) = (None, None, Faults::default());
        let (mut starts, mut fates) = (Vec::new(), Vec::new());
        for event in &log.events {
            match &event.kind {
                EventKind::RunStarted(run) => started = Some((**run).clone()),
                EventKind::BaselineTaken(taken) => baseline = Some((**taken).clone()),
                EventKind::LoadFinished(finished) => load = Some((**finished).clone()),
                EventKind::FaultInjected(fault) => faults.injected.push(fault.clone()),
                EventKind::FaultHealed(fault) => faults.healed.push(fault.clone()),
                EventKind::PrometheusStarted { at } => starts.push(*at),
                EventKind::AlertmanagerTold(fate) => fates.push((**fate).clone()),
                _ => {}
            }
        }
        let histograms = match &load {
            None => Histograms::default(),
            Some(load) => {
                let path = folder.latency_file();
                let failed = || Error::no_data(format!("{} cannot be read", path.display()));
                let damaged = |why: String| {
                    let why = format!("it is damaged: {why}");
                    failed().because_of(why).hint("Run it again: the times of this run are lost.")
                };
                let bytes = std::fs::read(&path).map_err(|e| failed().because(e))?;
                let histograms =
                    Histograms::read(&bytes).map_err(|error| damaged(error.causes().join(", ")))?;
                load.summary.fits_times(&histograms).map_err(damaged)?;
                histograms
            }
        };
        Ok(Record {
            started: started.ok_or_else(|| damaged("its event log has no beginning"))?,
            scenario: read_yaml(&folder.scenario_file())?,
            stack: read_yaml(&folder.stack_file())?,
            baseline,
            load,
            histograms,
            faults,
            starts,
            fates,
            events: log.events,
        })
    }

    /// When the client got answers that had to be counted; none where that is not known, or where some requests are not
    /// counted at all.
    pub fn answered(&self) -> Vec<AnsweredSecond> {
        let times = self.load.as_ref().and_then(|load| load.prometheus_started.zip(load.prometheus_ended));
        let Some((started, ended)) = times else { return Vec::new() };
        let seconds = self.load.as_ref().map_or(0.0, |load| load.summary.seconds);
        if self.scenario.requests.values().any(|request| !request.counted) {
            return Vec::new();
        }
        // How long after Prometheus told its time the load began is not known; not longer than this.
        let lead = (ended - started - seconds).max(0.0);
        let answered = |event: &Event| match &event.kind {
            EventKind::LoadProgress(sample) if sample.answered > 0 => Some(AnsweredSecond {
                from: started + (sample.second - 1.0).max(0.0),
                to: started + sample.second + lead,
            }),
            _ => None,
        };
        self.events.iter().filter_map(answered).collect()
    }

    /// When the next run on the same lab began, on Prometheus' clock: what was counted later is not this run's.
    pub fn horizon(&self, folder: &RunFolder, state: &std::path::Path) -> Option<f64> {
        let ended = self.load.as_ref()?.prometheus_ended?;
        let later = RunFolder::list(state).ok()?.into_iter().filter(|other| other.id() != folder.id());
        later
            .take_while(|other| other.started() >= folder.started())
            .filter_map(|other| other.read().ok())
            .filter_map(|log| {
                log.events.iter().find_map(|event| match &event.kind {
                    EventKind::BaselineTaken(baseline) => Some(baseline.at),
                    _ => None,
                })
            })
            .filter(|at| *at >= ended)
            .reduce(f64::min)
    }
}

fn read_yaml<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T> {
    let failed = || Error::no_data(format!("{} cannot be read", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| failed().because(e))?;
    serde_saphyr::from_str(&text).map_err(|e| failed().because_of(e.to_string()))
}
