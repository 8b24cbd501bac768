//! The lab that is up in this folder: `.sre/lab.json`.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Endpoints, TargetKind};

/// What `sre up` brought up in this folder, and what `sre down` will take down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lab {
    /// `sre.lab/v1`.
    pub schema: String,
    /// The stack's name.
    pub stack: String,
    /// Where it runs.
    pub target: TargetKind,
    /// The stack's parameters as they were used.
    pub parameters: IndexMap<String, String>,
    /// Whether `up` came to its end; else the next `up` mends it.
    pub complete: bool,
    /// Where its parts answer.
    pub endpoints: Endpoints,
    /// The processes that `up` started on this machine.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// Versions of what runs: `prometheus` → `3.15.0`.
    #[serde(default)]
    pub versions: IndexMap<String, String>,
}

/// A process that `up` started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its name: `prometheus`, `users-api-0`.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, in seconds since 1970 as the system tells it: a reused id is never taken for it.
    pub started: u64,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, so that it can be started again as it was.
    pub arguments: Vec<String>,
    /// Its output.
    pub log: PathBuf,
}
