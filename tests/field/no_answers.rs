//! A service that does not answer is never a pass without a word.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{Lab, Verdict};
use crate::liar::{Liar, Lie};

/// A service that counts and answers, stops listening some time after its first request, and has its metrics elsewhere.
struct Vanishing {
    address: SocketAddr,
    metrics: crate::serve::Served,
    ended: Arc<AtomicBool>,
}

impl Drop for Vanishing {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
    }
}

impl Vanishing {
    fn after(time: Duration) -> Vanishing {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (counted, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&counted), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut first = None;
            for stream in listener.incoming() {
                // Nobody listens any more once this thread has ended.
                if end.load(Ordering::SeqCst) || first.is_some_and(|first: Instant| first.elapsed() > time) {
                    return;
                }
                let mut stream = stream.expect("a connection");
                // Whoever looks only whether somebody listens asks for nothing.
                if stream.read(&mut [0; 4096]).unwrap_or(0) == 0 {
                    continue;
                }
                first.get_or_insert_with(Instant::now);
                count.fetch_add(1, Ordering::SeqCst);
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
            }
        });
        let page = axum::Router::new().fallback(move || {
            let counted = counted.load(Ordering::SeqCst);
            let page = format!(
                "# TYPE requests_total counter\nrequests_total{{path=\"/ok\",code=\"200\"}} {counted}\n"
            );
            async move { ([("content-type", "text/plain; version=0.0.4")], page) }
        });
        Vanishing { address, metrics: crate::serve::serve(page), ended }
    }
}

const ONE: &str = "requests: {ok: {path: /ok}}";
const OPEN: &str = "arrival-rate: {phases: [{rate: 20/s, duration: 5s}]}";

/// The verdict on a service that is gone after a second, under this load and with these further keys.
fn gone_for_most_of(load: &str, more: &str) -> Verdict {
    let service = Vanishing::after(Duration::from_secs(1));
    let liar = Liar::start(Lie::None);
    let lab = Lab::with_jobs(&[&liar], &[("liar", &[service.metrics.address])]).start(None);
    lab.scenario_of(load, &format!("{ONE}\n{more}"), "[{reconcile: {wait: 5s}}]");
    lab.rewrite("stacks/liar/stack.yaml", &liar.address.to_string(), &service.address.to_string());
    lab.rewrite("stacks/liar/stack.yaml", &liar.metrics.to_string(), &service.metrics.address.to_string());
    lab.verdict()
}

/// What the check on answers says.
fn answered(verdict: &Verdict) -> &serde_json::Value {
    let checks = verdict.json["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["kind"] == "answered").expect("it is always there")
}

#[test]
fn a_service_that_is_gone_for_most_of_the_load_fails_with_the_reasons() {
    let verdict = gone_for_most_of(OPEN, "");
    verdict.is(1, "fail", "refused");
    let refused = verdict.json["failures"]["ok"]["refused"].as_u64().expect("a count");
    assert!(refused > 50 && refused < 100, "{verdict:#?}");
    assert_eq!(answered(&verdict)["verdict"], "fail");
    assert_eq!(verdict.json["requests"]["due"], 100);
}

#[test]
fn users_who_are_refused_fail_too() {
    let verdict = gone_for_most_of("users: {users: 2, duration: 5s, think: 100ms}", "");
    verdict.is(1, "fail", "refused");
}

#[test]
fn a_threshold_may_allow_for_it_and_it_is_told_all_the_same() {
    let verdict = gone_for_most_of(OPEN, "thresholds: [error rate < 95%]");
    verdict.is(0, "pass", "refused");
    assert_eq!(answered(&verdict)["verdict"], "pass");
}

#[test]
fn every_format_says_so_beside_the_verdict() {
    let service = Vanishing::after(Duration::from_secs(1));
    let liar = Liar::start(Lie::None);
    let lab = Lab::with_jobs(&[&liar], &[("liar", &[service.metrics.address])]).start(None);
    lab.scenario_of(OPEN, &format!("{ONE}\nthresholds: [error rate < 95%]"), "[{reconcile: {wait: 5s}}]");
    lab.rewrite("stacks/liar/stack.yaml", &liar.address.to_string(), &service.address.to_string());
    lab.rewrite("stacks/liar/stack.yaml", &liar.metrics.to_string(), &service.metrics.address.to_string());
    lab.verdict().is(0, "pass", "refused");
    let report = |format: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sre"));
        let output = command.args(["report", "--format", format]).current_dir(lab.folder.path()).output();
        String::from_utf8(output.expect("sre starts").stdout).expect("text")
    };
    let line = |text: &str| text.lines().find(|line| line.contains("without an answer")).map(str::to_owned);
    assert!(line(&report("text")).is_some_and(|line| line.starts_with("PASS")), "{}", report("text"));
    assert!(report("text").contains("the connection was refused"), "{}", report("text"));
    assert!(line(&report("markdown")).is_some_and(|line| line.contains("checks")), "{}", report("markdown"));
    assert!(report("junit").contains("failed.ok.refused"), "{}", report("junit"));
}

#[test]
fn answers_that_are_all_cut_short_prove_nothing() {
    let liar = Liar::start(Lie::Cuts { one_in: 1, counted: true, twice: false });
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario_of(OPEN, ONE, "[{reconcile: {wait: 3s}}]");
    let verdict = lab.verdict();
    verdict.is(3, "no-data", "no request got a complete answer: any count up to 100 would agree");
    assert_eq!(verdict.json["failures"]["ok"]["closed"], 100, "{verdict:#?}");
}

#[test]
fn answers_that_are_all_unexpected_fail() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario_of(OPEN, "requests: {error: {path: /error}}", "[{reconcile: {wait: 3s}}]");
    let verdict = lab.verdict();
    verdict.is(1, "fail", "0 of 100: 100 unexpected status");
    assert_eq!(verdict.json["failures"]["error"]["unexpected-status"], 100);
}

#[test]
fn a_load_of_which_nothing_left_is_no_success() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario_of(OPEN, ONE, "[{reconcile: {wait: 3s}}]");
    assert_eq!(lab.sre(&["up", "liar", "--target", "external"]), Some(0));
    let address = liar.address;
    drop(liar);
    crate::lab::until("the service to be gone", || std::net::TcpStream::connect(address).is_err());
    assert_eq!(lab.sre(&["load", "lie"]), Some(3));
}
