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

/// So many lines are given at once, unless a test wants less.
const AT_ONCE: usize = 5000;

/// What keeps lines, and what ships them: these programs, else `sre` itself.
#[derive(Default)]
struct Programs {
    loki: Option<PathBuf>,
    collector: Option<PathBuf>,
}

/// Has each of these told to `sre`'s own log store and shipper, and to the real programs, where they are.
macro_rules! told_to_each {
    ($($name:ident)*) => {
        mod sre_alone {
            $(#[test] fn $name() { super::$name(&super::Programs::default()) })*
        }
        mod a_collector {
            $(#[test] fn $name() {
                let Some(collector) = super::needs::collector() else { return };
                super::$name(&super::Programs { loki: None, collector: Some(collector) })
            })*
        }
        mod a_collector_and_loki {
            $(#[test] fn $name() {
                let Some((loki, collector)) = super::needs::loki_and_collector() else { return };
                super::$name(&super::Programs { loki: Some(loki), collector: Some(collector) })
            })*
        }
    };
}

told_to_each! {
    an_honest_log_passes
    more_lines_than_are_given_at_once_are_read_in_pages_although_they_share_their_times
    more_lines_of_one_time_than_are_given_at_once_are_no_data
    one_of_10_that_is_not_written_is_lost
    lines_that_the_service_gave_up_fail_and_its_counter_is_named
    one_of_10_that_is_written_twice_fails
    another_status_than_was_answered_fails
    a_line_of_a_request_that_nobody_sent_fails
    a_shipper_that_ends_in_the_middle_hides_lines
    what_is_written_while_no_shipper_runs_is_lost_by_one_that_begins_at_the_end
    what_two_shippers_ship_is_there_twice
    what_a_shipper_ships_that_is_started_afterwards_is_late
    a_store_that_is_gone_is_no_data
    labels_that_select_nothing_are_no_data_and_those_that_there_are_are_named
}

/// A logging liar with a lab around it, and its log.
fn lab(programs: &Programs, lie: LogLie, at_once: usize) -> (Liar, Lab, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("liar.log");
    std::fs::write(&log, "").expect("a file");
    let liar = Liar::logging(log.clone(), lie);
    let lab = Lab::new(&[&liar]).with_store(programs.loki.as_deref(), at_once).start(None);
    lab.scenario(LOAD, CHECKS);
    (liar, lab, log, folder)
}

/// What became of a service that lies so, with an honest shipper.
fn judged(programs: &Programs, lie: LogLie, at_once: usize) -> Verdict {
    let (_liar, mut lab, log, _folder) = lab(programs, lie, at_once);
    lab.ship("shipper", programs.collector.as_deref(), &log, "beginning");
    lab.verdict()
}

fn evidence(verdict: &Verdict) -> &Value {
    let checks = verdict.json["checks"].as_array().expect("checks");
    &checks.iter().find(|check| check["kind"] == "logs").expect("the check")["evidence"]
}

fn an_honest_log_passes(programs: &Programs) {
    let verdict = judged(programs, LogLie::None, AT_ONCE);
    verdict.is(0, "pass", "every error is logged");
    let evidence = evidence(&verdict);
    assert!(evidence["expected"].as_u64().is_some_and(|expected| expected > 30), "{evidence}");
    assert_eq!((&evidence["logged"], &evidence["lines"]), (&evidence["expected"], &evidence["expected"]));
}

fn more_lines_than_are_given_at_once_are_read_in_pages_although_they_share_their_times(programs: &Programs) {
    // Some ten errors a second, all with the same time.
    let verdict = judged(programs, LogLie::Coarse, 25);
    verdict.is(0, "pass", "every error is logged");
    assert!(evidence(&verdict)["lines"].as_u64().is_some_and(|lines| lines > 25), "{verdict:#?}");
}

fn more_lines_of_one_time_than_are_given_at_once_are_no_data(programs: &Programs) {
    let verdict = judged(programs, LogLie::Coarse, 4);
    verdict.is(3, "no-data", "more lines of one time than it gives at once");
}

fn one_of_10_that_is_not_written_is_lost(programs: &Programs) {
    let verdict = judged(programs, LogLie::Skips(10), AT_ONCE);
    verdict.is(1, "fail", "lost");
    let evidence = evidence(&verdict);
    assert!(evidence["missing"].as_u64().is_some_and(|missing| missing >= 3), "{evidence}");
    assert_eq!(evidence["late"], 0, "{evidence}");
}

