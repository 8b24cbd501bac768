//! Lies about counts.

use std::time::Duration;

use crate::lab::{Lab, until, verdict};
use crate::liar::{Liar, Lie};

/// 300 requests in 6 s, and 6 s in which a short count may be mended.
const LOAD: &str = "phases: [{duration: 6s, rate: 50/s}]";
const CHECKS: &str = "[{reconcile: {wait: 6s}}]";

fn judged(lie: Lie) -> crate::lab::Verdict {
    let liar = Liar::start(lie);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, CHECKS);
    lab.verdict()
}

/// The same, with a threshold.
fn judged_allowing(lie: Lie, threshold: &str) -> crate::lab::Verdict {
    let liar = Liar::start(lie);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, CHECKS);
    lab.rewrite("scenarios/lie.yaml", "checks:", &format!("thresholds: [{threshold}]\nchecks:"));
    lab.verdict()
}

#[test]
fn an_honest_server_passes() {
    let verdict = judged(Lie::None);
    verdict.is(0, "pass", "300 = 300");
    assert_eq!(verdict.json["requests"]["sent"], 300);
    assert_eq!(verdict.json["requests"]["counted"], 300);
    assert_eq!(verdict.json["requests"]["unknown"], 0);
}

#[test]
fn one_of_100_that_is_not_counted_fails() {
    let verdict = judged(Lie::Skips(100));
    verdict.is(1, "fail", "300 sent, 297 counted");
    assert_eq!(verdict.json["requests"]["counted"], 297);
    let table =
        verdict.json["checks"].as_array().expect("checks").iter().find_map(|check| check.get("table"));
    let table = table.expect("a table names series and numbers").to_string();
    assert!(table.contains("/ok") || table.contains("/error"), "{table}");
}

#[test]
fn one_of_50_that_is_counted_twice_fails() {
    judged(Lie::Doubles(50)).is(1, "fail", "300 sent, 306 counted");
}

#[test]
fn errors_that_are_counted_as_success_fail_although_the_sum_agrees() {
    let verdict = judged(Lie::ErrorsAsSuccess);
    verdict.is(1, "fail", "300 = 300");
    assert!(verdict.json.to_string().contains("500"), "{verdict:#?}");
}

#[test]
fn what_is_counted_without_its_status_is_never_a_pass() {
    // A closed model sends as many as there is time for.
    let open = format!("arrival-rate: {{{LOAD}}}");
    for load in [&*open, "users: {users: 4, duration: 6s, think: 20ms}"] {
        for (beside, exit, word) in [(true, 1, "fail"), (false, 3, "no-data")] {
            let liar = Liar::start(Lie::Unlabelled { one_in: 50, beside });
            let lab = Lab::new(&[&liar]).start(None);
            lab.scenario_of(load, "requests: {ok: {path: /ok}}", CHECKS);
            let told = "without the label code: which requests it counts is not known";
            lab.verdict().is(exit, word, told);
            assert_eq!(lab.sre(&["verify"]), Some(exit), "a later look gives another verdict");
        }
    }
}

#[test]
fn somebody_else_s_requests_fail() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, CHECKS);
    let run = lab.run();
    until("the load", || liar.requests() > 10);
    let url = format!("http://{}/ok", liar.address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // Ten a second, for two seconds of the load.
        let mut every = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..20 {
            every.tick().await;
            reqwest::get(&url).await.expect("an answer");
        }
    });
    verdict(run).is(1, "fail", "counted more than was sent");
}

#[test]
fn metrics_that_lag_by_20_s_pass_after_waiting() {
    let liar = Liar::start(Lie::Lags(Duration::from_secs(20)));
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, "[{reconcile: {wait: 40s}}]");
    lab.verdict().is(0, "pass", "300 = 300");
}

#[test]
fn metrics_that_lag_by_more_than_the_bound_are_no_data_and_it_is_said() {
    let verdict = judged(Lie::Lags(Duration::from_secs(20)));
    verdict.is(3, "no-data", "no counter rose since the load began");
    assert!(verdict.json.to_string().contains("`reconcile: {wait: 90s}`"), "{verdict:#?}");
}

