//! What must run for a stack, with which arguments and configurations, given its ports. Pure.

use std::path::PathBuf;

use indexmap::IndexMap;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::config::{AlertmanagerConfig, Job, PrometheusConfig};
use super::log_config::{CollectorConfig, LokiConfig};
use super::ports::Ports;
use super::process::Spec;
use crate::error::{Error, Result};
use crate::stack::{LocalStack, Stack};
use crate::target::{Endpoint, Endpoints, Folder, Replica};

/// The process names that are not replicas.
pub const PROMETHEUS: &str = "prometheus";
/// Alertmanager's.
pub const ALERTMANAGER: &str = "alertmanager";
/// The node exporter's.
pub const NODE_EXPORTER: &str = "node-exporter";
/// The receiver's.
pub const RECEIVER: &str = "receiver";

/// Loki's.
pub const LOKI: &str = "loki";
/// The OpenTelemetry Collector's.
pub const COLLECTOR: &str = "collector";

/// What follows a replica's name in that of its admin port.
const ADMIN: &str = "-admin";
/// What follows Loki's name in that of its second port.
const GRPC: &str = "-grpc";

/// Names the digest of a configuration in the environment of who cannot read it again: it is started anew when
/// the configuration changes.
const DIGEST: &str = "SRE_CONFIGURATION";

/// The programs that a stack is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// This program.
    pub sre: PathBuf,
    /// Prometheus.
    pub prometheus: PathBuf,
    /// Prometheus' version.
    pub prometheus_version: String,
    /// Where Prometheus' pages are, if its program does not know it.
    pub prometheus_pages: Option<PathBuf>,
    /// Alertmanager.
    pub alertmanager: PathBuf,
    /// Where it must be started to find its templates, if it does not know it.
    pub alertmanager_folder: Option<PathBuf>,
    /// The node exporter, if the stack has one.
    pub node_exporter: Option<PathBuf>,
    /// What keeps log lines, if the stack has it and it can be had.
    pub logs: Option<LogPrograms>,
}

/// The programs that keep log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPrograms {
    /// Loki.
    pub loki: PathBuf,
    /// The OpenTelemetry Collector, which ships lines to it.
    pub collector: PathBuf,
}

/// A file with rules, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// Where it is written.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl RuleFile {
    /// The copy of a stack's rule file in the lab's folder.
    pub fn new(name: &str, text: String, folder: &Folder) -> RuleFile {
        RuleFile { path: folder.local().join("rules").join(name.replace('/', "-")), text }
    }
}

/// What must run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The processes; Prometheus is the last, because it should find the others at its first scrape.
    pub parts: Vec<Part>,
    /// Files that must be there before.
    pub files: Vec<File>,
    /// Where the parts will answer.
    pub endpoints: Endpoints,
    /// What Prometheus must scrape.
    pub targets: Vec<ExpectedTarget>,
}

/// One process.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// How it is started.
    pub spec: Spec,
    /// Its ports.
    pub ports: Vec<u16>,
    /// What answers 2xx when it is ready.
    pub ready: Url,
    /// What makes it read its configuration again, where it can.
    pub reload: Option<Url>,
}

/// A file, and the process that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub text: String,
    /// The name of the process that must read it again when it changes.
    pub reader: &'static str,
}

/// A target that Prometheus must scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTarget {
    /// Its `job` label.
    pub job: String,
    /// Its `instance` label.
    pub instance: String,
    /// The name of its process.
    pub process: String,
}

/// The names that ports are needed for.
pub fn port_names(local: &LocalStack) -> Vec<String> {
    let mut names = vec![RECEIVER.to_owned(), ALERTMANAGER.to_owned(), PROMETHEUS.to_owned()];
    if local.node_exporter {
        names.push(NODE_EXPORTER.into());
    }
    if local.logs {
        names.extend([LOKI.to_owned(), format!("{LOKI}{GRPC}"), COLLECTOR.to_owned()]);
    }
    for number in 0..local.service.replicas {
        let name = replica_name(local, number);
        if has_admin(local) {
            names.push(format!("{name}{ADMIN}"));
        }
        names.push(name);
    }
    names
}

