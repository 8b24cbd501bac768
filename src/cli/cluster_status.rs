//! The screen of `sre status` for a lab on a cluster.

use jiff::Timestamp;

use super::columns::{WIDTH, columns};
use super::status::{age, targets};
use crate::target::kubernetes::status::{PodStatus, Status};
use crate::target::local::TargetsStatus;

/// One table a namespace, then what is not as it should be.
pub(super) fn screen(status: &Status, now: Timestamp) -> String {
    let versions = status.versions.iter().map(|(name, version)| format!(" · {name} {version}"));
    let mut lines = vec![
        format!("{} on {}{}", status.stack, status.target, versions.collect::<String>()),
        format!("context {}", status.context),
    ];
    for pods in status.pods.chunk_by(|a, b| a.namespace == b.namespace) {
        lines.push(format!("\n{}", pods[0].namespace));
        let rows = pods.iter().map(|pod| row(pod, now));
        lines.push(columns(WIDTH, ["POD", "READY", "STATE", "RESTARTS", "AGE"], rows));
    }
    lines.extend(status.targets.iter().flat_map(targets));
    lines.extend(status.missing.iter().map(|missing| format!("  ✘ {missing}")));
    for pod in status.pods.iter().filter(|pod| !pod.healthy) {
        let why = pod.why.as_deref().unwrap_or("not ready");
        lines.push(format!("  ✘ {}\n      {why}", pod.name));
        lines.push(format!(
            "    → sre logs {}{}",
            pod.name,
            if pod.restarts > 0 && pod.state == "Running" { " --previous" } else { "" }
        ));
    }
    if !status.complete {
        lines.push("\nThe last `sre up` did not come to its end.".into());
    }
    lines.extend(next(status).map(str::to_owned));
    lines.join("\n")
}

/// What to do next where something is not well; beside what stands below each pod.
fn next(status: &Status) -> Option<&'static str> {
    let targets = status.targets.as_ref().is_none_or(TargetsStatus::healthy);
    match () {
        () if status.healthy => None,
        // What it applies is as it was then, and what is gone is made again.
        () if !status.complete || !status.missing.is_empty() => Some("→ sre up mends it"),
        () if !targets => Some("→ what was only just started is scraped soon; else its error tells why"),
        () => None,
    }
}

fn row(pod: &PodStatus, now: Timestamp) -> [String; 5] {
    let restarts = match pod.last_restart {
        Some(at) => format!("{} ({} ago)", pod.restarts, age(at, now)),
        None => pod.restarts.to_string(),
    };
    [
        pod.name.clone(),
        format!("{}/{}", pod.ready, pod.containers),
        pod.state.clone(),
        restarts,
        pod.since.map(|since| age(since, now)).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TargetKind;

    #[test]
    fn each_namespace_has_a_table_and_what_is_wrong_says_why() {
        let now: Timestamp = "2026-11-21T07:00:00Z".parse().expect("a time");
        let pod = |namespace: &str, name: &str, state: &str, restarts, why: Option<&str>| PodStatus {
            namespace: namespace.into(),
            name: name.into(),
            part: None,
            healthy: why.is_none(),
            ready: usize::from(why.is_none()),
            containers: 1,
            state: state.into(),
            restarts,
            last_restart: (restarts > 0).then(|| "2026-11-21T06:57:00Z".parse().expect("a time")),
            since: "2026-11-21T06:00:00Z".parse().ok(),
            node: Some("lab-node1".into()),
            why: why.map(str::to_owned),
        };
        let status = Status {
            stack: "users-api".into(),
            target: TargetKind::Cluster,
            context: "lab".into(),
            healthy: false,
            complete: true,
            versions: [("kubernetes", "1.35.4"), ("prometheus", "3.15.0")]
                .map(|(name, version)| (name.to_owned(), version.to_owned()))
                .into(),
            pods: vec![
                pod("users-api", "users-api-69d4c9bb8b-2xkqn", "Running", 0, None),
                pod(
                    "users-api",
                    "users-api-69d4c9bb8b-x7v5m",
                    "CrashLoopBackOff",
                    4,
                    Some("container app ends again and again with exit code 2 (Error)"),
                ),
                pod(
                    "users-api-monitoring",
                    "prometheus-users-api-monitoring-kube-p-prometheus-0",
                    "Running",
                    0,
                    None,
                ),
            ],
            missing: vec!["Deployment users-api/users-api: 2 of 3 ready".into()],
            targets: Some(TargetsStatus { healthy: 5, total: 5, unhealthy: Vec::new(), error: None }),
        };
        insta::assert_snapshot!(screen(&status, now), @r"
        users-api on cluster · kubernetes 1.35.4 · prometheus 3.15.0
        context lab

        users-api
        POD                         READY  STATE             RESTARTS    AGE
        users-api-69d4c9bb8b-2xkqn  1/1    Running           0           60m
        users-api-69d4c9bb8b-x7v5m  0/1    CrashLoopBackOff  4 (3m ago)  60m

        users-api-monitoring
        POD                                                  READY  STATE    RESTARTS  AGE
        prometheus-users-api-monitoring-kube-p-prometheus-0  1/1    Running  0         60m

        targets: 5 of 5 healthy
          ✘ Deployment users-api/users-api: 2 of 3 ready
          ✘ users-api-69d4c9bb8b-x7v5m
              container app ends again and again with exit code 2 (Error)
            → sre logs users-api-69d4c9bb8b-x7v5m
        → sre up mends it
        ");
    }
}
