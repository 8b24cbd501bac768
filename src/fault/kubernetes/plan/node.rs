//! Faults on nodes. Pure.

use serde_json::{Value, json};

use super::{Blast, Draft, Seen, create, references};
use crate::error::Result;
use crate::fault::kubernetes::node::is_plain;
use crate::fault::kubernetes::{Effect, PodRef, bodies};

impl Draft<'_> {
    pub(super) fn cordon(&self) -> Result<(Vec<Effect>, Blast)> {
        let set = self.unschedulable()?;
        let blast = Blast {
            takes: vec![format!("{} for new pods", self.on)],
            leaves: vec![format!("the {} pods on it", self.survey.pods.len())],
            outage: None,
        };
        Ok((vec![set], blast))
    }

    pub(super) fn drain(&self) -> Result<(Vec<Effect>, Blast)> {
        let set = self.unschedulable()?;
        let going: Vec<&Seen> = self.survey.pods.iter().filter(|seen| !seen.stays).collect();
        if let Some(bare) = going.iter().find(|seen| seen.workload.is_none()) {
            let PodRef { namespace, name, .. } = &bare.pod;
            return Err(self.refuse(format!("nothing would make Pod {namespace}/{name} anew")));
        }
        let blast = self.loses(&going);
        Ok((vec![set, Effect::Evict { pods: references(&going) }], blast))
    }

    pub(super) fn node_stop(&self) -> Result<(Vec<Effect>, Blast)> {
        let Some((stop, start)) = &self.request.node else {
            return Err(self.refuse("nobody says how a node is stopped").hint(
                "--node-stop and --node-start name the commands, with {node} in them; so do \
                 SRE_NODE_STOP and SRE_NODE_START",
            ));
        };
        let name = &self.on.name;
        if !is_plain(name) {
            return Err(self.refuse("its name would mean something to a shell"));
        }
        let effect =
            Effect::Node { node: name.clone(), stop: Some(stop.clone()), start: Some(start.clone()) };
        Ok((vec![effect], self.loses(&self.all())))
    }

    fn unschedulable(&self) -> Result<Effect> {
        let path = "/spec/unschedulable";
        match self.value(path) {
            Some(Value::Bool(true)) => Err(self.refuse("it is cordoned already")),
            before => Ok(Effect::Set { path: path.into(), before, after: Some(json!(true)) }),
        }
    }

    pub(super) fn cpu_pressure(&self, share: f64) -> Result<(Vec<Effect>, Blast)> {
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
}
