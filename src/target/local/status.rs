//! `status`: how the processes of a lab are, and what Prometheus sees of them.

use jiff::Timestamp;
use serde::Serialize;

use super::health::{Target, why};
use super::ports::{self, Ports};
use super::process::{State, memory, state};
use super::tail::last_lines;
use crate::error::Result;
use crate::observe;
use crate::target::{Endpoint, Folder, Lab, Process, TargetKind};

/// How many last lines of a dead process are shown.
const LAST_LINES: usize = 5;

/// How a lab is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The stack's name.
    pub stack: String,
    /// Where it runs.
    pub target: TargetKind,
    /// Whether all is well.
    pub healthy: bool,
    /// Whether the last `up` came to its end.
    pub complete: bool,
    /// Versions of what runs.
    pub versions: indexmap::IndexMap<String, String>,
    /// The processes.
    pub processes: Vec<ProcessStatus>,
    /// What Prometheus scrapes.
    pub targets: TargetsStatus,
}

/// How a process is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// Running, paused or dead.
    pub state: State,
    /// Its process id.
    pub pid: u32,
    /// Where it answers: `127.0.0.1:15001`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The memory that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// What it wrote last, if it is dead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// What Prometheus scrapes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetsStatus {
    /// How many are healthy.
    pub healthy: usize,
    /// How many there are.
    pub total: usize,
    /// Those that are not healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unhealthy: Vec<Target>,
    /// Why Prometheus could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Looks at a lab; changes nothing. `meant` tells which targets of Prometheus are the lab's: somebody else's Prometheus
/// has others, too.
pub async fn status(lab: &Lab, folder: &Folder, meant: impl Fn(&observe::Target) -> bool) -> Result<Status> {
    let ports = ports::load(folder);
    let processes: Vec<ProcessStatus> =
        lab.processes.iter().map(|process| process_status(process, &ports)).collect();
    let targets = TargetsStatus::of(lab.endpoints.prometheus.as_ref(), meant).await?;
    let healthy =
        lab.complete && processes.iter().all(|process| process.state == State::Running) && targets.healthy();
    Ok(Status {
        stack: lab.stack.clone(),
        target: lab.target,
        healthy,
        complete: lab.complete,
        versions: lab.versions.clone(),
        processes,
        targets,
    })
}

fn process_status(process: &Process, ports: &Ports) -> ProcessStatus {
    let state = state(process);
    ProcessStatus {
        name: process.name.clone(),
        state,
        pid: process.pid,
        address: ports.get(&process.name).map(|port| format!("127.0.0.1:{port}")),
        since: i64::try_from(process.started).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()),
        memory_bytes: memory(process),
        last_lines: if state == State::Dead { last_lines(&process.log, LAST_LINES) } else { Vec::new() },
    }
}

impl TargetsStatus {
    /// What Prometheus sees now of the targets that are meant.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where credentials are not in the environment.
    pub async fn of(
        prometheus: Option<&Endpoint>,
        meant: impl Fn(&observe::Target) -> bool,
    ) -> Result<TargetsStatus> {
        let seen = match prometheus {
            Some(prometheus) => observe::Prometheus::new(prometheus)?.targets().await.map_err(why),
            None => Err("the lab has no Prometheus".into()),
        };
        Ok(match seen {
            Ok(seen) => {
                let seen: Vec<Target> = seen.into_iter().filter(meant).map(Target::from).collect();
                let total = seen.len();
                let unhealthy: Vec<Target> = seen.into_iter().filter(|target| !target.healthy).collect();
                TargetsStatus { healthy: total - unhealthy.len(), total, unhealthy, error: None }
            }
            Err(error) => TargetsStatus::unknown(error),
        })
    }

    /// Prometheus could not be asked.
    pub fn unknown(why: impl Into<String>) -> TargetsStatus {
        TargetsStatus { healthy: 0, total: 0, unhealthy: Vec::new(), error: Some(why.into()) }
    }

    /// Whether all are healthy; no target at all would be a monitoring that sees nothing.
    pub fn healthy(&self) -> bool {
        self.error.is_none() && self.total > 0 && self.healthy == self.total
    }
}
