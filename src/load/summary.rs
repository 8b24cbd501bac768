//! What the client knows: every request's fate, counted, and every time, in histograms.
//!
//! This is the client's half of the truth that `check::reconcile` holds against the server's.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{NotSent, Reason, Second, Unknown};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The complete answer came, with this status.
    Answered(u16),
    /// The server certainly did not process it: nothing of it was written, or the server said so (HTTP/2).
    NotSent(NotSent),
    /// It was sent, wholly or in part, and no complete answer came: the server may have counted it or not.
    Unknown(Unknown),
}

impl Fate {
    /// The answer's status, where a complete one came.
    pub fn status(self) -> Option<u16> {
        match self {
            Fate::Answered(status) => Some(status),
            Fate::NotSent(_) | Fate::Unknown(_) => None,
        }
    }
}

/// So many requests of one name, to one replica, ended one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The request's name.
    pub request: String,
    /// The replica it was sent to, by its number among the endpoints' replicas.
    pub replica: usize,
    /// Where a redirect had led it; `None` for the scenario's own request. Each hop is a request of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<Hop>,
    /// How it ended.
    pub fate: Fate,
    /// How many did.
    pub count: u64,
}

/// The request that a followed redirect made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hop {
    /// Its method: GET after a 303, and after a 301 or 302 of a POST; else that of the request before it.
    pub method: String,
    /// Its path, without the query; `None` for all hops beyond the first [`MOST_HOPS`] different ones of a load, whose
    /// method is empty, too.
    pub path: Option<String>,
}

/// Different hops of a load that are told apart.
pub const MOST_HOPS: usize = 1000;

/// Times in milliseconds; each is the highest value of its histogram bucket (3 significant digits).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many times were measured.
    pub count: u64,
    /// The shortest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// Half took no longer.
    pub p50: f64,
    /// Nine in ten took no longer.
    pub p90: f64,
    /// 95 in a hundred took no longer.
    pub p95: f64,
    /// 99 in a hundred took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// The times of one request name, or of all. Every time ends with the last byte of the answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// From when the request was due, all complete answers. What a user waits; this is what thresholds mean.
    pub since_due: Latency,
    /// From when the request was written, all complete answers. What the server takes.
    pub service: Latency,
    /// As `since_due`, only answers with an expected status.
    pub since_due_success: Latency,
}

/// What became of the requests of one name, or of all, in a phase or in the whole load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestSummary {
    /// Requests that reached the wire: answered and unknown.
    pub sent: u64,
    /// Complete answers by status.
    #[serde(deserialize_with = "statuses")]
    pub statuses: BTreeMap<u16, u64>,
    /// Answers whose status or body was not expected.
    pub unexpected: u64,
    /// Requests that the server certainly did not process.
    pub not_sent: u64,
    /// Requests whose fate is unknown.
    pub unknown: u64,
    /// Why requests count as errors, and how many; in all as many as `unexpected`, `not_sent` and `unknown`. Empty in
    /// runs of before there were reasons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<Reason, u64>,
    /// How long they took.
    pub times: Times,
}

/// JSON's keys are strings, and stay strings where serde has buffered them, as it does for events.
fn statuses<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u16, u64>, D::Error> {
    let read = IndexMap::<String, u64>::deserialize(deserializer)?;
    let status = |text: String| text.parse::<u16>().map_err(serde::de::Error::custom);
    read.into_iter().map(|(text, count)| Ok((status(text)?, count))).collect()
}

impl RequestSummary {
    /// Answers whose status or body was not expected, and requests without an answer, as a share of all; `None` without requests.
    pub fn error_rate(&self) -> Option<f64> {
        let all = self.sent + self.not_sent;
        (all > 0).then(|| (self.unexpected + self.not_sent + self.unknown) as f64 / all as f64)
    }

    /// As [`RequestSummary::error_rate`], of the requests that this process did not keep back by bounds of its own:
    /// of connections, or of what its machine gives. `None` where none was left.
    pub fn service_error_rate(&self) -> Option<f64> {
        let own = [NotSent::Queue, NotSent::Limit].map(Reason::NotSent);
        let own: u64 = own.iter().filter_map(|reason| self.reasons.get(reason)).sum();
        let all = (self.sent + self.not_sent).saturating_sub(own);
        let errors = (self.unexpected + self.not_sent + self.unknown).saturating_sub(own);
        (all > 0).then(|| errors as f64 / all as f64)
    }

    /// Complete answers of one class, `2` for 2xx.
    pub fn class(&self, class: u16) -> u64 {
        self.statuses.iter().filter(|(status, _)| **status / 100 == class).map(|(_, count)| count).sum()
    }
}

/// A phase's own results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// The phase's name.
    pub name: String,
    /// Seconds that it lasted.
    pub seconds: f64,
    /// Requests that its schedule asked for; `None` in the closed model.
    pub asked: Option<u64>,
    /// What became of them, by request name.
    pub requests: IndexMap<String, RequestSummary>,
    /// What became of all of them.
    pub total: RequestSummary,
}

/// Why the generator could not send what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overload {
    /// The reason, as a sentence: `1,204 of 12,000 requests left more than 100 ms late; this process used 1.9 of 2 cores`.
    pub reason: String,
    /// Requests that left late, beyond what is allowed.
    pub late: u64,
    /// Requests that were due and never left.
    pub never: u64,
    /// Requests a second that it did reach.
    pub reached: f64,
}

/// Everything the client knows after a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSummary {
    /// When the load began, on the client's clock.
    pub started: jiff::Timestamp,
    /// Seconds from the first due time to the last answer.
    pub seconds: f64,
    /// Requests that the schedule asked for; `None` in the closed model.
    pub asked: Option<u64>,
    /// Every request's fate, counted.
    pub tallies: Vec<Tally>,
    /// By request name, over all phases.
    pub requests: IndexMap<String, RequestSummary>,
    /// Over all request names and phases.
    pub total: RequestSummary,
    /// The phases, in their order.
    pub phases: Vec<PhaseSummary>,
    /// Set when the generator could not send what was asked.
    pub overload: Option<Overload>,
    /// Whether the load was ended before its time.
    pub interrupted: bool,
    /// Workers whose part is missing in all counts, each as a sentence: `worker 2 of 4 was lost after 3.0 s: …`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

/// One second of a running load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the load's start.
    pub second: f64,
    /// The phase that it lies in.
    pub phase: String,
    /// Requests a second that the schedule asks for now; `None` in the closed model.
    pub asked_rate: Option<f64>,
    /// Requests that left in this second.
    pub sent: u64,
    /// Complete answers in this second.
    pub answered: u64,
    /// Unexpected answers and requests without an answer in this second.
    pub errors: u64,
    /// Requests on their way at its end.
    pub in_flight: u64,
    /// Median of this second's times since due, in milliseconds.
    pub p50: f64,
    /// 99th percentile of this second's times since due, in milliseconds.
    pub p99: f64,
    /// Everything that is known of this second, for who listens while the load runs; it is in no file.
    #[serde(skip)]
    pub whole: Option<Arc<Second>>,
}
