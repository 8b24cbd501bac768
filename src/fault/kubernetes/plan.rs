//! What a fault does to what there is, and how far that reaches. Pure.

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::{Value, json};

use super::bodies;
use super::change::at;
use super::record::{Effect, PodRef, Ready};
use super::survey::{Seen, Survey};
use crate::error::{Error, Result};
use crate::fault::Switches;
use crate::scenario::FaultKind;
use crate::target::kubernetes::object::ObjectRef;

/// A port on which nobody listens.
const NOBODY: u16 = 1;

/// The port of Redis.
const REDIS: u16 = 6379;

/// The admin port of the demo service in a pod.
pub const ADMIN: u16 = 9090;

/// What is asked for, apart from where.
#[derive(Debug, Clone)]
pub struct Request {
    /// The kind of fault.
    pub kind: FaultKind,
    /// How many pods it takes, where it takes some of them.
    pub count: usize,
    /// The numbers of the pods, by name, where a fault names some of them.
    pub replicas: Option<Vec<usize>>,
    /// Whether the last replica may be taken.
    pub allow_outage: bool,
    /// The image of `sre`, for helper pods.
    pub image: Option<String>,
    /// For how many seconds.
    pub seconds: u64,
    /// Commands that stop and start a node; `{node}` is replaced.
    pub node: Option<(String, String)>,
}

/// What a fault will do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The object that it is on.
    pub on: ObjectRef,
    /// What it does, in order.
    pub effects: Vec<Effect>,
    /// What is ready now, and must be again.
    pub ready: Vec<Ready>,
    /// How far it reaches.
    pub blast: Blast,
}

/// How far a fault reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Blast {
    /// What it takes, one line each.
    pub takes: Vec<String>,
    /// What is left.
    pub leaves: Vec<String>,
    /// Whether it takes the last replica of something, and of what.
    pub outage: Option<String>,
}

/// Makes the effects of a fault with this id.
///
/// # Errors
/// Usage (exit 2) where the object cannot have this fault, or where it would take the last replica unasked.
pub fn plan(request: &Request, survey: &Survey, id: &str) -> Result<Plan> {
    let on = survey.on();
    let draft = Draft { request, survey, on: &on, id };
    let (effects, blast) = draft.draft()?;
    if let Some(what) = &blast.outage
        && !request.allow_outage
    {
        return Err(Error::usage(format!("{} on {on} would be an outage", request.kind))
            .because_of(what.clone())
            .hint("say that it may be one: --allow-outage, in a scenario `allow-outage: true`"));
    }
    let mut ready: Vec<Ready> = survey
        .workloads
        .iter()
        .filter(|workload| workload.ready > 0)
        .map(|workload| Ready { object: workload.object.clone(), count: workload.ready })
        .collect();
    if on.kind == "Node" {
        ready.insert(0, Ready { object: on.clone(), count: 1 });
    }
    Ok(Plan { on, effects, ready, blast })
}

struct Draft<'a> {
    request: &'a Request,
    survey: &'a Survey,
    on: &'a ObjectRef,
    id: &'a str,
}

