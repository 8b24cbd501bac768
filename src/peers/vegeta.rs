//! vegeta: waits for what is in flight; tells when it began and ended. Code 0 is a request without a complete answer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::lines::sum;
use super::{Detail, Peer, Told, Unread, never_sent, path_of};

/// `vegeta report -type=json`.
#[derive(Deserialize)]
struct Report {
    requests: u64,
    status_codes: BTreeMap<String, u64>,
    errors: Option<Vec<String>>,
    earliest: Timestamp,
    end: Timestamp,
}

/// A line of `vegeta encode`.
#[derive(Deserialize)]
struct Hit {
    code: u16,
    timestamp: Timestamp,
    latency: u64,
    #[serde(default)]
    error: String,
    #[serde(default)]
    url: String,
}

pub(super) fn read(text: &str) -> Result<Told, Unread> {
    match serde_json::from_str::<Report>(text) {
        Ok(report) => of_report(report),
        Err(error) => {
            let first = text.lines().next().unwrap_or_default();
            match serde_json::from_str::<Hit>(first) {
                Ok(_) => of_results(text),
                Err(_) => Err(Unread::Senseless(error.to_string())),
            }
        }
    }
}

fn of_report(report: Report) -> Result<Told, Unread> {
    let mut answered = report.status_codes;
    let errors = report.errors.unwrap_or_default();
    let failed = answered.remove("0").unwrap_or(0);
    let all = sum(answered.values().copied().chain([failed]))?;
    if all != report.requests {
        return Err(Unread::Senseless(format!("{} requests, and {all} by status", report.requests)));
    }
    if let Some(strange) = answered.keys().find(|code| code.parse::<u16>().is_err()) {
        return Err(Unread::Senseless(format!("`{strange}` is no status")));
    }
    // How often each error came is not told.
    let none_sent = !errors.is_empty() && errors.iter().all(|error| never_sent(error));
    let unanswered = if none_sent { 0 } else { failed };
    told(answered, unanswered, None, (report.earliest, report.end))
}

fn of_results(text: &str) -> Result<Told, Unread> {
    let (mut answered, mut unanswered) = (BTreeMap::<String, u64>::new(), 0);
    let mut paths: Vec<Option<String>> = Vec::new();
    let (mut begin, mut end) = (Timestamp::MAX, Timestamp::MIN);
    for (place, line) in text.lines().enumerate() {
        let hit: Hit = serde_json::from_str(line)
            .map_err(|error| Unread::Senseless(format!("line {}: {error}", place + 1)))?;
        match (hit.code, hit.error.is_empty()) {
            // A body that was cut short has the status of its head in other versions.
            (1.., true) => *answered.entry(hit.code.to_string()).or_default() += 1,
            (1.., false) if hit.error.starts_with(&hit.code.to_string()) => {
                *answered.entry(hit.code.to_string()).or_default() += 1;
            }
            _ if never_sent(&hit.error) => {}
            _ => unanswered += 1,
        }
        let path = path_of(&hit.url);
        if !paths.contains(&path) {
            paths.push(path);
        }
        begin = begin.min(hit.timestamp);
        let took = jiff::SignedDuration::from_nanos(i64::try_from(hit.latency).unwrap_or(i64::MAX));
        end = end.max(hit.timestamp.checked_add(took).unwrap_or(hit.timestamp));
    }
    let path = match paths.as_mut_slice() {
        [only] => only.take(),
        _ => None,
    };
    told(answered, unanswered, path, (begin, end))
}

fn told(
    answered: BTreeMap<String, u64>,
    unanswered: u64,
    path: Option<String>,
    (begin, end): (Timestamp, Timestamp),
) -> Result<Told, Unread> {
    let seconds = |time: Timestamp| time.as_millisecond() as f64 / 1000.0;
    if end < begin {
        return Err(Unread::Senseless("it ends before it begins".into()));
    }
    Ok(Told {
        peer: Peer::Vegeta,
        detail: Detail::Codes,
        answered,
        unanswered,
        dropped: 0,
        path,
        seconds: Some(seconds(end) - seconds(begin)),
        times: Some((seconds(begin), seconds(end))),
    })
}
