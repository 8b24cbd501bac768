//! All parts of a scenario, and how they fit together.

use super::{checks, faults, load, requests, thresholds};
use crate::config::{Path, Problem};
use crate::scenario::{Check, Scenario};

/// Everything that is wrong with a scenario, in the order of its keys.
pub fn validate(scenario: &Scenario) -> Vec<Problem> {
    let root = Path::root();
    let mut problems = Vec::new();
    load::load(&scenario.load, &root.key("load"), &mut problems);
    requests::requests(&scenario.requests, &root.key("requests"), &mut problems);
    thresholds::thresholds(scenario, &root.key("thresholds"), &mut problems);
    faults::faults(scenario, &root.key("faults"), &mut problems);
    checks(&scenario.checks, &root.key("checks"), &mut problems);
    together(scenario, &mut problems);
    problems
}

fn together(scenario: &Scenario, problems: &mut Vec<Problem>) {
    let root = Path::root().key("checks");
    if scenario.checks.is_empty() && scenario.thresholds.is_empty() {
        problems.push(
            Problem::warning(&root, "nothing is checked, so a run of this scenario can never pass")
                .help("leave `checks` out for `targets` and `reconcile`"),
        );
    }
    let counted = scenario.requests.values().any(|request| request.counted || !request.raises.is_empty());
    for (i, check) in scenario.checks.iter().enumerate() {
        if matches!(check, Check::Reconcile(_)) && !counted {
            let path = root.index(i).key("reconcile");
            problems.push(Problem::error(&path, "there is nothing to reconcile: no request is `counted`"));
        }
    }
}
