//! The programs that a stack is run with: those that run already, else found or got.

use std::path::{Path, PathBuf};

use futures::future::try_join_all;
use indexmap::IndexMap;

use super::plan::{
    ALERTMANAGER, COLLECTOR, LOGSHIPPER, LOGSTORE, LOKI, LogPrograms, NODE_EXPORTER, PROMETHEUS, Programs,
};
use super::process::is_alive;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::stack::{LocalStack, LogKeeping};
use crate::target::{Lab, Process};
use crate::terminal::Terminal;
use crate::tools::{Cache, Tool, require, version};

/// A tool that a part of a lab is run with.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The tool.
    pub tool: Tool,
    /// The name of the part.
    pub name: &'static str,
    /// The part of this program that takes its place: then it is not got where it is missing.
    pub instead: Option<&'static str>,
}

/// What a stack is run with.
pub fn wanted(local: &LocalStack) -> Vec<Wanted> {
    let needed = |tool, name| Wanted { tool, name, instead: None };
    let mut wanted = vec![needed(Tool::Prometheus, PROMETHEUS), needed(Tool::Alertmanager, ALERTMANAGER)];
    if local.node_exporter {
        wanted.push(needed(Tool::NodeExporter, NODE_EXPORTER));
    }
    match local.logs {
        LogKeeping::Nothing => return wanted,
        LogKeeping::Embedded => (),
        LogKeeping::Loki => wanted.push(needed(Tool::Loki, LOKI)),
        LogKeeping::Any => wanted.push(Wanted { tool: Tool::Loki, name: LOKI, instead: Some(LOGSTORE) }),
    }
    wanted.push(Wanted { tool: Tool::Collector, name: COLLECTOR, instead: Some(LOGSHIPPER) });
    wanted
}

/// Finds the programs that a stack needs. One that runs in the lab is kept, unless another is named by
/// the environment: what is on PATH today must not change what was brought up yesterday.
pub async fn programs(
    local: &LocalStack,
    lab: Option<&Lab>,
    sre: &Path,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Programs> {
    let cache = Cache::of_user()?;
    let wanted = wanted(local);
    let alive = |name: &str| lab?.process(name).filter(|process| is_alive(process));
    let named = |tool: Tool| std::env::var_os(tool.variable()).is_some_and(|value| !value.is_empty());
    let running = |part: &Wanted| alive(part.name).filter(|it| !named(part.tool) && it.program.exists());
    let kept: Vec<(&str, &Process)> =
        wanted.iter().filter_map(|part| Some((part.name, running(part)?))).collect();
    // What this program does already is looked for only where it is named.
    let replaced = |part: &Wanted| !named(part.tool) && part.instead.and_then(alive).is_some();
    let (needed, welcome): (Vec<Wanted>, Vec<Wanted>) = (wanted.iter())
        .filter(|part| kept.iter().all(|(name, _)| *name != part.name) && !replaced(part))
        .partition(|part| part.instead.is_none());
    let tools = |parts: &[Wanted]| parts.iter().map(|part| part.tool).collect::<Vec<_>>();
    let found = require(&tools(&needed), &tools(&welcome), &cache, terminal, interrupt).await?;
    let kept = kept.into_iter().map(|(name, process)| told(name, process, lab));
    let kept = interrupt.or(try_join_all(kept)).await??;

    let of = |tool| wanted.iter().find(|part| part.tool == tool).map(|part| part.name);
    let found = found.into_iter().filter_map(|it| Some((of(it.tool)?, it.path, it.version)));
    let chosen: Vec<(&str, PathBuf, String)> = kept.into_iter().chain(found).collect();
    let choice = |name: &str| chosen.iter().find(|(of, ..)| *of == name);
    let path = |name: &str| choice(name).map(|(_, path, _)| path.clone());
    let certain = |name: &str| path(name).ok_or_else(|| Error::prerequisite(format!("{name} is missing")));
    let (prometheus, alertmanager) = (certain(PROMETHEUS)?, certain(ALERTMANAGER)?);
    let logs = (local.logs != LogKeeping::Nothing)
        .then(|| LogPrograms { loki: path(LOKI), collector: path(COLLECTOR) });
    // In the order in which they are wanted, which is that of the screens.
    let mut versions: IndexMap<String, String> = (wanted.iter().filter_map(|part| choice(part.name)))
        .map(|(name, _, version)| ((*name).to_owned(), version.clone()))
        .collect();
    if logs.as_ref().is_some_and(|logs| logs.loki.is_none()) {
        versions.insert(LOGSTORE.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    }
    Ok(Programs {
        sre: sre.to_path_buf(),
        prometheus_pages: shared(&prometheus, cache.root()).map(|shared| shared.join("web")),
        prometheus,
        alertmanager_folder: shared(&alertmanager, cache.root()),
        alertmanager,
        node_exporter: local.node_exporter.then(|| certain(NODE_EXPORTER)).transpose()?,
        logs,
        versions,
    })
}

/// The program of a process that runs on, and its version, which is asked for only where an earlier `up` did not.
async fn told(
    name: &'static str,
    process: &Process,
    lab: Option<&Lab>,
) -> Result<(&'static str, PathBuf, String)> {
    let version = match lab.and_then(|lab| lab.versions.get(name)) {
        Some(version) => version.clone(),
        None => version(&process.program).await?,
    };
    Ok((name, process.program.clone(), version))
}

/// The files that the programs of Debian look for in `/usr/share`: unpacked into the cache, they are beside them.
fn shared(program: &Path, cache: &Path) -> Option<PathBuf> {
    let shared = program.parent()?.parent()?.join("share/prometheus");
    (program.starts_with(cache) && shared.is_dir()).then_some(shared)
}
