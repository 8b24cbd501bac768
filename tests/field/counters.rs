//! Counters that are late, lost, doubled or shared.

use std::time::Duration;

use crate::shop::{Shop, Way, job, lab, verdict};

const CHECKS: &str = "[{reconcile: {wait: 5s}}]";

#[test]
fn workers_behind_one_port_are_no_data_and_named_as_what_they_are() {
    for starts in [true, false] {
        let shop = Shop::start(Way::Workers { starts });
        // Both have counted something, and not the same.
        shop.ask("/list", 40);
        shop.ask("/other", 31);
        let lab = lab(&shop, &job(shop.address, ""), 1);
        let verdict = verdict(&lab, CHECKS);
        verdict.is(3, "no-data", "answer scrapes in turn");
        let text = verdict.json.to_string();
        assert!(text.contains("a port of its own"), "the cure is told: {text}");
        assert!(!text.contains("nothing was lost"), "{text}");
    }
}

#[test]
fn counters_that_are_exported_once_in_a_while_are_no_data_and_the_wait_is_named() {
    let shop = Shop::start(Way::Renewed(Duration::from_secs(60)));
    let lab = lab(&shop, &job(shop.address, ""), 1);
    let verdict = verdict(&lab, CHECKS);
    verdict.is(3, "no-data", "no counter rose since the load began");
    assert!(verdict.json.to_string().contains("`reconcile: {wait: 90s}`"), "{verdict:#?}");
}

#[test]
fn what_was_counted_before_the_load_and_shows_only_in_it_is_waited_for() {
    let shop = Shop::start(Way::Renewed(Duration::from_secs(20)));
    let lab = lab(&shop, &job(shop.address, ""), 1);
    shop.ask("/list", 50);
    verdict(&lab, "[{reconcile: {wait: 31s}}]").is(0, "pass", "100 = 100");
}

#[test]
fn a_late_service_that_counts_half_never_passes_with_others_requests_in_its_place() {
    let shop = Shop::start(Way::RenewedHalf(Duration::from_secs(15)));
    let lab = lab(&shop, &job(shop.address, ""), 1);
    // The 50 of these that are counted would make up for the half that is not.
    shop.ask("/list", 100);
    let verdict = verdict(&lab, "[{reconcile: {wait: 30s}}]");
    assert_eq!((verdict.exit, &verdict.json["verdict"]), (3, &"no-data".into()), "{verdict:#?}");
}

#[test]
fn counters_above_2_to_the_53_are_no_data() {
    let shop = Shop::start(Way::Huge);
    let lab = lab(&shop, &job(shop.address, ""), 1);
    let verdict = verdict(&lab, CHECKS);
    assert_eq!(verdict.exit, 3, "{verdict:#?}");
    assert!(verdict.stderr.contains("which no count can be"), "{verdict:#?}");
}
