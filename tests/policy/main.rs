//! What the shipped stacks put onto a cluster is least: every object is rendered, in every variant, and judged.
//!
//! The charts are rendered by helm: `SRE_TEST_HELM`, or `helm` on PATH. `SRE_TEST_CHARTS` names a folder with the real charts,
//! each a folder or a `.tgz` of the name and version that `sre` pins.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../support/needs.rs"]
mod needs;
mod restricted;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use restricted::{containers, pod_of, violations};
use serde_json::{Value, json};
use sre::catalog::Catalog;
use sre::interrupt::Interrupt;
use sre::target::TargetKind;
use sre::target::kubernetes::helm::Helm;
use sre::target::kubernetes::object::read_objects;
use sre::target::kubernetes::plan::{Action, PatchBody, Plan, Release};
use sre::tools::versions::Chart;

/// What the image of `sre` is called once it is loaded.
const OWN: &str = "docker.io/library/sre:test";

/// What does not pass `restricted`: the kind, a part of its name, what, and why it has to be so.
const UNRESTRICTED: [(&str, &str, &str, &str); 6] = [
    ("DaemonSet", "node-exporter", "hostNetwork", "it tells of the node's network"),
    ("DaemonSet", "node-exporter", "hostPID", "it tells of the node's processes"),
    ("DaemonSet", "node-exporter", "volume hostPath", "it tells of the node's disks"),
    ("DaemonSet", "collector", "volume hostPath", "the logs of pods are files of the node"),
    ("DaemonSet", "collector", "runAsNonRoot is not set", "the files of logs belong to root, mode 0640"),
    ("DaemonSet", "collector", "runAsUser 0", "the files of logs belong to root, mode 0640"),
];

/// What may read Secrets in every namespace, and why.
const READERS: [(&str, &str); 1] = [(
    "operator",
    "the chart gives the operator no other way to keep Prometheus' and Alertmanager's configurations, which are Secrets",
)];

/// Workloads that no NetworkPolicy guards, and why.
const OPEN: [(&str, &str); 6] = [
    ("users-api", "the load comes from outside, by a node's port"),
    ("frontend", "the load comes from outside, by the ingress, which may be in any namespace"),
    ("whereami", "the load comes from outside, by the ingress, which may be in any namespace"),
    ("node-exporter", "it is in the node's network, where no policy holds"),
    ("admission", "the API server asks it"),
    ("operator", "nobody but the API server and Prometheus has anything to ask of it"),
];

/// A stack in one of its variants.
struct Variant {
    stack: &'static str,
    set: &'static [(&'static str, &'static str)],
}

const VARIANTS: [Variant; 7] = [
    Variant { stack: "users-api", set: &[] },
    Variant { stack: "users-api", set: &[("grafana", "true")] },
    Variant { stack: "users-api", set: &[("discovery", "annotations")] },
    Variant { stack: "users-api", set: &[("discovery", "static"), ("logs", "false")] },
    Variant { stack: "guestbook", set: &[("ingress", "nginx")] },
    Variant { stack: "guestbook", set: &[("ingress", "traefik")] },
    Variant { stack: "guestbook", set: &[("ingress", "traefik"), ("grafana", "true")] },
];

impl Variant {
    fn name(&self) -> String {
        format!("{} {:?}", self.stack, self.set)
    }

    fn plan(&self) -> Plan {
        let nowhere = tempfile::tempdir().unwrap();
        let set: Vec<_> = self.set.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let loaded = Catalog::at(nowhere.path()).stack_on(TargetKind::Cluster, self.stack, &set).unwrap();
        let mut plan = loaded.plan().unwrap().unwrap();
        plan.name_images(&IndexMap::from([("sre".to_owned(), OWN.to_owned())]));
        plan
    }

    /// What it applies, each with its namespace.
    fn objects(&self) -> Vec<Value> {
        let home = match self.stack {
            "users-api" => "users-api",
            _ => "guestbook",
        };
        let mut objects = Vec::new();
        for step in self.plan().steps {
            let Action::Apply(applied) = step.action else { continue };
            objects.extend(applied.iter().map(|object| placed(serde_json::to_value(object).unwrap(), home)));
        }
        objects
    }

    fn releases(&self) -> Vec<Release> {
        let releases = self.plan().steps.into_iter().filter_map(|step| match step.action {
            Action::Chart(release) => Some(release),
            _ => None,
        });
        releases.collect()
    }
}

