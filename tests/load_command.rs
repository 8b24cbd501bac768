//! `sre load` from the built binary, on a server that knows exactly what it answered.

#[path = "support/exact_server.rs"]
mod exact_server;

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use exact_server::ExactServer;
use serde_json::Value;
use sre::target::{Endpoints, LAB_SCHEMA, Lab, Replica, TargetKind};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};

/// 100 requests, every one of them answered with 200.
const CALM: &str = "
name: calm
load: {arrival-rate: {phases: [{duration: 2s, rate: 50}]}}
requests: {ok: {path: /status/200}}
thresholds: [p50 < 5s, error rate < 1%]
";

/// A folder in which a service is up, and a scenario for it.
struct Place {
    folder: tempfile::TempDir,
    server: ExactServer,
}

impl Place {
    async fn new(scenario: &str) -> Place {
        let server = ExactServer::start().await;
        let url = server.url.clone();
        Place::behind(url, server, scenario)
    }

    /// The server answers at another URL than its own.
    fn behind(url: url::Url, server: ExactServer, scenario: &str) -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("calm.yaml"), scenario).expect("written");
        let replica = Replica { name: "it".into(), url, instance: None, admin: None };
        let lab = Lab {
            schema: LAB_SCHEMA.into(),
            stack: "users-api".into(),
            target: TargetKind::External,
            parameters: Default::default(),
            complete: true,
            endpoints: Endpoints { replicas: vec![replica], ..Endpoints::default() },
            cluster: None,
            processes: Vec::new(),
            versions: Default::default(),
        };
        std::fs::create_dir_all(folder.path().join(".sre")).expect("a folder");
        lab.save(&folder.path().join(".sre")).expect("written");
        Place { folder, server }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        command.args(["load", "./calm.yaml"]).args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).env_remove("SRE_TARGET");
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().expect("it starts")).await.expect("no panic")
    }
}

