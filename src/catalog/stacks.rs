//! Finds and loads stacks, with their parameters and their files.

use indexmap::IndexMap;

use super::Catalog;
use super::folder::Folder;
use super::origin::Origin;
use super::shipped::STACKS;
use crate::check::seconds_of;
use crate::config::{self, Document, Problem, Refusal, Severity, Values, unknown};
use crate::error::{Error, Result};
use crate::stack::{self, AlertRule, ClusterStack, Stack};
use crate::target::TargetKind;
use crate::target::kubernetes::plan::{Plan, Sources};

/// A stack with its parameters applied, and the files of its folder.
#[derive(Debug, Clone)]
pub struct LoadedStack {
    /// The stack, every `${key}` replaced.
    pub stack: Stack,
    /// The value of every parameter that it declares.
    pub parameters: Values,
    /// Where it comes from.
    pub origin: Origin,
    /// What is probably not as it was meant, ready for a screen.
    pub warnings: Vec<String>,
    /// The alerts of its rule files.
    pub alerts: Vec<AlertRule>,
    folder: Folder,
}

impl LoadedStack {
    /// The names of its alert rules, each once.
    pub fn rule_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.alerts.iter().map(|alert| alert.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// By how many seconds the groups of its alert rules look back, where their files say so; the longest of those that
    /// share a name.
    pub fn rule_offsets(&self) -> IndexMap<String, f64> {
        let mut offsets = IndexMap::new();
        for alert in &self.alerts {
            let Some(offset) = alert.query_offset.as_deref().and_then(seconds_of) else { continue };
            let longest: &mut f64 = offsets.entry(alert.name.clone()).or_default();
            *longest = longest.max(offset);
        }
        offsets
    }

    /// The text of a file of the stack's folder, such as one of `stack.rules`; of `manifests/` beside `stacks/`,
    /// where its path begins so. A missing file, and one outside of these folders, is a usage error.
    pub fn file(&self, relative: &str) -> Result<String> {
        match relative.strip_prefix("manifests/") {
            Some(manifest) => self.folder.read_manifest(manifest),
            None => self.folder.read(relative),
        }
    }

    /// The folder on disk; `None` for an embedded one.
    pub fn place(&self) -> Option<&std::path::Path> {
        self.folder.path()
    }

    /// The steps by which it comes up on a cluster, its charts from their repositories; `None` where it cannot run on one.
    ///
    /// # Errors
    /// Usage (exit 2) where a file of the stack is wrong.
    pub fn plan(&self) -> Result<Option<Plan>> {
        let Some(stack) = &self.stack.cluster else { return Ok(None) };
        let (read, values) = (|name: &str| self.file(name), IndexMap::new());
        let sources = Sources {
            read: &read,
            parameters: &self.parameters,
            rules: &self.stack.rules,
            mirror: None,
            values: &values,
            folder: self.folder.path(),
        };
        Plan::new(stack, &sources).map(Some)
    }
}

impl Catalog {
    /// A stack by its name, with parameters set; looked for in `stacks/` of the folder, then among those embedded.
    ///
    /// Everything that is wrong with its file, and with its rule files, is one usage error.
    pub fn stack(&self, name: &str, set: &[(String, String)]) -> Result<LoadedStack> {
        Ok(load(self.stack_folder(name)?, set, false)?)
    }

    /// As [`Catalog::stack`], with the defaults that parameters have on this target.
    pub fn stack_on(&self, target: TargetKind, name: &str, set: &[(String, String)]) -> Result<LoadedStack> {
        let on_cluster = matches!(target, TargetKind::Minikube | TargetKind::Cluster);
        Ok(load(self.stack_folder(name)?, set, on_cluster)?)
    }

    fn stack_folder(&self, name: &str) -> Result<Folder> {
        let disk = self.root.join("stacks").join(name);
        let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if plain && disk.join("stack.yaml").symlink_metadata().is_ok() {
            return Ok(Folder::Disk(disk));
        }
        if plain && STACKS.get_dir(name).is_some() {
            return Ok(Folder::Shipped(name.to_owned()));
        }
        let names = self.stack_names();
        Err(Error::usage(format!("there is no stack `{name}`"))
            .hint(unknown(name, names.iter().map(String::as_str))))
    }
}

/// Loads the stack of a folder.
pub(super) fn load(
    folder: Folder,
    set: &[(String, String)],
    on_cluster: bool,
) -> Result<LoadedStack, Refusal> {
    let document = parse(&folder, "stack.yaml", "stack")?;
    let refuse = |problems: Vec<Problem>| Refusal::new(document.clone(), problems);
    let parameters = stack::resolve(&stack::declared(&document).map_err(refuse)?, set, on_cluster)?;
    let stack: Stack = document.typed_with(&parameters).map_err(refuse)?;

    let root = config::Path::root();
    let mut problems = Vec::new();
    if let Some(name) = folder.name().filter(|name| *name != stack.name) {
        let message =
            format!("the name of the stack and of its folder differ: `{}` and `{name}`", stack.name);
        problems.push(Problem::error(&root.key("name"), message));
    }
    problems.extend(stack::validate(&stack));
    let (mut alerts, mut warnings) = (Vec::new(), Vec::new());
    for (i, file) in stack.rules.iter().enumerate() {
        match rules(&folder, file) {
            Ok((rules, told)) => {
                alerts.extend(rules);
                warnings.extend(told);
            }
            // A missing file is a matter of the stack's file, a wrong one of its own.
            Err(Refusal::Other(missing)) => {
                problems.push(Problem::error(&root.key("rules").index(i), missing.what()));
            }
            Err(wrong) => return Err(wrong),
        }
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(refuse(problems));
    }
    warnings.extend(problems.iter().map(|problem| document.render(problem)));
    let stack = Stack { cluster: stack.cluster.map(ClusterStack::enabled), ..stack };
    Ok(LoadedStack { stack, parameters, origin: folder.origin(), warnings, alerts, folder })
}

/// The alert rules of a file, and what is probably not meant in it.
fn rules(folder: &Folder, file: &str) -> Result<(Vec<AlertRule>, Vec<String>), Refusal> {
    let document = parse(folder, file, "file of alert rules")?;
    match stack::alert_rules(file, &document) {
        Ok((alerts, problems)) => {
            Ok((alerts, problems.iter().map(|problem| document.render(problem)).collect()))
        }
        Err(problems) => Err(Refusal::new(document, problems)),
    }
}

fn parse(folder: &Folder, file: &str, kind: &'static str) -> Result<Document, Refusal> {
    Document::parse(kind, folder.shown(file), folder.read(file)?)
}
