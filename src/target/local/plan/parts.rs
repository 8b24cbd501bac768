//! The processes of a lab, one function each: program, arguments, ports, and what tells that it is ready.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::names::{
    ALERTMANAGER, COLLECTOR, LOGSHIPPER, LOGSTORE, LOKI, NODE_EXPORTER, PROMETHEUS, RECEIVER, replica_name,
};
use super::{File, LogPrograms, Part, Programs, Reread};
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::stack::LocalStack;
use crate::target::Folder;
use crate::target::local::log_config::{CollectorConfig, LokiConfig};
use crate::target::local::process::Spec;

/// Names the digest of a configuration in the environment of who cannot read it again: it is started anew when
/// the configuration changes.
pub(super) const DIGEST: &str = "SRE_CONFIGURATION";

/// The receiver of notifications.
pub(super) fn receiver(programs: &Programs, port: u16, folder: &Folder) -> Result<Part> {
    let arguments = vec![
        "receiver".into(),
        format!("--listen={}", address(port)),
        format!("--store={}", folder.local().join("notifications.ndjson").display()),
    ];
    Ok(own(RECEIVER, programs, arguments, port, url(port, "/healthz")?))
}

/// Alertmanager.
pub(super) fn alertmanager(programs: &Programs, port: u16, folder: &Folder) -> Result<Part> {
    Ok(Part {
        spec: Spec {
            name: ALERTMANAGER.into(),
            program: programs.alertmanager.clone(),
            arguments: vec![
                format!("--config.file={}", folder.local().join("alertmanager.yml").display()),
                format!("--storage.path={}", folder.local().join("alertmanager").display()),
                format!("--web.listen-address={}", address(port)),
                // Alone: it neither listens for peers nor waits for them.
                "--cluster.listen-address=".into(),
            ],
            environment: IndexMap::new(),
            directory: programs.alertmanager_folder.clone(),
        },
        ports: vec![port],
        ready: url(port, "/-/ready")?,
        reread: Some(Reread::Post(url(port, "/-/reload")?)),
    })
}

/// The node exporter.
pub(super) fn node_exporter(program: &Path, port: u16) -> Result<Part> {
    Ok(Part {
        spec: Spec {
            name: NODE_EXPORTER.into(),
            program: program.to_path_buf(),
            arguments: vec![
                format!("--web.listen-address={}", address(port)),
                // Debian's looks for both by default, and complains at each scrape where they are not.
                "--no-collector.systemd".into(),
                "--collector.textfile.directory=".into(),
            ],
            environment: IndexMap::new(),
            directory: None,
        },
        ports: vec![port],
        ready: url(port, "/")?,
        reread: None,
    })
}

/// Prometheus.
pub(super) fn prometheus(programs: &Programs, port: u16, folder: &Folder) -> Result<Part> {
    Ok(Part {
        spec: Spec {
            name: PROMETHEUS.into(),
            program: programs.prometheus.clone(),
            arguments: prometheus_arguments(programs, port, folder),
            environment: IndexMap::new(),
            directory: None,
        },
        ports: vec![port],
        ready: url(port, "/-/ready")?,
        reread: Some(Reread::Signal(url(port, "/metrics")?)),
    })
}

