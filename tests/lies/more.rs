//! Lies and oddities beyond the table: what exporters, scrape configurations and runs before this one do.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::disguise::{Disguise, each_count};
use crate::lab::{Lab, Verdict, until, verdict};
use crate::liar::{Liar, Lie};

const LOAD: &str = "phases: [{duration: 6s, rate: 50/s}]";
const CHECKS: &str = "[{reconcile: {wait: 6s}}]";

/// A lab in which Prometheus scrapes the disguise in the liar's place.
fn disguised(liar: &Liar, disguise: &Disguise) -> Lab {
    let lab = Lab::with_jobs(&[liar], &[("liar", &[disguise.metrics])]).start(None);
    lab.scenario(LOAD, CHECKS);
    lab.rewrite("stacks/liar/stack.yaml", &liar.metrics.to_string(), &disguise.metrics.to_string());
    lab
}

fn judged(lie: Lie, change: impl Fn(String, u64) -> String + Send + Sync + 'static) -> Verdict {
    let liar = Liar::start(lie);
    let disguise = Disguise::new(&liar, change);
    disguised(&liar, &disguise).verdict()
}

#[test]
fn a_counter_that_is_raised_by_fractions_is_no_data() {
    // 0.999 a request: rounded, the last one of 300 would be there.
    judged(Lie::None, |page, _| {
        each_count(&page, |series, value| Some(format!("{series} {}", value * 0.999)))
    })
    .is(3, "no-data", "it does not count whole requests");
}

#[test]
fn a_counter_that_is_written_as_a_float_is_a_counter() {
    judged(Lie::None, |page, _| each_count(&page, |series, value| Some(format!("{series} {value:e}")))).is(
        0,
        "pass",
        "300 = 300",
    );
}

#[test]
fn labels_that_were_not_asked_about_change_no_verdict() {
    for (lie, exit, word) in [(Lie::None, 0, "pass"), (Lie::Skips(100), 1, "fail")] {
        // Each count is split over two series by a label that the stack does not name.
        let split = |series: &str, value: f64| {
            let (name, half) = (series.trim_end_matches('}'), (value / 2.0).floor());
            Some(format!("{name},zone=\"a\"}} {half}\n{name},zone=\"b\"}} {}", value - half))
        };
        judged(lie, move |page, _| each_count(&page, split)).is(exit, word, "");
    }
}

/// Now, less some seconds, as an exposition writes it.
fn stamp(ago: u64) -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    (now - Duration::from_secs(ago)).as_millis()
}

#[test]
fn samples_with_times_of_their_own_are_counted_as_they_are() {
    for (ago, lie, exit, word) in
        [(0, Lie::None, 0, "pass"), (0, Lie::Skips(100), 1, "fail"), (3, Lie::None, 0, "pass")]
    {
        let stamped = move |series: &str, value: f64| Some(format!("{series} {value} {}", stamp(ago)));
        judged(lie, move |page, _| each_count(&page, stamped)).is(exit, word, "");
    }
}

#[test]
fn series_that_are_missing_in_every_third_scrape_are_no_data() {
    for lie in [Lie::None, Lie::Skips(100)] {
        let verdict = judged(lie, |page, scrape| {
            each_count(&page, |series, value| (scrape % 3 != 0).then(|| format!("{series} {value}")))
        });
        verdict.is(3, "no-data", "missing in a scrape");
    }
}

#[test]
fn a_counter_that_falls_like_a_gauge_never_passes() {
    let last = Mutex::new(0);
    let verdict = judged(Lie::None, move |page, _| {
        // The number of requests since the scrape before.
        let value =
            |line: &str| line.strip_prefix("requests_total{")?.rsplit_once(' ')?.1.parse::<u64>().ok();
        let total: u64 = page.lines().filter_map(value).sum();
        let before = std::mem::replace(&mut *last.lock().expect("not poisoned"), total);
        format!("requests_total{{path=\"/ok\",code=\"200\"}} {}\n", total - before)
    });
    assert!([1, 3].contains(&verdict.exit), "{verdict:#?}");
}

