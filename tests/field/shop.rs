//! A service that counts its requests by path, method and status, and shows that in one of the ways that people met.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};

use crate::lab::{Lab, Verdict};
use crate::serve::{Served, serve};

/// How requests are counted and shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// One process with its counters at /metrics.
    Plain,
    /// Two processes answer in turn, also what is scraped; they tell when they started or not.
    Workers { starts: bool },
    /// Two replicas behind one address, each with its counters at a path of its own.
    Router,
    /// /metrics is renewed once in so long only.
    Renewed(Duration),
    /// The same, and only every second request is counted.
    RenewedHalf(Duration),
    /// /orders leads to /orders/ (307), and the form to its result (303).
    Redirecting,
    /// The counters are so high that one more is none more.
    Huge,
}

type Counts = BTreeMap<(String, String, u16), u64>;

#[derive(Debug, Default)]
struct State {
    /// One a process.
    counts: [Counts; 2],
    requests: u64,
    scrapes: u64,
    page: Option<(Instant, String)>,
}

/// A running shop; it ends with its value.
pub struct Shop {
    pub address: SocketAddr,
    _server: Served,
}

impl Shop {
    pub fn start(way: Way) -> Shop {
        let state = Arc::new(Mutex::new(State::default()));
        let router = axum::Router::new().fallback(move |request: Request<Body>| {
            let response = respond(way, &mut state.lock().expect("no panic"), &request);
            async move { response }
        });
        let server = serve(router);
        Shop { address: server.address, _server: server }
    }

    /// Sends it requests of somebody else's.
    pub fn ask(&self, path: &str, times: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for _ in 0..times {
                reqwest::get(format!("http://{}{path}", self.address)).await.expect("an answer");
            }
        });
    }
}

fn respond(way: Way, state: &mut State, request: &Request<Body>) -> Response<Body> {
    let (path, method) = (request.uri().path().to_owned(), request.method().to_string());
    if path.ends_with("/metrics") {
        let page = page(way, state, &path);
        let response = Response::builder().header("content-type", "text/plain; version=0.0.4");
        return response.body(Body::from(page)).expect("a response");
    }
    let (status, location) = match (way, path.as_str(), method.as_str()) {
        (Way::Redirecting, "/orders", _) => (307, Some("/orders/")),
        (Way::Redirecting, "/form", "POST") => (303, Some("/done")),
        _ => (200, None),
    };
    state.requests += 1;
    let process = match way {
        Way::Workers { .. } | Way::Router => (state.requests % 2) as usize,
        _ => 0,
    };
    let counted = !matches!(way, Way::RenewedHalf(_)) || state.requests.is_multiple_of(2);
    if counted {
        *state.counts[process].entry((path, method, status)).or_default() += 1;
    }
    let mut response = Response::builder().status(status);
    if let Some(location) = location {
        response = response.header("location", location);
    }
    response.body(Body::from("ok")).expect("a response")
}

fn page(way: Way, state: &mut State, path: &str) -> String {
    state.scrapes += 1;
    match way {
        Way::Renewed(every) | Way::RenewedHalf(every) => {
            let fresh = exposition(&state.counts[0], Some(0.0), 0);
            let (taken, page) = state.page.get_or_insert_with(|| (Instant::now(), fresh.clone()));
            if taken.elapsed() >= every {
                (*taken, *page) = (Instant::now(), fresh);
            }
            page.clone()
        }
        Way::Router if path.contains("/b/") => exposition(&state.counts[1], Some(0.0), 0),
        Way::Workers { starts } => {
            let process = (state.scrapes % 2) as usize;
            exposition(&state.counts[process], starts.then_some(3.0 * process as f64), 0)
        }
        Way::Huge => exposition(&state.counts[0], None, 1 << 60),
        Way::Plain | Way::Router | Way::Redirecting => exposition(&state.counts[0], Some(0.0), 0),
    }
}

fn exposition(counts: &Counts, started: Option<f64>, more: u64) -> String {
    let mut page = "# TYPE shop_requests_total counter\n".to_owned();
    for ((path, method, code), count) in counts {
        let count = count + more;
        let _ = writeln!(
            page,
            "shop_requests_total{{path=\"{path}\",method=\"{method}\",code=\"{code}\"}} {count}"
        );
    }
    if let Some(started) = started {
        let _ = writeln!(
            page,
            "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {}",
            1e9 + started
        );
    }
    page
}

/// A lab with this shop and these scrape configurations, up and with one request behind it.
pub fn lab(shop: &Shop, scrape_configs: &str, targets: usize) -> Lab {
    let from = "scrape_configs:\n";
    let lab =
        Lab::with_jobs(&[], &[]).configured(from, &format!("{from}{scrape_configs}\n")).with_targets(targets);
    shop.ask("/list", 1);
    let lab = lab.start(None);
    scenario(&lab, "arrival-rate: {phases: [{rate: 20/s, duration: 5s}]}", "list: {path: /list}");
    let stack = format!(
        "name: liar\ncounter: {{metric: shop_requests_total, job: shop, path: path, method: method, status: code}}\n\
         external:\n  service: [\"http://{}\"]\n  prometheus: {{url: \"http://{}\"}}\n",
        shop.address, lab.prometheus
    );
    std::fs::write(lab.path("stacks/liar/stack.yaml"), stack).expect("the stack");
    lab
}

/// Writes a scenario with this executor and these requests.
pub fn scenario(lab: &Lab, load: &str, requests: &str) {
    let text = format!("name: lie\nstack: liar\nload: {{{load}}}\nrequests: {{{requests}}}\nchecks: []\n");
    std::fs::create_dir_all(lab.path("scenarios")).expect("a folder");
    std::fs::write(lab.path("scenarios/lie.yaml"), text).expect("the scenario");
}

/// The verdict on a load of 100 requests, under these checks.
pub fn verdict(lab: &Lab, checks: &str) -> Verdict {
    lab.rewrite("scenarios/lie.yaml", "checks: []", &format!("checks: {checks}"));
    lab.verdict()
}

/// A job `shop` that scrapes this address, with these further keys.
pub fn job(address: SocketAddr, more: &str) -> String {
    format!("  - {{job_name: shop, static_configs: [{{targets: [\"{address}\"]}}]{more}}}")
}
