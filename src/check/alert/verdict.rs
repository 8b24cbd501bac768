//! An alert's verdicts, of what is known of it: pure.

use serde_json::json;

use super::episode::{Before, Episode, Expectation, Known, display};
use crate::check::{Group, Kind, Outcome, Verdict};
use crate::figures::{count, duration};
use crate::observe::{Labels, Series};
use crate::scenario::AlertCheck;

/// More label sets are not told of one by one.
pub const MOST_TOLD: usize = 10;

/// What is known of an alert at one look.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it had to do.
    pub expectation: Expectation,
    /// What it did.
    pub episode: Episode,
    /// Alerts of other rules of its name that fired.
    pub siblings: Vec<Labels>,
    /// The alerts of its name, in both states, those of other rules among them.
    pub alerts: Vec<Series>,
    /// When it was looked, on Prometheus' clock.
    pub now: f64,
    /// Whether the next run began at `now`: nothing later is this one's.
    pub past: bool,
    /// Until when it is waited at the most.
    pub patience: f64,
    /// By how much the group of its rule looks back.
    pub offset: f64,
    /// Seconds between evaluations.
    pub interval: f64,
    /// Why nothing can be said, if so.
    pub blind: Option<String>,
}

impl Seen {
    /// Whether no later look would change the verdict, or none is worth waiting for.
    pub fn settled(&self) -> bool {
        let waits =
            [self.episode.fired, self.episode.resolved].contains(&Known::NotYet) || !self.episode.complete;
        self.past || self.blind.is_some() || !waits || self.now > self.patience
    }
}

fn outcome(asked: &AlertCheck, done: &str, verdict: Verdict, message: String) -> Outcome {
    Outcome::new(Kind::Alert, Group::Alerts, format!("{} {done}", asked.name), verdict, message)
        .hinted("Prometheus' page of alerts shows the rule and its value.")
}

const CUT_OFF: &str = "The next run began before its time was over.";
const STALE: &str = "Its rule is not evaluated any more.";

/// Whether it fired in time, and for whom.
pub fn fired(asked: &AlertCheck, seen: &Seen) -> Outcome {
    let (expectation, episode) = (&seen.expectation, &seen.episode);
    let allowed = expectation.fires_by - expectation.from;
    let same_name_may = asked.along.contains(&asked.name);
    let strangers: &[Labels] = if same_name_may { &[] } else { &episode.strangers };
    let after = |fired: f64| took(fired - expectation.from, allowed);
    let no_data = || (Verdict::NoData, "no data".to_owned());
    let mut note = None;
    let (verdict, message) = match (episode.fired, episode.before) {
        (_, Some(Before::Fired)) => (Verdict::Fail, "it fired before anything was done".into()),
        (_, Some(Before::Pending)) => {
            note = Some("It was pending before anything was done: what brought it about is not known.");
            no_data()
        }
        (Known::At(fired), _) if !strangers.is_empty() => {
            (Verdict::Fail, format!("{}, and for another", after(fired)))
        }
        _ if !strangers.is_empty() => (Verdict::Fail, "it fired for another".into()),
        (Known::At(_), _) if !episode.complete => {
            note = Some(if seen.past { CUT_OFF } else { STALE });
            no_data()
        }
        (Known::At(fired), _) => (Verdict::Pass, after(fired)),
        (Known::Not, _) => (Verdict::Fail, format!("not within {}", duration(allowed))),
        (Known::Never(why), _) => {
            note = Some(why);
            no_data()
        }
        (Known::NotYet, _) => {
            note = Some(if seen.past { CUT_OFF } else { STALE });
            no_data()
        }
    };
    let mut outcome = outcome(asked, "fired", verdict, message);
    outcome.notes.extend(note.map(str::to_owned));
    outcome
        .notes
        .extend(each(strangers, |labels| format!("It fired for {labels}, which was not disturbed.")));
    if !strangers.is_empty() {
        outcome.notes.push(format!("Where that may be, `along: [{}]` allows for it.", asked.name));
    }
    let siblings = each(&seen.siblings, |labels| format!("Another rule of its name fired, too: {labels}."));
    outcome.notes.extend(siblings);
    outcome.notes.extend(late(seen));
    let fired = at(episode.fired);
    outcome.evidence = json!({
        "from": expectation.from, "fired": fired,
        "after_seconds": fired.map(|fired| fired - expectation.from),
        "allowed_seconds": allowed, "looks_back_seconds": seen.offset,
    });
    outcome
}

/// Whether it was over in time.
pub fn resolved(asked: &AlertCheck, seen: &Seen) -> Outcome {
    let (expectation, episode) = (&seen.expectation, &seen.episode);
    let allowed = expectation.resolves_by - expectation.until;
    let no_data = |why: &str| outcome(asked, "resolved", Verdict::NoData, "no data".into()).noted(why);
    let mut outcome = match (episode.fired, episode.resolved) {
        (Known::Not | Known::Never(_) | Known::NotYet, _) => never_fired(asked),
        (_, Known::Never(why)) => no_data(why),
        (_, Known::At(resolved)) => {
            outcome(asked, "resolved", Verdict::Pass, took(resolved - expectation.until, allowed))
        }
        (_, Known::Not) => {
            let message = format!("still firing after {}", duration(allowed));
            let mut outcome = outcome(asked, "resolved", Verdict::Fail, message);
            outcome.notes.extend(late(seen));
            outcome
        }
        (_, Known::NotYet) => no_data(if seen.past { CUT_OFF } else { STALE }),
    };
    let resolved = at(episode.resolved);
    outcome.evidence = json!({
        "until": expectation.until, "resolved": resolved,
        "after_seconds": resolved.map(|resolved| resolved - expectation.until),
        "allowed_seconds": allowed,
    });
    outcome
}

/// `after 9.2 s (30.0 s allowed)`.
fn took(took: f64, may: f64) -> String {
    format!("after {} ({} allowed)", duration(took.max(0.0)), duration(may))
}

fn at(known: Known) -> Option<f64> {
    match known {
        Known::At(time) => Some(time),
        _ => None,
    }
}

/// Times are those at which it could be seen.
fn late(seen: &Seen) -> Option<String> {
    (seen.offset > 0.0).then(|| {
        let offset = duration(seen.offset);
        format!("Its group looks {offset} back (query_offset): whatever it tells is seen that much later.")
    })
}

/// A sentence each, of so many that a screen has room for them.
pub fn each(labels: &[Labels], sentence: impl Fn(String) -> String) -> Vec<String> {
    let mut notes: Vec<String> =
        labels.iter().take(MOST_TOLD).map(|labels| sentence(display(labels))).collect();
    if labels.len() > MOST_TOLD {
        notes.push(format!("And so for {} more.", count((labels.len() - MOST_TOLD) as u64)));
    }
    notes
}

/// Nothing can be said, for this reason.
pub fn no_data(asked: &AlertCheck, reason: &str) -> Vec<Outcome> {
    let fired = outcome(asked, "fired", Verdict::NoData, "no data".into())
        .noted(reason)
        .hinted("`sre describe stack` shows the rules that it expects.");
    vec![fired, Outcome { hint: None, ..never_fired(asked) }]
}

fn never_fired(asked: &AlertCheck) -> Outcome {
    outcome(asked, "resolved", Verdict::NoData, "no data".into()).noted("It was never seen to fire.")
}
