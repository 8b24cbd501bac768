//! The programs that a stack is run with: those that run already, else found or got.

use std::path::{Path, PathBuf};

use super::plan::{
    ALERTMANAGER, COLLECTOR, LOGSHIPPER, LOGSTORE, LOKI, LogPrograms, NODE_EXPORTER, PROMETHEUS, Programs,
};
use super::process::is_alive;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::stack::{LocalStack, LogKeeping};
use crate::target::Lab;
use crate::terminal::Terminal;
use crate::tools::{Cache, Origin, Tool, find, require, version};

/// Finds the programs that a stack needs. One that runs in the lab is kept, unless another is named by
/// the environment: what is on PATH today must not change what was brought up yesterday.
pub async fn programs(
    local: &LocalStack,
    lab: Option<&Lab>,
    sre: &Path,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Programs> {
    let mut wanted = vec![(Tool::Prometheus, PROMETHEUS), (Tool::Alertmanager, ALERTMANAGER)];
    if local.node_exporter {
        wanted.push((Tool::NodeExporter, NODE_EXPORTER));
    }
    let running = |tool: Tool, name: &str| {
        let named = std::env::var_os(tool.variable()).is_some_and(|value| !value.is_empty());
        lab?.process(name)
            .filter(|process| !named && process.program.exists() && is_alive(process))
            .map(|process| process.program.clone())
    };
    let missing: Vec<Tool> =
        wanted.iter().filter(|(tool, name)| running(*tool, name).is_none()).map(|(tool, _)| *tool).collect();
    let cache = Cache::of_user()?;
    let found = require(&missing, &cache, terminal, interrupt).await?;
    let path = |tool: Tool, name: &str| {
        let found = found.iter().find(|program| program.tool == tool).map(|program| program.path.clone());
        running(tool, name)
            .or(found)
            .ok_or_else(|| Error::target(format!("{name} ended just now")).hint("sre up, once more"))
    };
    let logs = log_programs(local.logs, lab, &running, &cache, terminal, interrupt).await?;
    let prometheus = path(Tool::Prometheus, PROMETHEUS)?;
    let told = found.iter().find(|program| program.path == prometheus).map(|program| program.version.clone());
    let alertmanager = path(Tool::Alertmanager, ALERTMANAGER)?;
    Ok(Programs {
        sre: sre.to_path_buf(),
        prometheus_version: match told {
            Some(version) => version,
            None => running_version(&prometheus, lab).await?,
        },
        prometheus_pages: shared(&prometheus, cache.root()).map(|shared| shared.join("web")),
        prometheus,
        alertmanager_folder: shared(&alertmanager, cache.root()),
        alertmanager,
        node_exporter: if local.node_exporter {
            Some(path(Tool::NodeExporter, NODE_EXPORTER)?)
        } else {
            None
        },
        logs,
    })
}

/// What keeps log lines. Only a Loki that is asked for by its name is got where it is missing, and is an error where it
/// can't be had: this program keeps lines, too.
async fn log_programs(
    keeping: LogKeeping,
    lab: Option<&Lab>,
    running: &dyn Fn(Tool, &str) -> Option<PathBuf>,
    cache: &Cache,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Option<LogPrograms>> {
    let runs = |name| lab.and_then(|lab| lab.process(name)).is_some_and(is_alive);
    let loki = match keeping {
        LogKeeping::Nothing => return Ok(None),
        LogKeeping::Embedded => None,
        LogKeeping::Loki => match running(Tool::Loki, LOKI) {
            Some(path) => Some(path),
            None => {
                require(&[Tool::Loki], cache, terminal, interrupt).await?.pop().map(|program| program.path)
            }
        },
        LogKeeping::Any => match running(Tool::Loki, LOKI) {
            Some(path) => Some(path),
            None => there(Tool::Loki, runs(LOGSTORE), cache, terminal).await?,
        },
    };
    let collector = match running(Tool::Collector, COLLECTOR) {
        Some(path) => Some(path),
        None => there(Tool::Collector, runs(LOGSHIPPER), cache, terminal).await?,
    };
    Ok(Some(LogPrograms { loki, collector }))
}

/// A program that is here already. One that somebody named is used, and must be right; any other is passed over where
/// `replaced` tells that this program does its work already.
async fn there(tool: Tool, replaced: bool, cache: &Cache, terminal: &Terminal) -> Result<Option<PathBuf>> {
    let search = find(tool, cache).await?;
    let named = search.program.as_ref().is_some_and(|found| found.origin == Origin::Environment);
    if replaced && !named {
        return Ok(None);
    }
    for passed in &search.passed_over {
        terminal.say(format!("passed over: {passed}"));
    }
    Ok(search.program.map(|found| found.path))
}

/// What would keep log lines, without getting it: the programs, or their names where they are missing.
///
/// # Errors
/// As [`find`].
pub async fn log_preview(keeping: LogKeeping, cache: &Cache) -> Result<Option<LogPrograms>> {
    let found = async |tool| Ok::<_, Error>(find(tool, cache).await?.program.map(|program| program.path));
    let loki = match keeping {
        LogKeeping::Nothing => return Ok(None),
        LogKeeping::Embedded => None,
        LogKeeping::Any => found(Tool::Loki).await?,
        LogKeeping::Loki => Some(found(Tool::Loki).await?.unwrap_or_else(|| Tool::Loki.name().into())),
    };
    Ok(Some(LogPrograms { loki, collector: found(Tool::Collector).await? }))
}

/// The version of the Prometheus that runs in the lab.
async fn running_version(program: &Path, lab: Option<&Lab>) -> Result<String> {
    let known = lab.and_then(|lab| {
        lab.process(PROMETHEUS).filter(|process| process.program == program && is_alive(process))?;
        lab.versions.get(PROMETHEUS).cloned()
    });
    match known {
        Some(version) => Ok(version),
        None => version(program).await,
    }
}

/// The files that the programs of Debian look for in `/usr/share`: unpacked into the cache, they are beside them.
fn shared(program: &Path, cache: &Path) -> Option<PathBuf> {
    let shared = program.parent()?.parent()?.join("share/prometheus");
    (program.starts_with(cache) && shared.is_dir()).then_some(shared)
}
