//! Faults on a real cluster, from the built program: each is injected and undone, and afterwards every object is what
//! it was.
//!
//! Any cluster, named by `SRE_TEST_KUBECONFIG`. `SRE_TEST_IMAGE` is an image with busybox, `SRE_TEST_SRE_IMAGE` one of
//! `sre` itself that every node has: without it what needs guards and helper pods is skipped. `SRE_SOAK` tells how often
//! it is killed at a random moment; 10 times without it. `SRE_TEST_REDIS_IMAGE` is an image of Redis, `SRE_TEST_NODE` a node that may be
//! drained.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::time::{Duration, Instant};

use common::shop::{in_shop, kill, owners, text};
use common::{kills, needs};
use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sre::target::kubernetes::apply::content;
use sre::target::kubernetes::forward::Forward;
use sre::target::kubernetes::object::ObjectRef;
use sre::target::kubernetes::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Two replicas of the demo service, which has fault switches and `sre` in its image.
const APP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: app
          image: IMAGE
          imagePullPolicy: IfNotPresent
          args: [app, --listen, "0.0.0.0:8080", --admin, "127.0.0.1:9090"]
          readinessProbe: {httpGet: {path: /health/readiness, port: 8080}, periodSeconds: 1}
          resources: {limits: {memory: 96Mi}}
"#;

/// Redis, alone.
const REDIS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  replicas: 1
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: redis
          image: IMAGE
          imagePullPolicy: IfNotPresent
          ports: [{containerPort: 6379}]
          readinessProbe: {tcpSocket: {port: 6379}, periodSeconds: 1}
"#;

