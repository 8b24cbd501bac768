//! Manifests, rule files and patches as the objects and changes that are applied.

use indexmap::IndexMap;
use kube::core::DynamicObject;
use serde_json::Value;

use super::fill::read_filled;
use super::{PatchBody, Sources};
use crate::error::{Error, Result};
use crate::stack::{Manifests, Patch, RuleObjects};
use crate::target::kubernetes::object;

/// The objects of manifests, in the order in which they are applied.
pub(super) fn objects(manifests: &Manifests, sources: &Sources<'_>) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for file in &manifests.files {
        objects.extend(object::objects_of(file, sources.documents(file)?)?);
    }
    for object in &mut objects {
        if object.metadata.namespace.is_none() {
            object.metadata.namespace.clone_from(&manifests.namespace);
        }
    }
    object::sort_for_apply(&mut objects);
    Ok(objects)
}

/// `rules/lab.yaml` is the `PrometheusRule` `rules-lab`.
pub(super) fn rule_objects(rules: &RuleObjects, sources: &Sources<'_>) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for file in sources.rules {
        let name: String = file
            .trim_end_matches(".yaml")
            .trim_end_matches(".yml")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        for mut spec in object::read_documents(file, &(sources.read)(file)?)? {
            if let (Some(interval), Some(groups)) =
                (rules.interval, spec.get_mut("groups").and_then(Value::as_array_mut))
            {
                for group in groups {
                    group["interval"] = Value::from(interval.to_string());
                }
            }
            let object = serde_json::json!({
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "metadata": {"name": name, "labels": rules.labels},
                "spec": spec,
            });
            objects
                .push(serde_json::from_value(object).map_err(|e| {
                    Error::usage(format!("{file} does not make a PrometheusRule")).because(e)
                })?);
        }
    }
    Ok(objects)
}

/// How a patch changes an object: told by its shape.
pub(super) fn patch_body(
    name: &str,
    patch: &Patch,
    parameters: &IndexMap<String, String>,
) -> Result<PatchBody> {
    let file = format!("patch `{name}`");
    let mut documents = read_filled(&file, &patch.patch, parameters)?;
    match (documents.pop(), documents.is_empty()) {
        (Some(mapping @ Value::Object(_)), true) => Ok(PatchBody::Merge(mapping)),
        (Some(list @ Value::Array(_)), true) => serde_json::from_value(list)
            .map(PatchBody::Json)
            .map_err(|e| Error::usage(format!("{file} is not a JSON patch (RFC 6902)")).because(e)),
        _ => Err(Error::usage(format!("{file} is neither one mapping nor one list"))
            .hint("a mapping is a strategic merge patch; a list of `op`, `path`, `value` is a JSON patch")),
    }
}
