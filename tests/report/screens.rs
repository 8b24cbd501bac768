//! Every screen, as people see it without colours.

use std::io::Write;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use sre::report::compare::{self, Comparison};
use sre::report::terminal::Live;
use sre::report::{Report, runs};
use sre::run::{EventKind, Reporter};

use crate::fixture::*;

/// The screen without colours; no line of it is wider than 80 columns.
fn plain(screen: &str) -> String {
    let plain = anstream::adapter::strip_str(screen).to_string();
    for line in plain.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    plain
}

fn text(run: Run) -> String {
    plain(&sre::report::text(&run.report()))
}

#[test]
fn text_of_a_pass() {
    insta::assert_snapshot!(text(pass()));
}

#[test]
fn text_of_a_fail() {
    insta::assert_snapshot!(text(fail()));
}

#[test]
fn text_of_no_data() {
    insta::assert_snapshot!(text(Run::errors().loaded(load()).verified([targets(), no_rule()], 3)));
}

#[test]
fn text_of_an_overloaded_run() {
    insta::assert_snapshot!(text(
        Run::errors().loaded(overloaded_load()).verified([skipped(), counted()], 4)
    ));
}

#[test]
fn text_of_an_interrupted_run() {
    let mut early = load();
    early.interrupted = true;
    early.seconds = 12.3;
    early.total.sent = 2_460;
    let run = Run::errors().load_started().seconds(12).load_finished(early);
    insta::assert_snapshot!(text(run.failed("interrupted (Ctrl-C), after cleaning up", 130)));
}

#[test]
fn text_of_a_failed_run() {
    let error = "Prometheus did not answer on http://127.0.0.1:9090\n  because: connection refused\n  → sre logs prometheus";
    insta::assert_snapshot!(text(Run::errors().failed(error, 6)));
}

#[test]
fn text_of_a_load_with_phases_faults_and_lost_requests() {
    let failed =
        EventKind::FaultFailed { fault: fault("2", "kill users-api-1"), error: "no such process".into() };
    let run =
        Run::errors().load_started().seconds(10).fault("1", "latency 2s on users-api-0", 20.0).event(failed);
    let mut load = rough_load();
    let (echo, many) = (load.requests["echo"].clone(), [(200, 1_234_567), (301, 12), (500, 1_234_567)]);
    load.requests
        .insert("a-name-that-is-longer-than-most".into(), request(&many, [123.0, 234.0, 345.0, 456.0]));
    load.total.statuses.insert(301, 12);
    load.requests.insert("none".into(), sre::load::RequestSummary { times: Default::default(), ..echo });
    insta::assert_snapshot!(text(run.load_finished(load).verified([targets(), counted()], 0)));
}

#[test]
fn text_of_checks_whose_words_do_not_fit() {
    let mut long = targets();
    long.name =
        "sum(rate(app_request_count_total{endpoint=\"/api/users\"}[30s])) by (endpoint) is > 0".into();
    long.message = "5.5 on 127.0.0.1:41005, where 200 was asked".into();
    insta::assert_snapshot!(text(Run::errors().verified([long], 0)));
}

/// Into this, a screen is written.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        plain(&String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text"))
    }
}

/// What goes to stdout and to stderr while a run goes on without a terminal.
fn live(run: &Run, quiet: bool) -> (String, String) {
    let (screen, progress) = (Screen::default(), Screen::default());
    let mut live = Live::plain(screen.clone(), progress.clone(), quiet);
    for event in &run.events {
        live.event(event).expect("a screen");
    }
    (screen.text(), progress.text())
}

fn waiting(run: Run, seconds: f64) -> Run {
    let message = format!("waiting for a scrape after the last answer ({seconds} s of 30 s)");
    run.wait(1.0).event(EventKind::CheckWaiting { name: "every request is counted".into(), message })
}

#[test]
fn live_pass() {
    let (screen, progress) = live(&pass(), false);
    insta::assert_snapshot!("live_pass_screen", screen);
    insta::assert_snapshot!("live_pass_progress", progress);
}

#[test]
fn live_fail_shows_what_it_waits_for() {
    let mut run = Run::errors().loaded(load()).event(EventKind::VerifyStarted);
    for second in 1..=12 {
        run = waiting(run, second.into());
    }
    let (screen, progress) = live(&run.judged([targets(), short_count(), no_rule()], 1), false);
    insta::assert_snapshot!("live_fail_screen", screen);
    insta::assert_snapshot!("live_fail_progress", progress);
}

