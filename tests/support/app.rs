//! Runs the demo service from the built binary.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::exposition::Exposition;
use super::wait::until;

/// A running demo service on free loopback ports; killed when dropped.
pub struct App {
    child: Child,
    log: Option<JoinHandle<Vec<Value>>>,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where its faults are switched.
    pub admin: SocketAddr,
    /// A client for it.
    pub client: reqwest::Client,
}

impl App {
    /// Starts it with an admin port, without a simulated query's time, and with these further arguments.
    pub fn start(arguments: &[&str]) -> App {
        let (mut app, mut output) = App::start_unread(arguments);
        app.log = Some(std::thread::spawn(move || {
            let mut lines = Vec::new();
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                lines.push(serde_json::from_str(&line).expect("every log line is JSON"));
                line.clear();
            }
            lines
        }));
        app
    }

    /// Starts it, and leaves reading its output, after the first line, to the caller.
    pub fn start_unread(arguments: &[&str]) -> (App, BufReader<ChildStdout>) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sre"))
            .args(["app", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--latency", "0s"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (first, output) = first_line(&mut child, output);
        let address = |key: &str| first[key].as_str().expect("the first line tells it").parse().unwrap();
        let app = App {
            address: address("address"),
            admin: address("admin"),
            child,
            log: None,
            client: reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap(),
        };
        (app, output)
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it exposes now.
    pub async fn scrape(&self) -> Exposition {
        let response = self.client.get(self.url("/metrics")).send().await.expect("it answers");
        Exposition::parse(&response.text().await.expect("its metrics are text"))
    }

    /// Waits until so many requests are under way.
    pub async fn wait_active(&self, count: u32) {
        until(&format!("{count} requests under way"), async || {
            (self.scrape().await.sum("app_active_requests", &[]) == f64::from(count)).then_some(())
        })
        .await;
    }

    /// Switches exactly these faults on.
    pub async fn set_faults(&self, faults: Value) {
        let url = format!("http://{}/faults", self.admin);
        let response = self.client.put(url).json(&faults).send().await.expect("the admin port answers");
        assert_eq!(response.status(), 200, "{faults}");
    }

    /// Switches every fault off.
    pub async fn end_faults(&self) {
        self.set_faults(json!({})).await;
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    /// Asks it to stop, waits until it has, and tells how it ended and what it has logged since its first line.
    pub async fn stop(mut self) -> (ExitStatus, Vec<Value>) {
        self.terminate();
        self.ended().await
    }

    /// Waits until it has ended, and tells how, and what it has logged since its first line.
    pub async fn ended(&mut self) -> (ExitStatus, Vec<Value>) {
        let status =
            until("the service's end", async || self.child.try_wait().expect("it is our child")).await;
        let lines = self.log.take().map(|log| log.join().expect("every log line is JSON"));
        (status, lines.unwrap_or_default())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line of output, waited for 10 s at the most.
fn first_line(child: &mut Child, mut output: BufReader<ChildStdout>) -> (Value, BufReader<ChildStdout>) {
    let (sender, lines): (_, Receiver<(String, BufReader<ChildStdout>)>) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = output.read_line(&mut line);
        let _ = sender.send((line, output));
    });
    let Ok((line, output)) = lines.recv_timeout(Duration::from_secs(60)) else {
        let _ = child.kill();
        panic!("the service said nothing for 10 s");
    };
    (serde_json::from_str(&line).expect("the first line is JSON"), output)
}