fn prometheus_arguments(programs: &Programs, port: u16, folder: &Folder) -> Vec<String> {
    let mut arguments = vec![
        format!("--config.file={}", folder.local().join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", folder.data().display()),
        "--storage.tsdb.retention.time=7d".into(),
        // What comes first: a lab that is forgotten must not fill the disk.
        "--storage.tsdb.retention.size=4GB".into(),
        format!("--web.listen-address={}", address(port)),
        // No web page may read what it answers.
        "--web.cors.origin=^$".into(),
        "--web.enable-remote-write-receiver".into(),
        // An Alertmanager that was restarted learns of what fires within 15 s. Not sooner: it takes an
        // alert for resolved that it has not heard of for four times as long.
        "--rules.alert.resend-delay=15s".into(),
    ];
    if programs.versions.get(PROMETHEUS).is_some_and(|version| version.starts_with("3.")) {
        // Hidden, but there in every 3.x: targets are known after 0.5 s instead of 5 s.
        arguments.push("--scrape.discovery-reload-interval=500ms".into());
    }
    if let Some(pages) = &programs.prometheus_pages {
        arguments.push(format!("--web.local-assets={}", pages.display()));
    }
    arguments
}

/// A replica of the service.
pub(super) fn replica(
    local: &LocalStack,
    number: usize,
    listen: u16,
    admin: Option<u16>,
    programs: &Programs,
) -> Result<Part> {
    Ok(Part {
        spec: service_spec(local, number, listen, admin, programs)?,
        ports: std::iter::once(listen).chain(admin).collect(),
        ready: url(listen, &local.service.ready)?,
        reread: None,
    })
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

/// The ports of what keeps log lines.
pub(super) struct LogPorts {
    pub store: u16,
    pub grpc: u16,
    pub shipper: u16,
}

/// What keeps log lines, and what ships every replica's log to it. The first parts: Loki takes longest to start.
pub(super) fn keep_logs(
    local: &LocalStack,
    programs: &Programs,
    wanted: &LogPrograms,
    ports: &LogPorts,
    folder: &Folder,
    parts: &mut Vec<Part>,
    files: &mut Vec<File>,
) -> Result<()> {
    match &wanted.loki {
        Some(program) => loki(program, ports, folder, parts, files)?,
        None => parts.push(log_store(programs, ports, folder)?),
    }
    let replicas = (0..local.service.replicas).map(|number| replica_name(local, number));
    let logs = replicas.map(|name| (name.clone(), folder.log(&name))).collect();
    match &wanted.collector {
        Some(program) => collector(program, local, logs, ports, folder, parts, files)?,
        None => parts.push(log_shipper(programs, local, logs, ports, folder)?),
    }
    Ok(())
}

fn loki(
    program: &Path,
    ports: &LogPorts,
    folder: &Folder,
    parts: &mut Vec<Part>,
    files: &mut Vec<File>,
) -> Result<()> {
    let config = LokiConfig {
        address: address(ports.store),
        grpc: address(ports.grpc),
        data: folder.local().join("loki"),
    };
    let (part, file) =
        configured(LOKI, program, "-config.file", config.to_yaml()?, folder, url(ports.store, "/ready")?);
    parts.push(Part { ports: vec![ports.store, ports.grpc], ..part });
    files.push(file);
    Ok(())
}

fn collector(
    program: &Path,
    local: &LocalStack,
    logs: Vec<(String, PathBuf)>,
    ports: &LogPorts,
    folder: &Folder,
    parts: &mut Vec<Part>,
    files: &mut Vec<File>,
) -> Result<()> {
    let config = CollectorConfig {
        service: local.service.name.clone(),
        logs,
        loki: url(ports.store, "/otlp")?,
        health: address(ports.shipper),
    };
    let (part, file) =
        configured(COLLECTOR, program, "--config", config.to_yaml()?, folder, url(ports.shipper, "/")?);
    parts.push(Part { ports: vec![ports.shipper], ..part });
    files.push(file);
    Ok(())
}

/// A program that reads a file once, when it starts: with another one it is another process.
fn configured(
    name: &'static str,
    program: &Path,
    option: &str,
    text: String,
    folder: &Folder,
    ready: Url,
) -> (Part, File) {
    let path = folder.local().join(format!("{name}.yml"));
    let spec = Spec {
        name: name.into(),
        program: program.to_path_buf(),
        arguments: vec![format!("{option}={}", path.display())],
        environment: IndexMap::from([(DIGEST.to_owned(), digest(&text))]),
        directory: None,
    };
    (Part { spec, ports: Vec::new(), ready, reread: None }, File { path, text, reader: name })
}

/// The log store that is a part of this program.
fn log_store(programs: &Programs, ports: &LogPorts, folder: &Folder) -> Result<Part> {
    let arguments = vec![
        "logstore".into(),
        format!("--listen={}", address(ports.store)),
        format!("--data={}", folder.local().join("logstore").display()),
    ];
    Ok(own(LOGSTORE, programs, arguments, ports.store, url(ports.store, "/ready")?))
}

/// The log shipper that is a part of this program.
fn log_shipper(
    programs: &Programs,
    local: &LocalStack,
    logs: Vec<(String, PathBuf)>,
    ports: &LogPorts,
    folder: &Folder,
) -> Result<Part> {
    let mut arguments = vec![
        "logshipper".into(),
        format!("--listen={}", address(ports.shipper)),
        format!("--to={}", url(ports.store, "/otlp")?),
        format!("--positions={}", folder.local().join("logshipper.json").display()),
        format!("--service={}", local.service.name),
    ];
    arguments.extend(logs.iter().map(|(name, log)| format!("--log={name}={}", log.display())));
    Ok(own(LOGSHIPPER, programs, arguments, ports.shipper, url(ports.shipper, "/")?))
}

/// A process of this program.
fn own(name: &str, programs: &Programs, arguments: Vec<String>, port: u16, ready: Url) -> Part {
    let spec = Spec {
        name: name.into(),
        program: programs.sre.clone(),
        arguments,
        environment: IndexMap::new(),
        directory: None,
    };
    Part { spec, ports: vec![port], ready, reread: None }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

/// A port of this machine's loopback, as an address.
pub(super) fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// The same as a URL.
pub(super) fn url(port: u16, path: &str) -> Result<Url> {
    let text = format!("http://{}{path}", address(port));
    text.parse().map_err(|e| Error::usage(format!("`{path}` is no path of an address")).because(e))
}
