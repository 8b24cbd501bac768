//! Redirects: off unless asked for, each hop a request of its own.

use http::{HeaderValue, Method, StatusCode, Uri};
use url::{Position, Url};

use super::requests::{Address, Template};
use crate::scenario::HttpVersion;

/// Where a redirect led.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub url: Url,
    /// What stands in the request line.
    pub uri: Uri,
    pub method: Method,
    /// Whether the body is sent again.
    pub body: bool,
}

/// Where a redirect leads after `from`, or after the request itself; `None` where it is none that is
/// followed. Only within the same replica: another origin is another service.
pub(super) fn follow(
    template: &Template,
    address: &Address,
    from: Option<&Hop>,
    version: HttpVersion,
    status: StatusCode,
    location: &HeaderValue,
) -> Option<Hop> {
    let here = from.map_or(&address.url, |hop| &hop.url);
    let url = here.join(location.to_str().ok()?).ok()?;
    if url.origin() != address.url.origin() {
        return None;
    }
    let method = from.map_or(&template.method, |hop| &hop.method);
    let (method, body) = match status.as_u16() {
        303 if *method != Method::HEAD => (Method::GET, false),
        301 | 302 if *method == Method::POST => (Method::GET, false),
        301 | 302 | 303 | 307 | 308 => (method.clone(), from.is_none_or(|hop| hop.body)),
        _ => return None,
    };
    let uri = match version {
        HttpVersion::Http1 => url[Position::BeforePath..Position::AfterQuery].parse(),
        HttpVersion::Http2 => url.as_str().parse(),
    };
    Some(Hop { uri: uri.ok()?, url, method, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::target::Replica;

    fn template(method: &str) -> Template {
        let scenario: Scenario = serde_json::from_value(serde_json::json!({
            "name": "test", "load": {"users": {"users": 1, "duration": "1s"}},
            "requests": {"one": {"path": "/shop/cart?id=1", "method": method, "body": "x"}},
        }))
        .expect("a scenario");
        let url = "http://127.0.0.1:8080".parse().expect("a URL");
        let replica = Replica { name: "a".into(), url, instance: None, admin: None };
        Template::all(&scenario, &[replica]).expect("a template").remove(0)
    }

    fn followed(method: &str, status: u16, location: &str) -> Option<(String, String, bool)> {
        let template = template(method);
        let status = StatusCode::from_u16(status).expect("a status");
        let location = HeaderValue::from_str(location).expect("a header");
        let hop = follow(&template, &template.to[0], None, HttpVersion::Http1, status, &location)?;
        Some((hop.method.to_string(), hop.uri.to_string(), hop.body))
    }

    #[test]
    fn methods_change_as_browsers_change_them() {
        let hop = |method: &str, uri: &str, body| Some((method.to_owned(), uri.to_owned(), body));
        assert_eq!(followed("POST", 302, "/login"), hop("GET", "/login", false));
        assert_eq!(followed("PUT", 303, "done"), hop("GET", "/shop/done", false));
        assert_eq!(followed("POST", 307, "?id=2"), hop("POST", "/shop/cart?id=2", true));
        assert_eq!(followed("GET", 304, "/login"), None);
    }

    #[test]
    fn another_origin_is_not_followed() {
        assert_eq!(followed("GET", 302, "http://127.0.0.1:8081/"), None);
        assert_eq!(followed("GET", 302, "https://127.0.0.1:8080/"), None);
    }
}
