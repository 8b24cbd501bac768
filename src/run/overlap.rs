//! Runs that sent load at the same time: what was counted then is nobody's alone.

use std::path::Path;

use jiff::Timestamp;

use super::{Event, EventKind, RunFolder};
use crate::check::{Group, Kind, Outcome};

/// From when to when a run sent load; `None` where it never began to.
fn span(events: &[Event]) -> Option<(Timestamp, Timestamp)> {
    let begun = events.iter().find(|event| matches!(event.kind, EventKind::LoadStarted(_)))?.time;
    let is_end =
        |event: &&Event| matches!(event.kind, EventKind::LoadFinished(_) | EventKind::RunFailed { .. });
    // One that was killed has sent at least until its last event.
    let ended = events.iter().find(is_end).or(events.last())?.time;
    Some((begun, ended))
}

/// The runs under `state` whose load overlaps with that of the run in `folder`, newest first.
pub(super) fn overlapping(folder: &RunFolder, events: &[Event], state: &Path) -> Vec<String> {
    let Some((begun, ended)) = span(events) else { return Vec::new() };
    let others = sent_between(state, begun, ended).into_iter();
    others.filter(|other| other != folder.id()).collect()
}

/// The runs under `state` that sent load between two times, newest first.
pub fn sent_between(state: &Path, begun: Timestamp, ended: Timestamp) -> Vec<String> {
    let all = RunFolder::list(state).unwrap_or_default().into_iter().filter(|run| run.started() <= ended);
    all.filter(|run| {
        let span = run.read().ok().and_then(|log| span(&log.events));
        span.is_some_and(|(from, until)| from < ended && begun < until)
    })
    .map(|run| run.id().to_owned())
    .collect()
}

/// What such a run's verdict is.
pub(super) fn outcome(others: &[String]) -> Outcome {
    Outcome::no_data(Kind::Reconcile, Group::Counts, "no other run sent load at the same time")
        .noted(format!("{} did: what monitoring saw then is not this run's alone", others.join(", ")))
        .hinted("Run one after the other: --queue waits for its turn.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: i64, kind: &str) -> Event {
        let time = Timestamp::from_second(second).expect("a time");
        let kind = match kind {
            "begun" => EventKind::LoadStarted(crate::load::plan(&scenario())),
            "failed" => EventKind::RunFailed { error: "x".into(), exit: 6 },
            _ => EventKind::VerifyStarted,
        };
        Event { time, kind }
    }

    fn scenario() -> crate::scenario::Scenario {
        crate::catalog::scenario("baseline").expect("it is shipped").scenario
    }

    #[test]
    fn a_run_sends_load_from_its_beginning_to_its_end_however_that_comes() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert_eq!(span(&[event(1, "other")]), None);
        let failed = [event(1, "other"), event(2, "begun"), event(5, "failed"), event(9, "other")];
        assert_eq!(span(&failed), Some((at(2), at(5))));
        let killed = [event(2, "begun"), event(7, "other")];
        assert_eq!(span(&killed), Some((at(2), at(7))));
    }
}
