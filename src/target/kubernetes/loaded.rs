//! Whether the configurations that Prometheus and Alertmanager have loaded are those that were asked for. Pure.
//!
//! Both tell their configuration as they would write it: defaults are filled in or left out, durations, expressions and
//! matchers are in their own spelling, secrets are hidden. What differs in spelling only is the same.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::observe::RuleGroup;
use crate::scenario::{Duration, parse_promql};

/// What of an object of the Prometheus operator is not loaded as it stands; `None` if all is, or nothing of its
/// kind is loaded by Prometheus. `config` is the configuration that is loaded.
pub fn lacking(object: &DynamicObject, config: &Value, groups: &[RuleGroup]) -> Option<String> {
    let kind = object.types.as_ref().map_or("", |types| &types.kind);
    let (namespace, name) = (object.metadata.namespace.as_deref(), object.metadata.name.as_deref());
    let named = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
    let spec = &object.data["spec"];
    match kind {
        "PrometheusRule" => items(&spec["groups"]).find_map(|wanted| {
            let name = text(&wanted["name"]);
            let same = groups.iter().any(|group| group.name == name && is_group(wanted, group));
            (!same).then(|| format!("group {name} of PrometheusRule {named}"))
        }),
        "ServiceMonitor" | "PodMonitor" => {
            let (prefix, endpoints) = match kind {
                "ServiceMonitor" => ("serviceMonitor", &spec["endpoints"]),
                _ => ("podMonitor", &spec["podMetricsEndpoints"]),
            };
            items(endpoints).enumerate().find_map(|(i, endpoint)| {
                let job = job(config, &format!("{prefix}/{named}/{i}"));
                let same = job.is_some_and(|job| is_scraped_so(endpoint, "interval", "path", job));
                (!same).then(|| format!("endpoint {i} of {kind} {named}"))
            })
        }
        "ScrapeConfig" => {
            let job = job(config, &format!("scrapeConfig/{named}"));
            let same = job.is_some_and(|job| {
                let wanted: Vec<&Value> = targets(&spec["staticConfigs"]);
                is_scraped_so(spec, "scrapeInterval", "metricsPath", job)
                    && wanted == targets(&job["static_configs"])
            });
            (!same).then(|| format!("ScrapeConfig {named}"))
        }
        _ => None,
    }
}

/// The first place where the configuration that is loaded is not the one that was generated; `None` where there
/// is none. Looked at is what is scraped, and how.
pub fn difference(generated: &Value, loaded: &Value) -> Option<String> {
    let (wanted, known) = (items(&generated["scrape_configs"]), items(&loaded["scrape_configs"]));
    if let Some(old) = known.clone().find(|known| job(generated, text(&known["job_name"])).is_none()) {
        return Some(format!("job {} is not wanted any more", text(&old["job_name"])));
    }
    for wanted in wanted {
        let name = text(&wanted["job_name"]);
        let Some(known) = job(loaded, name) else { return Some(format!("job {name} is missing")) };
        if let Some(place) = unlike(wanted, known, "") {
            return Some(format!("job {name}: {place}"));
        }
    }
    None
}

/// The first place where what Alertmanager has loaded is not what was generated; `None` where there is none. Looked at is
/// whom it tells of what, and how long it waits. What it hides as a secret cannot be compared.
pub fn misrouted(generated: &Value, loaded: &Value) -> Option<String> {
    let (wanted, known) = (respelled(generated, ""), respelled(loaded, ""));
    ["route", "inhibit_rules", "receivers"].into_iter().find_map(|part| {
        let (wanted, known) = (&wanted[part], &known[part]);
        if is_nothing(wanted) && is_nothing(known) {
            return None;
        }
        // To a receiver it adds defaults; what more there is elsewhere is old.
        let old = || if part == "receivers" { None } else { unlike(known, wanted, part) };
        unlike(wanted, known, part).or_else(old)
    })
}

