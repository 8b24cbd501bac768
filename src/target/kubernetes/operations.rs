//! JSON patches that can be applied again: what of them is still to be done on an object.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

/// The operations of a JSON patch that an object still needs; none, if it is as the patch wants it.
///
/// Appending to a list is done where the list has such an item already (it may have more keys: the server's
/// defaults), and so is removing what is not there. Removing an item of a list by its place is
/// repeatable only with a `test` of the same path before it, and is done where that test fails.
pub fn remaining(object: &Value, patch: &Patch) -> Result<Patch, String> {
    let mut state = object.clone();
    let mut kept = Vec::new();
    let mut operations = patch.0.iter().peekable();
    while let Some(operation) = operations.next() {
        let path = operation.path().as_str();
        match operation {
            PatchOperation::Add(add) if list_of(&state, path).is_some_and(|list| has(list, &add.value)) => {
                continue;
            }
            PatchOperation::Remove(_) if state.pointer(path).is_none() => continue,
            PatchOperation::Remove(_) if list_of(&state, path).is_some() && !guarded(&kept, path) => {
                return Err(format!(
                    "`remove` of `{path}` would remove another item at every `sre up`; \
                     put a `test` of the same path and the item's value before it"
                ));
            }
            PatchOperation::Test(test)
                if state.pointer(path) != Some(&test.value)
                    && matches!(operations.peek(), Some(PatchOperation::Remove(next)) if next.path.as_str() == path) =>
            {
                operations.next();
                continue;
            }
            _ => {}
        }
        json_patch::patch(&mut state, std::slice::from_ref(operation))
            .map_err(|error| format!("`{}`: {error}", text(operation)))?;
        kept.push(operation.clone());
    }
    // What is left may be tests alone, or say what holds already.
    if state == *object {
        kept.clear();
    }
    Ok(Patch(kept))
}

/// The list that `path` names a place in, if its parent is one.
fn list_of<'a>(state: &'a Value, path: &str) -> Option<&'a Vec<Value>> {
    let (parent, _) = path.rsplit_once('/')?;
    state.pointer(parent)?.as_array()
}

fn has(list: &[Value], wanted: &Value) -> bool {
    list.iter().any(|item| covers(item, wanted))
}

/// Whether `value` is `wanted`, but for keys that only `value` has.
fn covers(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| value.get(key).is_some_and(|value| covers(value, wanted)))
        }
        (value, wanted) => value == wanted,
    }
}

fn guarded(kept: &[PatchOperation], path: &str) -> bool {
    matches!(kept.last(), Some(PatchOperation::Test(test)) if test.path.as_str() == path)
}

fn text(operation: &PatchOperation) -> String {
    serde_json::to_string(operation).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patch(operations: Value) -> Patch {
        serde_json::from_value(operations).unwrap()
    }

    /// Applies what remains, and checks that nothing remains then.
    fn twice(object: Value, operations: Value) -> Value {
        let patch = patch(operations);
        let mut once = object.clone();
        json_patch::patch(&mut once, &remaining(&object, &patch).unwrap()).unwrap();
        assert_eq!(remaining(&once, &patch).unwrap().0, [], "not repeatable: {once}");
        once
    }

    #[test]
    fn an_argument_is_appended_once() {
        let operations = json!([{"op": "add", "path": "/args/-", "value": "--enable-metrics=true"}]);
        assert_eq!(
            twice(json!({"args": ["a"]}), operations),
            json!({"args": ["a", "--enable-metrics=true"]})
        );
    }

    #[test]
    fn a_port_with_the_server_s_defaults_is_there_already() {
        let object = json!({"ports": [{"containerPort": 10254, "protocol": "TCP"}]});
        let operations = json!([{"op": "add", "path": "/ports/-", "value": {"containerPort": 10254}}]);
        assert_eq!(twice(object.clone(), operations), object);
    }

    #[test]
    fn a_guarded_removal_is_done_once() {
        let operations = json!([
            {"op": "test", "path": "/args/0", "value": "old"},
            {"op": "remove", "path": "/args/0"},
            {"op": "add", "path": "/args/-", "value": "new"},
        ]);
        assert_eq!(twice(json!({"args": ["old", "b"]}), operations), json!({"args": ["b", "new"]}));
    }

    #[test]
    fn removing_by_place_without_a_test_is_refused() {
        let operations = patch(json!([{"op": "remove", "path": "/args/0"}]));
        let error = remaining(&json!({"args": ["a"]}), &operations).unwrap_err();
        assert!(error.contains("`test`"), "{error}");
    }

    #[test]
    fn a_test_that_guards_nothing_stops_the_patch() {
        let operations = patch(json!([
            {"op": "test", "path": "/kind", "value": "b"},
            {"op": "replace", "path": "/x", "value": 1},
        ]));
        assert!(remaining(&json!({"kind": "a", "x": 0}), &operations).is_err());
    }

    #[test]
    fn removed_keys_and_replaced_values_are_repeatable() {
        let operations = json!([{"op": "remove", "path": "/a"}, {"op": "replace", "path": "/b", "value": 2}]);
        assert_eq!(twice(json!({"a": 1, "b": 1}), operations), json!({"b": 2}));
    }
}
