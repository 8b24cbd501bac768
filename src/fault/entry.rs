//! One fault in the journal: everything that is needed to undo it, without scenario or lab.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Switches;
use super::kubernetes::{Place, Record};
use super::moment::{Now, Steady};
use crate::target::Process;
use crate::target::kubernetes::object::ObjectRef;

/// The version of an entry.
pub const SCHEMA: &str = "sre.fault/v1";

/// One fault in the journal. A fault that was undone by its owner, or whose owner is gone, has no entry any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// `sre.fault/v1`.
    pub schema: String,
    /// Its name in the journal; no two faults ever have the same in one folder.
    pub id: String,
    /// What it does, in words: `latency 2s on users-api-0`.
    pub description: String,
    /// How far it came.
    pub state: State,
    /// The process id of the `sre` that injects it. For people: whether it still lives is told by
    /// its lock on the entry.
    pub owner: u32,
    /// When it is to be undone, on the clock that people read.
    pub until: Timestamp,
    /// The same on the clock that nobody sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Steady>,
    /// What it touches, one a replica.
    pub touched: Vec<Touched>,
    /// Why it could not be undone, if that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a fault came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is about to be injected, or was in part.
    Planned,
    /// It is injected.
    Injected,
    /// It could not be undone.
    Failed,
    /// `sre heal --force` has undone it while its owner lives, who removes the entry. Without this the owner could not
    /// tell it from one that somebody has deleted.
    Undone,
}

/// What a fault touches, with all that is needed to undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Touched {
    /// Fault switches of the demo service.
    Switches {
        /// The replica's name.
        replica: String,
        /// Its admin port.
        admin: Url,
        /// Its process, where `sre` started it: the switches end with it.
        process: Option<Process>,
        /// What is switched on.
        switches: Switches,
    },
    /// A process that is killed, and started again at the end.
    Killed {
        /// The process as it was.
        process: Process,
        /// Where it listens once it is back.
        url: Url,
    },
    /// A process that is stopped, and continued at the end.
    Paused {
        /// The process.
        process: Process,
    },
    /// An object of a cluster, which bears the same record as an annotation.
    Object {
        /// The cluster.
        cluster: Place,
        /// The object.
        on: ObjectRef,
        /// What is done, and how it is undone.
        record: Box<Record>,
    },
}

impl Entry {
    /// How long it is on yet.
    pub(super) fn left(&self, now: &Now) -> Duration {
        now.until(self.until, self.ends.as_ref())
    }
}

impl Touched {
    /// Whether it touches the process itself. Such a fault is undone before one that needs an answer
    /// of the process.
    pub fn is_process(&self) -> bool {
        matches!(self, Touched::Killed { .. } | Touched::Paused { .. })
    }

    /// The name of the replica, or of the object.
    pub fn replica(&self) -> &str {
        match self {
            Touched::Switches { replica, .. } => replica,
            Touched::Killed { process, .. } | Touched::Paused { process } => &process.name,
            Touched::Object { on, .. } => &on.name,
        }
    }
}
