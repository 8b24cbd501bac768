//! How a namespace's pods are spread over nodes and zones, and how many a lost zone takes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::Warning;

/// A pod that runs or shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub pod: String,
    /// What made it: `Deployment frontend`.
    pub owner: Owner,
    /// The node that it is on, once it is scheduled.
    pub node: Option<String>,
}

/// What made a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, …; `Pod` for a pod that nothing made.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
}

/// Pods on nodes and in zones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// Who told where the pods are.
    pub source: String,
    /// All pods.
    pub pods: usize,
    /// The zone whose loss takes the most pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst: Option<Loss>,
    /// Each workload's.
    pub workloads: Vec<Workload>,
    /// Nodes with pods on them.
    pub nodes: Vec<OnNode>,
    /// What to look into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// What the loss of a zone takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The zone.
    pub zone: String,
    /// How many pods.
    pub takes: usize,
}

/// One workload's pods.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its pods.
    pub pods: usize,
    /// Those that are on no node yet.
    #[serde(skip_serializing_if = "is_zero")]
    pub unscheduled: usize,
    /// How many are in each zone; pods on nodes without a zone are not in it.
    pub zones: BTreeMap<String, usize>,
    /// The zone whose loss takes the most; `None` where no zone is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst: Option<Loss>,
    /// How well it is spread.
    pub verdict: Verdict,
}

/// How well a workload is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As evenly over the zones as its number allows.
    Even,
    /// A zone has more than its share.
    Uneven,
    /// All of several pods are in one zone of several.
    OneZone,
    /// There is one pod.
    OnePod,
    /// The cluster has one zone, or its nodes tell none.
    NoZones,
    /// One on each node, as a DaemonSet has it.
    EveryNode,
    /// There is no pod.
    NoPods,
}

/// A node's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnNode {
    /// The node.
    pub name: String,
    /// Its zone.
    pub zone: Option<String>,
    /// How many pods of the namespace it has.
    pub pods: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What a workload is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// `Deployment frontend`.
    pub owner: Owner,
    /// How many pods.
    pub replicas: u64,
}

