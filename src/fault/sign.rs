//! The sign of a fault: what monitoring shows of it, so that a machine can judge it. Pure.

use serde::{Deserialize, Serialize};

use super::kubernetes::{Effect, HELPER, PodRef, Record};
use crate::observe::{literal, matcher, one_of};
use crate::scenario::FaultKind;
use crate::target::kubernetes::object::ObjectRef;

/// What monitoring shows of a fault, as PromQL. Each expression is 1 while it shows it and 0 while it does not; it has no
/// value where nobody can tell, so that missing data is never taken for either.
///
/// In the catalogue `$name` stands for what the fault is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign<T = String> {
    /// 1 while the fault is shown.
    pub shown: T,
    /// 1 once it is over, where that is more than being shown no longer.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub over: Option<T>,
}

/// What a fault is on, as far as its sign tells of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// What is done.
    pub kind: &'a FaultKind,
    /// The `instance` labels of the replicas.
    pub instances: &'a [String],
    /// The object of a cluster, and what is done to it.
    pub object: Option<(&'a ObjectRef, &'a Record)>,
}

impl Sign<&'static str> {
    /// The sign of a fault on this; `None` where something of that is not known here.
    pub(super) fn filled(&self, subject: &Subject<'_>) -> Option<Sign> {
        let over = match self.over {
            Some(over) => Some(filled(over, subject)?),
            None => None,
        };
        Some(Sign { shown: filled(self.shown, subject)?, over })
    }
}

fn filled(template: &str, subject: &Subject<'_>) -> Option<String> {
    let mut parts = template.split('$');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(part.len());
        text += &subject.value(&part[..end])?;
        text += &part[end..];
    }
    Some(text)
}

impl Subject<'_> {
    /// What a name in a template stands for.
    fn value(&self, name: &str) -> Option<String> {
        let pods = self.pods();
        match name {
            "targets" => self.targets(&pods),
            "pods" if !pods.is_empty() => {
                Some(format!("{},{}", self.namespace()?, one_of("uid", pods.iter().map(|pod| &pod.uid))))
            }
            "count" => Some(pods.len().to_string()),
            "namespace" => self.namespace(),
            "workload" => self.workload(),
            "ready" => Some(format!("{}{{{}}}", ready_metric(&self.object?.0.kind)?, self.workload()?)),
            "replicas" => {
                let (on, record) = self.object?;
                record.ready.iter().find(|ready| ready.object == *on).map(|ready| ready.count.to_string())
            }
            "node" => {
                self.object.filter(|(on, _)| on.kind == "Node").map(|(on, _)| matcher("node", "=", &on.name))
            }
            "container" => self.effects().iter().find_map(|effect| match effect {
                Effect::Memory { container, .. } => Some(matcher("container", "=", container)),
                _ => None,
            }),
            "bytes" => self.effects().iter().find_map(|effect| match effect {
                Effect::Memory { share, limit, .. } => Some(format!("{:.0}", share * *limit as f64)),
                _ => None,
            }),
            "helpers" => {
                let names: Vec<&str> = self.effects().iter().filter_map(helper_pod).collect();
                let pods = (!names.is_empty()).then(|| one_of("pod", names))?;
                Some(format!("{},{pods},{}", self.namespace()?, matcher("container", "=", HELPER)))
            }
            "share" => match self.kind {
                FaultKind::CpuPressure(share) => Some(share.get().to_string()),
                _ => None,
            },
            "seconds" => match self.kind {
                FaultKind::Latency(latency) => Some(latency.as_secs_f64().to_string()),
                _ => None,
            },
            _ => None,
        }
    }

    /// The scrape targets that it is on: these pods, or all of a workload.
    fn targets(&self, pods: &[&PodRef]) -> Option<String> {
        let Some((on, _)) = self.object else {
            return (!self.instances.is_empty()).then(|| one_of("instance", self.instances));
        };
        let names = match pods {
            [] => matcher("pod", "=~", &pods_of(on)?),
            named => one_of("pod", named.iter().map(|pod| &pod.name)),
        };
        Some(format!("{},{names}", self.namespace()?))
    }

    fn namespace(&self) -> Option<String> {
        let (on, _) = self.object?;
        on.namespace.as_deref().map(|namespace| matcher("namespace", "=", namespace))
    }

    fn workload(&self) -> Option<String> {
        let (on, _) = self.object?;
        let label = on.kind.to_ascii_lowercase();
        Some(format!("{},{}", self.namespace()?, matcher(&label, "=", &on.name)))
    }

    fn effects(&self) -> &[Effect] {
        self.object.map_or(&[], |(_, record)| &record.effects)
    }

    /// The pods that it takes.
    fn pods(&self) -> Vec<&PodRef> {
        self.effects().iter().flat_map(Effect::pods).collect()
    }
}

/// The name of a helper pod.
fn helper_pod(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Create { object, .. } if object.kind == "Pod" => Some(&object.name),
        _ => None,
    }
}

/// The metric of kube-state-metrics that tells how many pods of a workload are ready.
fn ready_metric(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" => Some("kube_deployment_status_replicas_ready"),
        "StatefulSet" => Some("kube_statefulset_status_replicas_ready"),
        "DaemonSet" => Some("kube_daemonset_status_number_ready"),
        "ReplicaSet" => Some("kube_replicaset_status_ready_replicas"),
        _ => None,
    }
}

