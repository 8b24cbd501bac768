//! Faults on what leads to pods. Pure.

use serde_json::{Value, json};

use super::{Blast, Draft, NOBODY};
use crate::error::Result;
use crate::fault::kubernetes::Effect;

impl Draft<'_> {
    pub(super) fn wrong_port(&self) -> Result<(Vec<Effect>, Blast)> {
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
}

fn port_of(value: &Value) -> String {
    let named = value.get("number").or(value.get("name")).unwrap_or(value);
    named.as_str().map_or_else(|| named.to_string(), str::to_owned)
}
