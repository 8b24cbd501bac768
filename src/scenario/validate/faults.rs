//! Faults: when, for how long, on which replicas.

use crate::config::{Path, Problem};
use crate::scenario::{Duration, FaultKind, FaultStep, Scenario};

pub(super) fn faults(scenario: &Scenario, path: &Path, problems: &mut Vec<Problem>) {
    let total = scenario.load.duration();
    for (i, step) in scenario.faults.iter().enumerate() {
        let path = path.index(i);
        kind(&step.fault, &path.key("fault"), problems);
        if step.lasts == Duration::default() {
            problems.push(Problem::error(&path.key("for"), "a fault must last longer than nothing"));
        }
        if step.lasts.get() > crate::fault::LONGEST {
            let most = Duration::from(crate::fault::LONGEST);
            problems.push(Problem::error(&path.key("for"), format!("a fault lasts {most} at the most")));
        }
        if step.end() > total {
            problems.push(
                Problem::error(
                    &path.key("for"),
                    format!("this fault ends after {}, the load after {total}", step.end()),
                )
                .help("a fault lies within the load: make `at` or `for` shorter, or the load longer"),
            );
        }
        if let Some(replicas) = &step.replicas {
            self::replicas(replicas, &path.key("replicas"), problems);
        }
        on_a_cluster(step, path.clone(), problems);
        let clash = scenario.faults[..i].iter().find(|other| clashes(step, other));
        if let Some(other) = clash {
            problems.push(
                Problem::error(
                    &path.key("at"),
                    format!("another fault is on the same replica until {}", other.end()),
                )
                .help("a process that is killed or paused takes no other fault at the same time, nor does an object"),
            );
        }
    }
}

fn kind(fault: &FaultKind, path: &Path, problems: &mut Vec<Problem>) {
    let (key, nothing) = match fault {
        FaultKind::Latency(latency) => ("latency", *latency == Duration::default()),
        FaultKind::ErrorRate(share) => ("error-rate", share.get() == 0.0),
        FaultKind::Exceptions(share) => ("exceptions", share.get() == 0.0),
        FaultKind::CpuPressure(share) => ("cpu-pressure", share.get() == 0.0),
        FaultKind::MemoryPressure(share) => ("memory-pressure", share.get() == 0.0),
        _ => return,
    };
    if nothing {
        problems.push(Problem::error(&path.key(key), "a fault of nothing is no fault"));
    }
}

/// Keys that only faults on a cluster have.
fn on_a_cluster(step: &FaultStep, path: Path, problems: &mut Vec<Problem>) {
    if step.count == Some(0) {
        problems.push(Problem::error(&path.key("count"), "a fault must take at least one pod"));
    }
    if step.count.is_some() && step.replicas.is_some() {
        let problem = Problem::error(&path.key("count"), "`count` and `replicas` exclude each other");
        problems.push(problem.help("`replicas` names the pods, `count` says how many"));
    }
    if matches!(step.fault, FaultKind::Kill | FaultKind::Pause) && step.on.is_some() {
        let problem = Problem::error(&path.key("on"), "a process of this machine is no object of a cluster");
        problems.push(problem.help("on a cluster a pod is deleted: `fault: pod-delete`"));
    }
}

fn replicas(replicas: &[usize], path: &Path, problems: &mut Vec<Problem>) {
    if replicas.is_empty() {
        let problem = Problem::error(path, "a fault must be on at least one replica");
        problems.push(problem.help("leave `replicas` out for all of them"));
    }
    for (i, replica) in replicas.iter().enumerate() {
        if replicas[..i].contains(replica) {
            problems.push(Problem::error(&path.index(i), format!("replica {replica} is named twice")));
        }
    }
}

/// Whether one of two faults would take the process away from under the other.
fn clashes(a: &FaultStep, b: &FaultStep) -> bool {
    let on_process = |step: &FaultStep| matches!(step.fault, FaultKind::Kill | FaultKind::Pause);
    let same_replica = match (&a.replicas, &b.replicas) {
        (Some(a), Some(b)) => a.iter().any(|replica| b.contains(replica)),
        _ => true,
    };
    let same_object = a.on.is_some() && a.on == b.on;
    let excluded = (on_process(a) || on_process(b)) && same_replica || same_object;
    excluded && a.at < b.end() && b.at < a.end()
}