fn placed(mut object: Value, namespace: &str) -> Value {
    if object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What is wrong with objects that are on a cluster together, but for what has to be so.
fn wrong(objects: &[Value]) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    for object in objects {
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        for violation in violations(object) {
            let is = |known: &&(&str, &str, &str, &str)| {
                known.0 == kind && name.contains(known.1) && violation.ends_with(known.2)
            };
            if !UNRESTRICTED.iter().any(|known| is(&known)) {
                wrong.insert(format!("{kind} {name} is not restricted: {violation}"));
            }
        }
        if ["ClusterRole", "Role"].contains(&kind) {
            for rule in object["rules"].as_array().into_iter().flatten() {
                wrong.extend(of_rule(kind, name, rule));
            }
        }
        if let Some(pod) = pod_of(object) {
            wrong.extend(secrets_in(pod).into_iter().map(|what| format!("{kind} {name}: {what}")));
            if !is_guarded(object, objects) {
                wrong.insert(format!("{kind} {name}: no NetworkPolicy says who may reach it"));
            }
        }
    }
    wrong
}

fn of_rule(kind: &str, name: &str, rule: &Value) -> Vec<String> {
    let list = |key: &str| rule[key].as_array().cloned().unwrap_or_default();
    let (groups, resources) = (list("apiGroups"), list("resources"));
    let reads_secrets = groups.iter().any(|group| group == "" || group == "*")
        && resources.iter().any(|resource| resource == "secrets" || resource == "*")
        && list("verbs").iter().any(|verb| ["get", "list", "watch", "*"].iter().any(|known| verb == known));
    let mut found = Vec::new();
    let may = READERS.iter().any(|(reader, _)| name.contains(reader));
    if kind == "ClusterRole" && reads_secrets && rule["resourceNames"].is_null() && !may {
        found.push(format!("ClusterRole {name} reads the Secrets of every namespace"));
    }
    if groups.iter().any(|group| group == "*") || (resources.iter().any(|resource| resource == "*") && !may) {
        found.push(format!("{kind} {name} has a rule about everything: {rule}"));
    }
    found
}

/// Passwords that stand where others than their program see them.
fn secrets_in(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for container in containers(pod) {
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = text(variable, "/name");
            let is_secret = ["PASSWORD", "AUTH", "TOKEN", "SECRET"].iter().any(|word| name.contains(word));
            // Grafana's own names of files and switches.
            if is_secret && !text(variable, "/value").is_empty() && !name.ends_with("__FILE") {
                found.push(format!("{name} is written into its description"));
            }
        }
        for argument in
            ["command", "args"].iter().flat_map(|key| container[*key].as_array().into_iter().flatten())
        {
            let argument = argument.as_str().unwrap_or_default();
            if ["requirepass", "masterauth", "password="].iter().any(|word| argument.contains(word)) {
                found.push(format!("a password is an argument: {argument}"));
            }
        }
    }
    found
}

/// Whether a policy says who may reach a workload's pods, or nothing has to.
fn is_guarded(object: &Value, all: &[Value]) -> bool {
    let name = text(object, "/metadata/name");
    if OPEN.iter().any(|(open, _)| name.contains(open)) || !listens(object) {
        return true;
    }
    let mut labels = match object["kind"].as_str() {
        Some("Pod") => object["metadata"]["labels"].clone(),
        _ => object.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default(),
    };
    // As the operator labels what it makes of them.
    match object["kind"].as_str() {
        Some("Prometheus") => labels = json!({"app.kubernetes.io/name": "prometheus"}),
        Some("Alertmanager") => labels = json!({"app.kubernetes.io/name": "alertmanager"}),
        _ => {}
    }
    all.iter().any(|policy| {
        policy["kind"] == "NetworkPolicy"
            && policy["metadata"]["namespace"] == object["metadata"]["namespace"]
            && policy["spec"]["policyTypes"].as_array().is_some_and(|types| types.contains(&json!("Ingress")))
            && selects(&policy["spec"]["podSelector"], &labels)
    })
}

/// Whether anybody could reach anything in it.
fn listens(object: &Value) -> bool {
    let pod = pod_of(object).unwrap_or(&Value::Null);
    matches!(object["kind"].as_str(), Some("Prometheus" | "Alertmanager"))
        || containers(pod)
            .any(|container| container["ports"].as_array().is_some_and(|ports| !ports.is_empty()))
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let same =
        selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value);
    let among = |expression: &Value| {
        assert_eq!(expression["operator"], "In", "this test knows no other: {expression}");
        let key = text(expression, "/key");
        expression["values"].as_array().into_iter().flatten().any(|value| labels[key] == *value)
    };
    same && selector["matchExpressions"].as_array().into_iter().flatten().all(among)
}

/// Holds for every variant.
fn assert_least(rendered: impl Fn(&Variant) -> Vec<Value>) {
    for variant in &VARIANTS {
        let objects = rendered(variant);
        assert_eq!(wrong(&objects), BTreeSet::new(), "{}", variant.name());
    }
}

