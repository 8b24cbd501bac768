//! What there is, for `sre list`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::Catalog;
use super::origin::Origin;
use super::shipped::{SCENARIOS, STACKS};

/// The stacks and scenarios that there are, each kind by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entries {
    /// The stacks.
    pub stacks: Vec<StackEntry>,
    /// The scenarios.
    pub scenarios: Vec<ScenarioEntry>,
}

/// A stack of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StackEntry {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// The targets that it runs on.
    pub targets: Vec<&'static str>,
    /// Where it comes from; `None` where it cannot be loaded.
    pub origin: Option<Origin>,
    /// Why it cannot be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A scenario of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScenarioEntry {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// The stack that it runs on.
    pub stack: String,
    /// Its load in words.
    pub load: String,
    /// Where it comes from; `None` where it cannot be loaded.
    pub origin: Option<Origin>,
    /// Why it cannot be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Catalog {
    /// The stacks and scenarios that there are; those that cannot be loaded say why.
    pub fn entries(&self) -> Entries {
        Entries {
            stacks: self.stack_names().into_iter().map(|name| self.stack_entry(name)).collect(),
            scenarios: self.scenario_names().into_iter().map(|name| self.scenario_entry(name)).collect(),
        }
    }

    pub(super) fn stack_names(&self) -> BTreeSet<String> {
        let folder = self.root.join("stacks");
        let here = names(&folder).filter(|name| folder.join(name).join("stack.yaml").is_file());
        let shipped = STACKS.dirs().map(|dir| dir.path().display().to_string());
        here.chain(shipped).collect()
    }

    pub(super) fn scenario_names(&self) -> BTreeSet<String> {
        let here = names(&self.root.join("scenarios")).collect::<Vec<_>>();
        let shipped = SCENARIOS.files().map(|file| file.path().display().to_string());
        here.into_iter()
            .chain(shipped)
            .filter_map(|file| Some(file.strip_suffix(".yaml")?.to_owned()))
            .collect()
    }

    fn stack_entry(&self, name: String) -> StackEntry {
        match self.stack(&name, &[]) {
            Ok(loaded) => {
                let stack = &loaded.stack;
                let local = stack.local.is_some().then_some("local");
                let clusters = stack.cluster.as_ref().map_or(&[][..], |_| &["minikube", "cluster"]);
                let external = stack.external.is_some().then_some("external");
                let targets = local.iter().chain(clusters).chain(&external).copied().collect();
                StackEntry {
                    name,
                    description: loaded.stack.description,
                    targets,
                    origin: Some(loaded.origin),
                    problem: None,
                }
            }
            Err(error) => StackEntry {
                name,
                description: String::new(),
                targets: Vec::new(),
                origin: None,
                problem: Some(error.what().to_owned()),
            },
        }
    }

    fn scenario_entry(&self, name: String) -> ScenarioEntry {
        match self.scenario(&name) {
            Ok(loaded) => ScenarioEntry {
                name,
                description: loaded.scenario.description,
                stack: loaded.scenario.stack,
                load: loaded.scenario.load.in_words(),
                origin: Some(loaded.origin),
                problem: None,
            },
            Err(error) => ScenarioEntry {
                name,
                description: String::new(),
                stack: String::new(),
                load: String::new(),
                origin: None,
                problem: Some(error.what().to_owned()),
            },
        }
    }
}

/// The names in a folder; none where it is not there.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
}