#[test]
fn metrics_that_lag_are_no_data_where_nothing_was_waited_before_the_load() {
    let liar = Liar::start(Lie::Lags(Duration::from_secs(12)));
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, "[{reconcile: {wait: 30s}}]");
    lab.verdict().is(3, "no-data", "what was counted before the load may have shown only in it");
}

#[test]
fn metrics_that_stand_still_from_the_middle_on_are_no_data() {
    judged(Lie::StandsStill { after: 150 }).is(3, "no-data", "stand still since");
}

#[test]
fn metrics_that_answer_503_from_the_middle_on_are_no_data() {
    judged(Lie::Unavailable { after: 150 }).is(3, "no-data", "was not scraped with success");
}

#[test]
fn a_target_that_cannot_be_scraped_from_the_middle_on_is_no_data() {
    judged(Lie::Unscraped { after: 150 }).is(3, "no-data", "was not scraped with success");
}

#[test]
fn a_restart_that_lost_counts_is_no_data_and_says_between_what() {
    judged(Lie::Restarts { after: 100, loses: 10 }).is(3, "no-data", "lost with the restart: between ");
}

#[test]
fn a_restart_passes_where_the_counts_prove_that_nothing_was_lost() {
    let verdict = judged(Lie::Restarts { after: 100, loses: 0 });
    verdict.is(0, "pass", "the counts prove that nothing was lost");
}

#[test]
fn a_label_that_is_renamed_from_the_middle_on_is_no_data() {
    let verdict = judged(Lie::Renames { after: 150 });
    verdict.is(3, "no-data", "ended");
    let text = verdict.json.to_string();
    assert!(text.contains("code=") && text.contains("status="), "both series are named: {text}");
}

#[test]
fn one_target_under_two_jobs_passes_on_one_of_them_and_is_named() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::with_jobs(&[&liar], &[("liar", &[liar.metrics]), ("again", &[liar.metrics])]).start(None);
    lab.scenario(LOAD, CHECKS);
    lab.verdict().is(0, "pass", "is scraped by job again and again by job liar");
}

#[test]
fn one_of_three_replicas_that_is_not_scraped_is_no_data_and_named() {
    let liars = [Liar::start(Lie::None), Liar::start(Lie::None), Liar::start(Lie::None)];
    let all: Vec<&Liar> = liars.iter().collect();
    // `up` would refuse it at the start: the third goes away from Prometheus' configuration afterwards.
    let mut lab = Lab::new(&all).start(None);
    lab.scenario(LOAD, CHECKS);
    assert_eq!(lab.sre(&["up", "liar", "--target", "external"]), Some(0));
    lab.forget(liars[2].metrics);
    lab.verdict().is(3, "no-data", &format!("{}) is not among the targets", liars[2].metrics));
}

#[test]
fn answers_that_are_cut_off_are_an_interval() {
    for counted in [true, false] {
        let verdict = judged_allowing(Lie::Cuts { one_in: 60, counted, twice: false }, "error rate < 2%");
        verdict.is(0, "pass", "without a complete answer");
        assert_eq!(verdict.json["requests"]["unknown"], 5, "{verdict:#?}");
    }
}

#[test]
fn cut_off_answers_that_are_counted_twice_are_outside_the_interval() {
    judged(Lie::Cuts { one_in: 60, counted: true, twice: true }).is(1, "fail", "counted more than was sent");
}

#[test]
fn a_generator_that_is_too_slow_is_overloaded() {
    let liar = Liar::start(Lie::Slow(Duration::from_millis(500)));
    let lab = Lab::new(&[&liar]).start(None);
    // Two connections can carry 4 of the 50 requests a second that are asked for.
    lab.scenario("connections: 2, phases: [{duration: 4s, rate: 50/s}]", CHECKS);
    lab.verdict().is(4, "overloaded", "");
}
