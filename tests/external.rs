//! The target `external`, as its documentation has it: a service that is not ours (a Prometheus, which counts
//! its own requests), watched by another Prometheus. The commands are those of docs/external.md.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sre::interrupt::Interrupt;
use sre::terminal::Terminal;
use sre::tools::{Cache, Tool, require};
use tempfile::TempDir;

const GUIDE: &str = include_str!("../docs/external.md");
/// `secret`, as `--web.config.file` wants it.
const SECRET_HASHED: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// A running Prometheus; it ends with its value.
struct Prometheus {
    address: SocketAddr,
    child: Child,
}

impl Prometheus {
    /// One that scrapes `job` on these targets; with a password, it answers only to `viewer` and `secret`.
    fn start(folder: &Path, name: &str, job: &str, targets: &[SocketAddr], password: bool) -> Prometheus {
        let home = folder.join(name);
        std::fs::create_dir_all(&home).expect("a folder");
        let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let jobs = match targets.is_empty() {
            true => "[]".to_owned(),
            false => {
                format!("[{{job_name: {job}, static_configs: [{{targets: [{}]}}]}}]", targets.join(", "))
            }
        };
        let config =
            format!("global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\nscrape_configs: {jobs}\n");
        std::fs::write(home.join("prometheus.yml"), config).expect("written");
        let web =
            if password { format!("basic_auth_users: {{viewer: {SECRET_HASHED}}}\n") } else { String::new() };
        std::fs::write(home.join("web.yml"), web).expect("written");
        let address = free();
        let log = std::fs::File::create(home.join("log")).expect("a log");
        let child = Command::new(program())
            .arg(format!("--config.file={}", home.join("prometheus.yml").display()))
            .arg(format!("--web.config.file={}", home.join("web.yml").display()))
            .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("Prometheus starts");
        let prometheus = Prometheus { address, child };
        until("Prometheus to answer", || prometheus.get("/-/ready").is_some());
        prometheus
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The text of an answer of status 200.
    fn get(&self, path: &str) -> Option<String> {
        let url = format!("{}{path}", self.url());
        runtime().block_on(async {
            let request = reqwest::Client::new().get(url).basic_auth("viewer", Some("secret"));
            let answer = request.send().await.ok().filter(|answer| answer.status() == 200)?;
            answer.text().await.ok()
        })
    }

    /// Waits until a query gives as many series.
    fn sees(&self, query: &str, series: usize) {
        let path = format!("/api/v1/query?query={query}");
        until(query, || {
            let answer: Option<serde_json::Value> =
                self.get(&path).and_then(|text| serde_json::from_str(&text).ok());
            answer.is_some_and(|answer| {
                answer["data"]["result"].as_array().is_some_and(|found| found.len() >= series)
            })
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command ended with.
#[derive(Debug)]
struct Ran {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    #[track_caller]
    fn ends(self, exit: i32, told: &str) -> Ran {
        assert_eq!(self.exit, exit, "{self:#?}");
        assert!((self.stdout.clone() + &self.stderr).contains(told), "`{told}` is not told: {self:#?}");
        self
    }
}

fn sre(folder: &Path, arguments: &[&str]) -> Ran {
    sre_with(folder, arguments, &[])
}

fn sre_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_sre"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("SRE_TARGET")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("sre starts");
    Ran {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn program() -> PathBuf {
    let found = runtime().block_on(async {
        let cache = Cache::of_user().expect("a cache");
        require(&[Tool::Prometheus], &[], &cache, &Terminal::silent(true), &Interrupt::default()).await
    });
    found.expect("Prometheus is found").remove(0).path
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(90), "waited 90 s for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The commands of the guide's walk-through, without what they print.
fn commands() -> Vec<&'static str> {
    let part = GUIDE.split("\n## ").find(|part| part.starts_with("Five minutes")).expect("the walk-through");
    part.lines().filter_map(|line| line.strip_prefix("$ ")).collect()
}

/// The request that the walk-through adds to the scenario.
fn added_request() -> &'static str {
    let (_, rest) = GUIDE.split_once("```yaml\n").expect("a request to add");
    rest.split_once("```").expect("its end").0
}

#[test]
fn the_walk_through_ends_in_a_pass_with_exact_counts() {
    let place = folder();
    let service = Prometheus::start(place.path(), "service", "none", &[], false);
    let watching = Prometheus::start(place.path(), "watching", "shop", &[service.address], false);
    let address = |text: &str| {
        text.replace("localhost:8080", &service.address.to_string())
            .replace("localhost:9090", &watching.address.to_string())
    };
    let mut done = Vec::new();
    for command in commands() {
        let command = address(command);
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["curl", url] => {
                let status =
                    runtime().block_on(async { reqwest::get(*url).await.map(|answer| answer.status()) });
                status.expect("the service answers");
            }
            ["sre", arguments @ ..] => {
                if arguments[0] == "init" {
                    watching.sees("prometheus_http_requests_total{code=\"404\"}", 1);
                    watching.sees("prometheus_http_requests_total{handler=~\"/-/(healthy|ready)\"}", 2);
                }
                let ran = sre(place.path(), arguments);
                match arguments[0] {
                    "init" => {
                        ran.ends(0, "prometheus_http_requests_total");
                        let path = place.path().join("scenarios/my-service.yaml");
                        let scenario = std::fs::read_to_string(&path).expect("a scenario");
                        let added = format!("requests:\n{}", added_request());
                        std::fs::write(&path, scenario.replace("requests:\n", &added)).expect("written");
                    }
                    "run" => {
                        let ran = ran.ends(0, "100 = 100").ends(0, "3 of 3 equal");
                        assert!(ran.stdout.contains("PASS"), "{ran:#?}");
                    }
                    _ => {
                        ran.ends(0, "my-service");
                    }
                }
                done.push(arguments[0].to_owned());
            }
            other => panic!("the walk-through has a command that is not tested: {other:?}"),
        }
    }
    assert_eq!(done, ["init", "validate", "up", "run"]);
}

#[test]
fn credentials_come_from_the_environment_and_are_told_nowhere() {
    let place = folder();
    let service = Prometheus::start(place.path(), "service", "none", &[], false);
    let watching = Prometheus::start(place.path(), "watching", "shop", &[service.address], true);
    service.get("/-/healthy").expect("a request to begin with");
    watching.sees("prometheus_http_requests_total{handler=\"/-/healthy\"}", 1);
    let init = ["init", "--external", &service.url(), "--prometheus", &watching.url()];
    sre(place.path(), &init).ends(3, "--prometheus-user");
    let init: Vec<&str> = init
        .into_iter()
        .chain(["--prometheus-user", "SHOP_USER", "--prometheus-password", "SHOP_WORD"])
        .collect();
    sre_with(place.path(), &init, &[("SHOP_USER", "viewer")]).ends(5, "SHOP_WORD is not set");
    sre_with(place.path(), &init, &[("SHOP_USER", "viewer"), ("SHOP_WORD", "wrong-word")])
        .ends(3, "does not accept the credentials");
    let good = [("SHOP_USER", "viewer"), ("SHOP_WORD", "secret")];
    sre_with(place.path(), &init, &good).ends(0, "created");
    let run = ["run", "my-service", "--target", "external", "--duration", "2s", "-vv"];
    sre(place.path(), &run).ends(5, "SHOP_USER is not set");
    let ran = sre_with(place.path(), &run, &good).ends(0, "10 = 10");
    assert!(!(ran.stdout + &ran.stderr).contains("secret"), "the password was printed");
    for top in ["stacks", "scenarios", ".sre"] {
        assert_nowhere(&place.path().join(top), "secret");
    }
}

/// No file below holds this text.
fn assert_nowhere(folder: &Path, text: &str) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => assert_nowhere(&path, text),
            false => {
                let bytes = std::fs::read(&path).expect("a file");
                assert!(!String::from_utf8_lossy(&bytes).contains(text), "{} holds it", path.display());
            }
        }
    }
}

#[test]
fn a_token_is_sent_and_a_secret_is_never_repeated() {
    let place = folder();
    let (address, heard) = answers("HTTP/1.1 401 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let prometheus = format!("http://{address}");
    let init =
        ["init", "--external", "http://127.0.0.1:1", "--prometheus", &prometheus, "--prometheus-bearer"];
    let with = |value: &'static str| init.into_iter().chain([value]).collect::<Vec<_>>();
    sre_with(place.path(), &with("SHOP_TOKEN"), &[("SHOP_TOKEN", "s3cr3t")]).ends(3, "does not accept");
    let head = heard.recv_timeout(Duration::from_secs(5)).expect("a request");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer s3cr3t"), "{head}");
    let ran = sre(place.path(), &with("s3cr3t-token")).ends(2, "not the name of an environment variable");
    assert!(!ran.stderr.contains("s3cr3t"), "{ran:#?}");
    let url = ["init", "--external", "http://127.0.0.1:1", "--prometheus", "http://me:s3cr3t@127.0.0.1:2"];
    let ran = sre(place.path(), &url).ends(2, "no secrets in a file");
    assert!(!ran.stderr.contains("s3cr3t"), "{ran:#?}");
}

#[test]
fn what_cannot_be_found_is_said_with_what_to_do() {
    let place = folder();
    let (bare, _) = answers(
        "HTTP/1.1 200 X\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: 7\r\nconnection: close\r\n\r\nbare 1\n",
    );
    let watching = Prometheus::start(place.path(), "watching", "bare", &[bare], false);
    watching.sees("up==1", 1);
    let nobody = format!("http://{}", free());
    let init = |service: &str, prometheus: &str, more: &[&str]| {
        let arguments = ["init", "--external", service, "--prometheus", prometheus];
        sre(place.path(), &arguments.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let (bare, watching) = (format!("http://{bare}"), watching.url());
    init(&bare, &nobody, &[]).ends(3, "Prometheus does not answer");
    init(&bare, &bare, &[]).ends(3, "--prometheus URL");
    init(&nobody, &watching, &[]).ends(3, "its jobs are: bare").ends(3, "--job NAME");
    init(&bare, &watching, &["--job", "shop"]).ends(3, "no target of the job shop");
    init(&bare, &watching, &[]).ends(3, "Send the service a request");
    init("localhost:8080", &watching, &[]).ends(2, "http://");
    init("ftp://localhost", &watching, &[]).ends(2, "http://");
    init(&bare, &watching, &["--name", "../shop"]).ends(2, "small letters");
    init(&bare, &watching, &["--name", "errors"]).ends(2, "comes with sre");
    sre(place.path(), &["init", "--job", "shop"]).ends(2, "--external");
    assert!(!place.path().join("stacks").exists(), "nothing was written");
}

#[test]
fn several_replicas_are_added_up_and_changed_files_are_not_overwritten_unasked() {
    let place = folder();
    let first = Prometheus::start(place.path(), "first", "none", &[], false);
    let second = Prometheus::start(place.path(), "second", "none", &[], false);
    let both = [first.address, second.address];
    let watching = Prometheus::start(place.path(), "watching", "shop", &both, false);
    first.get("/-/healthy").expect("a request to begin with");
    watching.sees("prometheus_http_requests_total{handler=\"/-/healthy\"}", 1);
    watching.sees("up==1", 2);
    let (one, two, prometheus) = (first.url(), second.url(), watching.url());
    let both =
        ["init", "--external", &two, "--external", &one, "--prometheus", &prometheus, "--name", "both"];
    sre(place.path(), &both).ends(0, "stacks/both/stack.yaml");
    sre(place.path(), &both).ends(0, "unchanged");
    let path = place.path().join("stacks/both/stack.yaml");
    let stack = std::fs::read_to_string(&path).expect("a stack");
    // The instances stand in the order of the URLs.
    assert!(stack.contains(&format!("[\"{}\", \"{}\"]", second.address, first.address)), "{stack}");
    std::fs::write(&path, format!("# mine\n{stack}")).expect("written");
    sre(place.path(), &both).ends(5, "would be overwritten");
    assert!(std::fs::read_to_string(&path).expect("a stack").starts_with("# mine"));
    let run = ["run", "both", "--target", "external", "--duration", "2s"];
    sre(place.path(), &run).ends(0, "10 = 10");
    sre(place.path(), &both.into_iter().chain(["--force"]).collect::<Vec<_>>()).ends(0, "overwritten");
    sre(place.path(), &["down"]);
    // One base URL for both: what the other instance counts would be seen, too.
    let single = ["init", "--external", &one, "--prometheus", &prometheus, "--name", "single"];
    sre(place.path(), &single).ends(0, "created");
    sre(place.path(), &["run", "single", "--target", "external", "--duration", "2s"]).ends(0, "10 = 10");
}

/// A server that gives every request the same answer, and tells what it heard.
fn answers(answer: &'static str) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or_default();
            let _ = sender.send(String::from_utf8_lossy(&head[..length]).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, heard)
}
