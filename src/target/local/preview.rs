//! What `up` would do, without doing it: `--dry-run`.

use std::path::PathBuf;

use serde::Serialize;

use super::plan::{Programs, RuleFile, plan, port_names, port_owner};
use super::process::is_alive;
use super::up::{Request, not_local};
use super::{ports, programs};
use crate::error::Result;
use crate::stack::LogKeeping;
use crate::target::Lab;
use crate::tools::{self, Cache, Tool};

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
    let mut missing = Vec::new();
    let mut paths = Vec::new();
    let mut prometheus_version = String::new();
    for tool in [Tool::Prometheus, Tool::Alertmanager, Tool::NodeExporter] {
        let found = tools::find(tool, &cache).await?.program;
        if found.is_none() && (local.node_exporter || tool != Tool::NodeExporter) {
            missing.push(MissingTool { name: tool.to_string(), ways: tools::plan(tool).await?.ways() });
        }
        if let (Tool::Prometheus, Some(program)) = (tool, &found) {
            prometheus_version.clone_from(&program.version);
        }
        paths.push(found.map_or_else(|| PathBuf::from(tool.name()), |program| program.path));
    }
    let logs = programs::log_preview(local.logs, &cache).await?;
    if local.logs == LogKeeping::Loki && tools::find(Tool::Loki, &cache).await?.program.is_none() {
        let ways = tools::plan(Tool::Loki).await?.ways();
        missing.push(MissingTool { name: Tool::Loki.to_string(), ways });
    }
    let programs = Programs {
        sre: request.sre.clone(),
        prometheus: paths[0].clone(),
        prometheus_version,
        prometheus_pages: None,
        alertmanager: paths[1].clone(),
        alertmanager_folder: None,
        node_exporter: local.node_exporter.then(|| paths[2].clone()),
        logs,
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
