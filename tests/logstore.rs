//! The log store and the log shipper of `sre`, from the built program: killed at any moment, and asked what they do not
//! answer.
#![allow(clippy::unwrap_used)]

#[path = "logstore/parts.rs"]
mod parts;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sre::logstore::otlp::ExportRequest;

use parts::{Process, receiver, shipper, store, until};

/// When the lines are of. Numbers of ten digits and fewer are seconds for a Loki.
const TIME: i64 = 1_700_000_000_000_000_000;

/// Lines of one service, so many nanoseconds later, as OTLP in JSON.
fn request(lines: &[(i64, String)]) -> Value {
    let records: Vec<Value> = lines
        .iter()
        .map(|(time, line)| json!({"timeUnixNano": (TIME + time).to_string(), "body": {"stringValue": line}}))
        .collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeLogs": [{"logRecords": records}],
    }]})
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// How often each line is there.
async fn lines(store: &Process) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    for line in store.loki().lines("{service_name=\"shop\"}", 0, i64::MAX).await.unwrap() {
        *lines.entry(line.line).or_default() += 1;
    }
    lines
}

/// Each of these lines is there, once.
#[track_caller]
fn once_each(lines: &BTreeMap<String, usize>, expected: impl Iterator<Item = String>) {
    let mut expected: BTreeMap<String, usize> = expected.map(|line| (line, 1)).collect();
    for (line, count) in lines {
        assert_eq!(expected.remove(line), Some(*count), "{line} is there {count} times");
    }
    assert!(expected.is_empty(), "lost: {:?}", expected.keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_acknowledged_is_there_once_wherever_the_store_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(folder.path(), &[]);
    store.is_ready().await;
    let url = store.url("otlp/v1/logs");
    let sending = async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for batch in 0..400i64 {
            let lines: Vec<_> =
                (0..1 + batch % 7).map(|i| (1 + batch / 10, format!("{batch}-{i}"))).collect();
            // Whoever is not answered sends again.
            until("an answer", async || {
                let sent = client.post(url.clone()).json(&request(&lines)).send().await;
                sent.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
    };
    // The moment is what is tested: nothing tells that it has come.
    let killing = async {
        for kill in 0..12 {
            tokio::time::sleep(Duration::from_millis(15 + 17 * kill % 60)).await;
            store.kill();
            store.start();
        }
    };
    tokio::join!(sending, killing);
    let expected = (0..400).flat_map(|batch| (0..1 + batch % 7).map(move |i| format!("{batch}-{i}")));
    once_each(&lines(&store).await, expected.clone());
    store.kill();
    store.start();
    store.is_ready().await;
    once_each(&lines(&store).await, expected);
}

#[tokio::test]
async fn protobuf_and_json_are_taken_packed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &[]);
    store.is_ready().await;
    for (number, format) in
        ["application/json", "application/x-protobuf", "application/json; charset=utf-8"].iter().enumerate()
    {
        for packed in [false, true] {
            let request = request(&[(5, format!("{number} {packed}"))]);
            let plain = match *format {
                "application/x-protobuf" => {
                    serde_json::from_value::<ExportRequest>(request).unwrap().encode_to_vec()
                }
                _ => request.to_string().into_bytes(),
            };
            let mut headers = vec![("content-type", *format)];
            if packed {
                headers.push(("content-encoding", "gzip"));
            }
            let body = if packed { gzip(&plain) } else { plain };
            let (status, answer) = store.post("otlp/v1/logs", &headers, body).await;
            assert_eq!((status, answer.as_str()), (StatusCode::OK, if number == 1 { "" } else { "{}" }));
        }
    }
    let expected = (0..3).flat_map(|number| [false, true].map(|packed| format!("{number} {packed}")));
    once_each(&lines(&store).await, expected);
    let (_, names) = store.get("loki/api/v1/labels?start=0&end=1800000000").await;
    assert_eq!(names, r#"{"status":"success","data":["service_name"]}"#);
    let (_, values) = store.get("loki/api/v1/label/service_name/values?start=0&end=1800000000").await;
    assert_eq!(values, r#"{"status":"success","data":["shop"]}"#);
    let newest = store.loki().newest("{service_name=\"shop\"}", 0, TIME + 9).await.unwrap().unwrap();
    assert_eq!(
        (newest.time, newest.labels.get("service_name").map(String::as_str)),
        (TIME + 5, Some("shop"))
    );
}

#[tokio::test]
async fn a_line_that_is_too_long_is_told_and_the_others_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &[]);
    store.is_ready().await;
    let body = request(&[(1, "short".into()), (2, "x".repeat(300 << 10))]).to_string();
    let (status, answer) =
        store.post("otlp/v1/logs", &[("content-type", "application/json")], body.into()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["partialSuccess"]["rejectedLogRecords"]), (StatusCode::OK, &json!("1")));
    assert!(
        answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("longer than 262144"),
        "{answer}"
    );
    once_each(&lines(&store).await, ["short".to_owned()].into_iter());
}

