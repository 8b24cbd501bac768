//! Against a real cluster: any one, named by `SRE_TEST_KUBECONFIG`. Each test has a namespace of its own.
//!
//! `SRE_TEST_IMAGE` is an image with busybox's `sh` and `httpd` that every node has or can pull.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{connect, image, in_namespace, kubeconfig};
use indexmap::IndexMap;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::core::DynamicObject;
use sre::catalog::Catalog;
use sre::stack::{ClusterEndpoint, PatchTarget};
use sre::target::TargetKind;
use sre::target::kubernetes::apply::{Applied, Change, Mode, apply, delete, ensure_namespace, is_ours};
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::forward::Forward;
use sre::target::kubernetes::gone::is_going;
use sre::target::kubernetes::node_image::{self, Presence};
use sre::target::kubernetes::object::{ObjectRef, read_objects, sort_for_apply};
use sre::target::kubernetes::patch::{Undo, diff, patch};
use sre::target::kubernetes::plan::{Action, PatchBody, Plan};
use sre::target::kubernetes::wait;

fn deployment(name: &str, image: &str, command: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: {image}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, '{command}']
          args: [first]
"#
    )
}

/// Serves `hello` on port 8080.
const SERVE: &str = "mkdir -p /tmp/w && echo hello >/tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w";

async fn apply_text(cluster: &Cluster, namespace: &str, text: &str) -> Vec<Applied> {
    let objects = read_objects("test.yaml", text).unwrap();
    apply(cluster, namespace, &objects, Mode::Write).await.unwrap()
}

fn references(applied: &[Applied]) -> Vec<ObjectRef> {
    applied.iter().map(|applied| applied.object.clone()).collect()
}

fn the_deployment(name: &str, namespace: &str) -> PatchTarget {
    PatchTarget {
        group: Some("apps".into()),
        kind: "Deployment".into(),
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        ..PatchTarget::default()
    }
}

fn quiet(_: &str) {}

#[tokio::test]
async fn a_context_is_never_guessed() {
    let Some(path) = kubeconfig() else { return };
    let current = Kubeconfig::read_from(&path).unwrap().current_context.unwrap();
    let error = Cluster::connect(Some(&path), None).await.err().unwrap();
    assert_eq!(error.exit().code(), 2);
    assert!(error.next_step().unwrap().contains(&current), "{error}");
}

/// The plan of a shipped stack, with one parameter set.
fn shipped_plan(stack: &str, namespace: &str, key: &str, value: &str) -> Plan {
    let nowhere = tempfile::tempdir().unwrap();
    let set = [("namespace".into(), namespace.into()), (key.into(), value.into())];
    let loaded = Catalog::at(nowhere.path()).stack_on(TargetKind::Cluster, stack, &set).unwrap();
    loaded.plan().unwrap().unwrap()
}

/// The stacks that users get, in each of their variants, held against the API server's own schema and defaults.
#[tokio::test]
async fn what_the_shipped_stacks_apply_is_valid() {
    in_namespace("shipped", |cluster, namespace| async move {
        for (stack, key, value) in [
            ("users-api", "discovery", "servicemonitor"),
            ("users-api", "discovery", "annotations"),
            ("users-api", "grafana", "true"),
            ("guestbook", "ingress", "nginx"),
            ("guestbook", "ingress", "traefik"),
        ] {
            let mut valid = 0;
            for step in shipped_plan(stack, &namespace, key, value).steps {
                let Action::Apply(objects) = step.action else { continue };
                for mut object in objects {
                    // What brings the operator's kinds is not here.
                    let reference = ObjectRef::of(&object);
                    let Some((_, kind)) = cluster.api(&reference, &namespace).await.unwrap() else {
                        assert_eq!(reference.group(), "monitoring.coreos.com", "{reference}");
                        continue;
                    };
                    // Others than the stack's namespace are not there either.
                    object.metadata.namespace = kind.namespaced.then(|| namespace.clone());
                    let planned = apply(&cluster, &namespace, &[object], Mode::DryRun).await;
                    assert!(planned.is_ok(), "{stack}, {key}={value}: {reference}: {:?}", planned.err());
                    valid += 1;
                }
            }
            assert!(valid >= 4, "{stack}, {key}={value}: {valid} objects");
        }
    })
    .await;
}

