//! A lab in a folder of its own, driven by the real `sre` with the real Prometheus and Alertmanager.
//! The service is the node exporter: a program that is not ours, with metrics.

// Not every test uses all of it.
#![allow(dead_code)]

#[path = "needs.rs"]
pub mod needs;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use sre::interrupt::Interrupt;
use sre::target::{Folder, Process, local::process};
use sre::terminal::Terminal;
use sre::tools::{Cache, Program, Tool};

/// Nothing here takes longer.
const BOUND: Duration = Duration::from_secs(120);

/// A folder with a stack `probe`; what runs there is ended when it is dropped.
pub struct TestLab {
    place: tempfile::TempDir,
    prometheus: Option<PathBuf>,
    alone: bool,
}

/// What came of a command.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl TestLab {
    /// Two replicas, an alert rule, and the distribution's Prometheus.
    pub fn new() -> TestLab {
        let place = tempfile::tempdir().expect("a folder");
        let exporter =
            programs().iter().find(|program| program.tool == Tool::NodeExporter).expect("it was got");
        let lab = TestLab { place, prometheus: None, alone: false };
        lab.stack("probe", &[&exporter.path.to_string_lossy(), "--web.listen-address={listen}"], "/");
        lab
    }

    /// With this Prometheus.
    pub fn with_prometheus(program: PathBuf) -> TestLab {
        let mut lab = TestLab::new();
        lab.prometheus = Some(program);
        lab
    }

    /// On a machine that has neither Loki nor a collector, nor can get one.
    pub fn alone(mut self) -> TestLab {
        self.alone = true;
        self
    }

    /// Writes a stack whose service is this command.
    pub fn stack(&self, name: &str, command: &[&str], ready: &str) {
        let folder = self.path().join("stacks").join(name);
        std::fs::create_dir_all(folder.join("rules")).expect("a folder");
        let rule = format!(
            "groups:\n- name: {name}\n  rules:\n  - alert: InstanceDown\n    expr: up{{job=\"{name}\"}} == 0\n"
        );
        std::fs::write(folder.join("rules/alerts.yaml"), rule).expect("written");
        let command = serde_json::to_string(command).expect("a list");
        let stack = format!(
            "name: {name}
parameters:
  replicas: {{description: How many, default: 2}}
counter: {{metric: promhttp_metric_handler_requests_total, job: {name}}}
rules: [rules/alerts.yaml]
local:
  service:
    name: {name}
    replicas: ${{replicas}}
    command: {command}
    ready: {ready}
  scrape_interval: 1s
  evaluation_interval: 1s
  group_wait: 100ms
  group_interval: 1s
  node_exporter: true
"
        );
        std::fs::write(folder.join("stack.yaml"), stack).expect("written");
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn folder(&self) -> Folder {
        Folder::at(&self.path().join(".sre"))
    }

    /// A command of `sre`, ready to be run in the lab's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for name in ["SRE_TARGET", "SRE_YES", "SRE_MIRROR", "SRE_PROMTOOL"] {
            command.env_remove(name);
        }
        for program in programs() {
            command.env(program.tool.variable(), &program.path);
        }
        // The distribution's Alertmanager is only started well from the cache that it is in.
        command.env("XDG_CACHE_HOME", cache());
        if let Some(prometheus) = &self.prometheus {
            command.env(Tool::Prometheus.variable(), prometheus);
        }
        if self.alone {
            let nowhere = self.path().join("nowhere");
            command.env_remove("SRE_LOKI").env_remove("SRE_OTELCOL").env("PATH", &nowhere);
            command.env("SRE_MIRROR", format!("file://{}", nowhere.display()));
        }
        command
    }

    /// Runs `sre` to its end.
    pub fn sre(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    /// Runs `sre`, which must end with 0; its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.sre(&[arguments, &["-o", "json"]].concat());
        assert_eq!(ran.code, 0, "sre {arguments:?}\n{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout))
    }

    /// Starts `sre` and does not wait for it.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sre starts")
    }

    /// Every process that carries this lab's mark.
    pub fn marked(&self) -> Vec<Process> {
        process::marked(&self.folder())
    }

    /// The state as it was recorded.
    pub fn recorded(&self) -> Value {
        let text = std::fs::read_to_string(self.path().join(".sre/lab.json")).expect("something is up");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The recorded process of this name.
    pub fn process(&self, name: &str) -> Process {
        let lab = sre::target::Lab::load(self.folder().root()).expect("readable").expect("something is up");
        lab.process(name).unwrap_or_else(|| panic!("no {name}")).clone()
    }

    /// The port that a process has.
    pub fn port(&self, name: &str) -> u16 {
        let text = std::fs::read_to_string(self.path().join(".sre/local/ports.json")).expect("ports");
        let ports: Value = serde_json::from_str(&text).expect("JSON");
        ports[name]
            .as_u64()
            .and_then(|port| port.try_into().ok())
            .unwrap_or_else(|| panic!("no port of {name}"))
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        // Also when the test failed: nothing is left running.
        for process in self.marked() {
            let _ = process::kill(&process);
        }
    }
}

/// Runs a command to its end, which must come.
pub fn run(mut command: Command) -> Ran {
    let start = Instant::now();
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let took = start.elapsed();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr), took }
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about within {} s", BOUND.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A Prometheus 3, if the environment names one.
pub fn prometheus_3() -> Option<PathBuf> {
    needs::variable("prometheus", "SRE_TEST_PROMETHEUS_3", "Prometheus 3").map(PathBuf::from)
}

/// The real programs, got once as a user would get them with `--yes`.
pub fn programs() -> &'static [Program] {
    static PROGRAMS: OnceLock<Vec<Program>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let tools = [Tool::Prometheus, Tool::Alertmanager, Tool::NodeExporter];
        let cache = Cache::at(cache().join("sre/tools"));
        let (terminal, interrupt) = (Terminal::silent(true), Interrupt::default());
        let got = sre::tools::require(&tools, &[], &cache, &terminal, &interrupt);
        runtime.block_on(got).expect("the tools are found or got")
    })
}

fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache")
}
