//! Requests whose client went away are told apart, and counted once.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::app::App;
use crate::support::wait::until;

const BROKEN_OFF: [(&str, &str); 1] = [("http_status", "499")];

/// A connection that takes so little at once that a large answer can't be handed over unread.
async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(address).await.unwrap()
}

async fn wait_broken_off(app: &App, count: f64) {
    until("the request to be counted as broken off", async || {
        (app.scrape().await.sum("app_request_count_total", &BROKEN_OFF) >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_hangs_up_before_its_answer() {
    let app = App::start(&[]);
    app.set_faults(json!({"latency_ms": 60_000})).await;
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    connection
        .write_all(b"GET /api/users HTTP/1.1\r\nhost: app\r\nx-request-id: gone\r\n\r\n")
        .await
        .unwrap();
    app.wait_active(1).await;
    drop(connection);
    wait_broken_off(&app, 1.0).await;

    let scrape = app.scrape().await;
    assert_eq!(scrape.sum("app_request_count_total", &[]), 1.0);
    assert_eq!(
        scrape
            .sum("app_request_count_total", &[("endpoint", "/api/users"), ("method", "GET"), BROKEN_OFF[0]]),
        1.0
    );
    assert_eq!(scrape.sum("app_error_count_total", &[("error_type", "client_disconnected")]), 1.0);
    assert_eq!(scrape.sum("app_error_count_total", &[]), 1.0);
    assert_eq!(scrape.sum("app_active_requests", &[]), 0.0);
    let (_, log) = app.stop().await;
    let lines: Vec<_> = log.iter().filter(|line| line["request_id"] == "gone").collect();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["status"], &lines[0]["error_type"]), (&json!(499), &json!("client_disconnected")));
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_middle_of_its_answer() {
    let app = App::start(&[]);
    let body = vec![b'1'; 2 << 20];
    let mut connection = narrow(app.address).await;
    let head = format!(
        "POST /api/echo HTTP/1.1\r\nhost: app\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&body).await.unwrap();
    let mut start = [0; 1_000];
    connection.read_exact(&mut start).await.unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&start));
    assert_eq!(
        app.scrape().await.sum("app_request_count_total", &[]),
        0.0,
        "the answer is not handed over yet"
    );
    drop(connection);
    wait_broken_off(&app, 1.0).await;
    assert_eq!(app.scrape().await.sum("app_request_count_total", &[]), 1.0);
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_middle_of_its_request_body() {
    let app = App::start(&[]);
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    let head = b"POST /api/echo HTTP/1.1\r\nhost: app\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    connection.write_all(head).await.unwrap();
    app.wait_active(1).await;
    drop(connection);
    app.wait_active(0).await;
    // Which of the two depends on whether the end of the connection or of the body is seen first.
    let scrape = app.scrape().await;
    let ends = ["400", "499"].map(|status| scrape.sum("app_request_count_total", &[("http_status", status)]));
    assert_eq!(ends.iter().sum::<f64>(), 1.0);
    assert_eq!(scrape.sum("app_request_count_total", &[]), 1.0);
    assert_eq!(scrape.sum("app_error_count_total", &[]), 1.0);
}

#[tokio::test]
async fn a_hundred_hang_ups_at_once() {
    let app = App::start(&[]);
    app.set_faults(json!({"latency_ms": 60_000})).await;
    let mut connections = Vec::new();
    for _ in 0..100 {
        let mut connection = TcpStream::connect(app.address).await.unwrap();
        connection.write_all(b"GET /nowhere HTTP/1.1\r\nhost: app\r\n\r\n").await.unwrap();
        connections.push(connection);
    }
    app.wait_active(100).await;
    drop(connections);
    app.wait_active(0).await;
    let scrape = app.scrape().await;
    assert_eq!(scrape.sum("app_request_count_total", &BROKEN_OFF), 100.0);
    assert_eq!(scrape.sum("app_request_count_total", &[]), 100.0);
}