#[test]
fn live_faults() {
    let run = Run::errors().load_started().seconds(3).fault("1", "latency 2s on users-api-0", 5.0);
    let failed =
        EventKind::FaultFailed { fault: fault("2", "kill users-api-1"), error: "no such process".into() };
    insta::assert_snapshot!(live(&run.event(failed), false).0);
}

#[test]
fn live_interrupted() {
    let run = Run::errors().load_started().seconds(7).failed("interrupted (Ctrl-C), after cleaning up", 130);
    insta::assert_snapshot!(live(&run, false).0);
}

#[test]
fn live_quiet_is_the_verdict_and_what_is_wrong() {
    let (screen, progress) = live(&pass(), true);
    assert_eq!(screen.lines().count(), 1, "{screen}");
    assert_eq!(progress, "");
    insta::assert_snapshot!(live(&fail(), true).0);
}

#[test]
fn live_verify_again_shows_only_the_verdict() {
    let before = fail();
    let again = before.clone().verified([targets(), counted()], 0);
    let screen = Screen::default();
    let mut live = Live::plain(screen.clone(), Screen::default(), false).after(&before.events);
    for event in &again.events[before.events.len()..] {
        live.event(event).expect("a screen");
    }
    insta::assert_snapshot!(screen.text());
}

#[test]
fn compare_two_runs() {
    let mut slower = load();
    slower.requests["list-users"] = request(&[(200, 5_880), (500, 120)], [1.4, 2.0, 9.1, 45.0]);
    slower.requests["echo"].unexpected = 12;
    slower.requests.shift_remove("wrong-method");
    slower.requests.insert("bad-body".into(), request(&[(422, 500)], [0.6, 0.9, 1.9, 6.0]));
    slower.total.times.since_due.p99 = 9.0;
    let mut after = Run::started("20261122-071500-errors");
    let EventKind::RunStarted(head) = &mut after.events[0].kind else { panic!("no run-started") };
    head.versions.insert("prometheus".into(), "2.42.0".into());
    head.versions.shift_remove("alertmanager");
    let after = after.loaded(slower).verified([targets(), short_count()], 1);
    let comparison = Comparison::of(&pass().report(), &after.report());
    insta::assert_snapshot!("compare_text", plain(&compare::text(&comparison)));
    insta::assert_json_snapshot!("compare_json", comparison);
}

#[test]
fn compare_a_run_with_itself() {
    let report = pass().report();
    insta::assert_snapshot!(plain(&compare::text(&Comparison::of(&report, &report))));
}

#[test]
fn the_list_of_runs() {
    let state = tempfile::tempdir().expect("a folder");
    let broken = pass().write(state.path());
    let named = |id: &str| Run::started(id);
    std::fs::rename(broken.path(), state.path().join("runs/20261120-000000-errors")).expect("another id");
    std::fs::write(state.path().join("runs/20261120-000000-errors/events.ndjson"), "{")
        .expect("a broken log");
    named("20261121-064012-errors").loaded(load()).verified([counted()], 0).write(state.path());
    named("20261121-064112-errors").loaded(load()).verified([short_count()], 1).write(state.path());
    named("20261121-064212-errors").loaded(overloaded_load()).verified([skipped()], 4).write(state.path());
    named("20261121-064312-errors").load_started().failed("interrupted", 130).write(state.path());
    let running = named("20261121-064412-errors").load_started().write(state.path());
    let _log = running.log().expect("it goes on");
    let folders = sre::run::RunFolder::list(state.path()).expect("runs");
    let mut rows: Vec<_> = folders.iter().map(runs::Row::of).collect();
    let now: Timestamp = "2026-11-21T06:44:30Z".parse().expect("a time");
    insta::assert_snapshot!("runs_text", plain(&runs::text(&rows, now)));
    for error in rows.iter_mut().filter_map(|row| row.error.as_mut()) {
        *error = error.replace(&state.path().display().to_string(), "[state]");
    }
    insta::assert_json_snapshot!("runs_json", rows);
}

#[test]
fn a_killed_run_says_so() {
    let state = tempfile::tempdir().expect("a folder");
    let folder = Run::errors().load_started().seconds(3).write(state.path());
    let mut log = std::fs::read(folder.events_file()).expect("a log");
    log.truncate(log.len() - 10);
    std::fs::write(folder.events_file(), log).expect("the log");
    insta::assert_snapshot!(plain(&sre::report::text(&Report::read(&folder).expect("a report"))));
}
