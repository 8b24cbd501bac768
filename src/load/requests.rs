//! Requests as they are sent: everything that is the same each time is made once.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;
use url::Url;

use crate::error::{Error, Result};
use crate::scenario::{Expect, Http, HttpVersion, Load, Request, Scenario};
use crate::secret::{self, Secrets};
use crate::target::Replica;

/// The header by which a request is found again in the service's log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One kind of request, to each replica.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub method: Method,
    pub body: Bytes,
    /// The body as HTTP/1.1 frames it: as it is, or in one chunk where the scenario asks for chunks.
    pub framed: Bytes,
    pub expect: Expect,
    /// What the answer's body must contain.
    pub contains: Option<Vec<u8>>,
    /// Whether each request gets an id of its own: unless the scenario sets the header.
    pub identified: bool,
    /// Whether it asks for the end of its connection, so that no further request may follow there (RFC 9112, 9.6).
    pub closes: bool,
    /// By replica.
    pub to: Vec<Address>,
}

/// Where a request goes, and the headers that depend on it.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// The whole URL.
    pub url: Url,
    /// What stands in the request line: path and query, with HTTP/2 the whole.
    pub uri: Uri,
    /// All headers but the request's id.
    pub headers: HeaderMap,
    /// With HTTP/1.1: request line and headers as they are written, up to where the request's id comes.
    pub head: Vec<u8>,
}

impl Template {
    /// The requests of a scenario, in their order.
    pub(super) fn all(scenario: &Scenario, replicas: &[Replica]) -> Result<Vec<Template>> {
        let http = http(scenario);
        scenario.requests.iter().map(|(name, request)| Template::new(name, request, http, replicas)).collect()
    }

    fn new(name: &str, request: &Request, http: &Http, replicas: &[Replica]) -> Result<Template> {
        let problem = |what: &str| Error::usage(format!("request `{name}`: {what}"));
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|e| problem(&format!("`{}` is no HTTP method", request.method)).because(e))?;
        let mut headers = HeaderMap::new();
        let whom = format!("the request `{name}`");
        for (key, value) in &request.headers {
            let value = secret::resolve(value, &whom)?;
            let header = HeaderName::from_bytes(key.as_bytes())
                .map_err(|e| problem(&format!("`{key}` is no header")).because(e))?;
            let value = HeaderValue::from_str(&value).map_err(|e| {
                problem(&format!("the value of the header `{key}` cannot be sent")).because(e)
            })?;
            headers.append(header, value);
        }
        let body = match (&request.body, &request.json) {
            (Some(body), _) => Bytes::from(secret::resolve(body, &whom)?.into_owned()),
            (None, Some(json)) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Bytes::from(resolved(json, &whom)?.to_string())
            }
            (None, None) => Bytes::new(),
        };
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("sre/", env!("CARGO_PKG_VERSION"))));
        if secret_texts(request).any(secret::names_any) {
            replicas.iter().try_for_each(|replica| secret::may_go_to(&replica.url, &whom))?;
        }
        let to = replicas
            .iter()
            .map(|replica| Address::new(&method, &request.path, &headers, &body, http.version, replica))
            .collect::<Result<_, Error>>()
            .map_err(|error| {
                problem(&format!("the path `{}` cannot be sent", request.path)).because(error)
            })?;
        let framed = match headers.contains_key(TRANSFER_ENCODING) {
            true if body.is_empty() => Bytes::from_static(b"0\r\n\r\n"),
            true => {
                let size = format!("{:x}\r\n", body.len());
                Bytes::from([size.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat())
            }
            false => body.clone(),
        };
        Ok(Template {
            method,
            body,
            framed,
            expect: request.expect.clone(),
            contains: request.contains.clone().map(String::into_bytes),
            identified: !headers.contains_key(REQUEST_ID),
            closes: closes(&headers),
            to,
        })
    }
}

/// The secrets that the requests of a scenario name.
///
/// # Errors
/// As [`secret::read`].
pub(super) fn secrets(scenario: &Scenario) -> Result<Secrets> {
    secret::collect(scenario.requests.values().flat_map(secret_texts), "the load")
}

