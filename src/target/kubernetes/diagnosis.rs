//! Why an object is not ready: its pods, their last event, their last log lines.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::core::{DynamicObject, Selector};
use serde_json::Value;

use super::client::Cluster;
use super::failure::retry;
use super::object::ObjectRef;
use super::readiness::{Readiness, readiness, trouble};
use crate::error::Error;

/// How many log lines an error shows.
const LINES: i64 = 5;

/// What is at work behind an object that is waited for: `pulling image x`. Nothing, where that can't be told:
/// a wait does not end because of it.
pub async fn at_work(cluster: &Cluster, object: &ObjectRef, found: &DynamicObject) -> Option<String> {
    let pod = unready_pod(cluster, object, found).await?;
    if let Some(trouble) = trouble(&pod) {
        return Some(trouble);
    }
    let event = last_event(cluster, object.namespace.as_deref()?, &[pod.metadata.name.as_deref()?]).await?;
    Some(lower_first(event.message.as_deref()?.lines().next()?))
}

/// Adds to an error what the object's pods, events and logs tell, and the command that shows more.
pub async fn explain(
    cluster: &Cluster,
    object: &ObjectRef,
    found: Option<&DynamicObject>,
    error: Error,
) -> Error {
    let mut error = error;
    let namespace = object.namespace.as_deref().unwrap_or("default");
    let pod = match found {
        Some(found) => unready_pod(cluster, object, found).await,
        None => None,
    };
    let pod_name = pod.as_ref().and_then(|pod| pod.metadata.name.clone());
    if let Some(pod) = &pod {
        let name = pod_name.as_deref().unwrap_or_default();
        if let Some(trouble) = trouble(pod) {
            error = error.because_of(format!("pod {name}: {trouble}"));
        }
    }
    let mut names = vec![object.name.as_str()];
    names.extend(pod_name.as_deref());
    if let Some(event) = last_event(cluster, namespace, &names).await {
        let (about, message) =
            (event.involved_object.name.unwrap_or_default(), event.message.unwrap_or_default());
        error = error.because_of(format!("last event, of {about}: {}", message.trim()));
    }
    if let Some(pod) = &pod
        && let Some((container, log)) = last_lines(cluster, namespace, pod).await
    {
        error = error.because_of(format!("last log lines of container {container}:\n{log}"));
    }
    let (kind, name) = match &pod_name {
        Some(pod) => ("pod", pod.as_str()),
        None => (object.kind.as_str(), object.name.as_str()),
    };
    error.hint(format!(
        "kubectl --context {} -n {namespace} describe {} {name}",
        cluster.context(),
        kind.to_lowercase()
    ))
}

/// One of the object's pods that is not ready, the one in trouble first; the object itself, if it is a pod.
async fn unready_pod(cluster: &Cluster, object: &ObjectRef, found: &DynamicObject) -> Option<DynamicObject> {
    if object.kind == "Pod" {
        return Some(found.clone());
    }
    let selector = pods_of(object, found)?;
    let kind = cluster.kind("", "v1", "Pod").await.ok()??;
    let api = cluster.api_of(&kind, object.namespace.as_deref()?);
    let params = ListParams::default().labels_from(&selector);
    let mut pods = retry(|| api.list(&params)).await.ok()?.items;
    pods.retain(|pod| readiness("Pod", pod) != Readiness::Ready);
    pods.sort_by_key(|pod| trouble(pod).is_none());
    pods.into_iter().next()
}

/// The labels of an object's pods.
fn pods_of(object: &ObjectRef, found: &DynamicObject) -> Option<Selector> {
    // The Prometheus operator's objects name no labels; their pods have these.
    if matches!(object.kind.as_str(), "Prometheus" | "Alertmanager") {
        let name = ("app.kubernetes.io/name".to_owned(), object.kind.to_lowercase());
        let instance = ("app.kubernetes.io/instance".to_owned(), object.name.clone());
        return Some([name, instance].into_iter().collect());
    }
    let labels = found.data["spec"]["selector"]["matchLabels"].as_object()?;
    Some(labels.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
}

/// The last event of any of these objects, warnings first.
async fn last_event(cluster: &Cluster, namespace: &str, names: &[&str]) -> Option<Event> {
    let api: Api<Event> = Api::namespaced(cluster.client(), namespace);
    let mut events = Vec::new();
    for name in names {
        let params = ListParams::default().fields(&format!("involvedObject.name={name}"));
        events.extend(retry(|| api.list(&params)).await.ok()?.items);
    }
    events.into_iter().max_by_key(|event| {
        let time = event
            .last_timestamp
            .as_ref()
            .map(|time| time.0)
            .or_else(|| event.event_time.as_ref().map(|time| time.0));
        (event.type_.as_deref() == Some("Warning"), time)
    })
}

/// The last log lines of the container that keeps a pod from being ready; those of its last life, if this
/// one has none.
async fn last_lines(cluster: &Cluster, namespace: &str, pod: &DynamicObject) -> Option<(String, String)> {
    let statuses = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|key| pod.data["status"][key].as_array().into_iter().flatten());
    let container = statuses
        .filter(|container| container["ready"] != Value::Bool(true))
        .find(|container| {
            container["state"].get("waiting").is_none() || container["restartCount"].as_u64() > Some(0)
        })
        .and_then(|container| container["name"].as_str())?;
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    for previous in [false, true] {
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(LINES),
            previous,
            ..LogParams::default()
        };
        if let Ok(log) = api.logs(pod.metadata.name.as_deref()?, &params).await
            && !log.trim().is_empty()
        {
            return Some((container.to_owned(), log.trim_end().to_owned()));
        }
    }
    None
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_lowercase().chain(characters).collect())
}
