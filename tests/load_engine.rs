//! The arrival-rate engine against a server that knows exactly what it answered.

#[path = "support/exact_server.rs"]
mod exact_server;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use exact_server::ExactServer;
use serde_json::{Value, json};
use sre::check::Verdict;
use sre::exit::Exit;
use sre::interrupt::Interrupt;
use sre::load::{Fate, LoadResult, LoadRun, NotSent, Sample, Share, Unknown, execute, judge};
use sre::scenario::Scenario;
use sre::target::Replica;

fn scenario(load: Value, requests: Value) -> Scenario {
    let scenario = json!({"name": "test", "load": {"arrival-rate": load}, "requests": requests});
    serde_json::from_value(scenario).expect("a scenario")
}

fn replicas(urls: &[url::Url]) -> Vec<Replica> {
    urls.iter()
        .enumerate()
        .map(|(number, url)| Replica {
            name: format!("replica-{number}"),
            url: url.clone(),
            instance: None,
            admin: None,
        })
        .collect()
}

/// Held by all loads at the same time, but for the one that needs all of the machine.
static MACHINE: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

async fn run(scenario: &Scenario, replicas: &[Replica], interrupt: &Interrupt) -> LoadResult {
    let _others = MACHINE.read().await;
    run_now(scenario, replicas, interrupt).await
}

async fn run_now(scenario: &Scenario, replicas: &[Replica], interrupt: &Interrupt) -> LoadResult {
    let start = Instant::now() + Duration::from_millis(20);
    let run = LoadRun {
        scenario,
        replicas,
        salt: "test",
        share: Share::ALL,
        interrupt,
        start,
        progress: &|_| {},
        noted: &|_| {},
    };
    execute(run).await.expect("a load")
}

async fn load(server: &ExactServer, load: Value, requests: Value) -> LoadResult {
    run(&scenario(load, requests), &replicas(std::slice::from_ref(&server.url)), &Interrupt::default()).await
}

/// Requests of a name that ended in one of the ways that `which` picks.
fn tallied(result: &LoadResult, name: &str, which: impl Fn(Fate) -> bool) -> u64 {
    let tallies = result.summary.tallies.iter();
    tallies.filter(|tally| tally.request == name && which(tally.fate)).map(|tally| tally.count).sum()
}

fn answered(result: &LoadResult, name: &str) -> u64 {
    tallied(result, name, |fate| matches!(fate, Fate::Answered(_)))
}

fn unknown(result: &LoadResult, name: &str, why: Unknown) -> u64 {
    tallied(result, name, |fate| fate == Fate::Unknown(why))
}

