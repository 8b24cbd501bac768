//! Real programs that observe, each on a port of its own; they end with their values.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sre::interrupt::Interrupt;
use sre::terminal::Terminal;
use sre::tools::{Cache, Tool, require};

use crate::lab::until;
use crate::needs::{skipped, variable};

/// A running program; it ends with its value.
pub struct Running {
    pub address: SocketAddr,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a program whose log goes to this folder.
    pub fn start(
        program: &Path,
        folder: &Path,
        name: &str,
        address: SocketAddr,
        arguments: &[String],
    ) -> Running {
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).expect("a log");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} ({}) cannot be started: {e}", program.display()));
        Running { address, child }
    }

    /// A Prometheus with this configuration; it is not waited for.
    pub fn prometheus(
        program: &Path,
        folder: &Path,
        name: &str,
        at: SocketAddr,
        config: &str,
        more: &[&str],
    ) -> Running {
        let file = folder.join(format!("{name}.yml"));
        std::fs::write(&file, config).expect("written");
        let mut arguments =
            vec![format!("--config.file={}", file.display()), format!("--web.listen-address={at}")];
        let agent = more.iter().any(|argument| argument.contains("agent"));
        let data = if agent { "agent" } else { "tsdb" };
        arguments.push(format!("--storage.{data}.path={}", folder.join(format!("{name}-data")).display()));
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Running::start(program, folder, name, at, &arguments)
    }

    /// A VictoriaMetrics that scrapes by itself.
    pub fn victoria_metrics(program: &Path, folder: &Path, at: SocketAddr, config: &str) -> Running {
        let file = folder.join("victoria.yml");
        std::fs::write(&file, config).expect("written");
        let arguments = [
            format!("-promscrape.config={}", file.display()),
            format!("-httpListenAddr={at}"),
            format!("-storageDataPath={}", folder.join("victoria-data").display()),
        ];
        Running::start(program, folder, "victoria", at, &arguments)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until a query has so many series.
    #[track_caller]
    pub fn has(&self, query: &str, series: usize) {
        let url = format!("{}/api/v1/query", self.url());
        until(query, || {
            let answer = get_json(&url, &[("query", query), ("nocache", "1")]);
            answer["data"]["result"].as_array().is_some_and(|found| found.len() >= series)
        });
    }
}

/// The JSON of an answer; null where there is none.
pub fn get_json(url: &str, query: &[(&str, &str)]) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let answer = reqwest::Client::new().get(url).query(query).send().await;
        match answer {
            Ok(answer) => answer.json().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    })
}

pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// The Prometheus that the tests run with.
pub fn prometheus() -> PathBuf {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let found = runtime.block_on(async {
        let cache = Cache::of_user().expect("a cache");
        require(&[Tool::Prometheus], &[], &cache, &Terminal::silent(true), &Interrupt::default()).await
    });
    found.expect("Prometheus is found").remove(0).path
}

/// A Prometheus of version 3.
pub fn prometheus_3() -> Option<PathBuf> {
    variable("prometheus", "SRE_TEST_PROMETHEUS_3", "Prometheus 3").map(PathBuf::from)
}

/// Whether a Prometheus is of version 3 or later: flags differ.
pub fn is_3(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").output().expect("it starts");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    !text.contains("version 2.")
}

/// VictoriaMetrics, as `SRE_TEST_VICTORIA_METRICS` or PATH have it, or out of the distribution's package.
pub fn victoria_metrics() -> Option<PathBuf> {
    if let Ok(path) = std::env::var("SRE_TEST_VICTORIA_METRICS") {
        return Some(path.into());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&paths).map(|folder| folder.join("victoria-metrics"));
    let found = on_path.into_iter().find(|program| program.is_file()).or_else(unpacked);
    if found.is_none() {
        skipped(
            "victoria-metrics",
            "victoria-metrics is not on PATH, not named by SRE_TEST_VICTORIA_METRICS, no package",
        );
    }
    found
}

/// Out of Debian's package, which is not installed.
fn unpacked() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("victoria-metrics");
    let program = folder.join("usr/bin/victoria-metrics");
    if program.is_file() {
        return Some(program);
    }
    let scratch = tempfile::tempdir().expect("a folder");
    let succeeds = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    succeeds(Command::new("apt-get").args(["download", "victoria-metrics"]).current_dir(scratch.path()))
        .then_some(())?;
    let package = std::fs::read_dir(scratch.path()).ok()?.flatten().next()?.path();
    let tree = scratch.path().join("tree");
    succeeds(Command::new("dpkg").arg("-x").args([&package, &tree])).then_some(())?;
    std::fs::create_dir_all(folder.join("usr/bin")).ok()?;
    // Another test may do the same.
    let own = folder.join(format!("usr/bin/new-{:?}", std::thread::current().id()));
    std::fs::copy(tree.join("usr/bin/victoria-metrics"), &own).ok()?;
    std::fs::rename(&own, &program).ok()?;
    Some(program)
}
