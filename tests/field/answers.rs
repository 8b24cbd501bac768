//! Answers that prove nothing: pages, redirects, parts of the whole, bodies without an end, refusals. docs/prometheus.md
//! tells the same as a table.

use std::process::Child;
use std::time::{Duration, Instant};

use axum::body::Body;
use serde_json::json;

use crate::commands::{Ran, sre, sre_measured, sre_with, start};
use crate::lab::{Lab, Verdict, verdict};
use crate::liar::{Liar, Lie};
use crate::stand_in::{Answer, StandIn};

const LOAD: &str = "phases: [{duration: 4s, rate: 50/s}]";
const CHECKS: &str = "[{targets: {wait: 10s}}, {reconcile: {wait: 10s}}]";
const STACK: &str = "stacks/liar/stack.yaml";

#[test]
fn a_login_is_told_as_what_it_is() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    let page = StandIn::before(lab.prometheus, |_| Answer::login_page());
    let elsewhere = StandIn::before(lab.prometheus, |_| Answer::redirect("http://127.0.0.9/login?next=x"));
    let lab = lab.asked_at(&page.url());
    lab.scenario(LOAD, CHECKS);
    let up = ["up", "liar", "--target", "external"];
    let told = sre(lab.folder.path(), &up).ends(6, "an HTML page came instead of JSON: “Sign in”");
    assert!(told.stderr.contains("login") && !told.stderr.contains("<form"), "{told:#?}");
    lab.rewrite(STACK, &page.url(), &elsewhere.url());
    sre(lab.folder.path(), &up).ends(6, "it sends on to http://127.0.0.9/login?next=x");
}

#[test]
fn a_redirect_within_the_server_is_followed() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    let stand_in = StandIn::before(lab.prometheus, |asked| match asked.path.strip_prefix("/old") {
        Some(path) => Answer::redirect(&format!("{path}?{}", asked.query)),
        None => Answer::Its,
    });
    let lab = lab.asked_at(&format!("{}/old", stand_in.url()));
    lab.scenario(LOAD, CHECKS);
    lab.verdict().is(0, "pass", "200 = 200");
}

#[test]
fn a_write_that_is_sent_on_is_not_written() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, CHECKS);
    let path = lab.folder.path();
    sre(path, &["up", "liar", "--target", "external"]).ends(0, "liar");
    let stand_in = StandIn::before(lab.prometheus, |asked| match asked.path.as_str() {
        "/api/v1/write" => Answer::redirect("/signed-out"),
        _ => Answer::login_page(),
    });
    let url = format!("{}/api/v1/write", stand_in.url());
    sre(path, &["load", "lie", "--remote-write", &url]).ends(5, "it sends on to /signed-out");
}

#[test]
fn what_is_told_to_be_partial_is_no_data_and_a_remark_is_a_note() {
    let checks = "[{reconcile: {wait: 5s}}, {promql: {expr: \"sum(up)\", is: \"> 0\", wait: 3s}}]";
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    let warns = StandIn::before(lab.prometheus, |asked| match asked.query.contains("query=time") {
        true => Answer::Its,
        false => Answer::Changed(|mut answer| {
            answer["warnings"] = json!(["store 10.0.0.7 is away"]);
            answer
        }),
    });
    let remarks = StandIn::before(lab.prometheus, |asked| match asked.query.contains("sum") {
        true => Answer::Changed(|mut answer| {
            answer["infos"] = json!(["PromQL info: up is no counter"]);
            answer
        }),
        false => Answer::Its,
    });
    let lab = lab.asked_at(&remarks.url());
    lab.scenario(LOAD, checks);
    lab.verdict().is(0, "pass", "PromQL info: up is no counter");
    lab.rewrite(STACK, &remarks.url(), &warns.url());
    let path = lab.folder.path();
    let ran = sre(path, &["verify", "-o", "json"]).ends(3, "store 10.0.0.7 is away");
    assert!(!ran.stdout.contains("\"verdict\": \"fail\""), "{ran:#?}");
}

#[test]
fn an_answer_without_an_end_is_left_where_it_is() {
    let liar = Liar::start(Lie::None);
    let endless = StandIn::before(liar.address, |_| {
        let chunk = axum::body::Bytes::from(vec![b'a'; 1 << 16]);
        let stream = futures::stream::repeat(Ok::<_, std::convert::Infallible>(chunk));
        Answer::Own(200, vec![("content-type", "application/json".into())], Body::from_stream(stream))
    });
    let place = tempfile::tempdir().expect("a folder");
    let service = format!("http://{}", liar.address);
    let init = ["init", "--external", &service, "--prometheus", &endless.url()];
    let (ran, most) = sre_measured(place.path(), &init);
    ran.ends(3, "the answer is larger than 64 MiB");
    assert!(most < 512 << 20, "{most} bytes of memory");
}

#[test]
fn what_is_not_allowed_is_not_waited_for() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    let checks = "[{targets: {wait: 1h}}, {reconcile: {wait: 1h, lag: 1s}}, {promql: {expr: \"sum(up)\", is: \"> 0\", wait: 1h}}]";
    lab.scenario(LOAD, checks);
    lab.verdict().is(0, "pass", "200 = 200");
    let path = lab.folder.path();
    for answer in [401, 400] {
        let refuses = StandIn::before(lab.prometheus, move |_| Answer::text(answer, "text/plain", "no"));
        let url = format!("http://{}", lab.prometheus);
        lab.rewrite(STACK, &url, &refuses.url());
        // Were it waited for, it would take three hours.
        let run = start(path, &["verify", "-o", "json"], &[]);
        ends_soon(run).is(3, "no-data", &format!("status {answer}"));
        lab.rewrite(STACK, &refuses.url(), &url);
    }
}

#[test]
fn a_variable_that_is_not_set_ends_every_command_at_once() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_loki_at("127.0.0.1:9".parse().expect("an address")).start(None);
    lab.scenario(LOAD, "[{reconcile: {wait: 1h, lag: 1s}}]");
    lab.rewrite(
        STACK,
        "loki: {url: \"http://127.0.0.1:9\"}",
        "loki: {url: \"http://127.0.0.1:9\", credentials: {bearer: SRE_SECRET_NOT_SET}}",
    );
    let path = lab.folder.path();
    let told = |ran: Ran| ran.ends(5, "SRE_SECRET_NOT_SET is not set");
    told(sre(path, &["up", "liar", "--target", "external"]));
    told(sre(path, &["run", "lie", "--target", "external"]));
    let set = [("SRE_SECRET_NOT_SET", "s3cr3t")];
    sre_with(path, &["run", "lie", "--target", "external"], &set).ends(0, "200 = 200");
    told(sre(path, &["verify"]));
}

#[track_caller]
fn ends_soon(mut run: Child) -> Verdict {
    let started = Instant::now();
    while run.try_wait().expect("it is there").is_none() {
        if started.elapsed() > Duration::from_secs(60) {
            let _ = run.kill();
            panic!("it waits for what will not come");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    verdict(run)
}
