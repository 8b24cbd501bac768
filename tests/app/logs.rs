//! Log lines: one a request, each error's with its id.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::wait::until;

#[tokio::test]
async fn every_request_is_logged_once_and_every_error_by_its_id() {
    let app = App::start(&["--replica", "users-api-1"]);
    let mut answered = BTreeMap::new();
    for i in 0..300 {
        let id = format!("logged-{i}");
        let path = ["/api/users", "/api/error", "/api/error?type=client", "/nowhere?secret=1"][i % 4];
        let response = app.client.get(app.url(path)).header("x-request-id", &id).send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"], id.as_str());
        answered.insert(id, response.status().as_u16());
    }
    let (_, log) = app.stop().await;
    let lines: Vec<&Value> = log.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(lines.len(), 300);
    for line in lines {
        let id = line["request_id"].as_str().unwrap();
        let status = answered.remove(id).unwrap_or_else(|| panic!("{id} is logged twice"));
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["error_type"].is_string(), status >= 400, "{line}");
        let level = match status {
            500.. => "error",
            400.. => "warn",
            _ => "info",
        };
        assert_eq!(line["level"], level, "{line}");
        assert_eq!((&line["method"], &line["replica"]), (&json!("GET"), &json!("users-api-1")));
        assert!(line["latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
        assert!(line["timestamp"].as_str().is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok()), "{line}");
        assert!(!line.to_string().contains("secret"), "queries are not logged: {line}");
    }
    assert_eq!(answered, BTreeMap::new(), "not logged");
}

#[tokio::test]
async fn an_id_is_made_where_there_is_none_that_can_be_taken_over() {
    let app = App::start(&[]);
    let id = async |sent: Option<&str>| {
        let mut request = app.client.get(app.url("/nowhere"));
        if let Some(sent) = sent {
            request = request.header("x-request-id", sent);
        }
        request.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id(Some("mine")).await, "mine");
    let (first, second, insane) = (id(None).await, id(None).await, id(Some("two words")).await);
    assert!(first.len() == 36 && insane.len() == 36, "{first} {insane}");
    assert_ne!(first, second);
    let (_, log) = app.stop().await;
    for id in ["mine", &first, &second, &insane] {
        assert_eq!(log.iter().filter(|line| line["request_id"] == id).count(), 1, "{id}");
    }
}

#[tokio::test]
async fn requests_below_the_level_are_not_logged() {
    let app = App::start(&["--log-level", "error"]);
    for path in ["/api/error?type=client", "/api/error?type=server"] {
        app.client.get(app.url(path)).send().await.unwrap();
    }
    let (_, log) = app.stop().await;
    let requests: Vec<_> = log.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0]["error_type"], "server_error");
    assert_eq!(log.last().unwrap()["message"], "stopped");
}

#[tokio::test]
async fn a_closed_stdout_does_not_stop_the_service() {
    let (app, output) = App::start_unread(&[]);
    drop(output);
    for _ in 0..20 {
        assert_eq!(app.client.get(app.url("/nowhere")).send().await.unwrap().status(), 404);
    }
    until("the lost lines to be counted", async || {
        (app.scrape().await.sum("app_log_lines_lost_total", &[]) == 20.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stdout_that_nobody_reads_holds_nothing_up() {
    let (app, _output) = App::start_unread(&[]);
    // A pipe holds 64 KiB; each of these lines has 200 bytes and more.
    for _ in 0..1_000 {
        assert_eq!(app.client.get(app.url("/nowhere")).send().await.unwrap().status(), 404);
    }
    assert_eq!(app.scrape().await.sum("app_request_count_total", &[]), 1_000.0);
}
