//! The report for people, section by section; the live screen is made of the same sections.

use indexmap::IndexMap;
use owo_colors::OwoColorize;

use super::layout::{
    WIDTH, dotted, fits, hint, marked, named_table, notice, paragraph, plain, section, spread, table,
};
use super::model::{LoadReport, Report, RunVerdict, State};
use crate::check::{Group, Outcome, Verdict};
use crate::figures::{self, NOTHING, count, counted, duration, latency};
use crate::foreign::one_line;
use crate::load::{Latency, LoadSummary, PhaseSummary, RequestSummary, answered};

/// The whole report as a screen of 80 columns, with colours.
pub fn text(report: &Report) -> String {
    let mut lines = head(report);
    lines.push(format!("started {}", report.started.strftime("%Y-%m-%d %H:%M:%S UTC")));
    if let Some(load) = &report.load {
        lines.push(String::new());
        lines.push(plan(report));
        lines.extend(load_result(load));
    }
    if !report.faults.is_empty() {
        lines.extend(section("faults"));
        lines.extend(faults(report));
    }
    if !report.checks.is_empty() {
        lines.extend(section("verify"));
        let mut group = None;
        for outcome in report.sorted_checks() {
            lines.extend(heading(&mut group, outcome.group));
            lines.extend(check(outcome));
        }
    }
    lines.extend(end(report));
    lines.join("\n")
}

/// What is run, and on what: `users-api on local · 3 replicas · Prometheus 3.15.0`.
pub(super) fn head(report: &Report) -> Vec<String> {
    let parts =
        [format!("{} on {}", report.stack, report.target), counted(report.replicas as u64, "replica")];
    dotted(parts.into_iter().chain(versions(report)))
}

/// Versions of what ran: `Prometheus 3.15.0`.
pub(super) fn versions(report: &Report) -> Vec<String> {
    let others = report.versions.iter().filter(|(name, _)| *name != "sre");
    others.map(|(name, version)| format!("{} {version}", product(name))).collect()
}

fn product(name: &str) -> String {
    match name {
        "prometheus" => "Prometheus".into(),
        "alertmanager" => "Alertmanager".into(),
        "loki" => "Loki".into(),
        "logstore" => "log store of sre".into(),
        other => other.replace('_', " "),
    }
}

/// What the load will be: `errors · 200/s for 60 s · 6 request names · seed 42`.
pub(super) fn plan(report: &Report) -> String {
    let load = report.load.as_ref();
    let shape = load.map_or(String::new(), |load| format!(" · {}", load.plan.shape));
    let names = load.map_or(0, |load| load.plan.requests.len());
    let names = counted(names as u64, "request name");
    format!("{}{shape} · {names} · seed {}", one_line(&report.scenario).bold(), report.seed)
}

/// What became of the load: a line, why it is not as asked, a table by request and one by phase.
pub(super) fn load_result(load: &LoadReport) -> Vec<String> {
    let Some(summary) = &load.summary else {
        return vec![marked(0, Verdict::NoData, "load", "its end is not known")];
    };
    let (verdict, what) = match (&summary.overload, summary.interrupted) {
        _ if !summary.lost.is_empty() => (Verdict::NoData, "load · incomplete"),
        (_, true) => (Verdict::NoData, "load · ended early"),
        (Some(_), _) => (Verdict::Skipped, "load · overloaded"),
        (None, false) => (Verdict::Pass, "load"),
    };
    let figure = format!(
        "{} · {} sent · {}",
        duration(summary.seconds),
        count(summary.total.sent),
        rates(load, summary)
    );
    let mut lines = vec![marked(0, verdict, what, &figure)];
    for why in summary.overload.iter().map(|overload| &overload.reason).chain(&summary.lost) {
        lines.extend(paragraph(4, why));
    }
    if !summary.requests.is_empty() {
        lines.extend(request_table(&summary.requests, &summary.total));
        lines.extend(error_table(summary));
    }
    if summary.phases.len() > 1 {
        lines.extend(phase_table(&summary.phases));
    }
    lines
}

fn rates(load: &LoadReport, summary: &LoadSummary) -> String {
    let reached = match &summary.overload {
        Some(overload) => overload.reached,
        None => summary.total.sent as f64 / summary.seconds.max(f64::MIN_POSITIVE),
    };
    match load.plan.asked.map(|asked| asked as f64 / load.plan.seconds) {
        // A load that was kept needs one figure: its last answer comes after its last second.
        Some(asked) if summary.overload.is_none() && !summary.interrupted && summary.lost.is_empty() => {
            format!("{} asked", figures::rate(asked))
        }
        Some(asked) => format!("{} of {} asked", figures::rate(reached), figures::rate(asked)),
        None => figures::rate(reached),
    }
}

