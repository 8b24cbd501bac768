//! The report as Markdown, for a merge request, an issue or a job's summary.

use super::model::Report;
use super::text::{checks, details, figure, group_name, verdict_word, versions};
use crate::check::{Outcome, Verdict};
use crate::figures::{NOTHING, count, duration, latency};
use crate::foreign::{one_line, visible};
use crate::load::{RequestSummary, answered};

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut parts = vec![format!("## {}: {}", cell(&report.scenario), verdict_word(report))];
    parts.push(format!(
        "{}{} · {} · exit {} · {} on {} · run {}",
        checks(report),
        report.requests.unanswered().map_or(String::new(), |told| format!(" · **{}**", cell(&told))),
        duration(report.seconds),
        report.exit,
        cell(&report.stack),
        report.target,
        code(&report.run)
    ));
    if let Some(error) = &report.error {
        parts.push(fenced(error));
    }
    if !report.notes.is_empty() {
        parts
            .push(report.notes.iter().map(|note| format!("> {}", cell(note))).collect::<Vec<_>>().join("\n"));
    }
    parts.push(counts(report));
    parts.extend(load(report));
    if !report.checks.is_empty() {
        let row = |check: &&Outcome| {
            [
                mark(check.verdict).into(),
                group_name(check.group).into(),
                cell(&check.name),
                cell(&figure(check)),
            ]
        };
        let rows = report.sorted_checks();
        parts.push(table(&["", "group", "check", ""], "llll", rows.iter().map(row)));
    }
    for outcome in report.sorted_checks().into_iter().filter(|check| check.verdict != Verdict::Pass) {
        parts.push(format!("### {} {}", mark(outcome.verdict), cell(&outcome.name)));
        parts.push(fenced(&details(outcome)));
    }
    parts.push(format!(
        "<sub>started {} · seed {} · {}</sub>",
        report.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        report.seed,
        cell(&versions(report).join(" · "))
    ));
    parts.join("\n\n") + "\n"
}

fn counts(report: &Report) -> String {
    let known = |number: Option<u64>| number.map_or(NOTHING.into(), count);
    let time = |time: Option<f64>| time.map_or(NOTHING.into(), latency);
    let (requests, times) = (report.requests, report.latency_ms);
    table(
        &["sent", "counted", "unknown", "p50", "p90", "p99", "max"],
        "rrrrrrr",
        [[
            known(requests.sent),
            known(requests.counted),
            known(requests.unknown),
            time(times.p50),
            time(times.p90),
            time(times.p99),
            time(times.max),
        ]]
        .into_iter(),
    )
}

fn load(report: &Report) -> Option<String> {
    let summary = report.summary()?;
    let row = |(name, request): (&String, &RequestSummary)| {
        let times = request.times.since_due;
        let time = |ms| if times.count > 0 { latency(ms) } else { NOTHING.into() };
        [
            cell(name),
            count(request.sent),
            time(times.p50),
            time(times.p99),
            count(request.class(2)),
            count(request.class(4)),
            count(request.class(5)),
            count(request.unexpected + request.unknown + request.not_sent),
        ]
    };
    let header = ["request", "sent", "p50", "p99", "2xx", "4xx", "5xx", "errors"];
    let requests = table(&header, "lrrrrrrr", summary.requests.iter().map(row));
    let Some(failures) = answered::table(&answered::failures(summary)) else { return Some(requests) };
    let row = |row: &Vec<String>| [cell(&row[0]), cell(&row[1]), cell(&row[2])];
    let failures = table(&["errors", "reason", "requests"], "llr", failures.rows.iter().map(row));
    Some(format!("{requests}\n\n{failures}"))
}

pub(super) fn table<const N: usize>(
    header: &[&str; N],
    alignment: &str,
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rule = alignment.chars().map(|side| if side == 'r' { "---:" } else { "---" }).collect::<Vec<_>>();
    let mut lines = vec![format!("| {} |", header.join(" | ")), format!("| {} |", rule.join(" | "))];
    lines.extend(rows.map(|row| format!("| {} |", row.join(" | "))));
    lines.join("\n")
}

/// Text that stays text, in its cell: it cannot become a link, an image, a mention or a reference, which those who
/// show a merge request make of more than Markdown has.
pub(super) fn cell(text: &str) -> String {
    let text = one_line(text);
    if is_live(&text) {
        return code(&text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    // At the beginning of a line it would be a heading, a list or a rule.
    let (first, second) = (text.chars().next(), text.chars().nth(1));
    if first.is_some_and(|c| "#+-=".contains(c)) && second.is_none_or(|c| c == ' ' || Some(c) == first) {
        clean.push('\\');
    }
    let mut before = ' ';
    while let Some(c) = letters.next() {
        let in_word = before.is_alphanumeric() && letters.peek().is_some_and(|next| next.is_alphanumeric());
        before = c;
        match c {
            // Within a word it has no meaning.
            '_' if in_word => clean.push(c),
            '<' => clean.push_str("&lt;"),
            '&' => clean.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' => clean.extend(['\\', c]),
            c => clean.push(c),
        }
    }
    clean
}

/// Whether something in a text would be made a link of: an address, or a sign that refers to somebody or something.
fn is_live(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let addresses = ["://", "www.", "mailto:", "xmpp:"];
    let refers = |(at, sign): (usize, char)| {
        let after = text[at + sign.len_utf8()..].chars().next();
        match sign {
            '@' => true,
            '#' | '!' | '~' | '$' | '%' | '&' => {
                after.is_some_and(|c| c.is_alphanumeric() || "\"_".contains(c))
            }
            // A picture by its name.
            ':' => {
                after.is_some_and(|c| c.is_alphabetic() || "+-".contains(c)) && lower[at + 1..].contains(':')
            }
            _ => false,
        }
    };
    addresses.iter().any(|address| lower.contains(address)) || text.char_indices().any(refers)
}

/// Text as code, in which nothing has a meaning; also in a cell.
fn code(text: &str) -> String {
    let text = one_line(text);
    if text.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(&text) + 1);
    // A space at both ends, where one of them is a fence's own sign.
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('|', "\\|"))
}

/// How many backticks stand beside each other at the most.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// A block that its text cannot end.
fn fenced(text: &str) -> String {
    let text = visible(text);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✔",
        Verdict::Fail => "✘",
        Verdict::NoData => "?",
        Verdict::Skipped => "–",
    }
}
