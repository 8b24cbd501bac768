//! Lies about log lines: a service that does not write what it should, and what can become of lines on their way.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::lab::{Lab, Verdict, until, verdict};
use crate::liar::{Liar, LogLie};
use crate::needs;
use crate::serve::serve;

/// 300 requests in 6 s, a fifth of them errors.
const LOAD: &str = "phases: [{duration: 6s, rate: 50/s}]";
const CHECKS: &str = "[{logs: {wait: 8s}}]";

/// Loki gives so many lines at once, unless a test wants less.
const AT_ONCE: usize = 5000;

struct Programs {
    loki: PathBuf,
    collector: PathBuf,
}

/// The real programs, where they are found.
fn programs() -> Option<Programs> {
    needs::loki_and_collector().map(|(loki, collector)| Programs { loki, collector })
}

/// A logging liar with a lab around it, and its log.
fn lab(programs: &Programs, lie: LogLie, at_once: usize) -> (Liar, Lab, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("liar.log");
    std::fs::write(&log, "").expect("a file");
    let liar = Liar::logging(log.clone(), lie);
    let lab = Lab::new(&[&liar]).with_loki(&programs.loki, at_once).start(None);
    lab.scenario(LOAD, CHECKS);
    (liar, lab, log, folder)
}

/// What became of a service that lies so, with an honest collector.
fn judged(lie: LogLie, at_once: usize) -> Option<Verdict> {
    let programs = programs()?;
    let (_liar, mut lab, log, _folder) = lab(&programs, lie, at_once);
    lab.collect("collector", &programs.collector, &log, "beginning");
    Some(lab.verdict())
}

fn evidence(verdict: &Verdict) -> &Value {
    let checks = verdict.json["checks"].as_array().expect("checks");
    &checks.iter().find(|check| check["kind"] == "logs").expect("the check")["evidence"]
}

#[test]
fn an_honest_log_passes() {
    let Some(verdict) = judged(LogLie::None, AT_ONCE) else { return };
    verdict.is(0, "pass", "every error is logged");
    let evidence = evidence(&verdict);
    assert!(evidence["expected"].as_u64().is_some_and(|expected| expected > 30), "{evidence}");
    assert_eq!((&evidence["logged"], &evidence["lines"]), (&evidence["expected"], &evidence["expected"]));
}

#[test]
fn more_lines_than_loki_gives_at_once_are_read_in_pages_although_they_share_their_times() {
    // Some ten errors a second, all with the same time.
    let Some(verdict) = judged(LogLie::Coarse, 25) else { return };
    verdict.is(0, "pass", "every error is logged");
    assert!(evidence(&verdict)["lines"].as_u64().is_some_and(|lines| lines > 25), "{verdict:#?}");
}

#[test]
fn more_lines_of_one_time_than_loki_gives_at_once_are_no_data() {
    let Some(verdict) = judged(LogLie::Coarse, 4) else { return };
    verdict.is(3, "no-data", "more lines of one time than it gives at once");
}

#[test]
fn one_of_10_that_is_not_written_is_lost() {
    let Some(verdict) = judged(LogLie::Skips(10), AT_ONCE) else { return };
    verdict.is(1, "fail", "lost");
    let evidence = evidence(&verdict);
    assert!(evidence["missing"].as_u64().is_some_and(|missing| missing >= 3), "{evidence}");
    assert_eq!(evidence["late"], 0, "{evidence}");
}

#[test]
fn lines_that_the_service_gave_up_fail_and_its_counter_is_named() {
    let Some(verdict) = judged(LogLie::GivesUp(10), AT_ONCE) else { return };
    verdict.is(1, "fail", "(lines_lost_total)");
    assert_eq!(evidence(&verdict)["given_up"], evidence(&verdict)["missing"]);
}

#[test]
fn one_of_10_that_is_written_twice_fails() {
    let Some(verdict) = judged(LogLie::Repeats(10), AT_ONCE) else { return };
    verdict.is(1, "fail", "in other words: the service wrote more than one line");
}

#[test]
fn another_status_than_was_answered_fails() {
    let Some(verdict) = judged(LogLie::OtherStatus(10), AT_ONCE) else { return };
    verdict.is(1, "fail", "500 was answered, 503 is logged");
}

#[test]
fn a_line_of_a_request_that_nobody_sent_fails() {
    let Some(verdict) = judged(LogLie::Invents(10), AT_ONCE) else { return };
    verdict.is(1, "fail", "of a request that was not answered so");
}

