//! Something that was looked at, how it is, and what mends it.

use serde::{Deserialize, Serialize};

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `prometheus`.
    pub name: String,
    /// How it is.
    pub level: Level,
    /// What was seen, in a line.
    pub message: String,
    /// What mends it, a command where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// `up` works, with less than it could have, or after a question.
    Warning,
    /// `up` cannot work.
    Error,
}

impl Finding {
    /// It is as it should be.
    pub fn ok(name: &str, message: impl Into<String>) -> Finding {
        Finding { name: name.into(), level: Level::Ok, message: message.into(), hint: None }
    }

    /// `up` works all the same.
    pub fn warning(name: &str, message: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding { name: name.into(), level: Level::Warning, message: message.into(), hint: Some(hint.into()) }
    }

    /// `up` cannot work.
    pub fn error(name: &str, message: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding { name: name.into(), level: Level::Error, message: message.into(), hint: Some(hint.into()) }
    }
}
