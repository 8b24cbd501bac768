//! The verdict of a run: never a pass that nobody saw.

use sre::report::{RunVerdict, State};

use crate::fixture::*;

#[test]
fn a_pass_needs_every_check_and_the_end() {
    let report = pass().report();
    assert_eq!((report.verdict, report.exit, report.state), (RunVerdict::Pass, 0, State::Finished));
    assert_eq!((report.requests.sent, report.requests.counted), (Some(12_000), Some(12_000)));
    assert_eq!(report.latency_ms.p99, Some(7.9));
}

#[test]
fn a_log_that_ends_anywhere_before_its_end_is_no_pass() {
    let events = pass().events;
    for end in 1..events.len() {
        let report = Run::errors_of(&events[..end]).report();
        assert_eq!((report.verdict, report.exit), (RunVerdict::NoData, 3), "after {end} events");
        assert_eq!(report.state, State::Unfinished);
    }
}

#[test]
fn nothing_checked_is_no_data() {
    let report = Run::errors().loaded(load()).verified([], 0).report();
    assert_eq!((report.verdict, report.exit), (RunVerdict::NoData, 3));
}

#[test]
fn a_failed_check_outranks_missing_data_and_overload() {
    let report = Run::errors().loaded(overloaded_load()).verified([short_count(), no_rule()], 0).report();
    assert_eq!((report.verdict, report.exit), (RunVerdict::Fail, 1));
}

#[test]
fn an_overloaded_generator_is_no_pass_though_every_check_passes() {
    let report = Run::errors().loaded(overloaded_load()).verified([targets(), counted()], 0).report();
    assert_eq!((report.verdict, report.exit), (RunVerdict::Overloaded, 4));
}

#[test]
fn an_interrupted_run_keeps_its_failures_and_is_no_pass() {
    let stopped = |run: Run| run.failed("interrupted", 130).report();
    let report = stopped(Run::errors().loaded(load()));
    assert_eq!((report.verdict, report.exit, report.state), (RunVerdict::NoData, 130, State::Interrupted));
    let report = stopped(Run::errors().loaded(load()).verified([counted()], 0));
    assert_eq!((report.verdict, report.exit), (RunVerdict::NoData, 130));
    let report = stopped(Run::errors().loaded(load()).verified([short_count()], 1));
    assert_eq!((report.verdict, report.exit), (RunVerdict::Fail, 130));
}

#[test]
fn a_load_that_ended_early_is_no_pass_though_its_counts_agree() {
    let mut early = load();
    early.interrupted = true;
    let report = Run::errors().loaded(early).verified([counted()], 0).report();
    assert_eq!((report.verdict, report.exit), (RunVerdict::NoData, 3));
}

#[test]
fn a_fault_that_could_not_be_injected_is_no_pass() {
    let failed =
        sre::run::EventKind::FaultFailed { fault: fault("1", "kill users-api-0"), error: "gone".into() };
    let report =
        Run::errors().load_started().event(failed).load_finished(load()).verified([counted()], 0).report();
    assert_eq!((report.verdict, report.exit), (RunVerdict::NoData, 3));
}

#[test]
fn verified_again_the_last_verdict_holds() {
    let report = fail().verified([targets(), counted()], 0).report();
    assert_eq!((report.verdict, report.checks.len()), (RunVerdict::Pass, 2));
    let report =
        Run::errors().loaded(load()).failed("Prometheus is gone", 3).verified([counted()], 0).report();
    assert_eq!((report.verdict, report.error), (RunVerdict::Pass, None));
    let report = pass().event(sre::run::EventKind::VerifyStarted).report();
    assert_eq!((report.verdict, report.exit), (RunVerdict::NoData, 3), "the second has not ended");
}

#[test]
fn an_exit_code_that_the_checks_do_not_explain_still_holds() {
    let report = Run::errors().loaded(load()).verified([counted()], 6).report();
    assert_eq!(report.exit, 6);
    let report = Run::errors().loaded(load()).verified([counted()], 77).report();
    assert_eq!((report.verdict, report.exit), (RunVerdict::NoData, 3));
}

#[test]
fn secrets_are_cut_out_of_every_text() {
    let mut outcome = no_rule();
    let secret = "http://me:hunter2@prometheus:9090/";
    outcome.message = secret.into();
    outcome.notes = vec![format!("asked {secret}")];
    outcome.hint = Some(secret.into());
    outcome.evidence = serde_json::json!({"asked": [secret]});
    let run = Run::errors().verified([outcome], 3).failed(&format!("{secret} did not answer"), 6);
    let report = run.report();
    let texts = [
        sre::report::text(&report),
        sre::report::markdown::markdown(&report),
        sre::report::junit::junit(&report).expect("XML"),
        serde_json::to_string(&report).expect("JSON"),
    ];
    let state = tempfile::tempdir().expect("a folder");
    let log = std::fs::read_to_string(run.write(state.path()).events_file()).expect("a log");
    for text in texts.iter().chain([&log]) {
        assert!(text.contains("***@prometheus") && !text.contains("hunter2"), "{text}");
    }
}
