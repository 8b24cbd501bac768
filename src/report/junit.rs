//! The report as JUnit XML, for what shows test results: a suite a group of checks, a case a check.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::model::{Report, RunVerdict, State};
use super::text::{checks, details, figure, group_name, verdict_word};
use crate::check::{Outcome, Verdict};
use crate::error::{Error, Result};
use crate::foreign::visible;

/// The report as JUnit XML: `fail` is a failure, `no-data` an error, `skipped` is skipped.
pub fn junit(report: &Report) -> Result<String> {
    let mut suites: Vec<(String, TestSuite)> = Vec::new();
    let mut add = |group: &str, mut case: TestCase| {
        let name = format!("{}.{group}", report.scenario);
        case.set_classname(name.as_str());
        let at = suites.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            suites.push((name.clone(), TestSuite::new(name.as_str())));
            suites.len() - 1
        });
        suites[at].1.add_test_case(case);
    };
    for outcome in report.sorted_checks() {
        add(group_name(outcome.group), case(outcome));
    }
    // What no check tells must not look green.
    let untold = report.verdict != RunVerdict::Pass && report.count(Verdict::Pass) == report.checks.len();
    if untold || report.state != State::Finished {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(format!("{}: {}", verdict_word(report), checks(report)));
        status.set_type(verdict_word(report).to_lowercase());
        let overload = report.summary().and_then(|summary| summary.overload.as_ref());
        let why = report.error.iter().chain(&report.notes).chain(overload.map(|overload| &overload.reason));
        status.set_description(why.map(String::as_str).collect::<Vec<_>>().join("\n"));
        add("run", TestCase::new("the run was carried out and judged", status));
    }

    let mut document = quick_junit::Report::new(format!("sre {}", report.scenario));
    document.set_time(seconds(report.seconds));
    for (_, mut suite) in suites {
        suite.add_property(("run", report.run.as_str()));
        suite.add_property(("stack", report.stack.as_str()));
        suite.add_property(("target", report.target.to_string().as_str()));
        suite.add_property(("started", report.started.to_string().as_str()));
        if let Some(unanswered) = report.requests.unanswered() {
            suite.add_property(("unanswered", unanswered.as_str()));
        }
        for (request, reason, count) in failures(report) {
            suite.add_property((format!("failed.{request}.{reason}").as_str(), count.to_string().as_str()));
        }
        suite.set_time(suite.test_cases.iter().filter_map(|case| case.time).sum());
        document.add_test_suite(suite);
    }
    let xml = document.to_string();
    let xml = xml.map_err(|e| Error::target("the report cannot be written as JUnit XML").because(e))?;
    // What XML must not have is left out by now; what it may have and a reader obeys becomes visible.
    Ok(visible(&xml).into_owned())
}

/// Every failure by request name and reason, and how many there were.
fn failures(report: &Report) -> impl Iterator<Item = (&str, &str, u64)> {
    report.failures.iter().flat_map(|(request, reasons)| {
        reasons.iter().map(move |(reason, count)| (request.as_str(), reason.as_str(), *count))
    })
}

fn case(outcome: &Outcome) -> TestCase {
    let mut status = match outcome.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::NoData => TestCaseStatus::non_success(NonSuccessKind::Error),
        Verdict::Skipped => TestCaseStatus::skipped(),
    };
    if outcome.verdict != Verdict::Pass {
        status.set_message(figure(outcome));
        status.set_description(details(outcome));
    }
    match outcome.verdict {
        Verdict::Fail => _ = status.set_type("fail"),
        Verdict::NoData => _ = status.set_type("no-data"),
        Verdict::Pass | Verdict::Skipped => {}
    }
    let mut case = TestCase::new(outcome.name.as_str(), status);
    // Elsewhere the figure is the message.
    if outcome.verdict == Verdict::Pass && !outcome.message.is_empty() {
        case.set_system_out(figure(outcome));
    }
    case.set_time(seconds(outcome.seconds));
    case
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
