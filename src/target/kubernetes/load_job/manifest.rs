//! The Job whose pods are the workers of a load. Pure.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use crate::error::{Error, Result};
use crate::target::kubernetes::image::pull_policy;
use crate::target::kubernetes::object::{MANAGED_BY, MANAGER};

/// The label that tells the Jobs of loads, and their pods.
pub const LABEL: &str = "app.kubernetes.io/name";

/// The value of [`LABEL`].
pub const NAME: &str = "sre-load";

/// The port on a pod's loopback where its worker listens: reached by a port-forward, and from nowhere else.
pub const PORT: u16 = 7077;

/// How long what has ended stays when nobody removes it.
const KEPT: Duration = Duration::from_secs(30);

/// How long pods may take until all of them run.
pub const COMING: Duration = Duration::from_secs(120);

/// A Job of so many workers from this image, each of which ends `longest` after all run, at the latest.
///
/// Its pods need no rights, pass the Pod Security Standard `restricted`, are spread over the nodes, and are never
/// started again: what a second one would send nobody could tell from what the first one sent.
pub fn job(name: &str, run: &str, image: &str, workers: u64, longest: Duration) -> Result<Job> {
    let labels = json!({
        LABEL: NAME,
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "load-worker",
        MANAGED_BY: MANAGER,
    });
    let selector = json!({"app.kubernetes.io/instance": name});
    let object = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels, "annotations": {"sre.run": run}},
        "spec": {
            "completionMode": "Indexed",
            "completions": workers,
            "parallelism": workers,
            "backoffLimitPerIndex": 0,
            "activeDeadlineSeconds": (COMING + longest + KEPT).as_secs(),
            "ttlSecondsAfterFinished": KEPT.as_secs(),
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 5,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": selector},
                    }],
                    "containers": [{
                        "name": "worker",
                        "image": image,
                        "imagePullPolicy": pull_policy(image),
                        "args": ["worker", "--listen", format!("127.0.0.1:{PORT}")],
                        "resources": {
                            "requests": {"cpu": "100m", "memory": "64Mi"},
                            "limits": {"cpu": "2", "memory": "512Mi"},
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                },
            },
        },
    });
    serde_json::from_value(object).map_err(|e| Error::target("the Job of a load makes no sense").because(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_run_in_the_strictest_namespaces_and_is_asked_of_no_registry() {
        let job = job("sre-load-1", "run-1", "docker.io/library/sre:1", 3, Duration::from_secs(70));
        let job = serde_json::to_value(job.expect("a Job")).expect("JSON");
        assert_eq!(crate::restricted::violations(&job), Vec::<String>::new());
        assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "Never");
    }

    #[test]
    fn a_worker_is_never_started_again_and_ends_by_itself() {
        let job =
            job("sre-load-1", "run-1", "docker.io/library/sre:1", 3, Duration::from_secs(70)).expect("a Job");
        let spec = job.spec.expect("a spec");
        assert_eq!(
            (spec.completions, spec.parallelism, spec.backoff_limit_per_index),
            (Some(3), Some(3), Some(0))
        );
        assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
        assert_eq!((spec.active_deadline_seconds, spec.ttl_seconds_after_finished), (Some(220), Some(30)));
        let pod = spec.template.spec.expect("a pod");
        assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
        assert_eq!(pod.automount_service_account_token, Some(false));
        let resources = pod.containers[0].resources.as_ref().expect("resources");
        assert!(resources.requests.is_some() && resources.limits.is_some());
    }
}
