//! A chart's values: files merged as Helm merges them, then single values by path.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Merges `over` into `values`: mappings are merged, `null` stays (Helm deletes the chart's default by
/// it), anything else replaces.
pub fn merge(values: &mut Value, over: Value) {
    match (values, over) {
        (Value::Object(values), Value::Object(over)) => {
            for (key, value) in over {
                match values.get_mut(&key) {
                    Some(known) => merge(known, value),
                    None => {
                        values.insert(key, value);
                    }
                }
            }
        }
        (values, over) => *values = over,
    }
}

/// Sets one value by its path, making the mappings on the way: `grafana.enabled`, `labels.example\.org/team`.
pub fn set(values: &mut Value, path: &str, value: Value) -> Result<()> {
    let keys = split(path);
    if keys.iter().any(String::is_empty) {
        return Err(Error::usage(format!("`{path}` is not a path of a chart's value"))
            .hint("write keys with dots between them: `grafana.enabled`"));
    }
    let mut place = values;
    for key in keys {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(mapping) = place else { unreachable!("it was made a mapping just now") };
        place = mapping.entry(key).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

fn split(path: &str) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => keys.last_mut().expect("there is always one").extend(characters.next()),
            '.' => keys.push(String::new()),
            other => keys.last_mut().expect("there is always one").push(other),
        }
    }
    keys
}

/// The values of a chart: files in their order, then single values. `files` are their contents, each a
/// mapping or empty.
pub fn of_chart(files: Vec<Value>, single: &IndexMap<String, Value>) -> Result<Value> {
    let mut values = Value::Object(Map::new());
    for file in files {
        merge(&mut values, file);
    }
    for (path, value) in single {
        set(&mut values, path, value.clone())?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mappings_merge_and_lists_replace() {
        let mut values = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        merge(&mut values, json!({"a": {"c": [3]}, "d": null}));
        assert_eq!(values, json!({"a": {"b": 1, "c": [3]}, "d": null}));
    }

    #[test]
    fn single_values_win_and_escape_dots() {
        let single = IndexMap::from([
            ("a.b".to_owned(), json!(2)),
            (r"labels.example\.org/team".to_owned(), json!("x=y")),
        ]);
        let values = of_chart(vec![json!({"a": 1})], &single).unwrap();
        assert_eq!(values, json!({"a": {"b": 2}, "labels": {"example.org/team": "x=y"}}));
        assert!(set(&mut json!({}), "a..b", json!(1)).is_err());
    }
}
