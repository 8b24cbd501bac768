//! The Pod Security Standard `restricted`, as far as it can be told from an object, of Kubernetes 1.35:
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.

use serde_json::Value;

/// Sysctls that touch nothing but the pod's own network and processes.
const SYSCTLS: [&str; 11] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
];

/// Kinds of volumes that lead to nothing of the node.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What `restricted` has against an object; nothing, where it makes no pods.
pub fn violations(object: &Value) -> Vec<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    match pod_of(object) {
        // The operator makes their containers, restricted ones; what it takes from here is the pod's.
        Some(pod) if matches!(kind, "Prometheus" | "Alertmanager") => {
            let context = &pod["securityContext"];
            [of_pod(pod), of_context(context, context)].concat()
        }
        Some(pod) => {
            let mut found = of_pod(pod);
            for container in containers(pod) {
                found.extend(of_container(pod, container));
            }
            found
        }
        None => Vec::new(),
    }
}

/// The description of the pods that an object is, or makes.
pub fn pod_of(object: &Value) -> Option<&Value> {
    let path = match object["kind"].as_str()? {
        "Pod" | "Prometheus" | "Alertmanager" => "/spec",
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => "/spec/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => return None,
    };
    object.pointer(path)
}

/// Every container of a pod.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|key| pod[key].as_array().into_iter().flatten())
}

fn of_pod(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod[key] == true {
            found.push(key.to_owned());
        }
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let kinds = volume.as_object().into_iter().flat_map(|fields| fields.keys());
        for kind in kinds.filter(|kind| *kind != "name" && !VOLUMES.contains(&kind.as_str())) {
            found.push(format!("volume {kind}"));
        }
    }
    let context = &pod["securityContext"];
    for sysctl in context["sysctls"].as_array().into_iter().flatten() {
        if !sysctl["name"].as_str().is_some_and(|name| SYSCTLS.contains(&name)) {
            found.push(format!("sysctl {}", sysctl["name"]));
        }
    }
    found
}

fn of_container(pod: &Value, container: &Value) -> Vec<String> {
    let context = &container["securityContext"];
    let mut found = of_context(&pod["securityContext"], context);
    if context["privileged"] == true {
        found.push("privileged".into());
    }
    if context["allowPrivilegeEscalation"] != false {
        found.push("allowPrivilegeEscalation".into());
    }
    let drops = context["capabilities"]["drop"].as_array();
    if !drops.into_iter().flatten().any(|name| name == "ALL") {
        found.push("capabilities are not dropped".into());
    }
    for added in context["capabilities"]["add"].as_array().into_iter().flatten() {
        if added != "NET_BIND_SERVICE" {
            found.push(format!("capability {added}"));
        }
    }
    if context.get("procMount").is_some_and(|mount| mount != "Default") {
        found.push("procMount".into());
    }
    for port in container["ports"].as_array().into_iter().flatten() {
        if port["hostPort"].as_u64().unwrap_or(0) != 0 {
            found.push("hostPort".into());
        }
    }
    let name = container["name"].as_str().unwrap_or_default();
    found.into_iter().map(|what| format!("{name}: {what}")).collect()
}

/// What may stand in a pod's context or a container's, which wins.
fn of_context(pod: &Value, container: &Value) -> Vec<String> {
    let effective = |key: &str| match &container[key] {
        Value::Null => &pod[key],
        own => own,
    };
    let mut found = Vec::new();
    if *effective("runAsNonRoot") != true {
        found.push("runAsNonRoot is not set".to_owned());
    }
    if *effective("runAsUser") == 0 {
        found.push("runAsUser 0".into());
    }
    if !matches!(effective("seccompProfile")["type"].as_str(), Some("RuntimeDefault" | "Localhost")) {
        found.push("seccompProfile is not set".into());
    }
    found
}