fn time(times: &Latency, milliseconds: f64) -> String {
    if times.count > 0 { latency(milliseconds) } else { NOTHING.into() }
}

fn request_table(requests: &IndexMap<String, RequestSummary>, total: &RequestSummary) -> Vec<String> {
    let classes: Vec<u16> = (2..=5).filter(|class| *class != 3 || total.class(3) > 0).collect();
    let mut header: Vec<String> = ["", "p50", "p90", "p99", "max"].map(String::from).into();
    header.extend(classes.iter().map(|class| format!("{class}xx")));
    let row = |(name, request): (&str, &RequestSummary)| {
        let times = &request.times.since_due;
        let mut row = vec![name.to_owned()];
        row.extend([times.p50, times.p90, times.p99, times.max].map(|ms| time(times, ms)));
        row.extend(classes.iter().map(|class| count(request.class(*class))));
        row
    };
    named_table(2, &header, with_total(requests, total).map(row).collect())
}

/// Why requests were not answered as expected, by request name; nothing where all were.
fn error_table(summary: &LoadSummary) -> Vec<String> {
    match answered::table(&answered::failures(summary)) {
        None => Vec::new(),
        Some(table) => below(named_table(2, &table.columns, table.rows)),
    }
}

/// Each request name, and all of them where there is more than one.
fn with_total<'a>(
    requests: &'a IndexMap<String, RequestSummary>,
    total: &'a RequestSummary,
) -> impl Iterator<Item = (&'a str, &'a RequestSummary)> {
    let all = (requests.len() > 1).then_some(("all", total));
    requests.iter().map(|(name, request)| (name.as_str(), request)).chain(all)
}

fn phase_table(phases: &[PhaseSummary]) -> Vec<String> {
    let header = ["phase", "time", "asked", "sent", "p50", "p99", "errors"].map(String::from);
    let row = |phase: &PhaseSummary| {
        let times = &phase.total.times.since_due;
        vec![
            phase.name.clone(),
            duration(phase.seconds),
            phase.asked.map_or(NOTHING.into(), count),
            count(phase.total.sent),
            time(times, times.p50),
            time(times, times.p99),
            count(phase.total.unexpected + phase.total.unknown + phase.total.not_sent),
        ]
    };
    below(named_table(2, &header, phases.iter().map(row).collect()))
}

/// A table below another one.
fn below(table: Vec<String>) -> Vec<String> {
    std::iter::once(String::new()).chain(table).collect()
}

fn faults(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for fault in &report.faults {
        let time = |time: Option<f64>| time.map_or("never".into(), duration);
        let (verdict, figure) = match (&fault.error, fault.injected, fault.healed) {
            (Some(_), ..) => (Verdict::Fail, "failed".into()),
            (None, _, None) => (Verdict::NoData, format!("from {}, not undone", time(fault.injected))),
            (None, from, to) => (Verdict::Pass, format!("from {} to {}", time(from), time(to))),
        };
        lines.push(marked(2, verdict, &fault.description, &figure));
        lines.extend(fault.error.iter().flat_map(|error| paragraph(6, error)));
    }
    lines
}

/// A group's heading, where it is not the one above.
pub(super) fn heading(last: &mut Option<Group>, group: Group) -> Option<String> {
    (last.replace(group) != Some(group)).then(|| format!("  {}", group_name(group)))
}

/// A group's name on screens.
pub(super) fn group_name(group: Group) -> &'static str {
    match group {
        Group::Load => "load",
        Group::Targets => "targets",
        Group::Counts => "counts",
        Group::Metrics => "metrics",
        Group::Faults => "faults",
        Group::Alerts => "alerts",
        Group::Logs => "logs",
    }
}

