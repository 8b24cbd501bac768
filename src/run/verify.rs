//! The second half of a run: the verdict, from what its folder tells and what monitoring has.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::overlap::{outcome, overlapping};
use super::{EventKind, Events, LoadFinished, Record, Reporter, RunFolder};
use crate::check::{self, CheckContext, Outcome};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::load;
use crate::observe::{Prometheus, ensure_credentials};
use crate::target::kubernetes::reach::instances_of;
use crate::target::{Endpoints, Lab, PodChanges, ServicePod};

/// Judges a run, for the first time or again.
///
/// `lab` is what is up here now: where it is the run's own stack, its Prometheus is asked.
///
/// # Errors
/// Where the run has no load that came to its end (3), credentials are not in the environment (5), it was interrupted (130, 143), or its log cannot be written (5).
pub async fn verify(
    folder: &RunFolder,
    state: &Path,
    lab: Option<&Lab>,
    events: &Events,
    interrupt: &Interrupt,
) -> Result<Exit> {
    judged(folder, state, lab, events, interrupt).await.inspect_err(|error| {
        let exit = interrupt.exit().unwrap_or(error.exit());
        let _ = events.emit(EventKind::RunFailed { error: error.to_string(), exit: exit.code() });
    })
}

async fn judged(
    folder: &RunFolder,
    state: &Path,
    lab: Option<&Lab>,
    events: &Events,
    interrupt: &Interrupt,
) -> Result<Exit> {
    let record = Record::read(folder)?;
    let load = finished(&record, folder)?;
    let endpoints = endpoints(&record, load, lab);
    // Nothing is judged by half because a variable is not set.
    ensure_credentials(&endpoints)?;
    events.emit(EventKind::VerifyStarted)?;
    let others = overlapping(folder, &record.events, state);
    if !others.is_empty() {
        let outcome = outcome(&others);
        events.emit(EventKind::CheckFinished(Box::new(outcome.clone())))?;
        return conclude(&record, &[outcome], events);
    }
    let mut outcomes = tell_of_load(&record, load, events)?;
    let pods = load
        .pods
        .as_ref()
        .map_or_else(PodChanges::default, |after| PodChanges::between(&record.started.endpoints.pods, after));
    let prometheus = match &endpoints.prometheus {
        Some(endpoint) => Prometheus::new(endpoint),
        None => Err(check::missing("Prometheus")),
    };
    outcomes.extend(
        check::verify(&CheckContext {
            scenario: &record.scenario,
            stack: &record.stack,
            rules: &record.started.rules,
            offsets: &record.started.offsets,
            starts: &Mutex::new(record.starts.clone()),
            fates: &Mutex::new(record.fates.clone()),
            target: record.started.target,
            endpoints: &endpoints,
            prometheus: &prometheus,
            baseline: record.baseline.as_ref(),
            run: folder.id(),
            noted: &folder.noted_file(),
            load,
            answered: &record.answered(),
            faults: &record.faults,
            pods: &pods,
            horizon: record.horizon(folder, state),
            events,
            interrupt,
            first_told: &Mutex::new(None),
            in_vain: &AtomicBool::new(false),
        })
        .await?,
    );
    conclude(&record, &outcomes, events)
}

/// Judges what needs no server: thresholds, and whether the generator kept up.
///
/// # Errors
/// As for [`verify`].
pub fn judge_load(folder: &RunFolder, events: &Events) -> Result<Exit> {
    let record = Record::read(folder)?;
    let load = finished(&record, folder)?;
    events.emit(EventKind::VerifyStarted)?;
    let outcomes = tell_of_load(&record, load, events)?;
    conclude(&record, &outcomes, events)
}

fn finished<'a>(record: &'a Record, folder: &RunFolder) -> Result<&'a LoadFinished> {
    let load = record.load.as_ref().ok_or_else(|| {
        Error::no_data(format!("run {} cannot be judged", folder.id()))
            .because_of("its load did not come to its end")
            .hint(format!("sre run {}", record.scenario.name))
    })?;
    if load.summary.interrupted && load.summary.lost.is_empty() {
        return Err(Error::no_data(format!("run {} cannot be judged", folder.id()))
            .because_of("its load was interrupted")
            .hint(format!("sre run {}", record.scenario.name)));
    }
    Ok(load)
}

fn tell_of_load(record: &Record, load: &LoadFinished, events: &Events) -> Result<Vec<Outcome>> {
    let outcomes = load::judge(&record.scenario, &load.summary, &record.histograms);
    for outcome in &outcomes {
        events.emit(EventKind::CheckFinished(Box::new(outcome.clone())))?;
    }
    Ok(outcomes)
}

/// The run's own endpoints; where the same stack is up here now, what observes may have moved. Pods may have been
/// replaced during the load: those that were there after it are the ones that must be seen.
fn endpoints(record: &Record, load: &LoadFinished, lab: Option<&Lab>) -> Endpoints {
    let mut own = record.started.endpoints.clone();
    if let Some(pods) = &load.pods {
        let changes = PodChanges::between(&own.pods, pods);
        let of = |pods: &[ServicePod]| pods.iter().filter_map(|pod| pod.instance.clone()).collect::<Vec<_>>();
        let gone = of(&changes.gone);
        own.instances.retain(|instance| !gone.contains(instance));
        own.instances.extend(instances_of(&changes.new));
        own.instances.sort();
        own.pods.clone_from(pods);
    }
    match lab.filter(|lab| lab.stack == record.started.stack && lab.target == record.started.target) {
        None => own,
        Some(lab) => Endpoints {
            replicas: own.replicas,
            instances: own.instances,
            pods: own.pods,
            ..lab.endpoints.clone()
        },
    }
}

fn conclude(record: &Record, outcomes: &[Outcome], events: &Events) -> Result<Exit> {
    let exit = Exit::of_all(outcomes.iter().map(|outcome| Exit::from(outcome.verdict)));
    let seconds = record.events.first().map_or(0.0, |first| {
        (jiff::Timestamp::now().as_millisecond() - first.time.as_millisecond()) as f64 / 1000.0
    });
    events.emit(EventKind::VerifyFinished { seconds, exit: exit.code() })?;
    Ok(exit)
}

/// Continues a run's log, with a screen beside it.
///
/// # Errors
/// Where another process writes it (2), it is damaged (3), or it cannot be written (5).
pub fn resume(folder: &RunFolder, screen: Box<dyn Reporter>) -> Result<Events> {
    Ok(Events::new(vec![Box::new(folder.log()?), screen]))
}
