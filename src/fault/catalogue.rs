//! The catalogue of faults: what each does, what it touches, what monitoring must show.

use serde::Serialize;

use super::Sign;
use crate::scenario::FaultKind;

/// What there is to know of one kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Its key in a scenario: `error-rate`.
    pub name: &'static str,
    /// Its value in a scenario, by example; `None` for a fault without one.
    pub example: Option<&'static str>,
    /// What it does.
    pub does: &'static str,
    /// What it touches, and how it is undone.
    pub touches: &'static str,
    /// What monitoring must show.
    pub shows: &'static str,
    /// The same for a machine.
    pub sign: Sign<&'static str>,
    /// Where it can be injected.
    pub on: &'static [Place],
}

/// Where a fault can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Processes on this machine, that `sre up` started.
    Local,
    /// Objects of a cluster.
    Cluster,
}

/// Every kind of fault, in the order of the documentation.
pub fn describe() -> &'static [Description] {
    &CATALOGUE
}

const CATALOGUE: [Description; 17] = [
    Description {
        name: "latency",
        example: Some("2s"),
        does: "Every answer comes this much later.",
        touches: "A switch of the demo service, by its admin port. The process goes on.",
        shows: "The latency histogram moves up; HighLatency fires once p95 is over its limit. Errors stay as they are.",
        sign: Sign {
            shown: "sum(rate(app_request_latency_seconds_sum{$targets}[15s])) / (sum(rate(app_request_latency_seconds_count{$targets}[15s])) > 0) > bool 0.25 * $seconds",
            over: None,
        },
        on: &[Place::Local, Place::Cluster],
    },
    Description {
        name: "error-rate",
        example: Some("20%"),
        does: "This share of the answers is an error, status 500.",
        touches: "A switch of the demo service, by its admin port. The process goes on.",
        shows: "Requests with status 500 and `app_error_count_total{error_type=\"injected_error\"}` rise; HighErrorRate fires.",
        sign: Sign {
            shown: r#"sum(rate(app_error_count_total{$targets,error_type="injected_error"}[15s])) > bool 0 or 0 * max(up{$targets} == 1)"#,
            over: None,
        },
        on: &[Place::Local, Place::Cluster],
    },
    Description {
        name: "exceptions",
        example: Some("20%"),
        does: "This share of the requests ends in an exception, status 500.",
        touches: "A switch of the demo service, by its admin port. The process goes on.",
        shows: "`app_exceptions_total` rises, and requests with status 500; HighErrorRate fires.",
        sign: Sign {
            shown: "sum(rate(app_exceptions_total{$targets}[15s])) > bool 0 or 0 * max(up{$targets} == 1)",
            over: None,
        },
        on: &[Place::Local, Place::Cluster],
    },
    Description {
        name: "unready",
        example: None,
        does: "The readiness probe answers 503; requests are answered as ever.",
        touches: "A switch of the demo service, by its admin port. The process goes on.",
        shows: "Nothing in the counters: whoever heeds readiness sends no more requests there.",
        sign: Sign {
            shown: r#"sum(kube_pod_status_ready{$pods,condition="true"}) < bool $count"#,
            over: None,
        },
        on: &[Place::Local, Place::Cluster],
    },
    Description {
        name: "kill",
        example: None,
        does: "The process is killed (SIGKILL), and started again at the end as it was.",
        touches: "A process that `sre up` started. Its counters begin at 0 again, and what was counted since the last scrape is lost.",
        shows: "`up` is 0 for the instance; InstanceDown fires. Connections are refused.",
        sign: Sign { shown: "min(up{$targets}) < bool 1", over: None },
        on: &[Place::Local],
    },
    Description {
        name: "pause",
        example: None,
        does: "The process is stopped (SIGSTOP), and continued at the end.",
        touches: "A process that `sre up` started. It keeps its memory, its counters and its connections.",
        shows: "Scrapes time out and `up` is 0 for the instance; ServiceUnresponsive or InstanceDown fires. Requests hang and are answered late, or run into their time-out.",
        sign: Sign { shown: "min(up{$targets}) < bool 1", over: None },
        on: &[Place::Local],
    },
    Description {
        name: "pod-delete",
        example: None,
        does: "Pods are deleted, one unless `count` says more; their workload makes new ones.",
        touches: "Pods, and an annotation on their workload. At the end it is waited for until as many are ready as before.",
        shows: "The deleted pod's `up` series ends and a new pod's begins; `kube_deployment_status_replicas_available` drops until it is ready. Requests that were under way may fail.",
        sign: Sign {
            shown: r#"(sum(kube_pod_status_ready{$pods,condition="true"} unless on (uid) kube_pod_deletion_timestamp{$pods}) or 0 * count(kube_node_info)) < bool $count"#,
            over: Some("max($ready) >= bool $replicas"),
        },
        on: &[Place::Cluster],
    },
    Description {
        name: "scale-to-zero",
        example: None,
        does: "A Deployment or StatefulSet is scaled to 0 replicas.",
        touches: "`spec.replicas`, set back to what it was. An autoscaler rests while it is 0.",
        shows: "The workload's targets disappear, so that `up` has no series: an alert on `absent(up{…})` fires, InstanceDown does not. At an ingress requests fail at once with 502, 503 or 404; at a Service or a node's port connections are refused or, most of them, time out.",
        sign: Sign { shown: "max($ready) < bool 1", over: Some("max($ready) >= bool $replicas") },
        on: &[Place::Cluster],
    },
    Description {
        name: "wrong-port",
        example: None,
        does: "A Service or an Ingress leads to port 1, where nobody listens.",
        touches: "The `targetPort` of the Service's ports, or the ports of the Ingress' backends; they are set back.",
        shows: "Pods and targets stay as they are; 502 or 503 rise at the ingress, connections to the Service are refused.",
        sign: Sign {
            shown: r#"sum(rate(nginx_ingress_controller_requests{status=~"50[234]"}[15s]) or rate(traefik_entrypoint_requests_total{code=~"50[234]"}[15s])) > bool 0 or 0 * sum(rate(nginx_ingress_controller_requests[15s]) or rate(traefik_entrypoint_requests_total[15s]))"#,
            over: None,
        },
        on: &[Place::Cluster],
    },
    Description {
        name: "broken-readiness",
        example: None,
        does: "A new version is rolled out whose readiness probe always fails: the rollout does not come to its end.",
        touches: "The readiness probe in the pod template of a Deployment; it is set back, and the ReplicaSet of the broken version is removed, so that no rollback leads to it.",
        shows: "`kube_pod_status_ready` is 0 for the new pods and `kube_deployment_status_replicas_unavailable` is above 0; KubeDeploymentRolloutStuck fires in time. As many old pods are lost as `maxUnavailable` allows.",
        sign: Sign {
            shown: "max(kube_deployment_status_replicas_unavailable{$workload}) > bool 0",
            over: None,
        },
        on: &[Place::Cluster],
    },
    Description {
        name: "cpu-pressure",
        example: Some("80%"),
        does: "Helper pods use this share of the processors of the nodes on which the pods are.",
        touches: "Helper pods that end by themselves, one a node; the workload itself has only an annotation.",
        shows: "`container_cpu_usage_seconds_total` of the helper pods grows by about this share of their nodes' processors, and `node_cpu_seconds_total` in mode idle falls; latencies rise where the nodes are busy already. What a pod requests it still gets.",
        sign: Sign {
            shown: "sum(container_cpu_usage_seconds_total{$helpers}) / sum((timestamp(container_start_time_seconds{$helpers}) - container_start_time_seconds{$helpers}) * on (node) group_left () max by (node) (machine_cpu_cores)) > bool 0.25 * $share or 0 * max(machine_cpu_cores)",
            over: None,
        },
        on: &[Place::Cluster],
    },
    Description {
        name: "memory-pressure",
        example: Some("80%"),
        does: "Memory is taken inside a pod's container until this share of its limit is in use; at 100% the kernel kills the container.",
        touches: "A process in the container, which ends by itself and with the connection of `sre`. The container needs a memory limit, and `sre` or a shell in its image. Whether it was killed is looked at.",
        shows: "`container_memory_working_set_bytes` rises to the share; at 100% `kube_pod_container_status_restarts_total` rises and the last reason is OOMKilled.",
        sign: Sign {
            shown: "max(increase(kube_pod_container_status_restarts_total{$pods,$container}[1m]) > bool 0 or container_memory_working_set_bytes{$targets,$container} > bool 0.9 * $bytes)",
            over: Some(
                "min(kube_pod_container_status_ready{$pods,$container} or container_memory_working_set_bytes{$targets,$container} < bool 0.9 * $bytes) == bool 1",
            ),
        },
        on: &[Place::Cluster],
    },
    Description {
        name: "network-cut",
        example: None,
        does: "A NetworkPolicy cuts the pods off from everything.",
        touches: "A NetworkPolicy of its own, removed at the end. Whether the cluster's network enforces policies is tried out first; where it does not, the fault is refused.",
        shows: "Scrapes of the pods time out and `up` is 0: InstanceDown fires. Requests run into their time-out. Readiness stays, because the kubelet's probes come from the node.",
        sign: Sign { shown: "min(up{$targets}) < bool 1", over: None },
        on: &[Place::Cluster],
    },
    Description {
        name: "cordon",
        example: None,
        does: "A node takes no new pods.",
        touches: "`spec.unschedulable` of the node, set back to what it was.",
        shows: "`kube_node_spec_unschedulable` is 1. Nothing changes for pods that run.",
        sign: Sign { shown: "max(kube_node_spec_unschedulable{$node}) > bool 0", over: None },
        on: &[Place::Cluster],
    },
    Description {
        name: "drain",
        example: None,
        does: "A node takes no new pods, and the pods on it are evicted, but for those of DaemonSets and of `sre` itself.",
        touches: "`spec.unschedulable` of the node, set back; evicted pods are made again elsewhere and stay there. Budgets for disruptions are kept.",
        shows: "`kube_node_spec_unschedulable` is 1; the evicted pods' `up` series end and new pods' begin. Alerts stay quiet where enough replicas are left.",
        sign: Sign { shown: "max(kube_node_spec_unschedulable{$node}) > bool 0", over: None },
        on: &[Place::Cluster],
    },
    Description {
        name: "node-stop",
        example: None,
        does: "A node is stopped by minikube, or by a command that the user names.",
        touches: "The node. It is started again by minikube or by the user's other command, from this machine only.",
        shows: "`up` is 0 for everything on the node; its condition Ready turns Unknown after about 50 s and KubeNodeNotReady fires. Its pods are made again elsewhere after minutes.",
        sign: Sign {
            shown: r#"min(up{$node} or kube_node_status_condition{$node,condition="Ready",status="true"}) < bool 1"#,
            over: None,
        },
        on: &[Place::Cluster],
    },
    Description {
        name: "redis-pause",
        example: None,
        does: "Redis answers nobody (`CLIENT PAUSE`).",
        touches: "The Redis server in a pod, by a connection that keeps it paused: it goes on at the latest 3 s after the connection is gone.",
        shows: "`redis_up` is 0 or scrapes of redis_exporter time out; requests that need Redis hang, then fail. Nothing is lost.",
        sign: Sign {
            shown: "min(redis_up{$namespace} or up{$namespace} and on (job, instance) last_over_time(redis_up{$namespace}[5m])) < bool 1",
            over: None,
        },
        on: &[Place::Cluster],
    },
];

