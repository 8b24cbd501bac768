//! Stopping: what has begun is ended, and nothing else begins.

use serde_json::json;
use tokio::net::TcpStream;

use crate::support::app::App;
use crate::support::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_under_way_is_answered() {
    let mut app = App::start(&[]);
    app.set_faults(json!({"latency_ms": 1_500})).await;
    let request = app.client.get(app.url("/api/users")).header("x-request-id", "healthy");
    let answer = tokio::spawn(request.send());
    app.wait_active(1).await;
    app.terminate();
    until("no further connections", async || TcpStream::connect(app.address).await.err()).await;
    assert!(!answer.is_finished(), "the request has to outlast the signal, for this to show something");
    let response = answer.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.unwrap().ends_with(b"]"));

    let (status, log) = app.ended().await;
    assert_eq!(status.code(), Some(0));
    let messages: Vec<_> = log.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages, ["faults set", "stopping", "request", "stopped"]);
}

#[tokio::test]
async fn it_stops_at_once_when_connections_are_idle() {
    let app = App::start(&[]);
    app.client.get(app.url("/nowhere")).send().await.unwrap().bytes().await.unwrap();
    let silent = TcpStream::connect(app.address).await.unwrap();
    let start = std::time::Instant::now();
    let (status, _) = app.stop().await;
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_is_broken_off_and_logged() {
    let mut app = App::start(&[]);
    app.set_faults(json!({"latency_ms": 60_000})).await;
    let request = app.client.get(app.url("/api/users")).header("x-request-id", "endless");
    let answer = tokio::spawn(request.send());
    app.wait_active(1).await;
    app.terminate();
    let (status, log) = app.ended().await;
    assert_eq!(status.code(), Some(0));
    assert!(answer.await.unwrap().is_err());
    let lines: Vec<_> = log.iter().filter(|line| line["request_id"] == "endless").collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["status"], 499);
}

#[tokio::test]
async fn a_drain_goes_on_serving_unready() {
    let mut app = App::start(&["--drain", "1500ms"]);
    let status =
        async |path: &str| app.client.get(app.url(path)).send().await.map(|r| r.status().as_u16()).ok();
    assert_eq!(status("/health/readiness").await, Some(200));
    app.terminate();
    until("it to be unready", async || (status("/health/readiness").await == Some(503)).then_some(())).await;
    assert_eq!(status("/nowhere").await, Some(404));
    assert_eq!(app.ended().await.0.code(), Some(0));
}
