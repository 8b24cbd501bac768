//! What the clients share: credentials from the environment, bounded retries, errors in plain words.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http_body_util::BodyExt;
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{Error, Result};
use crate::target::kubernetes::failure::{explain, is_transient};
use crate::target::{Credentials, Endpoint};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks one server for JSON.
#[derive(Debug, Clone)]
pub struct HttpClient {
    what: &'static str,
    base: Url,
    way: Way,
    credentials: Option<(String, Option<String>)>,
    retries: usize,
}

/// How a server is reached.
#[derive(Clone)]
enum Way {
    Direct(reqwest::Client),
    /// Through the proxy of a cluster's API server; the base URL's path is the proxy's.
    ApiServer(kube::Client),
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Way::Direct(_) => "Direct",
            Way::ApiServer(_) => "ApiServer",
        })
    }
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
        let way = Way::Direct(client);
        Ok(HttpClient { what, base: endpoint.url.clone(), way, credentials, retries: 3 })
    }

    /// A client of `what` behind the proxy of a cluster's API server, at a path there
    /// (`/api/v1/namespaces/NAMESPACE/services/NAME:PORT/proxy`). It only ever reads.
    pub fn behind_api_server(what: &'static str, client: kube::Client, path: &str) -> HttpClient {
        let mut base = Url::parse("http://api-server").expect("a URL");
        base.set_path(path);
        HttpClient { what, base, way: Way::ApiServer(client), credentials: None, retries: 3 }
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
        let url = join(&self.base, path);
        let (status, body) = match &self.way {
            Way::Direct(client) => self.directly(client.get(url).query(query)).await?,
            Way::ApiServer(client) => {
                let answer = tokio::time::timeout(TIMEOUT, self.by_api_server(client, url, query)).await;
                answer.map_err(|_| {
                    let why = format!("nothing came within {} s", TIMEOUT.as_secs());
                    Failure { passing: false, status: None, error: self.no_answer().because_of(why) }
                })??
            }
        };
        self.judge(path, status, body)
    }

    /// Sends a body to `path` below the base URL, to the base URL itself where it is empty; once.
    pub(super) async fn post(&self, path: &str, headers: HeaderMap, body: Vec<u8>) -> Result<(), Failure> {
        let Way::Direct(client) = &self.way else {
            let why = "through an API server's proxy nothing is written";
            return Err(Failure { passing: false, status: None, error: self.no_answer().because_of(why) });
        };
        let url = if path.is_empty() { self.base.clone() } else { join(&self.base, path) };
        let (status, body) = self.directly(client.post(url).headers(headers).body(body)).await?;
        self.judge(path, status, body).map(drop)
    }

    /// The body of a success; what else there is, is told.
    fn judge(&self, path: &str, status: StatusCode, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        if status.is_success() {
            return Ok(body);
        }
        let text: String = told(&body).chars().take(300).collect();
        let mut error = Error::no_data(format!("{} on {} did not give what was asked", self.what, self.base))
            .because_of(format!("status {status} for /{path}: {}", text.trim()));
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            error = error.hint(match (&self.way, &self.credentials) {
                (Way::ApiServer(_), _) => "This user may not `get` services/proxy (or pods/proxy) there.",
                (Way::Direct(_), None) => {
                    "Name the environment variables with its credentials: `credentials` in the stack file, \
                          or --prometheus-bearer or --prometheus-user on the command line."
                }
                (Way::Direct(_), Some(_)) => "It does not accept the credentials that the environment holds.",
            });
        }
        let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(Failure { passing, status: Some(status), error })
    }

    async fn directly(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Failure> {
        let request = match &self.credentials {
            None => request,
            Some((token, None)) => request.bearer_auth(token),
            Some((user, password)) => request.basic_auth(user, password.as_ref()),
        };
        let response = request.send().await.map_err(|e| Failure {
            passing: !e.is_timeout(),
            status: None,
            error: self.no_answer().because(e.without_url()),
        })?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| Failure {
            passing: true,
            status: None,
            error: self.no_answer().because(e.without_url()),
        })?;
        Ok((status, body.to_vec()))
    }

    async fn by_api_server(
        &self,
        client: &kube::Client,
        mut url: Url,
        query: &[(&str, String)],
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        url.query_pairs_mut().extend_pairs(query);
        let target = &url[url::Position::BeforePath..];
        let request = http::Request::get(target).body(kube::client::Body::empty()).map_err(|e| Failure {
            passing: false,
            status: None,
            error: self.no_answer().because(e),
        })?;
        let no_answer = |e: &kube::Error| Failure {
            passing: is_transient(e),
            status: None,
            error: self.no_answer().because_of(explain(e)),
        };
        let response = client.send(request).await.map_err(|e| no_answer(&e))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|e| no_answer(&e))?;
        Ok((status, body.to_bytes().to_vec()))
    }

    fn no_answer(&self) -> Error {
        Error::no_data(format!("{} does not answer on {}", self.what, self.base))
    }
}

/// What a server says is wrong: the message of an API server's or of Prometheus' JSON, else the text as it is.
fn told(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Told {
        #[serde(alias = "error")]
        message: String,
    }
    match serde_json::from_slice::<Told>(body) {
        Ok(told) => told.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
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

    #[test]
    fn an_error_is_told_by_its_message() {
        assert_eq!(
            told(br#"{"kind":"Status","message":"no endpoints available"}"#),
            "no endpoints available"
        );
        assert_eq!(
            told(br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#),
            "parse error"
        );
        assert_eq!(told(b"Service Unavailable"), "Service Unavailable");
    }
}
