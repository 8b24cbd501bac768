//! A stack as steps: everything that `up` will do on a cluster, read and checked before anything is done.

mod fill;
mod manifests;
mod order;
mod release;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use kube::core::DynamicObject;
use serde_json::Value;

use super::object::ObjectRef;
use crate::config::unknown;
use crate::error::{Error, Result};
use crate::scenario::Duration;
use crate::stack::{ClusterStack, Image, PatchTarget};

use fill::{name_images, read_filled};
use manifests::{objects, patch_body, rule_objects};
use order::{Draft, order};
use release::release;

pub use fill::{fill_random, fill_replicas, names_replicas, wants_random};

/// Everything that `up` will do, in an order in which it could be done one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The steps; each needs only earlier ones.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name, which no other step has.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// The steps that must be done first, by their place in the plan.
    pub needs: Vec<usize>,
    /// How long what it brings may take to be ready.
    pub wait: Duration,
    /// Objects that it applies and does not wait for, by kind and name: a later step patches them, and waits then. To wait
    /// for what is about to be replaced would double the time.
    pub left: Vec<(String, String)>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Labels nodes that are in no zone with these, in turn.
    Zones(Vec<String>),
    /// Builds an image and loads it into the cluster.
    Image(Image),
    /// Installs or upgrades a release.
    Chart(Release),
    /// Applies objects, in this order.
    Apply(Vec<DynamicObject>),
    /// Changes objects.
    Patch {
        /// Which; its namespace is filled in.
        target: PatchTarget,
        /// How.
        body: PatchBody,
    },
}

/// A release of a Helm chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// A name in `repository`, an `oci://` reference, or a path.
    pub chart: String,
    /// The repository's URL.
    pub repository: Option<String>,
    /// The exact version.
    pub version: Option<String>,
    /// The SHA-256 that its archive must have, in hexadecimal, where it is known.
    pub sha256: Option<String>,
    /// All values together: a mapping.
    pub values: Value,
}

/// How a patch changes an object.
#[derive(Debug, Clone, PartialEq)]
pub enum PatchBody {
    /// Strategic merge: a mapping laid over the object; lists are merged by their keys.
    Merge(Value),
    /// JSON patch (RFC 6902).
    Json(json_patch::Patch),
}

/// Where a plan reads its files from, and what fills their `${…}`.
pub struct Sources<'a> {
    /// Reads a file that the stack names.
    pub read: &'a dyn Fn(&str) -> Result<String>,
    /// Parameters; `${key}` in a file is replaced where `key` is one of them.
    pub parameters: &'a IndexMap<String, String>,
    /// The stack's folder, from which paths of charts are told; `None` for one that is in this program.
    pub folder: Option<&'a Path>,
    /// The stack's rule files; taken as they are.
    pub rules: &'a [String],
    /// Where charts are found instead of in their repositories, as `charts/NAME-VERSION.tgz`: a folder or a URL.
    pub mirror: Option<&'a str>,
    /// Further files of values by the chart that they are for; they win over those of the stack.
    pub values: &'a IndexMap<String, Vec<PathBuf>>,
}

impl Sources<'_> {
    fn documents(&self, file: &str) -> Result<Vec<Value>> {
        read_filled(file, &(self.read)(file)?, self.parameters)
    }

    /// Where a chart that is named by a path is: in the stack's folder, else where sre is run.
    fn chart(&self, chart: &str) -> Option<PathBuf> {
        let path = Path::new(chart);
        let beside = self.folder.filter(|_| path.is_relative()).map(|folder| folder.join(path));
        beside.into_iter().chain([path.to_owned()]).find(|path| path.exists())
    }
}