impl FaultKind {
    /// What monitoring shows of it.
    pub fn sign(&self) -> Option<&'static Sign<&'static str>> {
        describe().iter().find(|known| known.name == self.name()).map(|known| &known.sign)
    }

    /// Its key in a scenario.
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Latency(_) => "latency",
            FaultKind::ErrorRate(_) => "error-rate",
            FaultKind::Exceptions(_) => "exceptions",
            FaultKind::Unready => "unready",
            FaultKind::Kill => "kill",
            FaultKind::Pause => "pause",
            FaultKind::PodDelete => "pod-delete",
            FaultKind::ScaleToZero => "scale-to-zero",
            FaultKind::WrongPort => "wrong-port",
            FaultKind::BrokenReadiness => "broken-readiness",
            FaultKind::CpuPressure(_) => "cpu-pressure",
            FaultKind::MemoryPressure(_) => "memory-pressure",
            FaultKind::NetworkCut => "network-cut",
            FaultKind::Cordon => "cordon",
            FaultKind::Drain => "drain",
            FaultKind::NodeStop => "node-stop",
            FaultKind::RedisPause => "redis-pause",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault as a scenario has it.
    fn parsed(description: &Description) -> FaultKind {
        let yaml = match description.example {
            Some(example) => format!("{}: {example}", description.name),
            None => description.name.to_owned(),
        };
        serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
    }

    #[test]
    fn every_fault_of_the_catalogue_can_be_written_in_a_scenario() {
        for description in describe() {
            let kind = parsed(description);
            assert_eq!(kind.name(), description.name);
            let words = description.example.map_or(String::new(), |example| format!(" {example}"));
            assert_eq!(kind.to_string(), format!("{}{words}", description.name));
        }
    }

    #[test]
    fn every_fault_of_a_scenario_is_in_the_catalogue() {
        let schema = serde_json::to_value(schemars::schema_for!(FaultKind)).expect("a schema").to_string();
        let variants = schema.matches("\"const\":").count() + schema.matches("\"required\":[").count();
        assert_eq!(variants, describe().len(), "{schema}");
    }

    #[test]
    fn the_documentation_tells_what_the_catalogue_tells() {
        let documentation = include_str!("../../docs/faults.md");
        for description in describe() {
            let sign = [Some(description.sign.shown), description.sign.over].into_iter().flatten();
            for part in [description.does, description.touches, description.shows].into_iter().chain(sign) {
                assert!(documentation.contains(part), "docs/faults.md, {}: {part}", description.name);
            }
        }
    }
}
