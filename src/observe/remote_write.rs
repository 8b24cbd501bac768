//! Prometheus' remote write, protocol 1: series that somebody else than Prometheus sampled.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use prost::Message;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::HttpClient;
use super::http::Failure;
use crate::error::{Error, Result};
use crate::target::Endpoint;

/// Ends a series: graphs stop here, instead of going on for five minutes. One of many numbers that are none.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Where a Prometheus receives, below its base URL.
const RECEIVER: &str = "api/v1/write";

/// What does not get through is sent again this often: for about six seconds.
const RETRIES: usize = 6;

/// A series, and samples of it.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Its name and labels, sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Its samples, oldest first.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Point>,
}

/// A label of a series.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Label {
    /// `__name__` is the series' own.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A value, and when it was so.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Point {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

/// Why samples were not taken.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: Error,
    /// Whether further samples can't be taken, either: the receiver is off, or wants other credentials.
    pub for_good: bool,
}

/// A client of a remote write receiver.
#[derive(Debug, Clone)]
pub struct RemoteWrite {
    http: HttpClient,
    path: &'static str,
}

impl RemoteWrite {
    /// Of the Prometheus behind this endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where its credentials are not in the environment.
    pub fn of_prometheus(endpoint: &Endpoint) -> Result<RemoteWrite> {
        Ok(RemoteWrite { http: HttpClient::new("Prometheus", endpoint)?, path: RECEIVER })
    }

    /// Of whatever receives at exactly this URL: `https://mimir.example/api/v1/push`.
    ///
    /// # Errors
    /// As [`RemoteWrite::of_prometheus`].
    pub fn at(endpoint: &Endpoint) -> Result<RemoteWrite> {
        Ok(RemoteWrite { http: HttpClient::new("the remote write receiver", endpoint)?, path: "" })
    }

    /// The URL that it was made for.
    pub fn url(&self) -> &url::Url {
        self.http.base()
    }

    /// Whether samples would be taken: writes none, once.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<(), Refused> {
        self.once(&[]).await.map_err(|failure| self.refused(failure))
    }

    /// Writes samples. What may pass (no answer, 5xx, 429) is tried again for about six seconds; what Prometheus
    /// has already it takes again.
    ///
    /// # Errors
    /// Why they were not taken, or not surely.
    pub async fn write(&self, series: &[TimeSeries]) -> Result<(), Refused> {
        let retries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(RETRIES)
            .with_jitter();
        (|| self.once(series))
            .retry(retries)
            .when(|failure| failure.passing)
            .adjust(super::http::rest)
            .await
            .map_err(|failure| self.refused(failure))
    }

    async fn once(&self, series: &[TimeSeries]) -> Result<(), Failure> {
        let message = WriteRequest { timeseries: series.to_vec() }.encode_to_vec();
        let body = snap::raw::Encoder::new()
            .compress_vec(&message)
            .map_err(|e| Failure::of(Error::no_data("samples cannot be compressed").because(e)))?;
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
            (CONTENT_ENCODING, HeaderValue::from_static("snappy")),
            (HeaderName::from_static("x-prometheus-remote-write-version"), HeaderValue::from_static("0.1.0")),
        ]);
        self.http.post(self.path, headers, body).await
    }

    fn refused(&self, failure: Failure) -> Refused {
        let hint = match failure.status {
            Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => Some(
                "Prometheus receives with --web.enable-remote-write-receiver (in kube-prometheus-stack: \
                 prometheusSpec.enableRemoteWriteReceiver), on /api/v1/write.",
            ),
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) if self.path.is_empty() => Some(
                "Name the environment variables with its credentials: --remote-write-bearer, or \
                 --remote-write-user and --remote-write-password.",
            ),
            _ => None,
        };
        let error = match hint {
            Some(hint) => failure.error.hint(hint),
            None => failure.error,
        };
        Refused { error, for_good: failure.status.is_some_and(for_good) }
    }
}

fn for_good(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_series_is_the_number_that_prometheus_knows() {
        assert!(STALE.is_nan());
        assert_eq!(STALE.to_bits(), 0x7ff0_0000_0000_0002);
        let point = Point { value: STALE, timestamp: 1 };
        let read = Point::decode(point.encode_to_vec().as_slice()).expect("a point");
        assert_eq!(read.value.to_bits(), STALE.to_bits(), "it goes over the wire bit by bit");
    }
}
