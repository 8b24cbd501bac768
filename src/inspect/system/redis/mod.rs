//! Redis instances, by the metrics of redis_exporter: figures, and the limits that they may cross.
//!
//! `look` asks Prometheus; `judge` is pure.

mod judge;
mod look;

use serde::Serialize;

use super::model::{Part, Warning};
use super::window::Window;

pub use look::look;

/// One Redis instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Redis {
    /// Its pod, or what Prometheus calls the target.
    pub name: String,
    /// `master` or `slave`, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its version, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many followers it tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followers: Option<f64>,
    /// What was seen, in the order of the screen.
    pub figures: Vec<Figure>,
    /// What to look into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// One figure of an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is: `hit ratio`.
    pub name: &'static str,
    /// The figure.
    #[serde(flatten)]
    pub value: Part<Value>,
    /// Whether a warning tells of it.
    pub warns: bool,
}

/// A figure, for machines and for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Value {
    /// In seconds, bytes, a second, or as a part from 0 to 1; `None` where there is none: idle, or without a limit.
    pub value: Option<f64>,
    /// As it is shown.
    pub text: String,
    /// The window; `None` for what is so now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

impl Redis {
    /// Whether every figure was had.
    pub fn is_whole(&self) -> bool {
        self.figures.iter().all(|figure| figure.value.had().is_some())
    }
}
