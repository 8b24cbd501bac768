//! Observers that answer wrongly on the way: cut, late, redirected, empty, repeated, inflated, warning, as pages, refusals,
//! nonsense and bodies without an end. By a seed, before the real programs. The verdict stays the honest one, or it is
//! `no-data`; memory and time are bounded.
//!
//! `SRE_HOSTILE` says how many verdicts are asked for, `SRE_SEED` repeats those of an earlier run.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Response, Uri};
use futures::StreamExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::commands::{Ran, sre_measured};
use crate::lab::{Lab, until};
use crate::liar::{Liar, Lie};
use crate::serve::{Served, serve};

/// How an answer is spoilt.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    Cut,
    CutUntold,
    Late,
    Elsewhere,
    Circle,
    Page,
    Unauthorised,
    BadRequest,
    NotFound,
    TooMany,
    Unavailable,
    Empty,
    NoSeries,
    Repeated,
    Padded,
    Endless,
    Trickle,
    Warns,
    Fails,
    Partial,
    NotANumber,
    Infinite,
    Huge,
    Words,
    Twice,
    Disordered,
    OtherTimes,
    Deep,
    Gzip,
    OtherType,
}

const HARMS: &[Harm] = &[
    Harm::Cut,
    Harm::CutUntold,
    Harm::Late,
    Harm::Elsewhere,
    Harm::Circle,
    Harm::Page,
    Harm::Unauthorised,
    Harm::BadRequest,
    Harm::NotFound,
    Harm::TooMany,
    Harm::Unavailable,
    Harm::Empty,
    Harm::NoSeries,
    Harm::Repeated,
    Harm::Padded,
    Harm::Endless,
    Harm::Trickle,
    Harm::Warns,
    Harm::Fails,
    Harm::Partial,
    Harm::NotANumber,
    Harm::Infinite,
    Harm::Huge,
    Harm::Words,
    Harm::Twice,
    Harm::Disordered,
    Harm::OtherTimes,
    Harm::Deep,
    Harm::Gzip,
    Harm::OtherType,
];

/// Each answer of a server, spoilt or not.
struct Hostile {
    served: Served,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    on: AtomicBool,
    spoilt: AtomicU64,
    random: Mutex<StdRng>,
    /// One in so many answers is spoilt.
    one_in: AtomicU64,
    earlier: Mutex<VecDeque<Vec<u8>>>,
}

