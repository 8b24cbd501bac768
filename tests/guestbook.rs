//! The guestbook lab on a real cluster: `SRE_TEST_KUBECONFIG`, `SRE_TEST_STATIC`, `SRE_TEST_IMAGE_LOADER` as in
//! `cluster_run.rs`.
//!
//! Traefik, Redis and its exporter are real, and must be on the nodes under the names of the lab's manifests. The guestbook's
//! frontend, whereami and ingress-nginx are stand-ins (`tests/standin/`): what is seen with the last proves the patches and
//! the names only.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use common::place::{Place, is_there, named};
use common::standin;
use serde_json::Value;
use sre::target::kubernetes::apply::{Mode, apply, delete, ensure_namespace};
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::object::read_objects;

const FRONTEND: &str = "us-docker.pkg.dev/google-samples/containers/gke/gb-frontend:v5";
const WHEREAMI: &str = "us-docker.pkg.dev/google-samples/containers/gke/whereami:v1.2.27";
const CONTROLLER: &str = "registry.k8s.io/ingress-nginx/controller:v1.15.1";

/// The arguments by which the lab is brought up in namespaces of the test's own.
fn arguments(place: &Place, ingress: &str) -> Vec<String> {
    let chart = std::env::var("SRE_TEST_MONITORING_CHART")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/monitoring").into());
    let mut arguments: Vec<String> =
        ["up", "guestbook", "--target", "cluster", "--context", &place.context].map(Into::into).into();
    for set in [
        format!("ingress={ingress}"),
        format!("namespace={}", place.namespace),
        format!("monitoring_namespace={}-monitoring", place.namespace),
        format!("monitoring_chart={chart}"),
    ] {
        arguments.extend(["--set".into(), set]);
    }
    arguments
}

fn up(place: &Place, ingress: &str, more: &[&str]) -> String {
    let arguments = arguments(place, ingress);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    place.expect(0, &arguments)
}

/// Runs the scenario with errors, and holds what was sent against what was counted.
fn every_request_is_counted(place: &Place) {
    let arguments = ["run", "guestbook-errors", "--duration", "20s", "-o", "json"];
    let report: Value = serde_json::from_str(&place.expect(0, &arguments)).unwrap();
    assert_eq!(report["verdict"], "pass");
    assert_eq!(report["requests"]["sent"], 1000);
    assert_eq!(report["requests"]["counted"], 1000);
}

/// Every part of the lab is seen by somebody who looks at its namespace: exit code 0.
fn every_part_is_seen(place: &Place) {
    let seen: Value =
        serde_json::from_str(&place.expect(0, &["inspect", &place.context, &place.namespace, "-o", "json"]))
            .unwrap();
    for row in seen["ingress"][0]["traffic"].as_array().unwrap() {
        assert_eq!(row["latency"]["quantiles"].as_array().unwrap().len(), 5, "{row}");
        // The scenario's 502 and 503: 15 %.
        let good = row["rates"]["non_5xx"].as_f64().unwrap();
        assert!((0.75..0.95).contains(&good), "{row}");
    }
    assert_eq!(seen["whereami"]["rates"]["ok_2xx"], 1.0, "{seen}");
    assert!(
        seen["pods"]["workloads"].as_array().unwrap().iter().any(|one| one["name"] == "frontend"),
        "{seen}"
    );
    let redis = seen["redis"].as_array().unwrap();
    let roles: Vec<&str> = redis.iter().filter_map(|one| one["role"].as_str()).collect();
    assert_eq!(roles, ["slave", "slave", "master"], "each is watched: {seen}");
    for one in redis {
        let name = one["name"].as_str().unwrap();
        let of = if one["role"] == "master" { "redis-leader-" } else { "redis-follower-" };
        assert!(name.starts_with(of), "it bears its own name: {one}");
    }
    spread_evenly(&seen["pods"], "whereami");
    spread_evenly(&seen["pods"], "frontend");
}

/// A workload has a pod in each of three zones, also after its own patch was rolled over it.
fn spread_evenly(pods: &Value, name: &str) {
    let workloads = pods["workloads"].as_array().unwrap();
    let found = workloads.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{pods}"));
    assert_eq!(found["verdict"], "even", "{found}");
}

