//! Validates a file that may be a scenario or a stack, for `sre validate`.

use std::path::Path;

use serde::Serialize;

use super::Catalog;
use super::folder::Folder;
use super::scenarios::parse_scenario;
use super::stacks::{self, LoadedStack};
use crate::config::{self, Document, Located, Problem, Refusal, Severity, unknown};
use crate::error::Result;
use crate::scenario::{Check, Scenario};
use crate::target::kubernetes::plan::Action;
use crate::target::kubernetes::{chart, single_writer};

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Validated {
    /// The file.
    pub file: String,
    /// `scenario` or `stack`; `None` where it could not be told.
    pub kind: Option<&'static str>,
    /// The name that it gives itself.
    pub name: Option<String>,
    /// Whether it can be used.
    pub valid: bool,
    /// What is wrong with it, each with its place.
    pub problems: Vec<Located>,
    /// The same, and what has no place in the file, ready for a screen.
    pub screens: Vec<String>,
}

/// Whether its steps on a cluster can be told, and its charts know their values; what is probably not meant so comes
/// back. Nothing is got for that: a chart that is not at hand is not looked at.
fn on_cluster(loaded: &LoadedStack) -> Result<Vec<String>> {
    let mut objects = Vec::new();
    for step in loaded.plan()?.into_iter().flat_map(|plan| plan.steps) {
        match step.action {
            Action::Chart(release) => chart::check_at_hand(&release)?,
            Action::Apply(applied) => objects.extend(applied),
            _ => {}
        }
    }
    let namespace = loaded.stack.cluster.as_ref().map_or("", |cluster| cluster.namespace.as_str());
    let placed =
        objects.iter().map(|object| (object.metadata.namespace.as_deref().unwrap_or(namespace), object));
    let risks = single_writer::risks(placed).into_iter();
    Ok(risks.map(|risk| format!("warning: {risk}\n  → {}", single_writer::MENDS)).collect())
}

impl Catalog {
    /// Everything that is wrong with a scenario file, a `stack.yaml`, or a stack's folder.
    pub fn validate(&self, file: &Path) -> Validated {
        let shown = file.display().to_string();
        let path = if file.is_dir() { file.join("stack.yaml") } else { file.to_owned() };
        let mut validated = Validated {
            file: shown,
            kind: None,
            name: None,
            valid: false,
            problems: Vec::new(),
            screens: Vec::new(),
        };
        let parsed = config::read(&path)
            .map_err(Refusal::from)
            .and_then(|text| Document::parse("stack or scenario", path.display().to_string(), text));
        let document = match parsed {
            Ok(document) => document,
            Err(refusal) => return validated.refused(refusal),
        };
        match kind(&document, &path) {
            "stack" => self.stack_file(&path, validated),
            _ => {
                validated.kind = Some("scenario");
                let stem = path.file_stem().map(|stem| stem.to_string_lossy());
                let (scenario, mut problems) = parse_scenario(&document, stem.as_deref());
                if let Some(scenario) = scenario {
                    problems.extend(self.on_its_stack(&scenario));
                    validated.name = Some(scenario.name);
                }
                validated.told(&document, &problems)
            }
        }
    }

    fn stack_file(&self, path: &Path, mut validated: Validated) -> Validated {
        validated.kind = Some("stack");
        let folder = Folder::Disk(
            path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")).to_owned(),
        );
        let loaded = match stacks::load(folder.clone(), &[], false) {
            Ok(loaded) => loaded,
            Err(refusal) => return validated.refused(refusal),
        };
        validated.screens.clone_from(&loaded.warnings);
        validated.name = Some(loaded.stack.name.clone());
        match on_cluster(&loaded) {
            Ok(warnings) => validated.screens.extend(warnings),
            Err(error) => return validated.refused(Refusal::from(error)),
        }
        // Each value that a parameter may have must lead to a sound stack, too.
        for (name, parameter) in &loaded.stack.parameters {
            for value in &parameter.values {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if let Err(refusal) = stacks::load(folder.clone(), &[(name.clone(), value.clone())], false) {
                    let mut validated = validated.refused(refusal);
                    validated.screens.insert(0, format!("with --set {name}={value}:"));
                    return validated;
                }
            }
        }
        validated.valid = true;
        validated
    }