/// A part of Alertmanager's configuration without what it spells in a way of its own: the order and the quotes of
/// matchers, the ends of URLs, the letters of headers.
fn respelled(value: &Value, key: &str) -> Value {
    match value {
        Value::Array(lines) if key.ends_with("matchers") => {
            let lines: Vec<&str> = lines.iter().map(text).collect();
            let bare: String = bare(&lines.join(",")).chars().filter(|c| !"\"'\\{}".contains(*c)).collect();
            let mut matchers: Vec<&str> = bare.split(',').filter(|part| !part.is_empty()).collect();
            matchers.sort_unstable();
            matchers.join(",").into()
        }
        Value::Array(items) => items.iter().map(|item| respelled(item, key)).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| *key != "headers")
            .map(|(key, value)| (key.clone(), respelled(value, key)))
            .collect(),
        Value::String(text) => text.trim_end_matches('/').into(),
        other => other.clone(),
    }
}

/// Where a value that was generated is not what is loaded.
fn unlike(wanted: &Value, known: &Value, place: &str) -> Option<String> {
    match (wanted, known) {
        (Value::Object(wanted), Value::Object(known)) => wanted.iter().find_map(|(key, wanted)| {
            let place = format!("{place}.{key}");
            match known.get(key) {
                Some(known) => unlike(wanted, known, &place),
                // Older ways to name credentials are loaded under their newer names.
                None if is_nothing(wanted) || key.starts_with("bearer_token") => None,
                None => Some(place),
            }
        }),
        (Value::Array(wanted), Value::Array(known)) if wanted.len() == known.len() => {
            let mut pairs = wanted.iter().zip(known).enumerate();
            pairs.find_map(|(i, (wanted, known))| unlike(wanted, known, &format!("{place}[{i}]")))
        }
        (wanted, known) if is_same(wanted, known) => None,
        _ => Some(place.to_owned()),
    }
}

/// What is left out where it is written anew.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Bool(true) => false,
    }
}

fn is_same(wanted: &Value, known: &Value) -> bool {
    if wanted == known || known == "<secret>" {
        return true;
    }
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    let (Some(wanted), Some(known)) = (plain(wanted), plain(known)) else { return false };
    // `$(POD_NAME)` is filled in by the reloader.
    wanted == known || wanted.contains("$(") || seconds(&wanted).is_some_and(|s| Some(s) == seconds(&known))
}

fn seconds(text: &str) -> Option<f64> {
    text.parse::<Duration>().ok().map(Duration::as_secs_f64)
}

/// Whether a job has the interval, the time-out and the path that were asked for, where they were.
fn is_scraped_so(wanted: &Value, interval: &str, path: &str, job: &Value) -> bool {
    [(interval, "scrape_interval"), ("scrapeTimeout", "scrape_timeout"), (path, "metrics_path")]
        .into_iter()
        .all(|(wanted_key, key)| wanted[wanted_key].is_null() || is_same(&wanted[wanted_key], &job[key]))
}

fn is_group(wanted: &Value, group: &RuleGroup) -> bool {
    let rules: Vec<&Value> = items(&wanted["rules"]).collect();
    let interval = seconds(text(&wanted["interval"]));
    interval.is_none_or(|interval| (interval - group.interval).abs() < 1e-3)
        && rules.len() == group.rules.len()
        && rules.into_iter().zip(&group.rules).all(|(wanted, rule)| {
            let name = if wanted["alert"].is_null() { &wanted["record"] } else { &wanted["alert"] };
            let all = |key: &str, known: &Value| unlike(&wanted[key], known, "").is_none();
            text(name) == rule.name
                && is_same_expression(&wanted["expr"], &rule.query)
                && seconds(text(&wanted["for"])).unwrap_or_default() == rule.duration
                && (wanted["labels"].is_null() || all("labels", &rule.labels))
                && (wanted["annotations"].is_null() || all("annotations", &rule.annotations))
        })
}

