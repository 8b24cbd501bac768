//! Parts of a load, put together: exact, whatever the split.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::load::execute::{LoadResult, Part};
use crate::load::recorder::by_name;
use crate::load::watch::overload;
use crate::load::{Histograms, LoadSummary, PhaseSummary, Schedule, Tally};
use crate::scenario::{Load, Scenario};

/// The whole of these parts, without those of lost workers; what was asked is the whole all the same. `started`
/// is the leader's: the workers' clocks may say anything.
///
/// # Errors
/// No data (exit 3) where there is no part.
pub(super) fn merge(
    scenario: &Scenario,
    started: jiff::Timestamp,
    parts: Vec<Part>,
    lost: Vec<String>,
) -> Result<LoadResult> {
    let mut observed = None;
    let mut histograms = Histograms::default();
    for part in &parts {
        histograms.merge(&part.result.histograms)?;
        match (&mut observed, &part.observed) {
            (None, first) => observed = first.clone(),
            (Some(sum), Some(more)) => sum.merge(more),
            (Some(_), None) => {}
        }
    }
    let summaries: Vec<LoadSummary> = parts.into_iter().map(|part| part.result.summary).collect();
    let Some(first) = summaries.first() else {
        let error = Error::no_data("nothing is known of the load: every worker was lost");
        return Err(lost.into_iter().fold(error, Error::because_of));
    };
    let schedule = match &scenario.load {
        Load::ArrivalRate(load) => Some(Schedule::new(scenario, load)),
        Load::Users(_) => None,
    };
    let phases = (0..first.phases.len())
        .map(|number| {
            let all = || summaries.iter().filter_map(move |summary| summary.phases.get(number));
            let counts = all().flat_map(|phase| phase.requests.clone());
            let name = first.phases[number].name.clone();
            let (requests, total) = by_name(&histograms, Some(&name), counts);
            PhaseSummary {
                seconds: all().map(|phase| phase.seconds).fold(0.0, f64::max),
                asked: schedule.as_ref().and_then(|schedule| Some(schedule.phases().get(number)?.asked)),
                name,
                requests,
                total,
            }
        })
        .collect();
    let counts = summaries.iter().flat_map(|summary| summary.requests.clone());
    let (requests, total) = by_name(&histograms, None, counts);
    let summary = LoadSummary {
        started,
        seconds: summaries.iter().map(|summary| summary.seconds).fold(0.0, f64::max),
        asked: schedule.as_ref().map(Schedule::asked),
        tallies: tallies(scenario, &summaries),
        requests,
        total,
        phases,
        overload: observed.as_ref().and_then(overload),
        interrupted: summaries.iter().any(|summary| summary.interrupted),
        lost,
    };
    Ok(LoadResult { summary, histograms })
}

/// Every request's fate, added up; in the order of the scenario's requests, of replicas and of fates.
fn tallies(scenario: &Scenario, summaries: &[LoadSummary]) -> Vec<Tally> {
    let mut sums = BTreeMap::new();
    for tally in summaries.iter().flat_map(|summary| &summary.tallies) {
        let place = scenario.requests.get_index_of(&tally.request);
        let sum = sums
            .entry((place, tally.replica, &tally.hop, tally.fate))
            .or_insert_with(|| (tally.request.clone(), 0));
        sum.1 += tally.count;
    }
    sums.into_iter()
        .map(|((_, replica, hop, fate), (request, count))| Tally {
            request,
            replica,
            hop: hop.clone(),
            fate,
            count,
        })
        .collect()
}
