//! PromQL checks that cannot tell.

use crate::lab::Lab;
use crate::liar::{Liar, Lie};

fn judged(checks: &str) -> crate::lab::Verdict {
    let liars = [Liar::start(Lie::None), Liar::start(Lie::None)];
    let lab = Lab::new(&[&liars[0], &liars[1]]).start(None);
    lab.scenario("phases: [{duration: 1s, rate: 10/s}]", checks);
    lab.verdict()
}

#[test]
fn nothing_is_no_data() {
    judged("[{promql: {expr: no_such_metric, is: \"== 0\", wait: 1s}}]").is(3, "no-data", "gives no series");
}

#[test]
fn nan_is_no_data() {
    judged("[{promql: {expr: \"sum(alarm) / sum(alarm)\", is: \">= 0\", wait: 1s}}]").is(3, "no-data", "NaN");
}

#[test]
fn two_series_where_one_was_expected_are_no_data() {
    judged("[{promql: {expr: alarm, is: \"== 0\", wait: 1s}}]").is(
        3,
        "no-data",
        "2 series where one was expected",
    );
}

#[test]
fn what_held_in_time_holds_also_when_it_is_judged_again() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    // It holds for some seconds after the load only; the other is a number, not series.
    let busy = "sum(rate(requests_total[4s]))";
    let checks = format!(
        "[{{promql: {{expr: \"{busy}\", is: \"> 0\", wait: 8s}}}},
          {{promql: {{expr: \"scalar({busy}) # a number\", is: \"> 0\", wait: 8s}}}}]"
    );
    lab.scenario("phases: [{duration: 3s, rate: 20/s}]", &checks);
    lab.verdict().is(0, "pass", "");
    std::thread::sleep(std::time::Duration::from_secs(9));
    assert_eq!(lab.sre(&["verify"]), Some(0), "it held within 8 s");
}

#[test]
fn a_series_that_is_not_there_is_no_data() {
    judged("[{series: {series: no_such_metric, wait: 1s}}]").is(3, "no-data", "no such series");
}

#[test]
fn no_check_at_all_is_no_data() {
    judged("[]").is(3, "no-data", "");
}
