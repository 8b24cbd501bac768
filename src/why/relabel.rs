//! Relabelling as Prometheus does it, by the configuration that it has loaded: which rule drops something, and what it makes
//! of the rest. Pure.

use regex::Regex;
use serde_json::Value;

use crate::observe::Labels;

/// What became of labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relabelled {
    /// They are kept, so.
    Kept(Labels),
    /// They are dropped, by this rule.
    Dropped(String),
    /// It is not known: this rule cannot be followed here.
    NotFollowed(String),
}

/// What a list of rules makes of labels; `key` is where it stands: `relabel_configs`.
pub fn relabel(mut labels: Labels, rules: &Value, key: &str) -> Relabelled {
    for (i, rule) in rules.as_array().into_iter().flatten().enumerate() {
        let told = |labels: &Labels| described(rule, labels, &format!("{key}[{i}]"));
        match apply(&mut labels, rule) {
            Some(true) => {}
            Some(false) => return Relabelled::Dropped(told(&labels)),
            None => return Relabelled::NotFollowed(told(&labels)),
        }
    }
    Relabelled::Kept(labels)
}

/// Whether the labels are kept; `None` where the rule cannot be followed.
fn apply(labels: &mut Labels, rule: &Value) -> Option<bool> {
    let text = |key: &str, usual: &'static str| match &rule[key] {
        Value::String(text) => text.clone(),
        Value::Null => usual.to_owned(),
        other => other.to_string(),
    };
    let (target, replacement) = (text("target_label", ""), text("replacement", "$1"));
    let regex = Regex::new(&format!("^(?s:{})$", text("regex", "(.*)"))).ok()?;
    let value = source(rule, labels);
    let held = labels.get(&target).map_or("", String::as_str);
    match text("action", "replace").as_str() {
        "keep" => return Some(regex.is_match(&value)),
        "drop" => return Some(!regex.is_match(&value)),
        "keepequal" => return Some(held == value),
        "dropequal" => return Some(held != value),
        "replace" => {
            let Some(found) = regex.captures(&value) else { return Some(true) };
            let expanded = |template: &str| {
                let mut text = String::new();
                found.expand(template, &mut text);
                text
            };
            set(labels, expanded(&target), expanded(&replacement));
        }
        "lowercase" => set(labels, target, value.to_lowercase()),
        "uppercase" => set(labels, target, value.to_uppercase()),
        "labeldrop" => labels.retain(|name, _| !regex.is_match(name)),
        "labelkeep" => labels.retain(|name, _| regex.is_match(name)),
        "labelmap" => {
            let mapped: Vec<(String, String)> = labels
                .iter()
                .filter(|(name, _)| regex.is_match(name))
                .map(|(name, value)| (regex.replace(name, replacement.as_str()).into_owned(), value.clone()))
                .collect();
            mapped.into_iter().for_each(|(name, value)| set(labels, name, value));
        }
        // `hashmod`, and what is newer than this.
        _ => return None,
    }
    Some(true)
}

/// An empty value is a label that is not there.
fn set(labels: &mut Labels, name: String, value: String) {
    match value.is_empty() {
        true => drop(labels.remove(&name)),
        false => drop(labels.insert(name, value)),
    }
}

