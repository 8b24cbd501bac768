//! What the clients share: credentials from the environment, bounded retries, errors in plain words.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{Error, Result};
use crate::target::{Credentials, Endpoint};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks one server for JSON.
#[derive(Debug, Clone)]
pub struct HttpClient {
    what: &'static str,
    base: Url,
    client: reqwest::Client,
    credentials: Option<(String, Option<String>)>,
    retries: usize,
}

impl HttpClient {
    /// A client of `what` (a name for errors) behind an endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where an environment variable that holds credentials is not set.
    pub fn new(what: &'static str, endpoint: &Endpoint) -> Result<HttpClient> {
        let credentials = match &endpoint.credentials {
            None => None,
            Some(Credentials::Bearer(token)) => Some((secret(what, token)?, None)),
            Some(Credentials::Basic { user, password }) => {
                Some((secret(what, user)?, Some(secret(what, password)?)))
            }
        };
        let mut client = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(Duration::from_secs(3));
        if is_here(&endpoint.url) {
            // A proxy of the user's cannot reach this machine's loopback.
            client = client.no_proxy();
        }
        let client =
            client.build().map_err(|e| Error::prerequisite("no HTTP client could be made").because(e))?;
        Ok(HttpClient { what, base: endpoint.url.clone(), client, credentials, retries: 3 })
    }

    /// One that asks once: for those who ask again by themselves.
    pub fn once_only(self) -> HttpClient {
        HttpClient { retries: 0, ..self }
    }

    /// The server's base URL.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Asks for `path` (below the base URL) with a query. What may pass (no connection, 5xx, 429) is asked
    /// again, three times in about a second.
    ///
    /// # Errors
    /// No data (exit 3): no answer, an answer that is no success, or one that is not the JSON expected.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T> {
        let retries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(self.retries)
            .with_jitter();
        let body = (|| self.once(path, query)).retry(retries).when(|failure| failure.passing).await;
        let body = body.map_err(|failure| failure.error)?;
        serde_json::from_slice(&body).map_err(|e| {
            Error::no_data(format!("{} on {} gave an answer that is not understood", self.what, self.base))
                .because(e)
                .because_of(format!("asked for /{path}"))
        })
    }

    async fn once(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
        self.send(self.client.get(join(&self.base, path)).query(query), path).await
    }

    /// Sends a body to `path` below the base URL, to the base URL itself where it is empty; once.
    pub(super) async fn post(&self, path: &str, headers: HeaderMap, body: Vec<u8>) -> Result<(), Failure> {
        let url = if path.is_empty() { self.base.clone() } else { join(&self.base, path) };
        self.send(self.client.post(url).headers(headers).body(body), path).await.map(drop)
    }

    async fn send(&self, request: RequestBuilder, path: &str) -> Result<Vec<u8>, Failure> {
        let failed = || Error::no_data(format!("{} on {} did not give what was asked", self.what, self.base));
        let request = match &self.credentials {
            None => request,
            Some((token, None)) => request.bearer_auth(token),
            Some((user, password)) => request.basic_auth(user, password.as_ref()),
        };
        let response = request.send().await.map_err(|e| Failure {
            passing: !e.is_timeout(),
            status: None,
            error: Error::no_data(format!("{} does not answer on {}", self.what, self.base))
                .because(e.without_url()),
        })?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| Failure {
            passing: true,
            status: None,
            error: failed().because(e.without_url()),
        })?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        let text: String = String::from_utf8_lossy(&body).chars().take(300).collect();
        let mut error = failed().because_of(format!("status {status} for /{path}: {}", text.trim()));
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            error = error.hint(match self.credentials {
                None => {
                    "Name the environment variables with its credentials: `credentials` in the stack file, \
                         or --prometheus-bearer or --prometheus-user with `sre init --external`."
                }
                Some(_) => "It does not accept the credentials that the environment holds.",
            });
        }
        let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(Failure { passing, status: Some(status), error })
    }
}

/// A request that failed, and whether it may succeed when it is sent again.
#[derive(Debug)]
pub(super) struct Failure {
    pub passing: bool,
    /// What it was answered with, if it was.
    pub status: Option<StatusCode>,
    pub error: Error,
}

/// The base URL may have a path of its own (Prometheus behind `--web.external-url`).
fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn secret(what: &str, variable: &str) -> Result<String> {
    std::env::var(variable).map_err(|_| {
        Error::prerequisite(format!("the environment variable {variable} is not set"))
            .because_of(format!("it was named for the credentials of {what}"))
            .hint(format!("export {variable}=…"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_keeps_its_path() {
        let base = Url::parse("http://host:9090/prometheus/").expect("a URL");
        assert_eq!(join(&base, "api/v1/query").as_str(), "http://host:9090/prometheus/api/v1/query");
        let base = Url::parse("http://host:9090").expect("a URL");
        assert_eq!(join(&base, "-/ready").as_str(), "http://host:9090/-/ready");
    }
}
