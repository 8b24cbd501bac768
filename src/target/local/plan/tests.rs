use std::path::Path;

use indexmap::IndexMap;

use super::parts::DIGEST;
use super::*;
use crate::scenario::Duration;
use crate::stack::{Counter, LocalService, LogKeeping};

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
        logs: LogKeeping::Any,
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
        prometheus_pages: None,
        alertmanager: "/bin/alertmanager".into(),
        alertmanager_folder: None,
        node_exporter: Some("/bin/node_exporter".into()),
        logs: None,
        versions: IndexMap::from([(PROMETHEUS.into(), "2.42.0".into())]),
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
        ["app", "--listen=127.0.0.1:20012", "--admin=127.0.0.1:20011", "--replica=1"]
    );
    assert_eq!(replica.environment["WHERE"], "127.0.0.1:20012");
    assert_eq!(plan.endpoints.replicas[1].instance.as_deref(), Some("127.0.0.1:20012"));
    assert_eq!(port_owner("users-api-1-admin"), "users-api-1");
}

#[test]
fn where_they_can_be_had_loki_and_the_collector_come_first() {
    let logs = LogPrograms { loki: Some("/bin/loki".into()), collector: Some("/bin/otelcol-k8s".into()) };
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
fn where_they_are_not_there_this_program_keeps_the_lines_itself() {
    let plan = planned(&Programs { logs: Some(LogPrograms::default()), ..programs() });
    let [store, shipper] = &plan.parts[..2] else { panic!("two parts") };
    assert_eq!((store.spec.name.as_str(), shipper.spec.name.as_str()), ("logstore", "logshipper"));
    assert!(store.spec.program == Path::new("/bin/sre") && shipper.spec.program == store.spec.program);
    assert_eq!(
        store.spec.arguments,
        ["logstore", "--listen=127.0.0.1:20007", "--data=/lab/.sre/local/logstore"]
    );
    assert_eq!(
        shipper.spec.arguments,
        [
            "logshipper",
            "--listen=127.0.0.1:20008",
            "--to=http://127.0.0.1:20007/otlp",
            "--positions=/lab/.sre/local/logshipper.json",
            "--service=users-api",
            "--log=users-api-0=/lab/.sre/local/logs/users-api-0.log",
            "--log=users-api-1=/lab/.sre/local/logs/users-api-1.log",
        ]
    );
    assert_eq!(plan.endpoints.loki.as_ref().map(|loki| loki.url.port()), Some(Some(20_007)));
    // Each goes with the other's like.
    let collector = LogPrograms { collector: Some("/bin/otelcol-k8s".into()), ..LogPrograms::default() };
    let plan = planned(&Programs { logs: Some(collector), ..programs() });
    let names: Vec<&str> = plan.parts.iter().take(2).map(|part| part.spec.name.as_str()).collect();
    assert_eq!(names, ["logstore", "collector"]);
    let config = plan.files.iter().find(|file| file.reader == COLLECTOR).expect("its configuration");
    assert!(config.text.contains("endpoint: http://127.0.0.1:20007/otlp"), "{}", config.text);
}

#[test]
fn flags_are_those_that_the_version_has() {
    let has = |plan: &Plan, flag: &str| {
        let prometheus = plan.parts.last().expect("Prometheus is the last");
        prometheus.spec.arguments.iter().any(|argument| argument.starts_with(flag))
    };
    let old = planned(&programs());
    // It would let any web page end it: `POST /-/quit`.
    assert!(!has(&old, "--web.enable-lifecycle") && has(&old, "--web.cors.origin=^$"));
    assert!(!has(&old, "--scrape.discovery-reload-interval") && !has(&old, "--web.local-assets"));
    let new = planned(&Programs {
        versions: IndexMap::from([(PROMETHEUS.into(), "3.15.0".into())]),
        prometheus_pages: Some("/cache/web".into()),
        ..programs()
    });
    assert!(has(&new, "--scrape.discovery-reload-interval") && has(&new, "--web.local-assets=/cache/web"));
}

#[test]
fn rules_are_read_by_prometheus_again_when_they_change() {
    let plan = planned(&programs());
    let rules = plan.files.iter().find(|file| file.text == "groups: []\n").expect("the rules");
    assert_eq!(rules.path, Path::new("/lab/.sre/local/rules/rules-lab.yaml"));
    assert_eq!(rules.reader, PROMETHEUS);
}
