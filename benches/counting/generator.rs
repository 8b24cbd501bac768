//! `sre` as a generator in a process of its own: this program, called again.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sre::interrupt::Interrupt;
use sre::load::{LoadRun, LoadSummary, Share, execute};
use sre::scenario::Scenario;
use sre::target::Replica;

use crate::situations::Ends;

/// The argument that makes this program a generator.
pub const MODE: &str = "send";

#[derive(Serialize, Deserialize)]
struct Order {
    url: url::Url,
    load: Value,
}

/// Users for a time, where a peer sends as fast as it can; requests that are due at their times, where there is a number of
/// them or a pace.
pub fn order(url: &str, ends: Ends, connections: u64, paced: bool) -> String {
    let http = json!({"redirects": 5, "timeout": "10s"});
    let load = match ends {
        Ends::Time(seconds) if !paced => {
            json!({"users": {"users": connections, "duration": format!("{seconds}s"), "http": http}})
        }
        Ends::Time(seconds) => json!({"arrival-rate": {
            "phases": [{"duration": format!("{seconds}s"), "rate": 1000}], "connections": connections, "http": http,
        }}),
        Ends::Number(number) | Ends::NumberOnly(number) => json!({"arrival-rate": {
            "phases": [{"duration": "500ms", "rate": number * 2}], "connections": connections, "http": http,
        }}),
    };
    serde_json::to_string(&Order { url: url.parse().expect("a URL"), load }).expect("JSON")
}

/// Sends what is ordered, and prints what came of it.
pub fn send(order: &str) {
    let order: Order = serde_json::from_str(order).expect("an order");
    let scenario: Scenario = serde_json::from_value(json!({
        "name": "counting", "load": order.load, "requests": {"ok": {"path": order.url.path()}},
    }))
    .expect("a scenario");
    let mut url = order.url.clone();
    url.set_path("/");
    let replica = Replica { name: "server".into(), url, instance: None, admin: None };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let interrupt = Interrupt::default();
    let result = runtime.block_on(execute(LoadRun {
        scenario: &scenario,
        replicas: &[replica],
        salt: "counting",
        share: Share::ALL,
        interrupt: &interrupt,
        start: Instant::now() + Duration::from_millis(50),
        progress: &|_| {},
        noted: &|_| {},
    }));
    let summary: LoadSummary = result.expect("a load").summary;
    println!("{}", serde_json::to_string(&summary).expect("JSON"));
}
