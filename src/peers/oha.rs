//! oha: by time it drops what is in flight unless it is told to wait, and tells how many of its workers it stopped: at least
//! as many as had a request in flight.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::lines::sum;
use super::{Detail, Peer, Told, Unread};

/// What `--output-format json` prints, as far as it is used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    summary: Summary,
    status_code_distribution: BTreeMap<u16, u64>,
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Summary {
    total: f64,
}

const ABORTED: &str = "aborted due to deadline";

pub(super) fn read(text: &str) -> Result<Told, Unread> {
    let report: Report = serde_json::from_str(text).map_err(|error| Unread::Senseless(error.to_string()))?;
    let mut errors = report.error_distribution;
    let dropped = errors.remove(ABORTED).unwrap_or(0);
    // Nothing was sent on a connection that did not come about.
    errors.retain(|error, _| !error.to_ascii_lowercase().contains("connection refused"));
    let unanswered = sum(errors.into_values())?;
    let answered =
        report.status_code_distribution.into_iter().map(|(status, count)| (status.to_string(), count));
    let answered: BTreeMap<String, u64> = answered.collect();
    sum(answered.values().copied().chain([unanswered, dropped]))?;
    Ok(Told {
        peer: Peer::Oha,
        detail: Detail::Codes,
        answered,
        unanswered,
        dropped,
        path: None,
        seconds: Some(report.summary.total).filter(|seconds| seconds.is_finite()),
        times: None,
    })
}
