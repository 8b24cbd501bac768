//! Claims that one writer at a time may use, and workloads whose rollouts have two on them: the new pod starts beside the
//! old one, both write to one folder, and data is lost. Pure.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::Value;

/// The names of the claims that a workload's pods share, by its pod template.
pub fn shared_claims(workload: &Value) -> Vec<&str> {
    let volumes = workload.pointer("/spec/template/spec/volumes").and_then(Value::as_array);
    let claims = volumes.into_iter().flatten().filter_map(|volume| volume.get("persistentVolumeClaim"));
    let written = claims.filter(|claim| claim["readOnly"] != true);
    written.filter_map(|claim| claim["claimName"].as_str()).collect()
}

/// Whether a claim is for one writer, or one node of writers: `ReadWriteOnce`, `ReadWriteOncePod`, or nothing that is
/// known to be for several.
pub fn is_single(claim: &Value) -> bool {
    let modes = claim.pointer("/spec/accessModes").and_then(Value::as_array);
    let shared = |mode: &Value| mode == "ReadWriteMany" || mode == "ReadOnlyMany";
    !modes.is_some_and(|modes| modes.iter().any(shared))
}

/// Whether a rollout starts new pods beside old ones: a Deployment's does, unless it is told to recreate them.
pub fn overlaps(kind: &str, workload: &Value) -> bool {
    kind == "Deployment"
        && workload.pointer("/spec/strategy/type").is_none_or(|strategy| strategy != "Recreate")
}

/// The Deployments among objects, each with its namespace, whose rollouts have two pods write to one claim that is among
/// them, too: a sentence each.
pub fn risks<'a>(objects: impl Iterator<Item = (&'a str, &'a DynamicObject)>) -> Vec<String> {
    let kind =
        |object: &DynamicObject| object.types.as_ref().map_or(String::new(), |types| types.kind.clone());
    let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
    let (claims, others): (Vec<_>, Vec<_>) =
        objects.partition(|(_, object)| kind(object) == "PersistentVolumeClaim");
    let single: BTreeSet<(&str, String)> = claims
        .into_iter()
        .filter(|(_, claim)| is_single(&claim.data))
        .map(|(namespace, claim)| (namespace, name(claim)))
        .collect();
    let rolled = others.into_iter().filter(|(_, object)| overlaps(&kind(object), &object.data));
    rolled
        .filter_map(|(namespace, object)| {
            let shared = shared_claims(&object.data).into_iter();
            let claim = shared.map(str::to_owned).find(|claim| single.contains(&(namespace, claim.clone())))?;
            Some(format!(
                "a rollout of Deployment {namespace}/{} has two pods write to the claim {claim} at the same time, and \
                 loses data",
                name(object)
            ))
        })
        .collect()
}

/// What mends it.
pub const MENDS: &str = "strategy: {type: Recreate} in the Deployment, or a StatefulSet";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_that_are_written_by_rolling_pods_are_found() {
        let workload = |strategy: Value, read_only: bool| {
            json!({"spec": {"strategy": strategy, "template": {"spec": {"volumes": [
                {"name": "a", "emptyDir": {}},
                {"name": "b", "persistentVolumeClaim": {"claimName": "data", "readOnly": read_only}},
            ]}}}})
        };
        assert_eq!(shared_claims(&workload(json!({}), false)), ["data"]);
        assert!(shared_claims(&workload(json!({}), true)).is_empty());
        assert!(overlaps("Deployment", &workload(Value::Null, false)));
        assert!(overlaps("Deployment", &workload(json!({"type": "RollingUpdate"}), false)));
        assert!(!overlaps("Deployment", &workload(json!({"type": "Recreate"}), false)));
        assert!(!overlaps("StatefulSet", &workload(Value::Null, false)));
    }

    #[test]
    fn a_deployment_on_a_claim_beside_it_is_named() {
        let text = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce]}\n\
            ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: db}\n\
            spec: {template: {spec: {volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}}}\n";
        let objects = crate::target::kubernetes::object::read_objects("x.yaml", text).expect("objects");
        let found = risks(objects.iter().map(|object| ("shop", object)));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("Deployment shop/db") && found[0].contains("claim data"), "{found:?}");
        let elsewhere = ["shop", "other"].into_iter().zip(&objects);
        assert!(risks(elsewhere).is_empty());
    }

    #[test]
    fn only_what_several_may_write_is_shared() {
        let claim = |modes: Value| json!({"spec": {"accessModes": modes}});
        assert!(
            is_single(&claim(json!(["ReadWriteOnce"]))) && is_single(&claim(json!(["ReadWriteOncePod"])))
        );
        assert!(is_single(&json!({})));
        assert!(!is_single(&claim(json!(["ReadWriteOnce", "ReadWriteMany"]))));
    }
}
