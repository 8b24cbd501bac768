//! Clients of what observes: Prometheus, Alertmanager, Loki, the receiver of notifications.

mod alertmanager;
mod http;
mod loki;
mod prometheus;
mod receiver;
pub mod remote_write;

pub use alertmanager::Alertmanager;
pub use http::HttpClient;
pub use loki::{LogLine, Loki};
pub use prometheus::{
    AlertingRule, Health, Labels, LoadedRule, Prometheus, QueryResult, RuleGroup, RuleState, Sample, Series,
    Target, literal, matcher, one_of,
};
pub use receiver::{Notification, NotifiedAlert, Receiver};
