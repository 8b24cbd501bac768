//! Load from inside a real cluster, from the built program: an Indexed Job of workers, merged exactly, and gone afterwards,
//! whatever ends it.
//!
//! Any cluster, named by `SRE_TEST_KUBECONFIG`. An image of `sre` has to be on its nodes: `SRE_TEST_SRE_IMAGE` names
//! one that is, or `SRE_TEST_STATIC` is a static build of `sre`, which `SRE_TEST_IMAGE_LOADER` loads onto the nodes.
//! `SRE_TEST_PROGRAM` is the `sre` that is tested, if not the one of this build.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{connect, in_namespace, kubeconfig, needs};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sre::interrupt::Interrupt;
use sre::target::kubernetes::apply::{Mode, apply};
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::image::{self, Loader};
use sre::target::kubernetes::object::{ObjectRef, read_objects};
use sre::target::kubernetes::{reach, wait};

/// Nothing that is waited for here takes longer; what a killed leader leaves goes within about a minute.
const BOUND: Duration = Duration::from_secs(120);

/// The demo service ×3 behind a Service without a node's port, where only restricted pods may run.
const SERVICE: &str = r#"
apiVersion: v1
kind: Namespace
metadata:
  name: NAMESPACE
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 3
  selector: {matchLabels: {app: it}}
  template:
    metadata: {labels: {app: it}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: app
          image: IMAGE
          imagePullPolicy: IfNotPresent
          args: [app, --listen, "0.0.0.0:8080", --latency, 0s]
          readinessProbe: {httpGet: {path: /health/readiness, port: 8080}, periodSeconds: 1}
          resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {cpu: "1", memory: 128Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  selector: {app: it}
  ports: [{port: 80, targetPort: 8080}]
"#;

/// A scenario of 60 requests a second.
const SCENARIO: &str = "
name: calm
load: {arrival-rate: {phases: [{duration: 6s, rate: 60}]}}
requests:
  echo: {method: POST, path: /api/echo, json: {message: hello}, weight: 2}
  missing: {path: /api/nothing, expect: 404}
thresholds: [error rate < 1%]
";

/// An image of `sre` on the nodes; `None`, said loudly, where there is none.
async fn image_of_sre() -> Option<String> {
    if let Ok(image) = std::env::var("SRE_TEST_SRE_IMAGE") {
        return Some(image);
    }
    let program = needs::variable(
        "cluster",
        "SRE_TEST_STATIC",
        "static build of sre, nor SRE_TEST_SRE_IMAGE an image",
    )?;
    let loader = needs::variable("cluster", "SRE_TEST_IMAGE_LOADER", "command")?;
    let program = Path::new(&program);
    let image = image::full_name(&format!("sre:{}", image::tag(program).unwrap()));
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("image.tar");
    image::write_archive(program, &image, &archive).unwrap();
    Loader::Command(loader).load(&archive, &image, &Interrupt::default()).await.unwrap();
    Some(image)
}

/// A lab of the demo service, in a folder of its own, as `sre up` would have left it; without monitoring.
struct Place {
    folder: tempfile::TempDir,
    cluster: Cluster,
    namespace: String,
}

impl Place {
    async fn new(cluster: Cluster, namespace: String, image: &str) -> Place {
        let text = SERVICE.replace("NAMESPACE", &namespace).replace("IMAGE", image);
        let objects = read_objects("service.yaml", &text).unwrap();
        apply(&cluster, &namespace, &objects, Mode::Write).await.unwrap();
        let deployment = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some(namespace.clone()),
            name: "app".into(),
        };
        wait::ready(&cluster, &[deployment], BOUND, &|_| ()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let lab = json!({
            "schema": "sre.lab/v1", "stack": "users-api", "target": "cluster", "parameters": {}, "complete": true,
            "endpoints": {"replicas": []},
            "cluster": {
                "context": cluster.context(), "kubeconfig": kubeconfig(),
                "identity": reach::identity(&cluster).await.unwrap(), "namespace": namespace,
                "endpoints": {"service": {"labels": {"app": "it"}, "port": 8080}},
                "images": {image: []},
            },
        });
        let lab: sre::target::Lab = serde_json::from_value(lab).unwrap();
        lab.save(&folder.path().join(".sre")).unwrap();
        std::fs::write(folder.path().join("calm.yaml"), SCENARIO).unwrap();
        Place { folder, cluster, namespace }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var_os("SRE_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_sre").into());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("SRE_TARGET").env_remove("SRE_YES");
        command
    }

    /// Runs `sre`, and expects an exit code; its stdout and stderr.
    async fn expect(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        told(output, code)
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client(), &self.namespace)
    }

    async fn pods(&self, labels: &str) -> Vec<Pod> {
        self.api().list(&ListParams::default().labels(labels)).await.unwrap().items
    }

    async fn workers(&self) -> Vec<Pod> {
        self.pods("app.kubernetes.io/name=sre-load").await
    }

    /// What the three replicas have counted, all requests but probes.
    async fn counted(&self) -> u64 {
        let mut sum = 0.0;
        for pod in self.pods("app=it").await {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}:8080/proxy/metrics",
                self.namespace,
                pod.metadata.name.unwrap()
            );
            let request = http::Request::get(path).body(Vec::new()).unwrap();
            let text = self.cluster.client().request_text(request).await.unwrap();
            sum += text
                .lines()
                .filter(|line| line.starts_with("app_request_count_total{"))
                .filter(|line| !line.contains("/health") && !line.contains("/metrics"))
                .map(|line| {
                    line.split("} ").nth(1).unwrap().split(' ').next().unwrap().parse::<f64>().unwrap()
                })
                .sum::<f64>();
        }
        sum as u64
    }

    /// Comes back once the service has counted more than so many requests.
    async fn under_way(&self, more_than: u64) {
        until("load on the service", || async { self.counted().await > more_than }).await;
    }

    async fn nothing_is_left(&self) {
        until("the end of the Job and its pods", || async {
            let jobs: Api<Job> = self.api();
            jobs.list(&ListParams::default()).await.unwrap().items.is_empty()
                && self.workers().await.is_empty()
        })
        .await;
    }

    fn journal_is_empty(&self) -> bool {
        std::fs::read_dir(self.folder.path().join(".sre/jobs")).is_ok_and(|files| files.count() == 0)
    }

    /// The newest run's load, as its log tells it.
    fn load_finished(&self) -> Value {
        let runs = self.folder.path().join(".sre/runs");
        let mut runs: Vec<_> = std::fs::read_dir(runs).unwrap().map(|run| run.unwrap().path()).collect();
        runs.sort();
        let text = std::fs::read_to_string(runs.last().unwrap().join("events.ndjson")).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.find(|event| event["event"] == "load-finished").expect("a load that is finished")
    }
}