/// What a check found: one line where it is fine; else with what was seen and what to do next.
pub(crate) fn check(outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![marked(2, outcome.verdict, &outcome.name, &figure(outcome))];
    let passed = outcome.verdict == Verdict::Pass;
    if let Some(found) = outcome.table.as_ref().filter(|_| !passed) {
        lines.extend(table(6, &found.columns, &found.rows[..found.rows.len().min(MOST)]));
        lines.extend(more(found.rows.len(), "row"));
    }
    lines.extend(outcome.notes.iter().take(MOST).flat_map(|note| paragraph(6, note)));
    lines.extend(more(outcome.notes.len(), "note"));
    if let Some(next) = outcome.hint.as_ref().filter(|_| !passed) {
        lines.extend(hint(4, next));
    }
    lines
}

/// More rows, and more notes, of one check are for machines.
const MOST: usize = 25;

fn more(number: usize, what: &str) -> Vec<String> {
    match number.saturating_sub(MOST) {
        0 => Vec::new(),
        left => paragraph(6, &format!("… {} more: -o json", counted(left as u64, what))),
    }
}

/// What a check found, for other formats: its lines without colours, from the left edge.
pub(super) fn details(outcome: &Outcome) -> String {
    let screen = plain(&check(outcome).join("\n"));
    screen.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The figure at the end of a check's line says so where nothing was seen.
pub(super) fn figure(outcome: &Outcome) -> String {
    match (outcome.verdict, outcome.message.as_str()) {
        (Verdict::NoData, "") => "no data".into(),
        (Verdict::Skipped, "") => "skipped".into(),
        (Verdict::NoData, message) if !message.starts_with("no data") => format!("no data: {message}"),
        (Verdict::Skipped, message) if !message.starts_with("skipped") => format!("skipped: {message}"),
        (_, message) => message.to_owned(),
    }
}

/// What ended the run early, what else one must know, and the verdict.
fn end(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(error) = &report.error {
        let what = match report.state {
            State::Interrupted => "the run was asked to end",
            _ => "the run could not go on",
        };
        lines.push(String::new());
        lines.push(marked(0, Verdict::Fail, what, ""));
        lines.extend(error.lines().flat_map(|line| paragraph(2, line)));
    }
    lines.extend(verdict(report));
    lines
}

/// The notes and the verdict, after an empty line.
pub(super) fn verdict(report: &Report) -> Vec<String> {
    let mut lines = vec![String::new()];
    for note in &report.notes {
        lines.push(notice(0, note, ""));
    }
    let word = verdict_word(report);
    let mut parts = vec![word.to_owned(), checks(report)];
    parts.extend(report.requests.unanswered());
    if report.exit == 0 {
        parts.push(duration(report.seconds));
    } else {
        parts.push(format!("exit {}", report.exit));
    }
    let left = parts.join(" · ");
    let right = format!("run {} · sre report", one_line(&report.run));
    let coloured = |line: String| match report.verdict {
        RunVerdict::Pass => line.replacen(word, &word.green().bold().to_string(), 1),
        RunVerdict::Fail => line.replacen(word, &word.red().bold().to_string(), 1),
        _ => line.replacen(word, &word.yellow().bold().to_string(), 1),
    };
    if fits(&left, &right, WIDTH) {
        lines.push(coloured(spread(&left, &right, WIDTH)));
    } else {
        lines.push(coloured(left));
        lines.push(spread("", &right, WIDTH));
    }
    lines
}

/// The verdict in a word; a run that did not come to its end has none.
pub(super) fn verdict_word(report: &Report) -> &'static str {
    match (report.state, report.verdict) {
        (State::Interrupted, _) => "INTERRUPTED",
        (State::Failed | State::Unfinished, _) => "NOT FINISHED",
        (State::Finished, RunVerdict::Pass) => "PASS",
        (State::Finished, RunVerdict::Fail) => "FAIL",
        (State::Finished, RunVerdict::NoData) => "NO DATA",
        (State::Finished, RunVerdict::Overloaded) => "OVERLOADED",
    }
}

/// How many checks there were, and what they found: `8 checks: 5 passed, 1 failed, 2 without data`.
pub(super) fn checks(report: &Report) -> String {
    let all = counted(report.checks.len() as u64, "check");
    let found: Vec<String> = [
        (Verdict::Pass, "passed"),
        (Verdict::Fail, "failed"),
        (Verdict::NoData, "without data"),
        (Verdict::Skipped, "skipped"),
    ]
    .into_iter()
    .map(|(verdict, word)| (report.count(verdict), word))
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    match report.count(Verdict::Pass) {
        0 if report.checks.is_empty() => "nothing was checked".into(),
        passed if passed == report.checks.len() => all,
        _ => format!("{all}: {}", found.join(", ")),
    }
}
