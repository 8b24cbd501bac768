//! The change of an object, and the change back: JSON patches, purely. Each tests the version of the object that it
//! was computed from, so that it and the annotation come and go in one step or not at all.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::ownership;
use super::record::{ANNOTATION, Effect, Record};
use crate::error::{Error, Result};
use crate::target::kubernetes::object::ObjectRef;

/// The patch that puts a record and its values onto an object.
///
/// # Errors
/// The target (exit 6) where another fault is on the object, or its values are not as the record has them.
pub fn inject(object: &DynamicObject, record: &Record) -> Result<json_patch::Patch> {
    let reference = ObjectRef::of(object);
    if let Some(other) = Record::of(object)? {
        return Err(taken(&reference, &other));
    }
    let whole = whole(object);
    let mut operations = start(object);
    if object.metadata.annotations.is_none() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    let owners = ownership::noted(object, sets(record).map(|(path, ..)| path.as_str()));
    let borne = Record { owners, ..record.clone() };
    operations.push(json!({"op": "add", "path": annotation(), "value": borne.annotation()}));
    for (path, before, after) in sets(record) {
        if at(&whole, path) != before.as_ref() {
            return Err(Error::target(format!("{reference} was changed meanwhile"))
                .because_of(format!("{path} is not what it was a moment ago"))
                .hint("try again"));
        }
        operations.extend(set(path, before.is_some(), after.as_ref()));
    }
    patch(operations)
}

/// The error that another fault is on an object.
pub fn taken(object: &ObjectRef, other: &Record) -> Error {
    Error::target(format!("a fault is on {object} already"))
        .because_of(format!("{}, by sre {}, until {}", other.fault, other.by, other.until))
        .hint("let it come to its end, or undo it with `sre heal --force`")
}

/// A step that brings an object back. First its values are set back; then, in a step of its own, the fields get their
/// owners back and the annotation goes: in one step the server would take the values for whoever patches.
#[derive(Debug, PartialEq)]
pub struct Back {
    /// The patch; `None` where nothing of the fault is on the object any more.
    pub patch: Option<json_patch::Patch>,
    /// Whether the object is what it was after this step.
    pub is_last: bool,
    /// What somebody else has changed since, and is left as it is.
    pub left: Vec<String>,
}

/// The next step that brings an object back. A value that is neither what the fault made of it nor what it was before
/// was changed by somebody else, and is left.
///
/// # Errors
/// The target (exit 6) where the annotation cannot be read.
pub fn heal(object: &DynamicObject, record: &Record) -> Result<Back> {
    let Some(borne) = Record::of(object)?.filter(|borne| borne.id == record.id) else {
        return Ok(Back { patch: None, is_last: true, left: Vec::new() });
    };
    let whole = whole(object);
    let mut operations = Vec::new();
    let mut left = Vec::new();
    for (path, before, after) in sets(record) {
        let now = at(&whole, path);
        if now == before.as_ref() {
            continue;
        }
        match (now, after) {
            (Some(now), Some(after)) if covers(now, after) => {}
            (None, None) => {}
            (now, _) => {
                let now = now.map_or("gone".into(), Value::to_string);
                left.push(format!("{path} is {now}: somebody changed it since"));
                continue;
            }
        }
        operations.extend(set(path, now.is_some(), before.as_ref()));
    }
    let is_last = operations.is_empty();
    if is_last {
        operations.push(json!({"op": "remove", "path": annotation()}));
        let now = object.metadata.managed_fields.as_deref().unwrap_or_default();
        operations.extend(
            ownership::given_back(now, &borne.owners)
                .map(|fields| json!({"op": "replace", "path": "/metadata/managedFields", "value": fields})),
        );
    }
    operations.splice(0..0, start(object));
    Ok(Back { patch: Some(patch(operations)?), is_last, left })
}

/// The object as its patches see it.
fn whole(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn sets(record: &Record) -> impl Iterator<Item = (&String, &Option<Value>, &Option<Value>)> {
    record.effects.iter().filter_map(|effect| match effect {
        Effect::Set { path, before, after } => Some((path, before, after)),
        _ => None,
    })
}

/// The value at a place; `None` where there is none.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    value.pointer(path)
}

fn start(object: &DynamicObject) -> Vec<Value> {
    vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": object.metadata.resource_version}),
    ]
}

fn annotation() -> String {
    format!("/metadata/annotations/{}", ANNOTATION.replace('/', "~1"))
}

/// Sets a value, or takes it away.
fn set(path: &str, is_there: bool, to: Option<&Value>) -> Option<Value> {
    match (to, is_there) {
        (Some(value), true) => Some(json!({"op": "replace", "path": path, "value": value})),
        (Some(value), false) => Some(json!({"op": "add", "path": path, "value": value})),
        (None, true) => Some(json!({"op": "remove", "path": path})),
        (None, false) => None,
    }
}

fn patch(operations: Vec<Value>) -> Result<json_patch::Patch> {
    serde_json::from_value(Value::Array(operations))
        .map_err(|e| Error::target("a patch could not be made").because(e))
}

