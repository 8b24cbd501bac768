//! Whether the nodes have room for what the plan's pods ask for. Pure.

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::Value;

use super::rendered::Planned;
use crate::inspect::Finding;
use crate::target::kubernetes::nodes;

/// Processor time, in cores, and memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amount {
    /// Cores.
    pub cpu: f64,
    /// Bytes.
    pub memory: f64,
}

impl Amount {
    fn plus(self, other: Amount) -> Amount {
        Amount { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }

    fn minus(self, other: Amount) -> Amount {
        Amount { cpu: self.cpu - other.cpu, memory: self.memory - other.memory }
    }

    fn largest(self, other: Amount) -> Amount {
        Amount { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }

    fn fits(self, room: Amount) -> bool {
        // Sums of hundredths of cores are not exact.
        self.cpu <= room.cpu + 1e-9 && self.memory <= room.memory + 0.5
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} cores, {:.0} MiB", self.cpu, self.memory / f64::from(1 << 20))
    }
}

/// Pods that the plan would bring.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    name: String,
    /// How many; `None` for one a node.
    count: Option<u64>,
    each: Amount,
}

/// A node that pods may come to, and the room that is left on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Room {
    /// Its name.
    pub node: String,
    /// What no pod asks for yet.
    pub free: Amount,
}

/// Reads a quantity as Kubernetes writes it: `100m`, `256Mi`, `4`, `1e3`.
pub fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    let suffix = SUFFIXES.iter().find_map(|(suffix, by)| Some((text.strip_suffix(suffix)?, *by)));
    let (number, by) = suffix.unwrap_or((text, 1.0));
    // `inf` and `nan` are numbers to Rust, and no quantities.
    number.parse::<f64>().ok().map(|number| number * by).filter(|quantity| quantity.is_finite())
}

fn read(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| quantity(value.as_str()?))
}

/// What `resources` ask for; a limit alone is a request, too.
fn of_resources(resources: &Value) -> Amount {
    let asked = |key: &str| read(&resources["requests"][key]).or_else(|| read(&resources["limits"][key]));
    Amount { cpu: asked("cpu").unwrap_or(0.0), memory: asked("memory").unwrap_or(0.0) }
}

/// What a pod asks for: its containers together, or the largest of those that prepare it.
fn of_pod(spec: &Value) -> Amount {
    let list = |key: &str| spec[key].as_array().into_iter().flatten();
    let together = list("containers")
        .fold(Amount::default(), |sum, container| sum.plus(of_resources(&container["resources"])));
    list("initContainers")
        .fold(together, |most, container| most.largest(of_resources(&container["resources"])))
}

fn wanted(planned: &[Planned]) -> Vec<Wanted> {
    let of = |planned: &Planned| {
        let spec = planned.spec();
        let replicas = spec["replicas"].as_u64().unwrap_or(1);
        let (count, each) = match planned.kind() {
            "Deployment" | "StatefulSet" => (Some(replicas), of_pod(&spec["template"]["spec"])),
            "DaemonSet" => (None, of_pod(&spec["template"]["spec"])),
            "Job" => (Some(spec["parallelism"].as_u64().unwrap_or(1)), of_pod(&spec["template"]["spec"])),
            "Pod" => (Some(1), of_pod(spec)),
            // The operator's own: it adds small containers of its own.
            "Prometheus" | "Alertmanager" => (Some(replicas), of_resources(&spec["resources"])),
            _ => return None,
        };
        Some(Wanted { name: format!("{} {}", planned.kind(), planned.name()), count, each })
    };
    planned.iter().filter_map(of).collect()
}

/// Nodes that are ready and take any pod, with the room that `pods` leave on them. Of these, those for which `ours` holds
/// are not counted: they would be the same after `sre up`.
pub fn rooms(nodes: &[Node], pods: &[Pod], ours: impl Fn(&Pod) -> bool) -> Vec<Room> {
    let taking = nodes.iter().filter(|node| takes_pods(node));
    taking
        .filter_map(|node| {
            let name = node.metadata.name.clone()?;
            let allocatable = node.status.as_ref()?.allocatable.as_ref()?;
            let has = |key: &str| allocatable.get(key).and_then(|has| quantity(&has.0)).unwrap_or(0.0);
            let all = Amount { cpu: has("cpu"), memory: has("memory") };
            let used = pods.iter().filter(|pod| {
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name)
                    && !matches!(phase, Some("Succeeded" | "Failed"))
                    && !ours(pod)
            });
            let used = used.fold(Amount::default(), |sum, pod| {
                sum.plus(of_pod(&serde_json::to_value(&pod.spec).unwrap_or_default()))
            });
            Some(Room { node: name, free: all.minus(used) })
        })
        .collect()
}

/// Whether a node is ready and any pod may come to it.
pub fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let closed = spec.is_some_and(|spec| {
        spec.unschedulable == Some(true)
            || spec
                .taints
                .iter()
                .flatten()
                .any(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
    });
    !closed && nodes::is_ready(node)
}

