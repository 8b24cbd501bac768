//! What in monitoring a verdict is about, and the command that walks the chain to it.

use super::{Kind, Outcome, Verdict};
use crate::observe::metrics_of;
use crate::scenario::Check;
use crate::stack::Stack;

/// What `sre why` can be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A job, an instance, a replica, or a Service of a cluster.
    Target(String),
    /// A metric, or a selector of its series.
    Metric(String),
    /// An alert, or one with some labels.
    Alert(String),
    /// The notification of an alert.
    Notification(String),
    /// A text that a line holds, or a replica.
    Line(String),
}

impl Subject {
    /// Its kind and its name, as they stand on the command line.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Subject::Target(name) => ("target", name),
            Subject::Metric(name) => ("metric", name),
            Subject::Alert(name) => ("alert", name),
            Subject::Notification(name) => ("notification", name),
            Subject::Line(name) => ("line", name),
        }
    }

    /// The command: `sre why metric requests_total`.
    pub fn command(&self) -> String {
        let (kind, name) = self.parts();
        format!("sre why {kind} {}", quoted(name))
    }

    /// What an outcome of a check is about; nothing where it is about nothing that is scraped, alerted or logged.
    pub(super) fn of(check: &Check, outcome: &Outcome, stack: &Stack) -> Option<Subject> {
        let first_of = |expression: &str| metrics_of(expression).into_iter().next().map(Subject::Metric);
        match check {
            Check::Targets(asked) => {
                let row = outcome.table.as_ref().and_then(|table| table.rows.first());
                let shown = row.and_then(|row| row.get(1)).filter(|instance| !instance.is_empty());
                let job = asked.jobs.first().or(stack.counter.job.as_ref());
                shown.or(job).cloned().map(Subject::Target)
            }
            Check::Series(asked) => Some(Subject::Metric(asked.series.clone())),
            Check::Promql(asked) => first_of(&asked.expr),
            Check::Reconcile(_) => Some(Subject::Metric(stack.counter.metric.clone())),
            Check::Alert(asked) if outcome.kind == Kind::Notification => {
                Some(Subject::Notification(asked.name.clone()))
            }
            Check::Alert(asked) => Some(Subject::Alert(asked.name.clone())),
            Check::Detected(_) => first_of(outcome.evidence["expr"].as_str()?),
            Check::Logs(_) => {
                let id = outcome.evidence.pointer("/ids/missing/0").and_then(serde_json::Value::as_str);
                Some(Subject::Line(id.unwrap_or(&stack.name).to_owned()))
            }
            Check::NoAlerts(_) => None,
        }
    }
}

impl Outcome {
    /// The same; where it could not be seen, with the command that names the first broken link on the way to it.
    pub(super) fn with_command(self, check: &Check, stack: &Stack) -> Outcome {
        match Subject::of(check, &self, stack) {
            Some(subject) => self.with_subject(&subject),
            None => self,
        }
    }

    /// The same for a subject that is known.
    pub(super) fn with_subject(mut self, subject: &Subject) -> Outcome {
        if self.verdict == Verdict::NoData {
            let section = self.kind.documentation();
            let before = self.hint.take().unwrap_or_default();
            let before = before.strip_suffix(&section).unwrap_or(&before).trim_end();
            let gap = if before.is_empty() { "" } else { " " };
            let command = subject.command();
            self.hint = Some(format!("{before}{gap}`{command}` names the first broken link. {section}"));
        }
        self
    }
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) && !word.starts_with('-') {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Group;

    #[test]
    fn a_name_stays_one_word_in_a_shell() {
        let command = |name: &str| Subject::Metric(name.into()).command();
        assert_eq!(command("requests_total"), "sre why metric requests_total");
        assert_eq!(command("up{job=\"a\"}"), "sre why metric 'up{job=\"a\"}'");
        assert_eq!(command("it's $(here)"), r"sre why metric 'it'\''s $(here)'");
    }

    #[test]
    fn the_command_stands_before_the_section_and_only_where_nothing_was_seen() {
        let subject = Subject::Alert("Down".into());
        let hint = |verdict, hint: &str| {
            let outcome = Outcome::new(Kind::Alert, Group::Alerts, "x", verdict, "");
            outcome.hinted(hint).with_subject(&subject).hint
        };
        assert_eq!(
            hint(Verdict::NoData, "Look.").as_deref(),
            Some("Look. `sre why alert Down` names the first broken link. docs/checks.md#alert")
        );
        assert_eq!(hint(Verdict::Fail, "Look.").as_deref(), Some("Look. docs/checks.md#alert"));
        let silent = Outcome::no_data(Kind::Alert, Group::Alerts, "x").with_subject(&subject);
        assert_eq!(
            silent.hint.as_deref(),
            Some("`sre why alert Down` names the first broken link. docs/checks.md#alert")
        );
    }
}
