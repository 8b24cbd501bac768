//! Waits until an alert has fired and resolved, and judges when.

use serde_json::json;

use super::away;
use super::episode::{Episode, Expectation};
use super::notification;
use crate::check::context::CheckContext;
use crate::check::wait::pause;
use crate::check::{Group, Kind, Outcome, Verdict};
use crate::error::Result;
use crate::figures::duration;
use crate::observe::{AlertingRule, Prometheus, Series};
use crate::scenario::AlertCheck;

/// What Prometheus knows of the alert now.
struct Seen {
    expectation: Expectation,
    episode: Episode,
    now: f64,
    /// Whether the next run began at `now`: nothing later is this one's.
    past: bool,
    /// Why nothing can be said, if so.
    blind: Option<String>,
    /// Why it is not known whether and when it resolved, if so.
    lost: Option<String>,
}

/// The alert fired, resolved, and was notified: an outcome each.
///
/// # Errors
/// Interrupted (130, 143). Whatever Prometheus cannot tell is a verdict, not an error.
pub async fn check(context: &CheckContext<'_>, asked: &AlertCheck) -> Result<Vec<Outcome>> {
    let bound = asked.fires.get() + asked.resolves.get();
    let mut stopwatch = context.patience(bound);
    let mut seen = loop {
        let seen = match context.prometheus() {
            Ok(prometheus) => look(context, prometheus, asked).await,
            Err(error) => return Ok(no_data(asked, &error.to_string())),
        };
        let message = match seen {
            Ok(seen) if seen.settled() => break seen,
            Ok(seen) if seen.episode.fired.is_none() => {
                let left = left(seen.expectation.fires_by, seen.now);
                format!("waiting for {} to fire ({left} left)", asked.name)
            }
            Ok(seen) => {
                let left = left(seen.expectation.resolves_by, seen.now);
                format!("waiting for {} to resolve ({left} left)", asked.name)
            }
            Err(error) if stopwatch.gives_up(&error) => return Ok(no_data(asked, &error.to_string())),
            Err(error) => format!("waiting for Prometheus: {}", error.what()),
        };
        context.waiting(&asked.name, &message)?;
        pause(context.interrupt, stopwatch.next()).await?;
    };
    if let Some(reason) = &seen.blind {
        return Ok(no_data(asked, reason));
    }
    if seen.lost.is_some() {
        seen.episode.resolved = None;
    }
    let mut outcomes = vec![fired(asked, &seen), resolved(asked, &seen)];
    outcomes.extend(notification::check(context, asked, &seen.expectation, &seen.episode).await?);
    Ok(outcomes)
}

fn left(by: f64, now: f64) -> String {
    duration((by - now).max(0.0))
}

async fn look(context: &CheckContext<'_>, prometheus: &Prometheus, asked: &AlertCheck) -> Result<Seen> {
    let now = prometheus.time().await?.min(context.horizon.unwrap_or(f64::MAX));
    let rules = prometheus.rules().await?;
    let rule = rules.iter().find(|rule| rule.name == asked.name);
    let expectation = expectation(context, asked, rule, now);
    let selector = format!("ALERTS{{alertname={:?},alertstate=\"firing\"}}", asked.name);
    let since = context.baseline.map_or(expectation.from, |baseline| baseline.at);
    let firing: Vec<Series> = prometheus.samples(&selector, since, now).await?;
    let evaluated = rule.map_or(0.0, AlertingRule::evaluated);
    let episode = expectation.episode(&firing, evaluated.min(now));
    let stale = |by: f64| rule.is_some_and(|rule| rule.is_stale(by.min(now), 0.0)).then(|| STALE.to_owned());
    let blind = match rule {
        None => Some(unknown_rule(&rules)),
        Some(rule) if rule.health == "err" => {
            Some(format!("Its rule cannot be evaluated: {}.", rule.last_error))
        }
        Some(_) if episode.fired.is_none() => match stale(expectation.fires_by) {
            None => away_before(prometheus, &expectation, now).await?,
            known => known,
        },
        Some(_) => None,
    };
    let lost = match episode.resolved {
        Some(resolved) => away_after(prometheus, &expectation, resolved, now).await?,
        None => stale(expectation.resolves_by),
    };
    let past = context.horizon.is_some_and(|horizon| now >= horizon);
    Ok(Seen { expectation, episode, now, past, blind, lost })
}

