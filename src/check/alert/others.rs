//! No other alert of the stack's rules fired.

use std::collections::{BTreeMap, BTreeSet};

use super::episode::display;
use super::world::{Seen, World, name, without_state};
use super::{away, look};
use crate::check::context::CheckContext;
use crate::check::wait::pause;
use crate::check::{Group, Kind, Outcome, Table, Verdict};
use crate::error::Result;
use crate::figures::{count, duration};
use crate::observe::{Labels, Prometheus, Series, matcher, one_of, selector};

/// More rows are not shown.
const MOST_ROWS: usize = 20;

/// No alert of the stack's rules fired since the load began, besides those that may.
///
/// # Errors
/// Interrupted (130, 143). Whatever Prometheus cannot tell is a verdict, not an error.
pub async fn no_others(context: &CheckContext<'_>, except: &[String]) -> Result<Outcome> {
    let name = if except.is_empty() { "no alert fired" } else { "no other alert fired" };
    let outcome = Outcome::no_data(Kind::Alert, Group::Alerts, name)
        .hinted("Prometheus' page of alerts shows the rules and their values.");
    if context.rules.is_empty() {
        return Ok(outcome.noted("The stack has no alert rules."));
    }
    let mut stopwatch = context.patience(std::time::Duration::ZERO);
    loop {
        let message = match look(context, except).await {
            Ok(Seen { fired, .. }) if !fired.is_empty() => return Ok(others(outcome, fired)),
            Ok(Seen { hidden, .. }) if !hidden.is_empty() => {
                return Ok(Outcome { notes: hidden, ..outcome });
            }
            Ok(Seen { awaited: Some(what), .. }) => what,
            Ok(_) => {
                return Ok(Outcome { verdict: Verdict::Pass, message: String::new(), hint: None, ..outcome });
            }
            Err(error) if stopwatch.gives_up(&error) => return Ok(outcome.noted(error.to_string())),
            Err(error) => format!("waiting for Prometheus: {}", error.what()),
        };
        context.waiting(name, &message)?;
        pause(context.interrupt, stopwatch.next()).await?;
    }
}

fn others(mut outcome: Outcome, fired: Vec<Labels>) -> Outcome {
    outcome.verdict = Verdict::Fail;
    outcome.message = format!("{} fired", count(fired.len() as u64));
    let mut names: Vec<&str> = fired.iter().map(name).collect();
    names.sort();
    names.dedup();
    let rows =
        fired.iter().take(MOST_ROWS).map(|labels| vec![name(labels).to_owned(), display(labels)]).collect();
    outcome.table = Some(Table { columns: ["alert", "labels"].map(String::from).to_vec(), rows });
    if fired.len() > MOST_ROWS {
        outcome.notes.push(format!("And {} more.", count((fired.len() - MOST_ROWS) as u64)));
    }
    outcome.notes.push(format!(
        "Where they may fire, name them: `along: [{0}]` beside an `alert`, or `no-alerts: {{except: [{0}]}}`.",
        names.join(", ")
    ));
    outcome
}

async fn look(context: &CheckContext<'_>, except: &[String]) -> Result<Seen> {
    let prometheus = context.prometheus()?;
    let loaded = prometheus.rules().await?;
    let missing = |rule: &&String| !loaded.iter().any(|known| known.name == **rule);
    let unloaded: Vec<&str> = context.rules.iter().filter(missing).map(String::as_str).collect();
    if !unloaded.is_empty() {
        let hidden = vec![format!("Prometheus has not loaded: {}.", unloaded.join(", "))];
        return Ok(Seen { hidden, ..Seen::default() });
    }
    let names: Vec<&str> =
        context.rules.iter().filter(|rule| !except.contains(rule)).map(String::as_str).collect();
    let now = context.time().await?.min(context.horizon.unwrap_or(f64::MAX));
    let since = context.load.prometheus_started.or(context.baseline.map(|b| b.at)).unwrap_or(now);
    let known_by = look::known_by(context, prometheus).await?;
    let of_these_names = selector("ALERTS", [one_of("alertname", &names)]);
    let alerts = prometheus.samples(&of_these_names, since, now).await?;
    let rules: Vec<_> = loaded.into_iter().filter(|rule| names.contains(&rule.name.as_str())).collect();
    let shortest = rules.iter().map(|rule| rule.interval).fold(60.0, f64::min);
    let mut world = World {
        rules,
        alerts,
        since,
        known_by,
        offset: look::offset(context, prometheus, &names, since, now).await?,
        starts: look::starts(context, prometheus).await?,
        gaps: away::gaps(context, prometheus, since, now).await?,
        pending: BTreeMap::new(),
        step: 0.001_f64.max((shortest * 500.0).floor() / 1000.0),
        lookback: look::lookback(prometheus).await,
        now,
        past: context.horizon.is_some_and(|horizon| now >= horizon),
    };
    world.pending = pending(prometheus, &world, &names).await?;
    let mut seen = world.judge();
    if seen.fired.is_empty() && seen.awaited.is_none() {
        let (alerts, up) = prometheus.alerts_and_up(&names, since, now).await?;
        let told = |all: &[Series]| all.iter().map(|series| series.labels.clone()).collect::<BTreeSet<_>>();
        let (before, after) = (told(&world.alerts), told(&alerts));
        if before != after {
            // What came meanwhile counts.
            world.alerts = alerts;
            world.pending = pending(prometheus, &world, &names).await?;
            seen = world.judge();
        }
        if !before.is_subset(&after) {
            seen.hidden.push("Prometheus gave two answers about ALERTS that contradict each other.".into());
        }
        let until = context.load.prometheus_ended.unwrap_or(now).min(now);
        let longest = world.rules.iter().map(|rule| rule.interval).fold(0.0, f64::max);
        seen.hidden.extend(away_during(&away::times(&up), since, until, longest));
    }
    Ok(seen)
}

/// At which instants each alert was pending.
async fn pending(
    prometheus: &Prometheus,
    world: &World,
    names: &[&str],
) -> Result<BTreeMap<Labels, BTreeSet<i64>>> {
    let mut pending: BTreeMap<Labels, BTreeSet<i64>> = BTreeMap::new();
    let Some((from, to)) = world.asked() else { return Ok(pending) };
    let pending_now = selector("ALERTS", [one_of("alertname", names), matcher("alertstate", "=", "pending")]);
    for series in prometheus.evaluations(&pending_now, from, to, world.step).await? {
        let instants = series.samples.iter().map(|sample| (sample.time / world.step).round() as i64);
        pending.entry(without_state(series.labels)).or_default().extend(instants);
    }
    Ok(pending)
}

/// Whether Prometheus was away for much of the load: then nobody knows what would have fired.
fn away_during(scrapes: &[f64], since: f64, until: f64, interval: f64) -> Option<String> {
    away::blind(scrapes, since, until, interval)
        .map(|gap| format!("Prometheus saw nothing for {} of the load.", duration(gap)))
}
