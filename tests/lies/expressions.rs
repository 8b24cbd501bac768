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
fn a_series_that_is_not_there_is_no_data() {
    judged("[{series: {series: no_such_metric, wait: 1s}}]").is(3, "no-data", "no such series");
}

#[test]
fn no_check_at_all_is_no_data() {
    judged("[]").is(3, "no-data", "");
}
