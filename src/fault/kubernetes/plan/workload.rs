//! Faults on all of a workload. Pure.

use serde_json::{Value, json};

use super::{Blast, Draft, NOBODY, create};
use crate::error::Result;
use crate::fault::kubernetes::{Effect, bodies};
use crate::target::kubernetes::single_writer;

/// A readiness probe that nothing answers.
pub fn broken_probe() -> Value {
    json!({"tcpSocket": {"port": NOBODY}, "periodSeconds": 1, "failureThreshold": 1})
}

impl Draft<'_> {
    pub(super) fn scale_to_zero(&self) -> Result<(Vec<Effect>, Blast)> {
        if !matches!(self.on.kind.as_str(), "Deployment" | "StatefulSet" | "ReplicaSet") {
            return Err(self.refuse(format!("a {} cannot be scaled", self.on.kind)));
        }
        let before = self.value("/spec/replicas").unwrap_or(json!(1));
        if before == json!(0) {
            return Err(self.refuse("it has 0 replicas already"));
        }
        let ending = self.value("/spec/template/spec/terminationGracePeriodSeconds").and_then(|n| n.as_u64());
        let ending = ending.unwrap_or(30);
        if self.on.kind != "StatefulSet" && self.request.seconds <= ending {
            self.refuse_two_writers(
                &format!("its pods may take {ending} s to end, and new ones start before that"),
                &format!("--for {}s or longer", ending + 1),
            )?;
        }
        let set = Effect::Set { path: "/spec/replicas".into(), before: Some(before), after: Some(json!(0)) };
        Ok((vec![set], self.loses_whole()))
    }

    pub(super) fn broken_readiness(&self) -> Result<(Vec<Effect>, Blast)> {
        if self.on.kind != "Deployment" {
            return Err(self
                .refuse(format!("a {} does not come back from a broken version by itself", self.on.kind))
                .hint("it is on a Deployment"));
        }
        if single_writer::overlaps(&self.on.kind, &self.survey.anchor.data) {
            self.refuse_two_writers("its rollout starts new pods beside the old ones", single_writer::MENDS)?;
        }
        let path = "/spec/template/spec/containers/0/readinessProbe";
        let set = Effect::Set { path: path.into(), before: self.value(path), after: Some(broken_probe()) };
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

    pub(super) fn network_cut(&self) -> Result<(Vec<Effect>, Blast)> {
        self.image()?;
        if !self.survey.admitting.is_empty() {
            return Err(self
                .refuse("policies add up: one that cuts off does not take back what others let through")
                .because_of(format!("NetworkPolicy {}", self.survey.admitting.join(", ")))
                .hint("scale-to-zero takes its pods away; or remove these policies for as long"));
        }
        let selector = self.value("/spec/selector").filter(Value::is_object);
        let Some(selector) = selector.filter(|_| self.on.kind != "Pod") else {
            return Err(self.refuse("a policy selects pods by the labels of their workload, and it has none"));
        };
        let body = bodies::cut(&bodies::name(self.id), &self.namespace(), self.id, &selector);
        Ok((vec![create(&body)], self.loses_whole()))
    }
}
