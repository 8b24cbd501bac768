//! The closed model against a server that knows exactly what it answered.

#[path = "support/exact_server.rs"]
mod exact_server;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use exact_server::ExactServer;
use serde_json::{Value, json};
use sre::exit::Exit;
use sre::interrupt::Interrupt;
use sre::load::{Fate, LoadResult, LoadRun, NotSent, Sample, Share, Unknown, execute};
use sre::scenario::Scenario;
use sre::target::Replica;

/// Loads on goose take turns; a test's time begins when it is its turn.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn run(urls: &[url::Url], load: Value, requests: Value, interrupt: &Interrupt) -> LoadResult {
    let scenario = json!({"name": "test", "load": {"users": load}, "requests": requests});
    let scenario: Scenario = serde_json::from_value(scenario).expect("a scenario");
    let replicas: Vec<Replica> = urls
        .iter()
        .map(|url| Replica { name: url.to_string(), url: url.clone(), instance: None, admin: None })
        .collect();
    let samples = Mutex::new(Vec::<Sample>::new());
    let _turn = TURN.lock().await;
    let run = LoadRun {
        scenario: &scenario,
        replicas: &replicas,
        salt: "test",
        share: Share::ALL,
        interrupt,
        start: Instant::now() + Duration::from_millis(20),
        progress: &|sample| samples.lock().expect("no panic").push(sample),
        noted: &|_| {},
    };
    let result = execute(run).await.expect("a load");
    let samples = samples.into_inner().expect("no panic");
    assert_eq!(samples.iter().map(|sample| sample.sent).sum::<u64>(), result.summary.total.sent);
    assert!(samples.iter().all(|sample| sample.phase == "users" && sample.asked_rate.is_none()));
    result
}