/// The process that a port's name belongs to.
pub fn port_owner(name: &str) -> &str {
    name.strip_suffix(ADMIN).or_else(|| name.strip_suffix(GRPC)).unwrap_or(name)
}

/// Plans a stack. `ports` has a port for each of [`port_names`].
pub fn plan(
    stack: &Stack,
    local: &LocalStack,
    rules: &[RuleFile],
    programs: &Programs,
    ports: &Ports,
    folder: &Folder,
) -> Result<Plan> {
    let port = |name: &str| {
        ports
            .get(name)
            .copied()
            .ok_or_else(|| Error::target(format!("{name} of stack {} has no port", stack.name)))
    };
    let receiver = port(RECEIVER)?;
    let alertmanager = port(ALERTMANAGER)?;
    let prometheus = port(PROMETHEUS)?;

    let mut parts = Vec::new();
    let mut files = Vec::new();
    let mut jobs = Vec::new();
    let mut replicas = Vec::new();
    let mut loki = None;
    if let Some(programs) = &programs.logs {
        let ports = LogPorts {
            loki: port(LOKI)?,
            grpc: port(&format!("{LOKI}{GRPC}"))?,
            collector: port(COLLECTOR)?,
        };
        loki = Some(Endpoint::new(url(ports.loki, "/")?));
        keep_logs(local, programs, &ports, folder, &mut parts, &mut files)?;
    }

    parts.push(Part {
        spec: Spec {
            name: RECEIVER.into(),
            program: programs.sre.clone(),
            arguments: vec![
                "receiver".into(),
                format!("--listen={}", address(receiver)),
                format!("--store={}", folder.local().join("notifications.ndjson").display()),
            ],
            environment: IndexMap::new(),
            directory: None,
        },
        ports: vec![receiver],
        ready: url(receiver, "/healthz")?,
        reload: None,
    });
    parts.push(Part {
        spec: Spec {
            name: ALERTMANAGER.into(),
            program: programs.alertmanager.clone(),
            arguments: vec![
                format!("--config.file={}", folder.local().join("alertmanager.yml").display()),
                format!("--storage.path={}", folder.local().join("alertmanager").display()),
                format!("--web.listen-address={}", address(alertmanager)),
                // Alone: it neither listens for peers nor waits for them.
                "--cluster.listen-address=".into(),
            ],
            environment: IndexMap::new(),
            directory: programs.alertmanager_folder.clone(),
        },
        ports: vec![alertmanager],
        ready: url(alertmanager, "/-/ready")?,
        reload: Some(url(alertmanager, "/-/reload")?),
    });
    if let Some(program) = &programs.node_exporter {
        let node_exporter = port(NODE_EXPORTER)?;
        parts.push(Part {
            spec: Spec {
                name: NODE_EXPORTER.into(),
                program: program.clone(),
                arguments: vec![
                    format!("--web.listen-address={}", address(node_exporter)),
                    // Debian's looks for both by default, and complains at each scrape where they are not.
                    "--no-collector.systemd".into(),
                    "--collector.textfile.directory=".into(),
                ],
                environment: IndexMap::new(),
                directory: None,
            },
            ports: vec![node_exporter],
            ready: url(node_exporter, "/")?,
            reload: None,
        });
        jobs.push(job("node", [node_exporter]));
    }

    let service = &local.service;
    for number in 0..service.replicas {
        let name = replica_name(local, number);
        let listen = port(&name)?;
        let admin = if has_admin(local) { Some(port(&format!("{name}{ADMIN}"))?) } else { None };
        parts.push(Part {
            spec: service_spec(local, number, listen, admin, programs)?,
            ports: std::iter::once(listen).chain(admin).collect(),
            ready: url(listen, &service.ready)?,
            reload: None,
        });
        replicas.push(Replica {
            name,
            url: url(listen, "/")?,
            instance: Some(address(listen)),
            admin: admin.map(|admin| url(admin, "/")).transpose()?,
        });
    }
    let instances = replicas.iter().filter_map(|replica| replica.instance.clone()).collect();
    jobs.insert(0, Job { name: service.name.clone(), metrics_path: service.metrics.clone(), instances });
    jobs.push(job("prometheus", [prometheus]));
    jobs.push(job("alertmanager", [alertmanager]));

    parts.push(Part {
        spec: Spec {
            name: PROMETHEUS.into(),
            program: programs.prometheus.clone(),
            arguments: prometheus_arguments(programs, prometheus, folder),
            environment: IndexMap::new(),
            directory: None,
        },
        ports: vec![prometheus],
        ready: url(prometheus, "/-/ready")?,
        reload: Some(url(prometheus, "/-/reload")?),
    });

    let alertmanager_config = AlertmanagerConfig {
        group_wait: local.group_wait,
        group_interval: local.group_interval,
        webhook: url(receiver, "/alerts")?.into(),
    };
    let prometheus_config = PrometheusConfig {
        scrape_interval: local.scrape_interval,
        evaluation_interval: local.evaluation_interval,
        rules: rules.iter().map(|rule| rule.path.clone()).collect(),
        alertmanager: address(alertmanager),
        jobs,
    };
    let file = |name: &str, text, reader| File { path: folder.local().join(name), text, reader };
    files.push(file("alertmanager.yml", alertmanager_config.to_yaml()?, ALERTMANAGER));
    files.push(file("prometheus.yml", prometheus_config.to_yaml()?, PROMETHEUS));
    files.extend(rules.iter().map(|rule| File {
        path: rule.path.clone(),
        text: rule.text.clone(),
        reader: PROMETHEUS,
    }));

    Ok(Plan {
        targets: targets(&prometheus_config.jobs, &parts),
        parts,
        files,
        endpoints: Endpoints {
            replicas,
            instances: Vec::new(),
            pods: Vec::new(),
            prometheus: Some(Endpoint::new(url(prometheus, "/")?)),
            alertmanager: Some(Endpoint::new(url(alertmanager, "/")?)),
            receiver: Some(Endpoint::new(url(receiver, "/")?)),
            loki,
        },
    })
}