/// Whether a value is what was set, but for defaults that the server has added.
fn covers(now: &Value, set: &Value) -> bool {
    match (now, set) {
        (Value::Object(now), Value::Object(set)) => {
            set.iter().all(|(key, value)| now.get(key).is_some_and(|now| covers(now, value)))
        }
        (now, set) => now == set,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn deployment() -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "web"}]}}},
        }))
        .expect("a Deployment")
    }

    fn record(effects: Vec<Effect>) -> Record {
        Record::new("one", "scale-to-zero on Deployment shop/web", Timestamp::UNIX_EPOCH, effects)
    }

    fn scale() -> Effect {
        Effect::Set { path: "/spec/replicas".into(), before: Some(json!(3)), after: Some(json!(0)) }
    }

    fn probe() -> Effect {
        Effect::Set {
            path: "/spec/template/spec/containers/0/readinessProbe".into(),
            before: None,
            after: Some(json!({"tcpSocket": {"port": 1}})),
        }
    }

    fn patched(object: &DynamicObject, patch: &json_patch::Patch) -> DynamicObject {
        let mut value = whole(object);
        json_patch::patch(&mut value, patch).expect("it applies");
        serde_json::from_value(value).expect("an object")
    }

    /// Both steps.
    fn healed(object: &DynamicObject, record: &Record) -> DynamicObject {
        let back = heal(object, record).expect("a way back");
        let next = patched(object, &back.patch.expect("a patch"));
        if back.is_last { next } else { healed(&next, record) }
    }

    #[test]
    fn an_object_comes_back_as_it_was() {
        let before = deployment();
        let record = record(vec![scale(), probe()]);
        let during = patched(&before, &inject(&before, &record).expect("a patch"));
        assert_eq!(during.data["spec"]["replicas"], 0);
        assert_eq!(Record::of(&during).expect("a record").expect("it is there").id, "one");
        // What the server adds to a value is no change by somebody.
        let mut defaulted = during.clone();
        defaulted.data["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] =
            json!(10);
        let mut after = healed(&defaulted, &record);
        // The server keeps no empty map.
        after.metadata.annotations = after.metadata.annotations.filter(|all| !all.is_empty());
        assert_eq!(whole(&after), whole(&before));
        assert_eq!(heal(&after, &record).expect("nothing").patch, None);
    }

    #[test]
    fn two_faults_are_not_on_one_object() {
        let before = deployment();
        let first = record(vec![scale()]);
        let during = patched(&before, &inject(&before, &first).expect("a patch"));
        let second = Record { id: "two".into(), ..record(Vec::new()) };
        let error = inject(&during, &second).expect_err("it is taken");
        assert!(error.to_string().contains("a fault is on Deployment shop/web already"), "{error}");
        // Undoing the second leaves the first alone.
        assert_eq!(heal(&during, &second).expect("nothing").patch, None);
    }

    #[test]
    fn what_somebody_changed_is_left_and_told() {
        let before = deployment();
        let record = record(vec![scale()]);
        let mut during = patched(&before, &inject(&before, &record).expect("a patch"));
        during.data["spec"]["replicas"] = json!(5);
        let back = heal(&during, &record).expect("a way back");
        assert_eq!(back.left, ["/spec/replicas is 5: somebody changed it since"]);
        let after = healed(&during, &record);
        assert_eq!(after.data["spec"]["replicas"], 5);
        assert!(Record::of(&after).expect("read").is_none());
    }

    #[test]
    fn fields_are_given_back_after_the_values_and_not_with_them() {
        let entry = |manager: &str, fields: Value| {
            json!({
                "manager": manager, "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
            })
        };
        let helm = entry("helm", json!({"f:spec": {"f:replicas": {}}}));
        let mut before = deployment();
        before.metadata.managed_fields = serde_json::from_value(json!([helm])).expect("entries");
        let record = record(vec![scale()]);
        let mut during = patched(&before, &inject(&before, &record).expect("a patch"));
        // As a server would do it.
        let fault = entry(ownership::MANAGER, json!({"f:spec": {"f:replicas": {}}}));
        during.metadata.managed_fields = serde_json::from_value(json!([fault])).expect("entries");
        let first = heal(&during, &record).expect("a way back");
        let between = patched(&during, first.patch.as_ref().expect("a patch"));
        assert!(!first.is_last && Record::of(&between).expect("read").is_some());
        assert_eq!(
            (&between.data["spec"]["replicas"], whole(&between).pointer("/metadata/managedFields/0/manager")),
            (&json!(3), Some(&json!(ownership::MANAGER)))
        );
        let after = healed(&between, &record);
        assert_eq!(whole(&after)["metadata"]["managedFields"], json!([helm]));
    }

    #[test]
    fn what_changed_since_it_was_looked_at_is_not_taken_for_what_was_before() {
        let mut object = deployment();
        object.data["spec"]["replicas"] = json!(4);
        let error = inject(&object, &record(vec![scale()])).expect_err("it moved");
        assert!(error.to_string().contains("was changed meanwhile"), "{error}");
    }
}
