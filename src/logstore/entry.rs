//! A line as the store keeps it, and how one is made of an OTLP log record. Pure.
//!
//! Labels, structured metadata, time and text follow Loki's rules for OTLP, so that one query asks both: some attributes
//! of the resource are labels of the stream, all others are structured metadata; dots become underscores.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::otlp::{AnyValue, ExportRequest, KeyValue, LogRecord, Scope, Value};
use crate::digest::hex;

/// Names and values.
pub type Labels = BTreeMap<String, String>;

/// The attributes of a resource that are labels of its stream, as Loki has them unless it is configured otherwise.
const STREAM_ATTRIBUTES: [&str; 18] = [
    "cloud.availability_zone",
    "cloud.region",
    "container.name",
    "deployment.environment",
    "deployment.environment.name",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.cronjob.name",
    "k8s.daemonset.name",
    "k8s.deployment.name",
    "k8s.job.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.replicaset.name",
    "k8s.statefulset.name",
    "service.instance.id",
    "service.name",
    "service.namespace",
];

/// Labels that name a service where the resource has no `service.name`, the most telling first.
const NAMES_OF_SERVICES: [&str; 3] = ["container_name", "k8s_container_name", "k8s_job_name"];

/// The longest line that is taken, in bytes: Loki's own bound.
pub const LONGEST_LINE: usize = 256 << 10;

/// The most that the names and values of one line may have together, in bytes: Loki's own bound for metadata.
const LARGEST_METADATA: usize = 64 << 10;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its time, in nanoseconds since 1970.
    pub time: i64,
    /// The labels of its stream.
    pub stream: Arc<Labels>,
    /// Its structured metadata.
    pub metadata: Labels,
    /// Its text.
    pub line: String,
}

/// The lines of a request, and why some of it are refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Lines that can be kept.
    pub taken: Vec<Entry>,
    /// Why a line can't be, one sentence each.
    pub refused: Vec<String>,
}

impl Entries {
    /// Makes lines of a request; one that has no time at all has the time `now`.
    pub fn of(request: ExportRequest, now: i64) -> Entries {
        let mut entries = Entries::default();
        for of_resource in request.resource_logs {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            let (stream, of_resource_metadata) = split(&attributes);
            let stream = Arc::new(stream);
            for of_scope in of_resource.scope_logs {
                let mut shared = of_resource_metadata.clone();
                add_scope(&of_scope.scope.unwrap_or_default(), &mut shared);
                for record in of_scope.log_records {
                    entries.add(entry(record, stream.clone(), shared.clone(), now));
                }
            }
        }
        entries
    }

    fn add(&mut self, entry: Entry) {
        let metadata: usize = [&*entry.stream, &entry.metadata]
            .into_iter()
            .flatten()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if entry.line.len() > LONGEST_LINE {
            self.refused.push(format!("a line of {} bytes is longer than {LONGEST_LINE}", entry.line.len()));
        } else if metadata > LARGEST_METADATA {
            self.refused
                .push(format!("a line with {metadata} bytes of attributes has more than {LARGEST_METADATA}"));
        } else {
            self.taken.push(entry);
        }
    }
}

/// The labels of a resource's stream, and its other attributes.
fn split(attributes: &[KeyValue]) -> (Labels, Labels) {
    let (mut stream, mut metadata) = (Labels::new(), Labels::new());
    for attribute in attributes {
        let to =
            if STREAM_ATTRIBUTES.contains(&attribute.key.as_str()) { &mut stream } else { &mut metadata };
        flatten(&attribute.key, attribute.value.as_ref(), to);
    }
    if !stream.contains_key("service_name") {
        let named = NAMES_OF_SERVICES.iter().find_map(|name| stream.get(*name));
        let name = named.cloned().unwrap_or_else(|| "unknown_service".into());
        stream.insert("service_name".into(), name);
    }
    (stream, metadata)
}

fn add_scope(scope: &Scope, metadata: &mut Labels) {
    for attribute in &scope.attributes {
        flatten(&attribute.key, attribute.value.as_ref(), metadata);
    }
    for (name, value) in [("scope_name", &scope.name), ("scope_version", &scope.version)] {
        if !value.is_empty() {
            metadata.insert(name.into(), value.clone());
        }
    }
}

