//! What must run for a stack, with which arguments and configurations, given its ports. Pure.

mod names;
mod parts;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use indexmap::IndexMap;
use url::Url;

use super::config::{AlertmanagerConfig, Job, PrometheusConfig};
use super::ports::Ports;
use super::process::Spec;
use crate::error::{Error, Result};
use crate::stack::{LocalStack, Stack};
use crate::target::{Endpoint, Endpoints, Folder, Replica};

use names::{ADMIN, GRPC, has_admin, replica_name};
use parts::{LogPorts, address, keep_logs, url};

pub use names::{
    ALERTMANAGER, COLLECTOR, LOGSHIPPER, LOGSTORE, LOKI, NODE_EXPORTER, PROMETHEUS, RECEIVER, port_names,
    port_owner,
};

/// The programs that a stack is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// This program.
    pub sre: PathBuf,
    /// Prometheus.
    pub prometheus: PathBuf,
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
    /// The version of each, by the name of its part.
    pub versions: IndexMap<String, String>,
}

/// The programs that keep log lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPrograms {
    /// Loki; without it, the log store that is a part of this program.
    pub loki: Option<PathBuf>,
    /// The OpenTelemetry Collector, which ships lines; without it, this program does.
    pub collector: Option<PathBuf>,
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
    pub reread: Option<Reread>,
}

/// What makes a process read its configuration again.
#[derive(Debug, Clone, PartialEq)]
pub enum Reread {
    /// A POST to this URL.
    Post(Url),
    /// A signal; its metrics, at this URL, tell whether it did.
    Signal(Url),
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
    if let Some(wanted) = &programs.logs {
        let store = port(if wanted.loki.is_some() { LOKI } else { LOGSTORE })?;
        let shipper = port(if wanted.collector.is_some() { COLLECTOR } else { LOGSHIPPER })?;
        let ports = LogPorts { store, grpc: port(&format!("{LOKI}{GRPC}"))?, shipper };
        loki = Some(Endpoint::new(url(ports.store, "/")?));
        keep_logs(local, programs, wanted, &ports, folder, &mut parts, &mut files)?;
    }
    parts.push(parts::receiver(programs, receiver, folder)?);
    parts.push(parts::alertmanager(programs, alertmanager, folder)?);
    if let Some(program) = &programs.node_exporter {
        let node_exporter = port(NODE_EXPORTER)?;
        parts.push(parts::node_exporter(program, node_exporter)?);
        jobs.push(job("node", [node_exporter]));
    }

    let service = &local.service;
    for number in 0..service.replicas {
        let name = replica_name(local, number);
        let listen = port(&name)?;
        let admin = if has_admin(local) { Some(port(&format!("{name}{ADMIN}"))?) } else { None };
        parts.push(parts::replica(local, number, listen, admin, programs)?);
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

    parts.push(parts::prometheus(programs, prometheus, folder)?);

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

fn job<const N: usize>(name: &str, ports: [u16; N]) -> Job {
    Job { name: name.into(), metrics_path: "/metrics".into(), instances: ports.map(address).to_vec() }
}
