//! What an HTTP client may expect of the service.

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::header::{ALLOW, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::App;

#[tokio::test]
async fn users_have_id_name_and_email() {
    let app = App::start(&[]);
    let request = app.client.get(app.url("/api/users")).header("x-request-id", "healthy");
    let users: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
    assert!(!users.is_empty());
    for user in users {
        assert!(user["id"].is_u64() && user["name"].is_string() && user["email"].is_string(), "{user}");
    }
}

#[tokio::test]
async fn an_echo_is_the_body_unchanged() {
    let app = App::start(&[]);
    let echo = async |content_type: &str, body: &[u8]| {
        let request = app.client.post(app.url("/api/echo")).header(CONTENT_TYPE, content_type);
        let response = request.body(body.to_vec()).send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap())
    };
    let large = format!("\"{}\"", "ä".repeat(900_000));
    for body in [
        r#" {"b": 1.0, "a": 1e3, "b": 18446744073709551616} "#,
        "null",
        "[\"\\u00e4\\n\"]\n",
        &"[".repeat(100).chars().chain("]".repeat(100).chars()).collect::<String>(),
        &large,
    ] {
        let (status, echoed) = echo("application/json; charset=utf-8", body.as_bytes()).await;
        assert_eq!(status, 200, "{body:.60}");
        assert!(echoed == body.as_bytes(), "{body:.60} came back as another");
    }
    for wrong in [&b""[..], b"{", b"{} {}", b"\"\xff\"", b"{'a': 1}"] {
        assert_eq!(echo("application/json", wrong).await.0, 400, "{wrong:?}");
    }
    assert_eq!(echo("text/plain", b"{}").await.0, 415);
    assert_eq!(echo("application/json", &vec![b'1'; (2 << 20) + 1]).await.0, 413);
    assert_eq!(echo("application/json", &vec![b'1'; 20 << 20]).await.0, 413);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let app = App::start(&[]);
    let response = app.client.delete(app.url("/api/users")).send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()[ALLOW], "GET,HEAD");
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["error"], "method_not_allowed");
}

#[tokio::test]
async fn an_unknown_type_of_error_is_a_bad_request() {
    let app = App::start(&[]);
    for query in ["?type=teapot", "?type=client&type=server"] {
        let response = app.client.get(app.url(&format!("/api/error{query}"))).send().await.unwrap();
        assert_eq!(response.status(), 400, "{query}");
        assert_eq!(response.json::<Value>().await.unwrap()["error"], json!("bad_request"), "{query}");
    }
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let app = App::start(&[]);
    let response = app.client.get(app.url("/metrics")).send().await.unwrap();
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(response.headers()[CONTENT_TYPE], content_type);
}

/// A connection is not lost on a body that the route does not take, wherever its packets are cut.
#[tokio::test]
async fn a_body_nobody_asked_for_does_not_cost_the_connection() {
    let app = App::start(&[]);
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    connection.set_nodelay(true).unwrap();
    for round in 0..20 {
        let head =
            format!("PUT /api/users HTTP/1.1\r\nhost: app\r\nx-round: {round}\r\ncontent-length: 8\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        app.wait_active(1).await;
        connection.write_all(b"{\"a\": 1}").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert!(connection.read_buf(&mut answer).await.unwrap() > 0, "closed in round {round}");
        }
        assert!(answer.starts_with(b"HTTP/1.1 405"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let app = App::start(&[]);
    let stream = TcpStream::connect(app.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, String>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = |path: &str| {
        let request = http::Request::get(app.url(path)).body(String::new()).unwrap();
        sender.send_request(request)
    };
    for path in ["/api/error", "/nowhere"].repeat(20) {
        let response = request(path).await.unwrap();
        http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    }
    let scrape = app.scrape().await;
    assert_eq!(scrape.sum("app_request_count_total", &[("http_status", "500")]), 20.0);
    assert_eq!(scrape.sum("app_request_count_total", &[]), 40.0);

    app.set_faults(json!({"latency_ms": 60_000})).await;
    let cancelled = tokio::spawn(request("/api/users"));
    app.wait_active(1).await;
    cancelled.abort();
    app.wait_active(0).await;
    assert_eq!(app.scrape().await.sum("app_request_count_total", &[("http_status", "499")]), 1.0);
}