fn expectation(
    context: &CheckContext<'_>,
    asked: &AlertCheck,
    rule: Option<&AlertingRule>,
    now: f64,
) -> Expectation {
    let first =
        |faults: &[crate::run::FaultEvent]| faults.iter().filter_map(|f| f.prometheus_time).reduce(f64::min);
    let last =
        |faults: &[crate::run::FaultEvent]| faults.iter().filter_map(|f| f.prometheus_time).reduce(f64::max);
    let load_started = context.load.prometheus_started.or(context.baseline.map(|b| b.at)).unwrap_or(now);
    let load_ended = context.load.prometheus_ended.unwrap_or(now);
    let from = first(&context.faults.injected).unwrap_or(load_started);
    let until = last(&context.faults.healed).unwrap_or(load_ended);
    let mut instances: Vec<String> =
        context.faults.injected.iter().flat_map(|fault| fault.instances.clone()).collect();
    instances.sort();
    instances.dedup();
    Expectation {
        labels: asked.labels.clone().into_iter().collect(),
        instances,
        from,
        fires_by: from + asked.fires.as_secs_f64(),
        until,
        resolves_by: until + asked.resolves.as_secs_f64(),
        interval: rule.map_or(1.0, |rule| rule.interval),
    }
}

fn unknown_rule(rules: &[AlertingRule]) -> String {
    let mut names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => "Prometheus has no alerting rule at all.".into(),
        names => format!("Prometheus has no rule of that name. Loaded: {}.", names.join(", ")),
    }
}

const STALE: &str = "Its rule is not evaluated any more.";

/// Whether Prometheus was away while the alert had to fire: then nobody knows whether it would have.
async fn away_before(prometheus: &Prometheus, expectation: &Expectation, now: f64) -> Result<Option<String>> {
    let (from, to) = (expectation.from, expectation.fires_by.min(now));
    let gap = away::longest(&away::scrapes(prometheus, from, to).await?, from, to);
    Ok((gap > away::allowed(to - from, expectation.interval)).then(|| {
        format!("Prometheus saw nothing for {} of the time in which it had to fire.", duration(gap))
    }))
}

/// Whether Prometheus was away when the alert is no longer seen to fire: then nobody knows when it resolved, and a
/// Prometheus that starts again has forgotten for how long the expression held.
async fn away_after(
    prometheus: &Prometheus,
    expectation: &Expectation,
    resolved: f64,
    now: f64,
) -> Result<Option<String>> {
    let time = expectation.resolves_by - expectation.until;
    let allowed = away::allowed(time, expectation.interval);
    let (from, to) = (resolved - allowed - expectation.interval, now.min(resolved + 2.0 * allowed));
    let gap = away::around(&away::scrapes(prometheus, from, to).await?, resolved, from, to);
    Ok((gap > allowed).then(|| {
        format!("Prometheus saw nothing for at least {} after it was last seen to fire.", duration(gap))
    }))
}

impl Seen {
    /// Whether the next run began before this time was over: what had not happened yet is not known.
    fn cut_off(&self, by: f64) -> bool {
        self.past && self.now <= by + self.expectation.interval
    }

    /// Whether waiting longer would change nothing.
    fn settled(&self) -> bool {
        if self.past {
            return true;
        }
        if self.blind.is_some() || !self.episode.strangers.is_empty() && self.episode.fired.is_none() {
            // A stranger may come before the one that is meant: the bound is waited for.
            return self.blind.is_some() || self.now > self.expectation.fires_by;
        }
        match self.episode.fired {
            None => self.now > self.expectation.fires_by + self.expectation.interval,
            // What still fires before the disturbance ended has not resolved for good.
            Some(_) => {
                let over = self.episode.resolved.is_some() && self.now > self.expectation.until;
                over || self.now > self.expectation.resolves_by + self.expectation.interval
            }
        }
    }
}

fn outcome(asked: &AlertCheck, done: &str, verdict: Verdict, message: String) -> Outcome {
    Outcome::new(Kind::Alert, Group::Alerts, format!("{} {done}", asked.name), verdict, message)
        .hinted("Prometheus' page of alerts shows the rule and its value.")
}

fn fired(asked: &AlertCheck, seen: &Seen) -> Outcome {
    let (expectation, episode) = (&seen.expectation, &seen.episode);
    let mut note = None;
    let (verdict, message) = match episode.fired {
        _ if episode.before => (Verdict::Fail, "it fired before anything was done".into()),
        Some(fired) if !episode.strangers.is_empty() => {
            (Verdict::Fail, format!("{}, and for another", expectation.fired_message(fired)))
        }
        Some(fired) if fired <= expectation.fires_by => (Verdict::Pass, expectation.fired_message(fired)),
        Some(fired) => (Verdict::Fail, expectation.fired_message(fired)),
        None if !episode.strangers.is_empty() => (Verdict::Fail, "it fired for another".into()),
        None if seen.cut_off(expectation.fires_by) => {
            note = Some(CUT_OFF.to_owned());
            (Verdict::NoData, "no data".into())
        }
        None => (Verdict::Fail, format!("not within {}", duration(expectation.fires_by - expectation.from))),
    };
    let mut outcome = outcome(asked, "fired", verdict, message);
    outcome.notes.extend(note);
    for stranger in &episode.strangers {
        outcome.notes.push(format!("It fired for {stranger}, which was not disturbed."));
    }
    outcome.evidence = json!({
        "from": expectation.from, "fired": episode.fired,
        "after_seconds": episode.fired.map(|fired| fired - expectation.from),
        "allowed_seconds": expectation.fires_by - expectation.from,
    });
    outcome
}

