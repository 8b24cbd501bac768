//! The main job on a real cluster, from the built program: up, `run errors`, up again, load from inside, discovery in each way,
//! a pod that is replaced in mid-run, workloads that somebody deletes, down.
//!
//! `SRE_SOAK` tells how often `run errors` must pass in a row; once without it.
//!
//! Any cluster, named by `SRE_TEST_KUBECONFIG`, whose nodes' ports can be reached from here. `SRE_TEST_STATIC` is a
//! static build of `sre`, for the image of the service, `SRE_TEST_IMAGE_LOADER` the command that loads it onto the nodes
//! (`--image-loader`), and helm is on PATH. `SRE_TEST_PROGRAM` is the `sre` that is tested, if not the one of this build.
//! The monitoring is a chart of the tests' own that runs the real operator, Prometheus and Alertmanager; the collector
//! likewise. In the place of Loki, whose image the tests can't have, its chart runs the log store of `sre`, from the image
//! docker.io/library/sre:test, which must be on the nodes. `SRE_TEST_MONITORING_CHART`, `SRE_TEST_LOKI_CHART` and `SRE_TEST_COLLECTOR_CHART` name others, such
//! as folders of the real charts, and `SRE_TEST_VALUES` values for them (`monitoring=FILE loki=FILE`): `tests/charts/real/`
//! has those for clusters that lack the images.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::place::{Place, is_there, named};
use indexmap::IndexMap;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::Value;
use sre::observe::Alertmanager;
use sre::stack::ClusterEndpoint;
use sre::target::Endpoint;
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::forward::Forward;

