//! `sre inspect` on a real cluster of three zones, named by `SRE_TEST_KUBECONFIG`: real Prometheus, kube-state-metrics,
//! Traefik, Redis and redis_exporter. ingress-nginx and whereami cannot be had where these tests were made: stand-ins
//! give their metrics' names. The manifests, with the images that the nodes must have, are in `tests/inspect/`.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{in_namespace, kubeconfig};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use sre::target::kubernetes::apply::{Mode, apply, delete, ensure_namespace};
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::object::{ObjectRef, read_objects};

/// How long objects and figures may take to be there.
const BOUND: Duration = Duration::from_secs(180);

/// A guestbook and its monitoring, in two namespaces.
#[derive(Clone)]
struct Guestbook {
    cluster: Cluster,
    namespace: String,
    folder: PathBuf,
}

/// What `sre inspect` ended with.
struct Seen {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }
}

impl Guestbook {
    fn monitoring(&self) -> String {
        format!("{}-monitoring", self.namespace)
    }

    async fn apply(&self, text: &str) {
        let text = text.replace("NAMESPACE", &self.namespace);
        let objects = read_objects("test.yaml", &text).unwrap();
        apply(&self.cluster, &self.namespace, &objects, Mode::Write).await.unwrap();
    }

    async fn is_ready(&self) -> Option<String> {
        for namespace in [self.namespace.clone(), self.monitoring()] {
            let api: Api<Deployment> = Api::namespaced(self.cluster.client(), &namespace);
            for deployment in api.list(&ListParams::default()).await.unwrap() {
                let wanted = deployment.spec.as_ref().unwrap().replicas;
                if deployment.status.as_ref().and_then(|status| status.available_replicas) != wanted {
                    return Some(deployment.metadata.name.unwrap());
                }
            }
        }
        None
    }

