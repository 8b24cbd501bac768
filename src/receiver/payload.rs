//! What Alertmanager sends by webhook (its version 4), read as far as it must be right: the text itself is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A notification's payload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// `firing` if any of its alerts fires, else `resolved`.
    pub status: String,
    /// The alerts of one group.
    alerts: Vec<Alert>,
    /// How many more there were (`max_alerts` of the receiver).
    #[serde(default)]
    pub truncated_alerts: u64,
}

/// One alert, as small as it can be: a notification may tell of thousands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "it is only read to know that it can be")]
struct Alert {
    status: Status,
    #[serde(deserialize_with = "texts")]
    labels: (),
    starts_at: Timestamp,
    ends_at: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

impl Payload {
    /// How many alerts it tells of.
    pub fn alerts(&self) -> u64 {
        self.alerts.len() as u64
    }
}

/// A mapping of names to texts, which is not kept.
fn texts<'de, D: serde::Deserializer<'de>>(labels: D) -> Result<(), D::Error> {
    BTreeMap::<String, String>::deserialize(labels).map(drop)
}

/// A kept notification, as far as the store needs it.
#[derive(Debug, Deserialize)]
pub struct Kept {
    /// Its number.
    pub id: u64,
    #[serde(rename = "received")]
    _received: Timestamp,
    #[serde(rename = "alerts")]
    _alerts: IgnoredAny,
}