fn sources(rule: &Value) -> impl Iterator<Item = &str> {
    rule["source_labels"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn source(rule: &Value, labels: &Labels) -> String {
    let separator = rule["separator"].as_str().unwrap_or(";");
    let value = |name: &str| labels.get(name).map_or("", String::as_str);
    sources(rule).map(value).collect::<Vec<_>>().join(separator)
}

/// `relabel_configs[2] (keep where __meta_x matches y; it is "z")`.
fn described(rule: &Value, labels: &Labels, place: &str) -> String {
    let action = rule["action"].as_str().unwrap_or("replace");
    let names = sources(rule).collect::<Vec<_>>().join(", ");
    let value = source(rule, labels);
    match action {
        "keep" | "drop" => {
            let regex = rule["regex"].as_str().map_or_else(|| rule["regex"].to_string(), str::to_owned);
            format!("{place} ({action} where {names} matches `{regex}`; it is `{value}`)")
        }
        "keepequal" | "dropequal" => {
            let target = rule["target_label"].as_str().unwrap_or_default();
            format!("{place} ({action}: {names} and {target}; the first is `{value}`)")
        }
        _ => format!("{place} ({action})"),
    }
}

/// The labels of a sample as it comes from a target's page with the labels of its target: where both have one, the
/// page's is renamed, unless it is honored.
pub fn scraped(exposed: &Labels, target: &Labels, honors: bool) -> Labels {
    let mut labels = exposed.clone();
    for (name, value) in target.iter().filter(|(name, _)| !name.starts_with("__")) {
        match labels.get(name) {
            Some(_) if honors => {}
            Some(own) => {
                let own = own.clone();
                labels.insert(format!("exported_{name}"), own);
                labels.insert(name.clone(), value.clone());
            }
            None => drop(labels.insert(name.clone(), value.clone())),
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(of: &[(&str, &str)]) -> Labels {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_action_does_what_prometheus_does() {
        let before = [("__name__", "a_total"), ("zone", "EU"), ("__meta_team", "web")];
        for (rule, after) in [
            (json!({"action": "keep", "source_labels": ["zone"], "regex": "EU|US"}), Some(&before[..])),
            (json!({"action": "keep", "source_labels": ["zone"], "regex": "E"}), None),
            (json!({"action": "drop", "source_labels": ["__name__", "zone"], "regex": "a_.*;EU"}), None),
            (json!({"action": "drop", "source_labels": ["gone"], "regex": ".+"}), Some(&before[..])),
            (json!({"action": "dropequal", "source_labels": ["zone"], "target_label": "zone"}), None),
            (
                json!({"source_labels": ["__meta_team", "zone"], "separator": "@", "target_label": "of", "regex": "(.+)@(.+)", "replacement": "$2-${1}"}),
                Some(
                    &[("__name__", "a_total"), ("zone", "EU"), ("__meta_team", "web"), ("of", "EU-web")][..],
                ),
            ),
            (
                json!({"source_labels": ["zone"], "target_label": "zone", "replacement": ""}),
                Some(&[("__name__", "a_total"), ("__meta_team", "web")][..]),
            ),
            (
                json!({"action": "labelmap", "regex": "__meta_(.+)"}),
                Some(&[("__name__", "a_total"), ("zone", "EU"), ("__meta_team", "web"), ("team", "web")][..]),
            ),
            (
                json!({"action": "labeldrop", "regex": "__meta_.+"}),
                Some(&[("__name__", "a_total"), ("zone", "EU")][..]),
            ),
            (
                json!({"action": "lowercase", "source_labels": ["zone"], "target_label": "zone"}),
                Some(&[("__name__", "a_total"), ("zone", "eu"), ("__meta_team", "web")][..]),
            ),
        ] {
            let relabelled = relabel(labels(&before), &json!([rule]), "relabel_configs");
            match after {
                Some(after) => assert_eq!(relabelled, Relabelled::Kept(labels(after)), "{rule}"),
                None => assert!(matches!(relabelled, Relabelled::Dropped(_)), "{rule}: {relabelled:?}"),
            }
        }
    }

    #[test]
    fn the_rule_that_drops_is_told_with_the_value_that_it_saw() {
        let rules = json!([
            {"target_label": "env", "replacement": "test"},
            {"action": "keep", "source_labels": ["env"], "regex": "prod"},
        ]);
        assert_eq!(
            relabel(labels(&[]), &rules, "relabel_configs"),
            Relabelled::Dropped("relabel_configs[1] (keep where env matches `prod`; it is `test`)".into())
        );
        let hashed =
            json!([{"action": "hashmod", "modulus": 2, "source_labels": ["a"], "target_label": "b"}]);
        assert!(matches!(relabel(labels(&[]), &hashed, "x"), Relabelled::NotFollowed(_)));
    }

    #[test]
    fn a_label_of_the_page_gives_way_to_that_of_the_target() {
        let (page, target) =
            (labels(&[("job", "own"), ("a", "b")]), labels(&[("job", "x"), ("instance", "y")]));
        let renamed = labels(&[("job", "x"), ("exported_job", "own"), ("instance", "y"), ("a", "b")]);
        assert_eq!(scraped(&page, &target, false), renamed);
        assert_eq!(scraped(&page, &target, true), labels(&[("job", "own"), ("instance", "y"), ("a", "b")]));
    }
}
