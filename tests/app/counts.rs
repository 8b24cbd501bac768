//! Every request is counted, once, before its answer is complete.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use sre::app::{Chance, DATABASE_ERRORS, Purpose};

use crate::support::app::App;

/// What a request is counted under: endpoint, method, status.
type Key = (String, String, String);

/// One kind of request: method, path, content type, body, and the endpoint and status that it is counted under.
type Kind = (&'static str, &'static str, &'static str, &'static str, &'static str, u16);

const KINDS: [Kind; 11] = [
    ("GET", "/api/users", "", "", "/api/users", 200),
    ("HEAD", "/api/users", "", "", "/api/users", 200),
    ("POST", "/api/echo", "application/json", r#"{"a": 1.0}"#, "/api/echo", 200),
    ("POST", "/api/echo", "application/json", "{not json", "/api/echo", 400),
    ("POST", "/api/echo", "text/plain", "{}", "/api/echo", 415),
    ("GET", "/api/error?type=client", "", "", "/api/error", 400),
    ("GET", "/api/error?type=server", "", "", "/api/error", 500),
    ("GET", "/api/error", "", "", "/api/error", 500),
    ("PUT", "/api/users", "application/json", "{}", "/api/users", 405),
    ("GET", "/api/nothing/here", "", "", "unmatched", 404),
    ("BREW", "/api/echo", "", "", "/api/echo", 405),
];

async fn send(app: &App, kind: &Kind, id: &str) -> u16 {
    let (method, path, content_type, body, ..) = *kind;
    let mut request = app
        .client
        .request(Method::from_bytes(method.as_bytes()).unwrap(), app.url(path))
        .header("x-request-id", id)
        .body(body);
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    response.bytes().await.unwrap();
    status
}

fn label(method: &str) -> &str {
    if method == "BREW" { "other" } else { method }
}

async fn counted(app: &App) -> BTreeMap<Key, u64> {
    let scrape = app.scrape().await;
    let counts = scrape.of("app_request_count_total", &[]).filter(|sample| sample.value > 0.0);
    counts
        .map(|sample| {
            let value = |key: &str| sample.labels[key].clone();
            ((value("endpoint"), value("method"), value("http_status")), sample.value as u64)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_batch_is_counted_exactly() {
    const ROUNDS: usize = 100;
    let app = App::start(&["--seed", "7"]);
    let chance = Chance::new(7);
    let mut expected = BTreeMap::<Key, u64>::new();
    let mut work = Vec::new();
    for round in 0..ROUNDS {
        for (number, kind) in KINDS.iter().enumerate() {
            let id = format!("batch-{round}-{number}");
            let (method, _, _, _, endpoint, mut status) = *kind;
            if status == 200
                && endpoint == "/api/users"
                && chance.hits(Purpose::DatabaseError, &id, DATABASE_ERRORS)
            {
                status = 500;
            }
            let key = (endpoint.to_owned(), label(method).to_owned(), status.to_string());
            *expected.entry(key).or_default() += 1;
            work.push((kind, id, status));
        }
    }
    let total = work.len() as f64;
    let answers = futures::stream::iter(work.iter().map(|(kind, id, status)| {
        let app = &app;
        async move { assert_eq!(send(app, kind, id).await, *status, "{kind:?} {id}") }
    }));
    futures::StreamExt::for_each_concurrent(answers, 16, |answer| answer).await;

    assert_eq!(counted(&app).await, expected);
    let scrape = app.scrape().await;
    let errors = expected.iter().filter(|((_, _, status), _)| status.as_str() >= "400");
    assert_eq!(scrape.sum("app_error_count_total", &[]), errors.map(|(_, count)| *count as f64).sum::<f64>());
    assert_eq!(scrape.sum("app_request_latency_seconds_count", &[]), total);
    assert_eq!(scrape.sum("app_active_requests", &[]), 0.0);
    let database = scrape.sum("app_error_count_total", &[("error_type", "database_error")]);
    let failed =
        expected.iter().filter(|((endpoint, _, status), _)| endpoint == "/api/users" && status == "500");
    assert_eq!(database, failed.map(|(_, count)| *count as f64).sum::<f64>());
    assert!(database > 0.0, "the batch holds no database error, and so does not show that they are counted");
    for (error_type, kinds) in [
        ("client_error", 1),
        ("server_error", 2),
        ("not_found", 1),
        ("method_not_allowed", 2),
        ("bad_request", 1),
        ("unsupported_media_type", 1),
    ] {
        let count = scrape.sum("app_error_count_total", &[("error_type", error_type)]);
        assert_eq!(count, (kinds * ROUNDS) as f64, "{error_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_complete_answer_finds_it_counted() {
    let app = App::start(&[]);
    let large = format!("[{}]", vec!["1234567"; 100_000].join(","));
    for sent in 1..=300_u32 {
        let request = match sent % 6 {
            0 => app.client.get(app.url("/api/users")),
            1 => app.client.head(app.url("/api/users")),
            2 => app.client.post(app.url("/api/echo")).json(&serde_json::json!([sent])),
            3 => app.client.get(app.url("/nowhere")),
            4 => app.client.get(app.url("/api/error")).header("connection", "close"),
            _ => app
                .client
                .post(app.url("/api/echo"))
                .header("content-type", "application/json")
                .body(large.clone()),
        };
        request.send().await.unwrap().bytes().await.unwrap();
        let scrape = app.scrape().await;
        assert_eq!(scrape.sum("app_request_count_total", &[]), f64::from(sent));
        assert_eq!(scrape.sum("app_request_count_total", &[("http_status", "499")]), 0.0);
        assert_eq!(scrape.sum("app_active_requests", &[]), 0.0);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_one_value_each() {
    let app = App::start(&[]);
    for i in 0..50 {
        let method = Method::from_bytes(format!("M{i}").as_bytes()).unwrap();
        for path in [format!("/{i}"), format!("/api/users/{i}"), format!("/api/users?{i}")] {
            app.client.request(method.clone(), app.url(&path)).send().await.unwrap();
        }
    }
    let counted = counted(&app).await;
    let expected = [(("/api/users", "other", "405"), 50), (("unmatched", "other", "404"), 100)]
        .map(|((e, m, s), count)| ((e.to_owned(), m.to_owned(), s.to_owned()), count));
    assert_eq!(counted, BTreeMap::from(expected));
}

#[tokio::test]
async fn probes_and_metrics_are_not_in_the_sum() {
    let app = App::start(&[]);
    for path in ["/health/liveness", "/health/readiness", "/metrics"] {
        assert_eq!(app.client.get(app.url(path)).send().await.unwrap().status(), 200, "{path}");
        assert_eq!(app.client.head(app.url(path)).send().await.unwrap().status(), 200, "{path}");
        assert_eq!(app.client.post(app.url(path)).send().await.unwrap().status(), 405, "{path}");
    }
    assert_eq!(counted(&app).await, BTreeMap::new());
}

#[tokio::test]
async fn the_same_request_fails_on_any_replica() {
    async fn failed(app: &App) -> BTreeSet<String> {
        let mut failed = BTreeSet::new();
        for i in 0..400 {
            let id = format!("request-{i}");
            if send(app, &KINDS[0], &id).await == 500 {
                failed.insert(id);
            }
        }
        failed
    }
    let (one, two, other_seed) =
        (App::start(&["--seed", "42"]), App::start(&["--seed", "42"]), App::start(&["--seed", "43"]));
    let (one, two, other_seed) = tokio::join!(failed(&one), failed(&two), failed(&other_seed));
    assert!((2..=20).contains(&one.len()), "{} of 400 requests failed", one.len());
    assert_eq!(one, two);
    assert_ne!(one, other_seed);
}

#[tokio::test]
async fn a_process_tells_when_it_started_and_what_it_uses() {
    let before = jiff::Timestamp::now().as_millisecond() as f64 / 1e3;
    let app = App::start(&[]);
    let scrape = app.scrape().await;
    let started = scrape.sum("process_start_time_seconds", &[]);
    assert!(started >= before && started <= jiff::Timestamp::now().as_millisecond() as f64 / 1e3 + 0.001);
    assert_eq!(app.scrape().await.sum("process_start_time_seconds", &[]), started);
    assert!(scrape.sum("process_cpu_seconds_total", &[]) > 0.0);
    assert!(scrape.sum("process_resident_memory_bytes", &[]) > 1e6);
}
