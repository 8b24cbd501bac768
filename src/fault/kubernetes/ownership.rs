//! Who owns the fields that a fault changes (`metadata.managedFields`): noted before the fault, and given back after it.
//! Without that the next `helm upgrade`, which applies on the server, would end with a conflict. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

/// The field manager of what faults change. It is not that of `sre up`, so that all that it owns is the fault's.
pub const MANAGER: &str = "sre-fault";

/// The managed fields of an object, cut down to those at or below these places (JSON pointers).
pub fn noted<'a>(object: &DynamicObject, paths: impl Iterator<Item = &'a str>) -> Vec<ManagedFieldsEntry> {
    let value = serde_json::to_value(object).unwrap_or_default();
    let paths: Vec<Vec<String>> = paths.map(segments).collect();
    let entries = object.metadata.managed_fields.iter().flatten().filter(|entry| !is_of_fault(entry));
    entries
        .filter_map(|entry| {
            let tree = &entry.fields_v1.as_ref()?.0;
            let cuts = paths.iter().filter_map(|path| cut(tree, &value, path));
            let fields = cuts.reduce(|all, one| union(&all, &one))?;
            Some(ManagedFieldsEntry { fields_v1: Some(FieldsV1(fields)), ..entry.clone() })
        })
        .collect()
}

/// The managed fields after a fault whose values are set back: nothing is the fault's, and what it took over belongs to
/// whom it belonged before. `None` where there is nothing to give back.
pub fn given_back(
    now: &[ManagedFieldsEntry],
    before: &[ManagedFieldsEntry],
) -> Option<Vec<ManagedFieldsEntry>> {
    let tree = |entry: &ManagedFieldsEntry| entry.fields_v1.as_ref().map(|fields| fields.0.clone());
    let taken = now.iter().filter(|entry| is_of_fault(entry)).filter_map(tree);
    let taken = taken.reduce(|all, one| union(&all, &one))?;
    let mut after: Vec<ManagedFieldsEntry> =
        now.iter().filter(|entry| !is_of_fault(entry)).cloned().collect();
    for owner in before {
        let Some(share) = tree(owner).and_then(|tree| intersection(&tree, &taken)) else { continue };
        match after.iter_mut().find(|entry| is_same(entry, owner)) {
            Some(entry) => {
                let whole = tree(entry).map_or_else(|| share.clone(), |has| union(&has, &share));
                entry.fields_v1 = Some(FieldsV1(whole));
            }
            None => {
                after.push(ManagedFieldsEntry { fields_v1: Some(FieldsV1(share)), ..owner.clone() });
            }
        }
    }
    // An empty list would leave everything as it is.
    (!after.is_empty()).then_some(after)
}

fn is_of_fault(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(MANAGER)
}

fn is_same(one: &ManagedFieldsEntry, other: &ManagedFieldsEntry) -> bool {
    (&one.manager, &one.operation, &one.subresource, &one.api_version)
        == (&other.manager, &other.operation, &other.subresource, &other.api_version)
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// The branch of a tree of fields that leads to a place of the object. A list or map that is owned as a whole has no
/// branches; it is meant itself then.
fn cut(tree: &Value, object: &Value, path: &[String]) -> Option<Value> {
    let Some((next, rest)) = path.split_first() else { return Some(tree.clone()) };
    let branches = tree.as_object()?;
    if branches.is_empty() {
        return Some(json!({}));
    }
    let (key, below) = match object {
        Value::Array(items) => {
            let index: usize = next.parse().ok()?;
            let item = items.get(index)?;
            (branches.keys().find(|key| names(key, item, index))?.clone(), item)
        }
        _ => (format!("f:{next}"), object.get(next).unwrap_or(&Value::Null)),
    };
    let cut = cut(branches.get(&key)?, below, rest)?;
    Some(Value::Object(Map::from_iter([(key, cut)])))
}

/// Whether a key of a tree of fields names this item of a list: by its keys, by its value or by its number.
fn names(key: &str, item: &Value, index: usize) -> bool {
    let Some((kind, text)) = key.split_once(':') else { return false };
    let parsed = serde_json::from_str::<Value>(text).unwrap_or_default();
    match kind {
        "k" => parsed
            .as_object()
            .is_some_and(|keys| keys.iter().all(|(name, value)| item.get(name) == Some(value))),
        "v" => parsed == *item,
        "i" => parsed == json!(index),
        _ => false,
    }
}

fn union(one: &Value, other: &Value) -> Value {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return one.clone() };
    let mut all = one.clone();
    for (key, value) in other {
        let merged = all.get(key).map_or_else(|| value.clone(), |known| union(known, value));
        all.insert(key.clone(), merged);
    }
    Value::Object(all)
}

