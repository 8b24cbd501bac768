//! What `up` would do, without doing it: `--dry-run`.

use std::path::PathBuf;

use futures::future::try_join_all;
use serde::Serialize;

use super::plan::{
    ALERTMANAGER, COLLECTOR, LOKI, LogPrograms, NODE_EXPORTER, PROMETHEUS, Programs, RuleFile, plan,
    port_names, port_owner,
};
use super::process::is_alive;
use super::up::{Request, not_local};
use super::{ports, programs};
use crate::error::{Error, Result};
use crate::stack::LogKeeping;
use crate::target::Lab;
use crate::tools::{self, Cache, Program, Tool};

/// What `up` would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The stack's name.
    pub stack: String,
    /// The tools that are missing, and how each would be got.
    pub missing: Vec<MissingTool>,
    /// The processes that would run.
    pub processes: Vec<PreviewProcess>,
    /// The files that would be written.
    pub files: Vec<PreviewFile>,
}

/// A tool that is missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissingTool {
    /// Its name.
    pub name: String,
    /// How it would be got, each way in its turn.
    pub ways: Vec<String>,
}

/// A process that would run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewProcess {
    /// Its name.
    pub name: String,
    /// Whether it runs already.
    pub running: bool,
    /// Its program and arguments.
    pub command: Vec<String>,
}

/// A file that would be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewFile {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub text: String,
}

/// What `up` would do now; changes nothing. Ports are those that are free at this moment.
pub async fn preview(request: &Request<'_>) -> Result<Preview> {
    let (stack, folder) = (request.stack, request.folder);
    let local = stack.local.as_ref().ok_or_else(|| not_local(stack))?;
    let rules = stack
        .rules
        .iter()
        .map(|name| Ok(RuleFile::new(name, (request.stack_file)(name)?, folder)))
        .collect::<Result<Vec<_>>>()?;
    let lab = Lab::load(folder.root())?;
    let is_running = |name: &str| lab.as_ref().and_then(|lab| lab.process(name)).is_some_and(is_alive);

    let cache = Cache::of_user()?;
    let wanted = programs::wanted(local);
    let tools: Vec<Tool> = wanted.iter().map(|part| part.tool).collect();
    let found: Vec<Option<Program>> =
        tools::search(&tools, &cache).await?.into_iter().map(|search| search.program).collect();
    let needed = wanted.iter().zip(&found).filter(|(part, found)| found.is_none() && part.instead.is_none());
    let missing = try_join_all(needed.map(async |(part, _)| {
        let ways = tools::plan(part.tool).await?.ways();
        Ok::<_, Error>(MissingTool { name: part.tool.to_string(), ways })
    }))
    .await?;
    // What would be got is shown by its name.
    let path = |name: &str| {
        let (part, found) = wanted.iter().zip(&found).find(|(part, _)| part.name == name)?;
        match found {
            Some(program) => Some(program.path.clone()),
            None => part.instead.is_none().then(|| part.tool.name().into()),
        }
    };
    let versions = wanted.iter().zip(&found);
    let programs = Programs {
        sre: request.sre.clone(),
        prometheus: path(PROMETHEUS).unwrap_or_default(),
        prometheus_pages: None,
        alertmanager: path(ALERTMANAGER).unwrap_or_default(),
        alertmanager_folder: None,
        node_exporter: path(NODE_EXPORTER),
        logs: (local.logs != LogKeeping::Nothing)
            .then(|| LogPrograms { loki: path(LOKI), collector: path(COLLECTOR) }),
        versions: versions
            .filter_map(|(part, found)| Some((part.name.to_owned(), found.as_ref()?.version.clone())))
            .collect(),
    };
    let place = folder.root().to_string_lossy();
    let held = |name: &str| is_running(port_owner(name));
    let ports = ports::allocate(&place, &port_names(local), &ports::load(folder), held)?;
    let plan = plan(stack, local, &rules, &programs, &ports, folder)?;
    Ok(Preview {
        stack: stack.name.clone(),
        missing,
        processes: plan
            .parts
            .into_iter()
            .map(|part| PreviewProcess {
                running: is_running(&part.spec.name),
                name: part.spec.name,
                command: std::iter::once(part.spec.program.display().to_string())
                    .chain(part.spec.arguments)
                    .collect(),
            })
            .collect(),
        files: plan.files.into_iter().map(|file| PreviewFile { path: file.path, text: file.text }).collect(),
    })
}
