//! A notification as Alertmanager sends it by webhook, and when it came.

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A notification, and when it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Its number, from 1, in the order of arrival.
    pub id: u64,
    /// When it came, on the receiver's clock.
    pub received: Timestamp,
    /// What came; its keys stand beside `id` and `received`.
    #[serde(flatten)]
    pub payload: Payload,
}

/// What Alertmanager sends (its webhook's version 4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// `firing` if any of its alerts fires, else `resolved`.
    pub status: String,
    /// The alerts of one group.
    pub alerts: Vec<PayloadAlert>,
    /// All else that came.
    #[serde(flatten)]
    pub rest: IndexMap<String, serde_json::Value>,
}

/// One alert of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PayloadAlert {
    /// `firing` or `resolved`.
    pub status: String,
    /// The alert's labels, `alertname` among them.
    pub labels: IndexMap<String, String>,
    /// When it began to fire, on Prometheus' clock.
    pub starts_at: Timestamp,
    /// When it was resolved; in year 1 while it fires.
    pub ends_at: Timestamp,
    /// All else that came.
    #[serde(flatten)]
    pub rest: IndexMap<String, serde_json::Value>,
}
