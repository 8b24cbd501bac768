//! What becomes of data when a lab, or a part of it, is removed: the claims that go with it, and those that stay.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};

use super::apply::is_ours;
use super::client::Cluster;
use super::failure::call;
use super::gone::found;
use super::object::{MANAGED_BY, MANAGER, ObjectRef};
use super::record::Done;
use crate::error::Result;

/// The annotations of an object that say which release it is of.
const RELEASE: [&str; 2] = ["meta.helm.sh/release-namespace", "meta.helm.sh/release-name"];

/// The annotation that has helm leave an object behind, where it is `keep`.
const POLICY: &str = "helm.sh/resource-policy";

/// The claims of what is to be undone.
#[derive(Debug, Default, PartialEq)]
pub struct Claims {
    /// They go with it, and their data with them.
    pub lost: Vec<ObjectRef>,
    /// Nobody deletes them.
    pub left: Vec<ObjectRef>,
}

impl Claims {
    /// The claims of what was done and is to be undone, as they are now.
    ///
    /// # Errors
    /// The cluster does not tell (6).
    pub async fn of(cluster: &Cluster, done: &[Done]) -> Result<Claims> {
        let mut claims = Claims::default();
        for namespace in namespaces(done) {
            let api: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client(), namespace);
            let (what, all) =
                (|| format!("the claims in {namespace} could not be listed"), ListParams::default());
            let there = call(what, || api.list(&all)).await?.items;
            if there.is_empty() {
                continue;
            }
            let goes = done.contains(&Done::Namespace(namespace.into()))
                && found(cluster, &ObjectRef::of_namespace(namespace)).await?.is_some_and(|it| is_ours(&it));
            let sets: Api<StatefulSet> = Api::namespaced(cluster.client(), namespace);
            let what = || format!("the StatefulSets in {namespace} could not be listed");
            let sets = if goes { Vec::new() } else { call(what, || sets.list(&all)).await?.items };
            for claim in &there {
                let Some(is_lost) = (if goes { Some(true) } else { is_lost(claim, done, &sets) }) else {
                    continue;
                };
                let claim = reference("v1", "PersistentVolumeClaim", &claim.metadata);
                if is_lost { claims.lost.push(claim) } else { claims.left.push(claim) }
            }
        }
        Ok(claims)
    }

    /// Those whose data is lost, a line each.
    pub fn losses(&self) -> Vec<String> {
        lines(&self.lost)
    }

    /// What is said of those that stay, if any do.
    pub fn told(&self) -> Option<String> {
        let left = lines(&self.left).join("\n");
        (!left.is_empty()).then(|| {
            format!("! claims stay, with their data; kubectl delete removes those that nobody needs:\n{left}")
        })
    }
}

fn lines(claims: &[ObjectRef]) -> Vec<String> {
    claims.iter().map(|claim| format!("  {claim}")).collect()
}

/// The namespaces that hold something of what was done.
fn namespaces(done: &[Done]) -> BTreeSet<&str> {
    let namespaces = done.iter().filter_map(|done| match done {
        Done::Namespace(name) | Done::Release { namespace: name, .. } => Some(name.as_str()),
        Done::Object(object) => object.namespace.as_deref(),
        Done::Definition(_) | Done::Leftover(_) | Done::Patch(_) => None,
    });
    namespaces.collect()
}