fn lines_that_the_service_gave_up_fail_and_its_counter_is_named(programs: &Programs) {
    let verdict = judged(programs, LogLie::GivesUp(10), AT_ONCE);
    verdict.is(1, "fail", "(lines_lost_total)");
    assert_eq!(evidence(&verdict)["given_up"], evidence(&verdict)["missing"]);
}

fn one_of_10_that_is_written_twice_fails(programs: &Programs) {
    let verdict = judged(programs, LogLie::Repeats(10), AT_ONCE);
    verdict.is(1, "fail", "in other words: the service wrote more than one line");
}

fn another_status_than_was_answered_fails(programs: &Programs) {
    let verdict = judged(programs, LogLie::OtherStatus(10), AT_ONCE);
    verdict.is(1, "fail", "500 was answered, 503 is logged");
}

fn a_line_of_a_request_that_nobody_sent_fails(programs: &Programs) {
    let verdict = judged(programs, LogLie::Invents(10), AT_ONCE);
    verdict.is(1, "fail", "of a request that was not answered so");
}

fn a_shipper_that_ends_in_the_middle_hides_lines(programs: &Programs) {
    let (liar, mut lab, log, _folder) = lab(programs, LogLie::None, AT_ONCE);
    lab.ship("shipper", programs.collector.as_deref(), &log, "beginning");
    let run = lab.run();
    until("half of the load", || liar.requests() > 150);
    lab.kill("shipper");
    verdict(run).is(3, "no-data", "does the log collector run?");
}

fn what_is_written_while_no_shipper_runs_is_lost_by_one_that_begins_at_the_end(programs: &Programs) {
    let (liar, mut lab, log, _folder) = lab(programs, LogLie::None, AT_ONCE);
    // Long enough that the second one starts well before its end.
    lab.scenario("phases: [{duration: 15s, rate: 50/s}]", CHECKS);
    lab.ship("shipper", programs.collector.as_deref(), &log, "beginning");
    let run = lab.run();
    until("some of the load", || liar.requests() > 100);
    lab.kill("shipper");
    until("some more of it", || liar.requests() > 160);
    lab.ship("shipper", programs.collector.as_deref(), &log, "end");
    // The shipper of `sre` has noted how far it was, and goes on there.
    match programs.collector {
        Some(_) => verdict(run).is(1, "fail", "lost"),
        None => verdict(run).is(0, "pass", "every error is logged"),
    }
}

fn what_two_shippers_ship_is_there_twice(programs: &Programs) {
    let (_liar, mut lab, log, _folder) = lab(programs, LogLie::None, AT_ONCE);
    lab.ship("one", programs.collector.as_deref(), &log, "beginning");
    lab.ship("other", programs.collector.as_deref(), &log, "beginning");
    lab.verdict().is(1, "fail", "word for word: written once, shipped more than once");
}

fn what_a_shipper_ships_that_is_started_afterwards_is_late(programs: &Programs) {
    let (_liar, mut lab, log, _folder) = lab(programs, LogLie::None, AT_ONCE);
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
    lab.ship("shipper", programs.collector.as_deref(), &log, "beginning");
    let verdict = verdict(run);
    verdict.is(1, "fail", "late: not there");
    assert_eq!((&evidence(&verdict)["lost"], &evidence(&verdict)["missing"]), (&json!(0), &json!(0)));
}

fn a_store_that_is_gone_is_no_data(programs: &Programs) {
    let (liar, mut lab, log, _folder) = lab(programs, LogLie::None, AT_ONCE);
    lab.ship("shipper", programs.collector.as_deref(), &log, "beginning");
    let run = lab.run();
    until("half of the load", || liar.requests() > 150);
    lab.kill("loki");
    verdict(run).is(3, "no-data", "the log store does not answer");
}

fn labels_that_select_nothing_are_no_data_and_those_that_there_are_are_named(programs: &Programs) {
    let (_liar, mut lab, log, _folder) = lab(programs, LogLie::None, AT_ONCE);
    lab.rewrite("stacks/liar/stack.yaml", "service_name=\"liar\"", "service_name=\"lyre\"");
    lab.ship("shipper", programs.collector.as_deref(), &log, "beginning");
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
        "The log store has nothing of",
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
