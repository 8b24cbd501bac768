//! Removing a fault's own helper objects: read first, recognised by their labels, deleted by their UID. A name alone
//! deletes nothing: it may come from an annotation that somebody else wrote.

use kube::api::{DeleteParams, Preconditions};
use kube::core::DynamicObject;

use super::record::LABEL;
use crate::error::Result;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::{call_opt, failed, retry, status};
use crate::target::kubernetes::object::{MANAGED_BY, MANAGER, ObjectRef};

/// Removes an object if its labels say that it is a helper of this fault, and `is_own` agrees; one that is gone, or is
/// somebody else's, is no error.
///
/// # Errors
/// The target (exit 6) where the cluster refuses.
pub async fn remove(
    cluster: &Cluster,
    object: &ObjectRef,
    id: &str,
    is_own: impl Fn(&DynamicObject) -> bool,
) -> Result<()> {
    match look(cluster, object, id).await?.filter(is_own) {
        Some(found) => delete(cluster, object, &found).await,
        None => Ok(()),
    }
}

/// The object of this name, if its labels say that it is a helper of this fault.
///
/// # Errors
/// The target (exit 6) where it cannot be read.
pub async fn look(cluster: &Cluster, object: &ObjectRef, id: &str) -> Result<Option<DynamicObject>> {
    let Some((api, _)) = cluster.api(object, "default").await? else { return Ok(None) };
    let found = call_opt(|| format!("{object} could not be read"), || api.get(&object.name)).await?;
    Ok(found.filter(|found| is_labelled(found, id)))
}

/// Deletes an object that was looked at, and no other of its name.
///
/// # Errors
/// The target (exit 6) where the cluster refuses.
pub async fn delete(cluster: &Cluster, object: &ObjectRef, found: &DynamicObject) -> Result<()> {
    let Some((api, _)) = cluster.api(object, "default").await? else { return Ok(()) };
    let params = DeleteParams {
        grace_period_seconds: (object.kind == "Pod").then_some(0),
        preconditions: Some(Preconditions { uid: found.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::background()
    };
    match retry(|| api.delete(&object.name, &params)).await {
        // Gone meanwhile, or another one of this name by now.
        Err(error) if !matches!(status(&error), Some(404 | 409)) => {
            Err(failed(format!("{object} could not be removed"), &error))
        }
        _ => Ok(()),
    }
}

/// Whether labels say that an object is a helper of this fault.
fn is_labelled(object: &DynamicObject, id: &str) -> bool {
    let labels = object.metadata.labels.as_ref();
    let is = |key: &str, value: &str| labels.and_then(|all| all.get(key)).is_some_and(|is| is == value);
    is(LABEL, id) && is(MANAGED_BY, MANAGER)
}