#[test]
fn what_the_stacks_apply_is_least() {
    assert_least(Variant::objects);
}

#[test]
fn every_namespace_that_is_made_says_what_its_pods_may() {
    for variant in &VARIANTS {
        let objects = variant.objects();
        let used: BTreeSet<_> = objects
            .iter()
            .filter(|o| {
                o["kind"] != "Namespace"
                    && o["kind"] != "ClusterRole"
                    && o["kind"] != "ClusterRoleBinding"
                    && o["kind"] != "IngressClass"
            })
            .map(|o| text(o, "/metadata/namespace").to_owned())
            .collect();
        let releases = variant.releases().into_iter().map(|release| release.namespace);
        for namespace in used.into_iter().chain(releases) {
            let made =
                objects.iter().find(|o| o["kind"] == "Namespace" && text(o, "/metadata/name") == namespace);
            let made =
                made.unwrap_or_else(|| panic!("{}: nobody makes the namespace {namespace}", variant.name()));
            let level = text(made, "/metadata/labels/pod-security.kubernetes.io~1enforce");
            assert!(["restricted", "privileged"].contains(&level), "{namespace}: {level:?}");
            assert_eq!(level == "privileged", namespace.contains("monitoring"), "{namespace}");
        }
    }
}

#[test]
fn the_image_that_is_loaded_is_asked_of_no_registry() {
    let mut own = 0;
    for variant in &VARIANTS {
        for object in variant.objects() {
            for container in pod_of(&object).into_iter().flat_map(containers) {
                if container["image"] == OWN {
                    assert_eq!(container["imagePullPolicy"], "Never", "{}", text(&object, "/metadata/name"));
                    own += 1;
                }
                let image = text(container, "/image");
                let (_, digest) = image.split_once('@').unwrap_or((image, ""));
                assert!(digest.is_empty() || digest.len() == "sha256:".len() + 64, "{image}");
                assert!(
                    image.contains(':') && !image.ends_with(":latest"),
                    "{image} may be anything tomorrow"
                );
            }
        }
    }
    assert!(own >= VARIANTS.len(), "{own}");
}

#[test]
fn redis_has_a_password_that_nobody_wrote_down() {
    let objects = VARIANTS[4].objects();
    let secret = objects.iter().find(|o| o["kind"] == "Secret").expect("a Secret");
    assert_eq!(secret["stringData"]["password"], "{random}");
    let lines: Vec<&str> = text(secret, "/stringData/auth.conf").lines().collect();
    assert_eq!(lines, ["requirepass {random}", "masterauth {random}"]);
    let mut servers = 0;
    for pod in objects.iter().filter_map(pod_of) {
        for container in containers(pod).filter(|container| text(container, "/image").contains("/redis:")) {
            servers += 1;
            let arguments = container["args"].as_array().unwrap();
            assert_eq!(arguments[0], "/etc/redis-auth/auth.conf");
            assert!(!arguments.contains(&json!("--protected-mode")), "{arguments:?}");
            let from = &container["env"][0]["valueFrom"]["secretKeyRef"];
            assert_eq!(*from, json!({"name": "redis", "key": "password"}));
        }
    }
    assert_eq!(servers, 2);
}

/// They are made on the server, so they are judged by what they touch.
#[test]
fn no_patch_of_a_stack_widens_what_a_pod_may() {
    let mut patches = 0;
    for step in VARIANTS.iter().flat_map(|variant| variant.plan().steps) {
        let Action::Patch { body, .. } = step.action else { continue };
        let body = match body {
            PatchBody::Merge(value) => value.to_string(),
            PatchBody::Json(patch) => serde_json::to_string(&patch).unwrap(),
        };
        for word in [
            "securityContext",
            "privileged",
            "hostNetwork",
            "hostPID",
            "hostPath",
            "serviceAccount",
            "volumes",
        ] {
            assert!(!body.contains(word), "{}: {body}", step.name);
        }
        patches += 1;
    }
    assert!(patches > 5, "{patches}");
}

/// The helm that renders charts.
async fn helm() -> Option<Helm> {
    let program = std::env::var("SRE_TEST_HELM").unwrap_or_else(|_| "helm".into());
    match Helm::offline(&program, &Interrupt::default()).await {
        Ok(helm) => Some(helm),
        Err(error) => {
            needs::skipped("helm", &format!("charts cannot be rendered: {error}"));
            None
        }
    }
}

