//! Finds and loads scenarios.

use std::path::{Path, PathBuf};

use super::Catalog;
use super::origin::Origin;
use super::shipped::{self, SCENARIOS};
use crate::config::{self, Document, Problem, Refusal, Severity, unknown};
use crate::error::{Error, Result};
use crate::scenario::{self, Scenario};

/// A scenario that can be run.
#[derive(Debug, Clone)]
pub struct LoadedScenario {
    /// The scenario.
    pub scenario: Scenario,
    /// Where it comes from.
    pub origin: Origin,
    /// What is probably not as it was meant, ready for a screen.
    pub warnings: Vec<String>,
}

impl Catalog {
    /// A scenario by its name, or by the path of its file.
    ///
    /// What has a `/` or ends with `.yaml` or `.yml` is a path; a name is looked for in `scenarios/` of the folder,
    /// then among those embedded. Everything that is wrong with the file is one usage error.
    pub fn scenario(&self, name_or_path: &str) -> Result<LoadedScenario> {
        let (origin, shown, text) = self.scenario_text(name_or_path)?;
        let stem = match is_path(name_or_path) {
            true => Path::new(name_or_path).file_stem().map(|stem| stem.to_string_lossy().into_owned()),
            false => Some(name_or_path.to_owned()),
        };
        let document = Document::parse("scenario", shown, text)?;
        let (scenario, problems) = parse_scenario(&document, stem.as_deref());
        match scenario {
            Some(scenario) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
                let warnings = problems.iter().map(|problem| document.render(problem)).collect();
                Ok(LoadedScenario { scenario, origin, warnings })
            }
            _ => Err(Refusal::new(document, problems).into()),
        }
    }

    fn scenario_text(&self, name: &str) -> Result<(Origin, String, String)> {
        let is_path = is_path(name);
        let file = if is_path { PathBuf::from(name) } else { self.scenario_file(name) };
        // A file that is there but cannot be read must not be passed over for the one embedded.
        if is_path || file.symlink_metadata().is_ok() {
            let text = config::read(&file)?;
            return Ok((Origin::Path(file.clone()), file.display().to_string(), text));
        }
        let shipped = shipped::text(&SCENARIOS, &format!("{name}.yaml")).ok_or_else(|| {
            let names = self.scenario_names();
            Error::usage(format!("there is no scenario `{name}`"))
                .hint(unknown(name, names.iter().map(String::as_str)))
        })?;
        Ok((Origin::Shipped, format!("scenarios/{name}.yaml (shipped)"), shipped.to_owned()))
    }

    /// Where a scenario of this name would be in the folder.
    pub(super) fn scenario_file(&self, name: &str) -> PathBuf {
        self.root.join("scenarios").join(format!("{name}.yaml"))
    }
}

/// Whether this names a file: a name may have dots.
fn is_path(name: &str) -> bool {
    name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml")
}

/// The scenario in a file, if it has one, and everything that is wrong with it. `stem` is the file's name without `.yaml`.
pub fn parse_scenario(document: &Document, stem: Option<&str>) -> (Option<Scenario>, Vec<Problem>) {
    let scenario: Scenario = match document.typed() {
        Ok(scenario) => scenario,
        Err(problem) => return (None, vec![problem]),
    };
    let mut problems = Vec::new();
    if let Some(stem) = stem
        && stem != scenario.name
    {
        let path = config::Path::root().key("name");
        let message =
            format!("the name of the scenario and of its file differ: `{}` and `{stem}`", scenario.name);
        problems.push(Problem::error(&path, message));
    }
    problems.extend(scenario::validate(&scenario));
    (Some(scenario), problems)
}