#[test]
fn a_collector_that_ends_in_the_middle_hides_lines() {
    let Some(programs) = programs() else { return };
    let (liar, mut lab, log, _folder) = lab(&programs, LogLie::None, AT_ONCE);
    lab.collect("collector", &programs.collector, &log, "beginning");
    let run = lab.run();
    until("half of the load", || liar.requests() > 150);
    lab.kill("collector");
    verdict(run).is(3, "no-data", "does the collector run?");
}

#[test]
fn what_was_written_between_two_collectors_is_lost() {
    let Some(programs) = programs() else { return };
    let (liar, mut lab, log, _folder) = lab(&programs, LogLie::None, AT_ONCE);
    // Long enough that the second one starts well before its end.
    lab.scenario("phases: [{duration: 15s, rate: 50/s}]", CHECKS);
    lab.collect("collector", &programs.collector, &log, "beginning");
    let run = lab.run();
    until("some of the load", || liar.requests() > 100);
    lab.kill("collector");
    until("some more of it", || liar.requests() > 160);
    lab.collect("collector", &programs.collector, &log, "end");
    let verdict = verdict(run);
    verdict.is(1, "fail", "lost");
}

#[test]
fn what_two_collectors_ship_is_there_twice() {
    let Some(programs) = programs() else { return };
    let (_liar, mut lab, log, _folder) = lab(&programs, LogLie::None, AT_ONCE);
    lab.collect("one", &programs.collector, &log, "beginning");
    lab.collect("other", &programs.collector, &log, "beginning");
    lab.verdict().is(1, "fail", "word for word: written once, shipped more than once");
}

#[test]
fn what_a_collector_ships_that_is_started_afterwards_is_late() {
    let Some(programs) = programs() else { return };
    let (_liar, mut lab, log, _folder) = lab(&programs, LogLie::None, AT_ONCE);
    lab.scenario(LOAD, "[{logs: {wait: 3s}}]");
    let run = lab.run();
    // The load's end is told by its event, and then the bound has to be over.
    let runs = lab.path(".sre/runs");
    until("the load's end", || {
        let logs = std::fs::read_dir(&runs).into_iter().flatten().flatten().map(|run| run.path());
        logs.filter_map(|run| std::fs::read_to_string(run.join("events.ndjson")).ok())
            .any(|events| events.contains("load-finished"))
    });
    let ended = std::time::Instant::now();
    until("the bound", || ended.elapsed() > std::time::Duration::from_secs(5));
    lab.collect("collector", &programs.collector, &log, "beginning");
    let verdict = verdict(run);
    verdict.is(1, "fail", "late: not there");
    assert_eq!((&evidence(&verdict)["lost"], &evidence(&verdict)["missing"]), (&json!(0), &json!(0)));
}

#[test]
fn a_loki_that_is_gone_is_no_data() {
    let Some(programs) = programs() else { return };
    let (liar, mut lab, log, _folder) = lab(&programs, LogLie::None, AT_ONCE);
    lab.collect("collector", &programs.collector, &log, "beginning");
    let run = lab.run();
    until("half of the load", || liar.requests() > 150);
    lab.kill("loki");
    verdict(run).is(3, "no-data", "Loki does not answer");
}

#[test]
fn labels_that_select_nothing_are_no_data_and_those_that_there_are_are_named() {
    let Some(programs) = programs() else { return };
    let (_liar, mut lab, log, _folder) = lab(&programs, LogLie::None, AT_ONCE);
    lab.rewrite("stacks/liar/stack.yaml", "service_name=\"liar\"", "service_name=\"lyre\"");
    lab.collect("collector", &programs.collector, &log, "beginning");
    lab.verdict().is(3, "no-data", "service_name is liar");
}

/// What no real Loki can be made to do: doubles, each of which answers every question in one way.
fn judged_by(answer: &'static str) -> Verdict {
    let folder = tempfile::tempdir().expect("a folder");
    let liar = Liar::logging(folder.path().join("liar.log"), LogLie::None);
    let double = serve(axum::Router::new().fallback(move || async move { answer }));
    let lab = Lab::new(&[&liar]).with_loki_at(double.address).start(None);
    lab.scenario(LOAD, "[{logs: {wait: 1s}}]");
    lab.verdict()
}

#[test]
fn a_loki_that_has_nothing_is_no_data() {
    judged_by(r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#).is(
        3,
        "no-data",
        "Loki has nothing of",
    );
}

#[test]
fn answers_that_are_no_lines_are_no_data() {
    judged_by("<html>log in first</html>").is(3, "no-data", "gave an answer that is not understood");
    judged_by(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#).is(
        3,
        "no-data",
        "gives numbers, not lines",
    );
}
