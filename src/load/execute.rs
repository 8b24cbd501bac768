//! Puts a scenario's load on replicas, and tells what became of it.

use std::time::Instant;

use super::histograms::Histograms;
use super::progress::{Sampler, Tell};
use super::recorder::{Recorder, Second, by_name};
use super::requests::Template;
use super::watch::{Observed, overload};
use super::{LoadSummary, Noted, PhaseSummary, Sample, Share, engine, users};
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
    /// Told of the requests that the scenario's checks ask for one by one, each once, some seconds' at a time.
    pub noted: &'a (dyn Fn(&[Noted]) + Sync),
}

/// What a load left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadResult {
    /// Everything the client knows, counted.
    pub summary: LoadSummary,
    /// All times.
    pub histograms: Histograms,
}

/// What one of several parts of a load left behind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// Everything that this part knows, but whether the whole was an overload.
    pub result: LoadResult,
    /// What the generator saw of itself; `None` in the closed model.
    pub observed: Option<Observed>,
}

impl Part {
    /// The result, where this part is the whole.
    pub(super) fn whole(mut self) -> LoadResult {
        self.result.summary.overload = self.observed.as_ref().and_then(overload);
        self.result
    }
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
    /// `None` in the closed model.
    pub observed: Option<Observed>,
    pub interrupted: bool,
}

/// Puts the load on the replicas and comes back when every request's fate is known.
///
/// An interruption ends it early, and is no error: the summary says so, and what had left and was not
/// answered within 2 s counts as unknown. Errors: a request that cannot be sent (usage), no replica or no
/// thread (target).
pub async fn execute(run: LoadRun<'_>) -> Result<LoadResult> {
    let sampler = Sampler::new(run.scenario);
    let tell = |second: f64, mut what: Second| {
        let noted = std::mem::take(&mut what.noted);
        if !noted.is_empty() {
            (run.noted)(&noted);
        }
        (run.progress)(sampler.sample(second, what));
    };
    Ok(execute_part(&run, &sampler, &tell).await?.whole())
}

/// Puts one part of a load on the replicas; otherwise as [`execute`].
pub(super) async fn execute_part(run: &LoadRun<'_>, sampler: &Sampler, tell: Tell<'_>) -> Result<Part> {
    check(run.scenario, run.replicas)?;
    let started = jiff::Timestamp::now() + run.start.saturating_duration_since(Instant::now());
    let recorded = match (&run.scenario.load, sampler.schedule()) {
        (Load::ArrivalRate(load), Some(schedule)) => engine::run(run, load, schedule.clone(), tell).await?,
        (Load::Users(load), _) => users::run(run, load, tell).await?,
        (Load::ArrivalRate(_), None) => unreachable!("a sampler has the schedule of an open model"),
    };
    Ok(summarise(run.scenario, started, recorded))
}

/// Whether the load can be sent at all. Errors: as [`execute`].
pub(super) fn check(scenario: &Scenario, replicas: &[Replica]) -> Result<()> {
    if replicas.is_empty() {
        return Err(Error::target("load cannot be put on a service without replicas"));
    }
    if scenario.requests.is_empty() {
        return Err(Error::usage(format!("the scenario `{}` has no requests", scenario.name)));
    }
    Template::all(scenario, replicas).map(drop)
}

fn summarise(scenario: &Scenario, started: jiff::Timestamp, recorded: Recorded) -> Part {
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
        overload: None,
        interrupted: recorded.interrupted,
        lost: Vec::new(),
    };
    Part { result: LoadResult { summary, histograms }, observed: recorded.observed }
}
