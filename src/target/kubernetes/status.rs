//! How a lab on a cluster is: its pods, its workloads, and what Prometheus sees.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::client::Cluster;
use super::execute::WORKLOADS;
use super::failure::call_opt;
use super::forward::Forward;
use super::parts::{self, LabPod, endpoints};
use super::readiness::{Readiness, readiness, trouble};
use super::record::{ClusterLab, Done};
use crate::error::Result;
use crate::target::local::TargetsStatus;
use crate::target::{Endpoint, Lab, TargetKind};

/// How a lab is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The stack's name.
    pub stack: String,
    /// Where it runs.
    pub target: TargetKind,
    /// The kubeconfig context.
    pub context: String,
    /// Whether all is well.
    pub healthy: bool,
    /// Whether the last `up` came to its end.
    pub complete: bool,
    /// Versions of what runs.
    pub versions: indexmap::IndexMap<String, String>,
    /// The pods.
    pub pods: Vec<PodStatus>,
    /// What is not as it should be beside single pods: `Deployment users-api/users-api: 2 of 3 ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What Prometheus scrapes, where the stack has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetsStatus>,
}

/// How a pod is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it is to the lab: `app`, `prometheus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<&'static str>,
    /// Whether it is as it should be: ready, or at its end if a Job made it.
    pub healthy: bool,
    /// How many of its containers are ready.
    pub ready: usize,
    /// How many it has.
    pub containers: usize,
    /// In kubectl's words: `Running`, `CrashLoopBackOff`.
    pub state: String,
    /// How often its containers were started again, all together.
    pub restarts: u64,
    /// When a container last ended and was started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_restart: Option<Timestamp>,
    /// Since when it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The node that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What keeps it from being ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Looks at a lab; changes nothing.
///
/// # Errors
/// Where the cluster cannot be asked (6).
pub async fn status(cluster: &Cluster, lab: &Lab, place: &ClusterLab) -> Result<Status> {
    let pods: Vec<PodStatus> = parts::pods(cluster, place).await?.iter().map(PodStatus::of).collect();
    let mut missing = workloads(cluster, place).await?;
    missing.extend(
        endpoints(&place.endpoints)
            .into_iter()
            .filter(|(part, _)| !pods.iter().any(|pod| pod.part == Some(part)))
            .map(|(part, _)| format!("{part} has no pod")),
    );
    let targets = match &place.endpoints.prometheus {
        Some(part) => Some(match Forward::open(cluster, part, &place.namespace).await {
            Ok(forward) => TargetsStatus::of(Some(&Endpoint::new(forward.url())), |_| true).await?,
            Err(error) => TargetsStatus::unknown(error.what()),
        }),
        None => None,
    };
    let scraped = targets.as_ref().is_none_or(TargetsStatus::healthy);
    let healthy = lab.complete && missing.is_empty() && pods.iter().all(|pod| pod.healthy) && scraped;
    Ok(Status {
        stack: lab.stack.clone(),
        target: lab.target,
        context: place.context.clone(),
        healthy,
        complete: lab.complete,
        versions: lab.versions.clone(),
        pods,
        missing,
        targets,
    })
}

/// What is wrong with the workloads that `up` applied.
async fn workloads(cluster: &Cluster, place: &ClusterLab) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for done in &place.done {
        let Done::Object(object) = done else { continue };
        if !WORKLOADS.contains(&object.kind.as_str()) {
            continue;
        }
        let found = match cluster.api(object, &place.namespace).await? {
            Some((api, _)) => {
                call_opt(|| format!("{object} could not be read"), || api.get(&object.name)).await?
            }
            None => None,
        };
        match found.map(|found| readiness(&object.kind, &found)) {
            Some(Readiness::Ready) => {}
            Some(Readiness::Waiting(what) | Readiness::Failed(what)) => {
                missing.push(format!("{object}: {what}"));
            }
            None => missing.push(format!("{object} is not there")),
        }
    }
    Ok(missing)
}

