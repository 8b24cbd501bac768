//! What the clients share: credentials from the environment, bounded retries, errors in plain words.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::answer::{self, Told};
use crate::error::{Error, Result};
use crate::http_client::{self, Unread};
use crate::secret;
use crate::target::kubernetes::failure::{explain, is_transient};
use crate::target::{Credentials, Endpoint};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may ask to be left alone (`Retry-After`) before it is asked again.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// How many redirects within the server itself are followed.
const REDIRECTS: usize = 5;

/// Asks one server for JSON.
#[derive(Debug, Clone)]
pub struct HttpClient {
    what: &'static str,
    base: Url,
    way: Way,
    credentials: Option<(String, Option<String>)>,
    headers: HeaderMap,
    retries: usize,
    /// Bytes that an answer may have.
    limit: usize,
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

/// An answer as it came.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl HttpClient {
    /// A client of `what` (a name for errors) behind an endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where an environment variable that holds credentials is not set or not allowed, or
    /// would go over plain http to another machine.
    pub fn new(what: &'static str, endpoint: &Endpoint) -> Result<HttpClient> {
        let credentials = match &endpoint.credentials {
            None => None,
            Some(Credentials::Bearer(token)) => Some((secret::read(token, what)?, None)),
            Some(Credentials::Basic { user, password }) => {
                let (name, secret) = (secret::read_name(user, what)?, secret::read(password, what)?);
                secret::know_pair(&name, &secret, password);
                Some((name, Some(secret)))
            }
        };
        if credentials.is_some() || endpoint.headers.values().any(|value| secret::names_any(value)) {
            secret::may_go_to(&endpoint.url, what)?;
        }
        let client = http_client::builder_for(&endpoint.url)
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(3))
            .build()
            .map_err(|e| Error::prerequisite("no HTTP client could be made").because(e))?;
        let limit = endpoint.largest_answer_mib.map_or(http_client::LARGEST_ANSWER, |mib| {
            usize::try_from(mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX)
        });
        let headers = headers(what, endpoint)?;
        Ok(HttpClient {
            what,
            base: endpoint.url.clone(),
            way: Way::Direct(client),
            credentials,
            headers,
            retries: 3,
            limit,
        })
    }

    /// A client of `what` behind the proxy of a cluster's API server, at a path there
    /// (`/api/v1/namespaces/NAMESPACE/services/NAME:PORT/proxy`). It only ever reads.
    pub fn behind_api_server(what: &'static str, client: kube::Client, path: &str) -> HttpClient {
        let mut base = Url::parse("http://api-server").expect("a URL");
        base.set_path(path);
        HttpClient {
            what,
            base,
            way: Way::ApiServer(client),
            credentials: None,
            headers: HeaderMap::new(),
            retries: 3,
            limit: http_client::LARGEST_ANSWER,
        }
    }

    /// One that asks once: for those who ask again by themselves.
    pub fn once_only(self) -> HttpClient {
        HttpClient { retries: 0, ..self }
    }

    /// The server's base URL.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Who is asked, for messages: `Prometheus on http://127.0.0.1:9090/`.
    pub(super) fn name(&self) -> String {
        format!("{} on {}", self.what, self.base)
    }

    /// Asks for `path` (below the base URL) with a query. What may pass (no connection, 5xx, 429) is asked
    /// again, three times in about a second; later where the server says when.
    ///
    /// # Errors
    /// No data (exit 3): no answer, an answer that is no success, is too large, or is not the JSON expected.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T> {
        let body = self.fetch(path, query).await.map_err(|failure| failure.error)?;
        answer::read_json(&self.name(), &body).map_err(|error| error.because_of(format!("asked for /{path}")))
    }

    /// The same of an API that wraps its data with a status and warnings, as Prometheus and Loki do.
    ///
    /// # Errors
    /// As [`HttpClient::get`], and where the answer is not vouched for as whole.
    pub async fn told<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<Told<T>> {
        let body = self.fetch(path, query).await.map_err(|failure| failure.error)?;
        self.read_told(path, &body)
    }

    /// The same, of what not every product of this kind has; `None` where this one does not have it.
    ///
    /// # Errors
    /// As [`HttpClient::told`].
    pub async fn told_if_there<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Option<Told<T>>> {
        match self.fetch(path, query).await {
            Ok(body) => self.read_told(path, &body).map(Some),
            Err(failure) if failure.not_there => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    /// Whether anybody answers there at all, whatever it says.
    pub async fn answers(&self) -> bool {
        match self.once("", &[]).await {
            Ok(_) => true,
            Err(failure) => failure.status.is_some(),
        }
    }

    /// Whether nobody takes a connection there.
    pub async fn is_gone(&self) -> bool {
        matches!(self.once("", &[]).await, Err(Failure { gone: true, .. }))
    }

    /// What stands at `path`, as text: a page of metrics.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub async fn text(&self, path: &str) -> Result<String> {
        let body = self.fetch(path, &[]).await.map_err(|failure| failure.error)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn read_told<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<Told<T>> {
        answer::read_told(&self.name(), body).map_err(|error| error.because_of(format!("asked for /{path}")))
    }

    async fn fetch(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
        let retries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(self.retries)
            .with_jitter();
        (|| self.once(path, query)).retry(retries).when(|failure| failure.passing).adjust(rest).await
    }

    async fn once(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
        let url = join(&self.base, path);
        let answer = match &self.way {
            Way::Direct(client) => self.within_origin(client, url, query).await?,
            Way::ApiServer(client) => {
                let answer = tokio::time::timeout(TIMEOUT, self.by_api_server(client, url, query)).await;
                answer.map_err(|_| {
                    let why = format!("nothing came within {} s", TIMEOUT.as_secs());
                    Failure::of(self.no_answer().because_of(why))
                })??
            }
        };
        self.judge(path, answer)
    }

    /// Sends a body to `path` below the base URL, to the base URL itself where it is empty; once. A redirect is an
    /// error: it would make a read of the write.
    pub(super) async fn post(&self, path: &str, headers: HeaderMap, body: Vec<u8>) -> Result<(), Failure> {
        let Way::Direct(client) = &self.way else {
            let why = "through an API server's proxy nothing is written";
            return Err(Failure::of(self.no_answer().because_of(why)));
        };
        let url = if path.is_empty() { self.base.clone() } else { join(&self.base, path) };
        let answer = self.directly(client.post(url).headers(headers).body(body)).await?;
        self.judge(path, answer).map(drop)
    }

    /// Asks, and follows redirects as long as they stay within the server: credentials go nowhere else, and what
    /// another server says is not this one's answer.
    async fn within_origin(
        &self,
        client: &reqwest::Client,
        url: Url,
        query: &[(&str, String)],
    ) -> Result<Answer, Failure> {
        let mut answer = self.directly(client.get(url.clone()).query(query)).await?;
        let mut url = url;
        for _ in 0..REDIRECTS {
            let Some(next) = location(&url, &answer).filter(|next| next.origin() == self.base.origin())
            else {
                break;
            };
            answer = self.directly(client.get(next.clone())).await?;
            url = next;
        }
        Ok(answer)
    }

    /// The body of a success; what else there is, is told.
    fn judge(&self, path: &str, answer: Answer) -> Result<Vec<u8>, Failure> {
        let Answer { status, headers, body } = answer;
        if status.is_success() {
            return Ok(body);
        }
        let mut error = Error::no_data(format!("{} did not give what was asked", self.name()));
        if status.is_redirection() {
            let to =
                headers.get(LOCATION).map_or("nowhere".into(), |to| String::from_utf8_lossy(to.as_bytes()));
            error = error.because_of(format!("status {status} for /{path}: it sends on to {to}"));
            return Err(Failure::of(error.hint(answer::SIGN_IN)).with_status(status));
        }
        error = error.because_of(format!("status {status} for /{path}: {}", answer::told(&body)));
        if is_lasting(status) {
            error = error.lasting();
        }
        if let Some(hint) = self.hint(status, &body) {
            error = error.hint(hint);
        }
        let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let not_there = matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
        ) || (status == StatusCode::BAD_REQUEST && !answer::is_json(&body));
        let rest = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Err(Failure {
            passing: passing && status != StatusCode::NOT_IMPLEMENTED,
            not_there,
            rest,
            ..Failure::of(error).with_status(status)
        })
    }

    fn hint(&self, status: StatusCode, body: &[u8]) -> Option<&'static str> {
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let told = String::from_utf8_lossy(&body[..body.len().min(4096)]).to_ascii_lowercase();
        Some(match (&self.way, &self.credentials) {
            _ if told.contains("prometheus agent") => {
                "An agent answers no query: name the server that it writes to."
            }
            _ if told.contains("no org id") => {
                "It wants to know the tenant: `headers: {X-Scope-OrgID: …}` beside `url` in the stack file, or \
                 --prometheus-header X-Scope-OrgID=… on the command line."
            }
            _ if !refused => return None,
            (Way::ApiServer(_), _) => "This user may not `get` services/proxy (or pods/proxy) there.",
            (Way::Direct(_), None) => {
                "Name the environment variables with its credentials: `credentials` in the stack file, \
                 or --prometheus-bearer or --prometheus-user on the command line."
            }
            (Way::Direct(_), Some(_)) => "It does not accept the credentials that the environment holds.",
        })
    }

    async fn directly(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let request = request.headers(self.headers.clone());
        let request = match &self.credentials {
            None => request,
            Some((token, None)) => request.bearer_auth(token),
            Some((user, password)) => request.basic_auth(user, password.as_ref()),
        };
        let response = request.send().await.map_err(|e| Failure {
            passing: !e.is_timeout(),
            gone: e.is_connect(),
            ..Failure::of(self.no_answer().because(e.without_url()))
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = http_client::read(response, self.limit).await.map_err(|e| self.unread(e))?;
        Ok(Answer { status, headers, body })
    }

    fn unread(&self, why: Unread) -> Failure {
        match why {
            Unread::TooLarge(_) => Failure::of(self.too_large()),
            Unread::Broken(e) => Failure { passing: true, ..Failure::of(self.no_answer().because(e)) },
        }
    }

    fn too_large(&self) -> Error {
        Error::no_data(format!("{} gave an answer that is too large", self.name()))
            .because_of(Unread::TooLarge(self.limit).to_string())
            .hint("Ask for less; or allow more by `largest_answer_mib` beside its `url` in the stack file.")
    }

    async fn by_api_server(
        &self,
        client: &kube::Client,
        mut url: Url,
        query: &[(&str, String)],
    ) -> Result<Answer, Failure> {
        url.query_pairs_mut().extend_pairs(query);
        let target = &url[url::Position::BeforePath..];
        let request = http::Request::get(target)
            .body(kube::client::Body::empty())
            .map_err(|e| Failure::of(self.no_answer().because(e)))?;
        let response = client.send(request).await.map_err(|e| Failure {
            passing: is_transient(&e),
            ..Failure::of(self.no_answer().because_of(explain(&e)))
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body =
            Limited::new(response.into_body(), self.limit).collect().await.map_err(|e| match e
                .downcast_ref::<LengthLimitError>(
            ) {
                Some(_) => Failure::of(self.too_large()),
                None => Failure { passing: true, ..Failure::of(self.no_answer().because_of(e.to_string())) },
            })?;
        Ok(Answer { status, headers, body: body.to_bytes().into() })
    }

    fn no_answer(&self) -> Error {
        Error::no_data(format!("{} does not answer on {}", self.what, self.base))
    }
}

/// Where an answer sends on to.
fn location(from: &Url, answer: &Answer) -> Option<Url> {
    if !answer.status.is_redirection() {
        return None;
    }
    from.join(answer.headers.get(LOCATION)?.to_str().ok()?).ok()
}

/// Whether asking the same again gives the same: it is wrong, or not allowed.
fn is_lasting(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// The pause before a server is asked again: as long as it says, within bounds.
pub(super) fn rest(failure: &Failure, pause: Option<Duration>) -> Option<Duration> {
    let asked = Duration::from_secs(failure.rest.unwrap_or_default().into()).min(LONGEST_REST);
    pause.map(|pause| pause.max(asked))
}

/// A request that failed, and whether it may succeed when it is sent again.
#[derive(Debug)]
pub(super) struct Failure {
    pub passing: bool,
    /// What it was answered with, if it was.
    pub status: Option<StatusCode>,
    /// Whether the server does not know what was asked for.
    pub not_there: bool,
    /// Whether nobody took the connection.
    pub gone: bool,
    /// For how many seconds the server wants to be left alone.
    pub rest: Option<u32>,
    pub error: Error,
}

impl Failure {
    /// One that will not pass.
    pub fn of(error: Error) -> Failure {
        Failure { passing: false, status: None, not_there: false, gone: false, rest: None, error }
    }

    fn with_status(self, status: StatusCode) -> Failure {
        Failure { status: Some(status), ..self }
    }
}

/// The base URL may have a path of its own (Prometheus behind `--web.external-url`).
fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn headers(what: &str, endpoint: &Endpoint) -> Result<HeaderMap> {
    let read = |(name, value): (&String, &String)| {
        let value = secret::resolve(value, what)?;
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok());
        header.ok_or_else(|| Error::usage(format!("the header {name} cannot be sent to {what}")))
    };
    endpoint.headers.iter().map(read).collect()
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
    fn a_server_is_left_alone_as_long_as_it_says_within_bounds() {
        let failure = |seconds| Failure { rest: Some(seconds), ..Failure::of(Error::no_data("busy")) };
        let pause = Some(Duration::from_millis(100));
        assert_eq!(rest(&failure(2), pause), Some(Duration::from_secs(2)));
        assert_eq!(rest(&failure(3600), pause), Some(LONGEST_REST));
        assert_eq!(rest(&failure(0), pause), pause);
        assert_eq!(rest(&failure(2), None), None, "it was asked often enough");
    }
}
