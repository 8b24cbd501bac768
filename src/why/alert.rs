//! Why an alert does not fire, or is not told: rule, evaluation, series, expression, `for`, Alertmanager, silences.

use super::Place;
use super::chain::Walk;
use super::exposition::{self, Exposed};
use super::look::{self, Reach, list, reach, reached};
use super::metric::of_parts;
use super::name::Name;
use crate::check::alert::{Fate, Watch, display_rule, fits, unknown_rule};
use crate::check::reconcile::display_labels;
use crate::check::{Subject, alert};
use crate::config::nearest;
use crate::error::{Error, Result};
use crate::figures::{ago, clock, duration};
use crate::observe::{
    AlertingRule, Alertmanager, Labels, Prometheus, QueryResult, RuleState, Selected, compared, matcher,
    selected, selector,
};

/// An evaluation may be late by so many seconds.
const LATE: f64 = 10.0;
/// How far back it is looked for when it fired last, in seconds.
const LOOK_BACK: f64 = 6.0 * 3600.0;

/// What is known of a rule.
pub struct RuleFacts {
    /// What was asked about.
    pub name: Name,
    /// All alerting rules that are loaded.
    pub rules: Vec<AlertingRule>,
    /// Whether it is a rule of the stack's own files.
    pub of_stack: bool,
    /// How many files of rules the configuration names; none where it is not told.
    pub files: Option<usize>,
    /// Selectors of its expression that give nothing now and that it needs.
    pub missing: Vec<Selected>,
    /// How many series its expression gives now.
    pub gives: Result<usize>,
    /// The left side of its comparison and its values now, and the rest of it.
    pub values: Option<(String, Vec<f64>, String)>,
    /// When it fired last.
    pub fired: Option<f64>,
    /// Prometheus' time.
    pub now: f64,
}

/// What is known of the way to Alertmanager.
pub struct SentFacts {
    /// What was asked about.
    pub name: Name,
    /// Whether Prometheus knows an Alertmanager.
    pub knows: Result<bool>,
    /// Prometheus' own page: its counters of alerts that it dropped, and of sends that failed.
    pub own: Result<Vec<Exposed>>,
    /// Whether Alertmanager answers.
    pub reach: Reach,
    /// What brings it back.
    pub mend: String,
    /// The alert's fates there.
    pub fates: Result<Vec<Fate>>,
    /// The labels with which it fires.
    pub fires: Vec<Labels>,
    /// For how long it has been firing.
    pub since: Option<f64>,
}

/// What fires, and what Alertmanager makes of it: for the links that follow.
pub struct Held {
    /// Alertmanager.
    pub alertmanager: Alertmanager,
    /// The alert's fates there.
    pub fates: Vec<Fate>,
    /// Prometheus' time.
    pub now: f64,
}

/// Walks from the rule to Alertmanager; what it holds, where the links are whole.
pub async fn walk(place: &Place<'_>, name: &str, walk: &mut Walk) -> Result<Option<Held>> {
    let name = Name::read(name)?;
    let Some(prometheus) = look::prometheus(place, walk).await? else { return Ok(None) };
    let rules = match prometheus.rules().await {
        Ok(rules) => rules,
        Err(error) => {
            walk.untold("the rule is loaded", &error);
            return Ok(None);
        }
    };
    let facts = of_rule(place, &prometheus, name.clone(), rules).await;
    let Some(rule) = judge_rule(&facts, walk) else { return Ok(None) };
    let firing: Vec<_> = rule.alerts.iter().filter(|alert| alert.state == RuleState::Firing).collect();
    let fires =
        firing.iter().map(|alert| alert.labels.clone()).filter(|labels| facts.name.fits(labels)).collect();
    let active = firing.iter().filter_map(|alert| alert.active_at).min();
    let since = active.map(|at| facts.now - at.as_millisecond() as f64 / 1000.0 - rule.duration);
    let client = match &place.lab.endpoints.alertmanager {
        Some(endpoint) => Some(Alertmanager::new(endpoint)?),
        None => None,
    };
    let sent = of_way(place, &prometheus, client.as_ref(), name, fires, since).await;
    judge_sent(&sent, walk);
    let (Some(alertmanager), Ok(fates), false) = (client, sent.fates, walk.is_over()) else {
        return Ok(None);
    };
    Ok(Some(Held { alertmanager, fates, now: facts.now }))
}