/// The ports of what keeps log lines.
struct LogPorts {
    loki: u16,
    grpc: u16,
    collector: u16,
}

/// Loki, and the collector that ships every replica's log to it. The first parts: Loki takes longest to start.
fn keep_logs(
    local: &LocalStack,
    programs: &LogPrograms,
    ports: &LogPorts,
    folder: &Folder,
    parts: &mut Vec<Part>,
    files: &mut Vec<File>,
) -> Result<()> {
    let loki = LokiConfig {
        address: address(ports.loki),
        grpc: address(ports.grpc),
        data: folder.local().join("loki"),
    };
    let replicas = (0..local.service.replicas).map(|number| replica_name(local, number));
    let collector = CollectorConfig {
        service: local.service.name.clone(),
        logs: replicas.map(|name| (name.clone(), folder.log(&name))).collect(),
        loki: url(ports.loki, "/otlp")?,
        health: address(ports.collector),
    };
    let mut part = |name: &'static str, program: &PathBuf, text: String, ports: Vec<u16>, ready: Url| {
        let path = folder.local().join(format!("{name}.yml"));
        let option = if name == LOKI { "-config.file" } else { "--config" };
        parts.push(Part {
            spec: Spec {
                name: name.into(),
                program: program.clone(),
                arguments: vec![format!("{option}={}", path.display())],
                environment: IndexMap::from([(DIGEST.to_owned(), digest(&text))]),
                directory: None,
            },
            ports,
            ready,
            reload: None,
        });
        files.push(File { path, text, reader: name });
    };
    part(LOKI, &programs.loki, loki.to_yaml()?, vec![ports.loki, ports.grpc], url(ports.loki, "/ready")?);
    let ready = url(ports.collector, "/")?;
    part(COLLECTOR, &programs.collector, collector.to_yaml()?, vec![ports.collector], ready);
    Ok(())
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn prometheus_arguments(programs: &Programs, port: u16, folder: &Folder) -> Vec<String> {
    let mut arguments = vec![
        format!("--config.file={}", folder.local().join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", folder.data().display()),
        "--storage.tsdb.retention.time=7d".into(),
        format!("--web.listen-address={}", address(port)),
        "--web.enable-lifecycle".into(),
        "--web.enable-remote-write-receiver".into(),
        // An Alertmanager that was restarted learns of what fires within 15 s. Not sooner: it takes an
        // alert for resolved that it has not heard of for four times as long.
        "--rules.alert.resend-delay=15s".into(),
    ];
    if programs.prometheus_version.starts_with("3.") {
        // Hidden, but there in every 3.x: targets are known after 0.5 s instead of 5 s.
        arguments.push("--scrape.discovery-reload-interval=500ms".into());
    }
    if let Some(pages) = &programs.prometheus_pages {
        arguments.push(format!("--web.local-assets={}", pages.display()));
    }
    arguments
}

fn service_spec(
    local: &LocalStack,
    number: usize,
    listen: u16,
    admin: Option<u16>,
    programs: &Programs,
) -> Result<Spec> {
    let fill = |text: &String| {
        let text = text
            .replace("{sre}", &programs.sre.to_string_lossy())
            .replace("{listen}", &address(listen))
            .replace("{replica}", &number.to_string());
        match admin {
            Some(admin) => text.replace("{admin}", &address(admin)),
            None => text,
        }
    };
    let service = &local.service;
    let mut command = service.command.iter().map(fill);
    let program = command.next().ok_or_else(|| {
        Error::usage(format!("the service {} has no command", service.name))
            .hint("local.service.command of the stack")
    })?;
    Ok(Spec {
        name: replica_name(local, number),
        program: program.into(),
        arguments: command.collect(),
        environment: service.environment.iter().map(|(name, value)| (name.clone(), fill(value))).collect(),
        directory: None,
    })
}

fn targets(jobs: &[Job], parts: &[Part]) -> Vec<ExpectedTarget> {
    let process = |instance: &str| {
        parts
            .iter()
            .find(|part| part.ports.iter().any(|port| address(*port) == instance))
            .map_or_else(|| instance.to_owned(), |part| part.spec.name.clone())
    };
    jobs.iter()
        .flat_map(|job| {
            job.instances.iter().map(|instance| ExpectedTarget {
                job: job.name.clone(),
                instance: instance.clone(),
                process: process(instance),
            })
        })
        .collect()
}

fn replica_name(local: &LocalStack, number: usize) -> String {
    format!("{}-{number}", local.service.name)
}

fn has_admin(local: &LocalStack) -> bool {
    local
        .service
        .command
        .iter()
        .chain(local.service.environment.values())
        .any(|text| text.contains("{admin}"))
}

fn job<const N: usize>(name: &str, ports: [u16; N]) -> Job {
    Job { name: name.into(), metrics_path: "/metrics".into(), instances: ports.map(address).to_vec() }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn url(port: u16, path: &str) -> Result<Url> {
    let text = format!("http://{}{path}", address(port));
    text.parse().map_err(|e| Error::usage(format!("`{path}` is no path of an address")).because(e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Duration;
    use crate::stack::{Counter, LocalService};
    use std::path::Path;

    fn stack() -> (Stack, LocalStack) {
        let local = LocalStack {
            service: LocalService {
                name: "users-api".into(),
                replicas: 2,
                command: ["{sre}", "app", "--listen={listen}", "--admin={admin}", "--replica={replica}"]
                    .map(str::to_owned)
                    .to_vec(),
                environment: [("WHERE".to_owned(), "{listen}".to_owned())].into_iter().collect(),
                ready: "/health/readiness".into(),
                metrics: "/metrics".into(),
            },
            scrape_interval: Duration::from_secs(1),
            evaluation_interval: Duration::from_secs(1),
            group_wait: Duration::from_secs(0),
            group_interval: Duration::from_secs(1),
            node_exporter: true,
            logs: true,
        };
        let stack = Stack {
            name: "users-api".into(),
            description: String::new(),
            parameters: IndexMap::new(),
            counter: Counter {
                metric: "app_request_count_total".into(),
                job: None,
                path: None,
                method: None,
                status: None,
                matching: IndexMap::new(),
                except: IndexMap::new(),
                method_as: Default::default(),
                status_as: Default::default(),
            },
            logs: None,
            rules: vec!["rules/lab.yaml".into()],
            local: Some(local.clone()),
            external: None,
            cluster: None,
            steady: Vec::new(),
        };
        (stack, local)
    }

    fn programs() -> Programs {
        Programs {
            sre: "/bin/sre".into(),
            prometheus: "/bin/prometheus".into(),
            prometheus_version: "2.42.0".into(),
            prometheus_pages: None,
            alertmanager: "/bin/alertmanager".into(),
            alertmanager_folder: None,
            node_exporter: Some("/bin/node_exporter".into()),
            logs: None,
        }
    }

    fn planned(programs: &Programs) -> Plan {
        let (stack, local) = stack();
        let folder = Folder::at(Path::new("/lab/.sre"));
        let ports = port_names(&local).into_iter().zip(20_000..).collect();
        let rules = [RuleFile::new("rules/lab.yaml", "groups: []\n".into(), &folder)];
        plan(&stack, &local, &rules, programs, &ports, &folder).expect("a plan")
    }

    #[test]
    fn every_part_has_a_target_and_every_replica_its_places() {
        let plan = planned(&programs());
        let names: Vec<&str> = plan.parts.iter().map(|part| part.spec.name.as_str()).collect();
        assert_eq!(
            names,
            ["receiver", "alertmanager", "node-exporter", "users-api-0", "users-api-1", "prometheus"]
        );
        let targets: Vec<(&str, &str)> =
            plan.targets.iter().map(|target| (target.job.as_str(), target.process.as_str())).collect();
        assert_eq!(
            targets,
            [
                ("users-api", "users-api-0"),
                ("users-api", "users-api-1"),
                ("node", "node-exporter"),
                ("prometheus", "prometheus"),
                ("alertmanager", "alertmanager"),
            ]
        );
        let replica = &plan.parts[4].spec;
        assert_eq!(replica.program, Path::new("/bin/sre"));
        assert_eq!(
            replica.arguments,
            ["app", "--listen=127.0.0.1:20010", "--admin=127.0.0.1:20009", "--replica=1"]
        );
        assert_eq!(replica.environment["WHERE"], "127.0.0.1:20010");
        assert_eq!(plan.endpoints.replicas[1].instance.as_deref(), Some("127.0.0.1:20010"));
        assert_eq!(port_owner("users-api-1-admin"), "users-api-1");
    }

    #[test]
    fn where_they_can_be_had_loki_and_the_collector_come_first() {
        let logs = LogPrograms { loki: "/bin/loki".into(), collector: "/bin/otelcol-k8s".into() };
        let plan = planned(&Programs { logs: Some(logs), ..programs() });
        let names: Vec<&str> = plan.parts.iter().take(2).map(|part| part.spec.name.as_str()).collect();
        assert_eq!(names, ["loki", "collector"]);
        assert_eq!(plan.parts[0].spec.arguments, ["-config.file=/lab/.sre/local/loki.yml"]);
        assert_eq!(plan.endpoints.loki.as_ref().map(|loki| loki.url.port()), Some(Some(20_004)));
        assert_eq!(plan.targets.len(), 5, "Prometheus scrapes neither");
        assert_eq!(port_owner("loki-grpc"), "loki");
        assert!(planned(&programs()).endpoints.loki.is_none());
        // Neither reads its configuration again: with another one it is another process.
        let digests: Vec<&String> =
            plan.parts.iter().filter_map(|part| part.spec.environment.get(DIGEST)).collect();
        assert!(digests.len() == 2 && digests[0] != digests[1]);
    }

    #[test]
    fn flags_are_those_that_the_version_has() {
        let has = |plan: &Plan, flag: &str| {
            let prometheus = plan.parts.last().expect("Prometheus is the last");
            prometheus.spec.arguments.iter().any(|argument| argument.starts_with(flag))
        };
        let old = planned(&programs());
        assert!(!has(&old, "--scrape.discovery-reload-interval") && !has(&old, "--web.local-assets"));
        let new = planned(&Programs {
            prometheus_version: "3.15.0".into(),
            prometheus_pages: Some("/cache/web".into()),
            ..programs()
        });
        assert!(
            has(&new, "--scrape.discovery-reload-interval") && has(&new, "--web.local-assets=/cache/web")
        );
    }

    #[test]
    fn rules_are_read_by_prometheus_again_when_they_change() {
        let plan = planned(&programs());
        let rules = plan.files.iter().find(|file| file.text == "groups: []\n").expect("the rules");
        assert_eq!(rules.path, Path::new("/lab/.sre/local/rules/rules-lab.yaml"));
        assert_eq!(rules.reader, PROMETHEUS);
    }
}
