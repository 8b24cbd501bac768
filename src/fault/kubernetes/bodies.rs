//! The helper objects of faults. Pure.

use serde_json::{Value, json};

use super::record::LABEL;
use crate::target::kubernetes::image::pull_policy;
use crate::target::kubernetes::object::{MANAGED_BY, MANAGER};

/// The name of a helper pod's container.
pub const HELPER: &str = "sre";

/// The name of a fault's helper objects.
pub fn name(id: &str) -> String {
    format!("sre-fault-{id}")
}

/// The labels of a fault's helper objects.
pub fn labels(id: &str) -> Value {
    json!({MANAGED_BY: MANAGER, LABEL: id})
}

/// A NetworkPolicy that lets nothing in or out of the pods of a selector.
pub fn cut(name: &str, namespace: &str, id: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": labels(id)},
        "spec": {"podSelector": selector, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []},
    })
}

/// A pod that uses so many processors of a node, and ends by itself.
pub fn cpu_pod(
    name: &str,
    namespace: &str,
    id: &str,
    node: &str,
    image: &str,
    cores: f64,
    seconds: u64,
) -> Value {
    let limit = format!("{}m", (cores * 1000.0).ceil().max(1.0));
    let arguments =
        json!(["pressure", "cpu", "--cores", format!("{cores:.3}"), "--for", format!("{seconds}s")]);
    let mut pod = helper_pod(name, namespace, id, image, &arguments, seconds + 30);
    // Its node is known; a scheduler would only say no.
    pod["spec"]["nodeName"] = json!(node);
    pod["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": limit, "memory": "64Mi"}});
    pod
}

/// A pod of `sre` itself that may run in the strictest namespaces, and ends after some seconds at the latest.
pub fn helper_pod(
    name: &str,
    namespace: &str,
    id: &str,
    image: &str,
    arguments: &Value,
    seconds: u64,
) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels(id)},
        "spec": pod_spec(image, arguments, seconds),
    })
}

/// What such a pod is made of.
pub fn pod_spec(image: &str, arguments: &Value, seconds: u64) -> Value {
    json!({
        "restartPolicy": "Never",
        "activeDeadlineSeconds": seconds,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": HELPER, "image": image, "imagePullPolicy": pull_policy(image), "args": arguments,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restricted::violations;

    #[test]
    fn helper_pods_may_run_in_the_strictest_namespaces() {
        let arguments = json!(["app"]);
        let pods = [
            helper_pod("p", "shop", "one", "docker.io/library/sre:1", &arguments, 60),
            cpu_pod("p", "shop", "one", "node", "sre:1", 0.5, 60),
            json!({"kind": "Job", "spec": {"template": {"spec": pod_spec("sre:1", &arguments, 60)}}}),
        ];
        for pod in pods {
            assert_eq!(violations(&pod), Vec::<String>::new(), "{pod}");
        }
    }

    #[test]
    fn what_was_loaded_is_asked_of_no_registry() {
        for (image, policy) in [
            ("docker.io/library/sre:1", "Never"),
            ("docker.io/library/sre@sha256:00", "Never"),
            ("docker.io/library/sretools:1", "IfNotPresent"),
            ("registry.example/sre:1", "IfNotPresent"),
        ] {
            let spec = pod_spec(image, &json!([]), 60);
            assert_eq!(spec["containers"][0]["imagePullPolicy"], policy, "{image}");
        }
    }
}
