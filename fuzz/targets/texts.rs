//! What people write.

use std::fmt::Display;
use std::str::FromStr;

use indexmap::IndexMap;

use crate::catalog::parse_scenario;
use crate::config::Document;
use crate::inspect::quantity;
use crate::scenario::{Aim, Comparison, Duration, DurationRange, Rate, Ratio, Threshold};
use crate::stack::Stack;

/// The text of a file, and every problem that is found with it, which can be shown.
fn document(kind: &'static str, data: &[u8]) -> Option<Document> {
    let text = std::str::from_utf8(data).ok()?;
    match Document::parse(kind, "x.yaml", text) {
        Ok(document) => Some(document),
        Err(refusal) => {
            let _ = crate::error::Error::from(refusal).to_string();
            None
        }
    }
}

/// A scenario is refused with problems that can be shown, or can be written and read again.
pub fn scenario(data: &[u8]) {
    let Some(document) = document("scenario", data) else { return };
    let (scenario, problems) = parse_scenario(&document, Some("x"));
    for problem in &problems {
        let _ = document.render(problem);
    }
    if let Some(scenario) = scenario {
        let written = serde_json::to_value(&scenario).expect("JSON");
        let again: crate::scenario::Scenario =
            serde_json::from_value(written.clone()).expect("what was written can be read");
        assert_eq!(serde_json::to_value(again).expect("JSON"), written);
    }
}

/// A stack, as it stands and with its parameters filled in.
pub fn stack(data: &[u8]) {
    let Some(document) = document("stack", data) else { return };
    let values =
        IndexMap::from([("namespace".to_owned(), "shop".to_owned()), ("n".to_owned(), "3".to_owned())]);
    for stack in
        [document.typed::<Stack>().map_err(|problem| vec![problem]), document.typed_with::<Stack>(&values)]
    {
        match stack {
            Ok(stack) => {
                for problem in crate::stack::validate(&stack) {
                    let _ = document.render(&problem);
                }
            }
            Err(problems) => {
                for problem in &problems {
                    let _ = document.render(problem);
                }
            }
        }
    }
}

/// No value of a placeholder adds YAML of its own: a file has the keys that it was written with.
pub fn placeholders(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (value, text) = text.split_once('\n').unwrap_or(("", text));
    if value.chars().any(char::is_control) {
        return;
    }
    let Some(document) = document("stack", text.as_bytes()) else { return };
    let filled = |value: &str| {
        let values = IndexMap::from([("a".to_owned(), value.to_owned())]);
        document.typed_with::<serde_json::Value>(&values).ok()
    };
    if let (Some(with), Some(plain)) = (filled(value), filled("x")) {
        same_shape(&with, &plain);
    }
}

fn same_shape(a: &serde_json::Value, b: &serde_json::Value) {
    use serde_json::Value;
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{a:?} {b:?}");
            a.values().zip(b.values()).for_each(|(a, b)| same_shape(a, b));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| same_shape(a, b));
        }
        (Value::Object(_) | Value::Array(_), other) | (other, Value::Object(_) | Value::Array(_)) => {
            panic!("another shape: {other}")
        }
        _ => {}
    }
}

/// What is written of what was read is read, and written as the same: shares are written to some digits, and no further
/// lost.
fn same<T: FromStr + Display>(text: &str) {
    let Ok(read) = text.parse::<T>() else { return };
    let written = read.to_string();
    match written.parse::<T>() {
        Ok(again) => assert_eq!(again.to_string(), written, "of {text:?}"),
        Err(_) => panic!("{text:?} is written as {written:?}, which is refused"),
    }
}

/// Durations, rates, shares, thresholds, quantities.
pub fn units(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    same::<Duration>(text);
    same::<DurationRange>(text);
    same::<Rate>(text);
    same::<Ratio>(text);
    same::<Comparison>(text);
    same::<Threshold>(text);
    same::<Aim>(text);
    if let Some(quantity) = quantity(text) {
        assert!(quantity.is_finite(), "{text}");
    }
}

/// A query of logs.
pub fn logql(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(query) = crate::logstore::logql::Query::parse(text) else { return };
    let entry = crate::logstore::entry::Entry {
        time: 1,
        stream: std::sync::Arc::new([("service_name".to_owned(), "users-api".to_owned())].into()),
        metadata: Default::default(),
        line: r#"{"a":{"b":"c"},"status":200} x="y z""#.into(),
    };
    let _ = (query.selects(&entry.stream), query.labels(&entry));
}
