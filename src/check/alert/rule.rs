//! Which rule an alert comes from: a rule is its group, its name and its labels, and several may share a name. Pure.

use crate::observe::{AlertingRule, Labels};

/// Labels that tell of the series `ALERTS`, not of the alert.
pub const OF_THE_SERIES: [&str; 3] = ["__name__", "alertname", "alertstate"];

/// Whether none of the rule's own labels contradicts the labels that are asked for.
pub fn fits(rule: &AlertingRule, asked: &Labels) -> bool {
    rule.labels.iter().all(|(name, value)| is_template(value) || asked.get(name).is_none_or(|a| a == value))
}

/// Whether an alert with these labels can be this rule's.
pub fn can_make(rule: &AlertingRule, labels: &Labels) -> bool {
    let carried = |(name, value): (&String, &String)| {
        is_template(value) || labels.get(name).map_or("", String::as_str) == value
    };
    labels.get("alertname") == Some(&rule.name) && rule.labels.iter().all(carried)
}

fn is_template(value: &str) -> bool {
    value.contains("{{")
}

/// `HighErrorRate{severity="page"}`: the rule as people tell it from others of its name.
pub fn display(rule: &AlertingRule) -> String {
    match rule.labels.is_empty() {
        true => rule.name.clone(),
        false => format!("{}{}", rule.name, super::display_labels(&rule.labels, &[])),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::observe::RuleState;

    pub fn labels(of: &[(&str, &str)]) -> Labels {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    pub fn rule(name: &str, own: &[(&str, &str)]) -> AlertingRule {
        AlertingRule {
            name: name.into(),
            labels: labels(own),
            duration: 0.0,
            alerts: Vec::new(),
            state: RuleState::Inactive,
            health: "ok".into(),
            last_error: String::new(),
            last_evaluation: jiff::Timestamp::from_second(1_000).expect("a time"),
            query: String::new(),
            group: "g".into(),
            file: std::path::PathBuf::new(),
            interval: 1.0,
            group_took: 0.0,
        }
    }

    #[test]
    fn rules_of_one_name_are_told_apart_by_their_labels() {
        let (page, ticket) = (rule("A", &[("severity", "page")]), rule("A", &[("severity", "ticket")]));
        let asked = labels(&[("severity", "page"), ("instance", "x")]);
        assert!(fits(&page, &asked) && !fits(&ticket, &asked));
        assert!(fits(&rule("A", &[("severity", "{{ $labels.level }}")]), &asked));
        let alert = labels(&[("alertname", "A"), ("severity", "ticket"), ("instance", "x")]);
        assert!(can_make(&ticket, &alert) && !can_make(&page, &alert) && !can_make(&rule("B", &[]), &alert));
        // An empty value is a label that is not there.
        assert!(can_make(&rule("A", &[("team", "")]), &alert));
        assert_eq!(display(&page), r#"A{severity="page"}"#);
    }
}
