//! A folder with a stack of the target `external`, a real Prometheus in front of liars, and `sre` in it.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sre::interrupt::Interrupt;
use sre::terminal::Terminal;
use sre::tools::{Cache, Tool, require};
use tempfile::TempDir;

use super::liar::Liar;

/// A lab of one test. Whatever it started ends with it.
pub struct Lab {
    pub folder: TempDir,
    pub prometheus: SocketAddr,
    processes: Vec<(String, Child)>,
    config: String,
    targets: usize,
    prometheus_url: Option<String>,
    /// Another Prometheus than the one that is found.
    pub program: Option<PathBuf>,
    alertmanager: Option<SocketAddr>,
    receiver: Option<SocketAddr>,
    loki: Option<SocketAddr>,
    services: Vec<SocketAddr>,
    instances: Vec<String>,
    job: Option<String>,
    rules: Option<String>,
}

/// What a run ended with.
#[derive(Debug)]
pub struct Verdict {
    pub exit: i32,
    pub json: Value,
    pub stderr: String,
}

impl Verdict {
    /// Holds the exit code and the verdict's word, and that this text is told somewhere.
    #[track_caller]
    pub fn is(&self, exit: i32, word: &str, told: &str) {
        let text = self.json.to_string();
        assert_eq!(self.exit, exit, "{self:#?}");
        assert_eq!(self.json["verdict"], word, "{self:#?}");
        assert!(text.contains(told), "`{told}` is not told: {self:#?}");
    }
}

/// A port that is free now, and that no other lab of these tests was ever given: what is killed leaves a
/// port on which nobody may answer. Outgoing connections and the liars have others.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 21_000 + (std::process::id() % 100) as u16 * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::SeqCst) % 100;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("its address");
        }
    }
}

