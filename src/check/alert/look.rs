//! Asks Prometheus for all that an alert's verdict rests on.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::away;
use super::episode::{Episode, Evidence, Expectation, Known};
use super::rule::{can_make, display, fits};
use super::verdict::Seen;
use crate::check::context::CheckContext;
use crate::check::wait::seconds_of;
use crate::error::Result;
use crate::figures::duration;
use crate::observe::{AlertingRule, Labels, Prometheus, QueryResult, Series, matcher, one_of, selector};
use crate::run::{EventKind, FaultEvent};
use crate::scenario::AlertCheck;

/// An evaluation, and a look, may be late by so many seconds.
const LATE: f64 = 10.0;
/// For how long a sample speaks for its series, where Prometheus does not tell.
const LOOKBACK: f64 = 300.0;
/// More instants are not asked for at once.
const MOST_INSTANTS: f64 = 10_000.0;

/// What an alert had to do, and what it did until now.
pub async fn look(context: &CheckContext<'_>, prometheus: &Prometheus, asked: &AlertCheck) -> Result<Seen> {
    let now = context.time().await?.min(context.horizon.unwrap_or(f64::MAX));
    let rules = prometheus.rules().await?;
    let labels: Labels = asked.labels.clone().into_iter().collect();
    let of_name: Vec<&AlertingRule> = rules.iter().filter(|rule| rule.name == asked.name).collect();
    let meant: Vec<&AlertingRule> = of_name.iter().copied().filter(|rule| fits(rule, &labels)).collect();
    let expectation = expectation(context, prometheus, labels, asked).await?;
    let since = context.baseline.map_or(expectation.from, |baseline| baseline.at);
    let of_this_name = selector("ALERTS", [matcher("alertname", "=", &asked.name)]);
    let alerts = prometheus.samples(&of_this_name, since, now).await?;
    let (siblings, alerts): (Vec<Series>, Vec<Series>) = alerts.into_iter().partition(|series| {
        let able = |rule: &&&AlertingRule| can_make(rule, &series.labels);
        of_name.iter().any(|rule| able(&rule)) && !meant.iter().any(|rule| able(&rule))
    });
    let evidence = evidence(context, prometheus, &expectation, &meant, alerts, (since, now)).await?;
    let episode = expectation.episode(&evidence);
    let blind = match meant.as_slice() {
        [] => Some(unknown_rule(&rules, &of_name)),
        meant => blind(prometheus, &expectation, &evidence, &siblings, &episode, meant, now).await?,
    };
    let last =
        expectation.fires_by.max(expectation.resolves_by).max(expectation.known_by + evidence.interval);
    // One that was just started is given its time, too.
    let last = evidence.starts.iter().copied().fold(last, f64::max);
    let took = meant.iter().map(|rule| rule.group_took).fold(0.0, f64::max);
    let fired = |series: &&Series| super::episode::is_firing(series);
    let fired_siblings = siblings.iter().filter(fired).map(|series| series.labels.clone()).collect();
    Ok(Seen {
        siblings: fired_siblings,
        patience: last + evidence.offset + 2.0 * evidence.interval + took + LATE,
        past: context.horizon.is_some_and(|horizon| now >= horizon),
        offset: evidence.offset,
        interval: evidence.interval,
        alerts: [siblings, evidence.alerts].concat(),
        expectation,
        episode,
        now,
        blind,
    })
}

async fn expectation(
    context: &CheckContext<'_>,
    prometheus: &Prometheus,
    labels: Labels,
    asked: &AlertCheck,
) -> Result<Expectation> {
    let times = |faults: &[FaultEvent]| faults.iter().filter_map(|f| f.prometheus_time).collect::<Vec<_>>();
    let began = context.load.prometheus_started.or(context.baseline.map(|b| b.at));
    let began = began.or(context.load.prometheus_ended).unwrap_or_default();
    let ended = context.load.prometheus_ended.unwrap_or(began);
    let from = times(&context.faults.injected).into_iter().reduce(f64::min).unwrap_or(began);
    let until = times(&context.faults.healed).into_iter().reduce(f64::max).unwrap_or(ended);
    let mut instances: Vec<String> =
        context.faults.injected.iter().flat_map(|fault| fault.instances.clone()).collect();
    instances.sort();
    instances.dedup();
    Ok(Expectation {
        labels,
        instances,
        from,
        fires_by: from + asked.fires.as_secs_f64(),
        until,
        resolves_by: until + asked.resolves.as_secs_f64(),
        known_by: known_by(context, prometheus).await?,
    })
}

