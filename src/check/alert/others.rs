//! No other alert of the stack's rules fired.

use super::away;
use crate::check::context::CheckContext;
use crate::check::reconcile::display_labels;
use crate::check::{Group, Kind, Outcome, Table, Verdict};
use crate::error::Result;
use crate::figures::duration;
use crate::observe::{AlertingRule, Prometheus, QueryResult, RuleState};

/// Alerts of these rules that fire now: before a load, each of them is a reason not to start.
///
/// # Errors
/// No data (exit 3) where Prometheus does not answer.
pub async fn already_firing(prometheus: &Prometheus, rules: &[String]) -> Result<Vec<String>> {
    let QueryResult::Vector(alerts) = prometheus.query("ALERTS{alertstate=\"firing\"}", None).await? else {
        return Ok(Vec::new());
    };
    // A Prometheus that was killed gives its last samples for minutes; its rules know what fires now.
    let loaded = prometheus.rules().await?;
    let fires = |name: &String| {
        rules.contains(name)
            && loaded.iter().any(|rule| rule.name == *name && rule.state == RuleState::Firing)
    };
    let of_rules = alerts.into_iter().filter_map(|(labels, _)| {
        let name = labels.get("alertname").filter(|name| fires(name))?;
        Some(format!("{name}{}", display_labels(&labels, &["__name__", "alertname", "alertstate"])))
    });
    Ok(of_rules.collect())
}

/// No alert of the stack's rules fired since the load began, besides those that may.
///
/// # Errors
/// Interrupted (130, 143). Whatever Prometheus cannot tell is a verdict, not an error.
pub async fn no_others(context: &CheckContext<'_>, except: &[String]) -> Result<Outcome> {
    let name = if except.is_empty() { "no alert fired" } else { "no other alert fired" };
    let mut outcome = Outcome::no_data(Kind::Alert, Group::Alerts, name)
        .hinted("Prometheus' page of alerts shows the rules and their values.");
    match look(context, except).await {
        Err(error) => outcome.notes.push(error.to_string()),
        Ok(Fired::Unloaded(rules)) => {
            outcome.notes.push(format!("Prometheus has not loaded: {}.", rules.join(", ")));
        }
        Ok(Fired::Hidden(notes)) => outcome.notes.extend(notes),
        Ok(Fired::NoRules) => outcome.notes.push("The stack has no alert rules.".into()),
        Ok(Fired::Others(rows)) if rows.is_empty() => {
            outcome.verdict = Verdict::Pass;
            outcome.message = String::new();
            outcome.hint = None;
        }
        Ok(Fired::Others(rows)) => {
            outcome.verdict = Verdict::Fail;
            outcome.message = format!("{} fired", rows.len());
            let columns = ["alert", "labels"].map(String::from).to_vec();
            outcome.table = Some(Table { columns, rows });
        }
    }
    Ok(outcome)
}

enum Fired {
    NoRules,
    Unloaded(Vec<String>),
    /// None was seen, but they could not all have been.
    Hidden(Vec<String>),
    Others(Vec<Vec<String>>),
}

async fn look(context: &CheckContext<'_>, except: &[String]) -> Result<Fired> {
    let prometheus = context.prometheus()?;
    if context.rules.is_empty() {
        return Ok(Fired::NoRules);
    }
    let loaded = prometheus.rules().await?;
    let unloaded: Vec<String> =
        context.rules.iter().filter(|rule| !loaded.iter().any(|l| l.name == **rule)).cloned().collect();
    if !unloaded.is_empty() {
        return Ok(Fired::Unloaded(unloaded));
    }
    let now = prometheus.time().await?.min(context.horizon.unwrap_or(f64::MAX));
    let since = context.load.prometheus_started.or(context.baseline.map(|b| b.at)).unwrap_or(now);
    let firing = prometheus.samples("ALERTS{alertstate=\"firing\"}", since, now).await?;
    let others = firing.iter().filter_map(|series| {
        let name = series.labels.get("alertname")?;
        (context.rules.contains(name) && !except.contains(name)).then(|| {
            vec![name.clone(), display_labels(&series.labels, &["__name__", "alertname", "alertstate"])]
        })
    });
    let others: Vec<Vec<String>> = others.collect();
    if !others.is_empty() {
        return Ok(Fired::Others(others));
    }
    let meant: Vec<&AlertingRule> = loaded
        .iter()
        .filter(|rule| context.rules.contains(&rule.name) && !except.contains(&rule.name))
        .collect();
    let mut hidden = unevaluated(&meant, now);
    let interval = meant.iter().map(|rule| rule.interval).fold(0.0, f64::max);
    let until = context.load.prometheus_ended.unwrap_or(now).min(now);
    hidden.extend(away_during(prometheus, since, until, interval).await?);
    Ok(if hidden.is_empty() { Fired::Others(others) } else { Fired::Hidden(hidden) })
}

/// An evaluation may come so many seconds late without telling anything.
const LATE: f64 = 3.0;

/// Rules that could not have fired: a sentence each.
fn unevaluated(rules: &[&AlertingRule], now: f64) -> Vec<String> {
    let why = |rule: &&AlertingRule| match rule {
        rule if rule.health == "err" => {
            Some(format!("{} cannot be evaluated: {}.", rule.name, rule.last_error))
        }
        rule if rule.is_stale(now, LATE) => Some(format!("{} is not evaluated any more.", rule.name)),
        _ => None,
    };
    rules.iter().filter_map(why).collect()
}

/// Whether Prometheus was away for much of the load: then nobody knows what would have fired.
async fn away_during(
    prometheus: &Prometheus,
    since: f64,
    until: f64,
    interval: f64,
) -> Result<Option<String>> {
    let gap = away::longest(&away::scrapes(prometheus, since, until).await?, since, until);
    Ok((gap > away::allowed(until - since, interval))
        .then(|| format!("Prometheus saw nothing for {} of the load.", duration(gap))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_is_not_evaluated_hides_what_would_fire() {
        let rule = |health: &str, evaluated: i64| AlertingRule {
            name: "A".into(),
            state: RuleState::Inactive,
            health: health.into(),
            last_error: "many-to-many".into(),
            last_evaluation: jiff::Timestamp::from_second(evaluated).expect("a time"),
            interval: 5.0,
        };
        let told = |rule: AlertingRule| unevaluated(&[&rule], 1000.0).join(" ");
        assert_eq!(told(rule("ok", 994)), "");
        // One that is a little late still comes.
        assert_eq!(told(rule("ok", 988)), "");
        assert_eq!(told(rule("ok", 980)), "A is not evaluated any more.");
        assert_eq!(told(rule("err", 999)), "A cannot be evaluated: many-to-many.");
        // Loaded, and never evaluated.
        assert_eq!(told(rule("unknown", -62_135_596_800)), "A is not evaluated any more.");
    }
}
