//! An API server of the tests' own, in memory: it serves the few kinds that faults are about, and runs nothing. What
//! controllers do there is the test's to do: so a fault is seen at moments at which a real cluster cannot be held, such as
//! when its guard is made and does not run yet. On a real one faults are tested in `tests/cluster_fault.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::client::Cluster;
use crate::fault::kubernetes::{ANNOTATION, Record};
use crate::target::Lab;

/// Group, version, plural, kind, and whether it is in namespaces.
const KINDS: [(&str, &str, &str, &str, bool); 22] = [
    ("", "v1", "namespaces", "Namespace", false),
    ("", "v1", "nodes", "Node", false),
    ("", "v1", "pods", "Pod", true),
    ("", "v1", "services", "Service", true),
    ("", "v1", "serviceaccounts", "ServiceAccount", true),
    ("apps", "v1", "deployments", "Deployment", true),
    ("apps", "v1", "statefulsets", "StatefulSet", true),
    ("apps", "v1", "daemonsets", "DaemonSet", true),
    ("apps", "v1", "replicasets", "ReplicaSet", true),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false),
    ("batch", "v1", "jobs", "Job", true),
    ("coordination.k8s.io", "v1", "leases", "Lease", true),
    ("monitoring.coreos.com", "v1", "prometheuses", "Prometheus", true),
    ("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule", true),
    ("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor", true),
    ("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor", true),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", true),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", true),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false),
];

/// The server, as long as it lives, and what is in it.
pub struct Fake {
    /// A connection to it.
    pub cluster: Cluster,
    held: Held,
    _folder: tempfile::TempDir,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Held(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    /// By path.
    objects: BTreeMap<String, Value>,
    /// Paths of what nobody may delete.
    kept: BTreeSet<String>,
    /// Namespaces that are gone: nothing can be made in them.
    lost_namespaces: BTreeSet<String>,
    changes: u64,
    /// What was deleted or patched: the method and the path.
    done: Vec<(String, String)>,
    /// The time that answers tell, where it is not this machine's.
    time: Option<jiff::Timestamp>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    /// A server with these objects.
    pub async fn new(objects: &[Value]) -> Fake {
        let held = Held::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(held.clone());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("config");
        let text = format!(
            "{{apiVersion: v1, kind: Config, clusters: [{{name: fake, cluster: {{server: 'http://{address}'}}}}], \
             users: [{{name: fake, user: {{}}}}], contexts: [{{name: fake, context: {{cluster: fake, user: fake}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).expect("written");
        held.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "fake"}}));
        objects.iter().for_each(|object| held.put(object.clone()));
        let cluster = Cluster::connect(Some(&kubeconfig), Some("fake")).await.expect("it answers");
        Fake { cluster, held, _folder: folder, server }
    }

    /// A server with a workload of three pods on two nodes.
    pub async fn shop() -> Fake {
        let web = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}}, "status": {"readyReplicas": 3},
        });
        let node =
            |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}});
        let pods = [pod("web-0", "first"), pod("web-1", "second"), pod("web-2", "second")];
        Fake::new(&[&[web, node("first"), node("second")], &pods[..]].concat()).await
    }

    /// A server with a Deployment in `shop` that a fault of somebody else is on.
    pub async fn disturbed() -> Fake {
        let until = jiff::Timestamp::now() + std::time::Duration::from_secs(600);
        let record = Record::new("one", "scale-to-zero on Deployment shop/web", until, Vec::new());
        let web = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {ANNOTATION: record.annotation()}},
        });
        Fake::new(&[web]).await
    }

    /// Puts an object there, in the place of the one of its name.
    pub fn put(&self, object: Value) {
        self.held.put(object);
    }

    /// Puts an object there a moment later, as a controller would.
    pub fn put_soon(&self, object: Value) {
        let held = self.held.clone();
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(600)).await;
            held.put(object);
        });
    }

    /// The object of a path below its group's version: `namespaces/shop/pods/web`.
    pub fn get(&self, path: &str) -> Option<Value> {
        let content = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        content.objects.iter().find(|(known, _)| known.ends_with(&format!("/{path}"))).map(|(_, o)| o.clone())
    }

    /// All objects, by their paths.
    pub fn all(&self) -> BTreeMap<String, Value> {
        self.held.0.lock().unwrap_or_else(PoisonError::into_inner).objects.clone()
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: &str) -> usize {
        let content = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        content.objects.values().filter(|object| object["kind"] == kind).count()
    }

    /// What was deleted or patched: the method and the path.
    pub fn done(&self) -> Vec<(String, String)> {
        self.held.0.lock().unwrap_or_else(PoisonError::into_inner).done.clone()
    }

    /// From now on its answers tell this time.
    pub fn set_time(&self, time: jiff::Timestamp) {
        self.held.0.lock().unwrap_or_else(PoisonError::into_inner).time = Some(time);
    }

    /// From now on nobody may delete this object.
    pub fn keep(&self, object: &Value) {
        self.held.0.lock().unwrap_or_else(PoisonError::into_inner).kept.insert(path_of(object));
    }

    /// From now on nothing can be made in this namespace, as in one that was deleted.
    pub fn lose_namespace(&self, name: &str) {
        let mut content = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        content.lost_namespaces.insert(name.into());
    }

    /// A lab that is up in the namespace `shop`, without endpoints.
    pub fn lab(&self) -> Lab {
        let kubeconfig = self.cluster.kubeconfig();
        serde_json::from_value(json!({
            "schema": crate::target::LAB_SCHEMA, "stack": "users-api", "target": "cluster", "parameters": {},
            "complete": true, "endpoints": crate::target::Endpoints::default(), "processes": [], "versions": {},
            "cluster": {"context": "fake", "kubeconfig": kubeconfig, "identity": "fake", "namespace": "shop",
                "endpoints": crate::stack::ClusterEndpoints::default()},
        }))
        .expect("a lab")
    }
}

