//! `sre` as a generator in a process of its own: this program, called again.

use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sre::exit::Exit;
use sre::interrupt::Interrupt;
use sre::load::{Histograms, LoadResult, LoadRun, LoadSummary, Share, Timing, execute};
use sre::scenario::Scenario;
use sre::target::Replica;

use crate::process::{Ran, run};

/// The argument that makes this program a generator.
pub const MODE: &str = "send";

/// What it sends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub url: String,
    pub rate: f64,
    pub seconds: f64,
    pub connections: usize,
    /// Nothing more leaves after this time, however much was asked for.
    pub stop_after: Option<f64>,
}

/// What it tells.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sent {
    pub summary: LoadSummary,
    /// Percentiles that a summary does not have are not needed: these two are.
    pub p90: f64,
    pub p99: f64,
}

pub fn scenario(order: &Order) -> Scenario {
    serde_json::from_value(json!({
        "name": "bench",
        "load": {"arrival-rate": {
            "phases": [{"duration": format!("{}ms", (order.seconds * 1000.0).round()), "rate": order.rate}],
            "connections": order.connections,
        }},
        "requests": {"ok": {"path": "/"}},
    }))
    .expect("a scenario")
}

pub fn replica(url: &str) -> Replica {
    Replica { name: "nginx".into(), url: url.parse().expect("a URL"), instance: None, admin: None }
}

/// Sends what is ordered, and prints what came of it.
pub fn send(order: &str) {
    let order: Order = serde_json::from_str(order).expect("an order");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let result = runtime.block_on(execute_order(&order));
    let since_due = percentiles(&result.histograms);
    let sent = Sent { summary: result.summary, p90: since_due.0, p99: since_due.1 };
    println!("{}", serde_json::to_string(&sent).expect("JSON"));
}

fn percentiles(histograms: &Histograms) -> (f64, f64) {
    let times = histograms.select(Timing::SinceDue, None, None);
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    (at(0.9), at(0.99))
}

async fn execute_order(order: &Order) -> LoadResult {
    let (scenario, replica, interrupt) = (scenario(order), replica(&order.url), Interrupt::default());
    let start = Instant::now() + Duration::from_millis(100);
    if let Some(seconds) = order.stop_after {
        let interrupt = interrupt.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until((start + Duration::from_secs_f64(seconds)).into()).await;
            interrupt.trigger(Exit::Interrupted);
        });
    }
    execute(LoadRun {
        scenario: &scenario,
        replicas: &[replica],
        salt: "bench",
        share: Share::ALL,
        interrupt: &interrupt,
        start,
        progress: &|_| {},
        noted: &|_| {},
    })
    .await
    .expect("a load")
}

/// Lets another process of this program send; what it told, and what it cost.
pub fn order(order: &Order, look: impl FnMut(u32)) -> (Sent, Ran) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([MODE, &serde_json::to_string(order).expect("JSON")]);
    let ran = run(command, look).unwrap_or_else(|why| panic!("{why}"));
    (serde_json::from_str(&ran.stdout).expect("what was sent"), ran)
}
