//! The runs in this folder, one a line.

use jiff::Timestamp;
use serde::Serialize;

use super::layout::{mark, unwrapped_table};
use super::model::{Report, RunVerdict, State};
use super::text::verdict_word;
use crate::check::Verdict;
use crate::figures::{NOTHING, ago, count, latency};
use crate::run::RunFolder;
use crate::target::TargetKind;

/// A run in a list. What its log does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: Option<String>,
    /// Where it ran.
    pub target: Option<TargetKind>,
    /// The verdict on the system.
    pub verdict: Option<RunVerdict>,
    /// How far it came.
    pub state: Option<State>,
    /// Requests that the client sent.
    pub sent: Option<u64>,
    /// 99th percentile of the times since due, in milliseconds.
    pub p99_ms: Option<f64>,
    /// When it started.
    pub started: Timestamp,
    /// Whether it is still going on.
    pub running: bool,
    /// Why its log tells nothing.
    pub error: Option<String>,
    #[serde(skip)]
    word: &'static str,
}

impl Row {
    /// A run in a list, whatever state its folder is in.
    pub fn of(folder: &RunFolder) -> Row {
        let running = folder.is_running();
        let row = Row {
            run: folder.id().into(),
            scenario: None,
            target: None,
            verdict: None,
            state: None,
            sent: None,
            p99_ms: None,
            started: folder.started(),
            running,
            error: None,
            word: "UNREADABLE",
        };
        match Report::read(folder) {
            Err(error) => Row { error: Some(error.to_string()), ..row },
            Ok(report) => Row {
                word: if running { "RUNNING" } else { verdict_word(&report) },
                verdict: Some(report.verdict),
                state: Some(report.state),
                sent: report.requests.sent,
                p99_ms: report.latency_ms.p99,
                target: Some(report.target),
                scenario: Some(report.scenario),
                ..row
            },
        }
    }

    fn mark(&self) -> char {
        match self.verdict {
            _ if self.running => '·',
            Some(RunVerdict::Pass) => '✔',
            Some(RunVerdict::Fail) => '✘',
            Some(RunVerdict::Overloaded) => '–',
            Some(RunVerdict::NoData) | None => '?',
        }
    }
}

/// The list for people, with colours; `now` is what ages count from.
pub fn text(rows: &[Row], now: Timestamp) -> String {
    let header = ["run", "target", "verdict", "sent", "p99", "when"].map(String::from);
    let cells = |row: &Row| {
        vec![
            row.run.clone(),
            row.target.map_or(NOTHING.into(), |target| target.to_string()),
            format!("{} {}", row.mark(), row.word.to_lowercase()),
            row.sent.map_or(NOTHING.into(), count),
            row.p99_ms.map_or(NOTHING.into(), latency),
            ago(now.duration_since(row.started).as_secs_f64()),
        ]
    };
    let lines = unwrapped_table(0, &header, &rows.iter().map(cells).collect::<Vec<_>>());
    // Colours come last: in the cells they would count as width.
    lines.join("\n").replace('✔', &mark(Verdict::Pass)).replace('✘', &mark(Verdict::Fail))
}
