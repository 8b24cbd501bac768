//! `sre inspect` by a real Prometheus whose data is chosen: promtool writes its blocks, so that every figure is
//! known. The clusters are in `inspect_cluster.rs`.
#![allow(clippy::unwrap_used)]

#[path = "support/history.rs"]
mod history;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use history::{History, Prometheus};
use serde_json::Value;

/// The parts that need no cluster.
const METRICS: &str = "ingress,whereami,pods,redis";

/// A guestbook under load behind two ingress controllers. Everything moves evenly, for half an hour.
fn guestbook() -> History {
    let mut history = History::default();
    let nginx = r#"controller_namespace="ingress-nginx",namespace="ingress-nginx",exported_namespace="default",ingress="guestbook""#;
    for (status, per_second) in [("200", 3.84), ("404", 0.08), ("502", 0.08)] {
        history
            .rises(&format!(r#"nginx_ingress_controller_requests{{{nginx},status="{status}"}}"#), per_second);
    }
    let other = nginx.replace("default", "shop");
    history.rises(&format!(r#"nginx_ingress_controller_requests{{{other},status="200"}}"#), 12.0);
    for (labels, scale) in [(nginx, 4.0), (other.as_str(), 12.0)] {
        history.buckets(
            "nginx_ingress_controller_request_duration_seconds",
            labels,
            &[("0.005", 0.6), ("0.01", 0.9), ("0.1", 0.97), ("10", 0.98), ("+Inf", 1.0)]
                .map(|(le, part)| (le, part * scale)),
        );
    }
    // Traefik's buckets are wide, and nobody asks it for anything of this namespace.
    let traefik = r#"namespace="traefik",entrypoint="web""#;
    history.rises(&format!(r#"traefik_entrypoint_requests_total{{{traefik},code="200"}}"#), 40.0);
    history.buckets(
        "traefik_entrypoint_request_duration_seconds",
        traefik,
        &[("0.1", 38.0), ("0.3", 40.0), ("1.2", 40.0), ("5", 40.0), ("+Inf", 40.0)],
    );
    let own = traefik.replace("web", "metrics");
    history.rises(&format!(r#"traefik_entrypoint_requests_total{{{own},code="200"}}"#), 1000.0);
    // whereami is probed and asked for nothing.
    let probe = r#"namespace="default",pod="whereami-5d4f-x",app="whereami",method="GET",path="/healthz",status="200""#;
    history.rises(&format!("flask_http_request_duration_seconds_count{{{probe}}}"), 0.2);
    let asked = probe.replace("/healthz", "/");
    history.stays(&format!("flask_http_request_duration_seconds_count{{{asked}}}"), 7.0);
    for le in ["0.005", "0.1", "+Inf"] {
        history.stays(&format!(r#"flask_http_request_duration_seconds_bucket{{{asked},le="{le}"}}"#), 7.0);
    }
    for (node, zone) in [("node1", "a"), ("node2", "b"), ("node3", "c")] {
        history.stays(&format!(r#"kube_node_info{{node="{node}"}}"#), 1.0);
        history.stays(
            &format!(r#"kube_node_labels{{node="{node}",label_topology_kubernetes_io_zone="zone-{zone}"}}"#),
            1.0,
        );
    }
    for (pod, owner, node) in [
        ("frontend-7d9f-a", "frontend-7d9f", "node1"),
        ("frontend-7d9f-b", "frontend-7d9f", "node2"),
        ("frontend-7d9f-c", "frontend-7d9f", "node3"),
        ("redis-follower-6c5b-a", "redis-follower-6c5b", "node2"),
        ("redis-follower-6c5b-b", "redis-follower-6c5b", "node2"),
        ("redis-leader-59fd-a", "redis-leader-59fd", "node1"),
        ("migrate-a", "migrate", "node3"),
    ] {
        history.stays(
            &format!(r#"kube_pod_info{{namespace="default",pod="{pod}",node="{node}",created_by_kind="ReplicaSet",created_by_name="{owner}"}}"#),
            1.0,
        );
        let phase = if pod == "migrate-a" { "Succeeded" } else { "Running" };
        history.stays(
            &format!(r#"kube_pod_status_phase{{namespace="default",pod="{pod}",phase="{phase}"}}"#),
            1.0,
        );
    }
    redis(&mut history);
    history
}

fn redis(history: &mut History) {
    let leader = r#"namespace="default",pod="redis-leader-59fd-a",instance="10.244.1.5:9121",job="redis",role="leader""#;
    let follower = r#"namespace="default",pod="redis-follower-6c5b-a",instance="10.244.2.7:9121",job="redis",role="follower""#;
    for (labels, role, uptime, memory, fragmentation) in
        [(leader, "master", 7_500.0, 3e8, 2.4), (follower, "slave", 90_000.0, 9e5, 9.1)]
    {
        let metric = |name: &str| format!("redis_{name}{{{labels}}}");
        // The pods' label `role` is the targets' too; this metric has one of its own.
        let without = labels.rsplit_once(",role=").unwrap().0;
        history.stays(&metric("up"), 1.0);
        history
            .stays(&format!(r#"redis_instance_info{{{without},role="{role}",redis_version="7.0.15"}}"#), 1.0);
        history.stays(&metric("uptime_in_seconds"), uptime);
        history.stays(&metric("config_maxclients"), 10_000.0);
        history.stays(&metric("memory_used_bytes"), memory);
        history.stays(&metric("memory_max_bytes"), 0.0);
        history.stays(&metric("mem_fragmentation_ratio"), fragmentation);
    }
    for (labels, rejected, commands, hits, misses) in
        [(leader, 0.0, 20.0, 1.9, 0.1), (follower, 0.02, 0.0, 0.0, 0.0)]
    {
        let metric = |name: &str| format!("redis_{name}{{{labels}}}");
        history.rises(&metric("rejected_connections_total"), rejected);
        history.rises(&metric("commands_processed_total"), commands);
        history.rises(&metric("keyspace_hits_total"), hits);
        history.rises(&metric("keyspace_misses_total"), misses);
    }
    history.alternates(&format!("redis_connected_clients{{{leader}}}"), 10.0, 12.0);
    history.stays(&format!("redis_connected_clients{{{follower}}}"), 1.0);
}

/// Runs `sre inspect`, on a machine that knows of no cluster.
fn inspect(prometheus: &str, arguments: &[&str]) -> Output {
    let place = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_sre"))
        .args(["inspect", "default", "--prometheus", prometheus])
        .args(arguments)
        .current_dir(place.path())
        .env("KUBECONFIG", place.path().join("none"))
        .env_remove("SRE_TARGET")
        .output()
        .unwrap()
}

fn screen(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}\n{told}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80 || line.starts_with(['|', '>']), "wider than 80 columns: {line}");
    }
    text
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&screen_of_any_width(output)).unwrap()
}

fn screen_of_any_width(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What differs from run to run.
macro_rules! assert_screen {
    ($name:literal, $text:expr) => {
        insta::with_settings!({filters => vec![
            (r"Prometheus(:?\s+`?)\d+\.\d+\.\d+\S*", "Prometheus${1}VERSION"),
            (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
            (r"/tmp/\S+/none", "KUBECONFIG"),
        ]}, { insta::assert_snapshot!($name, $text) })
    };
}

#[test]
fn every_part_is_shown_with_the_window_that_suits_it() {
    let prometheus = Prometheus::of(&guestbook());
    let url = prometheus.url();
    let text = screen(&inspect(&url, &["--parts", METRICS]), 0);
    assert_screen!("screen", &text);
    assert_screen!("markdown", screen(&inspect(&url, &["--parts", METRICS, "-o", "markdown"]), 0));

    // The page about it shows this screen.
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/inspect.md");
    let page = std::fs::read_to_string(page).unwrap();
    let shown =
        page.split("```\n").find(|block| block.contains("ingress · ingress-nginx")).expect("an example");
    let from = |text: &str| text.split_once("\ningress · ").map(|(_, rest)| rest.trim().to_owned());
    assert_eq!(from(shown), from(&text), "docs/inspect.md shows another screen");

    let seen = json(&inspect(&url, &["--parts", METRICS, "-o", "json"]));
    assert_eq!(seen["schema"], "sre.inspect/v1");
    let nginx = &seen["ingress"][0];
    assert_eq!(nginx["namespaces"], serde_json::json!(["ingress-nginx"]));
    let [all, ours] = [&nginx["traffic"][0], &nginx["traffic"][1]];
    assert_eq!((&all["of"], &ours["of"]), (&"all".into(), &"default".into()));
    // 16 a second need a minute and more for a thousand, 4 need four.
    assert_eq!(all["latency"]["window"]["seconds"], 300);
    assert_eq!(all["rates"]["window"]["seconds"], 60);
    assert_eq!(ours["rates"]["window"]["seconds"], 300);
    assert!((ours["rates"]["non_5xx"].as_f64().unwrap() - 0.98).abs() < 1e-6, "{ours}");
    assert!((ours["rates"]["ok_2xx"].as_f64().unwrap() - 0.96).abs() < 1e-6, "{ours}");
    assert!((ours["rates"]["per_second"].as_f64().unwrap() - 4.0).abs() < 0.05, "{ours}");
    let quantile = |i: usize| &ours["latency"]["quantiles"][i];
    assert_eq!((&quantile(0)["is"], &quantile(0)["ms"]), (&"below".into(), &5.0.into()));
    assert!((quantile(2)["ms"].as_f64().unwrap() - 7.5).abs() < 0.01, "{ours}");
    assert_eq!((&quantile(4)["is"], &quantile(4)["ms"]), (&"above".into(), &10_000.0.into()));

    // What nobody asked for is idle, over all the data there is; the kubelet's probes are no requests.
    let whereami = &seen["whereami"];
    assert_eq!(whereami["rates"]["non_5xx"], Value::Null);
    assert_eq!(whereami["latency"]["quantiles"], serde_json::json!([]));
    assert_eq!(whereami["rates"]["window"]["because"], "all-there-is");

    let yaml = screen_of_any_width(&inspect(&url, &["--parts", METRICS, "-o", "yaml"]));
    assert!(yaml.starts_with("schema: sre.inspect/v1"), "{yaml}");
}

#[test]
fn a_time_range_is_the_window_of_everything() {
    let prometheus = Prometheus::of(&guestbook());
    let seen = json(&inspect(&prometheus.url(), &["--parts", METRICS, "--time-range", "10m", "-o", "json"]));
    let mut windows = Vec::new();
    collect(&seen, &mut windows);
    assert!(windows.len() > 10, "{seen}");
    for window in windows {
        assert_eq!((&window["seconds"], &window["because"]), (&600.into(), &"asked".into()), "{seen}");
    }
    // What is shorter than two scrapes is no rate.
    let output = inspect(&prometheus.url(), &["--parts", "whereami", "--time-range", "10s"]);
    let text = screen(&output, 3);
    assert!(text.contains("10s holds less than two scrapes"), "{text}");
}

fn collect(value: &Value, windows: &mut Vec<Value>) {
    match value {
        Value::Object(object) => {
            windows.extend(object.get("window").cloned());
            object.values().for_each(|value| collect(value, windows));
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, windows)),
        _ => {}
    }
}

#[test]
fn an_ingress_controller_is_named_by_its_namespace() {
    let prometheus = Prometheus::of(&guestbook());
    let of = |namespace: &str| {
        inspect(&prometheus.url(), &["--parts", "ingress", "--ingress-namespace", namespace])
    };
    let traefik = screen(&of("traefik"), 0);
    assert!(traefik.contains("ingress · traefik in traefik") && !traefik.contains("nginx"), "{traefik}");
    assert!(traefik.contains("40.0/s"), "Traefik's own entry point is not counted: {traefik}");
    let none = screen(&of("kube-system"), 3);
    assert_screen!("no_such_ingress", none);
}

#[test]
fn what_is_not_there_says_why_and_does_not_stop_the_rest() {
    let mut bare = History::default();
    bare.stays(r#"up{job="prometheus"}"#, 1.0);
    bare.stays(r#"redis_up{namespace="shop",pod="cache-0"}"#, 1.0);
    bare.stays(r#"nginx_ingress_controller_success{controller_namespace="ingress-nginx"}"#, 1.0);
    let prometheus = Prometheus::of(&bare);
    assert_screen!("nothing_there", screen(&inspect(&prometheus.url(), &[]), 6));
    let half = screen(&inspect(&prometheus.url(), &["--parts", METRICS]), 3);
    assert!(half.contains("no Redis of default is scraped; there are some of shop"), "{half}");
}

#[test]
fn a_prometheus_that_is_gone_is_told_soon_and_once() {
    let closed = format!("http://{}", history::free());
    let start = Instant::now();
    assert_screen!("prometheus_gone", screen(&inspect(&closed, &["--parts", METRICS]), 3));
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        let output = command
            .args(arguments)
            .current_dir(place.path())
            .env("KUBECONFIG", place.path().join("none"))
            .output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, told) in [
        (&["inspect", "default"][..], "no cluster is named"),
        (&["inspect", "nowhere", "default"], "there is no kubeconfig"),
        (&["inspect", "Default"], "not the name of a namespace"),
        (&["list", "-o", "markdown"], "does not print Markdown"),
    ] {
        let (code, stderr) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
    }
}