impl Plan {
    /// The plan of a stack whose own `${…}` are filled in. Reads every file; changes nothing.
    pub fn new(stack: &ClusterStack, sources: &Sources<'_>) -> Result<Plan> {
        if let Some(name) = sources.values.keys().find(|name| !stack.charts.contains_key(*name)) {
            return Err(Error::usage(format!("--values {name}=…: the stack has no chart `{name}`"))
                .hint(unknown(name, stack.charts.keys().map(String::as_str))));
        }
        let mut steps = Vec::new();
        if !stack.zones.is_empty() {
            steps.push(Draft::new("zones", &[], Duration::from_secs(60), Action::Zones(stack.zones.clone())));
        }
        for (name, image) in &stack.images {
            steps.push(Draft::new(
                name,
                &image.needs,
                Duration::from_secs(120),
                Action::Image(image.clone()),
            ));
        }
        for (name, chart) in &stack.charts {
            let release = release(name, chart, &stack.namespace, sources)?;
            steps.push(Draft::new(name, &chart.needs, chart.wait, Action::Chart(release)));
        }
        for (name, manifests) in &stack.manifests {
            let objects = objects(manifests, sources)?;
            steps.push(Draft::new(name, &manifests.needs, manifests.wait, Action::Apply(objects)));
        }
        if let Some(rules) = &stack.rules {
            let objects = rule_objects(rules, sources)?;
            steps.push(Draft::new("rules", &rules.needs, Duration::from_secs(60), Action::Apply(objects)));
        }
        for (name, patch) in &stack.patches {
            let action = Action::Patch {
                target: PatchTarget {
                    namespace: patch.target.namespace.clone().or_else(|| Some(stack.namespace.clone())),
                    ..patch.target.clone()
                },
                body: patch_body(name, patch, sources.parameters)?,
            };
            steps.push(Draft::new(name, &patch.needs, patch.wait, action));
        }
        let mut plan = order(steps)?;
        plan.leave_to_patches(&stack.namespace);
        Ok(plan)
    }

    /// Has steps not wait for what a patch changes that comes next: where whoever else needs the step needs the patch, too.
    fn leave_to_patches(&mut self, namespace: &str) {
        let left = (0..self.steps.len()).map(|place| self.left_by(place, namespace)).collect::<Vec<_>>();
        for (step, left) in self.steps.iter_mut().zip(left) {
            step.left = left;
        }
    }

    fn left_by(&self, place: usize, namespace: &str) -> Vec<(String, String)> {
        let Action::Apply(objects) = &self.steps[place].action else { return Vec::new() };
        let next: Vec<usize> =
            (0..self.steps.len()).filter(|other| self.steps[*other].needs.contains(&place)).collect();
        let mut left = Vec::new();
        for object in objects {
            let of = ObjectRef::of(object);
            let within = of.namespace.as_deref().unwrap_or(namespace);
            let patches: Vec<usize> = next
                .iter()
                .copied()
                .filter(|other| match &self.steps[*other].action {
                    Action::Patch { target, .. } => {
                        target.kind == of.kind
                            && target.name.as_deref() == Some(of.name.as_str())
                            && target.namespace.as_deref() == Some(within)
                    }
                    _ => false,
                })
                .collect();
            let waits =
                |other: &usize| patches.iter().any(|patch| other == patch || self.follows(*other, *patch));
            if !patches.is_empty() && next.iter().all(waits) {
                left.push((of.kind, of.name));
            }
        }
        left
    }

    /// Whether a step comes after another one by what it needs.
    fn follows(&self, step: usize, other: usize) -> bool {
        self.steps[step].needs.iter().any(|need| *need == other || self.follows(*need, other))
    }

    /// Writes the full names of images (values) where steps name them as the stack does (keys).
    pub fn name_images(&mut self, names: &IndexMap<String, String>) {
        for step in &mut self.steps {
            match &mut step.action {
                Action::Apply(objects) => {
                    objects.iter_mut().for_each(|object| name_images(&mut object.data, names));
                }
                Action::Image(image) => {
                    if let Some(full) = names.get(&image.image) {
                        image.image.clone_from(full);
                    }
                }
                Action::Zones(_) | Action::Chart(_) | Action::Patch { .. } => {}
            }
        }
    }

    /// Whether any step is a chart, for which helm is needed.
    pub fn has_charts(&self) -> bool {
        self.charts() > 0
    }

    /// How many steps are charts.
    pub fn charts(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.action, Action::Chart(_))).count()
    }

    /// What each step needs, for the schedule.
    pub fn needs(&self) -> Vec<Vec<usize>> {
        self.steps.iter().map(|step| step.needs.clone()).collect()
    }
}
