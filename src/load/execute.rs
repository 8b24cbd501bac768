//! Puts a scenario's load on replicas, and tells what became of it.

use std::time::Instant;

use super::histograms::Histograms;
use super::recorder::{Recorder, by_name};
use super::{LoadSummary, Overload, PhaseSummary, Sample, Share, engine, users};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::scenario::{Load, Scenario};
use crate::target::Replica;

/// A load that is about to be put on replicas.
#[derive(Clone, Copy)]
pub struct LoadRun<'a> {
    /// What is sent.
    pub scenario: &'a Scenario,
    /// Where to; request i goes to replica i mod replicas.
    pub replicas: &'a [Replica],
    /// Sets this run's request ids apart from other runs': the run's id.
    pub salt: &'a str,
    /// Which part of the schedule is sent from here; `Share::ALL` unless there are several workers.
    pub share: Share,
    /// Ends the load early.
    pub interrupt: &'a Interrupt,
    /// When the first request is due; also the clock of the faults. A moment from now, so that threads can start.
    pub start: Instant,
    /// Told once a second.
    pub progress: &'a (dyn Fn(Sample) + Sync),
}

/// What a load left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadResult {
    /// Everything the client knows, counted.
    pub summary: LoadSummary,
    /// All times.
    pub histograms: Histograms,
}

/// A phase as an executor ran it.
#[derive(Debug)]
pub(super) struct PhaseRow {
    pub name: String,
    pub seconds: f64,
    pub asked: Option<u64>,
}

/// What an executor recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub recorder: Recorder,
    pub phases: Vec<PhaseRow>,
    pub asked: Option<u64>,
    /// From the first due time to the last known fate.
    pub seconds: f64,
    pub overload: Option<Overload>,
    pub interrupted: bool,
}

/// Puts the load on the replicas and comes back when every request's fate is known.
///
/// An interruption ends it early, and is no error: the summary says so, and what had left and was not
/// answered within 2 s counts as unknown. Errors: a request that cannot be sent (usage), no replica or no
/// thread (target).
pub async fn execute(run: LoadRun<'_>) -> Result<LoadResult> {
    if run.replicas.is_empty() {
        return Err(Error::target("load cannot be put on a service without replicas"));
    }
    if run.scenario.requests.is_empty() {
        return Err(Error::usage(format!("the scenario `{}` has no requests", run.scenario.name)));
    }
    let started = jiff::Timestamp::now() + run.start.saturating_duration_since(Instant::now());
    let recorded = match &run.scenario.load {
        Load::ArrivalRate(load) => engine::run(&run, load).await?,
        Load::Users(load) => users::run(&run, load).await?,
    };
    Ok(summarise(run.scenario, started, recorded))
}

fn summarise(scenario: &Scenario, started: jiff::Timestamp, recorded: Recorded) -> LoadResult {
    let names: Vec<String> = scenario.requests.keys().cloned().collect();
    let phase_names: Vec<String> = recorded.phases.iter().map(|phase| phase.name.clone()).collect();
    let recorder = &recorded.recorder;
    let histograms = recorder.histograms(&phase_names, &names);
    let counts = |phase: usize| {
        names.iter().enumerate().map(move |(request, name)| (name.clone(), recorder.counts(phase, request)))
    };
    let phases = recorded
        .phases
        .iter()
        .enumerate()
        .map(|(number, phase)| {
            let (requests, total) = by_name(&histograms, Some(&phase.name), counts(number));
            PhaseSummary {
                name: phase.name.clone(),
                seconds: phase.seconds,
                asked: phase.asked,
                requests,
                total,
            }
        })
        .collect();
    let (requests, total) = by_name(&histograms, None, (0..recorded.phases.len()).flat_map(counts));
    let summary = LoadSummary {
        started,
        seconds: recorded.seconds,
        asked: recorded.asked,
        tallies: recorder.tallies(&names),
        requests,
        total,
        phases,
        overload: recorded.overload,
        interrupted: recorded.interrupted,
    };
    LoadResult { summary, histograms }
}