/// A pod of the workload of [`Fake::shop`].
pub fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "web", "controller": true},
        ]},
        "spec": {"nodeName": node, "containers": [{"name": "web"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

impl Held {
    fn put(&self, mut object: Value) {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        content.changes += 1;
        object["metadata"]["resourceVersion"] = json!(content.changes.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", content.changes));
        }
        content.objects.insert(path_of(&object), object);
    }
}

fn path_of(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    let plural = KINDS.iter().find(|known| known.3 == kind).map(|known| known.2).expect("a known kind");
    let root = if version.contains('/') { "apis" } else { "api" };
    let namespace = match text("/metadata/namespace") {
        none if none.is_empty() => none,
        namespace => format!("namespaces/{namespace}/"),
    };
    format!("/{root}/{version}/{namespace}{plural}/{}", text("/metadata/name"))
}

async fn answer(
    State(held): State<Held>,
    Query(query): Query<BTreeMap<String, String>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let path = uri.path();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (method.as_str(), path) {
        ("GET", "/version") => {
            let mut answer =
                Json(json!({"major": "1", "minor": "35", "gitVersion": "v1.35.0"})).into_response();
            if let Some(time) = held.0.lock().unwrap_or_else(PoisonError::into_inner).time {
                let date = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
                answer.headers_mut().insert("date", date.parse().expect("a date"));
            }
            return answer;
        }
        ("GET", "/api" | "/apis") => return Json(discovery(path == "/api")).into_response(),
        _ => {}
    }
    let mut content = held.0.lock().unwrap_or_else(PoisonError::into_inner);
    let is_list = KINDS.iter().any(|known| path.rsplit('/').next() == Some(known.2));
    match method.as_str() {
        "GET" if is_list => Json(json!({
            "apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": content.changes.to_string()},
            "items": content.listed(path, &query),
        }))
        .into_response(),
        "GET" => content
            .objects
            .get(path)
            .map_or_else(|| failure(404), |object| Json(object.clone()).into_response()),
        "DELETE" if content.kept.contains(path) => failure(403),
        "DELETE"
            if !body["preconditions"]["uid"].is_null()
                && content
                    .objects
                    .get(path)
                    .is_some_and(|object| object["metadata"]["uid"] != body["preconditions"]["uid"]) =>
        {
            failure(409)
        }
        "DELETE" => match content.objects.remove(path) {
            Some(_) => {
                content.done.push(("DELETE".into(), path.to_owned()));
                Json(json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"}))
                    .into_response()
            }
            None => failure(404),
        },
        "PATCH" => {
            let Some(mut object) = content.objects.get(path).cloned() else { return failure(404) };
            let patch: json_patch::Patch = serde_json::from_value(body).expect("a JSON patch");
            if json_patch::patch(&mut object, &patch).is_err() {
                return failure(409);
            }
            content.done.push(("PATCH".into(), path.to_owned()));
            drop(content);
            held.put(object.clone());
            Json(object).into_response()
        }
        "POST" => {
            let namespace = body["metadata"]["namespace"].as_str().unwrap_or_default();
            if content.lost_namespaces.contains(namespace) {
                return failure(404);
            }
            if content.objects.contains_key(&path_of(&body)) {
                return failure(409);
            }
            drop(content);
            held.put(body.clone());
            let content = held.0.lock().unwrap_or_else(PoisonError::into_inner);
            Json(content.objects[&path_of(&body)].clone()).into_response()
        }
        _ => failure(405),
    }
}

impl Content {
    fn listed(&self, path: &str, query: &BTreeMap<String, String>) -> Vec<Value> {
        let (above, plural) = path.rsplit_once('/').expect("a plural");
        let wanted = |object: &Value| {
            let labels = query.get("labelSelector").into_iter().flat_map(|all| all.split(','));
            let fields = query.get("fieldSelector").into_iter().flat_map(|all| all.split(','));
            labels.filter(|label| !label.is_empty()).all(|label| match label.split_once('=') {
                Some((key, value)) => object["metadata"]["labels"][key] == value,
                None => !object["metadata"]["labels"][label].is_null(),
            }) && fields.filter(|field| !field.is_empty()).all(|field| {
                let (key, value) = field.split_once('=').expect("a field and its value");
                object.pointer(&format!("/{}", key.replace('.', "/"))).and_then(Value::as_str) == Some(value)
            })
        };
        let is_here = |known: &str| {
            let (folder, _) = known.rsplit_once('/').expect("a path");
            known.starts_with(&format!("{above}/")) && folder.ends_with(&format!("/{plural}"))
        };
        self.objects.iter().filter(|(known, o)| is_here(known) && wanted(o)).map(|(_, o)| o.clone()).collect()
    }
}

fn discovery(core: bool) -> Value {
    let mut groups: Vec<&str> =
        KINDS.iter().map(|known| known.0).filter(|group| group.is_empty() == core).collect();
    groups.dedup();
    let resource = |(group, version, plural, kind, namespaced): &(&str, &str, &str, &str, bool)| {
        json!({
            "resource": plural, "singularResource": kind.to_lowercase(), "verbs": ["get", "list", "create", "delete", "patch"],
            "responseKind": {"group": group, "version": version, "kind": kind},
            "scope": if *namespaced { "Namespaced" } else { "Cluster" },
        })
    };
    let group = |group: &&str| {
        let of: Vec<Value> = KINDS.iter().filter(|known| known.0 == *group).map(resource).collect();
        json!({"metadata": {"name": group}, "versions": [{"version": "v1", "resources": of, "freshness": "Current"}]})
    };
    let items: Vec<Value> = groups.iter().map(group).collect();
    json!({"apiVersion": "apidiscovery.k8s.io/v2", "kind": "APIGroupDiscoveryList", "items": items})
}

fn failure(code: u16) -> Response {
    let body = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": format!("fake {code}"), "reason": "Fake", "code": code});
    (StatusCode::from_u16(code).expect("a code"), Json(body)).into_response()
}
