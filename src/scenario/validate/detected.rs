//! The check `detected`: there is a fault to be detected.

use crate::config::{Path, Problem};
use crate::scenario::Scenario;

pub(super) fn detected(scenario: &Scenario, checks: &Path, problems: &mut Vec<Problem>) {
    let faults = scenario.faults.len();
    for (i, check) in scenario.detected_checks() {
        let path = checks.index(i).key("detected");
        if faults == 0 {
            problems.push(Problem::key_error(&path, "there is nothing to detect: no fault is injected"));
            continue;
        }
        if let Some(number) = check.fault.filter(|number| !(1..=faults).contains(number)) {
            let message = format!("there is no fault {number}; the scenario has {faults}, from 1");
            problems.push(Problem::error(&path.key("fault"), message));
        }
    }
}
