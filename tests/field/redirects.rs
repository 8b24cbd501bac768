//! One request that becomes two at the server.

use crate::shop::{Shop, Way, job, lab, scenario, verdict};

/// The verdict on a load whose redirects are followed, and how many rows agree.
fn followed(load: &str, request: &str) -> crate::lab::Verdict {
    let shop = Shop::start(Way::Redirecting);
    let lab = lab(&shop, &job(shop.address, ""), 1);
    scenario(&lab, load, &format!("one: {request}"));
    verdict(&lab, "[{reconcile: {wait: 5s}}]")
}

const LOADS: [&str; 2] = [
    "arrival-rate: {http: {redirects: 1}, phases: [{rate: 20/s, duration: 3s}]}",
    "users: {users: 2, duration: 3s, think: 50ms, http: {redirects: 1}}",
];

#[test]
fn each_hop_is_held_against_its_own_path_and_status() {
    for load in LOADS {
        followed(load, "{path: /orders}").is(0, "pass", "2 of 2 equal");
    }
}

#[test]
fn a_form_s_result_is_a_request_with_another_method() {
    for load in LOADS {
        followed(load, "{method: POST, path: /form, body: a=1}").is(0, "pass", "2 of 2 equal");
    }
}
