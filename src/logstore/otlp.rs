//! Logs as OTLP has them, in protobuf and in JSON: the messages of `opentelemetry.proto.collector.logs.v1`, as far as a
//! log store needs them. Pure.
//!
//! Field numbers and JSON names are those of the OpenTelemetry protocol 1.x. Fields that are not here are skipped.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use serde::{Deserialize, Deserializer, de};

/// What a client exports at once.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExportRequest {
    /// Log records, by what they came from.
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// What the server answers.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    /// Records that were not taken; absent where all were.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// Records that were not taken, and why.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many.
    #[prost(int64, tag = "1")]
    pub rejected_log_records: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// Why a request was refused: `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// A sentence.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// Log records of one resource.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceLogs {
    /// The resource.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// Its records, by the scope that made them.
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

/// What log records came from, such as a service's replica.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// What is known of it.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// Log records of one scope.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeLogs {
    /// The scope.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// Its records.
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

/// The part of a program that made log records.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// What else is known of it.
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<KeyValue>,
}

/// One log record.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogRecord {
    /// When it happened, in nanoseconds since 1970; 0 where that is not known.
    #[prost(fixed64, tag = "1")]
    #[serde(deserialize_with = "number")]
    pub time_unix_nano: u64,
    /// When it was read, likewise.
    #[prost(fixed64, tag = "11")]
    #[serde(deserialize_with = "number")]
    pub observed_time_unix_nano: u64,
    /// How grave it is, from 1 to 24; 0 where that is not known.
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    /// The same in its own words.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// Its text.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// What else is known of it.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    /// Flags of its trace.
    #[prost(fixed32, tag = "8")]
    pub flags: u32,
    /// Its trace; empty where it has none.
    #[prost(bytes = "vec", tag = "9")]
    #[serde(deserialize_with = "hexadecimal")]
    pub trace_id: Vec<u8>,
    /// Its span, likewise.
    #[prost(bytes = "vec", tag = "10")]
    #[serde(deserialize_with = "hexadecimal")]
    pub span_id: Vec<u8>,
}

/// A key and its value.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyValue {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

impl KeyValue {
    /// A key with a text.
    pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue::text(value)) }
    }
}

/// A value of any type.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(from = "JsonValue")]
pub struct AnyValue {
    /// The value; absent where it is empty.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub value: Option<Value>,
}

impl AnyValue {
    /// A text.
    pub fn text(text: impl Into<String>) -> AnyValue {
        AnyValue { value: Some(Value::String(text.into())) }
    }
}

/// The types of values.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// A text.
    #[prost(string, tag = "1")]
    String(String),
    /// True or false.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Int(i64),
    /// A number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// Values in their order.
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    /// Values by key.
    #[prost(message, tag = "6")]
    List(KeyValueList),
    /// Bytes.
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
}

/// Values in their order.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct ArrayValue {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

/// Values by key.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct KeyValueList {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

/// A value as JSON has it: an object with one of these keys, or with none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<JsonNumber<i64>>,
    double_value: Option<JsonNumber<f64>>,
    array_value: Option<ArrayValue>,
    kvlist_value: Option<KeyValueList>,
    bytes_value: Option<Base64>,
}

impl From<JsonValue> for AnyValue {
    fn from(json: JsonValue) -> AnyValue {
        let value = None
            .or(json.string_value.map(Value::String))
            .or(json.bool_value.map(Value::Bool))
            .or(json.int_value.map(|number| Value::Int(number.0)))
            .or(json.double_value.map(|number| Value::Double(number.0)))
            .or(json.array_value.map(Value::Array))
            .or(json.kvlist_value.map(Value::List))
            .or(json.bytes_value.map(|bytes| Value::Bytes(bytes.0)));
        AnyValue { value }
    }
}

/// Numbers of 64 bits come as texts, because not every reader of JSON has such numbers.
struct JsonNumber<T>(T);

impl<'de, T> Deserialize<'de> for JsonNumber<T>
where
    T: std::str::FromStr + Deserialize<'de>,
    T::Err: std::fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either<T> {
            Number(T),
            Text(String),
        }
        match Either::<T>::deserialize(deserializer)? {
            Either::Number(number) => Ok(JsonNumber(number)),
            Either::Text(text) => text.parse().map(JsonNumber).map_err(de::Error::custom),
        }
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    JsonNumber::deserialize(deserializer).map(|number| number.0)
}

struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Base64).map_err(de::Error::custom)
    }
}

fn hexadecimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let refused = || de::Error::custom(format!("`{text}` is not hexadecimal"));
    if !text.is_ascii() || text.len() % 2 != 0 {
        return Err(refused());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16))
        .collect::<Result<_, _>>()
        .map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the OpenTelemetry protocol's own example of logs in JSON looks like.
    const JSON: &str = r#"{"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
        "schemaUrl": "https://example.com",
        "scopeLogs": [{"scope": {"name": "my.library", "version": "1.0.0", "attributes": []}, "logRecords": [{
            "timeUnixNano": "1544712660300000000", "observedTimeUnixNano": 1544712660300000001,
            "severityNumber": 10, "severityText": "Information",
            "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
            "body": {"stringValue": "Example log record"},
            "attributes": [
                {"key": "int", "value": {"intValue": "10"}}, {"key": "double", "value": {"doubleValue": 637.704}},
                {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "many"}, {}]}}},
                {"key": "map", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": true}}]}}},
                {"key": "bytes", "value": {"bytesValue": "AAH/"}}
            ]
        }]}]
    }]}"#;

    #[test]
    fn json_and_protobuf_say_the_same() {
        let request: ExportRequest = serde_json::from_str(JSON).expect("a request");
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(record.time_unix_nano, 1_544_712_660_300_000_000);
        assert_eq!(record.observed_time_unix_nano, 1_544_712_660_300_000_001);
        assert_eq!((record.trace_id[0], record.span_id[7]), (0x5b, 0x74));
        assert_eq!(record.attributes[4].value, Some(AnyValue { value: Some(Value::Bytes(vec![0, 1, 255])) }));
        let bytes = request.encode_to_vec();
        assert_eq!(ExportRequest::decode(bytes.as_slice()).expect("the same"), request);
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for wrong in [
            r#"{"resourceLogs": 1}"#,
            r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "yesterday"}]}]}]}"#,
            r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": "5é"}]}]}]}"#,
            r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"bytesValue": "%"}}]}]}]}"#,
        ] {
            assert!(serde_json::from_str::<ExportRequest>(wrong).is_err(), "{wrong}");
        }
        assert!(ExportRequest::decode(&b"\x0a\xff"[..]).is_err());
    }
}