#[tokio::test]
async fn what_is_not_answered_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["--max-lines=50"]);
    store.is_ready().await;
    let asked = |query: &str| format!("loki/api/v1/query_range?start=1&end=9&{query}");
    let select = "query=%7Ba%3D%22b%22%7D";
    for (path, status, why) in [
        (
            "loki/api/v1/query?query=1".to_owned(),
            404,
            "it does not answer /loki/api/v1/query: it takes lines on",
        ),
        ("loki/api/v1/tail".to_owned(), 404, "bring a Loki: sre up --set logs=loki"),
        ("api/prom/query".to_owned(), 404, "the log store of sre"),
        (asked("limit=5"), 400, "the parameter `query` is missing"),
        (
            asked("query=rate(%7Ba%3D%22b%22%7D%5B1m%5D)"),
            400,
            "metric queries such as rate() are not answered here",
        ),
        (asked("query=%7Ba%3D%22b%22%7D%20%7C%20json"), 400, "`| json` needs the fields"),
        (asked(&format!("{select}&limit=51")), 400, "limit > max_entries_limit_per_query (51 > 50)"),
        (asked(&format!("{select}&limit=0")), 400, "`limit` must be a positive number"),
        (asked(&format!("{select}&limit=many")), 400, "`limit` must be a positive number"),
        (asked(&format!("{select}&direction=up")), 400, "forward or backward"),
        (
            format!("loki/api/v1/query_range?{select}&start=9&end=1"),
            400,
            "the end must not be before the start",
        ),
        (format!("loki/api/v1/query_range?{select}&start=soon"), 400, "`soon` is no time"),
        (format!("loki/api/v1/query_range?{select}&since=1h"), 400, "`since` is not answered here"),
        ("otlp/v1/logs".to_owned(), 405, "is not answered to GET"),
    ] {
        let (answered, text) = store.get(&path).await;
        assert_eq!(answered.as_u16(), status, "{path}: {text}");
        assert!(text.contains(why), "{path}: {text}");
    }
    let json = ("content-type", "application/json");
    let protobuf = ("content-type", "application/x-protobuf");
    let bomb = gzip(&vec![b' '; 65 << 20]);
    for (headers, body, status, why) in [
        (vec![], b"{}".to_vec(), 415, "application/x-protobuf and application/json are"),
        (vec![("content-type", "text/plain")], b"{}".to_vec(), 415, "`text/plain` is not taken"),
        (vec![json, ("content-encoding", "zstd")], b"{}".to_vec(), 415, "`zstd` is not taken, but gzip is"),
        (vec![json, ("content-encoding", "gzip")], b"{}".to_vec(), 400, "not packed by gzip"),
        (vec![json], b"{\"resourceLogs\": 5}".to_vec(), 400, "no ExportLogsServiceRequest"),
        (vec![protobuf], b"\xff\xff".to_vec(), 400, "no ExportLogsServiceRequest"),
        (vec![json, ("content-encoding", "gzip")], bomb, 413, "when it is unpacked"),
    ] {
        let (answered, text) = store.post("otlp/v1/logs", &headers, body).await;
        assert_eq!(answered.as_u16(), status, "{headers:?}: {text}");
        assert!(text.contains(why), "{headers:?}: {text}");
    }
    let (status, _) = store.post("loki/api/v1/push", &[json], b"{}".to_vec()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_web_page_sends_is_neither_kept_nor_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (store, receiver) = (store(folder.path(), &[]), receiver(folder.path()));
    store.is_ready().await;
    until("the receiver", async || receiver.is_there().await).await;
    let json = ("content-type", "application/json");
    let line = request(&[(1, "forged".to_owned())]).to_string().into_bytes();
    let alert = json!({"status": "firing", "alerts": []}).to_string().into_bytes();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.example"),
    ] {
        let headers = [json, (name, value)];
        let (status, _) = store.post("otlp/v1/logs", &headers, line.clone()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{name}: {value}");
        let (status, _) = receiver.post("alerts", &headers, alert.clone()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert!(lines(&store).await.is_empty());
    assert_eq!(receiver.get("notifications").await.1, "[]");
    // As the collector and Alertmanager send them.
    assert_eq!(store.post("otlp/v1/logs", &[json], line).await.0, StatusCode::OK);
    assert_eq!(receiver.post("alerts", &[json], alert).await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_disk_and_every_answer_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), &["--max-bytes=1048576", "--max-lines=200"]);
    store.is_ready().await;
    let text = "x".repeat(1000);
    for batch in 0..30 {
        let lines: Vec<_> =
            (0..100).map(|i| (1 + batch * 100 + i, format!("{text} {}", batch * 100 + i))).collect();
        let body = request(&lines).to_string().into_bytes();
        let (status, _) = store.post("otlp/v1/logs", &[("content-type", "application/json")], body).await;
        assert_eq!(status, StatusCode::OK);
        let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        let size: u64 = files.sum();
        assert!(size <= 1 << 20, "{size} bytes");
    }
    // The client asks for more at once, and reads on in pages as large as it is told.
    let all = lines(&store).await;
    assert!(all.len() > 800 && all.contains_key(&format!("{text} 2999")), "{}", all.len());
    let url = "loki/api/v1/query_range?start=1&end=1800000000&query=%7Bservice_name%3D%22shop%22%7D";
    let (_, answer) = store.get(url).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let values = answer["data"]["result"][0]["values"].as_array().unwrap();
    assert_eq!(
        (values.len(), &values[0][0]),
        (100, &json!((TIME + 3000).to_string())),
        "newest first, as many as usual"
    );
}

#[tokio::test]
async fn every_line_of_a_log_is_there_once_whatever_is_killed_or_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("shop.log");
    let mut store = store(&folder.path().join("data"), &[]);
    // The shipper comes first, and waits for the store.
    let mut shipper = shipper(folder.path(), &log, &store);
    let written = log.clone();
    let writing = std::thread::spawn(move || {
        let open = || OpenOptions::new().create(true).append(true).open(&written).unwrap();
        let mut file = open();
        for number in 0..6000 {
            // Lines without a time, each in two parts.
            file.write_all(format!("line {number} ").as_bytes()).unwrap();
            file.write_all(b"ends\n").unwrap();
            if number % 20 == 0 {
                std::thread::sleep(Duration::from_millis(4));
            }
            if number % 700 == 699 {
                fs::rename(&written, written.with_extension(format!("log.{number}"))).unwrap();
                file = open();
            }
        }
    });
    for kill in 0..8 {
        tokio::time::sleep(Duration::from_millis(60 + 37 * kill % 110)).await;
        shipper.kill();
        if kill % 2 == 0 {
            store.kill();
            store.start();
        }
        shipper.start();
    }
    tokio::task::spawn_blocking(move || writing.join().unwrap()).await.unwrap();
    store.is_ready().await;
    until("the last line", async || lines(&store).await.contains_key("line 5999 ends")).await;
    until("all lines", async || lines(&store).await.len() == 6000).await;
    once_each(&lines(&store).await, (0..6000).map(|number| format!("line {number} ends")));
}

#[tokio::test]
async fn a_log_that_is_emptied_is_read_on_and_equal_lines_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("shop.log");
    let store = store(&folder.path().join("data"), &[]);
    store.is_ready().await;
    fs::write(&log, "same\nsame\nhalf").unwrap();
    let _shipper = shipper(folder.path(), &log, &store);
    until("both", async || lines(&store).await.get("same") == Some(&2)).await;
    fs::write(&log, "same\n").unwrap();
    until("the third", async || lines(&store).await.get("same") == Some(&3)).await;
    assert_eq!(lines(&store).await.len(), 1, "what was no whole line is gone with its file");
}