/// Everything of each variant, with charts from where `place` says.
async fn with_charts(helm: &Helm, place: impl Fn(&Chart) -> PathBuf) -> Vec<(String, Vec<Value>)> {
    let mut all = Vec::new();
    for variant in &VARIANTS {
        let mut objects = variant.objects();
        for mut release in variant.releases() {
            let chart = Chart::named(release.chart.rsplit('/').next().unwrap()).unwrap();
            release.chart = place(chart).display().to_string();
            let text = helm.template(&release).await.unwrap();
            for object in read_objects(&release.name, &text).unwrap() {
                objects.push(placed(serde_json::to_value(object).unwrap(), &release.namespace));
            }
        }
        all.push((variant.name(), objects));
    }
    all
}

#[tokio::test]
async fn what_the_tests_charts_make_of_the_values_is_least() {
    let Some(helm) = helm().await else { return };
    let place = |chart: &Chart| {
        let name = match chart.name {
            "kube-prometheus-stack" => "monitoring",
            "loki" => "loki",
            _ => "collector",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts").join(name)
    };
    for (variant, objects) in with_charts(&helm, place).await {
        assert_eq!(wrong(&objects), BTreeSet::new(), "{variant}");
    }
}

#[tokio::test]
async fn what_the_real_charts_make_of_the_values_is_least() {
    let Some(folder) = std::env::var_os("SRE_TEST_CHARTS").map(PathBuf::from) else {
        eprintln!("SKIPPED: SRE_TEST_CHARTS names no folder with the real charts");
        return;
    };
    let Some(helm) = helm().await else { return };
    let place = |chart: &Chart| {
        let archive = folder.join(format!("{}-{}.tgz", chart.name, chart.version));
        if archive.exists() { archive } else { folder.join(chart.name) }
    };
    let mut seen = BTreeSet::new();
    for (variant, objects) in with_charts(&helm, place).await {
        assert_eq!(wrong(&objects), BTreeSet::new(), "{variant}");
        for object in &objects {
            let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
            for violation in violations(object) {
                let known = UNRESTRICTED.iter().position(|known| {
                    known.0 == kind && name.contains(known.1) && violation.ends_with(known.2)
                });
                seen.extend(known);
            }
            if kind == "Secret" && name.ends_with("grafana") {
                use base64::Engine as _;
                let password = text(object, "/data/admin-password");
                let password = base64::engine::general_purpose::STANDARD.decode(password).unwrap();
                assert!(password.len() >= 16, "Grafana's password is drawn, and not a word");
            }
        }
    }
    assert_eq!(seen.len(), UNRESTRICTED.len(), "an exception that nothing needs any more: {seen:?}");
}

/// The judge itself, on objects that are wrong in one thing each: so the tests above can fail.
#[test]
fn what_is_too_much_is_found() {
    let pod = |more: Value| {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
            "spec": {
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "c", "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            },
        });
        json_patch::merge(&mut pod, &more);
        wrong(&[pod])
    };
    let container = |more: Value| {
        let mut one = json!({"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
        json_patch::merge(&mut one, &more);
        pod(json!({"spec": {"containers": [one]}}))
    };
    assert_eq!(pod(json!({})), BTreeSet::new());
    for more in [
        json!({"spec": {"hostNetwork": true}}),
        json!({"spec": {"hostPID": true}}),
        json!({"spec": {"hostIPC": true}}),
        json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}),
        json!({"spec": {"securityContext": {"runAsNonRoot": null}}}),
        json!({"spec": {"securityContext": {"runAsUser": 0}}}),
        json!({"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}}),
        json!({"spec": {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}}),
    ] {
        assert_eq!(pod(more.clone()).len(), 1, "{more}: {:?}", pod(more.clone()));
    }
    for more in [
        json!({"securityContext": {"privileged": true}}),
        json!({"securityContext": {"allowPrivilegeEscalation": null}}),
        json!({"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}}),
        json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
        json!({"securityContext": {"runAsNonRoot": false}}),
        json!({"securityContext": {"runAsUser": 0}}),
        json!({"env": [{"name": "REDIS_PASSWORD", "value": "x"}]}),
        json!({"args": ["--requirepass", "x"]}),
        json!({"ports": [{"containerPort": 80}]}),
    ] {
        assert_eq!(container(more.clone()).len(), 1, "{more}: {:?}", container(more.clone()));
    }
    for rule in [
        json!({"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["list"]}),
        json!({"apiGroups": [""], "resources": ["*"], "verbs": ["create"]}),
        json!({"apiGroups": ["*"], "resources": ["pods"], "verbs": ["create"]}),
    ] {
        let role = json!({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [rule]});
        assert_eq!(wrong(std::slice::from_ref(&role)).len(), 1, "{role}");
    }
}