/// What the API server does not know is an error of a dry run, too: so the test above can fail.
#[tokio::test]
async fn a_dry_run_finds_what_the_server_refuses() {
    in_namespace("refused", |cluster, namespace| async move {
        let text = deployment("web", &image(), "sleep 1").replace("imagePullPolicy", "imagePulPolicy");
        let objects = read_objects("test.yaml", &text).unwrap();
        let error = apply(&cluster, &namespace, &objects, Mode::DryRun).await.unwrap_err();
        assert!(format!("{error:?}").contains("imagePulPolicy"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_applied_again_is_unchanged() {
    in_namespace("apply", |cluster, namespace| async move {
        let group = format!("{namespace}.example.org");
        // An object, and its definition after it.
        let text = format!(
            r#"
apiVersion: {group}/v1
kind: Widget
metadata: {{name: one}}
spec: {{size: 1}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{a: "1"}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Widget, plural: widgets, singular: widget}}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"#
        );
        let mut objects = read_objects("test.yaml", &text).unwrap();
        sort_for_apply(&mut objects);

        let planned = apply(&cluster, &namespace, &objects, Mode::DryRun).await.unwrap();
        assert!(planned.iter().all(|applied| applied.change == Change::Created), "{planned:?}");
        let first = apply(&cluster, &namespace, &objects, Mode::Write).await.unwrap();
        assert!(
            first.iter().all(|applied| applied.change == Change::Created),
            "the dry run wrote: {first:?}"
        );
        let second = apply(&cluster, &namespace, &objects, Mode::Write).await.unwrap();
        assert!(second.iter().all(|applied| applied.change == Change::Unchanged), "{second:?}");

        let changed = text.replace("a: \"1\"", "a: \"2\"");
        let third = apply_text(&cluster, &namespace, &changed).await;
        let changes: Vec<String> = third
            .iter()
            .filter(|applied| applied.change != Change::Unchanged)
            .map(|applied| applied.object.to_string())
            .collect();
        assert_eq!(changes, [format!("ConfigMap {namespace}/settings")]);

        let definition =
            references(&first).into_iter().find(|o| o.kind == "CustomResourceDefinition").unwrap();
        assert!(delete(&cluster, &definition).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_is_somebody_else_s_is_neither_overwritten_nor_deleted() {
    in_namespace("foreign", |cluster, namespace| async move {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\ndata: {a: \"1\"}\n";
        let object = read_objects("test.yaml", text).unwrap().remove(0);
        let mut reference = ObjectRef::of(&object);
        let (api, _) = cluster.api(&reference, &namespace).await.unwrap().unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();

        let error = apply(&cluster, &namespace, &[object], Mode::Write).await.unwrap_err();
        assert!(error.what().contains("not `sre`'s"), "{error}");
        reference.namespace = Some(namespace.clone());
        assert!(!delete(&cluster, &reference).await.unwrap());
        assert!(!is_ours(&api.get("theirs").await.unwrap()));
    })
    .await;
}

#[tokio::test]
async fn what_is_being_deleted_is_made_anew_once_it_is_gone() {
    in_namespace("going", |cluster, namespace| async move {
        let text =
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.org/hold]}\n";
        let object = read_objects("test.yaml", text).unwrap().remove(0);
        let first = apply_text(&cluster, &namespace, text).await;
        let (api, _) = cluster.api(&ObjectRef::of(&object), &namespace).await.unwrap().unwrap();
        let old = api.get("held").await.unwrap();
        api.delete("held", &DeleteParams::default()).await.unwrap();
        assert!(is_going(&api.get("held").await.unwrap()));

        let planned = apply(&cluster, &namespace, std::slice::from_ref(&object), Mode::DryRun).await.unwrap();
        assert_eq!(planned[0].change, Change::Created);
        let free = async {
            // Whoever holds it lets go while the apply waits.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let patch = kube::api::Patch::Merge(serde_json::json!({"metadata": {"finalizers": null}}));
            api.patch("held", &kube::api::PatchParams::default(), &patch).await.unwrap();
        };
        let again = apply(&cluster, &namespace, std::slice::from_ref(&object), Mode::Write);
        let (again, ()) = tokio::join!(again, free);
        assert_eq!(again.unwrap()[0].change, Change::Created);
        let new = api.get("held").await.unwrap();
        assert!(new.metadata.uid != old.metadata.uid && !is_going(&new));
        let patch = kube::api::Patch::Merge(serde_json::json!({"metadata": {"finalizers": null}}));
        api.patch("held", &kube::api::PatchParams::default(), &patch).await.unwrap();
        assert_eq!(references(&first)[0].to_string(), format!("ConfigMap {namespace}/held"));
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_ends_is_made_anew() {
    let Some(cluster) = connect().await else { return };
    let name = format!("sre-test-ends-{}", &uuid::Uuid::new_v4().to_string()[..6]);
    assert!(ensure_namespace(&cluster, &name, Mode::Write).await.unwrap());
    let reference = ObjectRef::of_namespace(&name);
    for _ in 0..2 {
        // In the first round it is on its way out, as what is in it has to go before it.
        assert!(delete(&cluster, &reference).await.unwrap());
        let made = ensure_namespace(&cluster, &name, Mode::Write).await;
        assert!(made.unwrap(), "it counts as there although it ends");
    }
    assert!(delete(&cluster, &reference).await.unwrap());
}

#[tokio::test]
async fn nodes_tell_whether_they_have_an_image() {
    in_namespace("image", |cluster, namespace| async move {
        let nodes: Vec<String> =
            node_image::listed(&cluster, &namespace, &image()).await.unwrap().into_keys().collect();
        assert!(!nodes.is_empty());
        let found = node_image::look(&cluster, &namespace, &nodes, &image()).await.unwrap();
        assert_eq!(found.into_values().collect::<Vec<_>>(), vec![Presence::There; nodes.len()]);

        let absent = "docker.io/library/nothing-of-this-name:0";
        let listed = node_image::listed(&cluster, &namespace, absent).await.unwrap();
        assert!(listed.values().all(|presence| *presence == Presence::Missing), "{listed:?}");
        let found = node_image::look(&cluster, &namespace, &nodes, absent).await.unwrap();
        assert_eq!(found.into_values().collect::<Vec<_>>(), vec![Presence::Missing; nodes.len()]);
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(cluster.client(), &namespace);
        let left = pods.list(&ListParams::default()).await.unwrap().items;
        assert!(left.iter().all(|pod| pod.metadata.deletion_timestamp.is_some()), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn patches_are_shown_written_once_and_undone() {
    in_namespace("patch", |cluster, namespace| async move {
        let object = read_objects("test.yaml", &deployment("app", &image(), "sleep 1000")).unwrap().remove(0);
        let (api, _) = cluster.api(&ObjectRef::of(&object), &namespace).await.unwrap().unwrap();
        let original = api.create(&PostParams::default(), &object).await.unwrap();
        let target = the_deployment("app", &namespace);
        let merge = PatchBody::Merge(serde_json::json!({"spec": {"template": {
            "metadata": {"annotations": {"prometheus.io/scrape": "true"}},
            "spec": {"containers": [{"name": "main", "ports": [{"containerPort": 10254}]}]}}}}));
        let append = serde_json::json!([{"op": "add",
            "path": "/spec/template/spec/containers/0/args/-", "value": "--enable-metrics=true"}]);
        let json = PatchBody::Json(serde_json::from_value(append).unwrap());
        let mut undo = Vec::new();
        for (body, shown) in [(&merge, "containerPort: 10254"), (&json, "--enable-metrics=true")] {
            let planned = patch(&cluster, &target, body, Mode::DryRun).await.unwrap();
            let text = diff(&planned[0]).unwrap();
            assert!(text.lines().any(|line| line.starts_with('+') && line.contains(shown)), "{text}");
            assert!(!text.contains("managedFields"), "{text}");
            let written = patch(&cluster, &target, body, Mode::Write).await.unwrap();
            assert!(matches!(written[0].change, Change::Changed { .. }), "the dry run wrote: {written:?}");
            undo.extend(Undo::of(&written[0]));
            let before = api.get("app").await.unwrap();
            let again = patch(&cluster, &target, body, Mode::Write).await.unwrap();
            assert_eq!(again[0].change, Change::Unchanged);
            assert_eq!(api.get("app").await.unwrap().metadata.generation, before.metadata.generation);
        }
        let patched = api.get("app").await.unwrap();
        let container = &patched.data["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["args"], serde_json::json!(["first", "--enable-metrics=true"]));
        assert_eq!(container["ports"][0]["containerPort"], 10254);

        for undo in undo.iter().rev() {
            assert!(undo.run(&cluster).await.unwrap());
        }
        let back = api.get("app").await.unwrap();
        assert_eq!(back.data["spec"], original.data["spec"]);
        assert!(!undo[0].run(&cluster).await.unwrap(), "what is not as the patch left it is left alone");
    })
    .await;
}

#[tokio::test]
async fn a_patch_that_matches_nothing_says_so() {
    in_namespace("nothing", |cluster, namespace| async move {
        let target = the_deployment("absent", &namespace);
        let body = PatchBody::Merge(serde_json::json!({"spec": {"replicas": 2}}));
        assert_eq!(patch(&cluster, &target, &body, Mode::DryRun).await.unwrap(), []);
        let error = patch(&cluster, &target, &body, Mode::Write).await.unwrap_err();
        assert_eq!(error.what(), format!("nothing to patch: Deployment {namespace}/absent"));
    })
    .await;
}

#[tokio::test]
async fn a_deployment_is_waited_for_also_after_a_change() {
    in_namespace("wait", |cluster, namespace| async move {
        let text = deployment("app", &image(), SERVE);
        let lines = Mutex::new(Vec::new());
        let progress = |line: &str| lines.lock().unwrap().push(line.to_owned());
        for text in [text.clone(), text.replace("[first]", "[second]")] {
            let applied = apply_text(&cluster, &namespace, &text).await;
            wait::ready(&cluster, &references(&applied), Duration::from_secs(180), &progress).await.unwrap();
        }
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(cluster.client(), &namespace);
        let pods = pods.list(&ListParams::default().labels("app=app")).await.unwrap().items;
        let running: Vec<_> = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| pod.spec.as_ref().unwrap().containers[0].args.clone().unwrap())
            .collect();
        assert_eq!(running, [["second"]], "only the new version is left");
        let lines = lines.into_inner().unwrap();
        let start = format!("Deployment {namespace}/app: ");
        assert!(lines.iter().any(|line| line.starts_with(&start)), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn what_does_not_become_ready_says_why() {
    in_namespace("unready", |cluster, namespace| async move {
        let within = Duration::from_secs(15);
        let crashes = deployment("crashes", &image(), "echo no database at postgres:5432; exit 3");
        let applied = apply_text(&cluster, &namespace, &crashes).await;
        let error = wait::ready(&cluster, &references(&applied), within, &quiet).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.exit().code(), 6);
        assert!(text.contains("no database at postgres:5432"), "{text}");
        assert!(text.contains("kubectl --context"), "{text}");

        let missing = deployment("missing", "docker.io/library/nothing-of-this-name:0", "true");
        let applied = apply_text(&cluster, &namespace, &missing).await;
        let error = wait::ready(&cluster, &references(&applied), within, &quiet).await.unwrap_err();
        let expected = "image docker.io/library/nothing-of-this-name:0 can't be had";
        assert!(error.to_string().contains(expected), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_port_forward_survives_its_pod() {
    in_namespace("forward", |cluster, namespace| async move {
        let applied = apply_text(&cluster, &namespace, &deployment("web", &image(), SERVE)).await;
        let endpoint = ClusterEndpoint {
            namespace: None,
            labels: IndexMap::from([("app".to_owned(), "web".to_owned())]),
            port: 8080,
            enabled: true,
            metrics: None,
        };
        wait::ready(&cluster, &references(&applied), Duration::from_secs(180), &quiet).await.unwrap();
        let forward = Forward::open(&cluster, &endpoint, &namespace).await.unwrap();
        let client = reqwest::Client::new();
        let get = || async { client.get(forward.url()).send().await?.error_for_status()?.text().await };
        // The server in the pod may listen a moment after its process runs.
        let started = Instant::now();
        while get().await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "nobody answers through the forward");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(get().await.unwrap(), "hello\n");

        let kind = cluster.kind("", "v1", "Pod").await.unwrap().unwrap();
        let pods: Api<DynamicObject> = cluster.api_of(&kind, &namespace);
        let old = pods.list(&ListParams::default()).await.unwrap().items.remove(0);
        pods.delete(old.metadata.name.as_deref().unwrap(), &DeleteParams::default()).await.unwrap();
        let started = Instant::now();
        loop {
            let now = pods.list(&ListParams::default()).await.unwrap().items;
            let replaced = now.iter().all(|pod| pod.metadata.uid != old.metadata.uid);
            if get().await.is_ok_and(|text| replaced && text == "hello\n") {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no answer from the pod that came after");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
