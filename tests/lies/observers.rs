//! Observers that restart, tell another time, or miss a scrape.

use crate::clock::ShiftedClock;
use crate::lab::{Lab, until, verdict};
use crate::liar::{Liar, Lie};

const LOAD: &str = "phases: [{duration: 8s, rate: 50/s}]";

#[test]
fn a_prometheus_that_restarts_in_mid_run_gives_the_right_verdict() {
    for (lie, exit, word) in [(Lie::None, 0, "pass"), (Lie::Skips(100), 1, "fail")] {
        let liar = Liar::start(lie);
        let mut lab = Lab::new(&[&liar]).start(None);
        lab.scenario(LOAD, "[{reconcile: {wait: 8s}}]");
        let run = lab.run();
        until("the load", || liar.requests() > 100);
        lab.kill("prometheus");
        lab.start_prometheus();
        let verdict = verdict(run);
        // Without `process_start_time_seconds` nobody knows whether the service restarted in the gap, so a
        // shortfall may be no data; a pass must be right, and a shortfall must never pass.
        let no_data = verdict.exit == 3 && verdict.json["verdict"] == "no-data" && lie != Lie::None;
        if !no_data {
            verdict.is(exit, word, "");
        }
    }
}

#[test]
fn a_prometheus_that_is_killed_in_mid_run_is_no_data() {
    let liar = Liar::start(Lie::None);
    let mut lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, "[{reconcile: {wait: 2s}}]");
    let run = lab.run();
    until("the load", || liar.requests() > 100);
    lab.kill("prometheus");
    verdict(run).is(3, "no-data", "Prometheus does not answer");
}

#[test]
fn a_prometheus_whose_clock_is_5_minutes_off_gives_the_right_verdict() {
    for seconds in [300.0, -300.0] {
        for (lie, exit, word) in [(Lie::None, 0, "pass"), (Lie::Skips(100), 1, "fail")] {
            let liar = Liar::start(lie);
            let lab = Lab::new(&[&liar]).start(None);
            let clock = ShiftedClock::start(lab.prometheus, seconds);
            let lab = lab.asked_at(&clock.url());
            lab.scenario("phases: [{duration: 3s, rate: 100/s}]", "[{reconcile: {wait: 4s}}]");
            lab.verdict().is(exit, word, "");
        }
    }
}

#[test]
fn a_scrape_that_times_out_once_changes_no_verdict() {
    let liar = Liar::start(Lie::OneSlowScrape { after: 100 });
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, "[{reconcile: {wait: 6s}}]");
    lab.verdict().is(0, "pass", "400 = 400");
}
