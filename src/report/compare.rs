//! Two runs side by side: what changed from the first to the second.

use std::collections::BTreeSet;

use owo_colors::OwoColorize;
use serde::Serialize;

use super::layout::{named_table, section, table};
use super::model::{LatencyMs, Report, Requests, RunVerdict};
use crate::check::Verdict;
use crate::figures::{NOTHING, change, count, latency};
use crate::load::RequestSummary;

/// The version of the comparison's shape, in its first key.
pub const SCHEMA: &str = "sre.compare/v1";

/// Two runs side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The run that is compared with.
    pub before: Side,
    /// The run that is compared.
    pub after: Side,
    /// What was not the same for both: scenario, stack, target, versions.
    pub settings: Vec<Setting>,
    /// Checks whose verdict changed, or that only one of the runs had.
    pub checks: Vec<CheckChange>,
    /// Each request name of either run.
    pub by_request: Vec<RequestChange>,
}

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// The run's id.
    pub run: String,
    /// The verdict on the system.
    pub verdict: RunVerdict,
    /// The exit code that it ended with.
    pub exit: u8,
    /// How many checks passed.
    pub passed: usize,
    /// How many checks there were.
    pub checks: usize,
    /// Requests, by the client and by the server.
    pub requests: Requests,
    /// Times since due in milliseconds.
    pub latency_ms: LatencyMs,
}

/// Something that was not the same for both runs; `None` where one of them had it not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// What it is.
    pub name: String,
    /// In the first run.
    pub before: Option<String>,
    /// In the second run.
    pub after: Option<String>,
}

/// A check whose verdict changed; `None` where a run had no such check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckChange {
    /// What must hold.
    pub name: String,
    /// Its verdict in the first run.
    pub before: Option<Verdict>,
    /// Its verdict in the second run.
    pub after: Option<Verdict>,
    /// The figure of the second run, or of the first where the second has none.
    pub message: String,
}

/// A request name in both runs; `None` where a run had no such requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestChange {
    /// The request's name.
    pub name: String,
    /// In the first run.
    pub before: Option<RequestFigures>,
    /// In the second run.
    pub after: Option<RequestFigures>,
}

/// The figures of one request name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RequestFigures {
    /// Requests that reached the wire.
    pub sent: u64,
    /// Unexpected answers and requests without an answer.
    pub errors: u64,
    /// Times since due in milliseconds.
    pub latency_ms: LatencyMs,
}

impl From<&RequestSummary> for RequestFigures {
    fn from(request: &RequestSummary) -> RequestFigures {
        RequestFigures {
            sent: request.sent,
            errors: request.unexpected + request.unknown + request.not_sent,
            latency_ms: request.times.since_due.into(),
        }
    }
}

impl Comparison {
    /// What changed from one run to another.
    pub fn of(before: &Report, after: &Report) -> Comparison {
        Comparison {
            schema: SCHEMA,
            settings: settings(before, after),
            checks: checks(before, after),
            by_request: requests(before, after),
            before: Side::of(before),
            after: Side::of(after),
        }
    }
}

impl Side {
    fn of(report: &Report) -> Side {
        Side {
            run: report.run.clone(),
            verdict: report.verdict,
            exit: report.exit,
            passed: report.count(Verdict::Pass),
            checks: report.checks.len(),
            requests: report.requests,
            latency_ms: report.latency_ms,
        }
    }
}

fn settings(before: &Report, after: &Report) -> Vec<Setting> {
    let plain = |report: &Report| {
        let shape = report.load.as_ref().map(|load| load.plan.shape.clone());
        [
            ("scenario", Some(report.scenario.clone())),
            ("stack", Some(report.stack.clone())),
            ("target", Some(report.target.to_string())),
            ("load", shape),
            ("seed", Some(report.seed.to_string())),
            ("replicas", Some(report.replicas.to_string())),
        ]
    };
    let pairs = plain(before).into_iter().zip(plain(after));
    let plain = pairs.map(|((name, before), (_, after))| (name.to_owned(), before, after));
    let names: BTreeSet<_> = before.versions.keys().chain(after.versions.keys()).cloned().collect();
    let versions = names.into_iter().map(|name| {
        let version = |report: &Report| report.versions.get(&name).cloned();
        (name.clone(), version(before), version(after))
    });
    plain
        .chain(versions)
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| Setting { name, before, after })
        .collect()
}

fn checks(before: &Report, after: &Report) -> Vec<CheckChange> {
    let gone = before.checks.iter().filter(|old| !after.checks.iter().any(|new| new.name == old.name));
    let now =
        after.checks.iter().map(|new| (before.checks.iter().find(|old| old.name == new.name), Some(new)));
    now.chain(gone.map(|old| (Some(old), None)))
        .filter(|(old, new)| old.map(|check| check.verdict) != new.map(|check| check.verdict))
        .filter_map(|(old, new)| {
            let shown = new.or(old)?;
            Some(CheckChange {
                name: shown.name.clone(),
                before: old.map(|check| check.verdict),
                after: new.map(|check| check.verdict),
                message: shown.message.clone(),
            })
        })
        .collect()
}

