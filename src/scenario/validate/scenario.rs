//! All parts of a scenario, and how they fit together.

use super::{checks, detected, faults, load, requests, thresholds};
use crate::config::{Path, Problem};
use crate::scenario::{Check, Http, Load, Request, Scenario};

/// The header that a request's id is sent in.
const REQUEST_ID: &str = "x-request-id";

/// Everything that is wrong with a scenario, in the order of its keys.
pub fn validate(scenario: &Scenario) -> Vec<Problem> {
    let root = Path::root();
    let mut problems = Vec::new();
    load::load(&scenario.load, &root.key("load"), &mut problems);
    requests::requests(&scenario.requests, http(scenario), &root.key("requests"), &mut problems);
    thresholds::thresholds(scenario, &root.key("thresholds"), &mut problems);
    faults::faults(scenario, &root.key("faults"), &mut problems);
    checks(&scenario.checks, &root.key("checks"), &mut problems);
    together(scenario, &mut problems);
    problems
}

/// What holds for every request.
fn http(scenario: &Scenario) -> &Http {
    match &scenario.load {
        Load::ArrivalRate(load) => &load.http,
        Load::Users(load) => &load.http,
    }
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
        if matches!(check, Check::Logs(_)) && !scenario.requests.values().any(Request::is_logged) {
            let path = root.index(i).key("logs");
            problems.push(Problem::error(&path, "there is nothing to look for: no request is `logged`"));
        }
    }
    detected(scenario, &root, problems);
    if scenario.logs_checks().next().is_some() {
        own_ids(scenario, problems);
    }
}

/// A line is found by the id that its request was sent with, a different one each time.
fn own_ids(scenario: &Scenario, problems: &mut Vec<Problem>) {
    let requests = Path::root().key("requests");
    for (name, request) in scenario.requests.iter().filter(|(_, request)| request.is_logged()) {
        if let Some(header) = request.headers.keys().find(|header| header.eq_ignore_ascii_case(REQUEST_ID)) {
            let path = requests.key(name).key("headers").key(header);
            let message =
                "the check `logs` finds a request's line by this header, which must differ each time";
            problems.push(Problem::key_error(&path, message).help(
                "leave it out: each request is given an id; or say `logged: false`, and it is not looked for",
            ));
        }
    }
}
