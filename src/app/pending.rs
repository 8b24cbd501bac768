//! A request that has not ended yet, and ends exactly once.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use serde::Serialize;

use super::failure::Failure;
use super::labels::{CLIENT_DISCONNECTED, Endpoint, ErrorType, Method};
use super::log::Level;
use super::request_id::RequestId;
use super::service::Service;

/// The longest path that is logged, in bytes.
const LONGEST_PATH: usize = 256;

/// A request that has not ended yet. Dropped without an end, it is counted as one whose client went away.
#[derive(Debug)]
pub struct Pending {
    service: Arc<Service>,
    id: RequestId,
    endpoint: Endpoint,
    method: Method,
    uri: http::Uri,
    began: Instant,
    ended: bool,
}

/// The log line of a request that ended.
#[derive(Serialize)]
struct RequestLine<'a> {
    request_id: &'a str,
    method: Method,
    path: &'a str,
    endpoint: Endpoint,
    status: u16,
    latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<ErrorType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Pending {
    /// This request begins.
    pub fn begin(service: Arc<Service>, id: RequestId, request: &Request) -> Pending {
        service.metrics.request_began();
        Pending {
            service,
            id,
            endpoint: Endpoint::of_route(request.extensions().get().map(MatchedPath::as_str)),
            method: request.method().into(),
            uri: request.uri().clone(),
            began: Instant::now(),
            ended: false,
        }
    }

    /// What the request is for.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// What it is done with.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Counts and logs the request, unless that was done before.
    pub fn end(&mut self, status: u16, failure: Option<&Failure>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let took = self.began.elapsed();
        let error_type = failure.map(|failure| failure.error_type);
        let line = RequestLine {
            request_id: self.id.as_str(),
            method: self.method,
            path: shortened(self.uri.path()),
            endpoint: self.endpoint,
            status,
            latency_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            error_type,
            error: failure.map(|failure| failure.message.as_ref()),
        };
        let level = match status {
            500.. => Level::Error,
            400.. => Level::Warn,
            _ => Level::Info,
        };
        self.service.log.request(level, line);
        self.service.metrics.request_ended(self.endpoint, self.method, status, error_type, took);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.ended {
            let failure = Failure::new(
                ErrorType::ClientDisconnected,
                "the connection ended before the answer was handed over",
            );
            self.end(CLIENT_DISCONNECTED, Some(&failure));
        }
    }
}

fn shortened(path: &str) -> &str {
    let end = (0..=path.len().min(LONGEST_PATH)).rev().find(|end| path.is_char_boundary(*end));
    &path[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_logged_up_to_a_bound() {
        assert_eq!(shortened("/api/users"), "/api/users");
        assert_eq!(shortened(&"/".repeat(1_000)).len(), 256);
        let umlauts = "ä".repeat(200);
        assert_eq!(shortened(&format!("/{umlauts}")).len(), 255);
    }
}