/// What is in both; `None` where that is nothing. A leaf stands for all that is below it.
fn intersection(one: &Value, other: &Value) -> Option<Value> {
    let (mine, others) = (one.as_object()?, other.as_object()?);
    if mine.is_empty() || others.is_empty() {
        return Some(one.clone());
    }
    let both: Map<String, Value> = mine
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), intersection(value, others.get(key)?)?)))
        .collect();
    (!both.is_empty()).then_some(Value::Object(both))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        serde_json::from_value(json!({
            "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": "2026-11-28T10:00:00Z", "fieldsV1": fields,
        }))
        .expect("an entry")
    }

    fn deployment(entries: &[ManagedFieldsEntry]) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "managedFields": entries},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [
                {"name": "web", "readinessProbe": {"httpGet": {"path": "/", "port": 80}}},
            ]}}},
        }))
        .expect("a Deployment")
    }

    const REPLICAS: &str = "/spec/replicas";
    const PROBE: &str = "/spec/template/spec/containers/0/readinessProbe";

    fn of_helm() -> ManagedFieldsEntry {
        entry(
            "helm",
            "Apply",
            json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                r#"k:{"name":"web"}"#: {".": {}, "f:name": {}, "f:image": {},
                    "f:readinessProbe": {"f:httpGet": {"f:path": {}, "f:port": {}}}},
            }}}}}),
        )
    }

    #[test]
    fn what_a_fault_took_over_is_whose_it_was_before() {
        let before = deployment(&[of_helm(), entry("kubectl", "Update", json!({"f:metadata": {}}))]);
        let owners = noted(&before, [REPLICAS, PROBE].into_iter());
        assert_eq!(owners.len(), 1, "only helm owns what is changed: {owners:?}");
        // As the server has it once both values were changed and set back by the fault's manager.
        let left = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            r#"k:{"name":"web"}"#: {".": {}, "f:name": {}, "f:image": {}}}}}}});
        let taken = json!({
            "f:metadata": {"f:annotations": {".": {}, "f:sre.dev/fault": {}}},
            "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                r#"k:{"name":"web"}"#: {"f:readinessProbe": {"f:httpGet": {".": {}, "f:path": {}, "f:port": {}, "f:scheme": {}}}},
            }}}},
        });
        let now = [
            entry("helm", "Apply", left),
            entry("kubectl", "Update", json!({"f:metadata": {}})),
            entry(MANAGER, "Update", taken),
        ];
        let after = given_back(&now, &owners).expect("something to give back");
        assert_eq!(after, *before.metadata.managed_fields.as_ref().expect("entries"));
    }

    #[test]
    fn what_somebody_else_took_meanwhile_stays_theirs() {
        let owners = noted(&deployment(&[of_helm()]), [REPLICAS].into_iter());
        let scaled = entry("kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
        let fault =
            entry(MANAGER, "Update", json!({"f:metadata": {"f:annotations": {"f:sre.dev/fault": {}}}}));
        assert_eq!(given_back(&[scaled.clone(), fault], &owners), Some(vec![scaled]));
    }

    #[test]
    fn an_owner_of_nothing_else_comes_back_and_lists_that_are_owned_whole_do_so_too() {
        let ingress: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "managedFields": [
                entry("helm", "Apply", json!({"f:spec": {"f:rules": {}}})),
            ]},
            "spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"port": {"number": 80}}}}]}}]},
        }))
        .expect("an Ingress");
        let owners = noted(&ingress, ["/spec/rules/0/http/paths/0/backend/service/port"].into_iter());
        let now = [entry(MANAGER, "Update", json!({"f:spec": {"f:rules": {}}}))];
        assert_eq!(given_back(&now, &owners), ingress.metadata.managed_fields);
    }

    #[test]
    fn without_a_fault_nothing_is_given_back() {
        assert_eq!(given_back(&[of_helm()], &[of_helm()]), None);
        assert_eq!(given_back(&[], &[]), None);
    }

    #[test]
    fn ports_are_told_apart_by_their_keys() {
        let ports = json!([{"port": 80, "protocol": "TCP"}, {"port": 443, "protocol": "TCP"}]);
        let tree = json!({r#"k:{"port":443,"protocol":"TCP"}"#: {".": {}, "f:targetPort": {}}});
        assert_eq!(cut(&tree, &ports, &["0".into(), "targetPort".into()]), None);
        assert!(cut(&tree, &ports, &["1".into(), "targetPort".into()]).is_some());
    }
}
