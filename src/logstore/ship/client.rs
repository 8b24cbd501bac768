//! Sends records by OTLP over HTTP.

use std::time::Duration;

use prost::Message as _;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use url::Url;

use super::super::otlp::{
    ExportRequest, ExportResponse, KeyValue, LogRecord, Resource, ResourceLogs, ScopeLogs,
};
use super::Options;
use crate::error::{Error, Result};
use crate::http_client;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one store.
pub struct Client {
    http: reqwest::Client,
    url: Url,
    service: String,
}

/// What became of records.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// They are kept; with a word where some are not, and never will be.
    Kept(Option<String>),
    /// They may be kept when they are sent again; why they are not now.
    Later(String),
    /// They are refused, and would be again; why.
    Refused(String),
}

impl Client {
    /// A client.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where no HTTP client can be made.
    pub fn new(options: &Options) -> Result<Client> {
        // It sends within one lab: a proxy of the user's has no part in that.
        let http = http_client::builder().timeout(TIMEOUT).no_proxy().build();
        let http = http.map_err(|e| Error::prerequisite("no HTTP client could be made").because(e))?;
        let mut url = options.to.clone();
        url.set_path(&format!("{}/v1/logs", url.path().trim_end_matches('/')));
        Ok(Client { http, url, service: options.service.clone() })
    }

    /// Sends records, by the replica that wrote them; once.
    pub async fn send(&self, records: Vec<(String, Vec<LogRecord>)>) -> Sent {
        let of_replica = |(replica, log_records): (String, Vec<LogRecord>)| ResourceLogs {
            resource: Some(Resource {
                attributes: vec![
                    KeyValue::text("service.name", &self.service),
                    KeyValue::text("service.instance.id", replica),
                ],
            }),
            scope_logs: vec![ScopeLogs { scope: None, log_records }],
        };
        let body =
            ExportRequest { resource_logs: records.into_iter().map(of_replica).collect() }.encode_to_vec();
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let answer = match request.body(body).send().await {
            Ok(answer) => answer,
            Err(e) => return Sent::Later(format!("{} does not answer: {}", self.url, innermost(&e))),
        };
        let status = answer.status();
        let body = match http_client::read(answer, http_client::LARGEST_ANSWER).await {
            Ok(body) => body,
            Err(e) => {
                return Sent::Later(format!("the answer of {} ended early: {}", self.url, innermost(&e)));
            }
        };
        judge(status, &body)
    }
}

fn judge(status: StatusCode, body: &[u8]) -> Sent {
    if status.is_success() {
        let partial = ExportResponse::decode(body).ok().and_then(|answer| answer.partial_success);
        let refused = partial.filter(|partial| partial.rejected_log_records > 0);
        return Sent::Kept(refused.map(|partial| {
            format!("{} lines are lost: {}", partial.rejected_log_records, partial.error_message)
        }));
    }
    let text: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(300).collect();
    let why = format!("status {status}: {text}");
    let passes = status.is_server_error()
        || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::NOT_FOUND]
            .contains(&status);
    if passes { Sent::Later(why) } else { Sent::Refused(why) }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::super::otlp::PartialSuccess;
    use super::*;

    #[test]
    fn what_may_pass_is_sent_again_and_what_cannot_is_told() {
        assert_eq!(judge(StatusCode::OK, b""), Sent::Kept(None));
        assert_eq!(judge(StatusCode::NO_CONTENT, b""), Sent::Kept(None));
        let partial = PartialSuccess { rejected_log_records: 2, error_message: "too long".into() };
        let body = ExportResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(judge(StatusCode::OK, &body), Sent::Kept(Some("2 lines are lost: too long".into())));
        for passing in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS, StatusCode::NOT_FOUND]
        {
            assert!(matches!(judge(passing, b"away"), Sent::Later(why) if why.ends_with(": away")));
        }
        assert!(matches!(judge(StatusCode::BAD_REQUEST, b"bad"), Sent::Refused(_)));
    }
}
