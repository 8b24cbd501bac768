//! Waits until what is being deleted is gone.

use std::time::{Duration, Instant};

use kube::core::DynamicObject;

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
/// It is still there after two minutes (exit 6); what holds it, where its finalizers tell.
pub async fn gone(cluster: &Cluster, object: &ObjectRef) -> Result<()> {
    let started = Instant::now();
    let mut uid = None;
    while let Some(there) = found(cluster, object).await? {
        if *uid.get_or_insert_with(|| there.metadata.uid.clone()) != there.metadata.uid {
            return Ok(());
        }
        if started.elapsed() > GONE {
            let held = there.metadata.finalizers.unwrap_or_default().join(", ");
            let why = match held.as_str() {
                "" => "something in it has a finalizer that nobody serves, perhaps".to_owned(),
                held => format!("these finalizers hold it: {held}"),
            };
            return Err(Error::target(format!("{object} is not gone after {} s", GONE.as_secs()))
                .because_of(why)
                .hint("kubectl describe it; the same command again goes on from here"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