/// How pods are spread over nodes, of workloads that are to have so many. `source` is who told.
pub fn spread(source: &str, pods: &[Placed], nodes: &[Node], wanted: &[Wanted]) -> Spread {
    let zone_of = |node: &str| nodes.iter().find(|n| n.name == node).and_then(|n| n.zone.as_deref());
    let zones: Vec<&str> = {
        let mut all: Vec<&str> = nodes.iter().filter_map(|node| node.zone.as_deref()).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let mut by_owner: BTreeMap<&Owner, Vec<&Placed>> = BTreeMap::new();
    for pod in pods {
        by_owner.entry(&pod.owner).or_default().push(pod);
    }
    for workload in wanted {
        by_owner.entry(&workload.owner).or_default();
    }
    let in_zones = |pods: &[&Placed]| {
        let mut counts = BTreeMap::new();
        for zone in pods.iter().filter_map(|pod| zone_of(pod.node.as_deref()?)) {
            *counts.entry(zone.to_owned()).or_insert(0) += 1;
        }
        counts
    };
    let workload = |(owner, pods): (&&Owner, &Vec<&Placed>)| {
        let counts = in_zones(pods);
        Workload {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            pods: pods.len(),
            unscheduled: pods.iter().filter(|pod| pod.node.is_none()).count(),
            worst: worst(&counts),
            verdict: verdict(&owner.kind, pods.len(), &counts, zones.len()),
            zones: counts,
        }
    };
    let workloads: Vec<Workload> = by_owner.iter().map(workload).collect();
    let mut on_nodes: BTreeMap<&str, usize> = BTreeMap::new();
    for node in pods.iter().filter_map(|pod| pod.node.as_deref()) {
        *on_nodes.entry(node).or_insert(0) += 1;
    }
    let on_node = |(name, pods): (&str, usize)| OnNode {
        name: name.to_owned(),
        zone: zone_of(name).map(str::to_owned),
        pods,
    };
    Spread {
        source: source.to_owned(),
        pods: pods.len(),
        worst: worst(&in_zones(&pods.iter().collect::<Vec<_>>())),
        warnings: [lacking(&workloads, wanted), warnings(&workloads, nodes, zones.len())].concat(),
        workloads,
        nodes: on_nodes.into_iter().map(on_node).collect(),
    }
}

/// The zone with the most; the first by name of several.
fn worst(zones: &BTreeMap<String, usize>) -> Option<Loss> {
    let most = zones.values().max()?;
    zones
        .iter()
        .find(|(_, count)| *count == most)
        .map(|(zone, count)| Loss { zone: zone.clone(), takes: *count })
}

fn verdict(kind: &str, pods: usize, zones: &BTreeMap<String, usize>, known: usize) -> Verdict {
    let most = zones.values().max().copied().unwrap_or(0);
    match () {
        () if pods == 0 => Verdict::NoPods,
        () if kind == "DaemonSet" => Verdict::EveryNode,
        () if pods == 1 => Verdict::OnePod,
        () if known < 2 || most == 0 => Verdict::NoZones,
        () if most == pods => Verdict::OneZone,
        () if most > pods.div_ceil(known) => Verdict::Uneven,
        () => Verdict::Even,
    }
}

/// Workloads that have fewer pods than they are to have, and those that are to have none.
fn lacking(workloads: &[Workload], wanted: &[Wanted]) -> Vec<Warning> {
    let is_of = |workload: &Workload, wanted: &Wanted| {
        (&workload.kind, &workload.name) == (&wanted.owner.kind, &wanted.owner.name)
    };
    let mut warnings = Vec::new();
    for wanted in wanted {
        let name = &wanted.owner.name;
        let pods =
            workloads.iter().find(|workload| is_of(workload, wanted)).map_or(0, |found| found.pods as u64);
        match (pods, wanted.replicas) {
            (0, 0) => warnings.push(Warning::new(
                format!("{name} has no pod: it is scaled to 0"),
                "whoever asks it gets no answer",
            )),
            (pods, replicas) if pods < replicas => warnings.push(Warning::new(
                format!("{name} has {pods} of {replicas} pods"),
                "the others cannot be made: kubectl describe replicaset, or statefulset, tells why",
            )),
            _ => {}
        }
    }
    warnings
}

fn warnings(workloads: &[Workload], nodes: &[Node], zones: usize) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for workload in workloads {
        let name = &workload.name;
        let worst = workload.worst.as_ref();
        match (workload.verdict, worst) {
            (Verdict::OnePod, Some(loss)) => warnings.push(Warning::new(
                format!("{name} has one pod"),
                format!("the loss of its node or of zone {} takes all of it", loss.zone),
            )),
            (Verdict::OnePod, None) => warnings
                .push(Warning::new(format!("{name} has one pod"), "the loss of its node takes all of it")),
            (Verdict::OneZone, Some(loss)) => warnings.push(Warning::new(
                format!("all {} pods of {name} are in zone {}", workload.pods, loss.zone),
                "the loss of that zone takes all of it; topologySpreadConstraints spread pods",
            )),
            (Verdict::Uneven, Some(loss)) => warnings.push(Warning::new(
                format!(
                    "{} of {} pods of {name} are in zone {}; spread evenly it were {}",
                    loss.takes,
                    workload.pods,
                    loss.zone,
                    workload.pods.div_ceil(zones)
                ),
                "the loss of that zone takes more than its share",
            )),
            _ => {}
        }
        if workload.unscheduled > 0 {
            warnings.push(Warning::new(
                format!("{} of {} pods of {name} are on no node", workload.unscheduled, workload.pods),
                "they do not run: kubectl describe pod tells what the scheduler lacks",
            ));
        }
    }
    let without = nodes.iter().filter(|node| node.zone.is_none()).count();
    if without > 0 {
        warnings.push(Warning::new(
            format!("{without} of {} nodes have no label topology.kubernetes.io/zone", nodes.len()),
            "what a lost zone takes of them cannot be told",
        ));
    } else if zones == 1 && nodes.len() > 1 {
        warnings.push(Warning::new("all nodes are in one zone", "its loss takes everything"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(zones: &[&str]) -> Vec<Node> {
        let zone = |zone: &&str| (!zone.is_empty()).then(|| zone.to_string());
        zones.iter().enumerate().map(|(i, z)| Node { name: format!("n{}", i + 1), zone: zone(z) }).collect()
    }

    fn pods(owner: &str, on: &[&str]) -> Vec<Placed> {
        let (kind, name) = owner.split_once(' ').expect("kind and name");
        let node = |node: &&str| (!node.is_empty()).then(|| node.to_string());
        let placed = |(i, on): (usize, &&str)| Placed {
            pod: format!("{name}-{i}"),
            owner: Owner { kind: kind.into(), name: name.into() },
            node: node(on),
        };
        on.iter().enumerate().map(placed).collect()
    }

    fn seen(owner: &str, on: &[&str], zones: &[&str]) -> (Verdict, Option<usize>, usize) {
        let spread = spread("a test", &pods(owner, on), &nodes(zones), &[]);
        let workload = &spread.workloads[0];
        (workload.verdict, workload.worst.as_ref().map(|loss| loss.takes), spread.warnings.len())
    }

    #[test]
    fn a_lost_zone_takes_what_is_in_it() {
        let three = ["a", "b", "c"];
        for (owner, on, verdict, takes, warnings) in [
            ("Deployment web", &["n1", "n2", "n3"][..], Verdict::Even, 1, 0),
            ("Deployment web", &["n1", "n2", "n3", "n1"], Verdict::Even, 2, 0),
            ("Deployment web", &["n1", "n1", "n1", "n2"], Verdict::Uneven, 3, 1),
            ("Deployment web", &["n2", "n2"], Verdict::OneZone, 2, 1),
            ("StatefulSet db", &["n3"], Verdict::OnePod, 1, 1),
            ("DaemonSet log", &["n1", "n2", "n3"], Verdict::EveryNode, 1, 0),
        ] {
            assert_eq!(seen(owner, on, &three), (verdict, Some(takes), warnings), "{owner} on {on:?}");
        }
    }

    #[test]
    fn without_zones_nothing_is_said_of_their_loss() {
        assert_eq!(seen("Deployment web", &["n1", "n2"], &["", ""]), (Verdict::NoZones, None, 1));
        assert_eq!(seen("Deployment web", &["n1", "n2"], &["a", "a"]), (Verdict::NoZones, Some(2), 1));
        // Pods on a node that nobody told of.
        assert_eq!(seen("Deployment web", &["n8", "n9"], &["a", "b"]), (Verdict::NoZones, None, 0));
    }

    #[test]
    fn a_pod_on_no_node_is_told_and_is_in_no_zone() {
        let spread = spread("a test", &pods("Deployment web", &["n1", ""]), &nodes(&["a", "b"]), &[]);
        let workload = &spread.workloads[0];
        assert_eq!((workload.pods, workload.unscheduled, workload.zones.len()), (2, 1, 1));
        assert!(spread.warnings[0].what.contains("1 of 2 pods"), "{:?}", spread.warnings);
        assert_eq!(spread.nodes, [OnNode { name: "n1".into(), zone: Some("a".into()), pods: 1 }]);
    }

    #[test]
    fn the_whole_namespace_has_a_worst_zone() {
        let all = [pods("Deployment web", &["n1", "n2"]), pods("Deployment db", &["n2"])].concat();
        let spread = spread("a test", &all, &nodes(&["a", "b"]), &[]);
        assert_eq!(spread.worst, Some(Loss { zone: "b".into(), takes: 2 }));
        assert_eq!(spread.workloads.len(), 2);
    }

    #[test]
    fn a_workload_without_pods_is_shown_and_told() {
        let wanted = |name: &str, replicas| Wanted {
            owner: Owner { kind: "Deployment".into(), name: name.into() },
            replicas,
        };
        let all = [wanted("cache", 0), wanted("stuck", 2), wanted("web", 1)];
        let spread = spread("a test", &pods("Deployment web", &["n1"]), &nodes(&["a", "b"]), &all);
        let seen: Vec<(&str, usize, Verdict)> =
            spread.workloads.iter().map(|one| (one.name.as_str(), one.pods, one.verdict)).collect();
        assert_eq!(
            seen,
            [("cache", 0, Verdict::NoPods), ("stuck", 0, Verdict::NoPods), ("web", 1, Verdict::OnePod)]
        );
        assert_eq!(spread.warnings[0].what, "cache has no pod: it is scaled to 0");
        assert_eq!(spread.warnings[1].what, "stuck has 0 of 2 pods");
        assert_eq!(spread.pods, 1);
    }
}
