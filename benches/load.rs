//! What the load generator promises, measured: `cargo bench --bench load`. Prints a table.
//!
//! Pacing (asked against sent), omission (a server that freezes), memory over a minute, and the time of
//! `sre --help`. Client and server share this machine, and this process.
#![allow(clippy::print_stdout)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use serde_json::json;
use sre::interrupt::Interrupt;
use sre::load::{LoadResult, LoadRun, Share, execute};
use sre::scenario::Scenario;
use sre::target::Replica;
use tokio::sync::watch;

/// A server that counts, and answers nothing while it is frozen.
struct Server {
    replica: Replica,
    answered: Arc<AtomicU64>,
    frozen: watch::Sender<bool>,
}

impl Server {
    /// Runs on a thread of its own.
    fn start() -> Server {
        let answered = Arc::new(AtomicU64::new(0));
        let (frozen, thaw) = watch::channel(false);
        let (told, address) = std::sync::mpsc::channel();
        let count = answered.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                told.send(listener.local_addr().expect("an address")).expect("somebody waits");
                let answer = move || {
                    let (mut thaw, count) = (thaw.clone(), count.clone());
                    async move {
                        let _ = thaw.wait_for(|frozen| !frozen).await;
                        count.fetch_add(1, Ordering::Relaxed);
                        "ok"
                    }
                };
                axum::serve(listener, Router::new().route("/", get(answer))).await.expect("a server");
            });
        });
        let address = address.recv().expect("the server's address");
        let url = format!("http://{address}").parse().expect("a URL");
        Server {
            replica: Replica { name: "bench".into(), url, instance: None, admin: None },
            answered,
            frozen,
        }
    }

    async fn load(
        &self,
        rate: u64,
        seconds: u64,
        connections: u64,
        each_second: &(dyn Fn(f64) + Sync),
    ) -> LoadResult {
        let scenario: Scenario = serde_json::from_value(json!({
            "name": "bench",
            "load": {"arrival-rate": {
                "phases": [{"duration": format!("{seconds}s"), "rate": rate}], "connections": connections,
            }},
            "requests": {"ok": {"path": "/"}},
        }))
        .expect("a scenario");
        let before = self.answered.load(Ordering::Relaxed);
        let result = execute(LoadRun {
            scenario: &scenario,
            replicas: std::slice::from_ref(&self.replica),
            salt: "bench",
            share: Share::ALL,
            interrupt: &Interrupt::default(),
            start: Instant::now() + Duration::from_millis(100),
            progress: &|sample| each_second(sample.second),
            noted: &|_| {},
        })
        .await
        .expect("a load");
        let counted = self.answered.load(Ordering::Relaxed) - before;
        assert_eq!(counted, result.summary.total.sent, "client and server count the same");
        result
    }
}

fn row(what: &str, measured: String, wanted: &str) {
    println!("{what:<44} {measured:>34}   {wanted}");
}

/// Resident memory in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

async fn pacing(server: &Server) {
    for rate in [100, 1_000, 5_000, 10_000] {
        let result = server.load(rate, 5, 256, &|_| {}).await;
        let sent = result.summary.total.sent as f64 / result.summary.seconds.max(5.0);
        let times = result.summary.total.times;
        let late = times.since_due.p50 - times.service.p50;
        let overload =
            result.summary.overload.map_or(String::new(), |overload| format!(" ({})", overload.reason));
        row(
            &format!("{rate}/s for 5 s"),
            format!("{sent:.1}/s, median {:.0} µs after due", late * 1000.0),
            &format!("within 1 % of {rate}/s{overload}"),
        );
    }
}

async fn freeze(server: &Server) {
    let freeze = async {
        tokio::time::sleep(Duration::from_millis(4_100)).await;
        server.frozen.send_replace(true);
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.frozen.send_replace(false);
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = server.load(1_000, 10, 256, &|_| {}) => result,
        () = freeze => return,
    };
    let times = result.summary.total.times;
    row(
        "frozen 2 s in 10 s at 1,000/s: p90 since due",
        format!("{:.0} ms", times.since_due.p90),
        "1,000 ms, and the drain",
    );
    row("… p99 since due", format!("{:.0} ms", times.since_due.p99), "1,900 ms within 2 %");
    row("… p90 of the service time", format!("{:.2} ms", times.service.p90), "what other tools would tell");
}

async fn memory(server: &Server) {
    let seen = Mutex::new(Vec::new());
    server.load(2_000, 61, 256, &|second| seen.lock().expect("no panic").push((second, resident()))).await;
    let seen = seen.into_inner().expect("no panic");
    let at = |second: f64| seen.iter().find(|(at, _)| *at >= second).map_or(f64::NAN, |(_, memory)| *memory);
    row(
        "resident memory, second 10 and second 60",
        format!("{:.1} MiB, {:.1} MiB", at(10.0), at(60.0)),
        &format!("{:+.1} %, within 5 %", (at(60.0) / at(10.0) - 1.0) * 100.0),
    );
}

fn help() {
    let took: Vec<Duration> = (0..20)
        .map(|_| {
            let began = Instant::now();
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_sre")).arg("--help").output();
            assert!(output.is_ok_and(|output| output.status.success()));
            began.elapsed()
        })
        .collect();
    row(
        "sre --help",
        format!("{:.1} ms", took.iter().min().map_or(f64::NAN, |best| best.as_secs_f64() * 1000.0)),
        "",
    );
}

#[tokio::main]
async fn main() {
    let server = Server::start();
    // First, while nothing else has left memory behind.
    memory(&server).await;
    pacing(&server).await;
    freeze(&server).await;
    help();
}
