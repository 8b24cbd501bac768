//! hey: waits for what is in flight. It sends fewer than it is asked for where connections do not divide them.

use std::collections::BTreeMap;

use super::lines::{once, sum};
use super::{Detail, Peer, Told, Unread, never_sent};

pub(super) fn read(text: &str) -> Result<Told, Unread> {
    once(text, "Summary:")?;
    let (mut answered, mut unanswered) = (BTreeMap::new(), Vec::new());
    let mut statuses = once(text, "Status code distribution:").map(|_| false)?;
    let mut errors = false;
    for line in text.lines().map(str::trim) {
        match line {
            "Status code distribution:" => (statuses, errors) = (true, false),
            "Error distribution:" => (statuses, errors) = (false, true),
            _ => {}
        }
        let Some((number, what)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) else {
            continue;
        };
        let strange = || Unread::Senseless(format!("`{line}` is no line of a distribution"));
        if statuses {
            let status: u16 = number.parse().map_err(|_| strange())?;
            let count = what.trim().strip_suffix(" responses").ok_or_else(strange)?;
            answered.insert(status.to_string(), count.parse().map_err(|_| strange())?);
        } else if errors && !never_sent(what) {
            unanswered.push(number.parse().map_err(|_| strange())?);
        }
    }
    let total =
        once(text, "Total:")?.strip_suffix(" secs").and_then(|seconds| seconds.trim().parse::<f64>().ok());
    let unanswered = sum(unanswered)?;
    sum(answered.values().copied().chain([unanswered]))?;
    Ok(Told {
        peer: Peer::Hey,
        detail: Detail::Codes,
        answered,
        unanswered,
        dropped: 0,
        path: None,
        seconds: total.filter(|seconds| seconds.is_finite()),
        times: None,
    })
}
