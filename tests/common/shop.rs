//! A shop on a real cluster on which faults are injected: two replicas that serve, and everything around them as it was.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kube::core::DynamicObject;
use serde_json::Value;
use sre::fault::kubernetes::{ANNOTATION, LABEL};
use sre::target::kubernetes::apply::{Mode, apply};
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::object::{ObjectRef, read_objects};
use sre::target::kubernetes::wait;

use super::{disturbable, image, in_namespace, kubeconfig};

/// Two replicas that serve, with a Service and an Ingress before them.
const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {example.org/owner: shop}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: IMAGE
          imagePullPolicy: IfNotPresent
          command: [sh, -c, 'mkdir -p /tmp/w && echo hello >/tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w']
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
          resources: {limits: {memory: 32Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
    - host: shop.example.org
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
"#;

/// A shop in a namespace of its own, and a folder to work in.
pub struct Shop {
    pub cluster: Cluster,
    pub namespace: String,
    pub folder: tempfile::TempDir,
    /// What it was when it was opened.
    before: Vec<Value>,
    kubeconfig: PathBuf,
}

/// Runs a test in a shop of its own, which is removed at the end, also of a failed test.
pub async fn in_shop<F: Future<Output = ()> + Send>(
    test: &str,
    body: impl FnOnce(Shop) -> F + Send + 'static,
) {
    in_namespace(test, |cluster, namespace| async move { body(Shop::open(cluster, namespace).await).await })
        .await;
}

/// What a command wrote.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Shop {
    async fn open(cluster: Cluster, namespace: String) -> Shop {
        let objects = read_objects("shop.yaml", &SHOP.replace("IMAGE", &image())).unwrap();
        apply(&cluster, &namespace, &objects, Mode::Write).await.unwrap();
        let mut shop = Shop {
            cluster,
            namespace,
            folder: tempfile::tempdir().unwrap(),
            before: Vec::new(),
            kubeconfig: kubeconfig().unwrap(),
        };
        let web = [shop.named("Deployment")];
        wait::ready(&shop.cluster, &web, Duration::from_secs(120), &|_| ()).await.unwrap();
        shop.before = shop.now().await;
        shop
    }

    pub fn named(&self, kind: &str) -> ObjectRef {
        let api_version = match kind {
            "Deployment" => "apps/v1",
            "Ingress" => "networking.k8s.io/v1",
            _ => "v1",
        };
        ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Some(self.namespace.clone()),
            name: "web".into(),
        }
    }

    pub async fn get(&self, kind: &str) -> DynamicObject {
        let object = self.named(kind);
        let (api, _) = self.cluster.api(&object, &self.namespace).await.unwrap().unwrap();
        api.get(&object.name).await.unwrap()
    }

    /// Everything that faults could have changed, as it is now: without what the server and the controllers keep.
    pub async fn now(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for kind in ["Deployment", "Service", "Ingress"] {
            all.push(disturbable(&self.cluster, &self.named(kind)).await);
            all.push(owners(&self.get(kind).await));
        }
        all
    }

    /// Objects of a kind with this label selector, or all.
    pub async fn list(&self, api_version: &str, kind: &str, labels: &str) -> Vec<DynamicObject> {
        let object = ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Some(self.namespace.clone()),
            name: String::new(),
        };
        let (api, _) = self.cluster.api(&object, &self.namespace).await.unwrap().unwrap();
        api.list(&kube::api::ListParams::default().labels(labels)).await.unwrap().items
    }

    /// Applies a further Deployment, and waits for it.
    pub async fn add(&self, name: &str, text: &str) {
        let objects = read_objects("more.yaml", text).unwrap();
        apply(&self.cluster, &self.namespace, &objects, Mode::Write).await.unwrap();
        let object = ObjectRef { name: name.into(), ..self.named("Deployment") };
        wait::ready(&self.cluster, &[object], Duration::from_secs(120), &|_| ()).await.unwrap();
    }

    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).env("KUBECONFIG", &self.kubeconfig);
        for other in ["SRE_TARGET", "SRE_YES", "SRE_IMAGE", "SRE_NODE_STOP", "SRE_NODE_START"] {
            command.env_remove(other);
        }
        command
    }

    pub fn inject(&self, fault: &str, on: &str, lasts: &str, more: &[&str]) -> Command {
        let base =
            ["fault", "inject", fault, "--context", self.cluster.context(), "--namespace", &self.namespace];
        let rest = ["--on", on, "--for", lasts, "--yes"];
        self.command(self.folder.path(), &[&base[..], &rest, more].concat())
    }

    /// Injects a fault beside the test, for ten minutes, and waits until it is on an object of this kind.
    pub async fn disturb(&self, fault: &str, on: &str, kind: &str, more: &[&str]) -> Child {
        let mut child = self.start(fault, on, "10m", more);
        self.injected(kind, &mut child).await;
        child
    }

    /// Injects a fault beside the test.
    pub fn start(&self, fault: &str, on: &str, lasts: &str, more: &[&str]) -> Child {
        self.inject(fault, on, lasts, more).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Whether everything is as it was.
    pub async fn is_as_before(&self) -> bool {
        self.now().await == self.before
    }

    pub fn heal(&self, folder: &Path, more: &[&str]) -> (i32, String) {
        let base = ["heal", "--context", self.cluster.context(), "--namespace", &self.namespace];
        let output = self.command(folder, &[&base[..], more].concat()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap_or(-1), text + &String::from_utf8_lossy(&output.stderr))
    }

    /// Waits until the fault's annotation is on the object, and gives the record.
    pub async fn injected(&self, kind: &str, child: &mut Child) -> Value {
        let started = Instant::now();
        loop {
            let object = self.get(kind).await;
            if let Some(text) = object.metadata.annotations.unwrap_or_default().get(ANNOTATION) {
                return serde_json::from_str(text).unwrap();
            }
            assert_eq!(child.try_wait().unwrap(), None, "it ended before it injected anything");
            assert!(started.elapsed() < Duration::from_secs(90), "nothing was injected");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything is as it was, and nothing of a fault is left.
    pub async fn assert_as_before(&self) {
        assert_eq!(self.now().await, self.before);
        for set in self.list("apps/v1", "ReplicaSet", "app=web").await {
            assert!(!set.metadata.annotations.unwrap_or_default().contains_key(ANNOTATION));
        }
        let started = Instant::now();
        for (api_version, kind) in [("networking.k8s.io/v1", "NetworkPolicy"), ("batch/v1", "Job")] {
            loop {
                let left = self.list(api_version, kind, LABEL).await;
                if left.iter().all(|object| object.metadata.deletion_timestamp.is_some()) {
                    break;
                }
                assert!(started.elapsed() < Duration::from_secs(60), "{kind}: {left:?}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// How often containers of these pods were started again.
    pub async fn restarts(&self, labels: &str) -> i64 {
        let pods = self.list("v1", "Pod", labels).await;
        let of = |pod: &DynamicObject| pod.data["status"]["containerStatuses"][0]["restartCount"].as_i64();
        pods.iter().filter_map(of).sum()
    }

    pub async fn ready(&self) -> u64 {
        self.get("Deployment").await.data["status"]["readyReplicas"].as_u64().unwrap_or(0)
    }
}

/// Who owns which fields of an object, but for what controllers keep. Times are left out.
pub fn owners(object: &DynamicObject) -> Value {
    let entries = object.metadata.managed_fields.iter().flatten();
    let kept = entries.filter(|entry| entry.manager.as_deref() != Some("kube-controller-manager"));
    let mut owners: Vec<String> = kept
        .map(|entry| {
            let fields = entry.fields_v1.as_ref().map(|fields| sorted(&fields.0));
            format!("{:?} {:?} {:?} {fields:?}", entry.manager, entry.operation, entry.subresource)
        })
        .collect();
    owners.sort();
    owners.into()
}

/// A value with its keys in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut all: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(all.into_iter().collect())
        }
        other => other.clone(),
    }
}

/// `kill -9`.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
