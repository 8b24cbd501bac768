//! Whether an object is ready, and if not, what is missing: from its own status, purely.

use kube::core::DynamicObject;
use serde_json::Value;

/// Whether an object is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Ready,
    /// Not yet; what is missing: `1 of 3 ready`.
    Waiting(String),
    /// It never will be, by its own word.
    Failed(String),
}

use Readiness::{Failed, Ready, Waiting};

const UNSEEN: &str = "its controller has not seen the change yet";

/// Whether an object is ready. Kinds that have nothing to become ready are so at once. `kind` is told apart
/// from the object because items of lists and watches come without it.
pub fn readiness(kind: &str, object: &DynamicObject) -> Readiness {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    // A controller that has not seen this generation speaks of an older one.
    if matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet")
        && status["observedGeneration"].as_i64().unwrap_or(0) < object.metadata.generation.unwrap_or(0)
    {
        return Waiting(UNSEEN.into());
    }
    match kind {
        "Deployment" => deployment(spec, status),
        "StatefulSet" => stateful_set(spec, status),
        "DaemonSet" => daemon_set(status),
        "Job" => job(spec, status),
        "Pod" => pod(status),
        "CustomResourceDefinition" => by_condition(status, "Established"),
        "APIService" => by_condition(status, "Available"),
        "Prometheus" | "Alertmanager" => of_operator(spec, status, object.metadata.generation.unwrap_or(0)),
        _ => Ready,
    }
}

/// Whether "ready" is the word of a probe in every container. Without a probe a container is ready as soon as
/// it runs, also one that ends a moment later.
pub fn is_probed(kind: &str, object: &DynamicObject) -> bool {
    let spec = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" => &object.data["spec"]["template"]["spec"],
        "Pod" if object.data["status"]["phase"] == "Running" => &object.data["spec"],
        _ => return true,
    };
    let containers = spec["containers"].as_array();
    containers.is_some_and(|all| all.iter().all(|container| container["readinessProbe"].is_object()))
}

fn deployment(spec: &Value, status: &Value) -> Readiness {
    if let Some(condition) = condition(status, "Progressing")
        && condition["reason"] == "ProgressDeadlineExceeded"
    {
        return Failed(text(&condition["message"]));
    }
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let (updated, available) = (number(status, "updatedReplicas"), number(status, "availableReplicas"));
    let all = number(status, "replicas");
    if updated < wanted {
        Waiting(format!("{updated} of {wanted} as the new version"))
    } else if all > updated {
        Waiting(format!("{} of the old version still there", all - updated))
    } else if available < wanted {
        Waiting(format!("{available} of {wanted} ready"))
    } else {
        Ready
    }
}

