//! Targets that share an address, or lost a label.

use crate::shop::{Shop, Way, job, lab, verdict};

const CHECKS: &str = "[{reconcile: {wait: 5s}}]";

#[test]
fn two_replicas_at_two_paths_of_one_address_are_two() {
    let shop = Shop::start(Way::Router);
    let target = |name: &str| {
        format!(
            "{{targets: [\"{}\"], labels: {{__metrics_path__: /pods/{name}/metrics, instance: {name}}}}}",
            shop.address
        )
    };
    let config = format!("  - {{job_name: shop, static_configs: [{}, {}]}}", target("a"), target("b"));
    let lab = lab(&shop, &config, 2);
    verdict(&lab, CHECKS).is(0, "pass", "100 = 100");
}

#[test]
fn series_that_lost_a_label_belong_to_the_only_target() {
    for relabelling in
        ["{action: labeldrop, regex: instance}", "{target_label: instance, replacement: shop.example}"]
    {
        let shop = Shop::start(Way::Plain);
        let lab = lab(&shop, &job(shop.address, &format!(", metric_relabel_configs: [{relabelling}]")), 1);
        verdict(&lab, CHECKS).is(0, "pass", "100 = 100");
    }
}

#[test]
fn a_counter_under_another_job_or_name_is_told() {
    let shop = Shop::start(Way::Plain);
    for (from, to, told) in [
        ("job: shop", "job: other", "it has series of shop_requests_total for the job shop, none for other"),
        ("shop_requests_total", "shop_requests", "it has series of shop_requests_total"),
    ] {
        // Another job, whose target counts nothing.
        let nothing = Shop::start(Way::Plain);
        let other = format!(
            "{}\n  - {{job_name: other, static_configs: [{{targets: [\"{}\"]}}]}}",
            job(shop.address, ""),
            nothing.address
        );
        let lab = lab(&shop, &other, 2);
        lab.rewrite("stacks/liar/stack.yaml", from, to);
        verdict(&lab, CHECKS).is(3, "no-data", told);
    }
}

#[test]
fn series_that_may_be_one_of_two_targets_are_no_data_and_the_label_is_named() {
    let (shop, other) = (Shop::start(Way::Plain), Shop::start(Way::Plain));
    other.ask("/other", 3);
    let config = format!(
        "  - {{job_name: shop, static_configs: [{{targets: [\"{}\", \"{}\"]}}], \
         metric_relabel_configs: [{{action: labeldrop, regex: instance}}]}}",
        shop.address, other.address
    );
    let lab = lab(&shop, &config, 2);
    verdict(&lab, CHECKS).is(
        3,
        "no-data",
        "to no target of the job without doubt, of which there are 2: without instance",
    );
}