async fn of_rule(
    place: &Place<'_>,
    prometheus: &Prometheus,
    name: Name,
    rules: Vec<AlertingRule>,
) -> RuleFacts {
    let now = prometheus.time().await.unwrap_or_default();
    let of_stack = place.rules.contains(&name.name);
    let config = look::config(prometheus).await.ok();
    let mut facts = RuleFacts {
        of_stack,
        files: config.map(|config| list(&config, "rule_files").count()),
        missing: Vec::new(),
        gives: Ok(0),
        values: None,
        fired: None,
        now,
        rules,
        name,
    };
    let Some(rule) = meant(&facts) else { return facts };
    let query = rule.query.clone();
    let count = |result: QueryResult| match result {
        QueryResult::Vector(series) => series.len(),
        QueryResult::Scalar(_) => 1,
    };
    facts.gives = prometheus.query(&query, None).await.map(count);
    if let Ok(0) = facts.gives {
        for part in selected(&query).into_iter().filter(|part| part.needed) {
            if matches!(prometheus.query(&part.selector, None).await.map(count), Ok(0)) {
                facts.missing.push(part);
            }
        }
        if let Some((left, rest)) = compared(&query)
            && let Ok(result) = prometheus.query(&left, None).await
        {
            let values = match result {
                QueryResult::Vector(series) => series.into_iter().map(|(_, value)| value).collect(),
                QueryResult::Scalar(value) => vec![value],
            };
            facts.values = Some((left, values, rest));
        }
        facts.fired = last_fired(prometheus, &facts.name.name, now).await;
    }
    facts
}

async fn last_fired(prometheus: &Prometheus, name: &str, now: f64) -> Option<f64> {
    let firing = [matcher("alertname", "=", name), matcher("alertstate", "=", "firing")];
    let series = prometheus.samples(&selector("ALERTS", firing), now - LOOK_BACK, now).await.ok()?;
    series.iter().filter_map(|series| Some(series.samples.last()?.time)).reduce(f64::max)
}

/// The rule that is meant: of several of its name the one that is furthest.
fn meant(facts: &RuleFacts) -> Option<&AlertingRule> {
    let labels = facts.name.labels();
    let of_name = facts.rules.iter().filter(|rule| rule.name == facts.name.name && fits(rule, &labels));
    of_name.max_by_key(|rule| match rule.state {
        RuleState::Firing => 3,
        RuleState::Pending => 2,
        RuleState::Inactive => 1,
        RuleState::Unknown => 0,
    })
}

