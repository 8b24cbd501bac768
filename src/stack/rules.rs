//! Files with alert rules, as Prometheus reads them.

use serde::{Deserialize, Serialize};

use crate::config::{Document, Path, Problem, Severity};
use crate::scenario::{Flaw, expression};

/// An alert that a stack expects Prometheus to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AlertRule {
    /// The alert's name.
    pub name: String,
    /// The rule group's name.
    pub group: String,
    /// The file, from the stack's folder.
    pub file: String,
    /// The expression, on one line.
    pub expr: String,
    /// How long the expression must hold, as the file has it.
    #[serde(rename = "for")]
    pub lasts: Option<String>,
    /// By how much its group looks back, as the file has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_offset: Option<String>,
    /// Its label `severity`.
    pub severity: Option<String>,
    /// Its annotation `summary`, a template.
    pub summary: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    #[serde(default)]
    query_offset: Option<String>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    alert: Option<String>,
    expr: String,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// The alert rules of a rule file, which is named from the stack's folder, recording rules left out; and what is
/// probably not meant in it. An error is everything that is wrong with it.
pub fn alert_rules(file: &str, document: &Document) -> Result<(Vec<AlertRule>, Vec<Problem>), Vec<Problem>> {
    let groups = document.typed::<File>().map_err(|problem| vec![problem])?.groups;
    let (mut alerts, mut problems) = (Vec::new(), Vec::new());
    let root = Path::root().key("groups");
    if groups.is_empty() {
        problems.push(Problem::error(&root, "there is no rule group in this file"));
    }
    for (i, group) in groups.into_iter().enumerate() {
        for (j, rule) in group.rules.into_iter().enumerate() {
            let place = root.index(i).key("rules").index(j).key("expr");
            match expression(&rule.expr) {
                Ok(()) => {}
                Err(Flaw::Wrong(why)) => problems.push(Problem::error(&place, why)),
                Err(Flaw::UnknownFunction(why)) => problems
                    .push(Problem::warning(&place, why).help("Prometheus has the last word; is it a typo?")),
            }
            let Some(name) = rule.alert else { continue };
            alerts.push(AlertRule {
                name,
                group: group.name.clone(),
                file: file.to_owned(),
                expr: rule.expr.split_whitespace().collect::<Vec<_>>().join(" "),
                lasts: rule.lasts,
                query_offset: group.query_offset.clone(),
                severity: rule.labels.get("severity").cloned(),
                summary: rule.annotations.get("summary").cloned(),
            });
        }
    }
    match problems.iter().any(|problem| problem.severity == Severity::Error) {
        true => Err(problems),
        false => Ok((alerts, problems)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_alerts_and_points_at_what_is_wrong() {
        let text = "groups:\n- name: a\n  rules:\n  - {record: r, expr: sum(x)}\n  - {alert: A, expr: 'x >\n      0', for: 2s}\n";
        let rules = |text: String| {
            alert_rules("rules/a.yaml", &Document::parse("stack", "a", text).expect("YAML")).expect("rules")
        };
        let (alerts, warnings) = rules(text.into());
        assert_eq!((alerts.len(), warnings), (1, Vec::new()));
        assert_eq!((alerts[0].name.as_str(), alerts[0].expr.as_str()), ("A", "x > 0"));

        let (_, warnings) = rules(text.replace("sum(x)", "'ratte(x[5s])'"));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].message.contains("ratte"), "{warnings:?}");

        let document = Document::parse("stack", "a", text.replace("sum(x)", "sum(x")).expect("YAML");
        let problems = alert_rules("rules/a.yaml", &document).expect_err("not PromQL");
        assert_eq!((document.located(&problems[0]).line, document.located(&problems[0]).column), (4, 23));
    }
}
