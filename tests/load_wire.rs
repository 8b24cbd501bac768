//! What becomes of a request, by how it is answered: with the same words in both executors, in HTTP/1.1 and HTTP/2, and
//! never another number than the server counted.

#![allow(clippy::print_stdout)]

#[path = "support/h2_server.rs"]
mod h2_server;
#[path = "support/needs.rs"]
mod needs;
#[path = "support/raw_server.rs"]
mod raw_server;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use h2_server::{H2Server, Manner};
use raw_server::{Act, RawServer, answer};
use serde_json::{Value, json};
use sre::interrupt::Interrupt;
use sre::load::{Fate, Hop, LoadResult, LoadRun, Share, execute};
use sre::scenario::Scenario;
use sre::target::Replica;

/// Loads on goose take turns; a test's time begins when it is its turn.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Both executors, each with a short load, 200 requests where the schedule says how many.
fn executors(http: Value, connections: usize) -> [(&'static str, Value); 2] {
    let phases = json!([{"duration": "1s", "rate": 200}]);
    let open = json!({"arrival-rate": {"phases": phases, "connections": connections, "http": http}});
    let closed = json!({"users": {"users": 4, "duration": "1s", "think": "2ms", "http": http}});
    [("arrival-rate", open), ("users", closed)]
}

async fn run(url: &url::Url, load: &Value, requests: &Value) -> LoadResult {
    let scenario = json!({"name": "test", "load": load, "requests": requests});
    let scenario: Scenario = serde_json::from_value(scenario).expect("a scenario");
    let replica = Replica { name: "one".into(), url: url.clone(), instance: None, admin: None };
    let _turn = TURN.lock().await;
    let run = LoadRun {
        scenario: &scenario,
        replicas: &[replica],
        salt: "test",
        share: Share::ALL,
        interrupt: &Interrupt::default(),
        start: Instant::now() + Duration::from_millis(20),
        progress: &|_| {},
        noted: &|_| {},
    };
    execute(run).await.expect("a load")
}

/// Why requests of a name count as errors, in the words of the result.
fn reasons(result: &LoadResult, name: &str) -> BTreeMap<String, u64> {
    let reasons = serde_json::to_value(&result.summary.requests[name].reasons).expect("JSON");
    serde_json::from_value(reasons).expect("words")
}

/// Requests of a name that were answered, and those that may have been.
fn fates(result: &LoadResult, name: &str) -> (u64, u64) {
    let count = |which: fn(Fate) -> bool| {
        let tallies = result.summary.tallies.iter().filter(|tally| tally.request == name);
        tallies.filter(|tally| which(tally.fate)).map(|tally| tally.count).sum()
    };
    (count(|fate| fate.status().is_some()), count(|fate| matches!(fate, Fate::Unknown(_))))
}

fn packed(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).expect("memory");
    gzip.finish().expect("gzip")
}