impl Draft<'_> {
    fn draft(&self) -> Result<(Vec<Effect>, Blast)> {
        match &self.request.kind {
            FaultKind::PodDelete => self.pod_delete(),
            FaultKind::ScaleToZero => self.scale_to_zero(),
            FaultKind::WrongPort => self.wrong_port(),
            FaultKind::BrokenReadiness => self.broken_readiness(),
            FaultKind::CpuPressure(share) => self.cpu_pressure(share.get()),
            FaultKind::MemoryPressure(share) => self.memory_pressure(share.get()),
            FaultKind::NetworkCut => self.network_cut(),
            FaultKind::Cordon => self.cordon(),
            FaultKind::Drain => self.drain(),
            FaultKind::NodeStop => self.node_stop(),
            FaultKind::RedisPause => self.redis_pause(),
            FaultKind::Latency(_)
            | FaultKind::ErrorRate(_)
            | FaultKind::Exceptions(_)
            | FaultKind::Unready => self.switches(),
            FaultKind::Kill | FaultKind::Pause => Err(self
                .refuse("only processes that `sre up --target local` started are killed or paused")
                .hint("on a cluster a pod is deleted: pod-delete")),
        }
    }

    fn pod_delete(&self) -> Result<(Vec<Effect>, Blast)> {
        let chosen = self.choose()?;
        if let Some(bare) = chosen.iter().find(|seen| seen.workload.is_none()) {
            return Err(self.refuse(format!("nothing would make Pod {} anew", bare.pod.name)));
        }
        let blast = self.loses(&chosen);
        Ok((vec![Effect::Delete { pods: references(&chosen) }], blast))
    }

    fn scale_to_zero(&self) -> Result<(Vec<Effect>, Blast)> {
        if !matches!(self.on.kind.as_str(), "Deployment" | "StatefulSet" | "ReplicaSet") {
            return Err(self.refuse(format!("a {} cannot be scaled", self.on.kind)));
        }
        let before = self.value("/spec/replicas").unwrap_or(json!(1));
        if before == json!(0) {
            return Err(self.refuse("it has 0 replicas already"));
        }
        let set = Effect::Set { path: "/spec/replicas".into(), before: Some(before), after: Some(json!(0)) };
        Ok((vec![set], self.loses(&self.all())))
    }

    fn wrong_port(&self) -> Result<(Vec<Effect>, Blast)> {
        let paths = match self.on.kind.as_str() {
            "Service" => self.ports_of_service(),
            _ => self.backends_of_ingress(),
        };
        if paths.is_empty() {
            return Err(self.refuse("it leads to no port"));
        }
        let takes = paths
            .iter()
            .map(|(path, before)| format!("{path}: {} → {NOBODY}", port_of(before)))
            .collect::<Vec<_>>();
        let effects = paths
            .into_iter()
            .map(|(path, before)| {
                let after = if before.is_object() { json!({"number": NOBODY}) } else { json!(NOBODY) };
                Effect::Set { path, before: Some(before), after: Some(after) }
            })
            .collect();
        let outage = Some(format!("all that comes by {} is refused", self.on));
        Ok((effects, Blast { takes, leaves: vec!["no way to the pods behind it".into()], outage }))
    }

    fn ports_of_service(&self) -> Vec<(String, Value)> {
        let ports = self.value("/spec/ports").unwrap_or_default();
        let count = ports.as_array().map_or(0, Vec::len);
        (0..count)
            .map(|i| format!("/spec/ports/{i}/targetPort"))
            .filter_map(|path| Some((path.clone(), self.value(&path)?)))
            .collect()
    }

    fn backends_of_ingress(&self) -> Vec<(String, Value)> {
        let mut paths = vec!["/spec/defaultBackend/service/port".to_owned()];
        let rules = self.value("/spec/rules").unwrap_or_default();
        for (i, rule) in rules.as_array().into_iter().flatten().enumerate() {
            let count = rule["http"]["paths"].as_array().map_or(0, Vec::len);
            paths.extend((0..count).map(|j| format!("/spec/rules/{i}/http/paths/{j}/backend/service/port")));
        }
        paths.into_iter().filter_map(|path| Some((path.clone(), self.value(&path)?))).collect()
    }

    fn broken_readiness(&self) -> Result<(Vec<Effect>, Blast)> {
        if self.on.kind != "Deployment" {
            return Err(self
                .refuse(format!("a {} does not come back from a broken version by itself", self.on.kind))
                .hint("it is on a Deployment"));
        }
        let path = "/spec/template/spec/containers/0/readinessProbe";
        let after = json!({"tcpSocket": {"port": NOBODY}, "periodSeconds": 1, "failureThreshold": 1});
        let set = Effect::Set { path: path.into(), before: self.value(path), after: Some(after) };
        let (replicas, lost) = self.rollout();
        let left = replicas.saturating_sub(lost);
        let mut blast = Blast {
            takes: vec![format!(
                "{lost} of {replicas} old pods, as the strategy allows; the new ones never get ready"
            )],
            leaves: vec![format!("{left} of {replicas} pods ready")],
            outage: None,
        };
        if left == 0 {
            blast.outage = Some(format!("the strategy of {} keeps no old pod", self.on));
        }
        Ok((vec![set, Effect::NewReplicaSet], blast))
    }

    /// How many replicas a Deployment has, and how many of them a rollout may take away.
    fn rollout(&self) -> (u64, u64) {
        let replicas = self.value("/spec/replicas").and_then(|n| n.as_u64()).unwrap_or(1);
        if self.value("/spec/strategy/type").is_some_and(|kind| kind == "Recreate") {
            return (replicas, replicas);
        }
        let part = |name: &str, up: bool, default: &str| {
            let value = self.value(&format!("/spec/strategy/rollingUpdate/{name}")).unwrap_or(json!(default));
            match value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<u64>().ok()) {
                Some(share) if up => (replicas * share).div_ceil(100),
                Some(share) => replicas * share / 100,
                None => value.as_u64().unwrap_or(0),
            }
        };
        let (surge, lost) = (part("maxSurge", true, "25%"), part("maxUnavailable", false, "25%"));
        // Both at 0 the rollout could not move: the controller takes one.
        let lost = if surge == 0 && lost == 0 { 1 } else { lost };
        (replicas, lost.min(replicas))
    }

    fn cpu_pressure(&self, share: f64) -> Result<(Vec<Effect>, Blast)> {
        let image = self.image()?;
        let mut effects = Vec::new();
        let mut takes = Vec::new();
        for (number, (node, cores)) in self.survey.nodes.iter().enumerate() {
            if *cores <= 0.0 {
                return Err(self.refuse(format!("how many processors Node {node} has cannot be read")));
            }
            let (cores, namespace) = (cores * share, self.namespace());
            let name = format!("{}-{number}", bodies::name(self.id));
            let seconds = self.request.seconds;
            let body = bodies::cpu_pod(&name, &namespace, self.id, node, image, cores, seconds);
            takes.push(format!("{cores:.2} processors of Node {node}"));
            effects.push(create(&body));
        }
        if effects.is_empty() {
            return Err(self.refuse("no pod of it is on a node"));
        }
        Ok((effects, Blast { takes, leaves: vec!["every pod, and what it requests".into()], outage: None }))
    }

    fn memory_pressure(&self, share: f64) -> Result<(Vec<Effect>, Blast)> {
        let chosen = self.choose()?;
        let mut effects = Vec::new();
        let mut takes = Vec::new();
        for seen in &chosen {
            let limited = seen.containers.iter().find_map(|(name, limit)| Some((name, (*limit)?)));
            let Some((container, limit)) = limited else {
                return Err(self.refuse(format!(
                    "no container of Pod {} has a memory limit: it would take the node's memory",
                    seen.pod.name
                )));
            };
            let pod = seen.pod.clone();
            takes.push(format!(
                "{:.0}% of {} MiB in {}/{container}",
                share * 100.0,
                limit / (1024 * 1024),
                pod.name
            ));
            effects.push(Effect::Memory { pod, container: container.clone(), share, limit });
        }
        let blast = match share >= 1.0 {
            // The kernel kills it.
            true => Blast { takes, ..self.loses(&chosen) },
            false => Blast { takes, leaves: vec!["every pod".into()], outage: None },
        };
        Ok((effects, blast))
    }

    fn network_cut(&self) -> Result<(Vec<Effect>, Blast)> {
        self.image()?;
        let selector = self.value("/spec/selector").filter(Value::is_object);
        let Some(selector) = selector.filter(|_| self.on.kind != "Pod") else {
            return Err(self.refuse("a policy selects pods by the labels of their workload, and it has none"));
        };
        let body = bodies::cut(&bodies::name(self.id), &self.namespace(), self.id, &selector);
        Ok((vec![create(&body)], self.loses(&self.all())))
    }

    fn cordon(&self) -> Result<(Vec<Effect>, Blast)> {
        let set = self.unschedulable()?;
        let blast = Blast {
            takes: vec![format!("{} for new pods", self.on)],
            leaves: vec![format!("the {} pods on it", self.survey.pods.len())],
            outage: None,
        };
        Ok((vec![set], blast))
    }

    fn drain(&self) -> Result<(Vec<Effect>, Blast)> {
        let set = self.unschedulable()?;
        let going: Vec<&Seen> = self.survey.pods.iter().filter(|seen| !seen.stays).collect();
        if let Some(bare) = going.iter().find(|seen| seen.workload.is_none()) {
            let PodRef { namespace, name, .. } = &bare.pod;
            return Err(self.refuse(format!("nothing would make Pod {namespace}/{name} anew")));
        }
        let blast = self.loses(&going);
        Ok((vec![set, Effect::Evict { pods: references(&going) }], blast))
    }

    fn node_stop(&self) -> Result<(Vec<Effect>, Blast)> {
        let Some((stop, start)) = &self.request.node else {
            return Err(self.refuse("nobody says how a node is stopped").hint(
                "--node-stop and --node-start name the commands, with {node} in them; so do \
                 SRE_NODE_STOP and SRE_NODE_START",
            ));
        };
        let name = &self.on.name;
        let command = |line: &str| Some(line.replace("{node}", name));
        let effect = Effect::Node { node: name.clone(), stop: command(stop), start: command(start) };
        Ok((vec![effect], self.loses(&self.all())))
    }

    fn unschedulable(&self) -> Result<Effect> {
        let path = "/spec/unschedulable";
        match self.value(path) {
            Some(Value::Bool(true)) => Err(self.refuse("it is cordoned already")),
            before => Ok(Effect::Set { path: path.into(), before, after: Some(json!(true)) }),
        }
    }

    fn redis_pause(&self) -> Result<(Vec<Effect>, Blast)> {
        let chosen = self.choose()?;
        let effects = chosen
            .iter()
            .map(|seen| {
                let port = seen.ports.first().copied().unwrap_or(REDIS);
                let port = if seen.ports.contains(&REDIS) { REDIS } else { port };
                Effect::Redis { pod: seen.pod.clone(), port }
            })
            .collect();
        Ok((effects, self.loses(&chosen)))
    }

    fn switches(&self) -> Result<(Vec<Effect>, Blast)> {
        let switches = Switches::of(&self.request.kind).unwrap_or_default();
        let pods = self.numbered()?;
        let names: Vec<&str> = pods.iter().map(|seen| seen.pod.name.as_str()).collect();
        let blast = match self.request.kind {
            FaultKind::Unready => self.loses(&pods),
            _ => Blast {
                takes: vec![format!("{} on {}", self.request.kind, names.join(", "))],
                leaves: vec![format!(
                    "{} of {} pods as they are",
                    self.all().len() - pods.len(),
                    self.all().len()
                )],
                outage: None,
            },
        };
        Ok((vec![Effect::Switches { pods: references(&pods), port: ADMIN, switches }], blast))
    }

    /// The pods that are named by number; all, if none is.
    fn numbered(&self) -> Result<Vec<&Seen>> {
        let all = self.all();
        let Some(numbers) = &self.request.replicas else {
            return match all.is_empty() {
                true => Err(self.refuse("it has no pod")),
                false => Ok(all),
            };
        };
        let pod = |number: &usize| {
            all.get(*number).copied().ok_or_else(|| {
                self.refuse(format!("there is no replica {number}; it has {} pods", all.len()))
            })
        };
        numbers.iter().map(pod).collect()
    }

    /// As many pods as the fault takes: those that are ready come first.
    fn choose(&self) -> Result<Vec<&Seen>> {
        if self.request.replicas.is_some() {
            return self.numbered();
        }
        let mut all = self.all();
        all.sort_by_key(|seen| !seen.ready);
        if all.len() < self.request.count {
            return Err(self.refuse(format!("it has {} pods, not {}", all.len(), self.request.count)));
        }
        all.truncate(self.request.count);
        Ok(all)
    }

    fn all(&self) -> Vec<&Seen> {
        self.survey.pods.iter().collect()
    }

    /// The blast of losing these pods.
    fn loses(&self, lost: &[&Seen]) -> Blast {
        let mut blast = Blast::default();
        blast.takes.extend(lost.iter().map(|seen| match seen.node.as_str() {
            "" => format!("Pod {}", seen.pod.name),
            node => format!("Pod {} on {node}", seen.pod.name),
        }));
        for workload in &self.survey.workloads {
            let of = |seen: &&&Seen| seen.workload.as_ref() == Some(&workload.object) && seen.ready;
            let gone = lost.iter().filter(of).count() as u64;
            if gone == 0 {
                continue;
            }
            let left = workload.ready.saturating_sub(gone);
            blast.leaves.push(format!("{left} of {} ready in {}", workload.ready, workload.object));
            if left == 0 && workload.object.kind != "DaemonSet" {
                blast
                    .outage
                    .get_or_insert_with(|| format!("no replica of {} would be left", workload.object));
            }
        }
        if !self.survey.services.is_empty() && !lost.is_empty() {
            blast.leaves.push(format!("reached by Service {}", self.survey.services.join(", ")));
        }
        blast
    }

    fn value(&self, path: &str) -> Option<Value> {
        value_at(&self.survey.anchor, path)
    }

    fn namespace(&self) -> String {
        self.on.namespace.clone().unwrap_or_else(|| "default".into())
    }

    fn image(&self) -> Result<&str> {
        self.request.image.as_deref().ok_or_else(|| {
            self.refuse("it needs helper pods, and there is no image of sre on this cluster")
                .hint("--image IMAGE names one that the nodes have; --image-loader COMMAND has one loaded")
        })
    }

    fn refuse(&self, why: impl Into<String>) -> Error {
        Error::usage(format!("{} cannot be on {}", self.request.kind, self.on)).because_of(why)
    }
}

