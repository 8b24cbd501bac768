//! The fault switches on the admin port.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::wait::until;

async fn users(app: &App) -> u16 {
    // An id that the simulated database answers.
    let request = app.client.get(app.url("/api/users")).header("x-request-id", "healthy");
    request.send().await.unwrap().status().as_u16()
}

async fn told(app: &App) -> Value {
    app.client.get(format!("http://{}/faults", app.admin)).send().await.unwrap().json().await.unwrap()
}

fn none() -> Value {
    json!({"latency_ms": 0, "error_rate": 0.0, "exception_rate": 0.0, "unready": false})
}

#[tokio::test]
async fn errors_are_injected_and_counted_as_such() {
    let app = App::start(&[]);
    app.set_faults(json!({"error_rate": 1})).await;
    assert_eq!(users(&app).await, 500);
    app.end_faults().await;
    assert_eq!(users(&app).await, 200);
    let scrape = app.scrape().await;
    let errors = [("error_type", "injected_error"), ("endpoint", "/api/users")];
    assert_eq!(scrape.sum("app_error_count_total", &errors), 1.0);
    assert_eq!(scrape.sum("app_error_count_total", &[]), 1.0);
}

#[tokio::test]
async fn exceptions_are_answered_with_500_and_leave_the_connection_alive() {
    let app = App::start(&[]);
    app.set_faults(json!({"exception_rate": 1})).await;
    for _ in 0..3 {
        assert_eq!(users(&app).await, 500);
    }
    let scrape = app.scrape().await;
    let exceptions = [("type", "injected_exception"), ("endpoint", "/api/users")];
    assert_eq!(scrape.sum("app_exceptions_total", &exceptions), 3.0);
    assert_eq!(scrape.sum("app_error_count_total", &[("error_type", "exception")]), 3.0);
    assert_eq!(scrape.sum("app_request_count_total", &[("http_status", "500")]), 3.0);
    assert_eq!(scrape.sum("app_request_count_total", &[]), 3.0);
    let (_, log) = app.stop().await;
    assert_eq!(log.iter().filter(|line| line["error_type"] == "exception").count(), 3);
}

#[tokio::test]
async fn latency_is_added_to_requests_but_not_to_probes() {
    let app = App::start(&[]);
    app.set_faults(json!({"latency_ms": 300})).await;
    let start = Instant::now();
    assert_eq!(users(&app).await, 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
    let scrape = app.scrape().await;
    assert!(scrape.sum("app_request_latency_seconds_sum", &[]) >= 0.3);
    app.set_faults(json!({"latency_ms": 60_000})).await;
    let probe = app.client.get(app.url("/health/readiness")).timeout(Duration::from_secs(10));
    assert_eq!(probe.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn unready_is_told_by_readiness_alone() {
    let app = App::start(&[]);
    app.set_faults(json!({"unready": true})).await;
    let status = async |path: &str| app.client.get(app.url(path)).send().await.unwrap().status();
    assert_eq!(status("/health/readiness").await, 503);
    assert_eq!(status("/health/liveness").await, 200);
    assert_eq!(users(&app).await, 200);
    app.end_faults().await;
    assert_eq!(status("/health/readiness").await, 200);
}

#[tokio::test]
async fn a_put_sets_exactly_what_it_says_and_a_delete_ends_all() {
    let app = App::start(&[]);
    assert_eq!(told(&app).await, none());
    let all = json!({"latency_ms": 1, "error_rate": 0.2, "exception_rate": 0.1, "unready": true});
    app.set_faults(all.clone()).await;
    assert_eq!(told(&app).await, all);
    app.set_faults(json!({"latency_ms": 7})).await;
    let mut only_latency = none();
    only_latency["latency_ms"] = json!(7);
    assert_eq!(told(&app).await, only_latency);
    let ended = app.client.delete(format!("http://{}/faults", app.admin)).send().await.unwrap();
    assert_eq!(ended.status(), 200);
    assert_eq!(ended.json::<Value>().await.unwrap(), none());
    assert_eq!(told(&app).await, none());
}

#[tokio::test]
async fn faults_end_by_themselves() {
    let app = App::start(&[]);
    app.set_faults(json!({"error_rate": 1, "for_ms": 500})).await;
    assert_eq!(users(&app).await, 500);
    let left = told(&app).await["for_ms"].as_u64().unwrap();
    assert!((1..=500).contains(&left), "{left}");
    until("the fault's end", async || (told(&app).await == none()).then_some(())).await;
    assert_eq!(users(&app).await, 200);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let app = App::start(&[]);
    let before = json!({"latency_ms": 1, "error_rate": 0.0, "exception_rate": 0.0, "unready": false});
    app.set_faults(before.clone()).await;
    for wrong in [
        r#"{"error_rate": 1.5}"#,
        r#"{"exception_rate": -1}"#,
        r#"{"latency": 5}"#,
        r#"{"latency_ms": -5}"#,
        r#"{"latency_ms": 99999999}"#,
        r#"{"for_ms": 0}"#,
        r#"[]"#,
        r#"{"#,
        "",
    ] {
        let url = format!("http://{}/faults", app.admin);
        let request = app.client.put(url).header("content-type", "application/json").body(wrong);
        let response = request.send().await.unwrap();
        assert!(response.status().is_client_error(), "{wrong}: {}", response.status());
        let answer: Value = response.json().await.unwrap();
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{wrong}: {answer}");
    }
    assert_eq!(told(&app).await, before);
}

#[tokio::test]
async fn a_web_page_switches_nothing() {
    let app = App::start(&[]);
    let url = format!("http://{}/faults", app.admin);
    let on = json!({"error_rate": 1});
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.example"),
    ] {
        for request in
            [app.client.put(&url).json(&on), app.client.post(&url).json(&on), app.client.delete(&url)]
        {
            let status = request.header(name, value).send().await.unwrap().status();
            assert_eq!(status, 403, "{name}: {value}");
        }
        assert_eq!(told(&app).await, none(), "{name}: {value}");
    }
    // Somebody who follows a link, and curl.
    let status = app.client.get(&url).header("sec-fetch-site", "none").send().await.unwrap().status();
    assert_eq!(status, 200);
    app.set_faults(on).await;
}

#[tokio::test]
async fn faults_are_not_switched_on_the_public_port() {
    let app = App::start(&[]);
    let response = app.client.put(app.url("/faults")).json(&json!({"error_rate": 1})).send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(told(&app).await, none());
}
