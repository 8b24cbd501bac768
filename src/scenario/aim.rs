//! What a fault on a cluster is on: one object, or the pods with some labels.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::{from_scalar, quantity};
use crate::config::unknown;

/// What a fault on a cluster is on: `deployment/frontend`, or the pods with `app=frontend,tier=web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// One object, by name.
    Object {
        /// Its kind.
        kind: AimKind,
        /// Its name.
        name: String,
    },
    /// All pods with these labels; they belong to one workload.
    Labels(IndexMap<String, String>),
}

quantity!(Aim, "deployment/frontend", r"^[a-z]+/[a-z0-9.-]+$|=");

/// A kind of object that a fault can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AimKind {
    /// `deployment`, `deploy`
    Deployment,
    /// `statefulset`, `sts`
    StatefulSet,
    /// `daemonset`, `ds`
    DaemonSet,
    /// `replicaset`, `rs`
    ReplicaSet,
    /// `pod`, `po`
    Pod,
    /// `service`, `svc`
    Service,
    /// `ingress`, `ing`
    Ingress,
    /// `node`, `no`
    Node,
}

impl AimKind {
    /// Every kind.
    pub const ALL: [AimKind; 8] = [
        AimKind::Deployment,
        AimKind::StatefulSet,
        AimKind::DaemonSet,
        AimKind::ReplicaSet,
        AimKind::Pod,
        AimKind::Service,
        AimKind::Ingress,
        AimKind::Node,
    ];

    /// The kind as objects have it: `Deployment`.
    pub fn kind(self) -> &'static str {
        match self {
            AimKind::Deployment => "Deployment",
            AimKind::StatefulSet => "StatefulSet",
            AimKind::DaemonSet => "DaemonSet",
            AimKind::ReplicaSet => "ReplicaSet",
            AimKind::Pod => "Pod",
            AimKind::Service => "Service",
            AimKind::Ingress => "Ingress",
            AimKind::Node => "Node",
        }
    }

    /// The version of the API that its objects are read by.
    pub fn api_version(self) -> &'static str {
        match self {
            AimKind::Deployment | AimKind::StatefulSet | AimKind::DaemonSet | AimKind::ReplicaSet => {
                "apps/v1"
            }
            AimKind::Pod | AimKind::Service | AimKind::Node => "v1",
            AimKind::Ingress => "networking.k8s.io/v1",
        }
    }

    fn short(self) -> &'static str {
        match self {
            AimKind::Deployment => "deploy",
            AimKind::StatefulSet => "sts",
            AimKind::DaemonSet => "ds",
            AimKind::ReplicaSet => "rs",
            AimKind::Pod => "po",
            AimKind::Service => "svc",
            AimKind::Ingress => "ing",
            AimKind::Node => "no",
        }
    }
}

impl FromStr for AimKind {
    type Err = String;
    fn from_str(text: &str) -> Result<AimKind, String> {
        let wanted = text.to_ascii_lowercase();
        let names = |kind: &&AimKind| {
            let name = kind.kind().to_ascii_lowercase();
            let plural = if name.ends_with('s') { format!("{name}es") } else { format!("{name}s") };
            [name, plural, kind.short().to_owned()].contains(&wanted)
        };
        AimKind::ALL.iter().find(names).copied().ok_or_else(|| {
            let known: Vec<String> = AimKind::ALL.iter().map(|kind| kind.kind().to_lowercase()).collect();
            format!("a fault is on no `{text}`; {}", unknown(&wanted, known.iter().map(String::as_str)))
        })
    }
}

impl FromStr for Aim {
    type Err = String;
    fn from_str(text: &str) -> Result<Aim, String> {
        let text = text.trim();
        let problem =
            || format!("`{text}` names no object; write for example `deployment/frontend` or `app=frontend`");
        // A label's key may have a slash, an object's name no equals sign.
        if text.contains('=') {
            let pair = |pair: &str| {
                let (key, value) = pair.split_once('=')?;
                let (key, value) = (key.trim(), value.trim_start_matches('=').trim());
                let is_text = |text: &str, marks: &str| {
                    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
                };
                (is_text(key, "-_./") && is_text(value, "-_.")).then(|| (key.to_owned(), value.to_owned()))
            };
            let labels: Option<IndexMap<String, String>> = text.split(',').map(pair).collect();
            return labels.map(Aim::Labels).ok_or_else(problem);
        }
        let (kind, name) = text.split_once('/').ok_or_else(problem)?;
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        if !is_name(name) {
            return Err(problem());
        }
        Ok(Aim::Object { kind: kind.parse()?, name: name.to_owned() })
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::Object { kind, name } => write!(f, "{}/{name}", kind.kind().to_lowercase()),
            Aim::Labels(labels) => {
                let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_kubectl_names_them() {
        for (text, written) in [
            ("deploy/frontend", "deployment/frontend"),
            ("deployments/frontend", "deployment/frontend"),
            ("svc/redis-leader", "service/redis-leader"),
            ("ingresses/shop", "ingress/shop"),
            ("app=frontend,tier=web", "app=frontend,tier=web"),
            ("app.kubernetes.io/name=users-api", "app.kubernetes.io/name=users-api"),
        ] {
            assert_eq!(text.parse::<Aim>().map(|aim| aim.to_string()), Ok(written.to_owned()));
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["frontend", "deployment/", "deployment/Front End", "=x", "app=", "job/x"] {
            assert!(text.parse::<Aim>().is_err(), "{text}");
        }
        let wrong = "deploymnt/frontend".parse::<Aim>().unwrap_err();
        assert!(wrong.contains("deployment"), "{wrong}");
    }
}
