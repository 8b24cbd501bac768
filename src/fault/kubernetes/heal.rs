//! Undoing a fault on a cluster, however far it came.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;

use super::change;
use super::confine::confine;
use super::guard::{Sets, dismiss, is_conflict, tidy};
use super::inject::LAST_RESORT;
use super::keep;
use super::own;
use super::ownership;
use super::record::{Effect, PodRef, Ready, Record};
use super::survey::{controller, find};
use crate::error::{Error, Result};
use crate::fault::Switches;
use crate::interrupt::Interrupt;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::{call_opt, failed, retry};
use crate::target::kubernetes::forward::Forward;
use crate::target::kubernetes::nodes;
use crate::target::kubernetes::object::ObjectRef;
use crate::target::kubernetes::readiness::{Readiness, readiness};

/// How often a change is computed anew because the object changed meanwhile.
const ATTEMPTS: usize = 10;

/// How long a controller may take to see a change.
const SEEN: Duration = Duration::from_secs(10);

/// How long what was ready before a fault may take to be so again.
pub const SETTLED: Duration = Duration::from_secs(120);

/// How often something is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Undoes a fault, and removes its helpers; what is undone already is no error. What was ready may not be so yet:
/// [`settle`] waits for that.
///
/// # Errors
/// The target (exit 6), with what could not be undone, or with what the record asks for that no fault does.
pub async fn undo(cluster: &Cluster, on: &ObjectRef, record: &Record) -> Result<()> {
    confine(on, record)?;
    let object = find(cluster, on).await?;
    let other = object.map_or(Ok(None), |object| Record::of(&object))?;
    let is_others = other.is_some_and(|other| other.id != record.id);
    // What another fault has done since is not this one's to undo.
    let ours = |effect: &&Effect| !is_others || matches!(effect, Effect::Create { .. });
    all_aside(cluster, on, record, record.effects.iter().filter(ours)).await?;
    set_back(cluster, on, record, Sets::All).await
}

/// As [`undo`], by the guard of a fault, which may do less: what ends by itself has ended by then.
///
/// # Errors
/// As for [`undo`].
pub async fn expire(cluster: &Cluster, on: &ObjectRef, record: &Record) -> Result<()> {
    confine(on, record)?;
    let allowed = |effect: &&Effect| matches!(effect, Effect::Create { .. } | Effect::Node { .. });
    all_aside(cluster, on, record, record.effects.iter().filter(allowed)).await?;
    set_back(cluster, on, record, Sets::Entrusted(&record.id)).await
}

/// Undoes beside the object what can be, also where another part cannot; the first error is told. The annotation stays
/// on the object then, so that whoever finds it tries again.
async fn all_aside<'a>(
    cluster: &Cluster,
    on: &ObjectRef,
    record: &Record,
    effects: impl Iterator<Item = &'a Effect>,
) -> Result<()> {
    let mut undone = Ok(());
    for effect in effects {
        undone = undone.and(aside(cluster, on, record, effect).await);
    }
    undone
}

async fn set_back(cluster: &Cluster, on: &ObjectRef, record: &Record, sets: Sets<'_>) -> Result<()> {
    let left = take_off(cluster, on, record, sets).await?;
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::target(format!("{on} is not wholly what it was")).because_of(left.join("\n")))
}

/// Removes the Job that would have undone the fault.
///
/// # Errors
/// The target (exit 6) where the cluster refuses.
pub async fn relieve(cluster: &Cluster, on: &ObjectRef, record: &Record) -> Result<()> {
    let Some(guard) = &record.guard else { return Ok(()) };
    match on.namespace.as_ref().or(guard.namespace.as_ref()) {
        Some(namespace) => dismiss(cluster, &record.id, namespace, on).await,
        None => Ok(()),
    }
}

/// What is undone beside the object itself.
async fn aside(cluster: &Cluster, on: &ObjectRef, record: &Record, effect: &Effect) -> Result<()> {
    match effect {
        Effect::Create { object, .. } => own::remove(cluster, object, &record.id, |_| true).await,
        Effect::Switches { pods, port, .. } => {
            let mut off = Ok(());
            for pod in pods {
                off = off.and(switch_off(cluster, on, pod, *port, record.until).await);
            }
            off
        }
        Effect::Redis { pod, port } => match is_there(cluster, on, pod).await? {
            true => keep::redis_answers(cluster, pod, *port).await,
            false => Ok(()),
        },
        Effect::Node { node, start, .. } => start_node(cluster, node, start.as_deref()).await,
        // These end by themselves, or a workload makes them good.
        Effect::Set { .. }
        | Effect::NewReplicaSet
        | Effect::Delete { .. }
        | Effect::Evict { .. }
        | Effect::Memory { .. } => Ok(()),
    }
}

