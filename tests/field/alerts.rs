//! Alerts that look resolved, absent or alike, and are not.

use std::process::Child;

use crate::lab::{Lab, Verdict, until, verdict};
use crate::liar::{Liar, Lie};
use crate::programs::prometheus_3;
use crate::stand_in::{Answer, StandIn};

const LOAD: &str = "phases: [{duration: 6s, rate: 20/s}]";

/// One group with these rules, evaluated every so often.
fn group(interval: &str, rules: &str) -> String {
    format!("groups: [{{name: g, interval: {interval}, rules: [{rules}]}}]\n")
}

fn waited(liar: &Liar, run: &mut Child, requests: u64) {
    until("the load", || liar.requests() >= requests || run.try_wait().is_ok_and(|ended| ended.is_some()));
}

/// A run in which the alarm is raised after so many of its 120 requests, and ended after so many.
fn alarmed(lab: &Lab, liar: &Liar, raised: u64, ended: Option<u64>) -> Verdict {
    let before = liar.requests();
    let mut run = lab.run();
    waited(liar, &mut run, before + raised);
    liar.alarm(true);
    if let Some(ended) = ended {
        waited(liar, &mut run, before + ended);
        liar.alarm(false);
    }
    verdict(run)
}

/// A verdict that is made again later is the same.
#[track_caller]
fn stays(lab: &Lab, exit: i32) {
    assert_eq!(lab.sre(&["verify"]), Some(exit), "a later look gives another verdict");
}

#[test]
fn what_fires_at_the_first_evaluation_after_the_load_has_fired() {
    let liar = Liar::start(Lie::None);
    let rules = group("5s", "{alert: Alarm, expr: alarm == 1}");
    let lab = Lab::new(&[&liar]).with_rules(&rules).start(None);
    lab.scenario(LOAD, "[{reconcile: {wait: 5s}}, {no-alerts: {}}]");
    // A scrape or none before the end of the load; mostly no evaluation.
    alarmed(&lab, &liar, 115, None).is(1, "fail", "Alarm");
    stays(&lab, 1);
}

/// One that gives alerts away for nothing: those asked for alone, or all of them and `up`, too.
fn forgetful(lab: &Lab, all: bool) -> StandIn {
    StandIn::before(lab.prometheus, move |asked| {
        let of_alerts = asked.query.contains("ALERTS");
        let alone = !asked.query.contains("up%22") && !asked.query.contains("sre_answered");
        match of_alerts && (all || alone) {
            true => Answer::Changed(|mut answer| {
                answer["data"]["result"] = serde_json::json!([]);
                answer
            }),
            false => Answer::Its,
        }
    })
}

#[test]
fn an_empty_answer_about_alerts_is_neither_a_pass_nor_a_failure() {
    let liar = Liar::start(Lie::None);
    let rules = group("1s", "{alert: Alarm, expr: alarm == 1}");
    let lab = Lab::new(&[&liar]).with_rules(&rules).start(None);
    let (all, alone) = (forgetful(&lab, true), forgetful(&lab, false));
    let alert = "{alert: {name: Alarm, fires: 10s, resolves: 10s, notified: false}}";
    for (checks, honest) in [("[{no-alerts: {}}]".to_owned(), 1), (format!("[{alert}]"), 0)] {
        lab.scenario(LOAD, &checks);
        let verdict = alarmed(&lab, &liar, 20, Some(80));
        assert_eq!(verdict.exit, honest, "{verdict:#?}");
        let url = format!("http://{}", lab.prometheus);
        for (what, stand_in, exits) in [("all", &all, [3, 3]), ("alone", &alone, [3, honest])] {
            lab.rewrite("stacks/liar/stack.yaml", &url, &stand_in.url());
            let exit = lab.sre(&["verify"]).expect("it ends");
            assert!(exits.contains(&exit), "{checks}, {what} forgotten: {exit}");
            lab.rewrite("stacks/liar/stack.yaml", &stand_in.url(), &url);
        }
    }
}

#[test]
fn what_is_pending_when_the_load_ends_is_waited_for() {
    let liar = Liar::start(Lie::None);
    let rules = group("1s", "{alert: Alarm, expr: alarm == 1, for: 8s}");
    let lab = Lab::new(&[&liar]).with_rules(&rules).start(None);
    lab.scenario(LOAD, "[{reconcile: {wait: 5s}}, {no-alerts: {}}]");
    alarmed(&lab, &liar, 100, None).is(1, "fail", "Alarm");
    stays(&lab, 1);
}

#[test]
fn what_is_pending_and_is_over_before_it_fires_has_not_fired() {
    let liar = Liar::start(Lie::None);
    let rules = group("1s", "{alert: Alarm, expr: alarm == 1, for: 4s}");
    let lab = Lab::new(&[&liar]).with_rules(&rules).start(None);
    lab.scenario(LOAD, "[{reconcile: {wait: 5s}}, {no-alerts: {}}]");
    // It is over again before it fires.
    alarmed(&lab, &liar, 100, Some(119)).is(0, "pass", "no alert fired");
    stays(&lab, 0);
}

