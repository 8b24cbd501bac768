//! Keeps web pages from what listens on this machine.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

/// What a browser tells of who sends a request; a page cannot change it.
const SENT_BY: &str = "sec-fetch-site";

/// What answers on a port of this program's own, behind what refuses web pages: whatever a page sends to another site
/// and changes something there has an `Origin`, also where that needs no leave (CORS). On loopback it refuses other
/// names than this machine's, too: a page of any site may have its own name lead to 127.0.0.1 (DNS rebinding), and then
/// its browser sends that name, and takes it for the page's own site. Elsewhere, as in a pod, names differ.
pub fn guarded(router: Router, listen: SocketAddr) -> Router {
    let router = router.layer(from_fn(no_page));
    match listen.ip().is_loopback() {
        true => router.layer(from_fn(only_loopback)),
        false => router,
    }
}

async fn no_page(request: Request, next: Next) -> Response {
    match is_of_a_page(request.headers()) {
        true => (StatusCode::FORBIDDEN, "web pages are not answered").into_response(),
        false => next.run(request).await,
    }
}

async fn only_loopback(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(request.uri().authority().map(|authority| authority.as_str()));
    match host.is_some_and(is_loopback) {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, "this port is for this machine alone").into_response(),
    }
}

/// A link that somebody follows, or an address that he types, is none.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    let by_another = |value: &header::HeaderValue| !matches!(value.as_bytes(), b"none" | b"same-origin");
    headers.contains_key(header::ORIGIN) || headers.get(SENT_BY).is_some_and(by_another)
}

fn is_loopback(host: &str) -> bool {
    let Ok(uri) = format!("http://{host}/").parse::<Uri>() else { return false };
    let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn only_this_machine_is_meant() {
        for own in ["127.0.0.1:9", "localhost", "LOCALHOST:80", "[::1]:9", "127.0.0.53"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in
            ["evil.example:9", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1", "a@b c"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn a_page_is_known_by_what_its_browser_tells() {
        let sent = |name: &'static str, value: &'static str| {
            is_of_a_page(&HeaderMap::from_iter([(
                name.parse().expect("a name"),
                value.parse().expect("a value"),
            )]))
        };
        assert!(sent("origin", "https://evil.example") && sent("origin", "null"));
        assert!(sent(SENT_BY, "cross-site") && sent(SENT_BY, "same-site"));
        assert!(!sent(SENT_BY, "none") && !sent(SENT_BY, "same-origin") && !sent("user-agent", "curl/8"));
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => sources(&path, found),
                path => found.push(path),
            }
        }
    }

    #[test]
    fn whatever_serves_http_is_guarded() {
        let mut all = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let mut serving = 0;
        for path in all {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // Stand-ins are test code, and end with their test.
            let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let served = own.matches("axum::serve(").count();
            let is_double = path.ends_with("target/kubernetes/fake.rs") || path.ends_with("loopback.rs");
            if served > 0 && !is_double {
                assert!(own.matches("guarded(").count() >= served, "{} lets web pages in", path.display());
                serving += served;
            }
        }
        assert!(serving >= 3, "the receiver, the log store and the log shipper serve");
    }
}
