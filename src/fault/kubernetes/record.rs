//! What a fault did to a cluster, with everything that is needed to undo it. It stands in the journal and, as an
//! annotation, on the object that the fault is on, so that any machine can undo it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::fault::Switches;
use crate::target::kubernetes::object::ObjectRef;

/// The annotation with the record of the fault that is on an object.
pub const ANNOTATION: &str = "sre.dev/fault";

/// The label of every helper object of a fault: its id.
pub const LABEL: &str = "sre.dev/fault";

/// The version of a record.
const SCHEMA: &str = "sre.fault/v1";

/// What a fault did, or is about to do, to a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `sre.fault/v1`.
    pub schema: String,
    /// Its name, the same as in the journal.
    pub id: String,
    /// What it does, in words: `scale-to-zero on Deployment shop/frontend`.
    pub fault: String,
    /// Who injects it.
    pub by: Owner,
    /// When it is to be undone.
    pub until: Timestamp,
    /// What it does, in order.
    pub effects: Vec<Effect>,
    /// What was ready before, and must be again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<Ready>,
    /// The Job that undoes it at the latest. Only its namespace is ever taken from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<ObjectRef>,
    /// Who owned the fields that it sets (`metadata.managedFields`), with those fields alone; in the annotation only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<ManagedFieldsEntry>,
}

/// The `sre` that injected a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The name of its machine.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// What tells that machine, as it runs since its last start, from every other one of that name. Older records
    /// have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// Something that was ready before a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The workload, or the node.
    pub object: ObjectRef,
    /// How many of its pods were ready; 1 for a node.
    pub count: u64,
}

/// One thing that a fault does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Effect {
    /// A value of the object that the fault is on is set; `None` is not there.
    Set {
        /// Where, as a JSON pointer.
        path: String,
        /// The value before.
        before: Option<Value>,
        /// The value while the fault is on; the server may add defaults to it.
        after: Option<Value>,
    },
    /// A ReplicaSet comes of it that nobody needs afterwards.
    NewReplicaSet,
    /// Pods are deleted.
    Delete {
        /// Which.
        pods: Vec<PodRef>,
    },
    /// Pods are evicted, as `kubectl drain` does it.
    Evict {
        /// Which.
        pods: Vec<PodRef>,
    },
    /// A helper object is made.
    Create {
        /// Which.
        object: ObjectRef,
        /// What it is; not in the annotation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Box<Value>>,
    },
    /// Memory is taken in a container.
    Memory {
        /// Its pod.
        pod: PodRef,
        /// The container.
        container: String,
        /// The share of the limit, from 0 to 1.
        share: f64,
        /// The container's limit in bytes.
        limit: u64,
    },
    /// Redis is paused.
    Redis {
        /// Its pod.
        pod: PodRef,
        /// Its port.
        port: u16,
    },
    /// Fault switches of the demo service are set.
    Switches {
        /// Its pods.
        pods: Vec<PodRef>,
        /// The admin port.
        port: u16,
        /// What is switched on.
        switches: Switches,
    },
    /// A node is stopped by a command on this machine.
    Node {
        /// The node.
        node: String,
        /// What stops it, with `{node}` for its name; not in the annotation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop: Option<String>,
        /// What starts it, likewise; not in the annotation, from which nothing is ever run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<String>,
    },
}

/// One pod, this one and no other of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Effect {
    /// The pods that it takes, or does something in.
    pub fn pods(&self) -> &[PodRef] {
        match self {
            Effect::Delete { pods } | Effect::Evict { pods } | Effect::Switches { pods, .. } => pods,
            Effect::Memory { pod, .. } | Effect::Redis { pod, .. } => std::slice::from_ref(pod),
            Effect::Set { .. } | Effect::NewReplicaSet | Effect::Create { .. } | Effect::Node { .. } => &[],
        }
    }
}

impl Record {
    /// A record of a fault that is about to be injected by this process.
    pub fn new(id: &str, fault: &str, until: Timestamp, effects: Vec<Effect>) -> Record {
        Record {
            schema: SCHEMA.into(),
            id: id.into(),
            fault: fault.into(),
            by: Owner::this(),
            until,
            effects,
            ready: Vec::new(),
            guard: None,
            owners: Vec::new(),
        }
    }

