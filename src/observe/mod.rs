//! Clients of what observes: Prometheus, Alertmanager, Loki, the receiver of notifications.

mod alertmanager;
mod answer;
mod expression;
mod http;
mod loki;
mod prometheus;
mod promql;
mod query;
mod receiver;
pub mod remote_write;
mod stand_in;

#[cfg(any(test, fuzzing))]
pub(crate) use self::{answer::read_json, loki::read_lines, query::read_instant, query::read_matrix};
pub use alertmanager::{Alertmanager, HeldAlert, HeldStatus, Silence};
pub use expression::{Selected, compared, metrics_of, selected};
pub use http::HttpClient;
pub use loki::{LogLine, Loki};
pub use prometheus::{
    ActiveAlert, AlertingRule, Discovery, DroppedTarget, Health, Labels, LoadedRule, Prometheus, Reload,
    RuleGroup, RuleState, ScrapedTarget, Target,
};
pub use promql::{is_bare, literal, matcher, one_of, selector};
pub use query::{QueryResult, Sample, Series};
pub use receiver::{Notification, NotifiedAlert, Receiver};

use crate::error::Result;
use crate::target::Endpoints;

/// Whether the environment holds the credentials of everything that will be asked.
///
/// # Errors
/// A prerequisite (exit 5) that names the variable that is not set.
pub fn ensure_credentials(endpoints: &Endpoints) -> Result<()> {
    let all = [
        ("Prometheus", &endpoints.prometheus),
        ("Alertmanager", &endpoints.alertmanager),
        ("the receiver of notifications", &endpoints.receiver),
        ("Loki", &endpoints.loki),
    ];
    for (what, endpoint) in all {
        if let Some(endpoint) = endpoint {
            HttpClient::new(what, endpoint)?;
        }
    }
    Ok(())
}
