//! wrk: what is in flight at the end is dropped without a word. A read error is a request that got no answer, or a
//! connection that was closed after a good one; which of both is not told.

use std::collections::BTreeMap;

use super::lines::{after, at_most_once, leading, once, seconds, sum};
use super::{Detail, Peer, Told, Unread, path_of};

pub(super) fn read(text: &str) -> Result<Told, Unread> {
    let running = once(text, "Running ")?;
    let url = running.split_once(" @ ").map(|(_, url)| url.trim());
    let connections = text.lines().find_map(|line| {
        let (_, connections) = line.trim().strip_suffix(" connections")?.split_once(" threads and ")?;
        connections.parse::<u64>().ok()
    });
    let connections =
        connections.ok_or_else(|| Unread::Senseless("it does not tell its connections".into()))?;
    let mut all = text.lines().filter_map(|line| line.split_once(" requests in "));
    let (requests, rest) = match (all.next(), all.next()) {
        (Some(found), None) => found,
        (None, _) => return Err(Unread::Senseless("no line tells `… requests in …`".into())),
        _ => return Err(Unread::Senseless("it tells of more runs than one".into())),
    };
    let errors = at_most_once(text, "Socket errors:")?.unwrap_or_default();
    let total = leading(requests.trim())?;
    // What timed out is answered later, and then counted, or in flight at the end.
    let unanswered = sum([after(errors, "read ")?, after(errors, "write ")?])?;
    sum([total, unanswered, connections])?;
    Ok(Told {
        peer: Peer::Wrk,
        detail: Detail::Totals,
        answered: BTreeMap::from([(String::new(), total)]),
        unanswered,
        dropped: connections,
        path: url.and_then(path_of),
        seconds: Some(seconds(rest.split(',').next().unwrap_or_default())?),
        times: None,
    })
}
