//! What is written into a stack's files: parameters, the replicas' addresses, the full names of images.

use indexmap::IndexMap;
use kube::core::DynamicObject;
use serde_json::Value;

/// Replaces `${key}` by the parameter of that name. Other text with `${`, a shell's for example, stays.
pub fn fill(text: &str, parameters: &IndexMap<String, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let known = after.split_once('}').and_then(|(key, tail)| Some((parameters.get(key)?, tail)));
        rest = match known {
            Some((value, tail)) => {
                filled.push_str(value);
                tail
            }
            None => {
                filled.push_str("${");
                after
            }
        };
    }
    filled.push_str(rest);
    filled
}

/// Stands, in a list of a manifest, for the address of every replica as they are when it is applied.
const REPLICAS: &str = "{replicas}";

/// Whether an object names the replicas by their addresses.
pub fn names_replicas(object: &DynamicObject) -> bool {
    fn any(value: &Value) -> bool {
        match value {
            Value::Object(fields) => fields.values().any(any),
            Value::Array(items) => items.iter().any(|item| item == REPLICAS || any(item)),
            _ => false,
        }
    }
    any(&object.data)
}

/// Writes the replicas' addresses where an object's lists have `{replicas}`.
pub fn fill_replicas(object: &mut DynamicObject, addresses: &[String]) {
    fn fill(value: &mut Value, addresses: &[String]) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(|field| fill(field, addresses)),
            Value::Array(items) => {
                if let Some(place) = items.iter().position(|item| item == REPLICAS) {
                    items.splice(place..=place, addresses.iter().cloned().map(Value::from));
                }
                items.iter_mut().for_each(|item| fill(item, addresses));
            }
            _ => {}
        }
    }
    fill(&mut object.data, addresses);
}

/// Writes the full names of images (values) where an object's containers have the stack's (keys).
pub(super) fn name_images(value: &mut Value, names: &IndexMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(image) if key == "image" => {
                        if let Some(full) = names.get(image) {
                            image.clone_from(full);
                        }
                    }
                    other => name_images(other, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| name_images(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::kubernetes::object;

    #[test]
    fn replicas_stand_in_lists_by_their_addresses() {
        let text =
            "apiVersion: v1\nkind: X\nmetadata: {name: x}\nspec: {all: [{targets: [a, '{replicas}']}]}";
        let mut object = object::read_objects("x.yaml", text).unwrap().remove(0);
        assert!(names_replicas(&object));
        fill_replicas(&mut object, &["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()]);
        assert!(!names_replicas(&object));
        let targets = serde_json::json!(["a", "10.0.0.1:80", "10.0.0.2:80"]);
        assert_eq!(object.data["spec"]["all"][0]["targets"], targets);
    }
}