/// An image of `sre` itself; says loudly that a test is skipped where there is none.
fn sre_image() -> Option<String> {
    needs::variable("cluster", "SRE_TEST_SRE_IMAGE", "image of sre")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_afterwards_what_it_was() {
    in_shop("fault-each", |shop| async move {
        for (fault, on, outage) in [
            ("scale-to-zero", "deployment/web", true),
            ("wrong-port", "service/web", true),
            ("wrong-port", "ingress/web", true),
            ("broken-readiness", "deployment/web", false),
            ("pod-delete", "deployment/web", false),
            ("memory-pressure=60%", "deployment/web", false),
        ] {
            let more: &[&str] = if outage { &["--allow-outage", "--no-expiry"] } else { &["--no-expiry"] };
            let output = shop.inject(fault, on, "3s", more).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{fault} on {on}: {}", text(&output));
            shop.assert_as_before().await;
            assert_eq!(shop.ready().await, 2, "{fault} on {on}");
        }
        assert_eq!(shop.restarts("app=web").await, 0, "no fault restarts a container");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_an_outage_and_what_is_not_there_is_refused() {
    in_shop("fault-refuse", |shop| async move {
        for (fault, on, why) in [
            ("scale-to-zero", "deployment/web", "no replica of Deployment"),
            ("wrong-port", "service/web", "would be an outage"),
            ("wrong-port", "deployment/web", "only a Service or an Ingress"),
            ("pod-delete", "deployment/nobody", "there is no Deployment nobody"),
            ("pod-delete", "app=nobody", "no pod in"),
            ("kill", "deployment/web", "pod-delete"),
            ("node-stop", "deployment/web", "nobody says how a node is stopped"),
            ("latency=2s", "deployment/web", "has no fault switches"),
            ("redis-pause", "deployment/web", "nothing says that Pod"),
        ] {
            let output = shop.inject(fault, on, "3s", &["--no-expiry"]).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{fault} on {on}: {}", text(&output));
            assert!(text(&output).contains(why), "{fault} on {on}: {}", text(&output));
        }
        // Without an image of sre there is no guard, and without consent nothing happens.
        let output = shop.inject("pod-delete", "deployment/web", "3s", &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{}", text(&output));
        assert!(text(&output).contains("--no-expiry"), "{}", text(&output));
        let base = ["fault", "inject", "pod-delete", "--context", shop.cluster.context()];
        let rest = ["--namespace", &shop.namespace, "--on", "deploy/web", "--for", "3s"];
        let unasked = shop.command(shop.folder.path(), &[&base[..], &rest].concat()).output().unwrap();
        assert_eq!(unasked.status.code(), Some(5), "{}", text(&unasked));
        // A preview tells how far it would reach, and does nothing.
        let preview = [&base[..], &rest, &["--dry-run"]].concat();
        let preview = shop.command(shop.folder.path(), &preview).output().unwrap();
        assert_eq!(preview.status.code(), Some(0), "{}", text(&preview));
        assert!(text(&preview).contains("1 of 2 ready in Deployment"), "{}", text(&preview));
        shop.assert_as_before().await;
    })
    .await;
}

/// A claim that one node may write to, and a Deployment on it that rolls.
const ON_A_CLAIM: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: db
          image: IMAGE
          imagePullPolicy: IfNotPresent
          command: [sleep, "3600"]
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_would_have_two_pods_write_to_one_claim_is_refused() {
    in_shop("fault-claim", |shop| async move {
        shop.add("db", &ON_A_CLAIM.replace("IMAGE", &common::image())).await;
        for fault in ["broken-readiness", "pod-delete"] {
            let more = ["--allow-outage", "--no-expiry"];
            let output = shop.inject(fault, "deployment/db", "3s", &more).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{fault}: {}", text(&output));
            assert!(text(&output).contains("data, ReadWriteOnce"), "{fault}: {}", text(&output));
        }
        let pods = shop.list("v1", "Pod", "app=db").await;
        assert_eq!(pods.len(), 1, "nothing was rolled out");
    })
    .await;
}

/// A chart of one Deployment with a Service and an Ingress.
fn chart(folder: &std::path::Path) {
    let template = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: release}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: release}}
  template:
    metadata: {labels: {app: release}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: {{ .Values.image }}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, 'mkdir -p /tmp/w && echo hello >/tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w']
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: {{ .Values.period }}}
---
apiVersion: v1
kind: Service
metadata: {name: release}
spec:
  selector: {app: release}
  ports: [{name: http, port: 80, targetPort: {{ .Values.port }}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: release}
spec:
  rules:
    - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: release, port: {number: {{ .Values.front }}}}}}]}