#[test]
fn rules_of_one_name_with_other_labels_are_told_apart() {
    let two = "{alert: Alarm, expr: alarm == 1, labels: {severity: page}}, \
               {alert: Alarm, expr: alarm >= 0, labels: {severity: never}, for: 1h}, \
               {alert: Alarm, expr: alarm == 1, labels: {severity: ticket}}";
    for severity in ["page", "ticket"] {
        let liar = Liar::start(Lie::None);
        let lab = Lab::new(&[&liar]).with_rules(&group("1s", two)).start(None);
        let check = format!(
            "[{{alert: {{name: Alarm, labels: {{severity: {severity}}}, fires: 10s, resolves: 20s, notified: false}}}}]"
        );
        lab.scenario(LOAD, &check);
        let verdict = alarmed(&lab, &liar, 5, Some(80));
        verdict.is(0, "pass", "Alarm resolved");
        stays(&lab, 0);
    }
}

#[test]
fn labels_that_no_rule_of_the_name_can_carry_are_no_data() {
    let liar = Liar::start(Lie::None);
    let rules = group("1s", "{alert: Alarm, expr: alarm == 1, labels: {severity: page}}");
    let lab = Lab::new(&[&liar]).with_rules(&rules).start(None);
    let check =
        "[{alert: {name: Alarm, labels: {severity: ticket}, fires: 5s, resolves: 5s, notified: false}}]";
    lab.scenario(LOAD, check);
    alarmed(&lab, &liar, 5, Some(80)).is(3, "no-data", "No rule of that name can carry these labels");
}

#[test]
fn the_slower_of_two_rules_of_one_name_is_waited_for() {
    let liar = Liar::start(Lie::None);
    let rules = "groups:\n\
        - {name: fast, interval: 1s, rules: [{alert: Alarm, expr: alarm == 1, labels: {severity: page}}]}\n\
        - {name: slow, interval: 7s, rules: [{alert: Alarm, expr: alarm == 1, labels: {severity: ticket}}]}\n";
    let lab = Lab::new(&[&liar]).with_rules(rules).start(None);
    lab.scenario(LOAD, "[{alert: {name: Alarm, fires: 20s, resolves: 25s, notified: false}}]");
    // The slow rule may see it or not; in neither case may a later look say something else.
    let exit = alarmed(&lab, &liar, 5, None).exit;
    assert_eq!(exit, 1, "it never resolves");
    stays(&lab, 1);
}

#[test]
fn an_alert_that_always_fires_is_named_and_no_reason_not_to_start() {
    let rules = group("1s", "{alert: Watchdog, expr: vector(1)}, {alert: Alarm, expr: alarm == 1}");
    for (checks, raised) in [
        ("[{reconcile: {wait: 5s}}, {no-alerts: {except: [Watchdog]}}]", false),
        ("[{alert: {name: Alarm, fires: 10s, resolves: 20s, notified: false, along: [Watchdog]}}]", true),
    ] {
        let liar = Liar::start(Lie::None);
        let lab = Lab::new(&[&liar]).with_rules(&rules).start(None);
        until("the watchdog to fire", || {
            !lab.query("ALERTS")["data"]["result"].as_array().is_none_or(Vec::is_empty)
        });
        lab.scenario(LOAD, checks);
        let verdict = match raised {
            true => alarmed(&lab, &liar, 5, Some(80)),
            false => lab.verdict(),
        };
        verdict.is(0, "pass", "other alert fired");
    }
}

#[test]
fn an_alert_that_always_fires_and_is_not_named_is_told_with_what_allows_for_it() {
    let rules = group("1s", "{alert: Watchdog, expr: vector(1)}, {alert: Alarm, expr: alarm == 1}");
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_rules(&rules).start(None);
    lab.scenario(LOAD, "[{no-alerts: {}}]");
    let verdict = lab.verdict();
    assert_eq!(verdict.exit, 6, "{verdict:#?}");
    assert!(verdict.stderr.contains("Watchdog") && verdict.stderr.contains("`except`"), "{verdict:#?}");
}

#[test]
fn an_alert_in_a_group_that_looks_back_has_not_resolved_while_it_fires() {
    let Some(program) = prometheus_3() else { return };
    let liar = Liar::start(Lie::None);
    let rules =
        "groups: [{name: g, interval: 1s, query_offset: 6s, rules: [{alert: Alarm, expr: alarm == 1}]}]\n";
    let mut lab = Lab::new(&[&liar]).with_rules(rules);
    lab.program = Some(program);
    let lab = lab.start(None);
    lab.scenario(LOAD, "[{alert: {name: Alarm, fires: 20s, resolves: 12s, notified: false}}]");
    alarmed(&lab, &liar, 5, None).is(1, "fail", "still firing");
    stays(&lab, 1);
}