/// The names of a workload's pods, of those to come, too, as a regular expression.
fn pods_of(on: &ObjectRef) -> Option<String> {
    let rest = match on.kind.as_str() {
        "Deployment" => "-[a-z0-9]+-[a-z0-9]{5}",
        "StatefulSet" => "-[0-9]+",
        "DaemonSet" | "ReplicaSet" => "-[a-z0-9]{5}",
        "Pod" => "",
        _ => return None,
    };
    Some(format!("{}{rest}", literal(&on.name)))
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;

    use super::super::kubernetes::Ready;
    use super::*;

    fn object(kind: &str) -> ObjectRef {
        let namespace = (kind != "Node").then(|| "shop".to_owned());
        ObjectRef { api_version: "v1".into(), kind: kind.into(), namespace, name: "web".into() }
    }

    fn pod(number: u8) -> PodRef {
        PodRef { namespace: "shop".into(), name: format!("web-{number}"), uid: format!("uid-{number}") }
    }

    fn parsed(yaml: &str) -> FaultKind {
        serde_saphyr::from_str(yaml).expect("a kind")
    }

    /// The sign of a fault that does this to an object of a cluster.
    fn on_cluster(yaml: &str, kind: &str, effects: Vec<Effect>) -> Option<Sign> {
        let (on, fault) = (object(kind), parsed(yaml));
        let mut record = Record::new("id", "x", Timestamp::UNIX_EPOCH, effects);
        record.ready = vec![Ready { object: on.clone(), count: 3 }];
        fault.sign()?.filled(&Subject { kind: &fault, instances: &[], object: Some((&on, &record)) })
    }

    fn on_replicas(yaml: &str) -> Option<Sign> {
        let fault = parsed(yaml);
        let instances = ["127.0.0.1:41000".to_owned(), "127.0.0.1:41002".to_owned()];
        fault.sign()?.filled(&Subject { kind: &fault, instances: &instances, object: None })
    }

    #[test]
    fn a_replica_is_found_by_its_instance() {
        let sign = on_replicas("kill").expect("a sign");
        assert_eq!(
            sign.shown,
            r#"min(up{instance=~"127\\.0\\.0\\.1:41000|127\\.0\\.0\\.1:41002"}) < bool 1"#
        );
        let sign = on_replicas("{latency: 1500ms}").expect("a sign");
        assert!(sign.shown.ends_with("> bool 0.25 * 1.5"), "{}", sign.shown);
        assert_eq!(on_replicas("unready"), None, "no counter of the service tells");
    }

    #[test]
    fn a_pod_is_this_one_and_no_other_of_its_name() {
        let delete = Effect::Delete { pods: vec![pod(0), pod(1)] };
        let sign = on_cluster("pod-delete", "Deployment", vec![delete]).expect("a sign");
        assert!(
            sign.shown.contains(r#"{namespace="shop",uid=~"uid-0|uid-1",condition="true"}"#),
            "{}",
            sign.shown
        );
        assert!(sign.shown.ends_with("< bool 2"), "{}", sign.shown);
        assert_eq!(
            sign.over.as_deref(),
            Some(
                r#"max(kube_deployment_status_replicas_ready{namespace="shop",deployment="web"}) >= bool 3"#
            )
        );
    }

    #[test]
    fn a_workload_is_found_by_the_names_of_its_pods() {
        let sign = on_cluster("network-cut", "StatefulSet", Vec::new()).expect("a sign");
        assert_eq!(sign.shown, r#"min(up{namespace="shop",pod=~"web-[0-9]+"}) < bool 1"#);
        assert_eq!(on_cluster("scale-to-zero", "Job", Vec::new()), None, "nothing counts its ready pods");
    }

    #[test]
    fn every_sign_of_the_catalogue_is_promql_once_it_is_filled() {
        let pods = vec![pod(0)];
        let memory = Effect::Memory { pod: pod(0), container: "web".into(), share: 0.8, limit: 64 << 20 };
        let switches = Effect::Switches { pods: pods.clone(), port: 9090, switches: Default::default() };
        let on_objects = |fault: &FaultKind| match fault {
            FaultKind::Kill | FaultKind::Pause => None,
            FaultKind::PodDelete => Some(("Deployment", vec![Effect::Delete { pods: pods.clone() }])),
            FaultKind::MemoryPressure(_) => Some(("Deployment", vec![memory.clone()])),
            FaultKind::CpuPressure(_) => {
                let helper = ObjectRef { name: "sre-fault-id-0".into(), ..object("Pod") };
                Some(("Deployment", vec![Effect::Create { object: helper, body: None }]))
            }
            FaultKind::Cordon | FaultKind::Drain | FaultKind::NodeStop => Some(("Node", Vec::new())),
            fault if fault.is_on_objects() => Some(("Deployment", Vec::new())),
            _ => Some(("Deployment", vec![switches.clone()])),
        };
        for known in super::super::describe() {
            let yaml =
                known.example.map_or(known.name.to_owned(), |example| format!("{}: {example}", known.name));
            let sign = match on_objects(&parsed(&yaml)) {
                Some((kind, effects)) => on_cluster(&yaml, kind, effects),
                None => on_replicas(&yaml),
            };
            let sign = sign.unwrap_or_else(|| panic!("{yaml} has a name that nothing fills"));
            for expression in [Some(&sign.shown), sign.over.as_ref()].into_iter().flatten() {
                assert!(!expression.contains('$'), "{expression}");
                assert_eq!(crate::scenario::expression(expression), Ok(()), "{expression}");
            }
        }
    }
}