#[tokio::test(flavor = "multi_thread")]
async fn errors_pass_on_three_replicas_and_nothing_is_left() {
    let Some((place, cluster)) = Place::new().await else { return };
    let definition = named(
        "CustomResourceDefinition",
        "apiextensions.k8s.io/v1",
        None,
        "prometheuses.monitoring.coreos.com",
    );
    let had_definition = is_there(&cluster, &definition).await;
    let namespace = named("Namespace", "v1", None, &place.namespace);

    // A context is never guessed, never changed without consent, and a preview changes nothing.
    let refused = place.expect(2, &["up", "--target", "cluster"]);
    assert!(refused.contains(&place.context), "{refused}");
    let unasked = place.expect(5, &["up", "--target", "cluster", "--context", &place.context]);
    assert!(unasked.contains("consent was not given"), "{unasked}");
    let preview = place.up(&["--dry-run", "-v"]);
    assert!(preview.contains("kind: ServiceMonitor") && preview.contains("kind: Alertmanager"), "{preview}");
    assert!(!is_there(&cluster, &namespace).await);

    // One that is killed in the midst of it is mended by the next.
    let mut killed = place.up_command(&["--yes"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    place.up(&["--yes"]);
    let first = place.lab();
    assert_eq!(first["complete"], true);

    // No consent is needed for what is up here already.
    let again = Instant::now();
    place.expect(0, &["up"]);
    assert!(again.elapsed() < Duration::from_secs(15), "a second up took {:?}", again.elapsed());
    assert_eq!(place.lab(), first, "a second up changes nothing");

    let other = place.expect(2, &["up", "--target", "local"]);
    assert!(other.contains("the target cluster is up here"), "{other}");

    let times: usize = std::env::var("SRE_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    for run in 1..=times {
        errors_pass(&place);
        eprintln!("run {run} of {times} passed");
    }
    load_comes_from_inside(&place);
    for way in ["annotations", "static", "servicemonitor"] {
        place.expect(0, &["up", "--set", &format!("discovery={way}")]);
        let found = ways_there(&cluster, &place.namespace).await;
        assert_eq!(found, [way], "exactly one way is left");
        let result = place.expect(0, &["run", "baseline", "--duration", "3s", "-o", "json"]);
        assert!(result.contains("\"verdict\": \"pass\""), "{way}: {result}");
    }
    what_is_changed_is_at_work_when_up_is_done(&place, &cluster).await;
    a_pod_that_is_replaced_is_a_lower_bound(&place, &cluster).await;
    what_somebody_deletes_comes_back(&place, &cluster).await;

    place.expect(0, &["down", "--yes"]);
    assert!(!place.folder.path().join(".sre/lab.json").exists());
    assert!(!is_there(&cluster, &namespace).await);
    let monitoring = format!("{}-monitoring", place.namespace);
    assert!(!is_there(&cluster, &named("Namespace", "v1", None, &monitoring)).await);
    let kubelet = named("Service", "v1", Some("kube-system"), &format!("{monitoring}-kubelet"));
    assert!(!is_there(&cluster, &kubelet).await);
    assert_eq!(is_there(&cluster, &definition).await, had_definition);
    place.expect(0, &["down", "--yes"]);
}

/// Counts are reconciled over three replicas, each from its own counter.
fn errors_pass(place: &Place) {
    let result: Value =
        serde_json::from_str(&place.expect(0, &["run", "errors", "--duration", "20s", "-o", "json"]))
            .unwrap();
    assert_eq!(result["verdict"], "pass");
    assert_eq!(result["target"], "cluster");
    assert_eq!(result["requests"]["sent"], 4000);
    assert_eq!(result["requests"]["counted"], 4000);
    let mut reconciled = result["checks"].as_array().unwrap().iter().filter(|c| c["kind"] == "reconcile");
    let first = reconciled.next().unwrap();
    assert!(reconciled.count() >= 2, "{result}");
    let targets = first["evidence"]["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 3, "{first}");
    // Which replica a connection leads to is the Service's choice; each has counted what it got.
    let counted: f64 = targets.iter().filter_map(|target| target["counted"].as_f64()).sum();
    assert!((counted - 4000.0).abs() < f64::EPSILON, "{first}");
}

/// Alertmanager has read its new configuration, and Prometheus' pod is the new one.
async fn what_is_changed_is_at_work_when_up_is_done(place: &Place, cluster: &Cluster) {
    let namespace = format!("{}-monitoring", place.namespace);
    place.expect(0, &["up", "--set", "group_interval=3s"]);
    let labels = IndexMap::from([("app.kubernetes.io/name".to_owned(), "alertmanager".to_owned())]);
    let endpoint = ClusterEndpoint { namespace: None, labels, port: 9093, enabled: true, metrics: None };
    let forward = Forward::open(cluster, &endpoint, &namespace).await.unwrap();
    let loaded = Alertmanager::new(&Endpoint::new(forward.url())).unwrap().config().await.unwrap();
    assert!(loaded.contains("group_interval: 3s"), "{loaded}");

    let values = place.folder.path().join("more.yaml");
    let more = "prometheus: {prometheusSpec: {resources: {requests: {memory: 200Mi}}}}";
    std::fs::write(&values, more).unwrap();
    place.expect(0, &["up", "--values", &format!("monitoring={}", values.display())]);
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &namespace);
    let params = ListParams::default().labels("app.kubernetes.io/name=prometheus");
    let found = pods.list(&params).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert!(found[0].metadata.deletion_timestamp.is_none());
    let containers = serde_json::to_value(&found[0].spec).unwrap()["containers"].take();
    let prometheus = containers.as_array().unwrap().iter().find(|c| c["name"] == "prometheus").unwrap();
    assert_eq!(prometheus["resources"]["requests"]["memory"], "200Mi");
}

/// Workers are pods of the image that `up` brought onto the nodes.
fn load_comes_from_inside(place: &Place) {
    let inside = ["run", "baseline", "--duration", "3s", "--via", "job", "--workers", "2", "-o", "json"];
    let result = place.expect(0, &inside);
    assert!(result.contains("\"verdict\": \"pass\""), "{result}");
}

/// The ways in which Prometheus can find the replicas just now.
async fn ways_there(cluster: &Cluster, namespace: &str) -> Vec<&'static str> {
    let operator = "monitoring.coreos.com";
    let ways = [
        ("servicemonitor", named("ServiceMonitor", &format!("{operator}/v1"), Some(namespace), "users-api")),
        ("annotations", named("Service", "v1", Some(namespace), "users-api-metrics")),
        ("static", named("ScrapeConfig", &format!("{operator}/v1alpha1"), Some(namespace), "users-api")),
    ];
    let mut there = Vec::new();
    for (way, object) in ways {
        if is_there(cluster, &object).await {
            there.push(way);
        }
    }
    there
}

/// Nothing else is asked of it than that every request is counted.
const COUNTED: &str = "
name: counted
stack: users-api
load: {arrival-rate: {phases: [{rate: 200/s, duration: 15s}]}}
requests: {list-users: {path: /api/users, expect: [200, 500]}}
checks: [{reconcile: {}}]
";

async fn a_pod_that_is_replaced_is_a_lower_bound(place: &Place, cluster: &Cluster) {
    let scenario = place.folder.path().join("counted.yaml");
    std::fs::write(&scenario, COUNTED).unwrap();
    // A pod that was scraped in the very moment of its end takes nothing with it: then once more.
    for _ in 0..3 {
        let (victim, code, result) = replace_in_mid_run(place, cluster, &scenario).await;
        let check = result["checks"].as_array().unwrap().iter().find(|c| c["kind"] == "reconcile").unwrap();
        let told = check.to_string();
        assert!(told.contains(&victim) && told.contains("was replaced during the load, at about"), "{told}");
        if code == 0 {
            assert!(told.contains("the counts prove that nothing was lost"), "{told}");
            continue;
        }
        assert_eq!((code, &check["verdict"]), (3, &Value::from("no-data")), "{result}");
        let message = check["message"].as_str().unwrap();
        assert!(message.starts_with("at least ") && message.ends_with(" counted"), "{message}");
        let (sent, counted) = (&result["requests"]["sent"], &result["requests"]["counted"]);
        assert!(counted.as_u64() < sent.as_u64() && counted.as_u64() > Some(1000), "{result}");
        return;
    }
    panic!("three pods in a row took nothing with them");
}

/// A run of a scenario, in the midst of which one of the pods is deleted: its name, the exit code and the result.
async fn replace_in_mid_run(place: &Place, cluster: &Cluster, scenario: &Path) -> (String, i32, Value) {
    let output = place.folder.path().join("counted.json");
    let before = place.runs("counted").len();
    let mut run = place
        .command(&["run", &scenario.to_string_lossy(), "-o", "json"])
        .stdout(std::fs::File::create(&output).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while place.runs("counted").len() == before || place.seconds_of_load("counted") < 5 {
        assert!(started.elapsed() < Duration::from_secs(90), "the load does not begin");
        assert_eq!(run.try_wait().unwrap(), None, "it ended before its load");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &place.namespace);
    let of_service = ListParams::default().labels("app.kubernetes.io/name=users-api");
    let victim = pods.list(&of_service).await.unwrap().items.remove(0).metadata.name.unwrap();
    pods.delete(&victim, &DeleteParams::default().grace_period(0)).await.unwrap();
    let status = tokio::task::spawn_blocking(move || run.wait().unwrap()).await.unwrap();
    let text = std::fs::read_to_string(&output).unwrap();
    let result = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    (victim, status.code().unwrap(), result)
}

/// A workload that `sre` applied, and objects of a release: one that is waited for, one that is not.
async fn what_somebody_deletes_comes_back(place: &Place, cluster: &Cluster) {
    let monitoring = format!("{}-monitoring", place.namespace);
    let mut deleted = Vec::new();
    for (kind, version, namespace, name) in [
        ("Deployment", "apps/v1", &place.namespace, "users-api"),
        ("Deployment", "apps/v1", &monitoring, "operator"),
        ("ServiceAccount", "v1", &monitoring, "prometheus"),
    ] {
        let object = named(kind, version, Some(namespace), name);
        let (api, _) = cluster.api(&object, namespace).await.unwrap().unwrap();
        // Names differ in other charts than the tests' own.
        if api.get_opt(name).await.unwrap().is_some() {
            // Its pods go first: it is on its way out when `up` comes.
            api.delete(name, &DeleteParams::foreground()).await.unwrap();
            deleted.push(object);
        }
    }
    assert!(!deleted.is_empty());
    place.expect(0, &["up"]);
    for object in deleted {
        assert!(is_there(cluster, &object).await, "{object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_told_before_anything_is_changed() {
    let Some((place, _)) = Place::new().await else { return };
    let unknown = place.expect(2, &["up", "--target", "cluster", "--context", "nowhere"]);
    assert!(unknown.contains("no context `nowhere`"), "{unknown}");
    let dynamic = Path::new("/bin/true").display().to_string();
    let arguments =
        ["up", "--target", "cluster", "--context", &place.context, "--yes", "--image-binary", &dynamic];
    let refused = place.expect(5, &arguments);
    assert!(refused.contains("not a static program"), "{refused}");
    assert!(!place.folder.path().join(".sre/lab.json").exists());
}
