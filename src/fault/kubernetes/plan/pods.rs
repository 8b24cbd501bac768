//! Faults that take some pods, or do something in them. Pure.

use super::{Blast, Draft, references};
use crate::error::Result;
use crate::fault::Switches;
use crate::fault::kubernetes::Effect;
use crate::scenario::FaultKind;

/// The port of Redis.
const REDIS: u16 = 6379;

/// What the images of servers that know `CLIENT PAUSE` are named by.
const KINDS_OF_REDIS: [&str; 4] = ["redis", "valkey", "keydb", "dragonfly"];

/// The admin port of the demo service in a pod.
const ADMIN: u16 = 9090;

impl Draft<'_> {
    pub(super) fn pod_delete(&self) -> Result<(Vec<Effect>, Blast)> {
        let chosen = self.choose()?;
        if let Some(bare) = chosen.iter().find(|seen| seen.workload.is_none()) {
            return Err(self.refuse(format!("nothing would make Pod {} anew", bare.pod.name)));
        }
        // A StatefulSet waits for the end of the old one.
        if matches!(self.on.kind.as_str(), "Deployment" | "ReplicaSet") {
            self.refuse_two_writers(
                "a new pod starts while the deleted one still ends",
                "a StatefulSet waits for the end of a pod; scale-to-zero has no two pods at once",
            )?;
        }
        let blast = self.loses(&chosen);
        Ok((vec![Effect::Delete { pods: references(&chosen) }], blast))
    }

    pub(super) fn memory_pressure(&self, share: f64) -> Result<(Vec<Effect>, Blast)> {
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

    pub(super) fn redis_pause(&self) -> Result<(Vec<Effect>, Blast)> {
        let chosen = self.choose()?;
        let mut effects = Vec::new();
        for seen in &chosen {
            let by_image =
                seen.images.iter().any(|image| KINDS_OF_REDIS.iter().any(|kind| image.contains(kind)));
            let port = match seen.ports.first() {
                _ if seen.ports.contains(&REDIS) => REDIS,
                Some(port) if by_image => *port,
                None if by_image => REDIS,
                _ => {
                    let why = format!("nothing says that Pod {} is a Redis", seen.pod.name);
                    return Err(self.refuse(why).hint(
                        "a container with port 6379, or with an image of Redis, Valkey, KeyDB or Dragonfly",
                    ));
                }
            };
            effects.push(Effect::Redis { pod: seen.pod.clone(), port });
        }
        Ok((effects, self.loses(&chosen)))
    }

    pub(super) fn switches(&self) -> Result<(Vec<Effect>, Blast)> {
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
}