fn resolved(asked: &AlertCheck, seen: &Seen) -> Outcome {
    let (expectation, episode) = (&seen.expectation, &seen.episode);
    let mut outcome = match (episode.fired, episode.resolved) {
        (None, _) => never_fired(asked),
        _ if seen.lost.is_some() => {
            let mut outcome = outcome(asked, "resolved", Verdict::NoData, "no data".into());
            outcome.notes.extend(seen.lost.clone());
            outcome
        }
        (Some(_), Some(resolved)) if resolved <= expectation.resolves_by => {
            outcome(asked, "resolved", Verdict::Pass, expectation.resolved_message(resolved))
        }
        (Some(_), Some(resolved)) => {
            outcome(asked, "resolved", Verdict::Fail, expectation.resolved_message(resolved))
        }
        (Some(_), None) if seen.cut_off(expectation.resolves_by) => {
            outcome(asked, "resolved", Verdict::NoData, "no data".into()).noted(CUT_OFF)
        }
        (Some(_), None) => {
            let message = format!("still firing after {}", duration(seen.now - expectation.until));
            outcome(asked, "resolved", Verdict::Fail, message)
        }
    };
    outcome.evidence = json!({
        "until": expectation.until, "resolved": episode.resolved,
        "after_seconds": episode.resolved.map(|resolved| resolved - expectation.until),
        "allowed_seconds": expectation.resolves_by - expectation.until,
    });
    outcome
}

const CUT_OFF: &str = "The next run began before its time was over.";

fn no_data(asked: &AlertCheck, reason: &str) -> Vec<Outcome> {
    let fired = outcome(asked, "fired", Verdict::NoData, "no data".into())
        .noted(reason)
        .hinted("`sre describe stack` shows the rules that it expects.");
    vec![fired, Outcome { hint: None, ..never_fired(asked) }]
}

fn never_fired(asked: &AlertCheck) -> Outcome {
    outcome(asked, "resolved", Verdict::NoData, "no data".into()).noted("It was never seen to fire.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Labels;

    fn asked() -> AlertCheck {
        serde_json::from_value(json!({"name": "A", "fires": "30s", "resolves": "40s"})).expect("a check")
    }

    /// What is known at `now`, when the next run began; the load ended at 120.
    fn seen(fired: Option<f64>, resolved: Option<f64>, now: f64) -> Seen {
        let expectation = Expectation {
            labels: Labels::new(),
            instances: Vec::new(),
            from: 100.0,
            fires_by: 130.0,
            until: 120.0,
            resolves_by: 160.0,
            interval: 1.0,
        };
        let episode = Episode { fired, resolved, ..Episode::default() };
        Seen { expectation, episode, now, past: true, blind: None, lost: None }
    }

    fn verdicts(seen: &Seen) -> [Verdict; 2] {
        [fired(&asked(), seen).verdict, resolved(&asked(), seen).verdict]
    }

    #[test]
    fn what_had_not_happened_when_the_next_run_began_is_no_data() {
        let cut_off = [
            (seen(None, None, 125.0), [Verdict::NoData, Verdict::NoData]),
            (seen(Some(110.0), None, 125.0), [Verdict::Pass, Verdict::NoData]),
            (seen(Some(110.0), Some(122.0), 125.0), [Verdict::Pass, Verdict::Pass]),
            // It had all its time.
            (seen(None, None, 140.0), [Verdict::Fail, Verdict::NoData]),
            (seen(Some(110.0), None, 170.0), [Verdict::Pass, Verdict::Fail]),
        ];
        for (seen, expected) in cut_off {
            assert!(seen.settled(), "it is waited for what cannot come");
            assert_eq!(verdicts(&seen), expected, "{:?} at {}", seen.episode, seen.now);
        }
    }

    #[test]
    fn what_is_no_longer_seen_of_a_prometheus_that_is_away_has_not_resolved() {
        let seen = seen(Some(110.0), Some(122.0), 170.0);
        let lost = Seen { past: false, lost: Some("It was away.".into()), ..seen };
        assert_eq!(verdicts(&lost), [Verdict::Pass, Verdict::NoData]);
        assert_eq!(resolved(&asked(), &lost).notes, ["It was away."]);
    }

    #[test]
    fn without_a_next_run_the_whole_time_is_waited_for() {
        let waits = |seen: Seen| !Seen { past: false, ..seen }.settled();
        assert!(waits(seen(None, None, 125.0)) && waits(seen(Some(110.0), None, 125.0)));
        assert!(!waits(seen(None, None, 140.0)) && !waits(seen(Some(110.0), Some(122.0), 125.0)));
    }
}
