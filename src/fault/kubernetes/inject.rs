//! Injecting a fault on a cluster: the annotation first, in one step with what the fault changes of the object itself.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, EvictParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;

use super::change;
use super::guard::{self, is_conflict};
use super::keep::{Keeper, pause_redis, take_memory};
use super::ownership;
use super::record::{Effect, PodRef, Record};
use super::survey::find;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::{call, call_opt, explain, failed, retry, status};
use crate::target::kubernetes::forward::Forward;
use crate::target::kubernetes::object::{MANAGER, ObjectRef};
use crate::target::kubernetes::readiness::trouble;

/// How often a change is computed anew because the object changed meanwhile.
const ATTEMPTS: usize = 10;

/// How long a helper pod may take to run, and an eviction to be allowed.
const BOUND: Duration = Duration::from_secs(60);

/// How long a container may live on after its memory has run out.
const KILLED: Duration = Duration::from_secs(15);

/// The switches of the demo service go off by themselves this much later than they should have been.
pub(super) const LAST_RESORT: Duration = Duration::from_secs(10);

/// Injects a fault. What holds it must be kept as long as it is to last.
///
/// # Errors
/// The target (exit 6) where something could not be done, or another fault is on the object; what was done up to
/// there has to be undone.
pub async fn inject(
    cluster: &Cluster,
    on: &ObjectRef,
    record: &Record,
    interrupt: &Interrupt,
) -> Result<Vec<Keeper>> {
    interrupt.check()?;
    annotate(cluster, on, record).await?;
    let mut keepers = Vec::new();
    for effect in &record.effects {
        if let Effect::Node { node, stop, .. } = effect {
            let line = stop.as_deref().ok_or_else(|| Error::target("nobody says how the node is stopped"))?;
            // It is ended and waited for, not left alone.
            super::node::run(line, node, interrupt).await?;
        } else if matches!(effect, Effect::NewReplicaSet) && record.guard.is_some() {
            interrupt.or(guard::entrust(cluster, on, &record.id)).await??;
        } else {
            keepers.extend(interrupt.or(take_effect(cluster, record, effect)).await??);
        }
    }
    Ok(keepers)
}

/// Does one thing; what comes back holds it.
async fn take_effect(cluster: &Cluster, record: &Record, effect: &Effect) -> Result<Option<Keeper>> {
    let left = record.until.duration_since(Timestamp::now());
    let lasts = Duration::try_from(left).unwrap_or_default();
    match effect {
        Effect::Set { .. } | Effect::NewReplicaSet | Effect::Node { .. } => {}
        Effect::Delete { pods } => {
            for pod in pods {
                delete(cluster, pod).await?;
            }
        }
        Effect::Evict { pods } => {
            for pod in pods {
                evict(cluster, pod).await?;
            }
        }
        Effect::Create { object, body } => create(cluster, object, body.as_deref()).await?,
        Effect::Memory { pod, container, share, limit } => {
            let before = ends(cluster, pod, container).await?;
            let keeper = take_memory(cluster, pod, container, *share, *limit, lasts).await?;
            if *share >= 1.0 {
                killed(cluster, pod, container, before).await?;
            }
            return Ok(Some(keeper));
        }
        Effect::Redis { pod, port } => {
            return pause_redis(cluster, pod, *port, lasts).await.map(Some);
        }
        Effect::Switches { pods, port, switches } => {
            for pod in pods {
                let forward = Forward::to_pod(cluster, &pod.namespace, &pod.name, *port).await?;
                switches.put(&forward.url(), lasts + LAST_RESORT).await.map_err(|error| {
                    error
                        .within(format!("Pod {} has no fault switches on port {port}", pod.name))
                        .hint("only the demo service (`sre app --admin 127.0.0.1:9090`) has fault switches")
                })?;
            }
        }
    }
    Ok(None)
}