/// When Prometheus has scraped everything that was done: two scrapes after the last of it.
pub async fn known_by(context: &CheckContext<'_>, prometheus: &Prometheus) -> Result<f64> {
    let healed = context.faults.healed.iter().filter_map(|fault| fault.prometheus_time);
    let ended = context.load.prometheus_ended.or(context.baseline.map(|baseline| baseline.at));
    let ended = healed.chain(ended).fold(0.0, f64::max);
    let instances = context.endpoints.scraped().into_iter().map(|(_, instance)| instance).collect::<Vec<_>>();
    Ok(ended + 2.0 * away::scrape_interval(prometheus, &instances, ended).await?)
}

async fn evidence(
    context: &CheckContext<'_>,
    prometheus: &Prometheus,
    expectation: &Expectation,
    meant: &[&AlertingRule],
    alerts: Vec<Series>,
    (since, now): (f64, f64),
) -> Result<Evidence> {
    let of = |value: fn(&AlertingRule) -> f64| meant.iter().map(move |rule| value(rule));
    let interval = of(|rule| rule.interval).fold(0.001, f64::max);
    let last = expectation.resolves_by.max(expectation.known_by + interval).min(now);
    // The marker of an end is looked for from the first time that it fires.
    let first =
        alerts.iter().flat_map(|series| &series.samples).map(|sample| sample.time).fold(f64::MAX, f64::min);
    let step = (interval / 2.0).max((last - first) / MOST_INSTANTS);
    let step = (step * 1000.0).floor().max(1.0) / 1000.0;
    let (mut active, mut firing) = (BTreeSet::new(), BTreeSet::new());
    if !alerts.is_empty() {
        let by_state = format!("count by (alertstate) ({})", alerts_meant(expectation, meant));
        for series in prometheus.evaluations(&by_state, first, last + 2.0 * step, step).await? {
            let instants = series.samples.iter().map(|sample| (sample.time / step).round() as i64);
            if super::episode::is_firing(&series) {
                firing.extend(instants.clone());
            }
            active.extend(instants);
        }
    }
    let names: Vec<&str> = meant.iter().map(|rule| rule.name.as_str()).collect();
    Ok(Evidence {
        active,
        firing,
        step,
        lookback: lookback(prometheus).await,
        interval,
        offset: offset(context, prometheus, &names, since, now).await?,
        evaluated_until: of(AlertingRule::evaluated_until).fold(f64::MAX, f64::min).min(now),
        starts: starts(context, prometheus).await?,
        gaps: away::gaps(context, prometheus, since, now).await?,
        alerts,
    })
}

/// When Prometheus started, each time that this run knows of; one that is new is noted for those who look later.
pub async fn starts(context: &CheckContext<'_>, prometheus: &Prometheus) -> Result<Vec<f64>> {
    let now = prometheus.running_since().await;
    let mut starts = context.starts.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(Some(started)) = now.map(|start| start.map(|at| at.as_millisecond() as f64 / 1000.0))
        && !starts.contains(&started)
    {
        starts.push(started);
        context.events.emit(EventKind::PrometheusStarted { at: started })?;
    }
    Ok(starts.clone())
}

/// The selector of the alerts that are meant.
fn alerts_meant(expectation: &Expectation, meant: &[&AlertingRule]) -> String {
    let name = meant.iter().map(|rule| matcher("alertname", "=", &rule.name)).take(1);
    let labels = expectation.labels.iter().map(|(name, value)| matcher(name, "=", value));
    // One without the label is meant, too.
    let instances = expectation.instances.iter().map(String::as_str).chain([""]);
    let instances = (!expectation.instances.is_empty()).then(|| one_of("instance", instances));
    selector("ALERTS", name.chain(labels).chain(instances))
}

