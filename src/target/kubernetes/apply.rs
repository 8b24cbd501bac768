//! Server-side apply of any document.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::Value;

use super::client::Cluster;
use super::failure::{call_opt, explain, retry, status};
use super::gone::{gone, is_going};
use super::object::{self, MANAGED_BY, MANAGER, ObjectRef};
use super::wait;
use crate::error::{Error, Result};

/// How long a new definition may take to be served.
const ESTABLISHED: Duration = Duration::from_secs(30);

/// How often an apply or a patch is computed anew because its object changed meanwhile.
pub(super) const ATTEMPTS: usize = 8;

/// What an apply did to an object, or would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object; its namespace is filled in.
    pub object: ObjectRef,
    /// What became of it.
    pub change: Change,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It is not as it was.
    Changed {
        /// The object before, without what the server itself keeps.
        before: Value,
        /// The object after.
        after: Value,
    },
    /// It is as it was.
    Unchanged,
    /// It was there, and is somebody else's: a namespace, which is used as it is.
    Foreign,
}

/// Whether an apply writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It writes.
    Write,
    /// The server tells what it would do, and does nothing.
    DryRun,
}

impl Mode {
    /// The field manager, and whether it is a dry run.
    pub(super) fn params(self) -> PatchParams {
        let params = PatchParams::apply(MANAGER);
        if self == Mode::DryRun { params.dry_run() } else { params }
    }
}

/// Applies objects one after another, in the order given; those that name no namespace go to `namespace`.
/// All are labelled as `sre`'s own. An object of somebody else's is refused, but for a namespace. One that is being
/// deleted is waited for, and made anew.
///
/// In a dry run, what stands on something that is not there yet counts as [`Change::Created`], unseen.
pub async fn apply(
    cluster: &Cluster,
    namespace: &str,
    objects: &[DynamicObject],
    mode: Mode,
) -> Result<Vec<Applied>> {
    let mut applied = Vec::with_capacity(objects.len());
    for object in objects {
        applied.push(apply_one(cluster, namespace, object, mode).await?);
    }
    Ok(applied)
}

async fn apply_one(
    cluster: &Cluster,
    namespace: &str,
    object: &DynamicObject,
    mode: Mode,
) -> Result<Applied> {
    let mut reference = ObjectRef::of(object);
    let Some((api, kind)) = cluster.api(&reference, namespace).await? else {
        if mode == Mode::DryRun {
            return Ok(Applied { object: reference, change: Change::Created });
        }
        return Err(Error::target(format!(
            "{reference}: this cluster serves no kind {} of {}",
            reference.kind, reference.api_version
        ))
        .hint("its definition comes with an operator, which a chart of the stack installs, or which must be there before"));
    };
    let mut wanted = object.clone();
    if kind.namespaced {
        reference.namespace.get_or_insert_with(|| namespace.to_owned());
    } else {
        reference.namespace = None;
    }
    wanted.metadata.namespace.clone_from(&reference.namespace);
    wanted.metadata.labels.get_or_insert_default().insert(MANAGED_BY.into(), MANAGER.into());

    let params = mode.params().force();
    let mut attempt = 1;
    let (before, after) = loop {
        let before =
            call_opt(|| format!("{reference} could not be read"), || api.get(&reference.name)).await?;
        if before.as_ref().is_some_and(is_going) {
            if mode == Mode::DryRun {
                return Ok(Applied { object: reference, change: Change::Created });
            }
            gone(cluster, &reference).await?;
            continue;
        }
        if let Some(before) = &before
            && !is_ours(before)
        {
            if reference.kind == "Namespace" {
                return Ok(Applied { object: reference, change: Change::Foreign });
            }
            return Err(Error::target(format!("{reference} is there already, and is not `sre`'s")).hint(
                "rename yours, remove that one, or change it by a patch: `patches` may touch what is foreign",
            ));
        }
        // What others change meanwhile must not be taken for this apply's work.
        wanted.metadata.resource_version =
            before.as_ref().and_then(|before| before.metadata.resource_version.clone());
        let patch = Patch::Apply(&wanted);
        match retry(|| api.patch(&reference.name, &params, &patch)).await {
            Ok(after) => break (before, after),
            Err(error) if status(&error) == Some(409) && attempt < ATTEMPTS => attempt += 1,
            // Its namespace would come first.
            Err(error) if mode == Mode::DryRun && before.is_none() && status(&error) == Some(404) => {
                return Ok(Applied { object: reference, change: Change::Created });
            }
            Err(error) => return Err(refused(&reference, &error)),
        }
    };
    let change = match before {
        None => Change::Created,
        Some(before) => compare(&before, &after),
    };
    if mode == Mode::Write && reference.kind == "CustomResourceDefinition" {
        established(cluster, &reference).await?;
    }
    Ok(Applied { object: reference, change })
}