/// Every request that was asked for has exactly one fate.
fn assert_complete(result: &LoadResult) {
    let fates: u64 = result.summary.tallies.iter().map(|tally| tally.count).sum();
    assert_eq!(Some(fates), result.summary.asked);
    assert_eq!(result.summary.total.sent + result.summary.total.not_sent, fates);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_counted_by_name_and_status() {
    let server = ExactServer::start().await;
    let requests = json!({
        "ok": {"path": "/status/200", "weight": 5},
        "missing": {"path": "/status/404", "expect": 404},
        "broken": {"path": "/status/500", "method": "POST", "body": "x", "weight": 2},
        "chunked": {"path": "/drip", "contains": "exactly this"},
        "other": {"path": "/status/201", "contains": "something else"},
    });
    let result = load(&server, json!({"phases": [{"duration": "1s", "rate": 1000}]}), requests).await;
    let counts = server.counts();
    assert_complete(&result);
    assert_eq!(result.summary.asked, Some(1000));
    assert_eq!(counts.all(), 1000);
    for (name, path, status, expected) in [
        ("ok", "/status/200", 200, 500),
        ("missing", "/status/404", 404, 100),
        ("broken", "/status/500", 500, 200),
        ("chunked", "/drip", 200, 100),
        ("other", "/status/201", 201, 100),
    ] {
        assert_eq!(counts.answers[&(path.to_owned(), status)], expected, "{name}");
        assert_eq!(tallied(&result, name, |fate| fate == Fate::Answered(status)), expected, "{name}");
        assert_eq!(result.summary.requests[name].times.since_due.count, expected, "{name}");
    }
    assert_eq!(result.summary.total.unexpected, 300, "broken by its status, other by its body");
    assert_eq!(result.summary.total.times.since_due_success.count, 700);
    let ids: BTreeSet<String> = counts.ids.into_iter().collect();
    assert_eq!(ids.len(), 1000, "each request has an id of its own");
    assert!(ids.contains("42-test-999"), "ids follow from seed, salt and number");
}

/// What the server counted lies between what was surely sent and what may have arrived.
fn assert_interval(result: &LoadResult, server: &ExactServer, name: &str, path: &str) {
    let (counted, sure) = (server.counts().path(path), answered(result, name));
    let possible = sure + tallied(result, name, |fate| matches!(fate, Fate::Unknown(_)));
    assert!(sure <= counted && counted <= possible, "{name}: {counted} is not in {sure}..={possible}");
    assert_eq!(tallied(result, name, |fate| matches!(fate, Fate::NotSent(_))), 0, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_arrived_is_unknown_by_its_kind() {
    let server = ExactServer::start().await;
    let requests = json!({
        "ok": {"path": "/status/200", "weight": 5},
        "close": {"path": "/close", "weight": 2},
        "cut": {"path": "/cut"},
        "reset": {"path": "/reset"},
        "never": {"path": "/never"},
    });
    let shape = json!({"phases": [{"duration": "1s", "rate": 500}], "connections": 400, "http": {"timeout": "500ms"}});
    let result = load(&server, shape, requests).await;
    assert_complete(&result);
    for (name, path) in [
        ("ok", "/status/200"),
        ("close", "/close"),
        ("cut", "/cut"),
        ("reset", "/reset"),
        ("never", "/never"),
    ] {
        assert_interval(&result, &server, name, path);
    }
    assert_eq!(answered(&result, "ok"), 250);
    assert_eq!(answered(&result, "close"), 100, "a connection that is said to be closed is not used again");
    assert_eq!(unknown(&result, "cut", Unknown::Closed), 50);
    assert_eq!(unknown(&result, "reset", Unknown::Reset), 50);
    assert_eq!(unknown(&result, "never", Unknown::Timeout), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_close_unannounced_make_at_most_an_interval() {
    let server = ExactServer::start().await;
    let requests = json!({"ok": {"path": "/status/200", "weight": 4}, "leave": {"path": "/leave"}});
    // One connection, so that requests follow closely on the answer after which it is closed.
    let shape = json!({"phases": [{"duration": "1s", "rate": 1000}], "connections": 1});
    let result = load(&server, shape, requests).await;
    assert_complete(&result);
    assert_interval(&result, &server, "ok", "/status/200");
    assert_interval(&result, &server, "leave", "/leave");
    assert!(server.counts().connections > 50, "each leave ends one: {}", server.counts().connections);
    assert!(result.summary.total.unknown < 300, "the most are sent again, because they had not left");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_counts_exactly_too() {
    let server = ExactServer::start().await;
    let requests = json!({
        "ok": {"path": "/status/200", "weight": 6},
        "missing": {"path": "/status/404", "expect": "4xx"},
        "slow": {"path": "/slow/100"},
        "cut": {"path": "/cut"},
        "never": {"path": "/never"},
    });
    let shape = json!({
        "phases": [{"duration": "1s", "rate": 500}], "connections": 4, "http": {"version": "2", "timeout": "400ms"},
    });
    let result = load(&server, shape, requests).await;
    let counts = server.counts();
    assert_complete(&result);
    assert_eq!(answered(&result, "ok"), 300);
    assert_eq!(counts.path("/status/200"), 300);
    assert_eq!(answered(&result, "missing"), counts.path("/status/404"));
    assert_eq!(answered(&result, "slow"), 50);
    assert_eq!(tallied(&result, "cut", |fate| matches!(fate, Fate::Unknown(_))), 50);
    assert_eq!(unknown(&result, "never", Unknown::Timeout), 50);
    assert!(counts.connections <= 4, "{}", counts.connections);
    assert_eq!(result.summary.overload, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connections_were_not_sent_and_are_not_hammered() {
    let server = ExactServer::start().await;
    let gone =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a free port");
    let urls = [server.url.clone(), format!("http://{gone}").parse().expect("a URL")];
    let scenario = scenario(
        json!({"phases": [{"duration": "1s", "rate": 400}]}),
        json!({"ok": {"path": "/status/200"}}),
    );
    let result = run(&scenario, &replicas(&urls), &Interrupt::default()).await;
    assert_complete(&result);
    assert_eq!(server.counts().all(), 200);
    let refused = result
        .summary
        .tallies
        .iter()
        .find(|tally| tally.replica == 1)
        .expect("a tally of the second replica");
    assert_eq!((refused.fate, refused.count), (Fate::NotSent(NotSent::Refused), 200));
    assert_eq!(result.summary.total.error_rate(), Some(0.5));
    assert_eq!(result.summary.overload, None, "a server that is gone is no slow generator");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_found_again() {
    let gone =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a free port");
    let replicas = replicas(&[format!("http://{gone}").parse().expect("a URL")]);
    let scenario =
        scenario(json!({"phases": [{"duration": "2s", "rate": 200}]}), json!({"ok": {"path": "/"}}));
    let answers = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let listener = tokio::net::TcpListener::bind(gone).await.expect("the port again");
        let app = axum::Router::new().route("/", axum::routing::get(|| async { "ok" }));
        axum::serve(listener, app).await.expect("a server");
    };
    let interrupt = Interrupt::default();
    let _others = MACHINE.read().await;
    let result = tokio::select! {
        result = run_now(&scenario, &replicas, &interrupt) => result,
        () = answers => unreachable!("the server runs on"),
    };
    assert_complete(&result);
    let answered = answered(&result, "ok");
    assert!((200..=265).contains(&answered), "it was there for 1.3 s of 2 s at 200/s: {answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http_are_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let replicas =
        replicas(&[format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a URL")]);
    let nonsense = async {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"220 mail.example ESMTP\r\n\r\n").await;
            });
        }
    };
    let scenario =
        scenario(json!({"phases": [{"duration": "200ms", "rate": 100}]}), json!({"ok": {"path": "/"}}));
    let interrupt = Interrupt::default();
    let result = tokio::select! {
        result = run(&scenario, &replicas, &interrupt) => result,
        () = nonsense => unreachable!("the server runs on"),
    };
    assert_complete(&result);
    assert_eq!(unknown(&result, "ok", Unknown::NotHttp), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_and_retries_are_off_unless_asked_for() {
    let server = ExactServer::start().await;
    let requests = json!({"moved": {"path": "/moved", "expect": 302}, "cut": {"path": "/cut"}});
    let shape = json!({"phases": [{"duration": "200ms", "rate": 100}]});
    let result = load(&server, shape, requests.clone()).await;
    assert_eq!((server.counts().path("/moved"), server.counts().path("/status/200")), (10, 0));
    assert_eq!((server.counts().path("/cut"), result.summary.total.sent), (10, 20));

    let server = ExactServer::start().await;
    let shape =
        json!({"phases": [{"duration": "200ms", "rate": 100}], "http": {"redirects": 1, "retries": 2}});
    let result = load(&server, shape, requests).await;
    assert_eq!((server.counts().path("/moved"), server.counts().path("/status/200")), (10, 10));
    assert_eq!(server.counts().path("/cut"), 30, "each retry counts");
    assert_eq!(result.summary.total.sent, 50);
    assert_eq!(result.summary.requests["moved"].statuses, [(200, 10), (302, 10)].into());
    assert_eq!(result.summary.requests["cut"].unknown, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_on_connections_that_is_reached_is_an_overload() {
    let server = ExactServer::start().await;
    let shape =
        json!({"phases": [{"duration": "1s", "rate": 200}], "connections": 2, "http": {"timeout": "1s"}});
    let result = load(&server, shape, json!({"slow": {"path": "/slow/100"}})).await;
    assert_complete(&result);
    let overload = result.summary.overload.as_ref().expect("2 connections at 100 ms are 20/s, not 200/s");
    assert!(overload.reason.starts_with("all 2 connections were waiting for answers"), "{}", overload.reason);
    assert!(overload.late + overload.never > 150, "{overload:?}");
    assert!((10.0..40.0).contains(&overload.reached), "{overload:?}");
    assert_eq!(server.counts().all(), result.summary.total.sent);
    let waited = tallied(&result, "slow", |fate| fate == Fate::NotSent(NotSent::Queue));
    assert_eq!((waited, overload.never), (result.summary.total.not_sent, result.summary.total.not_sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_beyond_this_machine_is_an_overload_and_its_counts_are_exact_all_the_same() {
    let server = ExactServer::start().await;
    let shape = json!({"phases": [{"duration": "500ms", "rate": 2_000_000}], "http": {"timeout": "500ms"}});
    let mut scenario = scenario(shape, json!({"ok": {"path": "/status/200"}}));
    scenario.thresholds =
        vec!["p95 < 1h".parse().expect("a threshold"), "error rate < 1%".parse().expect("a threshold")];
    let _alone = MACHINE.write().await;
    let result =
        run_now(&scenario, &replicas(std::slice::from_ref(&server.url)), &Interrupt::default()).await;
    assert_complete(&result);
    assert_eq!(result.summary.asked, Some(1_000_000));
    assert!(result.summary.overload.is_some());
    assert!(result.summary.seconds < 5.0, "what waits too long is given up: {}", result.summary.seconds);
    assert_eq!(server.counts().all(), result.summary.total.sent);
    let verdicts: Vec<Verdict> =
        judge(&scenario, &result.summary, &result.histograms).iter().map(|outcome| outcome.verdict).collect();
    // What was not answered found no connection here: that tells nothing of the service.
    assert_eq!(verdicts, [Verdict::Skipped; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_no_overload_while_connections_are_left() {
    let server = ExactServer::start().await;
    let shape = json!({"phases": [{"duration": "1s", "rate": 200}], "connections": 200});
    let result = load(&server, shape, json!({"slow": {"path": "/slow/500"}})).await;
    assert_complete(&result);
    assert_eq!(result.summary.overload, None);
    assert!(result.summary.total.times.since_due.p50 >= 500.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_shows_in_the_time_since_due_and_not_in_the_service_time() {
    let server = ExactServer::start().await;
    // Few connections, so that most of what is due while the server stands still has to wait for one.
    let shape = json!({"phases": [{"duration": "2s", "rate": 500}], "connections": 4});
    let frozen = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.freeze(true);
        tokio::time::sleep(Duration::from_millis(1000)).await;
        server.freeze(false);
        std::future::pending::<()>().await;
    };
    let scenario = scenario(shape, json!({"ok": {"path": "/status/200"}}));
    let (replicas, interrupt) = (replicas(std::slice::from_ref(&server.url)), Interrupt::default());
    let _others = MACHINE.read().await;
    let result = tokio::select! {
        result = run_now(&scenario, &replicas, &interrupt) => result,
        () = frozen => unreachable!("it never ends"),
    };
    assert_complete(&result);
    let times = &result.summary.total.times;
    assert!(times.since_due.p90 > 500.0, "half of all waited, evenly spread up to 1 s: {times:?}");
    assert!(times.service.p90 < 100.0, "only 4 requests were on their way: {times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_load_ends_soon_and_says_so() {
    let server = ExactServer::start().await;
    let interrupt = Interrupt::default();
    let scenario = scenario(
        json!({"phases": [{"duration": "1m", "rate": 100}], "http": {"timeout": "500ms"}}),
        json!({"ok": {"path": "/status/200"}, "never": {"path": "/never"}}),
    );
    let replicas = replicas(std::slice::from_ref(&server.url));
    let _others = MACHINE.read().await;
    let began = Instant::now();
    let (result, due) = tokio::join!(run_now(&scenario, &replicas, &interrupt), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        interrupt.trigger(Exit::Interrupted);
        began.elapsed().as_secs_f64() * 100.0
    });
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(result.summary.interrupted);
    let open = unknown(&result, "never", Unknown::Interrupted) + unknown(&result, "never", Unknown::Timeout);
    assert_eq!(server.counts().path("/never"), open);
    assert_eq!(server.counts().path("/status/200"), answered(&result, "ok"));
    let sent = result.summary.total.sent;
    assert!((sent as f64) < due + 20.0, "nothing left afterwards: {sent}, and {due} were due");
    assert!(result.summary.phases[0].seconds < 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_add_up_to_the_whole() {
    let server = ExactServer::start().await;
    let scenario = scenario(
        json!({"phases": [{"name": "up", "duration": "1s", "rate": 0, "to": 200}, {"name": "top", "duration": "1s", "rate": 200}]}),
        json!({"ok": {"path": "/status/200"}}),
    );
    let replicas = replicas(std::slice::from_ref(&server.url));
    let samples = Mutex::new(Vec::<Sample>::new());
    let interrupt = Interrupt::default();
    let _others = MACHINE.read().await;
    let run = LoadRun {
        scenario: &scenario,
        replicas: &replicas,
        salt: "test",
        share: Share::ALL,
        interrupt: &interrupt,
        start: Instant::now(),
        progress: &|sample| samples.lock().expect("no panic").push(sample),
        noted: &|_| {},
    };
    let result = execute(run).await.expect("a load");
    let samples = samples.into_inner().expect("no panic");
    assert_eq!(samples.iter().map(|sample| sample.answered).sum::<u64>(), 300);
    assert_eq!(samples.iter().map(|sample| sample.sent).sum::<u64>(), 300);
    assert_eq!((samples[0].phase.as_str(), samples[0].asked_rate), ("up", Some(100.0)));
    assert_eq!((samples[1].phase.as_str(), samples[1].asked_rate), ("top", Some(200.0)));
    let phases: Vec<u64> = result.summary.phases.iter().map(|phase| phase.total.sent).collect();
    assert_eq!(phases, [100, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_send_the_whole_once_and_their_histograms_merge() {
    let server = ExactServer::start().await;
    let scenario = scenario(
        json!({"phases": [{"duration": "500ms", "rate": 600}], "spacing": "poisson"}),
        json!({"a": {"path": "/status/200", "weight": 2}, "b": {"path": "/status/404"}}),
    );
    let replicas = replicas(&[server.url.clone(), server.url.clone()]);
    let interrupt = Interrupt::default();
    let _others = MACHINE.read().await;
    let start = Instant::now() + Duration::from_millis(20);
    let worker = |worker| {
        execute(LoadRun {
            scenario: &scenario,
            replicas: &replicas,
            salt: "test",
            share: Share { worker, workers: 3 },
            interrupt: &interrupt,
            start,
            progress: &|_| {},
            noted: &|_| {},
        })
    };
    let (a, b, c) = tokio::join!(worker(0), worker(1), worker(2));
    let results = [a.expect("a load"), b.expect("a load"), c.expect("a load")];
    results.iter().for_each(assert_complete);
    assert_eq!(results.iter().map(|result| result.summary.total.sent).sum::<u64>(), 300);
    let counts = server.counts();
    assert_eq!((counts.path("/status/200"), counts.path("/status/404")), (200, 100));
    assert_eq!(counts.ids.iter().collect::<BTreeSet<_>>().len(), 300);
    let mut merged = results[0].histograms.clone();
    merged.merge(&results[1].histograms).expect("same bounds");
    merged.merge(&results[2].histograms).expect("same bounds");
    assert_eq!(merged.times(None, None).since_due.count, 300);
}
