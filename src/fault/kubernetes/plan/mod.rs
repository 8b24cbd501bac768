//! What a fault does to what there is, and how far that reaches. Pure.

mod node;
mod pods;
mod route;
mod workload;

#[cfg(test)]
mod tests;

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

pub(super) use workload::broken_probe;

use super::change::at;
use super::record::{Effect, PodRef, Ready};
use super::survey::{Seen, Survey, controller};
use crate::error::{Error, Result};
use crate::scenario::FaultKind;
use crate::target::kubernetes::object::ObjectRef;

/// A port on which nobody listens.
pub(super) const NOBODY: u16 = 1;

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
        let owner = controller(self.survey.anchor.metadata.owner_references.as_deref());
        if let Some(owner) = owner.filter(|_| self.on.kind == "ReplicaSet") {
            // Its controller would set back what is changed, and copies annotations to it, which are no faults.
            return Err(self.refuse(format!("it is {} {}'s own", owner.kind, owner.name)).hint(format!(
                "--on {}/{}",
                owner.kind.to_lowercase(),
                owner.name
            )));
        }
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
        // A Job keeps nothing ready: its pods come to an end.
        for workload in self.survey.workloads.iter().filter(|workload| workload.object.kind != "Job") {
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

    /// The blast of losing all of the object that the fault is on, whichever of its pods were seen to be ready.
    fn loses_whole(&self) -> Blast {
        let mut blast = self.loses(&self.all());
        let whole = self.survey.workloads.iter().find(|workload| workload.object == *self.on);
        if whole.is_some_and(|whole| whole.ready > 0) {
            blast.outage.get_or_insert_with(|| format!("no replica of {} would be left", self.on));
        }
        blast
    }

    /// Refuses a fault after which a new pod starts while an old one may still write to the same claim.
    fn refuse_two_writers(&self, why: &str, hint: &str) -> Result<()> {
        match self.survey.claims.as_slice() {
            [] => Ok(()),
            claims => Err(self
                .refuse(format!(
                    "{why}, and both would write to the claim ({}): data would be lost",
                    claims.join("; ")
                ))
                .hint(hint)),
        }
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

fn value_at(object: &DynamicObject, path: &str) -> Option<Value> {
    at(&object.data, path).cloned()
}
