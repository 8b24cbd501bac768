//! What is written into a stack's files: parameters, the replicas' addresses, the full names of images.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

/// Stands, in the `stringData` of a Secret, for text that nobody can guess: drawn when the Secret is made.
const RANDOM: &str = "{random}";

/// Whether an object is a Secret with something that is to be drawn.
pub fn wants_random(object: &DynamicObject) -> bool {
    let is_secret = object.types.as_ref().is_some_and(|types| types.kind == "Secret");
    let texts = object.data["stringData"].as_object();
    is_secret
        && texts
            .into_iter()
            .flatten()
            .any(|(_, text)| text.as_str().is_some_and(|text| text.contains(RANDOM)))
}

/// Draws what a Secret wants drawn, the same for all of it. What is there already, `known`, stays as it is where it has
/// every key: who has read it must not have to read it again.
pub fn fill_random(object: &mut DynamicObject, known: Option<&DynamicObject>) {
    let drawn = uuid::Uuid::new_v4().simple().to_string();
    let Some(Value::Object(texts)) =
        object.data.as_object_mut().and_then(|data| data.shift_remove("stringData"))
    else {
        return;
    };
    let known = known.map(|known| &known.data["data"]);
    let kept = known.filter(|known| texts.keys().all(|key| known[key].is_string()));
    let value = |(key, text): (String, Value)| {
        let value = match kept {
            Some(known) => known[&key].clone(),
            None => STANDARD.encode(text.as_str().unwrap_or_default().replace(RANDOM, &drawn)).into(),
        };
        (key, value)
    };
    // Not as `stringData`, which the server keeps nowhere: the same object again would be a change.
    object.data["data"] = texts.into_iter().map(value).collect::<serde_json::Map<_, _>>().into();
}

/// Writes the full names of images (values) where an object's containers have the stack's (keys). What is loaded onto the
/// nodes is asked of no registry, where its name may be somebody else's.
pub(super) fn name_images(value: &mut Value, names: &IndexMap<String, String>) {
    match value {
        Value::Object(fields) => {
            if let Some(full) = fields.get("image").and_then(Value::as_str).and_then(|image| names.get(image))
            {
                fields.insert("image".into(), full.as_str().into());
                if let Some(policy) = fields.get_mut("imagePullPolicy") {
                    *policy = "Never".into();
                }
            }
            fields.values_mut().for_each(|value| name_images(value, names));
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
    fn what_is_drawn_is_the_same_throughout_and_is_kept() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {password: '{random}', conf: 'a {random}'}";
        let secret = || object::read_objects("x.yaml", text).unwrap().remove(0);
        let drawn = |known: Option<&DynamicObject>| {
            let mut object = secret();
            assert!(wants_random(&object));
            fill_random(&mut object, known);
            assert!(!wants_random(&object) && object.data["stringData"].is_null());
            object
        };
        let read = |object: &DynamicObject, key: &str| {
            let bytes = STANDARD.decode(object.data["data"][key].as_str().unwrap()).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let (first, second) = (drawn(None), drawn(None));
        assert_eq!(read(&first, "conf"), format!("a {}", read(&first, "password")));
        assert!(read(&first, "password").len() >= 32);
        assert_ne!(first.data, second.data);
        assert_eq!(drawn(Some(&first)).data, first.data);
        // One that lacks a key is drawn anew as a whole: the keys belong together.
        let mut half = first.clone();
        half.data["data"].as_object_mut().unwrap().shift_remove("conf");
        let anew = drawn(Some(&half));
        assert_ne!(anew.data["data"]["password"], first.data["data"]["password"]);
        let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: '{random}'}";
        assert!(!wants_random(&object::read_objects("x.yaml", config).unwrap()[0]));
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