/// The links from the rule to its firing; the rule, where it fires. Pure.
pub fn judge_rule<'a>(facts: &'a RuleFacts, walk: &mut Walk) -> Option<&'a AlertingRule> {
    const LOADED: &str = "the rule is loaded";
    const EVALUATED: &str = "the rule is evaluated";
    const FIRES: &str = "the alert fires";
    let of_name: Vec<&AlertingRule> =
        facts.rules.iter().filter(|rule| rule.name == facts.name.name).collect();
    let Some(rule) = meant(facts) else {
        walk.broken(LOADED, unknown_rule(&facts.rules, &of_name), not_loaded(facts));
        return None;
    };
    let others =
        if of_name.len() > 1 { format!(", one of {} of its name", of_name.len()) } else { String::new() };
    let file =
        rule.file.file_name().map(|file| format!(" of {}", file.to_string_lossy())).unwrap_or_default();
    walk.ok(LOADED, format!("{}: group {}{file}{others}", display_rule(rule), rule.group));
    let age = facts.now - rule.evaluated();
    if rule.health == "err" {
        walk.broken(
            EVALUATED,
            format!("Its expression cannot be evaluated: {}", rule.last_error),
            "Mend its expression in the rule file, and have Prometheus read it again.",
        );
    } else if rule.health == "unknown" || rule.last_evaluation.as_second() <= 0 {
        walk.broken(
            EVALUATED,
            "It was not evaluated yet.",
            format!("Wait: it is evaluated every {}.", duration(rule.interval)),
        );
    } else if age > 3.0 * rule.interval + rule.group_took + LATE {
        walk.broken(
            EVALUATED,
            format!(
                "It was evaluated last {}, though it is due every {}.",
                ago(age),
                duration(rule.interval)
            ),
            "Does its group take longer than its interval, or does Prometheus get too little processor time?",
        );
    } else {
        walk.ok(EVALUATED, format!("{}, every {}", ago(age), duration(rule.interval)));
    }
    match rule.state {
        RuleState::Firing => {}
        RuleState::Pending => pending(facts, rule, walk),
        RuleState::Inactive | RuleState::Unknown => inactive(facts, rule, walk),
    }
    if walk.is_over() {
        return None;
    }
    let firing = rule.alerts.iter().filter(|alert| alert.state == RuleState::Firing);
    let fitting = firing.clone().filter(|alert| facts.name.fits(&alert.labels)).count();
    match (rule.state, fitting) {
        (RuleState::Firing, 0) => {
            let first =
                firing.map(|alert| display_labels(&alert.labels, &["alertname"])).next().unwrap_or_default();
            walk.broken(
                FIRES,
                format!("It fires, but for none with these labels: {first}"),
                "Ask for it with the labels that it has.",
            );
        }
        (RuleState::Firing, count) => walk.ok(FIRES, format!("{count} firing")),
        // Between two looks its expression began to give something.
        _ if matches!(facts.gives, Ok(1..)) => {
            walk.broken(
                FIRES,
                "Its expression gives something, and it was not evaluated since.",
                "Ask again.",
            );
        }
        _ => {}
    }
    (rule.state == RuleState::Firing && !walk.is_over()).then_some(rule)
}

fn not_loaded(facts: &RuleFacts) -> String {
    if facts.of_stack {
        return "The stack's files have it: have Prometheus read them (`sre up`; on the target external, name them in `rule_files` and reload).".into();
    }
    match (facts.files, nearest(&facts.name.name, facts.rules.iter().map(|rule| rule.name.as_str()))) {
        (_, Some(near)) => format!("Did you mean `{near}`?"),
        (Some(0), None) => "Its configuration names no rule files: `rule_files`.".into(),
        _ => "Is its file among `rule_files` (on a cluster: does `ruleSelector` select its PrometheusRule), and was Prometheus told to read it again?".into(),
    }
}

fn inactive(facts: &RuleFacts, rule: &AlertingRule, walk: &mut Walk) {
    const SERIES: &str = "its series are there";
    const HOLDS: &str = "its expression holds now";
    if let Some(missing) = facts.missing.first() {
        return walk.broken(
            SERIES,
            format!("{} gives nothing: the expression can't hold, whatever happens.", missing.selector),
            format!("`{}` names the broken link.", Subject::Metric(missing.selector.clone()).command()),
        );
    }
    match &facts.gives {
        Err(error) => walk.untold(HOLDS, error),
        Ok(0) => {
            walk.ok(SERIES, "");
            let fired = facts.fired.map(|at| format!(" It fired last at {}.", clock(at))).unwrap_or_default();
            let (found, hint) = match &facts.values {
                Some((left, values, rest)) => match values.as_slice() {
                    [] => (format!("{left} gives nothing now."), of_parts(left)),
                    values => {
                        let near = if rest.starts_with(['<']) { f64::min } else { f64::max };
                        let value = values.iter().copied().filter(|v| !v.is_nan()).reduce(near);
                        let value = value.map_or("not a number".into(), |value| format!("{value}"));
                        (format!("{left} is {value}, and the alert wants {rest}."), "Nothing is wrong with the rule: what it is about does not happen now.".into())
                    }
                },
                None => (format!("{} gives nothing now.", rule.query), "Nothing is wrong with the rule, or its parts don't match each other: ask Prometheus the parts.".into()),
            };
            walk.broken(HOLDS, format!("{found}{fired}"), hint);
        }
        Ok(count) => {
            walk.ok(HOLDS, format!("{count} series"));
        }
    }
}

