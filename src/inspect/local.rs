//! Whether the target `local` can work on this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use sysinfo::System;

use super::Finding;
use crate::error::Result;
use crate::target::Folder;
use crate::tools::{self, Cache, Tool};

/// What a lab needs on the disk of its folder: Prometheus' data and the logs of some hours.
const LAB_DISK: u64 = 500_000_000;
/// What the largest release needs in the cache, packed and unpacked.
const CACHE_DISK: u64 = 500_000_000;
/// What a lab of three replicas has in memory, with room for the load.
const MEMORY: u64 = 500_000_000;
/// Open files that load on some hundred connections needs.
const OPEN_FILES: u64 = 1024;

/// Looks at all that `up` needs for the target `local`; changes nothing but an empty file that is removed.
pub async fn local(folder: &Folder) -> Result<Vec<Finding>> {
    let cache = Cache::of_user()?;
    let mut findings = Vec::new();
    for tool in [
        Tool::Prometheus,
        Tool::Alertmanager,
        Tool::NodeExporter,
        Tool::Promtool,
        Tool::Loki,
        Tool::Collector,
    ] {
        findings.push(program(tool, &cache).await);
    }
    findings.push(loopback());
    findings.extend(machine(folder));
    let other = "free space there, or name another folder: export XDG_CACHE_HOME=/some/folder";
    findings.push(disk("disk of the cache", cache.root(), CACHE_DISK, other));
    findings.push(memory());
    findings.push(open_files());
    Ok(findings)
}

/// What every target needs of this machine: a folder for the lab's state.
pub fn machine(folder: &Folder) -> Vec<Finding> {
    let hint = "free space there, or work in another folder";
    vec![writable(folder), disk("disk here", folder.root(), LAB_DISK, hint)]
}

async fn program(tool: Tool, cache: &Cache) -> Finding {
    let name = tool.name();
    // Without promtool `up` works; only `sre`'s own tests of rules ask for it.
    let search = match tools::find(tool, cache).await {
        Ok(search) => search,
        Err(error) => return Finding::error(name, error.what(), error.next_step().unwrap_or_default()),
    };
    let passed = search.passed_over.iter().map(|passed| format!("\npassed over: {passed}"));
    let passed: String = passed.collect();
    match search.program {
        Some(found) => Finding::ok(
            name,
            format!("{}, {} ({}){passed}", found.version, found.path.display(), found.origin),
        ),
        None => missing(tool, &passed).await,
    }
}

/// What this program does itself where a tool is not here.
fn replaced(tool: Tool) -> Option<&'static str> {
    match tool {
        Tool::Loki => Some("sre keeps log lines itself, or gets it by --set logs=loki"),
        Tool::Collector => Some("sre follows the logs itself"),
        _ => None,
    }
}

async fn missing(tool: Tool, passed: &str) -> Finding {
    if let Some(what) = replaced(tool) {
        return Finding::ok(tool.name(), format!("not here: {what}{passed}"));
    }
    let name = tool.name();
    let plan = match tools::plan(tool).await {
        Ok(plan) => plan,
        Err(error) => return Finding::error(name, error.what(), error.next_step().unwrap_or_default()),
    };
    if plan.possible() {
        return Finding::warning(
            name,
            format!("missing; sre can get it{passed}"),
            format!("sre up --yes gets\n{}", plan.ways().join("\nor ")),
        );
    }
    let hint = format!("put {name} on PATH, or: export {}=/path/to/{name}", tool.variable());
    let told = format!("missing, and sre cannot get it{passed}");
    match tool {
        Tool::Promtool => Finding::warning(name, told, hint),
        _ => Finding::error(name, told, hint),
    }
}

fn loopback() -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
        Ok(_) => Finding::ok("ports", "loopback ports can be listened on"),
        Err(e) => {
            Finding::error("ports", format!("127.0.0.1 cannot be listened on: {e}"), "ip link set lo up")
        }
    }
}

fn writable(folder: &Folder) -> Finding {
    let place = folder.root().ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match tempfile::tempfile_in(place) {
        Ok(_) => Finding::ok("state", format!("{} can be written", folder.root().display())),
        Err(e) => Finding::error(
            "state",
            format!("{} cannot be written: {e}", folder.root().display()),
            "work in a folder that is yours",
        ),
    }
}

fn disk(name: &str, path: &Path, needed: u64, hint: &str) -> Finding {
    match Folder::at(path).free() {
        Ok(free) if free < needed => Finding::error(
            name,
            format!("{} free, {} are needed: {}", mb(free), mb(needed), path.display()),
            hint,
        ),
        Ok(free) => Finding::ok(name, format!("{} free: {}", mb(free), path.display())),
        Err(e) => Finding::error(name, format!("{}: {e}", path.display()), hint),
    }
}

fn memory() -> Finding {
    let Ok(mut system) = System::new() else {
        return Finding::warning("memory", "the system does not tell", "free -m");
    };
    system.refresh_memory();
    // A container's limit is below what the machine has.
    let available = system
        .cgroup_limits()
        .map_or(system.available_memory(), |limits| limits.free_memory.min(system.available_memory()));
    if available < MEMORY {
        let hint = "end other programs, or bring up fewer replicas: sre up --replicas 1";
        return Finding::warning(
            "memory",
            format!("{} available, {} are wanted", mb(available), mb(MEMORY)),
            hint,
        );
    }
    Finding::ok("memory", format!("{} available", mb(available)))
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < OPEN_FILES => Finding::warning(
            "open files",
            format!("at most {limit}; load on many connections needs more"),
            format!("ulimit -n {OPEN_FILES}"),
        ),
        Some(limit) => Finding::ok("open files", format!("at most {limit}")),
        None => Finding::ok("open files", "no limit"),
    }
}

fn mb(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}