fn entry(record: LogRecord, stream: Arc<Labels>, mut metadata: Labels, now: i64) -> Entry {
    let known = |time: u64| i64::try_from(time).ok().filter(|time| *time > 0);
    let time = known(record.time_unix_nano).or(known(record.observed_time_unix_nano)).unwrap_or(now);
    for attribute in &record.attributes {
        flatten(&attribute.key, attribute.value.as_ref(), &mut metadata);
    }
    let mut add = |name: &str, value: String, there: bool| {
        if there {
            metadata.insert(name.to_owned(), value);
        }
    };
    let observed = record.observed_time_unix_nano;
    add("observed_timestamp", observed.to_string(), observed != 0);
    add("severity_number", record.severity_number.to_string(), record.severity_number != 0);
    add("flags", record.flags.to_string(), record.flags != 0);
    add("trace_id", hex(&record.trace_id), !record.trace_id.is_empty());
    add("span_id", hex(&record.span_id), !record.span_id.is_empty());
    let is_severe = !record.severity_text.is_empty();
    add("severity_text", record.severity_text, is_severe);
    Entry { time, stream, metadata, line: record.body.as_ref().map(text).unwrap_or_default() }
}

/// Adds an attribute under its label's name; one that has attributes itself, one for each of these.
fn flatten(key: &str, value: Option<&AnyValue>, to: &mut Labels) {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::List(list)) => {
            for inner in &list.values {
                flatten(&format!("{key}_{}", inner.key), inner.value.as_ref(), to);
            }
        }
        _ if key.is_empty() => {}
        _ => {
            to.insert(label_name(key), value.map(text).unwrap_or_default());
        }
    }
}

/// The name of a label: letters, digits and underscores, no digit first.
fn label_name(key: &str) -> String {
    let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("key_{name}") } else { name }
}

/// A value as text; what is no plain value, as JSON.
fn text(value: &AnyValue) -> String {
    match &value.value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bytes(bytes)) => BASE64_STANDARD.encode(bytes),
        Some(_) => json(value).to_string(),
    }
}