/// The texts of a request in which secrets may be named.
fn secret_texts(request: &Request) -> impl Iterator<Item = &str> {
    let of_json = request.json.iter().flat_map(texts);
    request.headers.values().chain(&request.body).map(String::as_str).chain(of_json)
}

/// Every text in a JSON value, the names of members aside.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// The value with what its variables hold. Secrets are put in after it was parsed: none can add JSON of its own.
fn resolved(value: &Value, whom: &str) -> Result<Value> {
    Ok(match value {
        Value::String(text) => Value::from(&*secret::resolve(text, whom)?),
        Value::Array(values) => {
            values.iter().map(|value| resolved(value, whom)).collect::<Result<Vec<_>>>()?.into()
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| -> Result<_> { Ok((name.clone(), resolved(value, whom)?)) });
            Value::Object(members.collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

impl Address {
    fn new(
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
        version: HttpVersion,
        replica: &Replica,
    ) -> Result<Address> {
        let problem = || Error::usage(format!("{} has no such address", replica.url));
        let authority = &replica.url[url::Position::BeforeHost..url::Position::AfterPort];
        let base = replica.url.path().trim_end_matches('/');
        let slash = if path.starts_with('/') { "" } else { "/" };
        let target = format!("{base}{slash}{path}");
        let whole = format!("{}://{authority}{target}", replica.url.scheme());
        let mut headers = headers.clone();
        let uri = match version {
            HttpVersion::Http1 => {
                let host = HeaderValue::from_str(authority).map_err(|e| problem().because(e))?;
                headers.entry(HOST).or_insert(host);
                target.parse()
            }
            // HTTP/2 has a pseudo-header in place of `host`; a host of the scenario's own takes its place.
            HttpVersion::Http2 => {
                without_connection(&mut headers);
                match headers.remove(HOST) {
                    Some(host) => {
                        let host = host.to_str().unwrap_or(authority);
                        format!("{}://{host}{target}", replica.url.scheme()).parse()
                    }
                    None => whole.parse(),
                }
            }
        };
        let uri = uri.map_err(|e: http::uri::InvalidUri| problem().because(e).hint("percent-encode it"))?;
        let mut written = Vec::new();
        if version == HttpVersion::Http1 {
            head(method, &uri, &headers, Some(body), &mut written);
        }
        Ok(Address {
            url: Url::parse(&whole).map_err(|e| problem().because(e))?,
            uri,
            headers,
            head: written,
        })
    }
}

/// Whether a request says that its connection ends after it.
fn closes(headers: &HeaderMap) -> bool {
    let words =
        headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(b"close"))
}

/// HTTP/2 has no headers of the connection, and a server refuses a request that has one (RFC 9113, 8.2.2).
fn without_connection(headers: &mut HeaderMap) {
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
}

/// Whether a body is to be expected of a request with this method, so that it has to be said where there is none.
pub(super) fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Writes the request line and the headers of a request in HTTP/1.1, without the line that ends them.
pub(super) fn head(method: &Method, uri: &Uri, headers: &HeaderMap, body: Option<&Bytes>, to: &mut Vec<u8>) {
    to.extend_from_slice(method.as_str().as_bytes());
    to.push(b' ');
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    to.extend_from_slice(target.as_bytes());
    to.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        to.extend_from_slice(name.as_str().as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    let length = body.map_or(0, Bytes::len);
    let expected = expects_body(method);
    let framed = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    if !framed && (length > 0 || expected) {
        to.extend_from_slice(format!("{CONTENT_LENGTH}: {length}\r\n").as_bytes());
    }
}

/// What holds for every request of a scenario.
pub(super) fn http(scenario: &Scenario) -> &Http {
    match &scenario.load {
        Load::ArrivalRate(load) => &load.http,
        Load::Users(load) => &load.http,
    }
}

/// Makes request ids: the same for the same seed, salt and number.
#[derive(Debug)]
pub(super) struct Ids {
    prefix: String,
    buffer: BytesMut,
}

/// What the ids of a load begin with: letters, digits, `-`, `_` and `.` only.
pub fn prefix(seed: u64, salt: &str) -> String {
    let salt: String = salt.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    format!("{seed}-{salt}-")
}

/// What sets a request's id apart from others of the same load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    /// The user that sent it, in the closed model.
    pub user: Option<u64>,
    /// The ticket, or how many requests the user had begun.
    pub index: u64,
    /// Which request of these it is: 0, or more for redirects and retries.
    pub turn: u32,
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = self.user {
            write!(f, "{user}.")?;
        }
        match self.turn {
            0 => write!(f, "{}", self.index),
            turn => write!(f, "{}-{turn}", self.index),
        }
    }
}

impl Ids {
    pub(super) fn new(seed: u64, salt: &str) -> Ids {
        Ids { prefix: prefix(seed, salt), buffer: BytesMut::new() }
    }

    /// Writes the id of a request.
    pub(super) fn write(&self, number: impl std::fmt::Display, to: &mut Vec<u8>) {
        to.extend_from_slice(self.prefix.as_bytes());
        // Writing to memory fails only where there is none left, and that ends the process.
        let _ = std::io::Write::write_fmt(to, format_args!("{number}"));
    }

    /// The id of a request. Parts of one buffer, so that few are allocated.
    pub(super) fn id(&mut self, number: impl std::fmt::Display) -> HeaderValue {
        if self.buffer.capacity() < self.prefix.len() + 64 {
            self.buffer = BytesMut::with_capacity(8192);
        }
        // Writing to memory fails only where there is none left, and that ends the process.
        let _ = write!(self.buffer, "{}{number}", self.prefix);
        let id: Bytes = self.buffer.split().freeze();
        HeaderValue::from_maybe_shared(id).expect("digits, letters and dashes are a header's value")
    }
}

/// Looks for a text in a body that comes in parts.
#[derive(Debug)]
pub(super) struct Search<'a> {
    wanted: Option<&'a [u8]>,
    /// The end of what went by: the text may begin in one part and end in the next.
    tail: Vec<u8>,
}

impl<'a> Search<'a> {
    pub(super) fn new(wanted: Option<&'a [u8]>) -> Search<'a> {
        Search { wanted: wanted.filter(|wanted| !wanted.is_empty()), tail: Vec::new() }
    }

    /// Takes a part of the body.
    pub(super) fn take(&mut self, part: &[u8]) {
        let Some(wanted) = self.wanted else { return };
        self.tail.extend_from_slice(part);
        if self.tail.windows(wanted.len()).any(|window| window == wanted) {
            self.wanted = None;
            self.tail = Vec::new();
        } else {
            let keep = self.tail.len().min(wanted.len() - 1);
            self.tail.drain(..self.tail.len() - keep);
        }
    }

    /// Whether it was there, or nothing was looked for.
    pub(super) fn found(&self) -> bool {
        self.wanted.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(request: serde_json::Value, base: &str, version: &str) -> Result<Template> {
        let scenario: Scenario = serde_json::from_value(serde_json::json!({
            "name": "test",
            "load": {"users": {"users": 1, "duration": "1s", "http": {"version": version}}},
            "requests": {"one": request},
        }))
        .expect("a scenario");
        let replica =
            Replica { name: "a".into(), url: base.parse().expect("a URL"), instance: None, admin: None };
        Ok(Template::all(&scenario, &[replica])?.remove(0))
    }

    #[test]
    fn a_path_continues_the_base_url() {
        let request = serde_json::json!({"path": "/api/users?page=2", "json": {"a": 1}});
        let one = template(request.clone(), "http://127.0.0.1:8080/shop/", "1.1").expect("a template");
        assert_eq!(one.to[0].uri, "/shop/api/users?page=2");
        assert_eq!(one.to[0].headers[HOST], "127.0.0.1:8080");
        assert_eq!(one.to[0].headers[CONTENT_TYPE], "application/json");
        assert_eq!(one.body, r#"{"a":1}"#);
        let two = template(request, "http://127.0.0.1:8080", "2").expect("a template");
        assert_eq!(two.to[0].uri, "http://127.0.0.1:8080/api/users?page=2");
        assert!(!two.to[0].headers.contains_key(HOST));
    }

    #[test]
    fn a_request_is_written_as_http_has_it() {
        let written = |request: serde_json::Value| {
            let one = template(request, "http://127.0.0.1:8080", "1.1").expect("a template");
            let head = String::from_utf8(one.to[0].head.clone()).expect("text");
            let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
            lines[1..].sort();
            (lines, String::from_utf8(one.framed.to_vec()).expect("text"))
        };
        let agent = concat!("user-agent: sre/", env!("CARGO_PKG_VERSION"));
        let host = "host: 127.0.0.1:8080";
        let (lines, body) = written(serde_json::json!({"path": "/a?b=c"}));
        assert_eq!(
            (lines, body.as_str()),
            (vec!["GET /a?b=c HTTP/1.1".into(), host.into(), agent.into()], "")
        );
        let (lines, body) = written(serde_json::json!({"path": "/", "method": "PUT", "body": "hello"}));
        assert_eq!(lines[..2], ["PUT / HTTP/1.1", "content-length: 5"]);
        assert_eq!(body, "hello");
        let (lines, _) = written(serde_json::json!({"path": "/", "method": "POST"}));
        assert_eq!(lines[1], "content-length: 0", "or a server may wait for a body");
        let chunked = serde_json::json!({"path": "/", "body": "hello, world", "headers": {"Transfer-Encoding": "chunked"}});
        let (lines, body) = written(chunked);
        assert!(!lines.iter().any(|line| line.starts_with("content-length")), "{lines:?}");
        assert_eq!(body, "c\r\nhello, world\r\n0\r\n\r\n");
    }

    #[test]
    fn headers_of_the_connection_are_heeded_and_never_sent_in_http_2() {
        let request = serde_json::json!({
            "path": "/", "headers": {"Connection": "TE, Close", "Keep-Alive": "timeout=5", "TE": "gzip", "Upgrade": "h2c"},
        });
        let one = template(request.clone(), "http://127.0.0.1:8080", "1.1").expect("a template");
        assert!(one.closes && one.to[0].headers.contains_key(CONNECTION));
        let two = template(request, "http://127.0.0.1:8080", "2").expect("a template");
        assert_eq!(two.to[0].headers.keys().collect::<Vec<_>>(), [USER_AGENT]);
        let stays = serde_json::json!({"path": "/", "headers": {"Connection": "keep-alive"}});
        assert!(!template(stays, "http://127.0.0.1:8080", "1.1").expect("a template").closes);
    }

    #[test]
    fn what_the_scenario_sets_stays() {
        let request = serde_json::json!({
            "path": "/", "json": [], "headers": {"Host": "shop.example", "content-type": "text/plain", "X-Request-Id": "mine"},
        });
        let one = template(request, "http://127.0.0.1:8080", "1.1").expect("a template");
        assert_eq!(one.to[0].headers[HOST], "shop.example");
        assert_eq!(one.to[0].headers[CONTENT_TYPE], "text/plain");
        assert!(!one.identified);
    }

    #[test]
    fn what_cannot_be_sent_is_a_usage_error() {
        for request in [
            serde_json::json!({"path": "/a b"}),
            serde_json::json!({"path": "/", "method": "G T"}),
            serde_json::json!({"path": "/", "headers": {"a b": "c"}}),
            serde_json::json!({"path": "/", "headers": {"a": "b\n"}}),
        ] {
            let error = template(request, "http://127.0.0.1:8080", "1.1").expect_err("not sendable");
            assert_eq!(error.exit(), crate::exit::Exit::Usage);
            assert!(error.what().starts_with("request `one`"), "{error}");
        }
    }

    #[test]
    fn ids_follow_from_seed_salt_and_number() {
        let mut ids = Ids::new(42, "20261121-064012 errors");
        let many: Vec<HeaderValue> = (0..1000).map(|number| ids.id(number)).collect();
        assert_eq!(many[999], "42-20261121-064012errors-999");
    }

    #[test]
    fn a_text_is_found_across_parts() {
        let mut search = Search::new(Some(b"guestbook"));
        for part in ["<p>guest", "bo", "ok</p>"] {
            assert!(!search.found());
            search.take(part.as_bytes());
        }
        assert!(search.found());
        let mut search = Search::new(Some(b"aab"));
        search.take(b"aa");
        search.take(b"ac");
        assert!(!search.found());
    }
}