fn pending(facts: &RuleFacts, rule: &AlertingRule, walk: &mut Walk) {
    const HELD: &str = "its expression holds for long enough";
    let since = rule.alerts.iter().filter_map(|alert| alert.active_at).min();
    let since = since.map(|at| facts.now - at.as_millisecond() as f64 / 1000.0);
    let (held, left) = match since {
        Some(held) => {
            (format!("for {} of {}", duration(held.max(0.0)), duration(rule.duration)), rule.duration - held)
        }
        None => (format!("not yet for {}", duration(rule.duration)), rule.duration),
    };
    walk.broken(
        HELD,
        format!("It is pending {held} (`for` of the rule)."),
        format!(
            "Wait {} more, and for one evaluation (every {}); each that gives nothing begins it anew.",
            duration(left.max(0.0)),
            duration(rule.interval)
        ),
    );
}

async fn of_way(
    place: &Place<'_>,
    prometheus: &Prometheus,
    client: Option<&Alertmanager>,
    name: Name,
    fires: Vec<Labels>,
    since: Option<f64>,
) -> SentFacts {
    let reach = match client {
        None => look::without(place, "alertmanager"),
        Some(client) => reach(client.version().await, client.answers()).await,
    };
    let fates = match client {
        Some(client) => Watch::over(client.clone(), vec![name.name.as_str()]).look(&[]).await,
        None => Err(Error::no_data("this lab names no Alertmanager")),
    };
    SentFacts {
        knows: prometheus.has_alertmanager().await,
        own: prometheus.own_page().await.map(|page| exposition::read(&page)),
        reach,
        mend: look::mend(place, "alertmanager"),
        fates,
        fires,
        since,
        name,
    }
}

/// The links between the rule that fires and what Alertmanager makes of it. Pure.
pub fn judge_sent(facts: &SentFacts, walk: &mut Walk) {
    const KNOWS: &str = "Prometheus knows an Alertmanager";
    const HAS: &str = "Alertmanager has the alert";
    const TELLS: &str = "it is not silenced, inhibited or muted";
    match &facts.knows {
        Ok(true) => walk.ok(KNOWS, ""),
        Ok(false) => walk.broken(
            KNOWS,
            "It sends alerts to nobody.",
            "Name it in its configuration: `alerting: {alertmanagers: […]}`; is its discovery empty?",
        ),
        Err(error) => walk.untold(KNOWS, error),
    }
    if walk.is_over() || !reached(walk, "Alertmanager answers", &facts.reach, &facts.mend) {
        return;
    }
    let fates = match &facts.fates {
        Ok(fates) => fates,
        Err(error) => return walk.untold(HAS, error),
    };
    let of_name: Vec<&Fate> = fates.iter().filter(|fate| facts.name.fits(&fate.labels)).collect();
    let as_fired = |fate: &&&Fate| {
        facts.fires.iter().any(|fires| fires.iter().all(|(name, value)| fate.labels.get(name) == Some(value)))
    };
    let held = of_name.iter().find(as_fired).or(of_name.first());
    let Some(held) = held else {
        return walk.broken(HAS, not_held(facts), sends(facts));
    };
    let relabelled = of_name.iter().find(as_fired).is_none();
    walk.ok(
        HAS,
        if relabelled {
            format!("as {}: its labels are changed on the way", display_labels(&held.labels, &[]))
        } else {
            String::new()
        },
    );
    match held.reasons.first() {
        None => walk.ok(TELLS, ""),
        Some(reason) => walk.broken(TELLS, reason.in_words(), what_mends(reason)),
    }
}