fn create(body: &Value) -> Effect {
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let object = ObjectRef {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: Some(text("/metadata/namespace")),
        name: text("/metadata/name"),
    };
    Effect::Create { object, body: Some(Box::new(body.clone())) }
}

fn references(pods: &[&Seen]) -> Vec<PodRef> {
    pods.iter().map(|seen| seen.pod.clone()).collect()
}

fn port_of(value: &Value) -> String {
    let named = value.get("number").or(value.get("name")).unwrap_or(value);
    named.as_str().map_or_else(|| named.to_string(), str::to_owned)
}

fn value_at(object: &DynamicObject, path: &str) -> Option<Value> {
    at(&object.data, path).cloned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::survey::Workload;
    use super::*;

    fn deployment() -> ObjectRef {
        ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        }
    }

    fn survey(replicas: u64, ready: u64) -> Survey {
        let on = deployment();
        let anchor = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": {"spec": {"containers": [{"name": "web"}]}}},
        }))
        .expect("a Deployment");
        let seen = |number: u64| Seen {
            pod: PodRef {
                namespace: "shop".into(),
                name: format!("web-{number}"),
                uid: format!("uid-{number}"),
            },
            node: "node-1".into(),
            address: "10.0.0.1".into(),
            ready: number < ready,
            containers: vec![("web".into(), Some(64 << 20))],
            ports: vec![8080],
            workload: Some(on.clone()),
            stays: false,
        };
        Survey {
            anchor,
            pods: (0..replicas).map(seen).collect(),
            workloads: vec![Workload { object: on.clone(), ready }],
            services: vec!["web".into()],
            nodes: BTreeMap::from([("node-1".to_owned(), 4.0)]),
        }
    }

    fn request(kind: &str) -> Request {
        let yaml = if kind.contains(':') { format!("{{{kind}}}") } else { kind.to_owned() };
        Request {
            kind: serde_saphyr::from_str(&yaml).expect("a kind"),
            count: 1,
            replicas: None,
            allow_outage: false,
            image: Some("sre:1".into()),
            seconds: 30,
            node: None,
        }
    }

    fn refused(request: &Request, survey: &Survey) -> String {
        let error = plan(request, survey, "id").expect_err("it is refused");
        assert_eq!(error.exit(), crate::exit::Exit::Usage);
        error.to_string()
    }

    #[test]
    fn one_of_three_pods_is_taken_and_a_ready_one_first() {
        let plan = plan(&request("pod-delete"), &survey(3, 2), "id").expect("a plan");
        assert_eq!(plan.blast.takes, ["Pod web-0 on node-1"]);
        assert_eq!(plan.blast.leaves, ["1 of 2 ready in Deployment shop/web", "reached by Service web"]);
        assert_eq!(plan.ready, [Ready { object: deployment(), count: 2 }]);
    }

    #[test]
    fn the_last_replica_is_taken_only_when_that_is_allowed() {
        let mut wanted = request("pod-delete");
        let why = refused(&wanted, &survey(1, 1));
        assert!(why.contains("no replica of Deployment shop/web would be left"), "{why}");
        assert!(why.contains("--allow-outage"), "{why}");
        // The one that is not ready may go; the only ready one may not.
        assert!(refused(&wanted, &survey(2, 1)).contains("outage"));
        wanted.allow_outage = true;
        assert!(plan(&wanted, &survey(1, 1), "id").is_ok());
        for all in ["scale-to-zero", "unready", "network-cut"] {
            assert!(refused(&request(all), &survey(3, 3)).contains("outage"), "{all}");
        }
        assert!(refused(&request("memory-pressure: 100%"), &survey(1, 1)).contains("outage"));
        assert!(plan(&request("memory-pressure: 80%"), &survey(1, 1), "id").is_ok());
    }

    #[test]
    fn a_broken_version_takes_what_the_strategy_allows() {
        let blast =
            |survey: &Survey| plan(&request("broken-readiness"), survey, "id").map(|p| p.blast.leaves);
        assert_eq!(blast(&survey(1, 1)).expect("a plan"), ["1 of 1 pods ready"]);
        assert_eq!(blast(&survey(4, 4)).expect("a plan"), ["3 of 4 pods ready"]);
        let mut recreate = survey(4, 4);
        recreate.anchor.data["spec"]["strategy"] = json!({"type": "Recreate"});
        assert!(blast(&recreate).is_err());
        let mut one = survey(1, 1);
        one.anchor.data["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 0, "maxUnavailable": 0});
        assert!(blast(&one).is_err());
    }

    #[test]
    fn pods_are_named_by_number() {
        let mut wanted = request("latency: 2s");
        wanted.replicas = Some(vec![1]);
        let planned = plan(&wanted, &survey(3, 3), "id").expect("a plan");
        let [Effect::Switches { pods, .. }] = planned.effects.as_slice() else { panic!("{planned:?}") };
        assert_eq!(pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web-1"]);
        wanted.replicas = Some(vec![3]);
        assert!(refused(&wanted, &survey(3, 3)).contains("there is no replica 3"));
    }

    #[test]
    fn every_port_of_a_service_and_every_backend_of_an_ingress_is_wrong() {
        let mut wanted = request("wrong-port");
        wanted.allow_outage = true;
        let mut at = survey(1, 1);
        at.anchor = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}]},
        }))
        .expect("a Service");
        let planned = plan(&wanted, &at, "id").expect("a plan");
        assert_eq!(
            planned.blast.takes,
            ["/spec/ports/0/targetPort: http → 1", "/spec/ports/1/targetPort: 8081 → 1"]
        );
        at.anchor = serde_json::from_value(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"rules": [{"http": {"paths": [{"path": "/", "backend": {"service": {"name": "web", "port": {"name": "http"}}}}]}}]},
        }))
        .expect("an Ingress");
        let planned = plan(&wanted, &at, "id").expect("a plan");
        let [Effect::Set { after, .. }] = planned.effects.as_slice() else { panic!("{planned:?}") };
        assert_eq!(*after, Some(json!({"number": 1})));
    }

    #[test]
    fn what_cannot_be_undone_is_refused() {
        let mut bare = survey(2, 2);
        bare.pods.iter_mut().for_each(|seen| seen.workload = None);
        bare.workloads.clear();
        assert!(refused(&request("pod-delete"), &bare).contains("nothing would make Pod web-0 anew"));
        assert!(refused(&request("kill"), &survey(3, 3)).contains("pod-delete"));
        let mut unlimited = survey(2, 2);
        unlimited.pods.iter_mut().for_each(|seen| seen.containers[0].1 = None);
        assert!(refused(&request("memory-pressure: 50%"), &unlimited).contains("memory limit"));
        let mut without = request("cpu-pressure: 50%");
        without.image = None;
        assert!(refused(&without, &survey(1, 1)).contains("no image of sre"));
    }
}