/// Whether this very pod is there still, and is the object's.
async fn is_there(cluster: &Cluster, on: &ObjectRef, pod: &PodRef) -> Result<bool> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), &pod.namespace);
    let found = call_opt(|| format!("Pod {} could not be read", pod.name), || api.get(&pod.name)).await?;
    let Some(found) = found else { return Ok(false) };
    if found.metadata.uid.as_ref() != Some(&pod.uid) || found.metadata.deletion_timestamp.is_some() {
        return Ok(false);
    }
    is_of(cluster, on, &found).await
}

/// Whether a pod is an object, or was made by it.
async fn is_of(cluster: &Cluster, on: &ObjectRef, pod: &Pod) -> Result<bool> {
    let is = |owner: &OwnerReference| owner.kind == on.kind && owner.name == on.name;
    match controller(pod.metadata.owner_references.as_deref()) {
        _ if on.kind == "Pod" => Ok(pod.metadata.name.as_ref() == Some(&on.name)),
        Some(owner) if is(owner) => Ok(true),
        Some(owner) if owner.kind == "ReplicaSet" => {
            let set = ObjectRef {
                api_version: "apps/v1".into(),
                kind: "ReplicaSet".into(),
                namespace: pod.metadata.namespace.clone(),
                name: owner.name.clone(),
            };
            let owners = find(cluster, &set).await?.and_then(|set| set.metadata.owner_references);
            Ok(controller(owners.as_deref()).is_some_and(is))
        }
        _ => Ok(false),
    }
}

async fn switch_off(
    cluster: &Cluster,
    on: &ObjectRef,
    pod: &PodRef,
    port: u16,
    until: Timestamp,
) -> Result<()> {
    // Its switches went with it.
    if !is_there(cluster, on, pod).await? {
        return Ok(());
    }
    let forward = Forward::to_pod(cluster, &pod.namespace, &pod.name, port).await?;
    match Switches::clear(&forward.url()).await {
        // Later they have gone off by themselves, if there ever were any.
        Err(error) if Timestamp::now() < until + LAST_RESORT * 2 && is_there(cluster, on, pod).await? => {
            Err(error.within(format!("the fault switches of Pod {} are on", pod.name)))
        }
        _ => Ok(()),
    }
}

async fn start_node(cluster: &Cluster, node: &str, start: Option<&str>) -> Result<()> {
    match start {
        // Whoever was interrupted wants it started all the same; a third signal ends it.
        Some(line) => super::node::run(line, node, &Interrupt::default()).await,
        None if nodes::find(cluster, node).await?.is_none_or(|node| nodes::is_ready(&node)) => Ok(()),
        None => Err(Error::target(format!("Node {node} is stopped"))
            .because_of("the command that starts it is known to the machine that stopped it")
            .hint("sre heal there, or start the node by hand; then sre heal here")),
    }
}

/// Why a node does not take pods as before; one that is gone for good is nothing to wait for.
async fn node_lacks(cluster: &Cluster, node: &str) -> Result<Option<&'static str>> {
    Ok(nodes::find(cluster, node).await?.and_then(|node| match () {
        () if !nodes::is_ready(&node) => Some("is not ready"),
        () if nodes::is_opening(&node) => Some("is open, and its taint is there still"),
        () => None,
    }))
}

/// Sets the values of the object back, then takes the annotation off and gives its fields back to their owners; what
/// others have changed since.
async fn take_off(cluster: &Cluster, on: &ObjectRef, record: &Record, sets: Sets<'_>) -> Result<Vec<String>> {
    let Some((api, _)) = cluster.api(on, "default").await? else { return Ok(Vec::new()) };
    let what = || format!("{on} could not be set back");
    let params = PatchParams { field_manager: Some(ownership::MANAGER.into()), ..PatchParams::default() };
    let mut attempt = 0;
    loop {
        let Some(object) = find(cluster, on).await? else { return Ok(Vec::new()) };
        let back = change::heal(&object, record)?;
        let Some(patch) = back.patch else {
            tidy_up(cluster, on, record, &object, sets).await?;
            return Ok(Vec::new());
        };
        let patch = Patch::<()>::Json(patch);
        match retry(|| api.patch(&on.name, &params, &patch)).await {
            Ok(_) if !back.is_last => {}
            Ok(object) => {
                tidy_up(cluster, on, record, &object, sets).await?;
                return Ok(back.left);
            }
            Err(error) if is_conflict(&error) && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(failed(what(), &error)),
        }
    }
}

