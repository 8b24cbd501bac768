//! What the receiver of notifications has kept.

use serde::Deserialize;

use super::{HttpClient, Labels};
use crate::error::Result;
use crate::target::Endpoint;

/// A client of the receiver that a lab brings up (`sre receiver`).
#[derive(Debug, Clone)]
pub struct Receiver {
    http: HttpClient,
}

/// One notification, as Alertmanager's webhook sent it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Notification {
    /// When it arrived, on the receiver's clock.
    pub received: jiff::Timestamp,
    /// The alerts that it tells of.
    pub alerts: Vec<NotifiedAlert>,
    /// How many more it would have told of (`max_alerts` of the receiver in Alertmanager).
    #[serde(default, rename = "truncatedAlerts")]
    pub truncated: u64,
}

/// An alert in a notification.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotifiedAlert {
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    /// When it began to fire, on Prometheus' clock.
    pub starts_at: jiff::Timestamp,
}

impl Receiver {
    /// A client of the receiver behind this endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where its credentials are not in the environment.
    pub fn new(endpoint: &Endpoint) -> Result<Receiver> {
        Ok(Receiver { http: HttpClient::new("the receiver of notifications", endpoint)? })
    }

    /// Whether anybody answers at its address, whatever it says.
    pub async fn answers(&self) -> bool {
        self.http.answers().await
    }

    /// Whether nobody takes a connection at its address.
    pub async fn is_gone(&self) -> bool {
        self.http.is_gone().await
    }

    /// Every notification that it has kept, oldest first.
    ///
    /// # Errors
    /// No data (exit 3) where it does not answer.
    pub async fn notifications(&self) -> Result<Vec<Notification>> {
        self.http.get("notifications", &[]).await
    }
}
