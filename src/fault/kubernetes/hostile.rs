//! Annotations that somebody else wrote: whatever they say, nothing is deleted or patched but the object that bears one,
//! and helpers of its own fault.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::bodies::{labels, name};
use super::record::{ANNOTATION, Effect, LABEL, PodRef, Ready, Record};
use super::recover;
use crate::interrupt::Interrupt;
use crate::target::kubernetes::fake::Fake;
use crate::target::kubernetes::object::ObjectRef;

fn reference(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: namespace.map(Into::into),
        name: name.into(),
    }
}

fn object(of: &ObjectRef, labels: Value, more: Value) -> Value {
    let mut object = json!({
        "apiVersion": of.api_version, "kind": of.kind,
        "metadata": {"name": of.name, "namespace": of.namespace, "labels": labels, "uid": format!("uid-of-{}", of.name)},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

/// What bears an annotation.
fn bearers() -> Vec<(ObjectRef, Value)> {
    let template = json!({"spec": {"serviceAccountName": "web", "containers": [{"name": "web"}]}});
    vec![
        (
            reference("apps/v1", "Deployment", Some("shop"), "web"),
            json!({"spec": {"replicas": 0, "template": template}}),
        ),
        (
            reference("v1", "Service", Some("shop"), "web"),
            json!({"spec": {"ports": [{"port": 80, "targetPort": 1}]}}),
        ),
        (reference("v1", "Node", None, "worker"), json!({"spec": {"unschedulable": true}})),
        (reference("v1", "Pod", Some("shop"), "alone"), json!({"spec": {"containers": [{"name": "web"}]}})),
    ]
}

/// What others have on the cluster, and what a fault's helpers look like.
fn others() -> Vec<(ObjectRef, Value)> {
    let rbac = "rbac.authorization.k8s.io/v1";
    let guards = |on: &ObjectRef| {
        let on = serde_json::to_string(on).expect("JSON");
        json!({"spec": {"template": {"spec": {"containers": [{"args": ["fault", "expire", "--on", on]}]}}}})
    };
    let about = |node: &str| json!({"rules": [{"resources": ["nodes"], "resourceNames": [node]}]});
    let web = reference("apps/v1", "Deployment", Some("shop"), "web");
    let elsewhere = reference("apps/v1", "Deployment", Some("elsewhere"), "db");
    let mut all = vec![
        (reference("v1", "Namespace", None, "victim"), json!({})),
        (elsewhere.clone(), json!({"spec": {"replicas": 0}})),
        (reference("apps/v1", "StatefulSet", Some("shop"), "data"), json!({"spec": {"replicas": 0}})),
        (reference("v1", "Pod", Some("elsewhere"), "db-0"), json!({})),
        (reference("v1", "Pod", Some("shop"), "data-0"), json!({})),
        (reference(rbac, "ClusterRole", None, "cluster-admin"), json!({})),
        (reference("batch/v1", "Job", Some("shop"), "backup"), json!({})),
    ];
    for (id, on) in [("mine", &web), ("theirs", &elsewhere)] {
        for namespace in ["shop", "elsewhere"] {
            all.push((reference("batch/v1", "Job", Some(namespace), &name(id)), guards(on)));
            all.push((reference("v1", "Pod", Some(namespace), &format!("{}-0", name(id))), json!({})));
            let policy = reference("networking.k8s.io/v1", "NetworkPolicy", Some(namespace), &name(id));
            all.push((policy, json!({})));
        }
        let node = if id == "mine" { "worker" } else { "other" };
        all.push((reference(rbac, "ClusterRole", None, &name(id)), about(node)));
        all.push((reference(rbac, "ClusterRoleBinding", None, &name(id)), json!({})));
    }
    all
}

fn whole() -> Vec<Value> {
    let label = |of: &ObjectRef| match of.name.strip_prefix("sre-fault-") {
        Some(id) => labels(id.trim_end_matches("-0")),
        None => json!({"app": "web"}),
    };
    bearers().into_iter().chain(others()).map(|(of, more)| object(&of, label(&of), more)).collect()
}

fn any_reference() -> impl Strategy<Value = ObjectRef> {
    let all: Vec<ObjectRef> = bearers().into_iter().chain(others()).map(|(of, _)| of).collect();
    prop::sample::select(all)
}

fn any_pod() -> impl Strategy<Value = PodRef> {
    any_reference().prop_map(|of| PodRef {
        namespace: of.namespace.unwrap_or_else(|| "shop".into()),
        uid: format!("uid-of-{}", of.name),
        name: of.name,
    })
}

fn any_value() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop::sample::select(vec![
        json!(0),
        json!(1),
        json!(3),
        json!(true),
        json!("admin"),
        json!({"number": 1}),
        json!([]),
    ]))
}

fn any_effect() -> impl Strategy<Value = Effect> {
    let paths = [
        "/spec/replicas",
        "/spec/unschedulable",
        "/spec/ports/0/targetPort",
        "/spec/template/spec/serviceAccountName",
        "/metadata/ownerReferences",
        "/metadata/name",
        "/spec",
        "",
        "/spec/template/spec/containers/0/readinessProbe",
    ];
    prop_oneof![
        3 => (prop::sample::select(paths.to_vec()), any_value(), any_value())
            .prop_map(|(path, before, after)| Effect::Set { path: path.into(), before, after }),
        1 => Just(Effect::NewReplicaSet),
        3 => any_reference().prop_map(|object| Effect::Create { object, body: None }),
        1 => prop::collection::vec(any_pod(), 0..3).prop_map(|pods| Effect::Delete { pods }),
        1 => prop::collection::vec(any_pod(), 1..3)
            .prop_map(|pods| Effect::Switches { pods, port: 9090, switches: crate::fault::Switches::default() }),
        1 => any_pod().prop_map(|pod| Effect::Redis { pod, port: 6379 }),
        1 => any_reference().prop_map(|of| Effect::Node { node: of.name, stop: None, start: None }),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    (
        prop::sample::select(vec!["mine", "theirs", "x", "", "../x", "mine-0", "A"]),
        prop::collection::vec(any_effect(), 0..4),
        prop::option::of(any_reference()),
        prop::collection::vec(any_reference(), 0..3),
        prop::sample::select(vec![-3600_i64, 60, 3600 * 24 * 365]),
    )
        .prop_map(|(id, effects, guard, ready, ends)| {
            let until = Timestamp::now() + jiff::SignedDuration::from_secs(ends);
            let mut record = Record::new(id, "a fault", until, effects);
            record.by.host = "another-machine".into();
            record.guard = guard;
            record.ready = ready.into_iter().map(|object| Ready { object, count: 9 }).collect();
            record
        })
}

/// The path by which the server serves an object.
fn path(of: &ObjectRef, objects: &BTreeMap<String, Value>) -> String {
    let is = |object: &&Value| {
        object["kind"] == of.kind.as_str()
            && object["metadata"]["name"] == of.name.as_str()
            && object["metadata"]["namespace"].as_str() == of.namespace.as_deref()
    };
    objects.iter().find(|(_, object)| is(object)).map(|(path, _)| path.clone()).expect("it is there")
}

/// Whether an object is a helper of this record's fault on this object.
fn is_own(object: &Value, on: &ObjectRef, record: &Record) -> bool {
    let metadata = &object["metadata"];
    let named = metadata["name"].as_str().unwrap_or_default();
    let labelled = metadata["labels"][LABEL] == record.id.as_str();
    let here = match &on.namespace {
        Some(namespace) => metadata["namespace"] == namespace.as_str(),
        None => true,
    };
    let on_text = serde_json::to_string(on).expect("JSON");
    let about = match object["kind"].as_str() {
        Some("Job") => object.pointer("/spec/template/spec/containers/0/args/3") == Some(&json!(on_text)),
        Some("ClusterRole") => object.pointer("/rules/0/resourceNames/0") == Some(&json!(on.name)),
        _ => true,
    };
    labelled && named.starts_with(&name(&record.id)) && here && about
}

async fn undo(on: &ObjectRef, record: &Record, force: bool) -> Result<(), TestCaseError> {
    let mut objects = whole();
    for object in &mut objects {
        let is_bearer = object["kind"] == on.kind.as_str()
            && object["metadata"]["name"] == on.name.as_str()
            && object["metadata"]["namespace"].as_str() == on.namespace.as_deref();
        if is_bearer {
            object["metadata"]["annotations"] = json!({ANNOTATION: record.annotation()});
        }
    }
    let fake = Fake::new(&objects).await;
    let before = fake.all();
    let bearer = path(on, &before);
    // Who has interrupted it waits for nothing.
    let interrupt = Interrupt::default();
    interrupt.trigger(crate::exit::Exit::Interrupted);
    recover(&fake.cluster, None, force, &interrupt).await.expect("it answers");
    for (method, changed) in fake.done() {
        let allowed = match method.as_str() {
            "PATCH" => changed == bearer,
            _ => is_own(&before[&changed], on, record),
        };
        prop_assert!(allowed, "{method} {changed} by {record:?} on {on}");
    }
    let after = fake.all();
    let account = "/spec/template/spec/serviceAccountName";
    let kept = |objects: &BTreeMap<String, Value>| {
        let object = &objects[&bearer];
        (
            object.pointer(account).cloned(),
            object["metadata"]["ownerReferences"].clone(),
            object["metadata"]["labels"].clone(),
        )
    };
    prop_assert_eq!(kept(&before), kept(&after));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn an_annotation_reaches_its_object_and_its_own_helpers(
        on in prop::sample::select(bearers().into_iter().map(|(of, _)| of).collect::<Vec<_>>()),
        record in any_record(),
        force in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(undo(&on, &record, force))?;
    }
}

#[tokio::test]
async fn a_planted_guard_deletes_nothing_and_keeps_nobody_from_a_run() {
    let web = reference("apps/v1", "Deployment", Some("shop"), "web");
    let mut record = Record::new("x", "poc", Timestamp::UNIX_EPOCH, Vec::new());
    record.guard = Some(reference("v1", "Namespace", None, "victim"));
    undo(&web, &record, false).await.expect("nothing is deleted");
}
