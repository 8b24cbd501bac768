//! What monitoring shows of faults on a real cluster, several in one run, and what is left of them where the run is killed:
//! `SRE_TEST_KUBECONFIG`, `SRE_TEST_STATIC`, `SRE_TEST_IMAGE_LOADER` as in `cluster_run.rs`. The real kube-state-metrics tells
//! of pods, workloads and nodes. `SRE_SOAK` tells how often a run is killed, ten times without it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::place::{Place, named};
use common::{disturbable, kills};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use rand::RngExt as _;
use serde_json::Value;
use sre::target::kubernetes::client::Cluster;

/// Three at the same time, on different objects; then one after another, each with time to be over.
const FAULTS: &str = "
name: shown
stack: users-api
load: {arrival-rate: {http: {timeout: 3s}, phases: [{rate: 20/s, duration: 46s}]}}
requests: {list-users: {path: /api/users, expect: [200, 500]}}
faults:
  - {fault: {latency: 1s}, at: 4s, for: 4s}
  - {fault: scale-to-zero, on: deployment/receiver, at: 4s, for: 4s, allow-outage: true}
  - {fault: cordon, on: node/NODE, at: 4s, for: 4s}
  - {fault: pod-delete, at: 12s, for: 8s}
  - {fault: broken-readiness, on: deployment/users-api, at: 26s, for: 5s}
  - {fault: {memory-pressure: 100%}, at: 37s, for: 5s}
checks: [{detected: {}}]
";

/// Seen by what the kubelet tells of containers, every 10 s of figures that are up to 10 s old.
const PRESSED: &str = "
name: pressed
stack: users-api
load: {arrival-rate: {phases: [{rate: 10/s, duration: 35s}]}}
requests: {list-users: {path: /api/users, expect: [200, 500]}}
faults:
  - {fault: {cpu-pressure: 10%}, on: deployment/receiver, at: 2s, for: 30s}
  - {fault: {memory-pressure: 80%}, at: 2s, for: 30s}
checks: [{detected: {}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_seen_and_seen_to_be_over() {
    let Some((place, cluster)) = Place::new().await else { return };
    let nodes: Api<Node> = Api::all(cluster.client());
    let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
    let node = nodes.last().and_then(|node| node.metadata.name.clone()).unwrap();
    std::fs::write(place.folder.path().join("shown.yaml"), FAULTS.replace("NODE", &node)).unwrap();
    place.up(&["--set", "logs=false", "--yes"]);
    std::fs::write(place.folder.path().join("pressed.yaml"), PRESSED).unwrap();
    // First, because a restart by the other is seen for a minute.
    all_are_seen(&place, "pressed.yaml", 2, 45.0);
    // A node is not the lab's own: it is asked about, before anything is begun.
    place.expect(5, &["run", "shown.yaml"]);
    // A scrape every 2 s, a rate over 15 s.
    all_are_seen(&place, "shown.yaml", 6, 25.0);
    killed_at_any_moment_everything_comes_back(&place, &cluster).await;
    place.expect(0, &["down", "--yes"]);
}

/// Each of so many faults is detected, and over, within these seconds.
fn all_are_seen(place: &Place, scenario: &str, faults: usize, seconds: f64) {
    let report: Value =
        serde_json::from_str(&place.expect(0, &["run", scenario, "--yes", "-o", "json"])).unwrap();
    let all = report["checks"].as_array().unwrap().iter();
    let outcomes: Vec<&Value> = all.filter(|check| check["kind"] == "detected").collect();
    assert_eq!(outcomes.len(), 2 * faults, "{report}");
    for outcome in outcomes {
        let (name, evidence) = (outcome["name"].as_str().unwrap(), &outcome["evidence"]);
        eprintln!("{name} {}", outcome["message"]);
        let after = evidence["after_seconds"].as_f64().unwrap();
        assert!((0.0..seconds).contains(&after), "{outcome}");
        assert!(!evidence["expr"].as_str().unwrap().contains('$'), "{outcome}");
    }
}

/// Three on three objects, soon after each other.
const KILLED: &str = "
name: killed
stack: users-api
load: {arrival-rate: {phases: [{rate: 10/s, duration: 15s}]}}
requests: {list-users: {path: /api/users, expect: [200, 500]}}
faults:
  - {fault: broken-readiness, on: deployment/users-api, at: 0s, for: 10s}
  - {fault: scale-to-zero, on: deployment/receiver, at: 1s, for: 8s, allow-outage: true}
  - {fault: wrong-port, on: service/receiver, at: 2s, for: 6s, allow-outage: true}
checks: [{targets: {}}]
";

/// Whatever a run has done to objects when it is killed, the next command undoes, of this machine or of another.
async fn killed_at_any_moment_everything_comes_back(place: &Place, cluster: &Cluster) {
    let objects = [
        ("Deployment", "apps/v1", "users-api"),
        ("Deployment", "apps/v1", "receiver"),
        ("Service", "v1", "receiver"),
    ]
    .map(|(kind, version, name)| named(kind, version, Some(&place.namespace), name));
    let now = async || {
        let all = objects.iter().map(|object| disturbable(cluster, object));
        futures::future::join_all(all).await
    };
    let before = now().await;
    std::fs::write(place.folder.path().join("killed.yaml"), KILLED).unwrap();
    let (times, mut random) = kills(10);
    let mut mended = 0;
    for time in 1..=times {
        let quiet = || Stdio::null();
        let mut run = place.command(&["run", "killed.yaml"]).stdout(quiet()).stderr(quiet()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(random.random_range(1000..12_000))).await;
        run.kill().unwrap();
        run.wait().unwrap();
        mended += usize::from(now().await != before);
        let elsewhere = tempfile::tempdir().unwrap();
        let heal = ["heal", "--context", &place.context, "--namespace", &place.namespace];
        let next = match random.random_range(0..3) {
            0 => place.command(&["up"]),
            1 => place.command(&["heal"]),
            _ => {
                let mut heal = place.command(&heal);
                heal.current_dir(elsewhere.path());
                heal
            }
        };
        let output = { next }.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{time}: {told}");
        assert_eq!(now().await, before, "{time}: {told}");
    }
    eprintln!("{mended} of {times} left something behind");
    assert!(mended > 0 || times < 10, "it was never killed while a fault was on");
}
