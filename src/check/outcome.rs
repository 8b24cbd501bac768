//! What a check found: its verdict, in words, with its evidence.

use serde::{Deserialize, Serialize};

/// The verdict of a check. Only `Pass` is success; missing data is never a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was seen to hold.
    Pass,
    /// It was seen not to hold.
    Fail,
    /// It could not be seen.
    NoData,
    /// It would mean nothing, because the generator was overloaded.
    Skipped,
}

/// The heading under which a check stands on screens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// What the load tool itself measured.
    Load,
    /// What Prometheus scrapes.
    Targets,
    /// The client's counts against the server's.
    Counts,
    /// Series and PromQL.
    Metrics,
    /// What monitoring saw of the faults.
    Faults,
    /// Alerts and their notifications.
    Alerts,
    /// Log lines.
    Logs,
}

/// The kind of a check: one file each in `src/check/`, one section each in `docs/checks.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Every scrape target is healthy.
    Targets,
    /// Series are there, with the labels named.
    Series,
    /// A PromQL expression compares as asked.
    Promql,
    /// Requests sent are requests counted.
    Reconcile,
    /// A figure that the load tool measured keeps its limit.
    Threshold,
    /// The generator kept the rate that was asked of it.
    Generator,
    /// The requests that were due were answered as expected.
    Answered,
    /// An alert fired and resolved.
    Alert,
    /// A notification arrived.
    Notification,
    /// Log lines that had to be written were kept.
    Logs,
    /// Monitoring saw the faults, and that they were over.
    Detected,
}

impl Kind {
    /// What to do next, and where it is explained.
    pub fn hint(self, what: &str) -> String {
        format!("{what} {}", self.documentation())
    }

    /// The section of the documentation that explains this kind.
    pub fn documentation(self) -> String {
        let anchor = match self {
            Kind::Targets => "targets",
            Kind::Series => "series",
            Kind::Promql => "promql",
            Kind::Reconcile => "reconcile",
            Kind::Threshold => "threshold",
            Kind::Generator => "generator",
            Kind::Answered => "answered",
            Kind::Alert => "alert",
            Kind::Notification => "notification",
            Kind::Logs => "logs",
            Kind::Detected => "detected",
        };
        format!("docs/checks.md#{anchor}")
    }
}

/// A small table shown below a check: what was expected, what was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Column titles.
    pub columns: Vec<String>,
    /// Cells, one row a line; as many as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What must hold, as a sentence: `every request is counted`.
    pub name: String,
    /// The kind of check.
    pub kind: Kind,
    /// The heading it stands under.
    pub group: Group,
    /// Its verdict.
    pub verdict: Verdict,
    /// The figure at the end of the line: `12,000 = 12,000`.
    pub message: String,
    /// Seconds that the check took, its waits included.
    pub seconds: f64,
    /// Series and numbers, where there is something to tell apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// Sentences that tell what was seen, since when, and what was tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do next; ends with the section of the documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Everything the verdict rests on, for machines.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub evidence: serde_json::Value,
}

impl Outcome {
    /// An outcome without table, notes, hint or evidence.
    pub fn new(
        kind: Kind,
        group: Group,
        name: impl Into<String>,
        verdict: Verdict,
        message: impl Into<String>,
    ) -> Outcome {
        Outcome {
            name: name.into(),
            kind,
            group,
            verdict,
            message: message.into(),
            seconds: 0.0,
            table: None,
            notes: Vec::new(),
            hint: None,
            evidence: serde_json::Value::Null,
        }
    }

    /// One that could not be seen.
    pub fn no_data(kind: Kind, group: Group, name: impl Into<String>) -> Outcome {
        Outcome::new(kind, group, name, Verdict::NoData, "no data")
    }

    /// The same with a sentence more.
    pub fn noted(mut self, note: impl Into<String>) -> Outcome {
        self.notes.push(note.into());
        self
    }

    /// The same, unless it passed, with what to do next and the section of the documentation.
    pub fn hinted(mut self, hint: &str) -> Outcome {
        if self.verdict != Verdict::Pass {
            self.hint = Some(self.kind.hint(hint));
        }
        self
    }
}