#[test]
fn two_services_behind_one_job_are_added_up_and_others_traffic_is_seen() {
    let (ours, theirs) = (Liar::start(Lie::None), Liar::start(Lie::None));
    let lab = Lab::with_jobs(&[&ours], &[("liar", &[ours.metrics, theirs.metrics])]).start(None);
    lab.scenario(LOAD, CHECKS);
    lab.verdict().is(0, "pass", "300 = 300");
    let run = lab.run();
    until("the load", || ours.requests() > 350);
    for _ in 0..3 {
        theirs.ask("/ok");
    }
    verdict(run).is(1, "fail", "counted more than was sent");
}

#[test]
fn a_load_that_is_shorter_than_the_scrape_interval_is_judged_right() {
    // All of it rises in one scrape: a service that counts a part looks like one that exports its counters once in a while,
    // unless it is said how far they may be behind.
    let cases = [
        (Lie::None, "", 0, "pass"),
        (Lie::Skips(100), "", 3, "no-data"),
        (Lie::Skips(100), ", lag: 2s", 1, "fail"),
    ];
    for (lie, lag, exit, word) in cases {
        let liar = Liar::start(lie);
        let lab = Lab::new(&[&liar]).configured("scrape_interval: 1s", "scrape_interval: 5s").start(None);
        let checks = format!("[{{reconcile: {{wait: 2s{lag}}}}}]");
        lab.scenario("phases: [{duration: 2s, rate: 100/s}]", &checks);
        lab.verdict().is(exit, word, "200");
    }
}

#[test]
fn a_target_that_comes_back_under_another_name_is_no_data_unless_nothing_was_missed() {
    let liar = Liar::start(Lie::None);
    let mut lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, CHECKS);
    let run = lab.run();
    until("the load", || liar.requests() > 100);
    lab.kill("prometheus");
    let (port, address) = (liar.metrics.port(), liar.metrics.to_string());
    lab.rewrite("prometheus.yml", &address, &format!("localhost:{port}"));
    lab.start_prometheus();
    let verdict = verdict(run);
    verdict.is(3, "no-data", &address);
}

#[test]
fn one_target_under_two_instance_labels_is_never_counted_twice() {
    let liar = Liar::start(Lie::None);
    let job = "job_name: liar, ";
    let twice =
        format!("{job}static_configs: [{{targets: [\"{0}\"], labels: {{instance: alias}}}}, ", liar.metrics);
    let lab =
        Lab::new(&[&liar]).configured(&format!("{job}static_configs: ["), &twice).with_targets(2).start(None);
    lab.scenario(LOAD, CHECKS);
    lab.verdict().is(0, "pass", "300 = 300");
}

#[test]
fn runs_back_to_back_do_not_count_each_other_s_requests_and_the_first_is_judged_the_same_later() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario("phases: [{duration: 2s, rate: 50/s}]", CHECKS);
    let first = lab.verdict();
    first.is(0, "pass", "100 = 100");
    lab.verdict().is(0, "pass", "100 = 100");
    lab.verdict().is(0, "pass", "100 = 100");
    let id = first.json["run"].as_str().expect("an id").to_owned();
    assert_eq!(lab.sre(&["verify", &id]), Some(0));
}

#[test]
fn what_was_wrong_in_an_old_run_stays_wrong() {
    let liar = Liar::start(Lie::Skips(50));
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario("phases: [{duration: 2s, rate: 50/s}]", "[{reconcile: {wait: 3s}}]");
    let first = lab.verdict();
    first.is(1, "fail", "100 sent, 98 counted");
    // Two that nobody sent in a run would fill the gap, were they taken for the first run's.
    liar.ask("/ok");
    liar.ask("/error");
    lab.verdict();
    let id = first.json["run"].as_str().expect("an id").to_owned();
    assert_eq!(lab.sre(&["verify", &id]), Some(1));
}
