//! All objects that a plan would bring, charts rendered: what the other findings are derived from.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::target::kubernetes::helm::Helm;
use crate::target::kubernetes::object::read_objects;
use crate::target::kubernetes::plan::{Action, Plan};

/// An object that a plan would bring.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The namespace that it would be in, if its kind has namespaces.
    pub namespace: String,
    /// The object.
    pub object: DynamicObject,
}

impl Planned {
    /// Its kind.
    pub fn kind(&self) -> &str {
        self.object.types.as_ref().map_or("", |types| &types.kind)
    }

    /// Its API group; empty for the core group.
    pub fn group(&self) -> &str {
        let version = self.object.types.as_ref().map_or("", |types| types.api_version.as_str());
        version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its `spec`.
    pub fn spec(&self) -> &Value {
        &self.object.data["spec"]
    }
}

/// The objects of a plan; `helm` renders its charts. Charts that cannot be rendered are told beside what could be.
pub async fn objects(plan: &Plan, namespace: &str, helm: Option<&Helm>) -> (Vec<Planned>, Vec<Error>) {
    let mut planned = Vec::new();
    let mut failed = Vec::new();
    for step in &plan.steps {
        let (objects, namespace) = match &step.action {
            Action::Apply(objects) => (objects.clone(), namespace),
            Action::Chart(release) => {
                let Some(helm) = helm else { continue };
                let objects: Result<Vec<DynamicObject>> = match helm.template(release).await {
                    Ok(text) => read_objects(&format!("release {}", release.name), &text),
                    Err(error) => Err(error),
                };
                match objects {
                    Ok(objects) => (objects, release.namespace.as_str()),
                    Err(error) => {
                        failed.push(error);
                        continue;
                    }
                }
            }
            Action::Image(_) | Action::Patch { .. } | Action::Zones(_) => continue,
        };
        planned.extend(objects.into_iter().map(|object| Planned {
            namespace: object.metadata.namespace.clone().unwrap_or_else(|| namespace.to_owned()),
            object,
        }));
    }
    (planned, failed)
}

/// Objects from YAML, for tests.
#[cfg(test)]
pub fn from_yaml(namespace: &str, text: &str) -> Vec<Planned> {
    let objects = read_objects("test", text).expect("objects");
    objects
        .into_iter()
        .map(|object| Planned {
            namespace: object.metadata.namespace.clone().unwrap_or_else(|| namespace.to_owned()),
            object,
        })
        .collect()
}
