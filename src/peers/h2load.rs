//! h2load: tells how many requests it started, and statuses by their class. What it started and did not finish may have
//! arrived or not.

use std::collections::BTreeMap;

use super::lines::{before, once, seconds, sum};
use super::{Detail, Peer, Told, Unread};

pub(super) fn read(text: &str) -> Result<Told, Unread> {
    let requests = once(text, "requests:")?;
    let statuses = once(text, "status codes:")?;
    let warm_up =
        text.lines().find_map(|line| line.split_once("Timing-based test with ")?.1.split(' ').next());
    if warm_up.is_some_and(|time| time != "0s") {
        return Err(Unread::Partial("its warm-up is in none of its figures".into()));
    }
    let mut answered = BTreeMap::new();
    for class in ["2xx", "3xx", "4xx", "5xx"] {
        let count = before(statuses, class)?;
        if count > 0 {
            answered.insert(class.to_owned(), count);
        }
    }
    let total = sum(answered.values().copied())?;
    let started = before(requests, "started")?;
    sum([started])?;
    let finished = once(text, "finished in ")?;
    Ok(Told {
        peer: Peer::H2load,
        detail: Detail::Classes,
        unanswered: started.saturating_sub(total),
        answered,
        dropped: 0,
        path: None,
        seconds: Some(seconds(finished.split(',').next().unwrap_or_default())?),
        times: None,
    })
}
