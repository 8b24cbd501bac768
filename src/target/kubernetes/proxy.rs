//! The proxy through which a cluster is reached, chosen as kubectl does: the cluster's own `proxy-url`, else
//! `HTTPS_PROXY` or `HTTP_PROXY` of the environment, but never for what `NO_PROXY` names, nor for this machine itself.

use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// The proxy for an API server; `None` where it is asked directly.
///
/// # Errors
/// Why the cluster's own proxy cannot be used.
pub fn choose(
    own: Option<&str>,
    server: &http::Uri,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Intercept>, String> {
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        let chosen = Matcher::builder().all(own.to_owned()).build().intercept(server);
        // Without what may be a password in it.
        let scheme = own.split_once("://").map_or(own, |(scheme, _)| scheme);
        return chosen.map(Some).ok_or_else(|| {
            format!("its proxy-url begins with `{scheme}`, and a proxy is reached by http, https or socks5")
        });
    }
    if is_loopback(server) {
        return Ok(None);
    }
    let either = |name: &str| {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        set(&name.to_uppercase()).or_else(|| set(name)).unwrap_or_default()
    };
    let matcher = Matcher::builder()
        .http(either("http_proxy"))
        .https(either("https_proxy"))
        .no(either("no_proxy"))
        .build();
    Ok(matcher.intercept(server))
}

fn is_loopback(server: &http::Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "http://proxy.example:3128";

    fn chosen(own: Option<&str>, server: &str, environment: &[(&str, &str)]) -> Option<String> {
        let server = server.parse().expect("a URI");
        let variable = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        choose(own, &server, variable).expect("a usable proxy").map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn the_environment_is_honoured_whole() {
        let https = [("HTTPS_PROXY", PROXY)];
        assert_eq!(
            chosen(None, "https://api.example:6443", &https).as_deref(),
            Some("http://proxy.example:3128/")
        );
        assert!(chosen(None, "https://api.example:6443", &[("https_proxy", PROXY)]).is_some());
        assert_eq!(chosen(None, "http://api.example:8080", &https), None, "that is the other variable's");
        for (server, no) in [
            ("https://api.example:6443", "*"),
            ("https://api.lab.example:6443", ".example"),
            ("https://api.lab.example:6443", "other,lab.example"),
            ("https://192.168.49.2:8443", "192.168.49.0/24"),
            ("https://192.168.49.2:8443", "127.0.0.1,192.168.49.2"),
        ] {
            assert_eq!(
                chosen(None, server, &[("HTTPS_PROXY", PROXY), ("NO_PROXY", no)]),
                None,
                "{server} {no}"
            );
        }
    }

    #[test]
    fn this_machine_is_never_asked_through_a_proxy_of_the_environment() {
        for server in [
            "https://127.0.0.1:6443",
            "https://localhost:6443",
            "https://[::1]:6443",
            "http://127.0.0.1:8001",
        ] {
            let all = [("HTTPS_PROXY", PROXY), ("HTTP_PROXY", PROXY)];
            assert_eq!(chosen(None, server, &all), None, "{server}");
        }
    }

    #[test]
    fn a_clusters_own_proxy_comes_first() {
        let no = [("HTTPS_PROXY", "http://other.example:1"), ("NO_PROXY", "*")];
        assert_eq!(
            chosen(Some(PROXY), "https://api.example:6443", &no).as_deref(),
            Some("http://proxy.example:3128/")
        );
        assert!(chosen(Some(PROXY), "http://127.0.0.1:18001", &[]).is_some());
        let server = "https://api.example:6443".parse().expect("a URI");
        let refused =
            choose(Some("ftp://me:secret@proxy.example"), &server, |_| None).expect_err("it is no proxy");
        assert!(refused.contains("`ftp`") && !refused.contains("secret"), "{refused}");
        assert_eq!(chosen(Some(""), "https://api.example:6443", &[]), None);
    }
}
