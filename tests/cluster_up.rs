//! `sre up` and `sre down` of a small stack on a real cluster, from the built program: killed at any moment, on what
//! never becomes ready, without an image, beside what is somebody else's, with claims.
//!
//! Needs what `cluster_run.rs` needs, and no monitoring. `SRE_SOAK` tells how often it is killed; ten times without
//! it. `SRE_SEED` repeats the moments of an earlier run.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::io::Write as _;
use std::process::Stdio;
use std::time::Instant;

use common::place::{Place, is_there, named};
use common::{image, kills};
use kube::api::{Api, PostParams};
use kube::core::DynamicObject;
use rand::RngExt as _;
use sre::target::kubernetes::apply::{Mode, delete, ensure_namespace};
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::object::{ObjectRef, read_objects};

/// A release, a workload of the image of `sre`, and a patch on somebody else's object.
const STACK: &str = "
name: small
description: A little of everything that a stack may have
parameters:
  namespace: {description: Where it runs, default: small}
  foreign: {description: Where somebody else's object is, default: small}
  greeting: {description: What it says, default: hello}
counter: {metric: app_request_count_total}
cluster:
  namespace: ${namespace}
  images: {image: {image: sre}}
  charts:
    web:
      chart: CHART
      set: {image: IMAGE, greeting: '${greeting}'}
      wait: 30s
  manifests:
    app: {files: [manifests/small/app.yaml], needs: [image], wait: 1m}
  patches:
    theirs:
      target: {kind: ConfigMap, name: theirs, namespace: '${foreign}'}
      patch: 'data: {b: \"2\"}'
";

const APP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: \"1\"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: app
          image: sre
          imagePullPolicy: IfNotPresent
          args: [app, --listen, '0.0.0.0:8080']
          readinessProbe: {httpGet: {path: /health/readiness, port: 8080}, periodSeconds: 1}
";

/// The small stack, in a folder of its own; and somebody else's object, in a namespace of theirs.
struct Small {
    place: Place,
    cluster: Cluster,
    foreign: String,
}

impl Small {
    async fn new() -> Option<Small> {
        let (place, cluster) = Place::new().await?;
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/web");
        let stack = STACK.replace("CHART", chart).replace("IMAGE", &image());
        for (file, text) in [("stacks/small/stack.yaml", stack.as_str()), ("manifests/small/app.yaml", APP)] {
            let path = place.folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let foreign = format!("{}-foreign", place.namespace);
        assert!(ensure_namespace(&cluster, &foreign, Mode::Write).await.unwrap());
        let theirs = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\ndata: {a: \"1\"}\n";
        let theirs = read_objects("theirs.yaml", theirs).unwrap().remove(0);
        let small = Small { place, cluster, foreign };
        small.theirs().await.create(&PostParams::default(), &theirs).await.unwrap();
        Some(small)
    }

    async fn theirs(&self) -> Api<DynamicObject> {
        let object = named("ConfigMap", "v1", Some(&self.foreign), "theirs");
        self.cluster.api(&object, &self.foreign).await.unwrap().unwrap().0
    }

    /// The arguments of `sre up`, and more.
    fn up<'a>(&'a self, set: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments =
            vec!["up", "small", "--target", "cluster", "--context", &self.place.context, "--yes"];
        arguments.extend(set.iter().flat_map(|set| ["--set", set]));
        arguments.extend(more);
        arguments
    }

    fn set(&self) -> Vec<String> {
        vec![format!("namespace={}", self.place.namespace), format!("foreign={}", self.foreign)]
    }

    async fn is_up(&self) {
        assert_eq!(self.place.lab()["complete"], true);
        for (kind, version, name) in [
            ("Deployment", "apps/v1", "web"),
            ("Deployment", "apps/v1", "app"),
            ("ConfigMap", "v1", "settings"),
        ] {
            let object = named(kind, version, Some(&self.place.namespace), name);
            assert!(is_there(&self.cluster, &object).await, "{object}");
        }
        let theirs = self.theirs().await.get("theirs").await.unwrap();
        assert_eq!(theirs.data["data"], serde_json::json!({"a": "1", "b": "2"}));
    }

    async fn is_down(&self) {
        assert!(!self.place.folder.path().join(".sre/lab.json").exists());
        assert!(!is_there(&self.cluster, &named("Namespace", "v1", None, &self.place.namespace)).await);
        let theirs = self.theirs().await.get("theirs").await.unwrap();
        assert_eq!(theirs.data["data"], serde_json::json!({"a": "1"}));
    }

    async fn end(self) {
        let namespace: ObjectRef = named("Namespace", "v1", None, &self.foreign);
        let cluster = self.cluster.clone();
        drop(self);
        assert!(delete(&cluster, &namespace).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_mends_what_a_kill_9_at_any_moment_left_and_down_leaves_nothing() {
    let Some(mut small) = Small::new().await else { return };
    let (times, mut random) = kills(10);
    let set = small.set();

    let started = Instant::now();
    small.place.expect(0, &small.up(&set, &[]));
    let takes = started.elapsed();
    small.is_up().await;
    small.place.expect(0, &["down", "--yes"]);
    small.is_down().await;

    for time in 1..=times {
        if time == times {
            // The last one with the other helm, where it is there.
            eprintln!("helm 3: {}", small.place.helm_is("helm3"));
        }
        // What is killed brings up, or changes what is up; in every third round, it takes down.
        let down = time % 3 == 0;
        if down {
            small.place.expect(0, &small.up(&set, &[]));
        }
        let arguments = if down { vec!["down", "--yes"] } else { small.up(&set, &[]) };
        let mut killed =
            small.place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let after = takes.mul_f64(random.random_range(0.0..1.1));
        tokio::time::sleep(after).await;
        killed.kill().unwrap();
        killed.wait().unwrap();
        eprintln!("{time}: sre {} killed after {after:?}", arguments[0]);
        if down || random.random_bool(0.3) {
            small.place.expect(0, &["down", "--yes"]);
            small.is_down().await;
        } else {
            small.place.expect(0, &small.up(&set, &[]));
            small.is_up().await;
        }
    }
    small.place.expect(0, &["down", "--yes"]);
    small.is_down().await;
    small.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_that_does_not_become_ready_names_the_object_its_event_and_its_log() {
    let Some(small) = Small::new().await else { return };
    let mut set = small.set();
    set.push("greeting=hello; echo no database at postgres:5432; exit 3; true".into());
    let told = small.place.expect(6, &small.up(&set, &[]));
    let workload = format!("Deployment {}/web", small.place.namespace);
    for part in [workload.as_str(), "last event", "no database at postgres:5432", "kubectl --context"] {
        assert!(told.contains(part), "{part} is missing:\n{told}");
    }
    // What was wrong is put right by the next one.
    small.place.expect(
        0,
        &small.up(&small.set().into_iter().chain(["greeting=hello".into()]).collect::<Vec<_>>(), &[]),
    );
    small.is_up().await;
    small.place.expect(0, &["down", "--yes"]);
    small.is_down().await;
    small.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_on_a_node_is_found_before_pods_need_it() {
    let Some(small) = Small::new().await else { return };
    let set = small.set();
    // What follows the program makes it another one, which no node has.
    let other = small.place.folder.path().join("other");
    std::fs::copy(std::env::var_os("SRE_TEST_STATIC").unwrap(), &other).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&other).unwrap();
    file.write_all(uuid::Uuid::new_v4().as_bytes()).unwrap();
    drop(file);
    let other = other.display().to_string();

    let nothing = "true {archive} {image}";
    let more = ["--image-binary", other.as_str(), "--image-loader", nothing];
    let told = small.place.expect(5, &small.up(&set, &more));
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(small.cluster.client());
    for node in nodes.list(&kube::api::ListParams::default()).await.unwrap().items {
        let name = node.metadata.name.unwrap();
        assert!(told.contains(&name), "{name} is missing:\n{told}");
    }
    assert!(told.contains("docker.io/library/sre:") && told.contains("true "), "{told}");
    assert!(told.contains("image.tar"), "the command that loads it is missing:\n{told}");
    let app = named("Deployment", "apps/v1", Some(&small.place.namespace), "app");
    assert!(!is_there(&small.cluster, &app).await, "its pods were started all the same");
    small.place.expect(0, &["down", "--yes"]);
    small.is_down().await;
    small.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_somebody_else_s_is_refused_and_stays() {
    let Some(small) = Small::new().await else { return };
    let (set, namespace) = (small.set(), small.place.namespace.clone());
    assert!(ensure_namespace(&small.cluster, &namespace, Mode::Write).await.unwrap());
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/web");
    let image = format!("image={}", image());
    let helm = |arguments: &[&str]| {
        let mut command = std::process::Command::new("helm");
        command.args(arguments).args(["--namespace", &namespace, "--kube-context", &small.place.context]);
        let output = command.env("KUBECONFIG", common::kubeconfig().unwrap()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    helm(&["install", "web", chart, "--set", &image, "--set", "greeting=theirs"]);
    let told = small.place.expect(6, &small.up(&set, &[]));
    assert!(
        told.contains(&format!("release {namespace}/web is there already, and is not `sre`'s")),
        "{told}"
    );
    assert!(told.contains(&format!("helm uninstall web --namespace {namespace}")), "{told}");
    small.place.expect(0, &["down", "--yes"]);
    let history = helm(&["history", "web", "--output", "json"]);
    assert_eq!(history.matches("\"revision\"").count(), 1, "{history}");

    // A release that was made from another folder, or from one that is lost, is gone on with, as objects are.
    helm(&["uninstall", "web", "--wait"]);
    small.place.expect(0, &small.up(&set, &[]));
    let state = small.place.folder.path().join(".sre");
    std::fs::rename(&state, small.place.folder.path().join("lost")).unwrap();
    small.place.expect(0, &small.up(&set, &[]));
    small.is_up().await;
    small.place.expect(0, &["down", "--yes"]);
    assert_eq!(helm(&["list", "--short"]).trim(), "");
    assert!(delete(&small.cluster, &named("Namespace", "v1", None, &namespace)).await.unwrap());
    small.end().await;
}

/// Data in a namespace that is there before: a claim of its own, and a StatefulSet's.
const KEEPER: &str = "
name: keeper
description: Keeps data
parameters: {namespace: {description: Where it runs, default: keeper}}
counter: {metric: app_request_count_total}
cluster:
  namespace: ${namespace}
  manifests: {data: {files: [manifests/keeper/data.yaml]}}
";

const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redis}
spec:
  replicas: 0
  serviceName: redis
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec: {containers: [{name: redis, image: none}]}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
";

const CLAIM: &str = "
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: files}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn no_claim_goes_unasked_and_those_that_stay_are_named() {
    let Some((place, cluster)) = Place::new().await else { return };
    let namespace = place.namespace.clone();
    assert!(ensure_namespace(&cluster, &namespace, Mode::Write).await.unwrap());
    let write = |file: &str, text: &str| {
        let path = place.folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("stacks/keeper/stack.yaml", KEEPER);
    write("manifests/keeper/data.yaml", &format!("{SET}{CLAIM}"));
    let set = format!("namespace={namespace}");
    let up = ["up", "keeper", "--target", "cluster", "--context", &place.context, "--set", &set];
    let up_yes: Vec<&str> = up.iter().copied().chain(["--yes"]).collect();
    place.expect(0, &up_yes);
    // As the StatefulSet's controller names the claim of its first pod.
    let claim = |name: &str| named("PersistentVolumeClaim", "v1", Some(&namespace), name);
    let (api, _) = cluster.api(&claim("data-redis-0"), &namespace).await.unwrap().unwrap();
    let of_set = read_objects("claim.yaml", &CLAIM.replace("files", "data-redis-0")).unwrap().remove(0);
    api.create(&PostParams::default(), &of_set).await.unwrap();

    let lost = format!("PersistentVolumeClaim {namespace}/files");
    let unasked = place.expect(5, &["down"]);
    assert!(unasked.contains(&lost) && unasked.contains("consent was not given"), "{unasked}");
    assert!(!unasked.contains("data-redis-0"), "it stays: {unasked}");
    write("manifests/keeper/data.yaml", SET);
    let unasked = place.expect(5, &up);
    assert!(unasked.contains(&lost) && unasked.contains("consent was not given"), "{unasked}");
    assert!(is_there(&cluster, &claim("files")).await);
    place.expect(0, &up_yes);
    let started = Instant::now();
    while is_there(&cluster, &claim("files")).await {
        assert!(started.elapsed().as_secs() < 30, "it was not deleted");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }

    // Nothing is lost now, so nothing is asked.
    let output = place.command(&["down"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains(&format!("PersistentVolumeClaim {namespace}/data-redis-0")), "{told}");
    assert!(is_there(&cluster, &claim("data-redis-0")).await);
    assert!(delete(&cluster, &named("Namespace", "v1", None, &namespace)).await.unwrap());
}