impl PodStatus {
    fn of(pod: &LabPod) -> PodStatus {
        let object = &pod.object;
        let status = &object.data["status"];
        let containers = || list(&status["containerStatuses"]).chain(list(&status["initContainerStatuses"]));
        let ready = list(&status["containerStatuses"]).filter(|container| container["ready"] == true).count();
        let ended = |container: &Value| {
            let at = container["lastState"]["terminated"]["finishedAt"].as_str()?;
            at.parse::<Timestamp>().ok()
        };
        let healthy = object.metadata.deletion_timestamp.is_none()
            && (readiness("Pod", object) == Readiness::Ready
                || pod.is_of_a_job() && status["phase"] != "Failed" && trouble(object).is_none());
        PodStatus {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            part: pod.part,
            healthy,
            ready,
            containers: list(&object.data["spec"]["containers"]).count(),
            state: state(object),
            restarts: containers().filter_map(|container| container["restartCount"].as_u64()).sum(),
            last_restart: containers().filter_map(ended).max(),
            since: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
            node: object.data["spec"]["nodeName"].as_str().map(str::to_owned),
            why: if healthy { None } else { trouble(object) },
        }
    }
}

/// A pod's state in the word that kubectl has for it.
fn state(pod: &DynamicObject) -> String {
    let status = &pod.data["status"];
    let reason = |container: &Value| -> Option<String> {
        let state = &container["state"];
        let ended = &state["terminated"];
        let words = state["waiting"]["reason"].as_str().or(ended["reason"].as_str());
        words.map(str::to_owned).or_else(|| Some(format!("ExitCode:{}", ended["exitCode"].as_i64()?)))
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".into();
    }
    let preparing = list(&status["initContainerStatuses"])
        .find(|container| container["state"]["terminated"]["exitCode"] != 0 && container["started"] != true);
    if let Some(preparing) = preparing {
        return format!("Init:{}", reason(preparing).unwrap_or_else(|| "Running".into()));
    }
    let stuck = list(&status["containerStatuses"]).find_map(|container| match reason(container) {
        Some(word) if word != "Completed" => Some(word),
        _ => None,
    });
    let word = |key: &str| status[key].as_str().map(str::to_owned);
    let done = (status["phase"] == "Succeeded").then(|| "Completed".to_owned());
    stuck.or(done).or_else(|| word("reason")).or_else(|| word("phase")).unwrap_or_else(|| "Unknown".into())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(labels: Value, status: Value) -> LabPod {
        LabPod {
            namespace: "lab".into(),
            name: "p".into(),
            part: None,
            object: serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "p", "namespace": "lab", "labels": labels},
                "spec": {"containers": [{"name": "a"}]}, "status": status}))
            .expect("a pod"),
        }
    }

    fn container(state: Value) -> Value {
        json!([{"name": "a", "ready": false, "restartCount": 3, "state": state,
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-21T06:40:12Z"}}}])
    }

    #[test]
    fn a_pod_that_ends_again_and_again_says_so() {
        let statuses = container(json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        let status =
            PodStatus::of(&pod(json!({}), json!({"phase": "Running", "containerStatuses": statuses})));
        assert_eq!(status.state, "CrashLoopBackOff");
        assert_eq!((status.healthy, status.ready, status.containers, status.restarts), (false, 0, 1, 3));
        assert_eq!(status.last_restart.map(|at| at.to_string()).as_deref(), Some("2026-11-21T06:40:12Z"));
        assert!(status.why.is_some_and(|why| why.contains("exit code 137")), "it says why");
    }

    #[test]
    fn states_are_kubectl_s() {
        let of = |status: Value| state(&pod(json!({}), status).object);
        assert_eq!(of(json!({"phase": "Pending"})), "Pending");
        assert_eq!(of(json!({"phase": "Failed", "reason": "Evicted"})), "Evicted");
        let ended = container(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}));
        assert_eq!(of(json!({"phase": "Succeeded", "containerStatuses": ended})), "Completed");
        let running = json!({"initContainerStatuses": [{"name": "i", "state": {"running": {}}}]});
        assert_eq!(of(running), "Init:Running");
    }

    #[test]
    fn a_pod_of_a_job_may_run_or_end_and_not_fail() {
        let label = json!({"batch.kubernetes.io/job-name": "load"});
        let healthy = |phase: &str| PodStatus::of(&pod(label.clone(), json!({"phase": phase}))).healthy;
        assert!(healthy("Running") && healthy("Succeeded") && !healthy("Failed"));
        assert!(!PodStatus::of(&pod(json!({}), json!({"phase": "Running"}))).healthy, "others must be ready");
    }
}