/// Answers that other clients take, by their path.
fn odd(path: &str) -> Vec<u8> {
    let many: Vec<String> = (0..150).map(|number| format!("X-Debug-{number}: {number}")).collect();
    let large = format!("X-Trace: {}", "a".repeat(40_000));
    let headers: Vec<&str> = match path {
        "/folded" => vec!["Content-Security-Policy: default-src 'self';", "  script-src *;", "\timg-src *"],
        "/many" => many.iter().map(String::as_str).collect(),
        "/space" => vec!["X-Frame-Options : DENY"],
        "/large" => vec![&large],
        "/bytes" => vec!["X-City: K\u{f6}ln"],
        "/none" => vec!["this is no header"],
        "/twice" => vec!["Content-Length: 3"],
        "/early" => {
            let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".as_slice();
            return [early, &answer("200 OK", &[], b"ok\n")].concat();
        }
        "/continue" => {
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n".as_slice();
            return [go_on, &answer("200 OK", &[], b"ok\n")].concat();
        }
        "/gzip" => {
            let body = packed("hello, this is ok, and a long text of a guestbook");
            return answer("200 OK", &["Content-Encoding: gzip"], &body);
        }
        "/reason" => return answer("200", &[], b"ok\n"),
        _ => vec![],
    };
    answer("200 OK", &headers, b"ok\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_heads_are_answers() {
    let names =
        ["folded", "many", "space", "large", "bytes", "none", "twice", "early", "continue", "gzip", "reason"];
    let mut requests = serde_json::Map::new();
    for name in names {
        requests.insert(name.into(), json!({"path": format!("/{name}"), "contains": "ok"}));
    }
    requests["continue"] = json!({
        "path": "/continue", "method": "POST", "body": "hello", "headers": {"Expect": "100-continue"},
    });
    for (executor, load) in executors(json!({}), 4) {
        let server = RawServer::start(|asked| Act::Answer(odd(&asked.path))).await;
        let result = run(&server.url, &load, &Value::Object(requests.clone())).await;
        for name in names {
            let summary = &result.summary.requests[name];
            assert_eq!(summary.reasons, BTreeMap::new(), "{executor}: {name}");
            assert_eq!(summary.statuses.keys().copied().collect::<Vec<_>>(), [200], "{executor}: {name}");
            assert_eq!(summary.sent, server.path(&format!("/{name}")), "{executor}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_has_its_reason_and_counts_once_at_the_most() {
    let many = "X: 1\r\n".repeat(5_000);
    let long = format!("X: {}\r\n", "a".repeat(300_000));
    let cases: Vec<(&str, Act, &str)> = vec![
        ("mail", Act::Answer(b"220 mail.example ESMTP\r\n\r\n".to_vec()), "not-http"),
        ("headers", Act::Answer(format!("HTTP/1.1 200 OK\r\n{many}\r\n").into_bytes()), "too-many-headers"),
        ("head", Act::Answer(format!("HTTP/1.1 200 OK\r\n{long}\r\n").into_bytes()), "head-too-long"),
        (
            "length",
            Act::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok".to_vec()),
            "bad-length",
        ),
        (
            "chunk",
            Act::Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n".to_vec()),
            "bad-chunk",
        ),
        (
            "cut",
            Act::AnswerAndClose(
                b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec(),
                Duration::ZERO,
            ),
            "closed",
        ),
        ("nothing", Act::AnswerAndClose(Vec::new(), Duration::ZERO), "closed"),
        ("reset", Act::Reset(Vec::new()), "reset"),
    ];
    let mut requests = serde_json::Map::new();
    for (name, ..) in &cases {
        requests.insert((*name).into(), json!({"path": format!("/{name}")}));
    }
    for (executor, mut load) in executors(json!({}), 100) {
        if let Some(users) = load.get_mut("users") {
            // A user whose request came to nothing waits: many, so that each case has its turn.
            users["users"] = json!(40);
        }
        let acts = cases.clone();
        let server = RawServer::start(move |asked| {
            let case = acts.iter().find(|(name, ..)| asked.path[1..] == **name);
            case.expect("a case").1.clone()
        })
        .await;
        let result = run(&server.url, &load, &Value::Object(requests.clone())).await;
        for (name, _, word) in &cases {
            let (answered, unknown) = fates(&result, name);
            let counted = server.path(&format!("/{name}"));
            assert_eq!(answered, 0, "{executor}: {name} is no success");
            assert_eq!(unknown, counted, "{executor}: {name} is sent once each");
            assert!(unknown > 0, "{executor}: {name}");
            let expected = BTreeMap::from([((*word).to_owned(), unknown)]);
            assert_eq!(reasons(&result, name), expected, "{executor}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_and_not_expected_has_its_reason() {
    let requests = json!({
        "status": {"path": "/status"},
        "text": {"path": "/text", "contains": "guestbook"},
        "packed": {"path": "/packed", "contains": "guestbook"},
        "gzip": {"path": "/gzip", "contains": "no such text"},
    });
    for (executor, load) in executors(json!({}), 4) {
        let server = RawServer::start(|asked| {
            Act::Answer(match asked.path.as_str() {
                "/status" => answer("503 Service Unavailable", &[], b""),
                "/packed" => answer("200 OK", &["Content-Encoding: br"], b"\x0b\x02\x80hello\x03"),
                path => odd(path),
            })
        })
        .await;
        let result = run(&server.url, &load, &requests).await;
        for (name, word) in [
            ("status", "unexpected-status"),
            ("text", "text-missing"),
            ("packed", "body-compressed"),
            ("gzip", "text-missing"),
        ] {
            let summary = &result.summary.requests[name];
            assert!(summary.unexpected > 0, "{executor}: {name}");
            let expected = BTreeMap::from([(word.to_owned(), summary.unexpected)]);
            assert_eq!(reasons(&result, name), expected, "{executor}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_request_that_ends_its_connection_none_follows_there() {
    let requests = json!({"list": {"path": "/list", "headers": {"Connection": "close"}}});
    for (executor, load) in executors(json!({}), 4) {
        // It does not say that it closes, and takes its time.
        let server = RawServer::start(|_| {
            Act::AnswerAndClose(answer("200 OK", &[], b"ok\n"), Duration::from_millis(20))
        })
        .await;
        let result = run(&server.url, &load, &requests).await;
        let total = &result.summary.total;
        assert_eq!(total.reasons, BTreeMap::new(), "{executor}");
        assert_eq!(total.statuses.get(&200), Some(&server.path("/list")), "{executor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_while_they_are_idle_lose_nothing() {
    let requests = json!({"list": {"path": "/list"}});
    let close = |executor: &str| match executor {
        // Ends before the next request is due, or before the user has thought.
        "users" => json!({"users": {"users": 2, "duration": "2s", "think": "250ms"}}),
        _ => json!({"arrival-rate": {"phases": [{"duration": "2s", "rate": 4}], "connections": 1}}),
    };
    for executor in ["arrival-rate", "users"] {
        let server = RawServer::start(|_| {
            Act::AnswerAndClose(answer("200 OK", &[], b"ok\n"), Duration::from_millis(5))
        })
        .await;
        let result = run(&server.url, &close(executor), &requests).await;
        assert_eq!(result.summary.total.reasons, BTreeMap::new(), "{executor}");
        assert_eq!(server.path("/list"), result.summary.total.sent, "{executor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_with_its_connection_is_complete() {
    let requests = json!({"old": {"path": "/old", "contains": "to the end"}});
    for (executor, load) in executors(json!({}), 4) {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end".to_vec();
        let server = RawServer::start(move |_| Act::AnswerAndClose(bytes.clone(), Duration::ZERO)).await;
        let result = run(&server.url, &load, &requests).await;
        assert_eq!(result.summary.total.reasons, BTreeMap::new(), "{executor}");
        assert_eq!(result.summary.total.statuses.get(&200), Some(&server.path("/old")), "{executor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_at_the_end_is_waited_for_and_counted() {
    for (executor, load) in executors(json!({"timeout": "700ms"}), 300) {
        // Dead after the first answers: everything else waits out its time.
        let answers = std::sync::atomic::AtomicU64::new(20);
        let server = RawServer::start(move |_| {
            let left = answers.fetch_update(
                std::sync::atomic::Ordering::SeqCst,
                std::sync::atomic::Ordering::SeqCst,
                |left| left.checked_sub(1),
            );
            match left {
                Ok(_) => Act::Answer(answer("200 OK", &[], b"ok\n")),
                Err(_) => Act::Silence,
            }
        })
        .await;
        let result = run(&server.url, &load, &json!({"list": {"path": "/list"}})).await;
        let (answered, unknown) = fates(&result, "list");
        assert_eq!(answered, 20, "{executor}");
        assert_eq!(answered + unknown, server.path("/list"), "{executor}: none is dropped, none sent twice");
        assert_eq!(reasons(&result, "list"), BTreeMap::from([("timeout".to_owned(), unknown)]), "{executor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hop_of_a_redirect_is_a_request_of_its_own() {
    let requests = json!({
        "slash": {"path": "/orders?page=2"},
        "form": {"path": "/form", "method": "POST", "body": "a=1", "headers": {"content-type": "text/plain"}},
        "moved": {"path": "/moved", "method": "POST", "body": "a=1"},
        "kept": {"path": "/kept", "method": "PUT", "body": "a=1"},
    });
    for (executor, load) in executors(json!({"redirects": 1}), 4) {
        let server = RawServer::start(|asked| {
            let moved = |status: &str, to: &str| answer(status, &[&format!("Location: {to}")], b"");
            Act::Answer(match asked.path.as_str() {
                "/orders?page=2" => moved("307 Temporary Redirect", "/orders/?page=2"),
                "/form" => moved("303 See Other", "/done"),
                "/moved" => moved("301 Moved Permanently", "/there"),
                "/kept" => moved("308 Permanent Redirect", "/new"),
                _ => answer("200 OK", &[], b"ok\n"),
            })
        })
        .await;
        let result = run(&server.url, &load, &requests).await;
        assert_eq!(result.summary.total.reasons, BTreeMap::new(), "{executor}");
        let counts = server.counts();
        for (name, path, method, status, then) in [
            ("slash", "/orders?page=2", "GET", 307, ("GET", "/orders/", "/orders/?page=2")),
            ("form", "/form", "POST", 303, ("GET", "/done", "/done")),
            ("moved", "/moved", "POST", 301, ("GET", "/there", "/there")),
            ("kept", "/kept", "PUT", 308, ("PUT", "/new", "/new")),
        ] {
            let told = |hop: Option<Hop>, status| {
                let tallies = result.summary.tallies.iter();
                let of = tallies.filter(|tally| tally.request == name && tally.hop == hop);
                of.filter(|tally| tally.fate == Fate::Answered(status)).map(|tally| tally.count).sum::<u64>()
            };
            let counted = |method: &str, path: &str| {
                counts.get(&(method.to_owned(), path.to_owned())).copied().unwrap_or(0)
            };
            let hop = Hop { method: then.0.into(), path: Some(then.1.into()) };
            assert!(told(None, status) > 0, "{executor}: {name}");
            assert_eq!(told(None, status), counted(method, path), "{executor}: {name}");
            assert_eq!(told(Some(hop), 200), counted(then.0, then.2), "{executor}: {name}");
        }
        let bodies = server.asked();
        assert!(bodies.iter().filter(|asked| asked.path == "/new").all(|asked| asked.body == "a=1"));
        assert!(bodies.iter().filter(|asked| asked.path == "/done").all(|asked| asked.body.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_server_refuses_was_not_sent() {
    for (executor, load) in executors(json!({"version": "2"}), 4) {
        let server = H2Server::start(Manner { refuse_each: Some(3), ..Manner::default() }).await;
        let result = run(&server.url, &load, &json!({"list": {"path": "/list"}})).await;
        let (counts, total) = (server.counts(), &result.summary.total);
        assert!(counts.refused > 10, "{executor}: {counts:?}");
        assert_eq!((total.sent, total.unknown), (counts.answered, 0), "{executor}: {counts:?}");
        let refused = BTreeMap::from([("refused-by-server".to_owned(), counts.refused)]);
        assert_eq!(reasons(&result, "list"), refused, "{executor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_http_2_are_read_up_to_the_bounds_of_http_1_and_told_beyond() {
    for (headers, word) in
        [((1, 17_000), None), ((1, 200_000), None), ((150, 3), None), ((1, 300_000), Some("head-too-long"))]
    {
        for (executor, mut load) in executors(json!({"version": "2"}), 4) {
            if let Some(users) = load.get_mut("users") {
                // A user whose request came to nothing waits.
                users["users"] = json!(20);
            }
            let server = H2Server::start(Manner { headers, ..Manner::default() }).await;
            let result = run(&server.url, &load, &json!({"list": {"path": "/list"}})).await;
            let (counts, (answered, unknown)) = (server.counts(), fates(&result, "list"));
            let case = format!("{executor}: {headers:?}, {counts:?}");
            assert!(counts.answered >= 10, "{case}");
            match word {
                None => assert_eq!((answered, unknown), (counts.answered, 0), "{case}"),
                Some(_) => assert_eq!((answered, unknown), (0, counts.answered), "{case}"),
            }
            let expected = word.map(|word| (word.to_owned(), unknown));
            assert_eq!(reasons(&result, "list"), expected.into_iter().collect(), "{case}");
            // One head that is too long costs no other request its connection.
            assert!(counts.connections <= 20, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_above_the_last_one_of_a_server_that_goes_are_sent_elsewhere() {
    for (executor, load) in executors(json!({"version": "2", "timeout": "3s"}), 4) {
        let away = Duration::from_millis(20);
        let server = H2Server::start(Manner { goes_after: Some(10), away, ..Manner::default() }).await;
        let result = run(&server.url, &load, &json!({"list": {"path": "/list"}})).await;
        let (counts, total) = (server.counts(), &result.summary.total);
        assert_eq!(reasons(&result, "list"), BTreeMap::new(), "{executor}: {counts:?}");
        assert_eq!(total.sent, counts.answered, "{executor}: {counts:?}");
        assert!(counts.connections >= 2, "{executor}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_streams_open_more_connections() {
    let [(_, load), _] = executors(json!({"version": "2"}), 64);
    let manner = Manner { streams: 4, answer_in: Duration::from_millis(100), ..Manner::default() };
    let server = H2Server::start(Manner { away: Duration::from_millis(5), ..manner }).await;
    let result = run(&server.url, &load, &json!({"list": {"path": "/list"}})).await;
    let counts = server.counts();
    assert_eq!((result.summary.total.sent, counts.answered), (200, 200));
    assert_eq!(result.summary.total.reasons, BTreeMap::new());
    // 200 a second, 0.1 s each, are 20 at a time.
    assert!(counts.connections >= 5, "{counts:?}");
    assert!(counts.most_streams <= 4, "the server's limit is kept: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_http_2_was_not_sent_anything() {
    for (executor, load) in executors(json!({"version": "2"}), 4) {
        let server = RawServer::start(|_| {
            Act::AnswerAndClose(answer("400 Bad Request", &[], b"what?\n"), Duration::ZERO)
        })
        .await;
        let result = run(&server.url, &load, &json!({"list": {"path": "/list"}})).await;
        assert_eq!((result.summary.total.sent, server.path("/list")), (0, 0), "{executor}");
        let reasons = reasons(&result, "list");
        assert_eq!(reasons.keys().map(String::as_str).collect::<Vec<_>>(), ["no-http2"], "{executor}");
    }
}

/// `just hlog-readers` runs it: it takes libraries of five languages from their registries.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_times_is_read_alike_in_five_languages() {
    if needs::variable("hlog-readers", "SRE_TEST_HLOG_READERS", "place for libraries of other languages")
        .is_none()
    {
        return;
    }
    let load = json!({"arrival-rate": {"phases": [
        {"name": "warm up", "duration": "1s", "rate": 97}, {"name": "steady, at last", "duration": "2s", "rate": 211},
    ]}});
    let server = RawServer::start(|asked| Act::Answer(odd(&asked.path))).await;
    let requests = json!({"list all": {"path": "/list", "weight": 3}, "one/item": {"path": "/many"}});
    let result = run(&server.url, &load, &requests).await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("latency.hlog");
    let mut file = std::fs::File::create(&log).expect("a file");
    result.histograms.write(&result.summary, &mut file).expect("a log");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hlog/readers.sh");
    let output = std::process::Command::new(script).arg(&log).output().expect("the script runs");
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    // Two phases, two names, three kinds of time; and the whole of each phase.
    for language in ["python", "javascript", "java", "go"] {
        assert!(told.contains(&format!("{language}: 14 intervals, 2076 times")), "{told}");
    }
    println!("{told}");
}

/// An nginx that ends each connection after 50 requests and takes 8 at a time, and writes a line for each.
struct Nginx {
    url: url::Url,
    folder: tempfile::TempDir,
    process: std::process::Child,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nginx {
    /// Where it is on PATH or was unpacked (`just bench-tools`).
    async fn start(protocol: &str) -> Option<Nginx> {
        let cache =
            std::env::var_os("HOME").map(|home| format!("{}/.cache/sre-bench/usr/sbin", home.display()));
        let paths = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:" + &cache.unwrap_or_default();
        let program = std::env::split_paths(&paths).map(|path| path.join("nginx")).find(|path| path.exists());
        let Some(program) = program else {
            needs::skipped("nginx", "nginx is not there (just bench-tools)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().display();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a port")
            .port();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind};"))
            .concat();
        let configuration = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log; events {{}}
             http {{ {temporary} access_log {place}/access.log; server {{ listen 127.0.0.1:{port} {protocol};
             http2_max_concurrent_streams 8; keepalive_requests 50; return 200 \"ok\\n\"; }} }}"
        );
        std::fs::write(folder.path().join("nginx.conf"), configuration).expect("a file");
        let process = std::process::Command::new(program)
            .args([
                "-p",
                &place.to_string(),
                "-c",
                &format!("{place}/nginx.conf"),
                "-e",
                &format!("{place}/error.log"),
            ])
            .spawn()
            .expect("nginx");
        let url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "nginx does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Nginx { url, folder, process })
    }

    /// How many requests it has logged, once they are so many.
    async fn logged(&self, expected: u64) -> u64 {
        let started = Instant::now();
        loop {
            let log = std::fs::read_to_string(self.folder.path().join("access.log")).expect("a log");
            let lines = log.lines().filter(|line| line.contains("GET /list")).count() as u64;
            if lines == expected || started.elapsed() > Duration::from_secs(5) {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_a_real_nginx_renews_its_connections() {
    for (protocol, version) in [("", "1.1"), ("http2", "2")] {
        for (executor, load) in executors(json!({"version": version}), 4) {
            let Some(nginx) = Nginx::start(protocol).await else { return };
            let result = run(&nginx.url, &load, &json!({"list": {"path": "/list"}})).await;
            let sent = result.summary.total.sent;
            assert_eq!(reasons(&result, "list"), BTreeMap::new(), "{executor} in HTTP/{version}");
            assert!(sent >= 100, "{executor} in HTTP/{version}: {sent}");
            assert_eq!(nginx.logged(sent).await, sent, "{executor} in HTTP/{version}");
        }
    }
}

/// A name that has two addresses, as `localhost` has where a machine speaks IPv6.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_listens_costs_nothing() {
    let name = "localhost";
    let server = RawServer::start(|asked| Act::Answer(odd(&asked.path))).await;
    let url = format!("http://{name}:{}", server.url.port().expect("a port")).parse().expect("a URL");
    for (executor, load) in executors(json!({}), 4) {
        let before = server.path("/list");
        let result = run(&url, &load, &json!({"list": {"path": "/list"}})).await;
        assert_eq!(reasons(&result, "list"), BTreeMap::new(), "{executor}");
        assert_eq!(server.path("/list") - before, result.summary.total.sent, "{executor}");
    }
}