async fn annotate(cluster: &Cluster, on: &ObjectRef, record: &Record) -> Result<()> {
    let what = || format!("{on} could not be changed");
    let gone = || Error::target(format!("{on} is gone"));
    let Some((api, _)) = cluster.api(on, "default").await? else { return Err(gone()) };
    let params = PatchParams { field_manager: Some(ownership::MANAGER.into()), ..PatchParams::default() };
    for attempt in 1.. {
        let object = find(cluster, on).await?.ok_or_else(gone)?;
        let patch = Patch::<()>::Json(change::inject(&object, record)?);
        match retry(|| api.patch(&on.name, &params, &patch)).await {
            Ok(_) => return Ok(()),
            Err(error) if is_conflict(&error) && attempt < ATTEMPTS => {
                // A call that got no answer may have been heard all the same.
                let now = find(cluster, on).await?.ok_or_else(gone)?;
                if Record::of(&now)?.is_some_and(|found| found.id == record.id) {
                    return Ok(());
                }
            }
            Err(error) => return Err(failed(what(), &error)),
        }
    }
    unreachable!("the last attempt returns")
}

/// What is known of a container's ends.
#[derive(Debug, Clone, Default, PartialEq)]
struct Ends {
    /// How often it was started again.
    restarts: i32,
    /// When it ran out of memory last.
    killed: Option<Time>,
}

impl Ends {
    fn of(pod: &Pod, container: &str) -> Ends {
        let all = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let Some(status) = all.into_iter().flatten().find(|status| status.name == container) else {
            return Ends::default();
        };
        let states = [status.state.as_ref(), status.last_state.as_ref()].into_iter().flatten();
        let ended = states.filter_map(|state| state.terminated.as_ref());
        let killed = ended.filter(|ended| ended.reason.as_deref() == Some("OOMKilled"));
        Ends {
            restarts: status.restart_count,
            killed: killed.filter_map(|ended| ended.finished_at.clone()).max(),
        }
    }

    /// Whether it has ended since. One that was killed shortly before is started again only after minutes.
    fn is_more_than(&self, before: &Ends) -> bool {
        self.restarts > before.restarts || self.killed > before.killed
    }
}

async fn ends(cluster: &Cluster, pod: &PodRef, container: &str) -> Result<Ends> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), &pod.namespace);
    let found = call(|| format!("Pod {} could not be read", pod.name), || api.get(&pod.name)).await?;
    Ok(Ends::of(&found, container))
}

/// Waits until the container that ran out of memory was killed. On cgroup v1 the kernel kills one process, which may
/// be another one than the container's first.
async fn killed(cluster: &Cluster, pod: &PodRef, container: &str, before: Ends) -> Result<()> {
    let started = Instant::now();
    while !ends(cluster, pod, container).await?.is_more_than(&before) {
        if started.elapsed() > KILLED {
            let what = format!("{}/{container} was not killed for want of memory", pod.name);
            return Err(Error::target(what)
                .because_of("the kernel of its node kills one process, and took the one that had the memory")
                .hint("it works where `sre` is in the image, and on nodes with cgroup v2"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn delete(cluster: &Cluster, pod: &PodRef) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), &pod.namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    let what = || format!("Pod {} could not be deleted", pod.name);
    call_opt(what, || api.delete(&pod.name, &params)).await.map(|_| ())
}

/// Evicts a pod; a budget for disruptions that does not allow it yet is waited for.
async fn evict(cluster: &Cluster, pod: &PodRef) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), &pod.namespace);
    let params = EvictParams {
        delete_options: Some(DeleteParams {
            preconditions: Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        }),
        ..EvictParams::default()
    };
    let started = Instant::now();
    loop {
        match api.evict(&pod.name, &params).await {
            Ok(_) => return Ok(()),
            // Gone, or another one of this name.
            Err(error) if matches!(status(&error), Some(404 | 409)) => return Ok(()),
            Err(error) if status(&error) == Some(429) && started.elapsed() < BOUND => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                return Err(Error::target(format!(
                    "Pod {}/{} could not be evicted",
                    pod.namespace, pod.name
                ))
                .because_of(explain(&error)));
            }
        }
    }
}