/// Who looks when nobody is there is told so: workloads without pods, requests that no Service has, targets that are gone.
async fn what_is_gone_is_told(place: &Place, cluster: &Cluster) {
    let scale = async |name: &str, replicas: u32| {
        let reference = named("Deployment", "apps/v1", Some(&place.namespace), name);
        let (api, _) = cluster.api(&reference, "default").await.unwrap().unwrap();
        let patch = serde_json::json!({"spec": {"replicas": replicas}});
        api.patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&patch)).await.unwrap();
    };
    assert!(place.expect(0, &["status"]).contains("healthy"), "all is well at first, also right after `up`");
    for name in ["whereami", "redis-follower"] {
        scale(name, 0).await;
    }
    let (code, status, _) = place.told(&["status"]);
    assert_eq!(code, Some(6), "{status}");
    for name in ["whereami", "redis-follower"] {
        let told = format!("Deployment {}/{name}: it was scaled to 0", place.namespace);
        assert!(status.contains(&told), "{status}");
    }
    // Requests to whereami fail at the ingress, where it has no pod.
    let arguments = ["load", "guestbook-errors", "--duration", "10s"];
    let (_, sent, _) = place.told(&arguments);
    assert!(sent.contains("500 sent"), "{sent}");
    let started = std::time::Instant::now();
    loop {
        let (_, seen, _) = place.told(&["inspect", &place.context, &place.namespace, "--time-range", "1m"]);
        let told = ["whereami has no pod: it is scaled to 0", "redis-follower has no pod", "no pods"];
        if told.iter().all(|told| seen.contains(told)) && seen.contains("whereami has told nothing for") {
            break;
        }
        assert!(started.elapsed().as_secs() < 120, "{seen}");
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    // By the names that people call them.
    assert!(place.expect(0, &["logs", "frontend", "-n", "1"]).len() < 10_000);
    assert!(place.expect(0, &["logs", "redis-leader", "-n", "200"]).contains("Ready to accept"), "its lines");
    up(place, "traefik", &[]);
    assert!(
        place.expect(0, &["status"]).contains("healthy"),
        "up mends it, and old pods that go are no fault"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_behind_traefik_are_counted_and_alerted() {
    let Some((place, cluster)) = Place::new().await else { return };
    if !standin::load(&[FRONTEND, WHEREAMI]).await {
        return;
    }
    up(&place, "traefik", &["--yes"]);
    let first = place.lab();
    up(&place, "traefik", &[]);
    assert_eq!(place.lab(), first, "a second up changes nothing");
    every_request_is_counted(&place);
    every_part_is_seen(&place);
    what_is_gone_is_told(&place, &cluster).await;
    // What the lab itself brought is no loss that one is asked about.
    place.expect(0, &["down"]);
    for namespace in [&place.namespace, "traefik"] {
        assert!(!is_there(&cluster, &named("Namespace", "v1", None, namespace)).await, "{namespace} is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_hold_also_when_minikube_lays_its_addon_down_anew() {
    let Some((place, cluster)) = Place::new().await else { return };
    if !standin::load(&[FRONTEND, WHEREAMI, CONTROLLER]).await {
        return;
    }
    ensure_namespace(&cluster, "ingress-nginx", Mode::Write).await.unwrap();
    addon(&cluster).await;
    let before = controller(&cluster).await;
    let preview = up(&place, "nginx", &["--dry-run"]);
    assert!(preview.contains("+        - --enable-metrics=true"), "{preview}");
    assert!(preview.contains("+          containerPort: 10254"), "{preview}");
    assert_eq!(controller(&cluster).await, before, "a preview changes nothing");

    up(&place, "nginx", &["--yes"]);
    let patched = controller(&cluster).await;
    assert_eq!(patched["metadata"]["annotations"]["prometheus.io/port"], "10254");
    let container = &patched["spec"]["containers"][0];
    let ports: Vec<i64> =
        container["ports"].as_array().unwrap().iter().filter_map(|p| p["containerPort"].as_i64()).collect();
    assert!(ports.contains(&10254) && ports.contains(&80), "{ports:?}");
    let metrics = |template: &Value| {
        let arguments = template["spec"]["containers"][0]["args"].as_array().unwrap().clone();
        arguments.iter().filter(|argument| *argument == "--enable-metrics=true").count()
    };
    assert_eq!(metrics(&patched), 1);
    up(&place, "nginx", &[]);
    assert_eq!(controller(&cluster).await, patched, "a second up changes nothing");

    addon(&cluster).await;
    assert_eq!(metrics(&controller(&cluster).await), 0, "the addon is as it was");
    up(&place, "nginx", &[]);
    assert_eq!(controller(&cluster).await, patched);
    every_request_is_counted(&place);

    place.expect(0, &["down", "--yes"]);
    assert_eq!(controller(&cluster).await, before, "what was patched is as it was");
    assert!(delete(&cluster, &named("Namespace", "v1", None, "ingress-nginx")).await.unwrap());
}

/// Lays the addon down, as `minikube start` does.
async fn addon(cluster: &Cluster) {
    let text = include_str!("standin/ingress-nginx.yaml");
    let objects = read_objects("ingress-nginx.yaml", text).unwrap();
    apply(cluster, "ingress-nginx", &objects, Mode::Write).await.unwrap();
}

/// The pods' template of the controller.
async fn controller(cluster: &Cluster) -> Value {
    let reference = named("Deployment", "apps/v1", Some("ingress-nginx"), "ingress-nginx-controller");
    let (api, _) = cluster.api(&reference, "default").await.unwrap().unwrap();
    api.get(&reference.name).await.unwrap().data["spec"]["template"].clone()
}
