//! Faults that somebody left on a cluster, found by their annotations.

use kube::api::{Api, ListParams};
use kube::core::{DynamicObject, PartialObjectMeta};

use super::record::{ANNOTATION, Record};
use crate::error::{Error, Result};
use crate::scenario::AimKind;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::{explain, retry, status};
use crate::target::kubernetes::object::ObjectRef;

/// The kinds of objects that faults are on.
const KINDS: [AimKind; 8] = AimKind::ALL;

/// A fault on an object.
pub struct Found {
    /// The object.
    pub on: ObjectRef,
    /// The fault, or why its annotation cannot be read.
    pub record: Result<Record>,
}

/// Every fault on the objects of a namespace (of all, if none is named) and on nodes, and what could not be looked
/// at. Only metadata is read.
///
/// # Errors
/// The target (exit 6) where the cluster does not answer.
pub async fn scan(cluster: &Cluster, namespace: Option<&str>) -> Result<(Vec<Found>, Vec<String>)> {
    let mut all = Vec::new();
    let mut unseen = Vec::new();
    for kind in KINDS {
        let group = kind.api_version().split_once('/').map_or("", |(group, _)| group);
        let Some(served) = cluster.kind(group, "", kind.kind()).await? else { continue };
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) if served.namespaced => {
                Api::namespaced_with(cluster.client(), namespace, &served.resource)
            }
            _ => Api::all_with(cluster.client(), &served.resource),
        };
        let params = ListParams::default();
        let found = match retry(|| api.list_metadata(&params)).await {
            Ok(found) => found.items,
            Err(error) if status(&error) == Some(403) => {
                unseen.push(explain(&error));
                continue;
            }
            Err(error) => {
                return Err(Error::target(format!("the {}s could not be listed", kind.kind()))
                    .because_of(explain(&error)));
            }
        };
        for object in found {
            // The controller's copies of the annotation are no faults of their own.
            let copied = kind == AimKind::ReplicaSet && is_owned(&object);
            let Some(text) = object.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION)) else {
                continue;
            };
            if copied {
                continue;
            }
            let on = ObjectRef {
                api_version: kind.api_version().into(),
                kind: kind.kind().into(),
                namespace: object.metadata.namespace.clone(),
                name: object.metadata.name.clone().unwrap_or_default(),
            };
            all.push(Found { on, record: Record::read(text) });
        }
    }
    Ok((all, unseen))
}

fn is_owned(object: &PartialObjectMeta<DynamicObject>) -> bool {
    object.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}
