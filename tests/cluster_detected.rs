//! What monitoring shows of faults on a real cluster, several in one run: `SRE_TEST_KUBECONFIG`, `SRE_TEST_STATIC`,
//! `SRE_TEST_IMAGE_LOADER` as in `cluster_run.rs`. The real kube-state-metrics tells of pods, workloads and nodes.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use common::place::Place;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use serde_json::Value;

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

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_seen_and_seen_to_be_over() {
    let Some((place, cluster)) = Place::new().await else { return };
    let nodes: Api<Node> = Api::all(cluster.client());
    let nodes = nodes.list(&ListParams::default()).await.unwrap().items;
    let node = nodes.last().and_then(|node| node.metadata.name.clone()).unwrap();
    std::fs::write(place.folder.path().join("shown.yaml"), FAULTS.replace("NODE", &node)).unwrap();
    place.up(&["--set", "logs=false", "--yes"]);
    let report: Value = serde_json::from_str(&place.expect(0, &["run", "shown.yaml", "-o", "json"])).unwrap();
    let all = report["checks"].as_array().unwrap().iter();
    let outcomes: Vec<&Value> = all.filter(|check| check["kind"] == "detected").collect();
    assert_eq!(outcomes.len(), 12, "{report}");
    for outcome in outcomes {
        let (name, evidence) = (outcome["name"].as_str().unwrap(), &outcome["evidence"]);
        eprintln!("{name} {}", outcome["message"]);
        let after = evidence["after_seconds"].as_f64().unwrap();
        // A scrape every 2 s, a rate over 15 s.
        assert!((0.0..25.0).contains(&after), "{outcome}");
        assert!(!evidence["expr"].as_str().unwrap().contains('$'), "{outcome}");
    }
    place.expect(0, &["down", "--yes"]);
}