/// Waits, within 30 s, until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(90), "waited 90 s for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Lab {
    /// A Prometheus that scrapes these liars every second, under the job `liar`.
    pub fn new(liars: &[&Liar]) -> Lab {
        let targets: Vec<SocketAddr> = liars.iter().map(|liar| liar.metrics).collect();
        Lab::with_jobs(liars, &[("liar", &targets)])
    }

    /// A Prometheus with these jobs.
    pub fn with_jobs(liars: &[&Liar], jobs: &[(&str, &[SocketAddr])]) -> Lab {
        let mut config = "global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}\n\
                          rule_files: [rules.yml]\nscrape_configs:\n"
            .to_owned();
        for (job, targets) in jobs {
            let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
            let targets = targets.join(", ");
            let _ = writeln!(config, "  - {{job_name: {job}, static_configs: [{{targets: [{targets}]}}]}}");
        }
        Lab {
            folder: tempfile::tempdir().expect("a folder"),
            prometheus: free(),
            processes: Vec::new(),
            config,
            targets: jobs.iter().map(|(_, targets)| targets.len()).sum(),
            prometheus_url: None,
            program: None,
            alertmanager: None,
            receiver: None,
            loki: None,
            services: liars.iter().map(|liar| liar.address).collect(),
            instances: liars.iter().map(|liar| liar.metrics.to_string()).collect(),
            job: None,
            rules: None,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn spawn(&mut self, name: &str, program: &Path, arguments: &[String]) {
        let log = std::fs::File::create(self.path(&format!("{name}.log"))).expect("a log");
        let mut command = Command::new(program);
        // Debian's Alertmanager, unpacked, looks for its templates where it is started.
        if let Some(shared) = program.ancestors().nth(2).map(|root| root.join("share/prometheus"))
            && shared.is_dir()
        {
            command.current_dir(shared);
        }
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} ({}) cannot be started: {e}", program.display()));
        self.processes.push((name.into(), child));
    }

    /// Ends a process of the lab, at once.
    pub fn kill(&mut self, name: &str) {
        let at = self.processes.iter().position(|(known, _)| known == name).expect("it runs");
        let (_, mut child) = self.processes.remove(at);
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
    }

    /// These rules, for Prometheus and for the stack, to be called before `start`.
    pub fn with_rules(mut self, rules: &str) -> Lab {
        self.rules = Some(rules.into());
        self
    }

    /// Alertmanager and `sre receiver`, to be called before `start`.
    pub fn with_notifications(self) -> Lab {
        self.with_notifications_by(
            "route: {receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n\
             receivers: [{name: hook, webhook_configs: [{url: \"http://RECEIVER/alerts\", send_resolved: true}]}]\n",
        )
    }

    /// The same with this configuration of Alertmanager, in which `RECEIVER` is the receiver's address.
    pub fn with_notifications_by(mut self, configuration: &str) -> Lab {
        let (alertmanager, receiver) = (free(), free());
        self.write("alertmanager.yml", &configuration.replace("RECEIVER", &receiver.to_string()));
        let config = self.path("alertmanager.yml");
        let data = self.path("alertmanager");
        self.spawn(
            "alertmanager",
            &tool(Tool::Alertmanager),
            &[
                format!("--config.file={}", config.display()),
                format!("--storage.path={}", data.display()),
                format!("--web.listen-address={alertmanager}"),
                "--cluster.listen-address=".into(),
            ],
        );
        let store = self.path("notifications.ndjson");
        self.spawn(
            "receiver",
            Path::new(env!("CARGO_BIN_EXE_sre")),
            &[
                "receiver".into(),
                "--listen".into(),
                receiver.to_string(),
                "--store".into(),
                store.display().to_string(),
            ],
        );
        until("Alertmanager", || TcpStream::connect(alertmanager).is_ok());
        until("the receiver", || TcpStream::connect(receiver).is_ok());
        self.config += &format!(
            "alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{alertmanager}\"]}}]}}]}}\n"
        );
        (self.alertmanager, self.receiver) = (Some(alertmanager), Some(receiver));
        self
    }

    /// Lines are asked for at this address, of whatever is there.
    pub fn with_loki_at(mut self, address: SocketAddr) -> Lab {
        self.loki = Some(address);
        self
    }

    /// What keeps lines, and gives so many at once: this Loki, else the log store of `sre`. To be called before `start`.
    pub fn with_store(self, loki: Option<&Path>, lines_at_once: usize) -> Lab {
        match loki {
            Some(program) => self.with_loki(program, lines_at_once),
            None => self.with_log_store(lines_at_once),
        }
    }

    fn with_log_store(mut self, lines_at_once: usize) -> Lab {
        let address = free();
        let arguments = [
            "logstore".to_owned(),
            format!("--listen={address}"),
            format!("--data={}", self.path("logstore").display()),
            format!("--max-lines={lines_at_once}"),
        ];
        self.spawn("loki", Path::new(env!("CARGO_BIN_EXE_sre")), &arguments);
        let ready = format!("http://{address}/ready");
        until("the log store", || succeeds(&ready));
        self.loki = Some(address);
        self
    }

    fn with_loki(mut self, program: &Path, lines_at_once: usize) -> Lab {
        let (address, grpc) = (free(), free());
        let data = self.path("loki");
        self.write(
            "loki.yml",
            &format!(
                "auth_enabled: false\nanalytics: {{reporting_enabled: false}}\n\
                 server: {{http_listen_address: 127.0.0.1, http_listen_port: {}, grpc_listen_address: 127.0.0.1, \
                 grpc_listen_port: {}, log_level: warn}}\n\
                 common: {{instance_addr: 127.0.0.1, path_prefix: {data}, replication_factor: 1, \
                 ring: {{kvstore: {{store: inmemory}}}}, storage: {{filesystem: {{chunks_directory: {data}/chunks, \
                 rules_directory: {data}/rules}}}}}}\n\
                 schema_config: {{configs: [{{from: \"2024-04-01\", store: tsdb, object_store: filesystem, schema: v13, \
                 index: {{prefix: index_, period: 24h}}}}]}}\n\
                 ingester: {{lifecycler: {{min_ready_duration: 0s}}}}\n\
                 frontend_worker: {{frontend_address: \"{grpc}\"}}\n\
                 limits_config: {{max_entries_limit_per_query: {lines_at_once}}}\n",
                address.port(),
                grpc.port(),
                data = data.display(),
            ),
        );
        let config = self.path("loki.yml");
        self.spawn("loki", program, &[format!("-config.file={}", config.display())]);
        let ready = format!("http://{address}/ready");
        until("Loki", || succeeds(&ready));
        self.loki = Some(address);
        self
    }

    /// What ships this file to what keeps lines: this collector, else the log shipper of `sre`, which goes on where one of
    /// that name ended. `name` is a label of its lines.
    pub fn ship(&mut self, name: &str, collector: Option<&Path>, log: &Path, start_at: &str) {
        match collector {
            Some(program) => self.collect(name, program, log, start_at),
            None => self.ship_by_sre(name, log),
        }
    }

    fn ship_by_sre(&mut self, name: &str, log: &Path) {
        let (loki, health) = (self.loki.expect("a store"), free());
        let arguments = [
            "logshipper".to_owned(),
            format!("--listen={health}"),
            format!("--to=http://{loki}/otlp"),
            format!("--positions={}", self.path(&format!("{name}.json")).display()),
            "--service=liar".to_owned(),
            format!("--log={name}={}", log.display()),
        ];
        self.spawn(name, Path::new(env!("CARGO_BIN_EXE_sre")), &arguments);
        let ready = format!("http://{health}/");
        until("the log shipper", || succeeds(&ready));
    }

    fn collect(&mut self, name: &str, program: &Path, log: &Path, start_at: &str) {
        let (loki, health) = (self.loki.expect("a Loki"), free());
        let file = format!("{name}.yml");
        self.write(
            &file,
            &format!(
                "receivers:\n  file_log: {{include: [{log:?}], start_at: {start_at}, poll_interval: 100ms, \
                 resource: {{service.name: liar, service.instance.id: {name}}}, operators: [{{type: json_parser, \
                 parse_to: attributes.parsed, timestamp: {{parse_from: attributes.parsed.timestamp, \
                 layout_type: gotime, layout: \"2006-01-02T15:04:05Z07:00\"}}}}, {{type: remove, field: attributes.parsed}}]}}\n\
                 processors: {{batch: {{timeout: 100ms}}}}\n\
                 exporters: {{otlp_http: {{endpoint: \"http://{loki}/otlp\"}}}}\n\
                 extensions: {{health_check: {{endpoint: \"{health}\"}}}}\n\
                 service: {{extensions: [health_check], telemetry: {{metrics: {{level: none}}}}, \
                 pipelines: {{logs: {{receivers: [file_log], processors: [batch], exporters: [otlp_http]}}}}}}\n"
            ),
        );
        let config = self.path(&file);
        self.spawn(name, program, &[format!("--config={}", config.display())]);
        let ready = format!("http://{health}/");
        until("the collector", || succeeds(&ready));
    }

    /// Prometheus is asked by way of this address.
    pub fn asked_at(mut self, url: &str) -> Lab {
        self.prometheus_url = Some(url.into());
        self
    }

    pub fn alertmanager(&self) -> Option<SocketAddr> {
        self.alertmanager
    }

    pub fn receiver(&self) -> Option<SocketAddr> {
        self.receiver
    }

    /// The stack names the job of its targets.
    pub fn with_job(mut self, job: &str) -> Lab {
        self.job = Some(job.into());
        self
    }

    /// Changes Prometheus' configuration, before it starts.
    pub fn configured(mut self, from: &str, to: &str) -> Lab {
        assert!(self.config.contains(from), "{from} is not in {}", self.config);
        self.config = self.config.replace(from, to);
        self
    }

    /// Prometheus will have so many targets.
    pub fn with_targets(mut self, targets: usize) -> Lab {
        self.targets = targets;
        self
    }

    /// Changes a file that was written.
    pub fn rewrite(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).expect("a file");
        assert!(text.contains(from), "{from} is not in {text}");
        self.write(name, &text.replace(from, to));
    }

    /// Starts Prometheus; `alarm` is a rule that fires while the liars' gauge is 1.
    pub fn start(mut self, alert: Option<&str>) -> Lab {
        let rule = alert.map_or(String::new(), |name| {
            format!("groups: [{{name: lies, rules: [{{alert: {name}, expr: \"alarm == 1\"}}]}}]\n")
        });
        let of_stack = "groups: [{name: lies, rules: [{alert: Alarm, expr: \"alarm == 1\"}]}]\n";
        self.write("rules.yml", self.rules.as_deref().unwrap_or(&rule));
        self.write("stacks/liar/rules.yml", self.rules.as_deref().unwrap_or(of_stack));
        self.write("prometheus.yml", &self.config);
        self.start_prometheus();
        self
    }

    pub fn start_prometheus(&mut self) {
        let (config, data) = (self.path("prometheus.yml"), self.path("data"));
        let address = self.prometheus;
        self.spawn(
            "prometheus",
            &self.program.clone().unwrap_or_else(prometheus),
            &[
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", data.display()),
                format!("--web.listen-address={address}"),
            ],
        );
        until("Prometheus to scrape", || {
            let targets = get(&format!("http://{address}/api/v1/targets?state=active"));
            let targets = targets["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
            targets.len() == self.targets && targets.iter().all(|target| target["health"] != "unknown")
        });
    }

    /// An instant query, asked of Prometheus itself.
    pub fn query(&self, expression: &str) -> Value {
        get(&format!("http://{}/api/v1/query?query={}", self.prometheus, expression.replace(' ', "%20")))
    }

    /// Writes the stack and a scenario with this load and these checks.
    pub fn scenario(&self, load: &str, checks: &str) {
        self.scenario_of(
            &format!("arrival-rate: {{{load}}}"),
            "requests:\n  ok: {weight: 4, path: /ok}\n  error: {path: /error, expect: 500}",
            checks,
        );
    }

    /// Writes the stack and a scenario with this executor, these requests (and other keys) and these checks.
    pub fn scenario_of(&self, load: &str, requests: &str, checks: &str) {
        let url = self.prometheus_url.clone().unwrap_or_else(|| format!("http://{}", self.prometheus));
        let services: Vec<String> =
            self.services.iter().map(|service| format!("\"http://{service}\"")).collect();
        let instances: Vec<String> = self.instances.iter().map(|instance| format!("{instance:?}")).collect();
        let job = self.job.as_ref().map_or(String::new(), |job| format!("job: {job}, "));
        let mut stack = format!(
            "name: liar\nrules: [rules.yml]\n\
             counter: {{metric: requests_total, {job}path: path, status: code}}\n\
             external:\n  service: [{}]\n  instances: [{}]\n  prometheus: {{url: {url:?}}}\n",
            services.join(", "),
            instances.join(", "),
        );
        if let (Some(alertmanager), Some(receiver)) = (self.alertmanager, self.receiver) {
            let _ = write!(
                stack,
                "  alertmanager: {{url: \"http://{alertmanager}\"}}\n  receiver: {{url: \"http://{receiver}\"}}\n"
            );
        }
        if let Some(loki) = self.loki {
            let _ = write!(
                stack,
                "  loki: {{url: \"http://{loki}\"}}\n\
                 logs: {{selector: '{{service_name=\"liar\"}}', lost: lines_lost_total}}\n"
            );
        }
        self.write("stacks/liar/stack.yaml", &stack);
        self.write(
            "scenarios/lie.yaml",
            &format!("name: lie\nstack: liar\nload: {{{load}}}\n{requests}\nchecks: {checks}\n"),
        );
    }

    /// Takes a target out of Prometheus' configuration, and has Prometheus read it again.
    pub fn forget(&mut self, target: SocketAddr) {
        let before = self.config.clone();
        for text in [format!(", \"{target}\""), format!("\"{target}\"")] {
            self.config = self.config.replacen(&text, "", 1);
        }
        assert_ne!(before, self.config, "it was not a target");
        self.write("prometheus.yml", &self.config);
        self.kill("prometheus");
        self.targets -= 1;
        self.start_prometheus();
    }

    /// Another command, to its end; gives its exit code.
    pub fn sre(&self, arguments: &[&str]) -> Option<i32> {
        let status = Command::new(env!("CARGO_BIN_EXE_sre"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("SRE_TARGET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        status.expect("sre starts").code()
    }

    /// `sre run lie`, in the background.
    pub fn run(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_sre"))
            .args(["run", "lie", "--target", "external", "-o", "json"])
            .current_dir(self.folder.path())
            .env_remove("SRE_TARGET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sre starts")
    }

    /// `sre run lie`, to its end.
    pub fn verdict(&self) -> Verdict {
        verdict(self.run())
    }
}

/// What a run ended with.
pub fn verdict(run: Child) -> Verdict {
    let output = run.wait_with_output().expect("sre ends");
    Verdict {
        exit: output.status.code().unwrap_or(-1),
        json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether an address answers with success.
fn succeeds(url: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) })
}

/// An answer's JSON; null where there is none.
fn get(url: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match reqwest::get(url).await {
            Ok(answer) => answer.json().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    })
}

/// The real Prometheus that labs start.
pub fn prometheus() -> PathBuf {
    tool(Tool::Prometheus)
}

/// A real program, found or got as `sre up --yes` does it.
fn tool(tool: Tool) -> PathBuf {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let found = runtime.block_on(async {
        let cache = Cache::of_user().expect("a cache");
        require(&[tool], &[], &cache, &Terminal::silent(true), &Interrupt::default()).await
    });
    found.expect("the program is found").remove(0).path
}