"#;
    std::fs::create_dir_all(folder.join("templates")).unwrap();
    std::fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: release\nversion: 1.0.0\n").unwrap();
    std::fs::write(folder.join("values.yaml"), "{replicas: 2, period: 1, port: 8080, front: 80, image: x}\n")
        .unwrap();
    std::fs::write(folder.join("templates/all.yaml"), template).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fault_fields_belong_to_whom_they_did_and_helm_upgrades() {
    in_shop("fault-helm", |shop| async move {
        let folder = shop.folder.path().join("chart");
        chart(&folder);
        let helm = |arguments: &[&str]| {
            let image = format!("image={}", common::image());
            let mut helm = std::process::Command::new("helm");
            helm.args(arguments).args([
                "--namespace",
                &shop.namespace,
                "--kube-context",
                shop.cluster.context(),
            ]);
            helm.args(["--set", &image]).arg("--wait").env("KUBECONFIG", common::kubeconfig().unwrap());
            let output = helm.output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        };
        let chart = folder.display().to_string();
        helm(&["install", "release", &chart]);
        let named = |kind: &str| ObjectRef { name: "release".into(), ..shop.named(kind) };
        let get = async |kind: &str| {
            let object = named(kind);
            let (api, _) = shop.cluster.api(&object, &shop.namespace).await.unwrap().unwrap();
            api.get("release").await.unwrap()
        };
        for (fault, on, kind, killed) in [
            ("scale-to-zero", "deployment/release", "Deployment", false),
            ("broken-readiness", "deployment/release", "Deployment", false),
            ("wrong-port", "service/release", "Service", false),
            ("wrong-port", "ingress/release", "Ingress", false),
            ("scale-to-zero", "deployment/release", "Deployment", true),
        ] {
            let before = owners(&get(kind).await);
            let more = ["--allow-outage", "--no-expiry"];
            if killed {
                let child = shop.start(fault, on, "10m", &more);
                let started = Instant::now();
                while get(kind).await.data["spec"]["replicas"] != 0 {
                    assert!(started.elapsed() < Duration::from_secs(90), "nothing was injected");
                }
                kill(child);
                let elsewhere = tempfile::tempdir().unwrap();
                let (code, told) = shop.heal(elsewhere.path(), &[]);
                assert_eq!(code, 0, "{told}");
            } else {
                let output = shop.inject(fault, on, "2s", &more).output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{fault}: {}", text(&output));
            }
            assert_eq!(owners(&get(kind).await), before, "{fault} on {on}");
        }
        helm(&["upgrade", "release", &chart, "--set", "replicas=1,period=2,port=8081,front=81"]);
        assert_eq!(get("Deployment").await.data["spec"]["replicas"], 1);
        assert_eq!(get("Service").await.data["spec"]["ports"][0]["targetPort"], 8081);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_on_one_object_are_refused_and_ctrl_c_undoes() {
    in_shop("fault-two", |shop| async move {
        let more = ["--allow-outage", "--no-expiry"];
        let mut first = shop.disturb("scale-to-zero", "deployment/web", "Deployment", &more).await;
        let second = shop.inject("pod-delete", "app=web", "1s", &["--no-expiry"]).output().unwrap();
        assert_ne!(second.status.code(), Some(0), "{}", text(&second));
        let second =
            shop.inject("broken-readiness", "deployment/web", "1s", &["--no-expiry"]).output().unwrap();
        assert_eq!(second.status.code(), Some(6), "{}", text(&second));
        assert!(text(&second).contains("a fault is on Deployment"), "{}", text(&second));
        // Another folder leaves alone what a running sre holds.
        let elsewhere = tempfile::tempdir().unwrap();
        let (code, told) = shop.heal(elsewhere.path(), &[]);
        assert_eq!((code, told.contains("left alone")), (0, true), "{told}");
        kill_process(Pid::from_child(&first), Signal::INT).unwrap();
        assert_eq!(first.wait().unwrap().code(), Some(130));
        shop.assert_as_before().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_another_folder_heals_from_the_annotations() {
    in_shop("fault-else", |shop| async move {
        for (fault, on, kind) in
            [("scale-to-zero", "deployment/web", "Deployment"), ("wrong-port", "ingress/web", "Ingress")]
        {
            kill(shop.disturb(fault, on, kind, &["--allow-outage", "--no-expiry"]).await);
            let elsewhere = tempfile::tempdir().unwrap();
            let (code, told) = shop.heal(elsewhere.path(), &[]);
            assert_eq!((code, told.contains("healed")), (0, true), "{told}");
            shop.assert_as_before().await;
            let (code, told) = shop.heal(elsewhere.path(), &[]);
            assert_eq!((code, told.contains("nothing to heal")), (0, true), "{told}");
            // Where it was injected the journal finds that nothing is left to do.
            let (code, told) = shop.heal(shop.folder.path(), &[]);
            assert_eq!(code, 0, "{told}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_everything_comes_back() {
    in_shop("fault-kill", |shop| async move {
        let (times, mut random) = kills(10);
        let guarded = std::env::var("SRE_TEST_SRE_IMAGE").ok();
        let mut mended = 0;
        for time in 1..=times {
            let (fault, on) = [
                ("scale-to-zero", "deployment/web"),
                ("wrong-port", "service/web"),
                ("wrong-port", "ingress/web"),
                ("broken-readiness", "deployment/web"),
            ][random.random_range(0..4)];
            // Guards take seconds to come: with every other one the moments are spread over that, too.
            let (more, within): (Vec<&str>, u64) = match &guarded {
                Some(image) if time % 2 == 0 => (vec!["--allow-outage", "--image", image], 5000),
                _ => (vec!["--allow-outage", "--no-expiry"], 2000),
            };
            let child = shop.start(fault, on, "1s", &more);
            tokio::time::sleep(Duration::from_millis(random.random_range(0..within))).await;
            kill(child);
            mended += usize::from(!shop.is_as_before().await);
            // From where it was injected, or from elsewhere.
            let elsewhere = tempfile::tempdir().unwrap();
            let folder = if random.random_range(0..2) == 0 { elsewhere.path() } else { shop.folder.path() };
            let (code, told) = shop.heal(folder, &[]);
            assert_eq!(code, 0, "{time}: {told}");
            assert!(shop.is_as_before().await, "{time}: {fault} on {on}: {told}");
        }
        let (code, told) = shop.heal(shop.folder.path(), &[]);
        assert_eq!(code, 0, "{told}");
        eprintln!("{mended} of {times} left something behind");
        assert!(mended > 0 || times < 10, "it was never killed while a fault was on");
        let web = [shop.named("Deployment")];
        wait::ready(&shop.cluster, &web, Duration::from_secs(180), &|_| ()).await.unwrap();
        assert!(shop.is_as_before().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_heals_when_nobody_else_does() {
    let Some(image) = sre_image() else { return };
    in_shop("fault-guard", |shop| async move {
        for (fault, on, kind) in
            [("broken-readiness", "deployment/web", "Deployment"), ("wrong-port", "service/web", "Service")]
        {
            let mut child = shop.start(fault, on, "2s", &["--allow-outage", "--image", &image]);
            shop.injected(kind, &mut child).await;
            kill(child);
            assert!(!shop.is_as_before().await);
            let started = Instant::now();
            while !shop.is_as_before().await {
                assert!(started.elapsed() < Duration::from_secs(40), "the guard did not heal {fault}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helpers_end_and_a_network_that_enforces_nothing_is_found_out() {
    let Some(image) = sre_image() else { return };
    in_shop("fault-help", |shop| async move {
        let output =
            shop.inject("cpu-pressure=2%", "deployment/web", "2s", &["--image", &image]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        shop.assert_as_before().await;
        // On a network that enforces policies it is injected and undone; on one that does not it is refused.
        let cut = shop.inject("network-cut", "deployment/web", "3s", &["--allow-outage", "--image", &image]);
        let output = { cut }.output().unwrap();
        match output.status.code() {
            Some(0) => {}
            Some(5) => assert!(text(&output).contains("enforces no NetworkPolicy"), "{}", text(&output)),
            other => panic!("{other:?}: {}", text(&output)),
        }
        shop.assert_as_before().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_service_is_switched_and_runs_out_of_memory() {
    let Some(image) = sre_image() else { return };
    in_shop("fault-app", |shop| async move {
        shop.add("app", &APP.replace("IMAGE", &image)).await;
        let pods = shop.list("v1", "Pod", "app=app").await;
        let first = pods.iter().filter_map(|pod| pod.metadata.name.clone()).min().unwrap();
        let switches = || async {
            let forward = Forward::to_pod(&shop.cluster, &shop.namespace, &first, 9090).await.unwrap();
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let answer = client.get(forward.url().join("faults").unwrap()).send().await.unwrap();
            answer.json::<Value>().await.unwrap()
        };
        let child = shop.start("latency=700ms", "deployment/app", "10m", &["--replicas", "0", "--no-expiry"]);
        let started = Instant::now();
        while switches().await["latency_ms"] != 700 {
            assert!(started.elapsed() < Duration::from_secs(60), "it is not switched on");
        }
        // Killed, it is undone from elsewhere.
        kill(child);
        let elsewhere = tempfile::tempdir().unwrap();
        let (code, told) = shop.heal(elsewhere.path(), &[]);
        assert_eq!((code, told.contains("healed latency 700ms")), (0, true), "{told}");
        assert_eq!(switches().await["latency_ms"], 0);

        let more = ["--image", &image];
        let output = shop.inject("memory-pressure=100%", "deployment/app", "2s", &more).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert_eq!(shop.restarts("app=app").await, 1);
        let reasons: Vec<Value> = shop
            .list("v1", "Pod", "app=app")
            .await
            .iter()
            .map(|pod| {
                pod.data["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"].clone()
            })
            .collect();
        assert!(reasons.contains(&Value::from("OOMKilled")), "{reasons:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_paused_and_goes_on() {
    let Some(image) = needs::variable("cluster", "SRE_TEST_REDIS_IMAGE", "image of Redis") else { return };
    in_shop("fault-redis", |shop| async move {
        shop.add("redis", &REDIS.replace("IMAGE", &image)).await;
        let pod = shop.list("v1", "Pod", "app=redis").await[0].metadata.name.clone().unwrap();
        let pings = || async {
            let forward = Forward::to_pod(&shop.cluster, &shop.namespace, &pod, 6379).await.unwrap();
            let mut stream = tokio::net::TcpStream::connect(forward.address()).await.unwrap();
            stream.write_all(b"PING\r\n").await.unwrap();
            let mut answer = [0; 5];
            let read = tokio::time::timeout(Duration::from_millis(700), stream.read_exact(&mut answer)).await;
            matches!(read, Ok(Ok(_))) && &answer == b"+PONG"
        };
        assert!(pings().await);
        for killed in [false, true] {
            let more = ["--allow-outage", "--no-expiry"];
            let mut child = shop.start("redis-pause", "deployment/redis", "6s", &more);
            let started = Instant::now();
            while pings().await {
                assert!(started.elapsed() < Duration::from_secs(60), "it is not paused");
            }
            if killed {
                child.kill().unwrap();
            }
            let code = child.wait().unwrap().code();
            assert_eq!(code, if killed { None } else { Some(0) });
            let gone = Instant::now();
            while !pings().await {
                assert!(gone.elapsed() < Duration::from_secs(6), "it does not go on");
            }
            let (code, told) = shop.heal(shop.folder.path(), &[]);
            assert_eq!(code, 0, "{told}");
        }
    })
    .await;
}

/// On a cluster of one's own: what else runs there is moved. `SRE_TEST_NODE` names the node.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_cordoned_and_drained_and_takes_pods_again() {
    let Some(node) = needs::variable("cluster", "SRE_TEST_NODE", "node that may be drained") else { return };
    in_shop("fault-node", |shop| async move {
        let object = ObjectRef { namespace: None, name: node.clone(), ..shop.named("Node") };
        let (api, _) = shop.cluster.api(&object, "default").await.unwrap().unwrap();
        let before = content(&api.get(&node).await.unwrap());
        let on = format!("node/{node}");
        for fault in ["cordon", "drain"] {
            let more = ["--allow-outage", "--no-expiry"];
            let output = shop.inject(fault, &on, "3s", &more).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{fault}: {}", text(&output));
            assert_eq!(content(&api.get(&node).await.unwrap()), before, "{fault}");
            assert_eq!(shop.ready().await, 2);
        }
        let child = shop.start("cordon", &on, "10m", &["--no-expiry"]);
        let started = Instant::now();
        while content(&api.get(&node).await.unwrap()) == before {
            assert!(started.elapsed() < Duration::from_secs(60), "it is not cordoned");
        }
        kill(child);
        let (code, told) = shop.heal(tempfile::tempdir().unwrap().path(), &[]);
        assert_eq!(code, 0, "{told}");
        assert_eq!(content(&api.get(&node).await.unwrap()), before);
    })
    .await;
}