    /// A kubeconfig of a ServiceAccount that may do what these rules say, in the whole cluster.
    async fn user(&self, name: &str, rules: Value) -> PathBuf {
        let role = format!("{}-{name}", self.namespace);
        self.apply(
            &[
                json!({"apiVersion": "v1", "kind": "ServiceAccount",
                       "metadata": {"name": name, "namespace": self.namespace}}),
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                       "metadata": {"name": role}, "rules": rules}),
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                       "metadata": {"name": role},
                       "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                       "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}]}),
            ]
            .map(|object| object.to_string())
            .join("\n---\n"),
        )
        .await;
        let api: Api<ServiceAccount> = Api::namespaced(self.cluster.client(), &self.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let token = api.create_token_request(name, &PostParams::default(), &request).await.unwrap();
        let text = std::fs::read_to_string(kubeconfig().unwrap()).unwrap();
        let mut config: Value = serde_saphyr::from_str(&text).unwrap();
        let context = self.cluster.context();
        let contexts = config["contexts"].as_array_mut().unwrap();
        let context = contexts.iter_mut().find(|known| known["name"] == context).unwrap();
        context["context"]["user"] = json!("tested");
        config["users"] = json!([{"name": "tested", "user": {"token": token.status.unwrap().token}}]);
        let path = self.folder.join(format!("{name}.json"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    fn inspect(&self, kubeconfig: &Path, arguments: &[&str]) -> Seen {
        let output = Command::new(env!("CARGO_BIN_EXE_sre"))
            .args(["inspect", self.cluster.context(), &self.namespace])
            .args(arguments)
            .current_dir(&self.folder)
            .env("KUBECONFIG", kubeconfig)
            .env_remove("SRE_TARGET")
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Seen { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Asks until all is seen, and every Redis is up: rates need some scrapes.
    fn wholly(&self, kubeconfig: &Path, arguments: &[&str]) -> Seen {
        let deadline = Instant::now() + BOUND;
        loop {
            let seen = self.inspect(kubeconfig, arguments);
            if seen.code == 0 && !seen.stdout.contains("Redis does not answer its exporter") {
                return seen;
            }
            assert!(Instant::now() < deadline, "never seen wholly:\n{}\n{}", seen.stdout, seen.stderr);
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    async fn scale(&self, deployment: &str, replicas: u32) {
        let api: Api<Deployment> = Api::namespaced(self.cluster.client(), &self.monitoring());
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        api.patch_scale(deployment, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Removes what is in no namespace of the test's own, and the namespace that `in_namespace` does not know of.
    async fn clear(&self) {
        for kind in ["ClusterRole", "ClusterRoleBinding"] {
            let served = self.cluster.kind("rbac.authorization.k8s.io", "v1", kind).await.unwrap().unwrap();
            let api: Api<DynamicObject> = self.cluster.api_of(&served, "");
            for object in api.list(&ListParams::default()).await.unwrap() {
                let name = object.metadata.name.unwrap();
                if name.starts_with(&self.namespace) {
                    api.delete(&name, &DeleteParams::default()).await.unwrap();
                }
            }
        }
        let _ = delete(&self.cluster, &ObjectRef::of_namespace(&self.monitoring())).await;
    }
}

/// The rules of the ClusterRole that the documentation asks for.
fn documented_rules() -> Value {
    let page = include_str!("../docs/inspect.md");
    let role = page.split("```yaml\n").find(|block| block.contains("kind: ClusterRole\n")).unwrap();
    let role: Value = serde_saphyr::from_str(role.split("```").next().unwrap()).unwrap();
    role["rules"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guestbook_is_seen_with_no_more_rights_than_are_documented() {
    let Some(admin) = kubeconfig() else { return };
    in_namespace("inspect", |cluster, namespace| async move {
        let folder = tempfile::tempdir().unwrap();
        let guestbook = Guestbook { cluster, namespace, folder: folder.path().to_owned() };
        let there = ensure_namespace(&guestbook.cluster, &guestbook.monitoring(), Mode::Write).await.unwrap();
        assert!(there, "the namespace is new");
        let body = tokio::spawn(look(guestbook.clone(), admin));
        let result = body.await;
        guestbook.clear().await;
        if let Err(error) = result {
            std::panic::resume_unwind(error.into_panic());
        }
    })
    .await;
}

async fn look(guestbook: Guestbook, admin: PathBuf) {
    guestbook.apply(include_str!("inspect/monitoring.yaml")).await;
    guestbook.apply(include_str!("inspect/guestbook.yaml")).await;
    let deadline = Instant::now() + BOUND;
    while let Some(name) = guestbook.is_ready().await {
        assert!(Instant::now() < deadline, "Deployment {name} is not available");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    // With exactly the rights of the documentation, everything is seen.
    let reader = guestbook.user("reader", documented_rules()).await;
    let place = format!("{}/prometheus-server:80", guestbook.monitoring());
    let seen = guestbook.wholly(&reader, &["-o", "json", "--prometheus", &place]).json();
    everything(&seen, &place);
    for format in ["table", "markdown"] {
        let shown = guestbook.wholly(&reader, &["-o", format, "--prometheus", &place]);
        eprintln!("{}", shown.stdout);
        for part in ["Redis", "frontend", "lab-b", "whereami", "traefik", "ingress-nginx"] {
            assert!(shown.stdout.contains(part), "{part} is missing: {}", shown.stdout);
        }
    }

    // Prometheus is found by its labels. Others of the cluster may scrape annotated pods of every namespace.
    let found = guestbook.inspect(&reader, &["-o", "json", "--parts", "redis"]).json();
    let ours = found["prometheus"]["place"] == place || found["notes"].to_string().contains(&place);
    assert!(ours, "it is not among those found: {found}");

    rights(&guestbook, &place).await;

    // Where Prometheus is gone, the cluster and its pods are shown all the same.
    guestbook.scale("prometheus", 0).await;
    let deadline = Instant::now() + BOUND;
    let gone = loop {
        let seen = guestbook.inspect(&admin, &["-o", "json", "--prometheus", &place]);
        if seen.code == 3 {
            break seen.json();
        }
        assert!(Instant::now() < deadline, "Prometheus is still there: {}", seen.stdout);
    };
    assert!(gone["prometheus"]["missing"].as_str().unwrap().contains("no endpoints available"), "{gone}");
    assert_eq!(gone["cluster"]["nodes"]["total"], 3, "{gone}");
    assert_eq!(gone["pods"]["source"], "the API server", "{gone}");
    for part in ["ingress", "whereami", "redis"] {
        assert!(gone[part]["missing"].is_string(), "{part}: {gone}");
    }
}

fn everything(seen: &Value, place: &str) {
    assert!(seen["cluster"]["version"].as_str().unwrap().starts_with('v'), "{seen}");
    assert_eq!(seen["cluster"]["nodes"], json!({"total": 3, "ready": 3, "zones": 3}), "{seen}");
    assert_eq!(seen["prometheus"]["place"], place, "{seen}");
    assert_eq!(seen["prometheus"]["way"], "by the API server's proxy", "{seen}");

    let ingress = seen["ingress"].as_array().unwrap();
    assert_eq!(ingress.len(), 2, "{seen}");
    for one in ingress {
        let traffic = one["traffic"].as_array().unwrap();
        assert_eq!(traffic.len(), 2, "all, and the namespace's: {one}");
        assert!(traffic.iter().all(|row| row["rates"]["per_second"].as_f64().unwrap() > 0.5), "{one}");
        assert!(
            traffic.iter().all(|row| row["latency"]["quantiles"].as_array().unwrap().len() == 5),
            "{one}"
        );
    }
    let nginx = &ingress[0]["traffic"][1];
    assert!((nginx["rates"]["non_5xx"].as_f64().unwrap() - 0.9).abs() < 0.02, "{nginx}");
    assert!(nginx["warnings"][0]["what"].as_str().unwrap().contains("failed (5xx)"), "{nginx}");
    assert_eq!(ingress[1]["traffic"][0]["rates"]["ok_2xx"], 1.0, "{seen}");
    assert_eq!(seen["whereami"]["rates"]["ok_2xx"], 1.0, "{seen}");

    let pods = &seen["pods"];
    assert_eq!(pods["source"], "the API server", "{seen}");
    spread(pods);
    let redis = seen["redis"].as_array().unwrap();
    let roles: Vec<&str> = redis.iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["slave", "slave", "master"], "{seen}");
    let leader = &redis[2]["figures"];
    let figure = |name: &str| leader.as_array().unwrap().iter().find(|f| f["name"] == name).unwrap();
    assert!(figure("throughput")["value"].as_f64().unwrap() > 1.0, "{leader}");
    assert!(figure("hit ratio")["value"].as_f64().unwrap() > 0.9, "{leader}");
    assert!(figure("memory fragmentation")["text"].as_str().unwrap().contains("nearly empty"), "{leader}");
}

fn spread(pods: &Value) {
    let workload = |name: &str| {
        pods["workloads"]
            .as_array()
            .unwrap()
            .iter()
            .find(|w| w["name"] == name)
            .unwrap_or_else(|| panic!("{pods}"))
    };
    assert_eq!(workload("frontend")["zones"], json!({"lab-a": 1, "lab-b": 1, "lab-c": 1}), "{pods}");
    assert_eq!(workload("frontend")["verdict"], "even", "{pods}");
    assert_eq!(workload("redis-follower")["verdict"], "one-zone", "{pods}");
    assert_eq!(workload("redis-leader")["verdict"], "one-pod", "{pods}");
    assert_eq!(workload("frontend")["kind"], "Deployment", "{pods}");
}

/// With other rights it does what can be done with them, and says what is missing.
async fn rights(guestbook: &Guestbook, place: &str) {
    // The narrow rights of the documentation: Prometheus' Service by its name, and nothing else of the cluster.
    let narrow = json!([{"apiGroups": [""], "resources": ["services/proxy"],
                         "resourceNames": ["prometheus-server:80"], "verbs": ["get"]}]);
    let narrow = guestbook.user("narrow", narrow).await;
    let seen = guestbook.wholly(&narrow, &["-o", "json", "--prometheus", place]).json();
    assert_eq!(seen["pods"]["source"], "kube-state-metrics", "{seen}");
    assert_eq!(seen["cluster"]["nodes"], Value::Null, "{seen}");
    spread(&seen["pods"]);

    // Without the proxy, by a port-forward.
    let forward = json!([
        {"apiGroups": [""], "resources": ["nodes", "pods", "services"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create", "get"]}]);
    let forward = guestbook.user("forward", forward).await;
    let seen = guestbook.wholly(&forward, &["-o", "json", "--prometheus", place]).json();
    assert_eq!(seen["prometheus"]["way"], "by a port-forward", "{seen}");

    // Without any right, all that is missing says why.
    let nobody = guestbook.user("nobody", json!([])).await;
    let seen = guestbook.inspect(&nobody, &["-o", "json", "--prometheus", place]);
    assert_eq!(seen.code, 3, "{}", seen.stdout);
    let seen = seen.json();
    assert!(seen["cluster"]["version"].is_string(), "{seen}");
    for part in ["prometheus", "pods"] {
        assert!(seen[part]["missing"].as_str().unwrap().contains("forbidden"), "{part}: {seen}");
    }
}