/// The traces that a Deployment's controller has made of the fault in its ReplicaSets.
async fn tidy_up(
    cluster: &Cluster,
    on: &ObjectRef,
    record: &Record,
    object: &DynamicObject,
    sets: Sets<'_>,
) -> Result<()> {
    if on.kind != "Deployment" {
        return Ok(());
    }
    // Before it has seen the change it would make them again.
    let generation = object.metadata.generation.unwrap_or(0);
    let started = Instant::now();
    loop {
        let Some(now) = find(cluster, on).await? else { return Ok(()) };
        if now.data["status"]["observedGeneration"].as_i64().unwrap_or(0) >= generation
            || started.elapsed() > SEEN
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let broken = record.effects.iter().any(|effect| matches!(effect, Effect::NewReplicaSet));
    tidy(cluster, on, object.metadata.uid.as_deref().unwrap_or_default(), broken, sets).await
}

/// Waits until what was ready before a fault is so again; what is gone is not waited for.
///
/// # Errors
/// The target (exit 6) where it is not within the bound, with what is missing.
pub async fn settle(cluster: &Cluster, record: &Record, bound: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        let mut missing = Vec::new();
        for ready in &record.ready {
            missing.extend(lacks(cluster, ready).await?);
        }
        if missing.is_empty() {
            return Ok(());
        }
        if started.elapsed() > bound {
            let what = format!("{} s after the fault not all is ready again", bound.as_secs());
            return Err(Error::target(what)
                .because_of(missing.join("\n"))
                .hint("kubectl describe it: the fault itself is undone"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn lacks(cluster: &Cluster, ready: &Ready) -> Result<Option<String>> {
    let object = &ready.object;
    if object.kind == "Node" {
        let lacks = node_lacks(cluster, &object.name).await?;
        return Ok(lacks.map(|why| format!("{object} {why}")));
    }
    let Some(found) = find(cluster, object).await? else { return Ok(None) };
    let key = if object.kind == "DaemonSet" { "numberReady" } else { "readyReplicas" };
    let now = found.data["status"][key].as_u64().unwrap_or(0);
    // Somebody may want less by now.
    let wanted = found.data["spec"]["replicas"].as_u64().unwrap_or(u64::MAX).min(ready.count);
    Ok(match readiness(&object.kind, &found) {
        _ if now < wanted => Some(format!("{object}: {now} of {wanted} ready")),
        // Only as ready as it was: it may have been half ready before.
        Readiness::Waiting(why) if why.contains("controller") => Some(format!("{object}: {why}")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fault::kubernetes::ANNOTATION;
    use crate::fault::kubernetes::bodies::labels;
    use crate::target::kubernetes::fake::Fake;

    #[tokio::test]
    async fn what_cannot_be_undone_keeps_nothing_else_from_it() {
        let pod = |name: &str| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "shop", "labels": labels("one")},
            })
        };
        let object = |name: &str| ObjectRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        };
        let effects = ["sre-fault-one-0", "sre-fault-one-1"]
            .map(|name| Effect::Create { object: object(name), body: None });
        let record = Record::new("one", "cpu-pressure", Timestamp::UNIX_EPOCH, effects.into());
        let fake = Fake::new(&[pod("sre-fault-one-0"), pod("sre-fault-one-1"), json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {ANNOTATION: record.annotation()}},
        })])
        .await;
        fake.keep(&pod("sre-fault-one-0"));
        let on = ObjectRef { api_version: "apps/v1".into(), kind: "Deployment".into(), ..object("web") };
        let error = undo(&fake.cluster, &on, &record).await.expect_err("one is left");
        assert!(error.to_string().contains("Pod shop/sre-fault-one-0 could not be removed"), "{error}");
        assert_eq!(fake.get("namespaces/shop/pods/sre-fault-one-1"), None);
        // Who looks for it finds it still.
        let web = fake.get("namespaces/shop/deployments/web").expect("the Deployment");
        assert!(web["metadata"]["annotations"][ANNOTATION].is_string());
    }
}