fn what_mends(reason: &alert::Reason) -> &'static str {
    match reason {
        alert::Reason::Silenced { .. } => {
            "Wait for its end, or expire the silence: its page of silences, or `amtool silence expire`."
        }
        alert::Reason::Inhibited { .. } => {
            "It is told again once the other alert is over; or change `inhibit_rules`."
        }
        alert::Reason::Muted { .. } => {
            "It is told once that time is over; or change the route's `mute_time_intervals`."
        }
    }
}

fn not_held(facts: &SentFacts) -> String {
    let sum = |metric: &str| {
        facts.own.as_ref().ok().and_then(|page| exposition::sum(page, metric, None)).unwrap_or(0.0)
    };
    let (failed, dropped) =
        (sum("prometheus_notifications_errors_total"), sum("prometheus_notifications_dropped_total"));
    let counted = match failed + dropped {
        0.0 => String::new(),
        _ => format!(" Since its start Prometheus failed to send {failed} alerts, and dropped {dropped}."),
    };
    format!("Alertmanager does not have it.{counted}")
}

fn sends(facts: &SentFacts) -> String {
    match facts.since {
        Some(since) if since < 2.0 * LATE => "It fires since just now: ask again.".into(),
        _ => "Does Prometheus send to this Alertmanager (`/api/v1/alertmanagers`), and do `alert_relabel_configs` drop it? \
              One that was restarted has it after a minute at the latest."
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::alert::Reason;
    use crate::why::chain::State;

    fn rules(state: &str, health: &str) -> Vec<AlertingRule> {
        let rule = json!({
            "name": "Down", "query": "sum(up) < 1", "duration": 60.0, "labels": {"severity": "page"}, "state": state, "health": health,
            "lastError": "boom", "lastEvaluation": "1970-01-01T00:16:39Z",
            "alerts": [{"labels": {"alertname": "Down", "severity": "page", "instance": "a"}, "state": state, "activeAt": "1970-01-01T00:16:30Z"}],
        });
        let mut rule: AlertingRule = serde_json::from_value(rule).expect("a rule");
        rule.interval = 5.0;
        vec![rule]
    }

    fn facts(name: &str, state: &str, health: &str) -> RuleFacts {
        RuleFacts {
            name: Name::read(name).expect("a name"),
            rules: rules(state, health),
            of_stack: false,
            files: Some(1),
            missing: Vec::new(),
            gives: Ok(0),
            values: Some(("sum(up)".into(), vec![3.0], "< 1".into())),
            fired: None,
            now: 1000.0,
        }
    }

    fn last(walk: Walk) -> (String, State, String) {
        let link = walk.chain("", "").links.pop().expect("a link");
        (link.link, link.state, format!("{} {}", link.found, link.hint.unwrap_or_default()))
    }

    fn judged(facts: &RuleFacts) -> (String, State, String) {
        let mut walk = Walk::default();
        judge_rule(facts, &mut walk);
        last(walk)
    }

    #[test]
    fn the_first_broken_link_of_an_alert_is_named() {
        for (facts, link, state, told) in [
            (facts("Dwon", "firing", "ok"), "the rule is loaded", State::Broken, "Did you mean `Down`?"),
            (
                facts("Down{severity=\"ticket\"}", "firing", "ok"),
                "the rule is loaded",
                State::Broken,
                "can carry these labels",
            ),
            (
                RuleFacts { of_stack: true, rules: Vec::new(), ..facts("Down", "firing", "ok") },
                "the rule is loaded",
                State::Broken,
                "The stack's files have it",
            ),
            (
                RuleFacts { files: Some(0), rules: Vec::new(), ..facts("Down", "firing", "ok") },
                "the rule is loaded",
                State::Broken,
                "names no rule files",
            ),
            (facts("Down", "inactive", "err"), "the rule is evaluated", State::Broken, "boom"),
            (facts("Down", "inactive", "unknown"), "the rule is evaluated", State::Broken, "every 5.0 s"),
            (
                RuleFacts { now: 1100.0, ..facts("Down", "firing", "ok") },
                "the rule is evaluated",
                State::Broken,
                "evaluated last",
            ),
            (
                RuleFacts { missing: selected("up"), ..facts("Down", "inactive", "ok") },
                "its series are there",
                State::Broken,
                "sre why metric up",
            ),
            (
                facts("Down", "inactive", "ok"),
                "its expression holds now",
                State::Broken,
                "sum(up) is 3, and the alert wants < 1.",
            ),
            (
                RuleFacts { fired: Some(900.0), ..facts("Down", "inactive", "ok") },
                "its expression holds now",
                State::Broken,
                "It fired last at 00:15:00",
            ),
            (
                RuleFacts { gives: Err(Error::no_data("x")), ..facts("Down", "inactive", "ok") },
                "its expression holds now",
                State::Unknown,
                "x",
            ),
            (
                RuleFacts { gives: Ok(1), ..facts("Down", "inactive", "ok") },
                "the alert fires",
                State::Broken,
                "not evaluated since",
            ),
            (
                facts("Down", "pending", "ok"),
                "its expression holds for long enough",
                State::Broken,
                "pending for 10.0 s of 60.0 s",
            ),
            (
                facts("Down{instance=\"b\"}", "firing", "ok"),
                "the alert fires",
                State::Broken,
                "instance=\"a\"",
            ),
            (facts("Down{instance=\"a\"}", "firing", "ok"), "the alert fires", State::Ok, "1 firing"),
        ] {
            let (at, is, text) = judged(&facts);
            assert_eq!((at.as_str(), is), (link, state), "{text}");
            assert!(text.contains(told), "{text}");
        }
    }

    fn sent() -> SentFacts {
        let labels: Labels = [("alertname", "Down"), ("severity", "page")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        SentFacts {
            name: Name::read("Down").expect("a name"),
            knows: Ok(true),
            own: Ok(exposition::read("prometheus_notifications_errors_total{alertmanager=\"x\"} 4\n")),
            reach: Reach::Answers("0.31.1".into()),
            mend: "sre up".into(),
            fates: Ok(vec![Fate {
                labels: labels.clone(),
                starts_at: 990.0,
                receivers: vec!["sre".into()],
                reasons: Vec::new(),
                earlier_silence: None,
            }]),
            fires: vec![labels],
            since: Some(100.0),
        }
    }

    #[test]
    fn the_way_to_alertmanager_is_told_link_by_link() {
        let reasoned = |reason: Reason| {
            let mut facts = sent();
            facts.fates.as_mut().expect("fates")[0].reasons = vec![reason];
            facts
        };
        let away = || Reach::Away(Error::no_data("nobody answers"));
        for (facts, link, state, told) in [
            (sent(), "it is not silenced, inhibited or muted", State::Ok, ""),
            (
                SentFacts { knows: Ok(false), ..sent() },
                "Prometheus knows an Alertmanager",
                State::Broken,
                "`alerting",
            ),
            (SentFacts { reach: away(), ..sent() }, "Alertmanager answers", State::Broken, "sre up"),
            (
                SentFacts { reach: Reach::Nowhere, ..sent() },
                "Alertmanager answers",
                State::Unknown,
                "names none",
            ),
            (
                SentFacts { fates: Ok(Vec::new()), ..sent() },
                "Alertmanager has the alert",
                State::Broken,
                "failed to send 4 alerts",
            ),
            (
                SentFacts { fates: Ok(Vec::new()), since: Some(1.0), ..sent() },
                "Alertmanager has the alert",
                State::Broken,
                "ask again",
            ),
            (
                reasoned(Reason::Silenced { by: "ann".into() }),
                "it is not silenced, inhibited or muted",
                State::Broken,
                "ann",
            ),
            (
                reasoned(Reason::Muted { by: "nights".into() }),
                "it is not silenced, inhibited or muted",
                State::Broken,
                "mute_time_intervals",
            ),
        ] {
            let mut walk = Walk::default();
            judge_sent(&facts, &mut walk);
            let (at, is, text) = last(walk);
            assert_eq!((at.as_str(), is), (link, state), "{text}");
            assert!(text.contains(told), "{text}");
        }
    }
}