/// Whether a claim in a namespace that stays goes all the same; `None` if it has nothing to do with what was done. Pure.
fn is_lost(claim: &PersistentVolumeClaim, done: &[Done], sets: &[StatefulSet]) -> Option<bool> {
    let metadata = &claim.metadata;
    if done.contains(&Done::Object(reference("v1", "PersistentVolumeClaim", metadata))) {
        let manager = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
        // One that is somebody else's by now is not touched.
        return manager.is_some_and(|manager| manager == MANAGER).then_some(true);
    }
    if is_of_release(metadata, done) {
        return Some(annotation(metadata, POLICY) != Some("keep"));
    }
    let set = sets.iter().find(|set| is_of(set, metadata) && goes(set, done))?;
    let policy = set.spec.as_ref()?.persistent_volume_claim_retention_policy.as_ref();
    Some(policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete"))
}

/// Whether a claim is one that a StatefulSet made: `TEMPLATE-SET-3`.
fn is_of(set: &StatefulSet, claim: &ObjectMeta) -> bool {
    let (Some(set_name), Some(name)) = (&set.metadata.name, &claim.name) else { return false };
    let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
    templates.filter_map(|template| template.metadata.name.as_deref()).any(|template| {
        let number = name.strip_prefix(&format!("{template}-{set_name}-"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    })
}

/// Whether a StatefulSet goes with what was done: applied, of a release, or made by an operator of what was applied. An
/// operator copies the annotations of what a release brought.
fn goes(set: &StatefulSet, done: &[Done]) -> bool {
    let metadata = &set.metadata;
    let owned = metadata.owner_references.iter().flatten().any(|owner| {
        done.contains(&Done::Object(ObjectRef {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            namespace: metadata.namespace.clone(),
            name: owner.name.clone(),
        }))
    });
    owned
        || is_of_release(metadata, done)
        || done.contains(&Done::Object(reference("apps/v1", "StatefulSet", metadata)))
}

/// Whether an object says that it is of a release among what was done.
pub(super) fn is_of_release(metadata: &ObjectMeta, done: &[Done]) -> bool {
    let [Some(namespace), Some(name)] = RELEASE.map(|key| annotation(metadata, key)) else { return false };
    done.contains(&Done::Release { namespace: namespace.into(), name: name.into() })
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn reference(api_version: &str, kind: &str, metadata: &ObjectMeta) -> ObjectRef {
    ObjectRef {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(name: &str, more: Value) -> PersistentVolumeClaim {
        let mut metadata = json!({"name": name, "namespace": "lab"});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn set(name: &str, metadata: Value, policy: Value) -> StatefulSet {
        let mut set = json!({
            "metadata": {"name": name, "namespace": "lab"},
            "spec": {
                "selector": {}, "template": {}, "serviceName": name,
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
                "persistentVolumeClaimRetentionPolicy": policy,
            },
        });
        set["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        serde_json::from_value(set).unwrap()
    }

    fn of_release(name: &str) -> Value {
        json!({"annotations": {"meta.helm.sh/release-namespace": "lab", "meta.helm.sh/release-name": name}})
    }

    fn object(api_version: &str, kind: &str, name: &str) -> Done {
        Done::Object(ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Some("lab".into()),
            name: name.into(),
        })
    }

    #[test]
    fn a_claim_that_was_applied_is_lost_and_others_have_nothing_to_do_with_it() {
        let done = [object("v1", "PersistentVolumeClaim", "files")];
        let ours = json!({"labels": {MANAGED_BY: MANAGER}});
        assert_eq!(is_lost(&claim("files", ours.clone()), &done, &[]), Some(true));
        assert_eq!(is_lost(&claim("files", json!({})), &done, &[]), None, "somebody else's by now");
        assert_eq!(is_lost(&claim("others", ours), &done, &[]), None);
    }

    #[test]
    fn a_claim_of_a_release_is_lost_unless_its_chart_keeps_it() {
        let done = [Done::Release { namespace: "lab".into(), name: "loki".into() }];
        assert_eq!(is_lost(&claim("loki", of_release("loki")), &done, &[]), Some(true));
        assert_eq!(is_lost(&claim("theirs", of_release("theirs")), &done, &[]), None);
        let mut kept = of_release("loki");
        kept["annotations"]["helm.sh/resource-policy"] = "keep".into();
        assert_eq!(is_lost(&claim("loki", kept), &done, &[]), Some(false));
    }

    #[test]
    fn the_claims_of_a_stateful_set_stay_unless_it_deletes_them() {
        let done = [
            Done::Release { namespace: "lab".into(), name: "loki".into() },
            object("apps/v1", "StatefulSet", "redis"),
            object("monitoring.coreos.com/v1", "Prometheus", "main"),
        ];
        let owner = json!({"ownerReferences": [
            {"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "name": "main", "uid": "1"}]});
        let sets = [
            set("loki", of_release("loki"), json!({"whenDeleted": "Delete"})),
            set("redis", json!({}), json!({"whenDeleted": "Retain"})),
            set("prometheus-main", owner, Value::Null),
            set("theirs", json!({}), Value::Null),
        ];
        let is_lost = |name: &str| is_lost(&claim(name, json!({})), &done, &sets);
        assert_eq!(is_lost("data-loki-0"), Some(true));
        assert_eq!(is_lost("data-redis-12"), Some(false));
        assert_eq!(is_lost("data-prometheus-main-0"), Some(false));
        for other in ["data-theirs-0", "data-redis-cache", "logs-redis-0", "data-redis"] {
            assert_eq!(is_lost(other), None, "{other}");
        }
    }

    #[test]
    fn claims_are_looked_for_wherever_something_was_done() {
        let done = [
            Done::Namespace("made".into()),
            Done::Release { namespace: "charts".into(), name: "loki".into() },
            object("v1", "ConfigMap", "a"),
            Done::Definition("d".into()),
        ];
        assert_eq!(namespaces(&done).into_iter().collect::<Vec<_>>(), ["charts", "lab", "made"]);
    }

    #[test]
    fn what_stays_is_named() {
        let left = vec![ObjectRef::of_namespace("x")];
        assert!(Claims { left, ..Claims::default() }.told().unwrap().ends_with("\n  Namespace x"));
        assert_eq!(Claims::default().told(), None);
    }
}