/// Puts each pod where most memory is free, the largest first, as the scheduler might.
pub fn finding(planned: &[Planned], mut rooms: Vec<Room>) -> Finding {
    const NAME: &str = "room";
    let hint = "free room, add a node, or bring up less: sre up --replicas 1";
    let wanted = wanted(planned);
    let free = rooms.iter().fold(Amount::default(), |sum, room| sum.plus(room.free));
    let mut asked = Amount::default();
    let mut pods: Vec<(&str, Amount)> = Vec::new();
    for wanted in &wanted {
        match wanted.count {
            Some(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(10_000);
                pods.extend(std::iter::repeat_n((wanted.name.as_str(), wanted.each), count));
            }
            None => {
                for room in &mut rooms {
                    asked = asked.plus(wanted.each);
                    if !wanted.each.fits(room.free) {
                        return no_room(&wanted.name, wanted.each, &format!("node {}", room.node), room.free);
                    }
                    room.free = room.free.minus(wanted.each);
                }
            }
        }
    }
    asked = pods.iter().fold(asked, |sum, (_, each)| sum.plus(*each));
    pods.sort_by(|(_, a), (_, b)| b.memory.total_cmp(&a.memory));
    for (name, each) in pods {
        let fitting = rooms.iter_mut().filter(|room| each.fits(room.free));
        match fitting.max_by(|a, b| a.free.memory.total_cmp(&b.free.memory)) {
            Some(room) => room.free = room.free.minus(each),
            None => {
                let roomiest = rooms.iter().max_by(|a, b| a.free.memory.total_cmp(&b.free.memory));
                return match roomiest {
                    Some(room) => {
                        no_room(name, each, &format!("node {}, the roomiest,", room.node), room.free)
                    }
                    None => Finding::error(NAME, "no node takes pods", hint),
                };
            }
        }
    }
    Finding::ok(NAME, format!("{asked} asked for, {free} free"))
}

fn no_room(name: &str, each: Amount, place: &str, left: Amount) -> Finding {
    Finding::error(
        "room",
        format!("{name} asks for {each}\n{place} has {left} left with the rest of the stack"),
        "free room, add a node, or bring up less: sre up --replicas 1",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rendered::from_yaml;
    use super::*;
    use crate::inspect::Level;

    const MIB: f64 = 1_048_576.0;

    const OBJECTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 3
  template:
    spec:
      initContainers: [{name: i, resources: {requests: {memory: 20Mi}}}]
      containers: [{name: a, resources: {requests: {cpu: 100m, memory: 100Mi}}}, {name: b, resources: {limits: {cpu: 50m}}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec: {template: {spec: {containers: [{name: a, resources: {requests: {memory: 50Mi}}}]}}}
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: p}
spec: {resources: {requests: {memory: 256Mi}}}
";

    fn rooms(mib: &[f64]) -> Vec<Room> {
        let room = |(i, mib): (usize, &f64)| Room {
            node: format!("n{i}"),
            free: Amount { cpu: 1.0, memory: mib * MIB },
        };
        mib.iter().enumerate().map(room).collect()
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, value) in [
            ("100m", 0.1),
            ("4", 4.0),
            ("256Mi", 256.0 * MIB),
            ("1e3", 1000.0),
            ("1.5Gi", 1536.0 * MIB),
            ("1G", 1e9),
        ] {
            assert_eq!(quantity(text), Some(value), "{text}");
        }
        assert_eq!(quantity("many"), None);
    }

    #[test]
    fn what_fits_says_how_much_is_asked_for() {
        let finding = finding(&from_yaml("lab", OBJECTS), rooms(&[500.0, 500.0]));
        assert_eq!(finding.level, Level::Ok, "{finding:?}");
        assert_eq!(finding.message, "0.45 cores, 656 MiB asked for, 2.00 cores, 1000 MiB free");
    }

    #[test]
    fn enough_in_all_is_not_enough_for_one_pod() {
        let finding = finding(&from_yaml("lab", OBJECTS), rooms(&[290.0, 290.0, 290.0]));
        assert_eq!(finding.level, Level::Error);
        assert!(
            finding.message.starts_with("Prometheus p asks for 0.00 cores, 256 MiB"),
            "{}",
            finding.message
        );
    }

    #[test]
    fn a_node_that_takes_no_pods_is_no_room() {
        let node = |taints: Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints},
                "status": {"allocatable": {"cpu": "2", "memory": "1Gi"},
                    "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": null}]}}))
            .expect("a node")
        };
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "other"},
            "spec": {"nodeName": "n", "containers": [{"name": "a", "resources": {"requests": {"memory": "1Gi"}}}]}}))
        .expect("a pod");
        let pods = [pod];
        let of = |node: Node, ours| super::rooms(&[node], &pods, |_| ours);
        assert_eq!(of(node(json!([{"key": "k", "effect": "NoSchedule"}])), false), []);
        assert_eq!(of(node(json!([])), false)[0].free.memory, 0.0);
        assert_eq!(of(node(json!([])), true)[0].free.memory, 1024.0 * MIB, "what is up here already");
    }
}