fn requests(before: &Report, after: &Report) -> Vec<RequestChange> {
    let figures = |report: &Report, name: &str| {
        report.summary().and_then(|summary| summary.requests.get(name)).map(RequestFigures::from)
    };
    let names = |report: &Report| -> Vec<String> {
        report.summary().map(|summary| summary.requests.keys().cloned().collect()).unwrap_or_default()
    };
    let mut all = names(after);
    all.extend(names(before).into_iter().filter(|name| figures(after, name).is_none()));
    all.into_iter()
        .map(|name| RequestChange { before: figures(before, &name), after: figures(after, &name), name })
        .collect()
}

/// The comparison for people, with colours.
pub fn text(comparison: &Comparison) -> String {
    let Comparison { before, after, settings, checks, by_request, .. } = comparison;
    let mut lines = vec![
        format!("before  {}  {}", before.run, verdict(before)),
        format!("after   {}  {}", after.run, verdict(after)),
    ];
    if !settings.is_empty() {
        lines.extend(section("not the same"));
        let or_nothing = |value: &Option<String>| value.clone().unwrap_or(NOTHING.into());
        let row =
            |it: &Setting| vec![it.name.clone(), or_nothing(&it.before), "→".into(), or_nothing(&it.after)];
        lines.extend(table(2, &[], &settings.iter().map(row).collect::<Vec<_>>()));
    }
    lines.extend(section("checks"));
    if checks.is_empty() {
        lines.push("  every verdict is the same".into());
    } else {
        let row = |it: &CheckChange| {
            let change = format!("{} → {}", verdict_name(it.before), verdict_name(it.after));
            vec![change, it.name.clone(), it.message.clone()]
        };
        lines.extend(table(2, &[], &checks.iter().map(row).collect::<Vec<_>>()));
    }
    lines.extend(section("counts"));
    lines.extend(counts(before.requests, after.requests));
    lines.extend(section("latency"));
    lines.extend(latencies(before.latency_ms, after.latency_ms));
    if !by_request.is_empty() {
        lines.extend(section("by request (after, and its change)"));
        let header = ["", "sent", "", "p50", "", "p99", "", "errors"].map(String::from);
        let rows: Vec<_> = by_request.iter().map(request_row).collect();
        lines.extend(named_table(2, &header, rows));
    }
    lines.join("\n")
}

fn verdict(side: &Side) -> String {
    let passed = format!("{} of {} checks passed", side.passed, side.checks);
    match side.verdict {
        RunVerdict::Pass => format!("{}  {passed}", "pass".green()),
        RunVerdict::Fail => format!("{}  {passed}", "fail".red()),
        RunVerdict::NoData => format!("{}  {passed}", "no data".yellow()),
        RunVerdict::Overloaded => format!("{}  {passed}", "overloaded".yellow()),
    }
}

fn verdict_name(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Pass) => "pass",
        Some(Verdict::Fail) => "fail",
        Some(Verdict::NoData) => "no data",
        Some(Verdict::Skipped) => "skipped",
        None => NOTHING,
    }
}

fn header() -> [String; 4] {
    ["", "before", "after", "change"].map(String::from)
}

fn counts(before: Requests, after: Requests) -> Vec<String> {
    let known = |number: Option<u64>| number.map_or(NOTHING.into(), count);
    let row = |name: &str, before: Option<u64>, after: Option<u64>| {
        let change = change(before.map(|n| n as f64), after.map(|n| n as f64));
        vec![name.into(), known(before), known(after), change]
    };
    let rows = [
        row("sent", before.sent, after.sent),
        row("counted", before.counted, after.counted),
        row("unknown", before.unknown, after.unknown),
    ];
    table(2, &header(), &rows)
}

fn latencies(before: LatencyMs, after: LatencyMs) -> Vec<String> {
    let known = |time: Option<f64>| time.map_or(NOTHING.into(), latency);
    let row =
        |name: &str, before, after| vec![name.into(), known(before), known(after), change(before, after)];
    let rows = [
        row("p50", before.p50, after.p50),
        row("p90", before.p90, after.p90),
        row("p99", before.p99, after.p99),
        row("max", before.max, after.max),
    ];
    table(2, &header(), &rows)
}

fn request_row(request: &RequestChange) -> Vec<String> {
    let (before, after) = (&request.before, &request.after);
    let sent = |side: &Option<RequestFigures>| side.as_ref().map(|figures| figures.sent as f64);
    let time = |side: &Option<RequestFigures>, which: fn(&LatencyMs) -> Option<f64>| {
        side.as_ref().and_then(|figures| which(&figures.latency_ms))
    };
    let mut row = vec![
        request.name.clone(),
        after.as_ref().map_or(NOTHING.into(), |figures| count(figures.sent)),
        change(sent(before), sent(after)),
    ];
    for which in [|times: &LatencyMs| times.p50, |times: &LatencyMs| times.p99] {
        row.push(time(after, which).map_or(NOTHING.into(), latency));
        row.push(change(time(before, which), time(after, which)));
    }
    let errors = |side: &Option<RequestFigures>| side.map_or(NOTHING.into(), |figures| count(figures.errors));
    row.push(match (errors(before), errors(after)) {
        (before, after) if before == after => after,
        (before, after) => format!("{before} → {after}"),
    });
    row
}