fn fates(result: &LoadResult, which: impl Fn(Fate) -> bool) -> u64 {
    result.summary.tallies.iter().filter(|tally| which(tally.fate)).map(|tally| tally.count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_counted_and_no_request_is_cut_off_at_the_end() {
    let servers = [ExactServer::start().await, ExactServer::start().await];
    let urls = servers.each_ref().map(|server| server.url.clone());
    let requests = json!({
        "ok": {"path": "/status/200", "weight": 6},
        "missing": {"path": "/status/404", "expect": 404, "weight": 2},
        "chunked": {"path": "/drip", "contains": "exactly this"},
        "slow": {"path": "/slow/300"},
    });
    let result = run(
        &urls,
        json!({"users": 8, "duration": "1500ms", "ramp": "200ms"}),
        requests,
        &Interrupt::default(),
    )
    .await;
    let total = &result.summary.total;
    assert_eq!((total.not_sent, total.unknown, total.unexpected), (0, 0, 0), "{:?}", result.summary.tallies);
    assert!(total.sent > 100, "{total:?}");
    let counts = servers.each_ref().map(ExactServer::counts);
    assert_eq!(counts.iter().map(exact_server::Counts::all).sum::<u64>(), total.sent);
    for (replica, counts) in counts.iter().enumerate() {
        for (name, path) in
            [("ok", "/status/200"), ("missing", "/status/404"), ("chunked", "/drip"), ("slow", "/slow/300")]
        {
            let tallied = result
                .summary
                .tallies
                .iter()
                .filter(|tally| tally.request == name && tally.replica == replica);
            assert_eq!(
                tallied.map(|tally| tally.count).sum::<u64>(),
                counts.path(path),
                "{name} at {replica}"
            );
        }
    }
    let ids: BTreeSet<&String> = counts.iter().flat_map(|counts| &counts.ids).collect();
    assert_eq!(ids.len() as u64, total.sent);
    assert_eq!(total.times.since_due.count, total.sent);
    assert!(result.summary.requests["slow"].times.service.p50 >= 300.0, "times end with the last byte");
    assert_eq!(result.summary.asked, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_think() {
    let server = ExactServer::start().await;
    let load = json!({"users": 5, "duration": "1s", "think": "100ms"});
    let result = run(
        std::slice::from_ref(&server.url),
        load,
        json!({"ok": {"path": "/status/200"}}),
        &Interrupt::default(),
    )
    .await;
    assert!(
        (20..=50).contains(&result.summary.total.sent),
        "5 users, at the most 10 times each: {}",
        result.summary.total.sent
    );
}

/// Nobody accepts, and the queue is full: the system takes no more, as where a network drops what is sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_connection_in_time_is_not_sent() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    loop {
        let attempt = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(500), attempt).await {
            Ok(stream) => waiting.push(stream.expect("connected")),
            Err(_) => break,
        }
        assert!(waiting.len() < 10, "the queue is never full");
    }
    let url = format!("http://{address}").parse().expect("a url");
    let load = json!({"users": 2, "duration": "500ms", "http": {"timeout": "200ms"}});
    let result = run(&[url], load, json!({"ok": {"path": "/status/200"}}), &Interrupt::default()).await;
    let late = fates(&result, |fate| fate == Fate::NotSent(NotSent::ConnectTimeout));
    assert_eq!((result.summary.total.sent, result.summary.total.not_sent), (0, late));
    assert!(late >= 2, "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_arrived_is_an_interval() {
    let server = ExactServer::start().await;
    let requests = json!({
        "ok": {"path": "/status/200", "weight": 4}, "cut": {"path": "/cut"}, "reset": {"path": "/reset"}, "never": {"path": "/never"},
    });
    let load = json!({"users": 4, "duration": "1500ms", "http": {"timeout": "200ms"}});
    let result = run(std::slice::from_ref(&server.url), load, requests, &Interrupt::default()).await;
    let counts = server.counts();
    let summary = |name: &str| &result.summary.requests[name];
    assert_eq!(counts.path("/status/200"), summary("ok").statuses[&200]);
    for (name, path, why) in [
        ("cut", "/cut", Unknown::Closed),
        ("reset", "/reset", Unknown::Reset),
        ("never", "/never", Unknown::Timeout),
    ] {
        assert!(counts.path(path) > 0, "{name}");
        assert_eq!(counts.path(path), summary(name).unknown, "{name}");
        let tally = result.summary.tallies.iter().find(|tally| tally.request == name).expect("a tally");
        assert_eq!(tally.fate, Fate::Unknown(why));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_not_hammered() {
    let gone =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a free port");
    let url = format!("http://{gone}").parse().expect("a URL");
    let load = json!({"users": 10, "duration": "1s"});
    let result = run(&[url], load, json!({"ok": {"path": "/"}}), &Interrupt::default()).await;
    let refused = fates(&result, |fate| fate == Fate::NotSent(NotSent::Refused));
    assert_eq!((result.summary.total.sent, result.summary.total.not_sent), (0, refused));
    assert!((10..=60).contains(&refused), "each of 10 users waits longer each time: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_and_retries_are_off_unless_asked_for() {
    let server = ExactServer::start().await;
    let requests = json!({"moved": {"path": "/moved", "expect": 302}, "cut": {"path": "/cut"}});
    let load = json!({"users": 2, "duration": "400ms", "think": "20ms"});
    let result = run(std::slice::from_ref(&server.url), load, requests.clone(), &Interrupt::default()).await;
    assert_eq!(server.counts().path("/status/200"), 0);
    assert_eq!(server.counts().all(), result.summary.total.sent);

    let server = ExactServer::start().await;
    let load =
        json!({"users": 2, "duration": "400ms", "think": "20ms", "http": {"redirects": 1, "retries": 1}});
    let result = run(std::slice::from_ref(&server.url), load, requests, &Interrupt::default()).await;
    let counts = server.counts();
    assert!(
        counts.path("/moved").abs_diff(counts.path("/status/200")) <= 2,
        "all but each user's last: {counts:?}"
    );
    assert!(counts.path("/status/200") > 0, "{counts:?}");
    assert!(counts.path("/cut") >= 2, "{counts:?}");
    assert_eq!(counts.all(), result.summary.total.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_counts_exactly_too() {
    let server = ExactServer::start().await;
    let load = json!({"users": 4, "duration": "500ms", "http": {"version": "2"}});
    let result = run(
        std::slice::from_ref(&server.url),
        load,
        json!({"ok": {"path": "/status/200"}}),
        &Interrupt::default(),
    )
    .await;
    assert_eq!(server.counts().all(), result.summary.total.statuses[&200]);
    assert_eq!(server.counts().connections, 4, "one a user");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_load_ends_soon_and_says_so() {
    let server = ExactServer::start().await;
    let interrupt = Interrupt::default();
    let began = std::sync::OnceLock::new();
    let load = json!({"users": 4, "duration": "1m", "think": "10s", "http": {"timeout": "500ms"}});
    let urls = [server.url.clone()];
    let (result, ()) =
        tokio::join!(run(&urls, load, json!({"never": {"path": "/never"}}), &interrupt), async {
            while server.counts().all() < 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            interrupt.trigger(Exit::Interrupted);
            began.get_or_init(Instant::now);
        });
    let took = began.get().expect("it was interrupted").elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(result.summary.interrupted);
    assert_eq!(server.counts().path("/never"), result.summary.total.unknown);
    assert_eq!(result.summary.total.sent, 4);
}
