//! The programs that a stack is run with: those that run already, else found or got.

use std::path::{Path, PathBuf};

use super::plan::{ALERTMANAGER, COLLECTOR, LOKI, LogPrograms, NODE_EXPORTER, PROMETHEUS, Programs};
use super::process::is_alive;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::stack::LocalStack;
use crate::target::Lab;
use crate::terminal::Terminal;
use crate::tools::{Cache, Tool, find, require, version};

/// The oldest Prometheus that has the flags that are used.
const OLDEST_PROMETHEUS: (u64, u64) = (2, 42);

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
    let logs = if local.logs {
        let running = running(Tool::Loki, LOKI).zip(running(Tool::Collector, COLLECTOR));
        match running {
            Some((loki, collector)) => Some(LogPrograms { loki, collector }),
            None => log_programs(&cache, terminal, interrupt).await?,
        }
    } else {
        None
    };
    let prometheus = path(Tool::Prometheus, PROMETHEUS)?;
    let alertmanager = path(Tool::Alertmanager, ALERTMANAGER)?;
    Ok(Programs {
        sre: sre.to_path_buf(),
        prometheus_version: prometheus_version(&prometheus, lab).await?,
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

/// Loki and the collector. A lab is of use without them, too: where they are missing, it is told, and no more.
async fn log_programs(
    cache: &Cache,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Option<LogPrograms>> {
    let tools = [Tool::Loki, Tool::Collector];
    // Who names a program by the environment and names none is told so.
    for tool in tools {
        find(tool, cache)?;
    }
    match require(&tools, cache, terminal, interrupt).await {
        Ok(found) => {
            let mut paths = found.into_iter().map(|program| program.path);
            Ok(paths.next().zip(paths.next()).map(|(loki, collector)| LogPrograms { loki, collector }))
        }
        Err(error) => {
            interrupt.check()?;
            terminal.say(format!("log lines are not kept: {}", error.what()));
            for cause in error.causes() {
                terminal.detail(cause.clone());
            }
            Ok(None)
        }
    }
}

async fn prometheus_version(program: &Path, lab: Option<&Lab>) -> Result<String> {
    let running = lab.and_then(|lab| {
        lab.process(PROMETHEUS).filter(|process| process.program == program && is_alive(process))?;
        lab.versions.get(PROMETHEUS).cloned()
    });
    let version = match running {
        Some(version) => version,
        None => version(program).await?,
    };
    if is_older(&version, OLDEST_PROMETHEUS) {
        let (major, minor) = OLDEST_PROMETHEUS;
        return Err(Error::prerequisite(format!("{} is Prometheus {version}", program.display()))
            .because_of(format!("Prometheus {major}.{minor} or newer is needed"))
            .hint(format!("name a newer one: export {}=/path/to/prometheus", Tool::Prometheus.variable())));
    }
    Ok(version)
}

fn is_older(version: &str, than: (u64, u64)) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < than,
        _ => false,
    }
}

/// The files that the programs of Debian look for in `/usr/share`: unpacked into the cache, they are beside them.
fn shared(program: &Path, cache: &Path) -> Option<PathBuf> {
    let shared = program.parent()?.parent()?.join("share/prometheus");
    (program.starts_with(cache) && shared.is_dir()).then_some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(is_older("2.9.0", OLDEST_PROMETHEUS) && is_older("2.41.3", OLDEST_PROMETHEUS));
        assert!(!is_older("2.42.0", OLDEST_PROMETHEUS) && !is_older("3.0.0", OLDEST_PROMETHEUS));
    }
}
