//! Refuses requests that a web page sends to a port of this machine under a name of its own.

use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Lets through what names this machine, by an address of its loopback or as `localhost`, and comes from no web page.
///
/// A page of any site may have its own name lead to 127.0.0.1 (DNS rebinding); then the browser sends that name. And
/// whatever a page sends to another site has an `Origin`.
pub async fn only_loopback(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(request.uri().authority().map(|authority| authority.as_str()));
    if !host.is_some_and(is_loopback) || headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "this port is for this machine alone").into_response();
    }
    next.run(request).await
}

fn is_loopback(host: &str) -> bool {
    let Ok(uri) = format!("http://{host}/").parse::<Uri>() else { return false };
    let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
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
}
