//! Waits until what is being deleted is gone.

use std::time::{Duration, Instant};

use kube::core::DynamicObject;
use serde_json::Value;

use super::client::Cluster;
use super::failure::call_opt;
use super::object::ObjectRef;
use crate::error::{Error, Result};

/// How long a deleted object may take to be gone.
const GONE: Duration = Duration::from_secs(120);

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whether an object is on its way out: whatever is written to it now goes with it.
pub fn is_going(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some()
}

/// The object as it is now; `None` if it is not there.
pub async fn found(cluster: &Cluster, object: &ObjectRef) -> Result<Option<DynamicObject>> {
    let Some((api, _)) = cluster.api(object, "default").await? else { return Ok(None) };
    call_opt(|| format!("{object} could not be read"), || api.get(&object.name)).await
}

/// Waits until the object of this name that is being deleted is gone. Another one that came under its name since
/// is not waited for.
///
/// # Errors
/// It is still there after two minutes (exit 6); what holds it, where the object tells.
pub async fn gone(cluster: &Cluster, object: &ObjectRef) -> Result<()> {
    let started = Instant::now();
    let mut uid = None;
    while let Some(there) = found(cluster, object).await? {
        if *uid.get_or_insert_with(|| there.metadata.uid.clone()) != there.metadata.uid {
            return Ok(());
        }
        if started.elapsed() > GONE {
            return Err(Error::target(format!("{object} is not gone after {} s", GONE.as_secs()))
                .because_of(held_by(&there))
                .hint("kubectl describe it; the same command again goes on from here"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// What keeps an object that is being deleted. A namespace stays, too, while an API service does not answer, such as that of
/// a metrics-server which is not ready: what is in the namespace cannot be listed. Its conditions tell.
fn held_by(object: &DynamicObject) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = object.data["status"]["conditions"].as_array().into_iter().flatten();
    let wrong = conditions.filter(|condition| condition["status"] == "True");
    let told: Vec<String> = wrong.map(|condition| text(&condition["message"])).collect();
    let finalizers = object.metadata.finalizers.clone().unwrap_or_default();
    match (object.types.as_ref().is_some_and(|types| types.kind == "Namespace"), finalizers.as_slice()) {
        (true, _) if !told.is_empty() => told.join("\n"),
        (_, []) => "something in it has a finalizer that nobody serves, perhaps".to_owned(),
        (_, finalizers) => format!("these finalizers hold it: {}", finalizers.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_namespace_tells_what_keeps_it() {
        let namespace = |conditions: Value| {
            object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"},
                "status": {"phase": "Terminating", "conditions": conditions}}))
        };
        let discovery = json!([
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "True",
                "message": "Discovery failed for some groups, 1 failing: metrics.k8s.io/v1beta1: stale GroupVersion discovery"},
            {"type": "NamespaceContentRemaining", "status": "False", "message": "All content successfully removed"},
        ]);
        let told = held_by(&namespace(discovery));
        assert!(told.contains("metrics.k8s.io") && !told.contains("All content"), "{told}");
        assert!(held_by(&namespace(json!([]))).contains("finalizer that nobody serves"));
    }

    #[test]
    fn finalizers_are_named() {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "finalizers": ["kubernetes.io/pvc-protection"]},
            "status": {"conditions": [{"status": "True", "message": "resizing"}]}});
        assert_eq!(held_by(&object(claim)), "these finalizers hold it: kubernetes.io/pvc-protection");
    }
}