fn stateful_set(spec: &Value, status: &Value) -> Readiness {
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let kept = spec["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0);
    let (updated, ready) = (number(status, "updatedReplicas"), number(status, "readyReplicas"));
    let rolling = spec["updateStrategy"]["type"] != "OnDelete";
    if rolling && updated < wanted.saturating_sub(kept) {
        Waiting(format!("{updated} of {wanted} as the new version"))
    } else if ready < wanted {
        Waiting(format!("{ready} of {wanted} ready"))
    } else {
        Ready
    }
}

fn daemon_set(status: &Value) -> Readiness {
    let wanted = number(status, "desiredNumberScheduled");
    let (updated, available) = (number(status, "updatedNumberScheduled"), number(status, "numberAvailable"));
    if updated < wanted {
        Waiting(format!("{updated} of {wanted} nodes have the new version"))
    } else if available < wanted {
        Waiting(format!("{available} of {wanted} nodes ready"))
    } else {
        Ready
    }
}

/// The Prometheus operator's kinds: the StatefulSet comes later than the object, and is changed later. Old versions of
/// the operator tell neither generation nor pods.
fn of_operator(spec: &Value, status: &Value, generation: i64) -> Readiness {
    let available = condition(status, "Available");
    let seen = available.and_then(|available| available["observedGeneration"].as_i64());
    if seen.is_some_and(|seen| seen < generation) {
        return Waiting(UNSEEN.into());
    }
    let shards = spec["shards"].as_u64().unwrap_or(1).max(1);
    let wanted = spec["replicas"].as_u64().unwrap_or(1) * shards;
    match status["updatedReplicas"].as_u64() {
        Some(updated) if updated != wanted => Waiting(format!("{updated} of {wanted} as the new version")),
        _ => by_condition(status, "Available"),
    }
}

fn job(spec: &Value, status: &Value) -> Readiness {
    if let Some(failed) = condition(status, "Failed").filter(|condition| condition["status"] == "True") {
        return Failed(text(&failed["message"]));
    }
    if condition(status, "Complete").is_some_and(|condition| condition["status"] == "True") {
        return Ready;
    }
    let wanted = spec["completions"].as_u64().unwrap_or(1);
    Waiting(format!("{} of {wanted} completed", number(status, "succeeded")))
}

fn pod(status: &Value) -> Readiness {
    match status["phase"].as_str() {
        Some("Succeeded") => Ready,
        Some("Failed") => Failed(text(&status["message"])),
        phase => match by_condition(status, "Ready") {
            Waiting(_) => Waiting(format!("is {}, not ready", phase.unwrap_or("Pending"))),
            other => other,
        },
    }
}

fn by_condition(status: &Value, name: &str) -> Readiness {
    match condition(status, name) {
        Some(condition) if condition["status"] == "True" => Ready,
        Some(condition) if !text(&condition["message"]).is_empty() => {
            Waiting(format!("not {}: {}", name.to_lowercase(), text(&condition["message"])))
        }
        _ => Waiting(format!("not {} yet", name.to_lowercase())),
    }
}

/// A condition of a status by its type.
pub(crate) fn condition<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

fn number(status: &Value, key: &str) -> u64 {
    status[key].as_u64().unwrap_or(0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What keeps a pod from being ready, as its containers tell: `can't pull image x: …`. `None` if they tell nothing.
pub fn trouble(pod: &DynamicObject) -> Option<String> {
    let status = &pod.data["status"];
    if let Some(scheduled) = condition(status, "PodScheduled")
        && scheduled["status"] == "False"
    {
        return Some(format!("can't be scheduled: {}", text(&scheduled["message"])));
    }
    let containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|key| status[key].as_array().into_iter().flatten());
    containers.into_iter().find_map(container_trouble)
}

fn container_trouble(container: &Value) -> Option<String> {
    let name = text(&container["name"]);
    let waiting = &container["state"]["waiting"];
    let message = text(&waiting["message"]);
    match waiting["reason"].as_str() {
        Some("ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName") => {
            Some(format!("image {} can't be had: {message}", text(&container["image"])))
        }
        Some("CrashLoopBackOff") => {
            let ended = &container["lastState"]["terminated"];
            let code =
                ended["exitCode"].as_i64().map_or(String::new(), |code| format!(" with exit code {code}"));
            let reason = text(&ended["reason"]);
            Some(format!("container {name} ends again and again{code} ({reason})"))
        }
        Some("ContainerCreating" | "PodInitializing") | None => {
            let ended = &container["state"]["terminated"];
            match ended["exitCode"].as_i64() {
                Some(code) if code != 0 => Some(format!("container {name} ended with exit code {code}")),
                _ => None,
            }
        }
        Some(reason) => Some(format!("container {name}: {reason} {message}").trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, generation: i64, data: Value) -> DynamicObject {
        let mut object = json!({"apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": "x", "generation": generation}});
        for (key, value) in data.as_object().unwrap() {
            object[key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_status_of_an_older_generation_says_nothing() {
        let data = json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 1, "replicas": 1,
            "updatedReplicas": 1, "availableReplicas": 1}});
        assert_eq!(readiness("Deployment", &object("Deployment", 1, data.clone())), Ready);
        assert!(matches!(readiness("Deployment", &object("Deployment", 2, data)), Waiting(_)));
    }

    #[test]
    fn a_deployment_is_ready_when_only_the_new_version_is_there() {
        let state = |updated: u64, all: u64, available: u64| {
            readiness(
                "Deployment",
                &object(
                    "Deployment",
                    1,
                    json!({"spec": {"replicas": 3}, "status": {"observedGeneration": 1, "replicas": all,
                    "updatedReplicas": updated, "availableReplicas": available}}),
                ),
            )
        };
        assert_eq!(state(1, 3, 3), Waiting("1 of 3 as the new version".into()));
        assert_eq!(state(3, 4, 3), Waiting("1 of the old version still there".into()));
        assert_eq!(state(3, 3, 2), Waiting("2 of 3 ready".into()));
        assert_eq!(state(3, 3, 3), Ready);
    }

    #[test]
    fn a_deployment_that_makes_no_progress_has_failed() {
        let data = json!({"status": {"observedGeneration": 1, "conditions":
            [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"}]}});
        assert_eq!(readiness("Deployment", &object("Deployment", 1, data)), Failed("m".into()));
    }

    #[test]
    fn a_container_without_a_probe_has_not_said_that_it_is_ready() {
        let of = |containers: Value| {
            object("Deployment", 1, json!({"spec": {"template": {"spec": {"containers": containers}}}}))
        };
        assert!(is_probed("Deployment", &of(json!([{"readinessProbe": {"httpGet": {}}}]))));
        assert!(!is_probed("Deployment", &of(json!([{"readinessProbe": {"httpGet": {}}}, {}]))));
    }

    #[test]
    fn daemon_and_stateful_sets_count_their_new_pods() {
        let daemons = json!({"status": {"observedGeneration": 1, "desiredNumberScheduled": 3,
            "updatedNumberScheduled": 3, "numberAvailable": 2}});
        assert_eq!(
            readiness("DaemonSet", &object("DaemonSet", 1, daemons)),
            Waiting("2 of 3 nodes ready".into())
        );
        let set = json!({"spec": {"replicas": 2}, "status": {"observedGeneration": 1, "updatedReplicas": 1,
            "readyReplicas": 2}});
        assert_eq!(
            readiness("StatefulSet", &object("StatefulSet", 1, set)),
            Waiting("1 of 2 as the new version".into())
        );
    }

    #[test]
    fn what_an_operator_said_before_a_change_does_not_count() {
        let state = |generation: i64, spec: Value, status: Value| {
            let mut object = object("Prometheus", generation, json!({"spec": spec, "status": status}));
            object.data["status"]["conditions"][0]["type"] = "Available".into();
            object.data["status"]["conditions"][0]["status"] = "True".into();
            readiness("Prometheus", &object)
        };
        let seen = |generation: i64, updated: u64| {
            json!({"replicas": updated, "updatedReplicas": updated,
            "conditions": [{"observedGeneration": generation}]})
        };
        assert_eq!(state(2, json!({}), seen(1, 1)), Waiting(UNSEEN.into()));
        assert_eq!(state(2, json!({}), seen(2, 0)), Waiting("0 of 1 as the new version".into()));
        assert_eq!(state(2, json!({}), seen(2, 1)), Ready);
        let sharded = json!({"replicas": 2, "shards": 2});
        assert_eq!(state(1, sharded.clone(), seen(1, 3)), Waiting("3 of 4 as the new version".into()));
        assert_eq!(state(1, sharded, seen(1, 4)), Ready);
        // An operator that tells neither.
        assert_eq!(state(2, json!({}), json!({"conditions": [{}]})), Ready);
    }

    #[test]
    fn jobs_and_pods_may_fail_for_good() {
        let failed =
            json!({"status": {"conditions": [{"type": "Failed", "status": "True", "message": "deadline"}]}});
        assert_eq!(readiness("Job", &object("Job", 1, failed)), Failed("deadline".into()));
        let pod = json!({"status": {"phase": "Failed", "message": "evicted"}});
        assert_eq!(readiness("Pod", &object("Pod", 0, pod)), Failed("evicted".into()));
        let done = json!({"status": {"phase": "Succeeded"}});
        assert_eq!(readiness("Pod", &object("Pod", 0, done)), Ready);
    }

    #[test]
    fn trouble_names_the_image_or_the_exit_code() {
        let pod = object(
            "Pod",
            0,
            json!({"status": {"containerStatuses": [{"name": "app", "image": "sre:x",
            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}}),
        );
        assert_eq!(trouble(&pod).as_deref(), Some("image sre:x can't be had: not found"));
        let pod = object(
            "Pod",
            0,
            json!({"status": {"containerStatuses": [{"name": "app",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}}}]}}),
        );
        assert_eq!(
            trouble(&pod).as_deref(),
            Some("container app ends again and again with exit code 2 (Error)")
        );
    }
}