fn told(output: Output, code: i32) -> (String, String) {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    (stdout, stderr)
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let end = Instant::now() + BOUND;
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

async fn with_place<F: Future<Output = ()> + Send + 'static>(
    test: &str,
    body: impl FnOnce(Place) -> F + Send + 'static,
) {
    // Whatever is missing is said, once.
    if connect().await.is_none() {
        return;
    }
    let Some(image) = image_of_sre().await else { return };
    in_namespace(test, move |cluster, namespace| async move {
        body(Place::new(cluster, namespace, &image).await).await;
    })
    .await;
}

/// By how much the workers' first requests were apart, in seconds: from when each request was due and when a
/// replica logged it. Replicas and test must have one clock, as on a cluster whose nodes are one machine's.
async fn apart(place: &Place, rate: f64, workers: u64) -> f64 {
    let mut earliest: BTreeMap<u64, f64> = BTreeMap::new();
    for pod in place.pods("app=it").await {
        let pods: Api<Pod> = place.api();
        let log = pods.logs(&pod.metadata.name.unwrap(), &LogParams::default()).await.unwrap();
        for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(number) =
                line["request_id"].as_str().and_then(|id| id.rsplit('-').next()?.parse::<u64>().ok())
            else {
                continue;
            };
            let logged: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
            let since_due = logged.as_microsecond() as f64 / 1e6 - number as f64 / rate;
            let least = earliest.entry(number % workers).or_insert(since_due);
            *least = least.min(since_due);
        }
    }
    assert_eq!(earliest.len() as u64, workers, "every worker sent: {earliest:?}");
    let times = || earliest.values().copied();
    times().fold(f64::MIN, f64::max) - times().fold(f64::MAX, f64::min)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_of_three_workers_is_what_the_service_counted() {
    with_place("load", |place: Place| async move {
        let (stdout, stderr) =
            place.expect(0, &["load", "./calm.yaml", "--workers", "3", "-o", "json"]).await;
        let result: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(result["requests"]["sent"], 360, "{stdout}");
        assert_eq!(place.counted().await, 360);
        let apart = apart(&place, 60.0, 3).await;
        eprintln!("the workers began within {:.1} ms; {}", apart * 1000.0, stderr.trim());
        assert!(apart < 0.05, "the workers began {apart} s apart");
        let nodes: Api<Node> = Api::all(place.cluster.client());
        let nodes = nodes.list(&ListParams::default()).await.unwrap().items.len();
        let told = stderr.lines().find(|line| line.contains("load from pods on ")).expect("where from");
        assert_eq!(told.split("; they begin").next().unwrap().split(", ").count(), nodes.min(3), "{told}");
        place.nothing_is_left().await;
        assert!(place.journal_is_empty());

        // Without a node's port to go by, load is sent from inside, and this is said.
        let (_, stderr) = place.expect(0, &["load", "./calm.yaml", "--duration", "1s"]).await;
        assert!(stderr.contains("load is sent from inside the cluster"), "{stderr}");
        assert_eq!(place.counted().await, 420);
        let (_, stderr) = place.expect(6, &["load", "./calm.yaml", "--via", "nodeport"]).await;
        assert!(stderr.contains("--via job"), "{stderr}");
        place.nothing_is_left().await;
        // Refused before anything is made.
        let few = SCENARIO.replace("calm", "few").replace("rate: 60}]}", "rate: 60}], connections: 2}");
        std::fs::write(place.folder.path().join("few.yaml"), few).unwrap();
        let (_, stderr) = place.expect(2, &["load", "./few.yaml", "--workers", "3"]).await;
        assert!(stderr.contains("3 workers are too many"), "{stderr}");
        assert!(place.workers().await.is_empty());
        place.nothing_is_left().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_deleted_is_a_verdict_and_no_smaller_number() {
    with_place("lost", |place: Place| async move {
        let leader = place.begin(&["load", "./calm.yaml", "--workers", "3"]);
        place.under_way(30).await;
        let name = place.workers().await[1].metadata.name.clone().unwrap();
        let pods: Api<Pod> = place.api();
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete(&name, &now).await.unwrap();
        let output = tokio::task::spawn_blocking(move || leader.wait_with_output().unwrap()).await.unwrap();
        let (stdout, stderr) = told(output, 3);
        let finished = place.load_finished();
        let lost = finished["summary"]["lost"].as_array().unwrap();
        assert_eq!(lost.len(), 1, "{stdout}\n{stderr}");
        let why = lost[0].as_str().unwrap();
        assert!(why.contains(&name) && why.contains("was lost after"), "{why}");
        assert_eq!(finished["summary"]["asked"], 360, "what was asked is the whole");
        assert!(stdout.contains("no data"), "{stdout}");
        place.nothing_is_left().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ctrl_c_what_is_known_is_kept_and_nothing_is_left() {
    with_place("stop", |place: Place| async move {
        let leader = place.begin(&["load", "./calm.yaml", "--workers", "2", "--duration", "2m"]);
        place.under_way(60).await;
        signal(&leader, Signal::INT);
        let output = tokio::task::spawn_blocking(move || leader.wait_with_output().unwrap()).await.unwrap();
        told(output, 130);
        let finished = place.load_finished();
        assert_eq!(finished["summary"]["interrupted"], true);
        let total = &finished["summary"]["total"];
        let (sent, unknown) = (total["sent"].as_u64().unwrap(), total["unknown"].as_u64().unwrap());
        let counted = place.counted().await;
        assert!(
            (sent - unknown..=sent).contains(&counted),
            "{counted} counted, {sent} sent, {unknown} unknown"
        );
        place.nothing_is_left().await;
        assert!(place.journal_is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_leaves_nothing() {
    with_place("kill", |place: Place| async move {
        // By itself: nobody comes to clear up.
        let mut leader = place.begin(&["load", "./calm.yaml", "--workers", "2", "--duration", "2m"]);
        place.under_way(60).await;
        signal(&leader, Signal::KILL);
        leader.wait().unwrap();
        assert!(!place.workers().await.is_empty());
        place.nothing_is_left().await;
        let counted = place.counted().await;
        assert!(counted < 60 * 100, "the load ended before its time: {counted}");

        // The next command is quicker.
        let mut leader = place.begin(&["load", "./calm.yaml", "--workers", "2", "--duration", "2m"]);
        place.under_way(counted + 60).await;
        signal(&leader, Signal::KILL);
        leader.wait().unwrap();
        let (_, stderr) = place.expect(0, &["heal"]).await;
        assert!(stderr.contains("left behind by a killed sre"), "{stderr}");
        let jobs: Api<Job> = place.api();
        assert!(jobs.list(&ListParams::default()).await.unwrap().items.is_empty());
        place.nothing_is_left().await;
    })
    .await;
}