    /// As it stands in the annotation: without what is only of use to this machine.
    pub fn annotation(&self) -> String {
        let mut record = self.clone();
        for effect in &mut record.effects {
            match effect {
                Effect::Create { body, .. } => *body = None,
                Effect::Node { stop, start, .. } => (*stop, *start) = (None, None),
                _ => {}
            }
        }
        serde_json::to_string(&record).unwrap_or_default()
    }

    /// The record in an object's annotation; `None` where there is none.
    ///
    /// # Errors
    /// The target (exit 6) where it cannot be read.
    pub fn of(object: &DynamicObject) -> Result<Option<Record>> {
        match object.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION)) {
            None => Ok(None),
            Some(text) => Record::read(text).map(Some),
        }
    }

    /// Reads an annotation.
    ///
    /// # Errors
    /// The target (exit 6) where it is none of this version.
    pub fn read(text: &str) -> Result<Record> {
        let failed = || Error::target(format!("an annotation {ANNOTATION} cannot be read"));
        let record: Record = serde_json::from_str(text).map_err(|e| failed().because(e))?;
        if record.schema != SCHEMA {
            return Err(failed().because_of(format!("it is `{}`, this sre knows `{SCHEMA}`", record.schema)));
        }
        Ok(record)
    }
}

impl Owner {
    /// This process.
    pub fn this() -> Owner {
        Owner {
            host: sysinfo::System::host_name().unwrap_or_default(),
            pid: std::process::id(),
            machine: this_machine(),
        }
    }

    /// Whether it is known to be gone: a process of this machine that is not there any more. Nothing is known of
    /// another machine's, which may have the same name.
    pub fn is_gone(&self) -> bool {
        self.is_here() && !self.runs()
    }

    /// Whether it is known to be there: a process of this machine.
    pub fn is_known_to_live(&self) -> bool {
        self.is_here() && self.runs()
    }

    fn is_here(&self) -> bool {
        let this = Owner::this();
        self.host == this.host && self.machine.is_some() && self.machine == this.machine
    }

    fn runs(&self) -> bool {
        crate::target::local::process::exists(self.pid)
    }
}

/// Where a process id means one process: this machine since its last start, and the container in it. Machines that were
/// copied have the same name and the same `machine-id`; the number of their start differs. Only a digest leaves the
/// machine, because its id is nobody else's business.
fn this_machine() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let all = format!("sre {} {} {}", read("/etc/machine-id").trim(), boot.trim(), space.display());
    let digest = Sha256::digest(all.as_bytes());
    Some(crate::digest::hex(&digest[..8]))
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.pid, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_this_machine_are_in_no_annotation() {
        let node = Effect::Node {
            node: "worker".into(),
            stop: Some("reboot".into()),
            start: Some("wake up".into()),
        };
        let record = Record::new("id", "node-stop on Node worker", Timestamp::UNIX_EPOCH, vec![node]);
        let read = Record::read(&record.annotation()).expect("an annotation");
        assert_eq!(read.effects, [Effect::Node { node: "worker".into(), stop: None, start: None }]);
        assert_eq!(read.by, record.by);
    }

    #[test]
    fn a_newer_annotation_is_told() {
        let record = Record::new("id", "x", Timestamp::UNIX_EPOCH, Vec::new());
        let newer = record.annotation().replace("sre.fault/v1", "sre.fault/v9");
        assert!(Record::read(&newer).expect_err("it is newer").to_string().contains("sre.fault/v9"));
        assert!(Record::read("{").is_err());
    }

    #[test]
    fn this_process_is_not_gone_and_another_machines_is_not_known_to_be() {
        let this = Owner::this();
        assert!(!this.is_gone());
        assert!(this.is_known_to_live());
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let gone = Owner { pid: child.id(), ..this };
        child.wait().expect("it ends");
        assert!(gone.is_gone() && !gone.is_known_to_live());
        // Two machines may be called `localhost`, and an older record does not tell them apart.
        for machine in [Some("another".into()), None] {
            let elsewhere = Owner { machine, ..gone.clone() };
            assert!(!elsewhere.is_gone() && !elsewhere.is_known_to_live());
        }
        assert!(!Owner { host: "another-machine".into(), ..gone }.is_gone());
    }
}