/// For how long a sample speaks for its series.
pub async fn lookback(prometheus: &Prometheus) -> f64 {
    let flag = prometheus.flag("query.lookback-delta").await.ok().flatten();
    flag.and_then(|flag| seconds_of(&flag)).filter(|seconds| *seconds > 0.0).unwrap_or(LOOKBACK)
}

/// By how much the groups of rules of these names look back (`query_offset`). No API tells: the stack's files say so, or
/// the configuration; and a sample of `ALERTS_FOR_STATE` that is written into the past tells when its rule was evaluated.
pub async fn offset(
    context: &CheckContext<'_>,
    prometheus: &Prometheus,
    names: &[&str],
    since: f64,
    now: f64,
) -> Result<f64> {
    let files = names.iter().filter_map(|name| context.offsets.get(*name).copied()).reduce(f64::max);
    let named = match files {
        Some(seconds) => seconds,
        None => prometheus.config().await.map_or(0.0, |text| global_offset(&text)),
    };
    let states = selector("ALERTS_FOR_STATE", [one_of("alertname", names)]);
    let window = ((now - since).max(0.0) * 1000.0).ceil().max(1000.0);
    let step = (window / MOST_INSTANTS).ceil().max(250.0);
    let apart = format!("max_over_time(max({states} - timestamp({states}))[{window}ms:{step}ms])");
    let written = match prometheus.query(&apart, Some(now)).await? {
        QueryResult::Vector(series) => series.first().map(|(_, value)| *value),
        QueryResult::Scalar(value) => Some(value),
    };
    // Its value is in whole seconds, rounded down.
    let written = written.filter(|value| value.is_finite()).map_or(0.0, |value| (value - 0.001).ceil());
    Ok(named.max(written).max(0.0))
}

/// `rule_query_offset` of a configuration, which Prometheus writes with its keys in columns.
fn global_offset(configuration: &str) -> f64 {
    let value = configuration.lines().find_map(|line| line.trim().strip_prefix("rule_query_offset:"));
    value.and_then(|value| seconds_of(value.trim())).unwrap_or(0.0)
}

/// Why no rule is meant: none has the name, or none of that name can carry the labels.
pub fn unknown_rule(rules: &[AlertingRule], of_name: &[&AlertingRule]) -> String {
    if !of_name.is_empty() {
        let named: Vec<String> = of_name.iter().map(|rule| display(rule)).collect();
        return format!("No rule of that name can carry these labels. Loaded: {}.", named.join(", "));
    }
    let mut names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => "Prometheus has no alerting rule at all.".into(),
        names => format!("Prometheus has no rule of that name. Loaded: {}.", names.join(", ")),
    }
}

/// Why an alert that was not seen to fire proves nothing.
async fn blind(
    prometheus: &Prometheus,
    expectation: &Expectation,
    evidence: &Evidence,
    siblings: &[Series],
    episode: &Episode,
    meant: &[&AlertingRule],
    now: f64,
) -> Result<Option<String>> {
    if episode.fired != Known::Not {
        return Ok(None);
    }
    if let Some(rule) = meant.iter().find(|rule| rule.health == "err") {
        return Ok(Some(format!("Its rule cannot be evaluated: {}.", rule.last_error)));
    }
    let (from, to) = (expectation.from, expectation.fires_by.min(now));
    let names: Vec<&str> = meant.iter().map(|rule| rule.name.as_str()).take(1).collect();
    let (alerts, up) = prometheus.alerts_and_up(&names, from, to).await?;
    let known =
        |series: &Series| evidence.alerts.iter().chain(siblings).any(|known| known.labels == series.labels);
    if !alerts.iter().all(known) {
        return Ok(Some("Prometheus gave two answers about ALERTS that contradict each other.".into()));
    }
    Ok(away::blind(&away::times(&up), from, to, evidence.interval).map(|gap| {
        format!("Prometheus saw nothing for {} of the time in which it had to fire.", duration(gap))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_for_all_rules_is_read_from_the_configuration() {
        assert_eq!(global_offset("global:\n  scrape_interval: 1s\n  rule_query_offset: 1m30s\n"), 90.0);
        assert_eq!(global_offset("global:\n  scrape_interval: 1s\n"), 0.0);
    }
}
