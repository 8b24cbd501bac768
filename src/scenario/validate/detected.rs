//! The check `detected`: there is a fault to be detected, and something that shows it.

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
            continue;
        }
        if check.expr.is_some() {
            continue;
        }
        let meant = (1..).zip(&scenario.faults).filter(|(number, _)| check.is_of(*number));
        for (number, step) in meant.filter(|(_, step)| step.fault.sign().is_none()) {
            let name = step.fault.name();
            let message = format!("what shows fault {number}, {name}, has another name in each lab");
            let help = format!(
                "say it: `fault: {number}`, `expr: …`, `is: \"> 0\"`; see `sre fault describe {name}`"
            );
            problems.push(Problem::key_error(&path, message).help(help));
        }
    }
}
