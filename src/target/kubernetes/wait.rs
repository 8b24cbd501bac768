//! Waits until objects are ready, and names what it waits for.

use std::time::{Duration, Instant};

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt, future};
use kube::api::Api;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, ExponentialBackoff};

use super::client::Cluster;
use super::diagnosis;
use super::object::ObjectRef;
use super::readiness::{Readiness, is_probed, readiness};
use crate::error::{Error, Result};

/// How often the pods and events behind an object are looked at while it is waited for.
const LOOK: Duration = Duration::from_secs(2);

/// How long what has no readiness probe must stay ready to count as ready.
const SETTLED: Duration = Duration::from_secs(2);

/// The longest pause before a watch that broke off is tried again; jitter may double it.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Waits until all objects are ready, `within` in all. `progress` is called with a line on each change and
/// about every two seconds: `Deployment lab/app: 0 of 1 ready · pulling image x (14 s of 5m)`.
///
/// An object that is not there is waited for, too. The error names the object, what keeps it, its last
/// event and its last log lines.
pub async fn ready(
    cluster: &Cluster,
    objects: &[ObjectRef],
    within: Duration,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let started = Instant::now();
    let all = objects.iter().map(|object| one(cluster, object, started, within, progress));
    future::try_join_all(all).await.map(|_| ())
}

async fn one(
    cluster: &Cluster,
    object: &ObjectRef,
    started: Instant,
    within: Duration,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let namespace = object.namespace.as_deref().unwrap_or("default");
    let Some((api, _)) = cluster.api(object, namespace).await? else {
        return Err(Error::target(format!("{object}: this cluster serves no such kind")));
    };
    let mut changes = Box::pin(changes(api, &object.name));
    let mut look = tokio::time::interval(LOOK);
    let end = tokio::time::sleep(within.saturating_sub(started.elapsed()));
    tokio::pin!(end);
    let mut last: Option<DynamicObject> = None;
    let mut missing = "not seen yet".to_owned();
    let mut ready_since: Option<tokio::time::Instant> = None;
    loop {
        let detail = tokio::select! {
            biased;
            () = &mut end => break,
            () = settled(ready_since) => return Ok(()),
            change = changes.next() => {
                match change {
                    Some(Ok(found)) => {
                        let was_ready = ready_since.take();
                        missing = match found.as_ref().map(|found| readiness(&object.kind, found)) {
                            None => "is not there".into(),
                            Some(Readiness::Ready) => {
                                if found.as_ref().is_some_and(|found| is_probed(&object.kind, found)) {
                                    return Ok(());
                                }
                                ready_since = was_ready.or_else(|| Some(tokio::time::Instant::now()));
                                "ready, and has no readiness probe: does it stay so?".into()
                            }
                            Some(Readiness::Waiting(what)) => what,
                            Some(Readiness::Failed(why)) => {
                                let error = Error::target(format!("{object} failed")).because_of(why);
                                return Err(diagnosis::explain(cluster, object, found.as_ref(), error).await);
                            }
                        };
                        last = found;
                    }
                    Some(Err(error)) => missing = format!("can't be watched: {error}"),
                    None => break,
                }
                None
            }
            _ = look.tick(), if last.is_some() => {
                match &last {
                    Some(found) => diagnosis::at_work(cluster, object, found).await,
                    None => None,
                }
            }
        };
        let detail = detail.map_or(String::new(), |detail| format!(" · {detail}"));
        progress(&format!(
            "{object}: {missing}{detail} ({} s of {})",
            started.elapsed().as_secs(),
            crate::scenario::Duration::from(within)
        ));
    }
    let within = crate::scenario::Duration::from(within);
    let error = Error::target(format!("{object} was not ready within {within}")).because_of(missing);
    Err(diagnosis::explain(cluster, object, last.as_ref(), error).await)
}

/// An object as it is and as it changes; `None` where it is not there. After an error the watch starts itself again, with
/// growing pauses.
fn changes(
    api: Api<DynamicObject>,
    name: &str,
) -> impl Stream<Item = Result<Option<DynamicObject>, watcher::Error>> + use<> {
    let pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter();
    watcher::watch_object(api, name).backoff(ExponentialBackoff::from(pauses))
}

/// Comes back when what is ready since then has stayed so; never, if it is not ready.
async fn settled(ready_since: Option<tokio::time::Instant>) {
    match ready_since {
        Some(since) => tokio::time::sleep_until(since + SETTLED).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kube::core::{ApiResource, GroupVersionKind};
    use serde_json::json;

    use super::*;
    use crate::target::kubernetes::client::standin;

    fn api(cluster: &Cluster) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
        Api::namespaced_with(cluster.client(), "lab", &ApiResource::from_gvk(&kind))
    }

    #[tokio::test]
    async fn a_watch_that_is_refused_is_tried_again_after_growing_pauses() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let cluster = standin(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let refusal = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "deployments.apps is forbidden", "reason": "Forbidden", "code": 403});
            (403, refusal)
        });
        let mut changes = Box::pin(changes(api(&cluster), "app"));
        let all = async {
            while let Some(change) = changes.next().await {
                assert!(change.is_err());
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(1), all).await.is_err(), "it gave up");
        let asked = asked.load(Ordering::SeqCst);
        assert!((2..=4).contains(&asked), "asked {asked} times in a second");
    }
}