/// Prometheus writes expressions in its own layout.
fn is_same_expression(wanted: &Value, known: &str) -> bool {
    let wanted = match wanted {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match (parse_promql(&wanted), parse_promql(known)) {
        (Ok(wanted), Ok(known)) => wanted == known || wanted.to_string() == known.to_string(),
        // What this parser does not know is compared without its layout.
        _ => bare(&wanted) == bare(known),
    }
}

fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn job<'a>(config: &'a Value, name: &str) -> Option<&'a Value> {
    items(&config["scrape_configs"]).find(|job| text(&job["job_name"]) == name)
}

fn targets(static_configs: &Value) -> Vec<&Value> {
    items(static_configs).flat_map(|config| items(&config["targets"])).collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> + Clone {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::observe::LoadedRule;
    use crate::target::kubernetes::object::read_objects;

    fn yaml(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    fn object(text: &str) -> DynamicObject {
        read_objects("x.yaml", text).unwrap().remove(0)
    }

    #[test]
    fn what_differs_in_spelling_only_is_the_same() {
        let generated = yaml(
            "scrape_configs:\n- job_name: a\n  honor_labels: false\n  scrape_interval: 60s\n  bearer_token_file: /t\n  \
             relabel_configs:\n  - {source_labels: [x], action: keep, regex: \"true\"}\n  \
             basic_auth: {password: p}\n",
        );
        let loaded = yaml(
            "scrape_configs:\n- job_name: a\n  scrape_interval: 1m\n  metrics_path: /metrics\n  \
             relabel_configs:\n  - {source_labels: [x], separator: ;, action: keep, regex: \"true\"}\n  \
             basic_auth: {password: <secret>}\n",
        );
        assert_eq!(difference(&generated, &loaded), None);
        let slower = yaml("scrape_configs: [{job_name: a, scrape_interval: 30s}]");
        assert_eq!(difference(&slower, &loaded).as_deref(), Some("job a: .scrape_interval"));
        assert_eq!(difference(&json!({}), &loaded).as_deref(), Some("job a is not wanted any more"));
        assert_eq!(difference(&loaded, &json!({})).as_deref(), Some("job a is missing"));
    }

    /// As an operator writes it, and as Alertmanager 0.31 tells it.
    const ROUTED: [&str; 2] = [
        "
route:
  receiver: sre
  group_by: ['...']
  group_interval: 60s
  routes:
  - {receiver: pager, matchers: ['severity = critical', 'a=~\"x|y{2}\"'], repeat_interval: 90m}
receivers:
- name: sre
  webhook_configs: [{url: 'http://receiver.lab.svc:8080/alerts', send_resolved: true}]
- name: pager
  email_configs: [{to: x@y, headers: {subject: hi}}]
  opsgenie_configs: [{api_key: k, api_url: 'https://opsgenie.lab'}]
inhibit_rules: []
",
        "
global: {resolve_timeout: 5m}
route:
  receiver: sre
  group_by: ['...']
  continue: false
  routes:
  - receiver: pager
    matchers: ['a=~\"x|y{2}\"', 'severity=\"critical\"']
    continue: false
    repeat_interval: 1h30m
  group_interval: 1m
receivers:
- name: sre
  webhook_configs: [{send_resolved: true, url: <secret>, url_file: '', max_alerts: 0, timeout: 0s}]
- name: pager
  email_configs: [{send_resolved: false, to: x@y, hello: localhost, headers: {Subject: hi, To: x@y}}]
  opsgenie_configs: [{api_key: <secret>, api_url: 'https://opsgenie.lab/', message: m}]
",
    ];

    #[test]
    fn alertmanager_has_read_who_is_told_of_what_and_when() {
        let loaded = yaml(ROUTED[1]);
        let difference = |from: &str, to: &str| {
            assert!(ROUTED[0].contains(from), "{from}");
            misrouted(&yaml(&ROUTED[0].replace(from, to)), &loaded)
        };
        assert_eq!(difference("", ""), None);
        assert_eq!(difference("60s", "5s").as_deref(), Some("route.group_interval"));
        assert_eq!(difference("critical", "warning").as_deref(), Some("route.routes[0].matchers"));
        assert_eq!(
            difference(", repeat_interval: 90m", "").as_deref(),
            Some("route.routes[0].repeat_interval")
        );
        assert_eq!(difference("x@y", "z@y").as_deref(), Some("receivers[1].email_configs[0].to"));
        let rule = "inhibit_rules: [{equal: [job]}]";
        assert_eq!(difference("inhibit_rules: []", rule).as_deref(), Some("inhibit_rules"));
        assert_eq!(misrouted(&loaded, &json!({})).as_deref(), Some("route"));
    }

    #[test]
    fn a_monitor_is_loaded_with_its_interval() {
        let monitor = |interval: &str| {
            object(&format!(
                "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {{name: m, namespace: lab}}\n\
                 spec: {{endpoints: [{{port: http, interval: {interval}}}]}}\n"
            ))
        };
        let loaded = yaml(
            "scrape_configs: [{job_name: serviceMonitor/lab/m/0, scrape_interval: 2s, metrics_path: /metrics}]",
        );
        assert_eq!(lacking(&monitor("2s"), &loaded, &[]), None);
        let missing = Some("endpoint 0 of ServiceMonitor lab/m");
        assert_eq!(lacking(&monitor("1s"), &loaded, &[]).as_deref(), missing);
        assert_eq!(lacking(&monitor("2s"), &json!({}), &[]).as_deref(), missing);
    }

    #[test]
    fn targets_that_are_listed_are_those_loaded() {
        let config = object(
            "apiVersion: monitoring.coreos.com/v1alpha1\nkind: ScrapeConfig\nmetadata: {name: c, namespace: lab}\n\
             spec: {scrapeInterval: 2s, staticConfigs: [{targets: ['a:1', 'b:1']}]}\n",
        );
        let loaded = |targets: &str| {
            yaml(&format!(
                "scrape_configs: [{{job_name: scrapeConfig/lab/c, scrape_interval: 2s, static_configs: [{{targets: {targets}}}]}}]"
            ))
        };
        assert_eq!(lacking(&config, &loaded("['a:1', 'b:1']"), &[]), None);
        assert_eq!(lacking(&config, &loaded("['a:1']"), &[]).as_deref(), Some("ScrapeConfig lab/c"));
    }

    #[test]
    fn rules_are_loaded_as_they_are_written() {
        let rules = |interval: &str, expression: &str| {
            object(&format!(
                "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {{name: r, namespace: lab}}\n\
                 spec:\n  groups:\n  - name: g\n    interval: {interval}\n    rules:\n    - alert: A\n      for: 1m\n      \
                 expr: |\n        {expression}\n      labels: {{severity: critical}}\n"
            ))
        };
        let loaded = RuleGroup {
            name: "g".into(),
            interval: 2.0,
            rules: vec![LoadedRule {
                name: "A".into(),
                query: "sum by (job) (rate(m{code=~\"5..\"}[10s])) > 0.05".into(),
                duration: 60.0,
                labels: json!({"severity": "critical"}),
                annotations: json!({}),
                r#type: "alerting".into(),
                health: "ok".into(),
                last_error: String::new(),
            }],
        };
        let known = [loaded];
        let wanted = "sum by (job)   (rate(m{code=~\"5..\"}[10s]))\n          > 0.05";
        assert_eq!(lacking(&rules("2s", wanted), &json!({}), &known), None);
        for other in [rules("1s", wanted), rules("2s", "sum by (job) (rate(m{code=~\"5..\"}[10s])) > 0.06")] {
            let lacking = lacking(&other, &json!({}), &known);
            assert_eq!(lacking.as_deref(), Some("group g of PrometheusRule lab/r"));
        }
    }
}