impl Hostile {
    fn before(to: SocketAddr) -> Hostile {
        let shared = Arc::new(Shared {
            to,
            on: AtomicBool::new(false),
            spoilt: AtomicU64::new(0),
            random: Mutex::new(StdRng::seed_from_u64(0)),
            one_in: AtomicU64::new(1),
            earlier: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let router = axum::Router::new().fallback(move |uri: Uri| {
            let shared = Arc::clone(&own);
            async move { shared.answer(uri).await }
        });
        Hostile { served: serve(router), shared }
    }

    fn url(&self) -> String {
        format!("http://{}", self.served.address)
    }

    fn begin(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        self.shared.one_in.store([1, 2, 5, 10, 20][random.random_range(0..5)], Ordering::SeqCst);
        *self.shared.random.lock().expect("no panic") = random;
        self.shared.on.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    async fn answer(&self, uri: Uri) -> Response<Body> {
        let url = format!("http://{}{}", self.to, uri.path_and_query().map_or("/", |all| all.as_str()));
        let Ok(answer) = reqwest::get(url).await else { return plain(502, Vec::new()) };
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default();
        let Some((harm, number)) = self.harm(&uri) else { return plain(status, body) };
        self.spoilt.fetch_add(1, Ordering::SeqCst);
        let repeated = {
            let mut earlier = self.earlier.lock().expect("no panic");
            earlier.push_back(body.clone());
            earlier.truncate(50);
            earlier[number as usize % earlier.len()].clone()
        };
        if harm == Harm::Late {
            tokio::time::sleep(Duration::from_millis(number % 1500)).await;
        }
        spoil(harm, number, status, body, repeated)
    }

    fn harm(&self, uri: &Uri) -> Option<(Harm, u64)> {
        let mut random = self.random.lock().expect("no panic");
        let one_in = self.one_in.load(Ordering::SeqCst);
        if !self.on.load(Ordering::SeqCst) || random.random_range(0..one_in) != 0 {
            return None;
        }
        let harm = HARMS[random.random_range(0..HARMS.len())];
        // An earlier answer to the same question about alerts is an honest one of another time: nothing in it tells that it
        // is wrong.
        let of_alerts = uri.query().is_some_and(|query| query.contains("ALERTS"));
        (!of_alerts || harm != Harm::Repeated).then(|| (harm, random.random_range(0..1_000_000)))
    }
}

fn plain(status: u16, body: impl Into<Body>) -> Response<Body> {
    with(status, "content-type", "application/json", body)
}

fn with(status: u16, name: &str, value: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header(name, value).body(body.into()).expect("a response")
}

fn spoil(harm: Harm, number: u64, status: u16, body: Vec<u8>, repeated: Vec<u8>) -> Response<Body> {
    let cut = || body[..number as usize % body.len().max(1)].to_vec();
    let changed = |change: &dyn Fn(&mut Value)| match serde_json::from_slice::<Value>(&body) {
        Ok(mut json) if json.get("data").is_some() => {
            change(&mut json);
            plain(status, json.to_string())
        }
        // No answer of that kind.
        _ => plain(status, Body::empty()),
    };
    let each_value = |text: &'static str| {
        changed(&|json: &mut Value| each_sample(&mut json["data"], &|sample| sample[1] = json!(text)))
    };
    match harm {
        Harm::Late => plain(status, body),
        // As long as it says: half of it is all that comes.
        Harm::Cut => {
            let half = futures::stream::iter([Ok(Bytes::from(cut())), Err(std::io::Error::other("cut"))]);
            plain(status, Body::from_stream(half))
        }
        Harm::CutUntold => plain(status, cut()),
        Harm::Elsewhere => with(302, "location", "http://127.0.0.1:9/login", Body::empty()),
        Harm::Circle => with(307, "location", "/api/v1/query?query=time()", Body::empty()),
        Harm::Page => with(200, "content-type", "text/html", "<!doctype html><title>Sign in</title>"),
        Harm::Unauthorised => plain(401, "who is it?"),
        Harm::BadRequest => plain(400, r#"{"status":"error","error":"no"}"#),
        Harm::NotFound => plain(404, "404 page not found"),
        Harm::TooMany => with(429, "retry-after", "1", "slowly"),
        Harm::Unavailable => with(503, "retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", "starting up"),
        Harm::Empty => plain(200, Body::empty()),
        Harm::NoSeries => changed(&|json: &mut Value| {
            if let Some(result) = json.pointer_mut("/data/result") {
                *result = json!([]);
            }
        }),
        Harm::Repeated => plain(status, repeated),
        Harm::Padded => {
            let chunk = Ok::<_, Infallible>(Bytes::from(vec![b' '; 1 << 20]));
            let first = futures::stream::iter([Ok(Bytes::from(cut()))]);
            plain(status, Body::from_stream(first.chain(futures::stream::repeat(chunk).take(80))))
        }
        Harm::Endless => {
            let chunk = Ok::<_, Infallible>(Bytes::from(vec![b'['; 1 << 16]));
            plain(status, Body::from_stream(futures::stream::repeat(chunk)))
        }
        Harm::Trickle => {
            let bytes: Vec<u8> = body.iter().copied().take(20).collect();
            let slowly = futures::stream::iter(bytes).then(|byte| async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, Infallible>(Bytes::from(vec![byte]))
            });
            plain(status, Body::from_stream(slowly))
        }
        Harm::Warns => changed(&|json: &mut Value| json["warnings"] = json!(["a store is away"])),
        Harm::Fails => plain(200, r#"{"status":"error","errorType":"internal","error":"no"}"#),
        Harm::Partial => changed(&|json: &mut Value| json["status"] = json!("partial")),
        Harm::NotANumber => each_value("NaN"),
        Harm::Infinite => each_value("+Inf"),
        Harm::Huge => each_value("1e309"),
        Harm::Words => each_value("many"),
        Harm::Twice => changed(&|json: &mut Value| {
            if let Some(all) = json.pointer_mut("/data/result").and_then(Value::as_array_mut) {
                all.extend(all.clone());
            }
        }),
        Harm::Disordered => changed(&|json: &mut Value| {
            let all = json.pointer_mut("/data/result").and_then(Value::as_array_mut);
            for series in all.into_iter().flatten() {
                if let Some(values) = series.get_mut("values").and_then(Value::as_array_mut) {
                    values.reverse();
                }
            }
        }),
        Harm::OtherTimes => changed(&|json: &mut Value| {
            let time = if number.is_multiple_of(2) { -62_135_596_800_i64 } else { 253_402_300_799 };
            each_sample(&mut json["data"], &|sample| sample[0] = json!(time));
        }),
        Harm::Deep => plain(200, format!("{{\"status\":\"success\",\"data\":{}", "[".repeat(1_000_000))),
        Harm::Gzip => with(status, "content-encoding", "gzip", cut()),
        Harm::OtherType => {
            plain(200, r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#)
        }
    }
}

/// `[time, "value"]` everywhere.
fn each_sample(json: &mut Value, change: &dyn Fn(&mut Vec<Value>)) {
    match json {
        Value::Array(items) => {
            if let [Value::Number(_), Value::String(_)] = items.as_slice() {
                change(items);
            } else {
                items.iter_mut().for_each(|item| each_sample(item, change));
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| each_sample(field, change)),
        _ => {}
    }
}

/// How many verdicts, and the first seed.
#[allow(clippy::print_stderr, reason = "it tells how to repeat a failure")]
fn rounds() -> (u64, u64) {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (rounds, seed) = (read("SRE_HOSTILE").unwrap_or(12), read("SRE_SEED").unwrap_or_else(rand::random));
    eprintln!("SRE_SEED={seed} SRE_HOSTILE={rounds}");
    (rounds, seed)
}

/// Asks for the verdict on the newest run again and again, through spoilt answers.
#[allow(clippy::print_stderr, reason = "it tells the figures")]
fn stays_honest(lab: &Lab, hostile: &[&Hostile], honest: i32) {
    let (rounds, first) = rounds();
    let (mut highest, mut longest, mut same) = (0, Duration::ZERO, 0);
    for round in 0..rounds {
        let seed = first.wrapping_add(round);
        hostile
            .iter()
            .enumerate()
            .for_each(|(i, one)| one.begin(seed.wrapping_mul(31).wrapping_add(i as u64)));
        let began = Instant::now();
        let (ran, memory): (Ran, u64) = sre_measured(lab.folder.path(), &["verify", "-o", "json"]);
        let took = began.elapsed();
        assert!(ran.exit == honest || ran.exit == 3, "SRE_SEED={seed}: {ran:#?}");
        assert!(!ran.stderr.contains("panicked"), "SRE_SEED={seed}: {ran:#?}");
        assert!(memory < 512 << 20, "SRE_SEED={seed}: {memory} bytes of memory");
        assert!(took < Duration::from_secs(300), "SRE_SEED={seed}: {took:?}");
        (highest, longest) = (memory.max(highest), took.max(longest));
        same += u64::from(ran.exit == honest);
    }
    let spoilt: u64 = hostile.iter().map(|one| one.shared.spoilt.load(Ordering::SeqCst)).sum();
    assert!(spoilt > 0, "no answer was spoilt");
    eprintln!(
        "{spoilt} spoilt answers, {rounds} verdicts: {same} the honest one, {} no-data; {} MiB, {longest:?} at the most",
        rounds - same,
        highest >> 20
    );
}

#[test]
fn no_spoilt_answer_of_prometheus_makes_a_wrong_verdict() {
    let checks = "[{targets: {wait: 1s}}, {reconcile: {wait: 1s}}, {series: {series: requests_total, wait: 1s}}, \
                  {promql: {expr: \"sum(up)\", is: \"== 1\", wait: 1s}}]";
    for (lie, exit) in [(Lie::None, 0), (Lie::Skips(20), 1)] {
        let liar = Liar::start(lie);
        let lab = Lab::new(&[&liar]).start(None);
        let hostile = Hostile::before(lab.prometheus);
        let lab = lab.asked_at(&hostile.url());
        lab.scenario("phases: [{duration: 4s, rate: 50/s}]", checks);
        assert_eq!(lab.verdict().exit, exit);
        stays_honest(&lab, &[&hostile], exit);
    }
}

#[test]
fn no_spoilt_answer_makes_an_alert_that_was_not_or_loses_one() {
    let checks = "[{alert: {name: Alarm, fires: 30s, resolves: 30s, delivered: 30s}}]";
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_notifications().start(Some("Alarm"));
    let before = [lab.prometheus, lab.alertmanager().expect("one"), lab.receiver().expect("one")];
    let hostile = before.map(Hostile::before);
    let lab = lab.asked_at(&hostile[0].url());
    lab.scenario("phases: [{duration: 6s, rate: 20/s}]", checks);
    lab.rewrite("stacks/liar/stack.yaml", &before[1].to_string(), &hostile[1].served.address.to_string());
    lab.rewrite("stacks/liar/stack.yaml", &before[2].to_string(), &hostile[2].served.address.to_string());
    let run = lab.run();
    until("the load", || liar.requests() > 5);
    liar.alarm(true);
    until("the alert", || {
        lab.query("ALERTS{alertstate=\"firing\"}")["data"]["result"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    });
    liar.alarm(false);
    let honest = crate::lab::verdict(run);
    assert_eq!(honest.exit, 0, "{honest:#?}");
    stays_honest(&lab, &hostile.iter().collect::<Vec<_>>(), 0);
}