fn refused(reference: &ObjectRef, error: &kube::Error) -> Error {
    let failure = Error::target(format!("{reference} could not be applied")).because_of(explain(error));
    if status(error) == Some(422) && explain(error).contains("immutable") {
        return failure.hint(format!(
            "this part of a {} can't be changed; `sre down`, then `sre up`, makes it anew",
            reference.kind
        ));
    }
    failure
}

/// Whether `sre` applied this object.
pub fn is_ours(object: &DynamicObject) -> bool {
    object.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGER)
}

/// What changed between two readings of an object, but for what the server itself keeps.
pub(super) fn compare(before: &DynamicObject, after: &DynamicObject) -> Change {
    let (before, after) = (content(before), content(after));
    if before == after { Change::Unchanged } else { Change::Changed { before, after } }
}

/// An object without its status and without the metadata that the server keeps.
pub fn content(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for kept in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"] {
                metadata.shift_remove(kept);
            }
        }
    }
    value
}

/// Waits until the server serves a new definition.
async fn established(cluster: &Cluster, definition: &ObjectRef) -> Result<()> {
    wait::ready(cluster, std::slice::from_ref(definition), ESTABLISHED, &|_| ()).await
}

/// Deletes an object that `sre` applied; `false` if it was gone already, or is somebody else's by now.
/// What it owns goes with it, in the background.
pub async fn delete(cluster: &Cluster, object: &ObjectRef) -> Result<bool> {
    let Some((api, _)) = cluster.api(object, "default").await? else { return Ok(false) };
    let found = call_opt(|| format!("{object} could not be read"), || api.get(&object.name)).await?;
    let Some(found) = found.filter(is_ours) else { return Ok(false) };
    let mut params = kube::api::DeleteParams::background();
    if let Some(uid) = found.metadata.uid {
        // Not another object that came under this name meanwhile.
        params = params.preconditions(kube::api::Preconditions { uid: Some(uid), resource_version: None });
    }
    let deleted =
        call_opt(|| format!("{object} could not be deleted"), || api.delete(&object.name, &params)).await?;
    Ok(deleted.is_some())
}

/// Makes a namespace that is not there; `true` if it was made.
pub async fn ensure_namespace(cluster: &Cluster, name: &str, mode: Mode) -> Result<bool> {
    let namespace = object::read_objects(
        "namespace",
        &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: \"{name}\"}}\n"),
    )?;
    let applied = apply(cluster, name, &namespace, mode).await?;
    Ok(applied.iter().any(|applied| applied.change == Change::Created))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::target::kubernetes::client::standin;

    #[tokio::test]
    async fn a_watch_that_fails_once_does_not_end_the_wait_for_a_definition() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let kind =
            json!({"group": "apiextensions.k8s.io", "version": "v1", "kind": "CustomResourceDefinition"});
        let groups = json!([{"metadata": {"name": "apiextensions.k8s.io"}, "versions": [{"version": "v1", "resources":
            [{"resource": "customresourcedefinitions", "singularResource": "customresourcedefinition",
                "responseKind": kind, "scope": "Cluster", "verbs": ["list", "watch"]}]}]}]);
        let cluster = standin(move |path| match path {
            "/api" | "/apis" => {
                let items = if path == "/apis" { groups.clone() } else { json!([]) };
                (
                    200,
                    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
                    "metadata": {}, "items": items}),
                )
            }
            _ if counted.fetch_add(1, Ordering::SeqCst) == 0 => (
                503,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "not now", "reason": "ServiceUnavailable", "code": 503}),
            ),
            _ => {
                let status = json!({"conditions": [{"type": "Established", "status": "True"}]});
                (
                    200,
                    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
                    "items": [{"metadata": {"name": "shops.lab.local"}, "status": status}]}),
                )
            }
        });
        let definition = ObjectRef {
            api_version: "apiextensions.k8s.io/v1".into(),
            kind: "CustomResourceDefinition".into(),
            namespace: None,
            name: "shops.lab.local".into(),
        };
        established(&cluster, &definition).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
