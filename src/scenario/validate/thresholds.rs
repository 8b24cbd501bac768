//! Thresholds name requests and phases that there are.

use crate::config::{Path, Problem, unknown};
use crate::scenario::{Load, Scenario};

pub(super) fn thresholds(scenario: &Scenario, path: &Path, problems: &mut Vec<Problem>) {
    let phases = match &scenario.load {
        Load::ArrivalRate(arrivals) => arrivals.phase_names(),
        Load::Users(_) => Vec::new(),
    };
    for (i, threshold) in scenario.thresholds.iter().enumerate() {
        let path = path.index(i);
        if let Some(name) = &threshold.request
            && !scenario.requests.contains_key(name)
        {
            let help = unknown(name, scenario.requests.keys().map(String::as_str));
            problems.push(Problem::error(&path, format!("no request is called `{name}`")).help(help));
        }
        if let Some(name) = &threshold.phase
            && !phases.contains(name)
        {
            let help = match &scenario.load {
                Load::ArrivalRate(_) => unknown(name, phases.iter().map(String::as_str)),
                Load::Users(_) => "the executor `users` has no phases".into(),
            };
            problems.push(Problem::error(&path, format!("no phase is called `{name}`")).help(help));
        }
    }
}