fn json(value: &AnyValue) -> serde_json::Value {
    match &value.value {
        None => serde_json::Value::Null,
        Some(Value::String(text)) => text.as_str().into(),
        Some(Value::Bool(it)) => (*it).into(),
        Some(Value::Int(number)) => (*number).into(),
        Some(Value::Double(number)) if number.is_finite() && number.fract() == 0.0 && number.abs() < 1e15 => {
            (*number as i64).into()
        }
        Some(Value::Double(number)) => (*number).into(),
        Some(Value::Bytes(bytes)) => BASE64_STANDARD.encode(bytes).into(),
        Some(Value::Array(array)) => array.values.iter().map(json).collect(),
        Some(Value::List(list)) => {
            let value = |inner: &KeyValue| inner.value.as_ref().map_or(serde_json::Value::Null, json);
            list.values
                .iter()
                .map(|inner| (inner.key.clone(), value(inner)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
    }
}

/// A line as a record of a file.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(sfixed64, tag = "1")]
    time: i64,
    #[prost(btree_map = "string, string", tag = "2")]
    stream: Labels,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: Labels,
    #[prost(string, tag = "4")]
    line: String,
}

impl Entry {
    /// The line as a record of a file. Lines that differ in nothing have the same one.
    pub fn encode(&self) -> Vec<u8> {
        let Entry { time, stream, metadata, line } = self.clone();
        Record { time, stream: (*stream).clone(), metadata, line }.encode_to_vec()
    }

    /// Reads a record of a file.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(record: &[u8]) -> Result<Entry, prost::DecodeError> {
        let Record { time, stream, metadata, line } = Record::decode(record)?;
        Ok(Entry { time, stream: Arc::new(stream), metadata, line })
    }
}

/// What tells records apart: two that have the same are one and the same line.
pub fn identity(record: &[u8]) -> u128 {
    let digest = Sha256::digest(record);
    digest.iter().take(16).fold(0, |identity, byte| identity << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Entries {
        Entries::of(serde_json::from_str(json).expect("a request"), 77)
    }

    #[test]
    fn labels_metadata_and_text_are_as_loki_has_them() {
        let entries = of(r#"{"resourceLogs": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "shop"}},
                {"key": "k8s.pod.name", "value": {"stringValue": "shop-0"}},
                {"key": "k8s.node.name", "value": {"stringValue": "node1"}},
                {"key": "", "value": {"stringValue": "nameless"}}
            ]},
            "scopeLogs": [{"scope": {"name": "lib", "version": "2"}, "logRecords": [
                {"timeUnixNano": "5", "observedTimeUnixNano": "6", "severityNumber": 9, "severityText": "INFO",
                 "flags": 1, "traceId": "0a0b", "body": {"stringValue": "hello"}, "attributes": [
                    {"key": "http.status", "value": {"intValue": "500"}}, {"key": "1st", "value": {"boolValue": true}},
                    {"key": "user", "value": {"kvlistValue": {"values": [{"key": "id", "value": {"doubleValue": 2.0}}]}}}
                 ]},
                {"observedTimeUnixNano": "6", "body": {"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": 1}, {}]}}}]}}},
                {}
            ]}]
        }]}"#);
        assert!(entries.refused.is_empty());
        let first = &entries.taken[0];
        insta::assert_compact_debug_snapshot!((first.time, &first.line, &first.stream, &first.metadata), @r#"(5, "hello", {"k8s_pod_name": "shop-0", "service_name": "shop"}, {"flags": "1", "http_status": "500", "k8s_node_name": "node1", "key_1st": "true", "observed_timestamp": "6", "scope_name": "lib", "scope_version": "2", "severity_number": "9", "severity_text": "INFO", "trace_id": "0a0b", "user_id": "2"})"#);
        let second = &entries.taken[1];
        assert_eq!((second.time, second.line.as_str()), (6, r#"{"a":[1,null]}"#));
        assert_eq!((entries.taken[2].time, entries.taken[2].line.as_str()), (77, ""));
    }

    #[test]
    fn a_service_without_a_name_is_called_after_its_container() {
        let name = |attributes: &str| {
            let request = format!(
                r#"{{"resourceLogs": [{{"resource": {{"attributes": [{attributes}]}}, "scopeLogs": [{{"logRecords": [{{}}]}}]}}]}}"#
            );
            of(&request).taken[0].stream["service_name"].clone()
        };
        assert_eq!(name(r#"{"key": "k8s.container.name", "value": {"stringValue": "web"}}"#), "web");
        assert_eq!(name(""), "unknown_service");
    }

    #[test]
    fn what_is_too_large_is_refused_and_the_rest_is_taken() {
        let record = |text: &str| format!(r#"{{"body": {{"stringValue": "{text}"}}}}"#);
        let records = [record("a"), record(&"b".repeat(LONGEST_LINE + 1)), record("c")].join(",");
        let entries =
            of(&format!(r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{records}]}}]}}]}}"#));
        assert_eq!(entries.taken.iter().map(|entry| entry.line.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(entries.refused, ["a line of 262145 bytes is longer than 262144"]);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_tells_lines_apart() {
        let entry = |metadata: &[(&str, &str)], line: &str| Entry {
            time: -3,
            stream: Arc::new([("a".to_owned(), "b".to_owned())].into()),
            metadata: metadata
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            line: line.into(),
        };
        let one = entry(&[("x", "1"), ("y", "2")], "text");
        assert_eq!(Entry::decode(&one.encode()).expect("a record"), one);
        assert_eq!(identity(&one.encode()), identity(&entry(&[("y", "2"), ("x", "1")], "text").encode()));
        assert_ne!(identity(&one.encode()), identity(&entry(&[("x", "1")], "text").encode()));
        assert_ne!(identity(&one.encode()), identity(&entry(&[("x", "1"), ("y", "2")], "texts").encode()));
        assert!(Entry::decode(b"\xff").is_err());
    }
}
