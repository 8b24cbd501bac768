//! Alerts that lie, and observers of alerts that are gone.

use std::process::Child;

use crate::lab::{Lab, until, verdict};
use crate::liar::{Liar, Lie};

const LOAD: &str = "phases: [{duration: 5s, rate: 20/s}]";

fn alert(more: &str) -> String {
    format!("[{{alert: {{name: Alarm, fires: 4s, resolves: 6s, delivered: 5s{more}}}}}]")
}

/// Raises the alarm once the load is there; ends it before the load does, unless it is to stay.
fn alarmed(liar: &Liar, run: &mut Child, stays: bool) {
    until("the load", || liar.requests() > 5 || run.try_wait().is_ok_and(|ended| ended.is_some()));
    liar.alarm(true);
    if !stays {
        until("most of the load", || {
            liar.requests() > 80 || run.try_wait().is_ok_and(|ended| ended.is_some())
        });
        liar.alarm(false);
    }
}

fn judged(lab: &Lab, liar: &Liar, stays: bool) -> crate::lab::Verdict {
    let mut run = lab.run();
    alarmed(liar, &mut run, stays);
    verdict(run)
}

#[test]
fn an_alert_that_fires_resolves_and_is_notified_passes() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
    lab.scenario(LOAD, &alert(""));
    judged(&lab, &liar, false).is(0, "pass", "after the alert fired");
}

#[test]
fn an_alert_that_never_resolves_fails() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
    lab.scenario(LOAD, &alert(""));
    judged(&lab, &liar, true).is(1, "fail", "still firing");
}

#[test]
fn an_alert_that_does_not_fire_fails() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
    lab.scenario(LOAD, &alert(""));
    lab.verdict().is(1, "fail", "not within 4.0 s");
}

#[test]
fn an_alert_for_another_instance_fails() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
    lab.scenario(LOAD, &alert(", labels: {instance: \"127.0.0.1:1\"}"));
    judged(&lab, &liar, false).is(1, "fail", "which was not disturbed");
}

#[test]
fn an_alert_that_fired_before_is_a_reason_not_to_start() {
    let liar = Liar::start(Lie::None);
    liar.alarm(true);
    let lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
    lab.scenario(LOAD, &alert(""));
    until("the alert to fire", || {
        !lab.query("ALERTS{alertstate=\"firing\"}")["data"]["result"].as_array().is_none_or(Vec::is_empty)
    });
    let verdict = lab.verdict();
    assert_eq!(verdict.exit, 6, "{verdict:#?}");
    assert!(
        verdict.stderr.contains("Alarm") && verdict.stderr.contains("fires before the run"),
        "{verdict:#?}"
    );
}

#[test]
fn another_alert_of_the_stack_s_rules_fails() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
    lab.scenario(LOAD, "[{reconcile: {wait: 5s}}, {no-alerts: {}}]");
    judged(&lab, &liar, false).is(1, "fail", "Alarm");
}

#[test]
fn no_alerts_of_a_rule_that_cannot_be_evaluated_is_no_data() {
    let liar = Liar::start(Lie::None);
    let mut lab = Lab::new(&[&liar]).start(Some("Alarm"));
    // Two series on the one side: it is loaded, and each evaluation fails.
    lab.rewrite("rules.yml", "alarm == 1", "alarm * on () {job='liar'}");
    lab.kill("prometheus");
    lab.start_prometheus();
    lab.scenario(LOAD, "[{reconcile: {wait: 5s}}, {no-alerts: {}}]");
    judged(&lab, &liar, false).is(3, "no-data", "Alarm cannot be evaluated");
}

#[test]
fn an_alert_that_fires_while_its_prometheus_is_killed_is_no_pass() {
    let liar = Liar::start(Lie::None);
    let mut lab = Lab::new(&[&liar]).start(Some("Alarm"));
    lab.scenario(LOAD, "[{alert: {name: Alarm, fires: 6s, resolves: 30s, notified: false}}]");
    let mut run = lab.run();
    alarmed(&liar, &mut run, true);
    until("the end of the load", || liar.requests() >= 100 || run.try_wait().is_ok_and(|e| e.is_some()));
    until("the alert to fire", || {
        !lab.query("ALERTS{alertstate=\"firing\"}")["data"]["result"].as_array().is_none_or(Vec::is_empty)
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    lab.kill("prometheus");
    liar.alarm(false);
    std::thread::sleep(std::time::Duration::from_secs(12));
    lab.start_prometheus();
    // The new Prometheus still finds the last sample of the old one, has the alert fire once more, and then sees its end. What
    // else fired while nobody looked is not known.
    verdict(run).is(3, "no-data", "Prometheus was away, or was started again");
}

#[test]
fn a_rule_that_does_not_exist_is_no_data() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_notifications().start(Some("Other"));
    lab.scenario(LOAD, &alert(""));
    judged(&lab, &liar, false).is(3, "no-data", "no rule of that name. Loaded: Other");
}

#[test]
fn an_alertmanager_that_is_gone_is_no_data_and_fails_where_delivery_was_asked_for() {
    for (asked, exit, word) in [(", notified: false", 3, "no-data"), ("", 1, "fail")] {
        let liar = Liar::start(Lie::None);
        let mut lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
        lab.scenario(LOAD, &alert(asked));
        assert_eq!(lab.sre(&["up", "liar", "--target", "external"]), Some(0));
        lab.kill("alertmanager");
        judged(&lab, &liar, false).is(exit, word, "Alertmanager does not answer");
    }
}

#[test]
fn a_receiver_that_is_gone_is_no_data_and_fails_where_delivery_was_asked_for() {
    for (asked, exit, word) in [(", notified: false", 3, "no-data"), ("", 1, "fail")] {
        let liar = Liar::start(Lie::None);
        let mut lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
        lab.scenario(LOAD, &alert(asked));
        lab.kill("receiver");
        judged(&lab, &liar, false).is(exit, word, "receiver of notifications does not answer");
    }
}
