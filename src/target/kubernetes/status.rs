//! How a lab on a cluster is: its pods, its workloads, and what Prometheus sees.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
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

/// A pod that is not gone so long after its time is stuck.
const OVERDUE: SignedDuration = SignedDuration::from_secs(60);

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
    let now = Timestamp::now();
    let found = parts::pods(cluster, place).await?;
    let mut missing = workloads(cluster, place).await?;
    let stays = |part| found.iter().any(|pod| pod.part == Some(part) && !pod.is_going());
    missing.extend(
        endpoints(&place.endpoints)
            .into_iter()
            .filter(|(part, _)| !stays(part))
            .map(|(part, _)| format!("{part} has no pod")),
    );
    let pods: Vec<PodStatus> = found.iter().map(|pod| PodStatus::of(pod, now)).collect();
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

/// What is wrong with the lab's workloads: with those that `up` applied, and with those that came with a release.
async fn workloads(cluster: &Cluster, place: &ClusterLab) -> Result<Vec<String>> {
    let there = parts::workloads(cluster, place).await?;
    let mut missing: Vec<String> = there
        .iter()
        .filter_map(|(object, found)| Some(format!("{object}: {}", lacks(&object.kind, found)?)))
        .collect();
    for done in &place.done {
        let Done::Object(object) = done else { continue };
        let is_told = there.iter().any(|(known, _)| known == object);
        if !WORKLOADS.contains(&object.kind.as_str()) || is_told {
            continue;
        }
        let found = match cluster.api(object, &place.namespace).await? {
            Some((api, _)) => {
                call_opt(|| format!("{object} could not be read"), || api.get(&object.name)).await?
            }
            None => None,
        };
        match found {
            Some(found) => {
                missing.extend(lacks(&object.kind, &found).map(|what| format!("{object}: {what}")));
            }
            None => missing.push(format!("{object} is not there")),
        }
    }
    Ok(missing)
}

/// What keeps a workload from being as it should be.
fn lacks(kind: &str, object: &DynamicObject) -> Option<String> {
    match readiness(kind, object) {
        Readiness::Ready if is_scaled_away(object) => Some("it was scaled to 0".into()),
        Readiness::Ready => None,
        Readiness::Waiting(what) | Readiness::Failed(what) => Some(what),
    }
}

/// Whether a workload has 0 replicas, and not by whoever made it: the maker owns the selector, which nobody else can write.
fn is_scaled_away(object: &DynamicObject) -> bool {
    let owns = |entry: &ManagedFieldsEntry, field: &str| {
        entry.fields_v1.as_ref().is_some_and(|fields| !fields.0["f:spec"][field].is_null())
    };
    let owners = || object.metadata.managed_fields.iter().flatten();
    object.data["spec"]["replicas"] == 0
        && !owners().any(|entry| owns(entry, "f:selector") && owns(entry, "f:replicas"))
}

impl PodStatus {
    fn of(pod: &LabPod, now: Timestamp) -> PodStatus {
        let object = &pod.object;
        let status = &object.data["status"];
        let containers = || list(&status["containerStatuses"]).chain(list(&status["initContainerStatuses"]));
        let ready = list(&status["containerStatuses"]).filter(|container| container["ready"] == true).count();
        let ended = |container: &Value| {
            let at = container["lastState"]["terminated"]["finishedAt"].as_str()?;
            at.parse::<Timestamp>().ok()
        };
        // What is asked of a pod that is going is that it goes: its workload tells whether another one is there.
        let overdue =
            object.metadata.deletion_timestamp.as_ref().filter(|by| now.duration_since(by.0) > OVERDUE);
        let healthy = match pod.is_going() {
            true => overdue.is_none(),
            false => {
                readiness("Pod", object) == Readiness::Ready
                    || pod.is_of_a_job() && status["phase"] != "Failed" && trouble(object).is_none()
            }
        };
        let why = || match overdue {
            Some(by) => Some(format!("it had to be gone by {}", by.0.strftime("%H:%M:%S UTC"))),
            None => trouble(object),
        };
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
            why: if healthy { None } else { why() },
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
    use crate::target::kubernetes::fake::Fake;
    use crate::target::kubernetes::object::ObjectRef;

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

    fn of(pod: &LabPod) -> PodStatus {
        PodStatus::of(pod, Timestamp::now())
    }

    fn container(state: Value) -> Value {
        json!([{"name": "a", "ready": false, "restartCount": 3, "state": state,
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-21T06:40:12Z"}}}])
    }

    #[test]
    fn a_pod_that_ends_again_and_again_says_so() {
        let statuses = container(json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        let status = of(&pod(json!({}), json!({"phase": "Running", "containerStatuses": statuses})));
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
        let healthy = |phase: &str| of(&pod(label.clone(), json!({"phase": phase}))).healthy;
        assert!(healthy("Running") && healthy("Succeeded") && !healthy("Failed"));
        assert!(!of(&pod(json!({}), json!({"phase": "Running"}))).healthy, "others must be ready");
    }

    #[test]
    fn a_pod_that_is_going_is_well_until_it_is_overdue() {
        let mut pod = pod(json!({}), json!({"phase": "Running"}));
        let by: Timestamp = "2026-11-21T06:40:00Z".parse().expect("a time");
        pod.object.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(by));
        let seen = |after: i64| PodStatus::of(&pod, by + SignedDuration::from_secs(after));
        assert!(seen(-30).healthy && seen(5).healthy, "its grace period runs");
        assert_eq!((seen(5).state.as_str(), seen(5).why), ("Terminating", None));
        let stuck = seen(300);
        assert!(!stuck.healthy && stuck.why.is_some_and(|why| why.contains("06:40:00")), "it is stuck");
    }

    fn deployment(replicas: u64, managers: Value) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "frontend", "namespace": "shop", "generation": 1, "managedFields": managers},
            "spec": {"replicas": replicas, "selector": {}},
            "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas,
                "availableReplicas": replicas}}))
        .expect("a Deployment")
    }

    #[test]
    fn nobody_where_somebody_should_be_is_not_well() {
        let entry = |manager: &str, fields: Value| {
            json!({"manager": manager, "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": fields}})
        };
        let maker = entry("sre", json!({"f:selector": {}, "f:replicas": {}}));
        let meant = deployment(0, json!([maker.clone()]));
        assert_eq!(lacks("Deployment", &meant), None, "whoever made it wants none");
        let scaled =
            json!([entry("sre", json!({"f:selector": {}})), entry("kubectl", json!({"f:replicas": {}}))]);
        assert_eq!(
            lacks("Deployment", &deployment(0, scaled.clone())).as_deref(),
            Some("it was scaled to 0")
        );
        assert_eq!(lacks("Deployment", &deployment(3, scaled)), None);
    }

    #[tokio::test]
    async fn a_lab_whose_frontend_was_scaled_away_is_not_healthy() {
        let (deployment, ours) = (deployment(0, json!([])), json!("shop"));
        let fake = Fake::new(&[serde_json::to_value(&deployment).expect("JSON")]).await;
        let mut lab = fake.lab();
        let place = lab.cluster.as_mut().expect("a cluster");
        place.done.push(Done::Object(ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: ours.as_str().map(str::to_owned),
            name: "frontend".into(),
        }));
        let place = place.clone();
        let seen = status(&fake.cluster, &lab, &place).await.expect("it answers");
        assert_eq!(seen.missing, ["Deployment shop/frontend: it was scaled to 0"]);
        assert!(!seen.healthy);
    }
}
