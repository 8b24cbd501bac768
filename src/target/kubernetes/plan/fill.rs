//! What is written into a stack's files: parameters, the replicas' addresses, the full names of images.

use indexmap::IndexMap;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::target::kubernetes::object;

/// The documents of a file, each `${key}` replaced by the parameter of that name; other text with `${`, a shell's for
/// example, stays. The text is parsed first, so that no value can add YAML of its own: where `${key}` is a whole scalar
/// without quotes, a value may be a number, a truth value or nothing, everywhere else it is text.
pub fn read_filled(file: &str, text: &str, parameters: &IndexMap<String, String>) -> Result<Vec<Value>> {
    let marks = Marks::new(text, parameters);
    let failed = || Error::usage(format!("{file} is not valid YAML"));
    let mut documents =
        object::documents(&marks.put(text)).map_err(|e| failed().because_of(marks.names(&e.to_string())))?;
    documents.iter_mut().for_each(|document| marks.fill(document));
    documents.retain(|document| !document.is_null());
    Ok(documents)
}

/// Numbers that stand for placeholders while a text is parsed: without quotes they are numbers, within them text, as the
/// values would be.
struct Marks<'a>(Vec<(String, &'a str, &'a str)>);

impl<'a> Marks<'a> {
    /// One for each parameter that a text names; none of them is in the text itself.
    fn new(text: &str, parameters: &'a IndexMap<String, String>) -> Marks<'a> {
        let free =
            (730_000_000_000_u64..).map(|n| n.to_string()).filter(|mark| !text.contains(mark.as_str()));
        let named = parameters.iter().filter(|(key, _)| text.contains(&format!("${{{key}}}")));
        Marks(free.zip(named).map(|(mark, (key, value))| (mark, key.as_str(), value.as_str())).collect())
    }

    fn put(&self, text: &str) -> String {
        let put =
            |text: String, (mark, key, _): &(String, &str, &str)| text.replace(&format!("${{{key}}}"), mark);
        self.0.iter().fold(text.to_owned(), put)
    }

    /// An error's text with the placeholders as they are written.
    fn names(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (mark, key, _)| text.replace(mark, &format!("${{{key}}}")))
    }

    fn values(&self, text: &str) -> Option<String> {
        self.0
            .iter()
            .any(|(mark, ..)| text.contains(mark))
            .then(|| self.0.iter().fold(text.to_owned(), |text, (mark, _, value)| text.replace(mark, value)))
    }

    fn fill(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(filled) = self.values(text) {
                    *text = filled;
                }
            }
            Value::Number(number) => {
                if let Some(filled) = self.values(&number.to_string()) {
                    *value = scalar(filled);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item)),
            Value::Object(fields) => {
                let keys: Vec<String> = fields.keys().cloned().collect();
                if keys.iter().any(|key| self.values(key).is_some()) {
                    let filled = std::mem::take(fields).into_iter();
                    *fields = filled.map(|(key, value)| (self.values(&key).unwrap_or(key), value)).collect();
                }
                fields.values_mut().for_each(|field| self.fill(field));
            }
            Value::Bool(_) | Value::Null => {}
        }
    }
}

/// A value as a scalar without quotes means it; text where it means more than one.
fn scalar(text: String) -> Value {
    match serde_saphyr::from_str::<Value>(&text) {
        Ok(plain @ (Value::Number(_) | Value::Bool(_) | Value::Null)) if !text.contains(['#', '\n']) => plain,
        _ if text.is_empty() => Value::Null,
        _ => Value::String(text),
    }
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
    use serde_json::json;

    fn filled(text: &str, parameters: &[(&str, &str)]) -> Value {
        let parameters = parameters.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        read_filled("x.yaml", text, &parameters).expect("YAML").remove(0)
    }

    #[test]
    fn a_value_adds_no_yaml_of_its_own() {
        for value in [
            r#"1", --admin, "0.0.0.0:9090"#,
            "1, b: 2}",
            "a\nb: c",
            "[x]",
            "*a",
            "!!str x",
            "x # y",
            "'",
            "- a",
        ] {
            let parameters = [("seed", value)];
            assert_eq!(
                filled("args: [\"--seed\", \"${seed}\"]", &parameters),
                json!({"args": ["--seed", value]})
            );
            assert_eq!(
                filled("a: ${seed}\nb: x-${seed}", &parameters),
                json!({"a": value, "b": format!("x-{value}")})
            );
            assert_eq!(filled("a: |\n  of ${seed}\n", &parameters), json!({"a": format!("of {value}\n")}));
        }
    }

    #[test]
    fn without_quotes_a_value_is_what_it_means() {
        let parameters = [("n", "3"), ("on", "true"), ("none", ""), ("name", "web"), ("size", "10")];
        let text = "a: ${n}\nb: '${n}'\nc: ${on}\nd: ${none}\ne: ${size}Gi\n${name}: {f: ${n}}\ng: ${HOME}\nh: ${n}.5";
        assert_eq!(
            filled(text, &parameters),
            json!({"a": 3, "b": "3", "c": true, "d": null, "e": "10Gi", "web": {"f": 3}, "g": "${HOME}", "h": 3.5})
        );
    }

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
