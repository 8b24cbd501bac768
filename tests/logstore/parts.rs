//! The store and the shipper as processes.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use sre::observe::Loki;
use sre::target::Endpoint;
use url::Url;

/// A process that can be killed and started again; killed when dropped.
pub struct Process {
    arguments: Vec<String>,
    child: Option<Child>,
    base: Url,
    client: reqwest::Client,
}

/// A store in a folder.
pub fn store(folder: &Path, options: &[&str]) -> Process {
    let mut arguments = vec!["logstore".to_owned(), format!("--data={}", folder.display())];
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    Process::new(arguments)
}

/// A shipper of one log of the service `shop`.
pub fn shipper(folder: &Path, log: &Path, store: &Process) -> Process {
    Process::new(vec![
        "logshipper".to_owned(),
        format!("--to={}", store.url("otlp")),
        format!("--positions={}", folder.join("positions.json").display()),
        "--service=shop".to_owned(),
        format!("--log=shop-0={}", log.display()),
    ])
}

/// Waits, within 60 s, until something holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(120), "waited 120 s for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The receiver of notifications, which keeps them in a folder.
pub fn receiver(folder: &Path) -> Process {
    Process::new(vec!["receiver".to_owned(), format!("--store={}", folder.join("kept.ndjson").display())])
}

impl Process {
    fn new(mut arguments: Vec<String>) -> Process {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        arguments.push(format!("--listen=127.0.0.1:{port}"));
        let mut process = Process {
            arguments,
            child: None,
            base: format!("http://127.0.0.1:{port}/").parse().unwrap(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        process.start();
        process
    }

    pub fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        self.child = Some(command.args(&self.arguments).stdin(Stdio::null()).spawn().unwrap());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn url(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }

    pub async fn is_ready(&self) {
        until("the store", async || self.client.get(self.url("ready")).send().await.is_ok()).await;
    }

    /// Whether it answers at all.
    pub async fn is_there(&self) -> bool {
        self.client.get(self.url("healthz")).send().await.is_ok()
    }

    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, String) {
        let mut request = self.client.post(self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// The client that the check asks with.
    pub fn loki(&self) -> Loki {
        Loki::new(&Endpoint::new(self.base.clone())).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
