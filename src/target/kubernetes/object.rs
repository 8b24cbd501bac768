//! Objects: reading their documents, naming them, and ordering them.

use std::fmt;

use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// The label that marks what `sre` owns.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The value of [`MANAGED_BY`], and the field manager of everything that `sre` writes.
pub const MANAGER: &str = "sre";

/// One object of a cluster, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `apps/v1`, `v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its namespace; `None` for what is in none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// The name of this object.
    pub fn of(object: &DynamicObject) -> ObjectRef {
        let types = object.types.clone().unwrap_or_default();
        ObjectRef {
            api_version: types.api_version,
            kind: types.kind,
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// The name of a namespace.
    pub fn of_namespace(name: &str) -> ObjectRef {
        ObjectRef { api_version: "v1".into(), kind: "Namespace".into(), namespace: None, name: name.into() }
    }

    /// The name of a node.
    pub fn of_node(name: &str) -> ObjectRef {
        ObjectRef { kind: "Node".into(), ..ObjectRef::of_namespace(name) }
    }

    /// Whether both name one object, whatever version of its kind they speak of.
    pub fn is_same(&self, other: &ObjectRef) -> bool {
        (self.group(), &self.kind, &self.namespace, &self.name)
            == (other.group(), &other.kind, &other.namespace, &other.name)
    }

    /// Its API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Reads all objects of a file of YAML documents; the items of a `List` are objects of their own.
/// `file` is named in errors.
pub fn read_objects(file: &str, text: &str) -> Result<Vec<DynamicObject>> {
    objects_of(file, read_documents(file, text)?)
}

/// The objects that documents of a file are.
pub fn objects_of(file: &str, documents: Vec<Value>) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for document in documents {
        flatten(file, document, &mut objects)?;
    }
    Ok(objects)
}

/// Reads all documents of a YAML file that hold anything.
pub fn read_documents(file: &str, text: &str) -> Result<Vec<Value>> {
    documents(text).map_err(|e| Error::usage(format!("{file} is not valid YAML")).because(e))
}

/// All documents of a YAML text that hold anything.
pub(super) fn documents(text: &str) -> std::result::Result<Vec<Value>, serde_saphyr::Error> {
    // Manifests write file modes as YAML 1.1 octals (`0755`), and may be longer than untrusted input should be.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, budget: crate::config::large() };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

fn flatten(file: &str, document: Value, objects: &mut Vec<DynamicObject>) -> Result<()> {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind.ends_with("List")
        && let Some(items) = document.get("items").and_then(Value::as_array)
    {
        return items.iter().try_for_each(|item| flatten(file, item.clone(), objects));
    }
    let named = format!("{file}: document {}", objects.len() + 1);
    let object: DynamicObject = serde_json::from_value(document)
        .map_err(|e| Error::usage(format!("{named} is not a Kubernetes object")).because(e))?;
    if object.types.as_ref().is_none_or(|types| types.kind.is_empty() || types.api_version.is_empty()) {
        return Err(Error::usage(format!("{named} has no `apiVersion` and `kind`")));
    }
    if object.metadata.name.as_deref().is_none_or(str::is_empty) {
        return Err(Error::usage(format!("{named} has no `metadata.name`"))
            .hint("`generateName` would make another object at every `sre up`; give it a name"));
    }
    objects.push(object);
    Ok(())
}

/// Sorts objects so that each comes after what it stands on; the order of equals stays.
pub fn sort_for_apply(objects: &mut [DynamicObject]) {
    objects.sort_by_key(|object| rank(object.types.as_ref().map_or("", |types| &types.kind)));
}

/// Helm's order of installation, in groups.
fn rank(kind: &str) -> u8 {
    match kind {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "PriorityClass" | "StorageClass" | "ResourceQuota" | "LimitRange" | "NetworkPolicy" => 2,
        "ServiceAccount" | "Secret" | "ConfigMap" | "PersistentVolume" | "PersistentVolumeClaim" => 3,
        "ClusterRole" | "Role" => 4,
        "ClusterRoleBinding" | "RoleBinding" => 5,
        "Service" => 6,
        "Pod" | "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "CronJob" => 7,
        "Ingress" | "APIService" => 8,
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => 10,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_flattened_and_empty_documents_skipped() {
        let text = "---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n";
        let names: Vec<String> =
            read_objects("x.yaml", text).unwrap().iter().map(|o| ObjectRef::of(o).to_string()).collect();
        assert_eq!(names, ["Pod a", "Pod b"]);
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        let deep: String = (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(read_documents("x.yaml", &deep).is_err());
    }

    #[test]
    fn a_file_mode_stays_octal() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {defaultMode: 0755}\n";
        assert_eq!(read_objects("x.yaml", text).unwrap()[0].data["spec"]["defaultMode"], 0o755);
    }

    #[test]
    fn an_object_needs_kind_and_name() {
        for text in ["metadata: {name: a}", "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}"] {
            let error = read_objects("x.yaml", text).unwrap_err();
            assert!(error.what().starts_with("x.yaml: document 1"), "{error}");
        }
    }

    #[test]
    fn definitions_come_before_what_they_define() {
        let text = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: c}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n";
        let mut objects = read_objects("x.yaml", text).unwrap();
        sort_for_apply(&mut objects);
        let names: Vec<_> = objects.iter().filter_map(|o| o.metadata.name.clone()).collect();
        assert_eq!(names, ["ns", "c", "d", "w"]);
    }
}
