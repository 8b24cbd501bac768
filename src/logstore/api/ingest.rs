//! `POST /otlp/v1/logs`: protobuf or JSON, gzip or plain.

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use prost::Message as _;
use serde_json::json;

use super::super::entry::Entries;
use super::super::otlp::{ExportRequest, ExportResponse, PartialSuccess, Status};
use super::super::store::Refused;
use super::{Api, LARGEST_REQUEST, Refusal, blocking};

/// How a request is written; its answer is written likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

impl Format {
    fn of(headers: &HeaderMap) -> Result<Format, Refusal> {
        let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Format::Protobuf),
            "application/json" => Ok(Format::Json),
            _ => Err(Refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "the Content-Type `{named}` is not taken, but application/x-protobuf and application/json are"
                ),
            )),
        }
    }

    fn answer(self, status: StatusCode, protobuf: Vec<u8>, json: &serde_json::Value) -> Response {
        match self {
            Format::Protobuf => {
                (status, [(CONTENT_TYPE, "application/x-protobuf")], protobuf).into_response()
            }
            Format::Json => (status, axum::Json(json)).into_response(),
        }
    }
}

/// Takes lines. It answers with a success when they are on the disk, and not before.
pub async fn take(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let format = match Format::of(&headers) {
        Ok(format) => format,
        Err(refusal) => return refusal.into_response(),
    };
    let compressed = match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(other) => Err(Refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("the Content-Encoding `{}` is not taken, but gzip is", String::from_utf8_lossy(other)),
        )),
    };
    let body = body
        .map_err(|rejection| Refusal(rejection.status(), format!("the request was not read: {rejection}")));
    let kept = match (compressed, body) {
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        (Ok(compressed), Ok(body)) => {
            blocking(&api, move |api| keep(api, format, compressed, &body)).await.flatten()
        }
    };
    match kept {
        Ok(refused) => success(format, refused),
        Err(Refusal(status, why)) => {
            let code = if status.is_server_error() { 14 } else { 3 };
            let (json, message) = (json!({"code": code, "message": why}), Status { code, message: why });
            let mut response = format.answer(status, message.encode_to_vec(), &json);
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
            }
            response
        }
    }
}

fn success(format: Format, refused: Vec<String>) -> Response {
    let Some(first) = refused.first() else {
        return format.answer(StatusCode::OK, ExportResponse::default().encode_to_vec(), &json!({}));
    };
    let error_message = format!("not kept: {first}");
    let json = json!({"partialSuccess": {"rejectedLogRecords": refused.len().to_string(), "errorMessage": error_message}});
    let partial_success = Some(PartialSuccess { rejected_log_records: refused.len() as i64, error_message });
    format.answer(StatusCode::OK, ExportResponse { partial_success }.encode_to_vec(), &json)
}

/// Keeps the lines of a request; why some of them can't be kept.
fn keep(api: &Api, format: Format, compressed: bool, body: &[u8]) -> Result<Vec<String>, Refusal> {
    let unpacked = if compressed { Some(unpack(body)?) } else { None };
    let body = unpacked.as_deref().unwrap_or(body);
    let request = match format {
        Format::Protobuf => ExportRequest::decode(body).map_err(|e| e.to_string()),
        Format::Json => serde_json::from_slice(body).map_err(|e| e.to_string()),
    };
    let request =
        request.map_err(|e| Refusal::bad(format!("this is no ExportLogsServiceRequest of OTLP: {e}")))?;
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let entries = Entries::of(request, now);
    match api.store.append(&entries.taken) {
        Ok(_) => Ok(entries.refused),
        Err(Refused::Streams) => Err(Refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "there are too many streams: a label has a value of its own for each line".into(),
        )),
        // Who sends tries again after a 503.
        Err(Refused::Disk(e)) => {
            Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("the lines cannot be written: {e}")))
        }
    }
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(body)
        .take(LARGEST_REQUEST as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|e| Refusal::bad(format!("the request is not packed by gzip as it says: {e}")))?;
    if unpacked.len() > LARGEST_REQUEST {
        let why = format!("the request has more than {LARGEST_REQUEST} bytes when it is unpacked");
        return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    Ok(unpacked)
}
