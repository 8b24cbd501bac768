//! ab: by time it drops what is in flight, by number nothing; its report does not tell which it was. A connection that is
//! closed without an answer, or in the middle of one, is complete to it.

use std::collections::BTreeMap;

use super::lines::{after, at_most_once, leading, once, sum};
use super::{Detail, Peer, Told, Unread};

pub(super) fn read(text: &str) -> Result<Told, Unread> {
    let version = once(text, "This is ApacheBench, Version ")?;
    if version.split(' ').next() != Some(Peer::Ab.version()) {
        return Err(Unread::Partial(format!("what ab {version} drops is not known: 2.3 is")));
    }
    let complete = leading(once(text, "Complete requests:")?)?;
    let concurrency = leading(once(text, "Concurrency Level:")?)?;
    let failed = at_most_once(text, "(Connect:")?.unwrap_or_default();
    // A connection that is closed without an answer is one of another length, or none at all where all are.
    let broken = match leading(once(text, "Total transferred:")?)? {
        0 => [complete, 0, 0],
        _ => [after(failed, "Receive")?, after(failed, "Exceptions")?, after(failed, "Length")?],
    };
    let unwritten = at_most_once(text, "Write errors:")?.map_or(Ok(0), leading)?;
    // They are among the complete ones.
    let unanswered = sum(broken)?.saturating_add(unwritten).min(complete);
    sum([complete, concurrency])?;
    let taken = once(text, "Time taken for tests:")?;
    let seconds = taken.split(' ').next().and_then(|seconds| seconds.parse::<f64>().ok());
    Ok(Told {
        peer: Peer::Ab,
        detail: Detail::Totals,
        answered: BTreeMap::from([(String::new(), complete - unanswered)]),
        unanswered,
        dropped: concurrency,
        path: Some(once(text, "Document Path:")?.to_owned()).filter(|path| path.starts_with('/')),
        seconds: seconds.filter(|seconds| seconds.is_finite()),
        times: None,
    })
}