    /// What does not fit the stack that the scenario runs on.
    fn on_its_stack(&self, scenario: &Scenario) -> Vec<Problem> {
        let root = config::Path::root();
        let loaded = match self.stack(&scenario.stack, &[]) {
            Ok(loaded) => loaded,
            Err(error) => {
                let problem = Problem::error(&root.key("stack"), error.what());
                return vec![error.next_step().map(|hint| problem.clone().help(hint)).unwrap_or(problem)];
            }
        };
        let mut problems = Vec::new();
        let known: Vec<&str> = loaded.alerts.iter().map(|alert| alert.name.as_str()).collect();
        let mut alert = |name: &str, path: config::Path| {
            if !known.contains(&name) {
                let message = format!("the stack {} has no alert `{name}`", scenario.stack);
                problems.push(Problem::warning(&path, message).help(unknown(name, known.iter().copied())));
            }
        };
        for (i, check) in scenario.checks.iter().enumerate() {
            let path = root.key("checks").index(i);
            match check {
                Check::Alert(check) => {
                    alert(&check.name, path.key("alert").key("name"));
                    for (j, name) in check.along.iter().enumerate() {
                        alert(name, path.key("alert").key("along").index(j));
                    }
                }
                Check::NoAlerts(check) => {
                    for (j, name) in check.except.iter().enumerate() {
                        alert(name, path.key("no-alerts").key("except").index(j));
                    }
                }
                _ => {}
            }
        }
        let of_logs = scenario.checks.iter().position(|check| matches!(check, Check::Logs(_)));
        if let Some(i) = of_logs.filter(|_| loaded.stack.logs.is_none()) {
            let path = root.key("checks").index(i).key("logs");
            let message = format!("the stack {} does not say how its log lines are found", scenario.stack);
            let help = "`logs` in the stack file, with a `selector` of Loki's streams";
            problems.push(Problem::warning(&path, message).help(help));
        }
        let replicas = loaded.stack.local.map(|local| local.service.replicas);
        for (i, step) in scenario.faults.iter().enumerate() {
            for (j, replica) in step.replicas.iter().flatten().enumerate() {
                if let Some(replicas) = replicas.filter(|replicas| replica >= replicas) {
                    let path = root.key("faults").index(i).key("replicas").index(j);
                    let message = format!(
                        "there is no replica {replica}: the stack {} has {replicas}, from 0",
                        scenario.stack
                    );
                    problems.push(Problem::warning(&path, message));
                }
            }
        }
        problems
    }
}

impl Validated {
    fn told(mut self, document: &Document, problems: &[Problem]) -> Validated {
        self.valid = problems.iter().all(|problem| problem.severity == Severity::Warning);
        self.problems = problems.iter().map(|problem| document.located(problem)).collect();
        self.screens.extend(problems.iter().map(|problem| document.render(problem)));
        self
    }

    fn refused(mut self, refusal: Refusal) -> Validated {
        match refusal {
            Refusal::Problems { document, problems, .. } => self.told(&document, &problems),
            Refusal::Other(error) => {
                self.screens.push(format!("error: {error}"));
                self
            }
        }
    }
}

/// What a file is meant to be: its keys tell, and where they don't, its name.
fn kind(document: &Document, path: &Path) -> &'static str {
    let has = |keys: &[&str]| document.keys().any(|key| keys.contains(&key));
    let named_stack = path.file_name().is_some_and(|name| name == "stack.yaml");
    if has(&["load", "requests"]) || !(named_stack || has(&["counter", "local", "external"])) {
        "scenario"
    } else {
        "stack"
    }
}