/// TLS in front of a server; its URL, and its certificate as PEM.
async fn tls(server: &ExactServer, protocol: &[u8]) -> (url::Url, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("its key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the certificate and its key");
    config.alpn_protocols = vec![protocol.to_vec()];
    let (acceptor, behind) =
        (TlsAcceptor::from(Arc::new(config)), server.url.socket_addrs(|| None).expect("one"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind[0]);
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = tokio::net::TcpStream::connect(behind).await.expect("the server");
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (format!("https://localhost:{port}").parse().expect("a URL"), made.cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn load_without_tls_needs_no_certificates() {
    let users = CALM
        .replace("{arrival-rate: {phases: [{duration: 2s, rate: 50}]}}", "{users: {users: 2, duration: 1s}}");
    for scenario in [CALM, &users] {
        let place = Place::new(scenario).await;
        let mut command = place.command(&["-o", "json"]);
        // As in an image that holds the program and nothing else.
        command.env("SSL_CERT_FILE", place.folder.path().join("none.pem")).env_remove("SSL_CERT_DIR");
        let output = tokio::task::spawn_blocking(move || command.output().expect("it starts")).await;
        let output = output.expect("no panic");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_every_request_is_counted_and_nothing_is_sent_to_whom_nobody_vouches_for() {
    for (protocol, version) in [(&b"http/1.1"[..], "1.1"), (b"h2", "2")] {
        let server = ExactServer::start().await;
        let (url, certificate) = tls(&server, protocol).await;
        let scenario = CALM.replace("rate: 50}]", &format!("rate: 50}}], http: {{version: '{version}'}}"));
        let place = Place::behind(url, server, &scenario);
        std::fs::write(place.folder.path().join("ca.pem"), certificate).expect("written");
        let run = async |trust: &str, code: i32| {
            let mut command = place.command(&["-o", "json"]);
            command.env("SSL_CERT_FILE", place.folder.path().join(trust)).env_remove("SSL_CERT_DIR");
            let output = tokio::task::spawn_blocking(move || command.output().expect("it starts")).await;
            let output = output.expect("no panic");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{version}: {told}");
            serde_json::from_slice::<Value>(&output.stdout).expect("one document")
        };
        let report = run("ca.pem", 0).await;
        assert_eq!((report["requests"]["sent"].as_u64(), place.server.counts().all()), (Some(100), 100));

        let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(place.folder.path().join("other.pem"), stranger.cert.pem()).expect("written");
        let report = run("other.pem", 1).await;
        assert_eq!((report["requests"]["sent"].as_u64(), place.server.counts().all()), (Some(0), 100));
    }
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("text");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn sent(lines: &[Value]) -> u64 {
    lines.iter().filter_map(|line| line["sent"].as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_send_what_one_process_sends() {
    let place = Place::new(CALM).await;
    let output = place.run(&["--workers", "3", "-o", "json", "--out", "seconds.ndjson"]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((report["requests"]["sent"].as_u64(), place.server.counts().all()), (Some(100), 100));
    assert!(told.contains("50/s for 2 s from 3 workers"), "{told}");
    let seconds = lines(&std::fs::read(place.folder.path().join("seconds.ndjson")).expect("written"));
    assert_eq!(sent(&seconds), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn stdout_is_the_samples_and_nothing_else() {
    let place = Place::new(CALM).await;
    let output = place.run(&["--out", "-"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let seconds = lines(&output.stdout);
    assert!(seconds.len() >= 2 && seconds.iter().all(|line| line["time"].is_string()), "{seconds:?}");
    assert_eq!((sent(&seconds), place.server.counts().all()), (100, 100));
    assert!(String::from_utf8_lossy(&output.stderr).contains("100 sent"));

    let both = place.run(&["--out", "-", "-o", "json"]).await;
    assert_eq!(both.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_or_a_closed_pipe_ends_the_load_and_is_told() {
    let long = CALM.replace("2s", "10m");
    let place = Place::new(&long).await;
    if Path::new("/dev/full").exists() {
        let output = place.run(&["--out", "/dev/full"]).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{told}");
        assert!(told.contains("the samples cannot be written to /dev/full"), "{told}");
    }
    let mut child = place.command(&["--out", "-", "--workers", "2"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut out = child.stdout.take().expect("a pipe");
    let ended = tokio::task::spawn_blocking(move || {
        out.read_exact(&mut [0]).expect("a first line");
        drop(out);
        child.wait_with_output().expect("it ends")
    });
    let output = ended.await.expect("no panic");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains("the samples cannot be written to stdout"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capacity_is_searched_between_two_rates() {
    let place = Place::new(CALM).await;
    let search = ["--find-capacity", "--duration", "500ms", "-o", "json"];
    let output = place.run(&[&search[..], &["--from", "20/s", "--to", "60/s"]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(found["schema"], "sre.capacity/v1");
    assert_eq!((found["capacity"].as_f64(), &found["limit"]), (Some(60.0), &Value::from("highest")));
    let rates: Vec<_> =
        found["steps"].as_array().into_iter().flatten().map(|step| step["rate"].as_f64()).collect();
    assert_eq!(rates, [Some(20.0), Some(40.0), Some(60.0)]);
    assert_eq!(sent(found["steps"].as_array().expect("steps")), place.server.counts().all());

    let broken = Place::new(&CALM.replace("/status/200", "/status/500")).await;
    let output = broken.run(&["--find-capacity", "--duration", "500ms"]).await;
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{screen}");
    assert!(
        screen.contains("capacity: below 50.0/s, the lowest that was tried: error rate < 1%"),
        "{screen}"
    );

    let nothing = Place::new(&CALM.replace("thresholds: [p50 < 5s, error rate < 1%]", "")).await;
    let output = nothing.run(&["--find-capacity"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("it has no thresholds"));
}

/// A remote write receiver that cannot always take what it is given; a real one can't be made to. Answers with each
/// of these statuses in turn, and with the last of them from then on; 401 to whoever has no token.
async fn receiver(statuses: &'static [u16]) -> String {
    use axum::http::{HeaderMap, StatusCode};
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let answer = move |headers: HeaderMap| async move {
        let token = headers.get("authorization").is_some_and(|value| value == "Bearer open sesame");
        let turn = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst).min(statuses.len() - 1);
        StatusCode::from_u16(if token { statuses[turn] } else { 401 }).expect("a status")
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/push", listener.local_addr().expect("an address"));
    let router = axum::Router::new().route("/push", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn pushed(place: &Place, url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = place.command(&[&["--remote-write", url], arguments].concat());
    command.env("PUSH_TOKEN", "open sesame");
    let output = tokio::task::spawn_blocking(move || command.output().expect("it starts")).await;
    let output = output.expect("no panic");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_takes_late_is_not_lost_and_what_is_lost_is_told() {
    let place = Place::new(CALM).await;
    let token = ["--remote-write-bearer", "PUSH_TOKEN"];
    // The first is asked before the load whether it takes anything.
    let url = receiver(&[204, 503, 429, 204]).await;
    let (code, told) = pushed(&place, &url, &token).await;
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains(" samples of the load are in http://127.0.0.1") && !told.contains("lost"),
        "{told}"
    );

    let url = receiver(&[204, 400, 204]).await;
    let (code, told) = pushed(&place, &url, &token).await;
    assert_eq!(code, Some(0), "a load is no worse for it: {told}");
    assert!(
        told.contains("warning: ") && told.contains("were lost on the way to http://127.0.0.1"),
        "{told}"
    );
    assert!(told.contains("status 400"), "{told}");
    assert_eq!(place.server.counts().all(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_nothing_is_told_before_the_load() {
    let place = Place::new(CALM).await;
    let url = receiver(&[204]).await;
    for (url, arguments, expected) in [
        (url.as_str(), &[][..], "--remote-write-bearer, or"),
        (&url, &["--remote-write-bearer", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (&url.replace("/push", "/write"), &["--remote-write-bearer", "PUSH_TOKEN"], "remote-write-receiver"),
        ("http://127.0.0.1:1/push", &[], "no samples can be pushed to http://127.0.0.1:1/push"),
    ] {
        let (code, told) = pushed(&place, url, arguments).await;
        assert_eq!(code, Some(5), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    let (code, told) = pushed(&place, "http://user:secret@127.0.0.1:1/", &[]).await;
    assert_eq!(code, Some(2), "{told}");
    assert!(!told.contains("secret@"), "{told}");
    assert_eq!(place.server.counts().all(), 0, "nothing was sent");
}

/// A service that keeps what it was sent.
async fn listener() -> (url::Url, Arc<std::sync::Mutex<Vec<(String, String)>>>) {
    use axum::http::HeaderMap;
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = heard.clone();
    let answer = move |headers: HeaderMap, body: String| async move {
        let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        kept.lock().expect("no panic").push((token.to_owned(), body));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a URL");
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, heard)
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_sent_to_whom_the_user_allowed_it_and_told_nowhere() {
    const SECRET: &str = "hunter2/\"hunter2";
    const WITH_SECRET: &str = "
name: calm
load: {arrival-rate: {phases: [{duration: 1s, rate: 20}]}}
requests:
  ok:
    path: /
    method: POST
    headers: {authorization: 'Bearer ${env:SRE_SECRET_SHOP}'}
    json: {word: 'it is ${env:SHOP_WORD}, not $${env:SHOP_WORD}'}
checks: []
";
    let (url, heard) = listener().await;
    let place = Place::behind(url, ExactServer::start().await, WITH_SECRET);
    let run = async |arguments: &[&str], set: &[(&str, &str)]| {
        let mut command = place.command(arguments);
        command.env_remove("SHOP_WORD").env_remove("SRE_SECRET_SHOP").envs(set.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output().expect("it starts")).await;
        let output = output.expect("no panic");
        let told = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), told)
    };
    let set = [("SRE_SECRET_SHOP", SECRET), ("SHOP_WORD", "sesame-sesame")];
    let (code, told) = run(&[], &set).await;
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("SHOP_WORD is sent to nobody") && told.contains("--allow-env SHOP_WORD"), "{told}");
    let (code, told) = run(&["--allow-env", "SHOP_WORD"], &set[..1]).await;
    assert_eq!((code, told.contains("SHOP_WORD is not set")), (Some(5), true), "{told}");
    assert!(heard.lock().expect("no panic").is_empty(), "nothing was sent");

    for arguments in
        [&["--allow-env", "SHOP_WORD", "-vv"][..], &["--allow-env", "SHOP_WORD", "--workers", "2"]]
    {
        let (code, told) = run(arguments, &set).await;
        assert_eq!(code, Some(0), "{told}");
        let heard = std::mem::take(&mut *heard.lock().expect("no panic"));
        assert_eq!(heard.len(), 20);
        for (token, body) in heard {
            assert_eq!(token, format!("Bearer {SECRET}"));
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(body["word"], "it is sesame-sesame, not ${env:SHOP_WORD}");
        }
        assert!(!told.contains("hunter2") && !told.contains("sesame"), "{told}");
    }
    for path in files(place.folder.path()) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
        assert!(!text.contains("hunter2") && !text.contains("sesame"), "{} holds it", path.display());
        if path.ends_with("scenario.yaml") {
            assert!(text.contains("${env:SRE_SECRET_SHOP}"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_is_allowed_in_a_folder_from_where_its_user_says_so() {
    let scenario =
        CALM.replace("{path: /status/200}", "{path: /status/200, headers: {a: '${env:SHOP_WORD}'}}");
    let place = Place::new(&scenario).await;
    let before = place.run(&[]).await;
    assert_eq!(before.status.code(), Some(5), "{}", String::from_utf8_lossy(&before.stderr));
    let trust = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        command.args(["trust", "--env", name]).current_dir(place.folder.path()).output().expect("it starts")
    };
    let refused = trust("s3cr3t-word");
    assert_eq!(refused.status.code(), Some(2));
    assert!(!String::from_utf8_lossy(&refused.stderr).contains("s3cr3t"), "it may be the secret itself");
    assert_eq!(trust("SHOP_WORD").status.code(), Some(0));
    let load = async |folder: &Path| {
        let mut command = place.command(&[]);
        command.env("SHOP_WORD", "sesame").current_dir(folder);
        tokio::task::spawn_blocking(move || command.output().expect("it starts").status.code())
            .await
            .expect("no panic")
    };
    assert_eq!(load(place.folder.path()).await, Some(0));
    let elsewhere = Place::new(&scenario).await;
    assert_eq!(load(elsewhere.folder.path()).await, Some(5), "another folder is another matter");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_goes_over_plain_http_to_another_machine_unasked() {
    let scenario =
        CALM.replace("{path: /status/200}", "{path: /status/200, headers: {a: '${env:SRE_SECRET_WORD}'}}");
    // Nobody is there: 192.0.2.0/24 is for documentation.
    let server = ExactServer::start().await;
    let place = Place::behind("http://192.0.2.1:9".parse().expect("a URL"), server, &scenario);
    let mut command = place.command(&[]);
    command.env("SRE_SECRET_WORD", "sesame");
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("it starts")).await.expect("no panic");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains("plain http to another machine") && told.contains("--allow-plain-http"), "{told}");
}
