//! The demo service's metrics, by the names that the labs rely on.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{Endpoint, ErrorType, ExceptionType, Method};
use super::process::Process;

/// The content type of [`Metrics::expose`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency histogram's buckets, in seconds; `+Inf` comes on top.
pub const BUCKETS: [f64; 7] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    endpoint: Endpoint,
    method: Method,
    http_status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LatencyLabels {
    endpoint: Endpoint,
    method: Method,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    error_type: ErrorType,
    endpoint: Endpoint,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExceptionLabels {
    r#type: ExceptionType,
    endpoint: Endpoint,
}

/// The metrics and the registry that exposes them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<LatencyLabels, Histogram, fn() -> Histogram>,
    errors: Family<ErrorLabels, Counter>,
    exceptions: Family<ExceptionLabels, Counter>,
    active: Gauge,
    lost_log_lines: Counter,
}

impl Metrics {
    /// Metrics that start from 0, of a process that starts now.
    pub fn new() -> Metrics {
        let mut registry = Registry::default();
        let requests = Family::default();
        let latency = Family::<_, _, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let errors = Family::default();
        let exceptions = Family::default();
        let active = Gauge::default();
        let lost_log_lines = Counter::default();
        // The encoder appends `_total` to a counter's name and a full stop to its help.
        registry.register("app_request_count", "Requests that ended, by status", requests.clone());
        registry.register(
            "app_request_latency_seconds",
            "Time from a request's arrival until the last byte of its answer was handed over",
            latency.clone(),
        );
        registry.register(
            "app_error_count",
            "Requests that ended with a status of 400 or above, by cause",
            errors.clone(),
        );
        registry.register("app_active_requests", "Requests that have not ended yet", active.clone());
        registry.register("app_exceptions", "Handlers that panicked", exceptions.clone());
        registry.register(
            "app_log_lines_lost",
            "Log lines that could not be written, because nobody read them",
            lost_log_lines.clone(),
        );
        registry.register_collector(Box::new(Process::starting()));
        let metrics = Metrics { registry, requests, latency, errors, exceptions, active, lost_log_lines };
        metrics.start_from_zero();
        metrics
    }

    /// Exposes the series that every lab raises before their first event: `rate()` does not see the first
    /// event of a series that begins with it.
    fn start_from_zero(&self) {
        use ErrorType::*;
        let routes = [
            (Endpoint::Users, Method::Get, 200, &[DatabaseError, InjectedError, Exception][..]),
            (Endpoint::Echo, Method::Post, 200, &[BadRequest]),
            (Endpoint::Error, Method::Get, 500, &[ClientError, ServerError]),
            (Endpoint::Unmatched, Method::Get, 404, &[NotFound]),
        ];
        for (endpoint, method, status, error_types) in routes {
            drop(self.latency.get_or_create(&LatencyLabels { endpoint, method }));
            let mut statuses = vec![status];
            for &error_type in error_types {
                drop(self.errors.get_or_create(&ErrorLabels { error_type, endpoint }));
                statuses.push(error_type.status().as_u16());
            }
            for http_status in statuses {
                drop(self.requests.get_or_create(&RequestLabels { endpoint, method, http_status }));
            }
        }
        for &r#type in ExceptionType::ALL {
            drop(self.exceptions.get_or_create(&ExceptionLabels { r#type, endpoint: Endpoint::Users }));
        }
    }

    /// A request has arrived.
    pub fn request_began(&self) {
        self.active.inc();
    }

    /// A request has ended, with this status, for this cause if it is an error.
    pub fn request_ended(
        &self,
        endpoint: Endpoint,
        method: Method,
        http_status: u16,
        error_type: Option<ErrorType>,
        took: Duration,
    ) {
        self.latency.get_or_create(&LatencyLabels { endpoint, method }).observe(took.as_secs_f64());
        if let Some(error_type) = error_type {
            self.errors.get_or_create(&ErrorLabels { error_type, endpoint }).inc();
        }
        self.requests.get_or_create(&RequestLabels { endpoint, method, http_status }).inc();
        self.active.dec();
    }

    /// A handler has panicked.
    pub fn exception(&self, r#type: ExceptionType, endpoint: Endpoint) {
        self.exceptions.get_or_create(&ExceptionLabels { r#type, endpoint }).inc();
    }

    /// The counter of log lines that could not be written.
    pub fn lost_log_lines(&self) -> Counter {
        self.lost_log_lines.clone()
    }

    /// All metrics as OpenMetrics text.
    pub fn expose(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(8 * 1024);
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_buckets_are_those_that_the_labs_rely_on() {
        let metrics = Metrics::new();
        metrics.request_began();
        metrics.request_began();
        metrics.request_ended(
            Endpoint::Users,
            Method::Get,
            500,
            Some(ErrorType::DatabaseError),
            Duration::from_millis(30),
        );
        metrics.exception(ExceptionType::Panic, Endpoint::Echo);
        let text = metrics.expose().unwrap();
        for line in [
            "# TYPE app_request_count counter",
            r#"app_request_count_total{endpoint="/api/users",method="GET",http_status="500"} 1"#,
            r#"app_request_count_total{endpoint="/api/users",method="GET",http_status="200"} 0"#,
            "# TYPE app_request_latency_seconds histogram",
            r#"app_request_latency_seconds_count{endpoint="/api/users",method="GET"} 1"#,
            r#"app_request_latency_seconds_bucket{le="0.01",endpoint="/api/users",method="GET"} 0"#,
            r#"app_request_latency_seconds_bucket{le="0.05",endpoint="/api/users",method="GET"} 1"#,
            r#"app_request_latency_seconds_bucket{le="+Inf",endpoint="/api/users",method="GET"} 1"#,
            r#"app_error_count_total{error_type="database_error",endpoint="/api/users"} 1"#,
            r#"app_exceptions_total{type="panic",endpoint="/api/echo"} 1"#,
            "app_active_requests 1",
            "# TYPE process_start_time_seconds gauge",
            "# TYPE process_cpu_seconds counter",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
        }
        let bounds: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(r#"_bucket{"#) && line.contains("/api/users"))
            .filter_map(|line| line.split('"').nth(1))
            .collect();
        assert_eq!(bounds, ["0.01", "0.05", "0.1", "0.5", "1.0", "2.0", "5.0", "+Inf"]);
    }
}