/// Makes a helper object; a pod has to run before the fault counts as injected.
async fn create(cluster: &Cluster, object: &ObjectRef, body: Option<&serde_json::Value>) -> Result<()> {
    let what = || format!("{object} could not be made");
    let body: DynamicObject = serde_json::from_value(body.cloned().unwrap_or_default())
        .map_err(|e| Error::target(what()).because(e))?;
    let Some((api, _)) = cluster.api(object, "default").await? else {
        return Err(Error::target(format!("{object}: this cluster serves no such kind")));
    };
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    match retry(|| api.create(&params, &body)).await {
        Ok(_) => {}
        // The call before got no answer.
        Err(error) if status(&error) == Some(409) => {}
        Err(error) => return Err(failed(what(), &error)),
    }
    if object.kind != "Pod" {
        return Ok(());
    }
    let started = Instant::now();
    loop {
        let now = call(what, || api.get(&object.name)).await?;
        if now.data["status"]["phase"] != "Pending" {
            return Ok(());
        }
        if started.elapsed() > BOUND {
            let why = trouble(&now).unwrap_or_else(|| "it is Pending".into());
            return Err(Error::target(format!("helper {object} does not run")).because_of(why));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn who_interrupts_it_does_not_wait_for_what_does_not_come() {
        let on = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
        let fake = crate::target::kubernetes::fake::Fake::new(&[web]).await;
        let pod = ObjectRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: "sre-fault-one".into(),
            ..on.clone()
        };
        let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod.name, "namespace": "shop"},
            "status": {"phase": "Pending"}});
        let create = Effect::Create { object: pod, body: Some(Box::new(body)) };
        let record = Record::new("one", "cpu-pressure", Timestamp::now(), vec![create]);
        let interrupt = Interrupt::default();
        let started = Instant::now();
        let press = async {
            while fake.count("Pod") == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            interrupt.trigger(crate::exit::Exit::Interrupted);
        };
        let (injected, ()) = tokio::join!(inject(&fake.cluster, &on, &record, &interrupt), press);
        let Err(error) = injected else { panic!("nothing interrupted it") };
        assert_eq!(error.exit(), crate::exit::Exit::Interrupted);
        assert!(started.elapsed() < BOUND / 4, "{:?}", started.elapsed());
    }

    fn ends(restarts: i32, state: Value, last: Value) -> Ends {
        let pod = json!({"metadata": {}, "status": {"containerStatuses": [
            {"name": "side", "restartCount": 9, "ready": true, "image": "", "imageID": ""},
            {"name": "web", "restartCount": restarts, "ready": false, "image": "", "imageID": "",
                "state": state, "lastState": last},
        ]}});
        Ends::of(&serde_json::from_value(pod).expect("a Pod"), "web")
    }

    #[test]
    fn a_container_that_is_started_again_only_later_was_killed_all_the_same() {
        let ended = |reason: &str, time: &str| json!({"terminated": {"exitCode": 137, "reason": reason, "finishedAt": format!("2026-11-21T10:00:{time}Z")}});
        let (running, waiting) = (json!({"running": {}}), json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        let before = ends(1, running.clone(), ended("OOMKilled", "01"));
        assert!(!ends(1, running.clone(), ended("OOMKilled", "01")).is_more_than(&before));
        assert!(ends(1, ended("OOMKilled", "30"), ended("OOMKilled", "01")).is_more_than(&before));
        assert!(ends(1, waiting, ended("OOMKilled", "30")).is_more_than(&before));
        assert!(!ends(1, ended("Completed", "30"), ended("OOMKilled", "01")).is_more_than(&before));
        assert!(ends(2, running.clone(), ended("Error", "30")).is_more_than(&before));
        assert!(ends(0, ended("OOMKilled", "30"), json!({})).is_more_than(&ends(0, running, json!({}))));
    }
}
