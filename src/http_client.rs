//! HTTP clients, made in one place: when a proxy may stand in the way, where a redirect may lead, how much is read.
//!
//! `clippy.toml` forbids the ways round it.

use url::Url;

/// Bytes that an answer may have where nothing else is said.
pub const LARGEST_ANSWER: usize = 64 << 20;

/// A client that follows no redirect. Proxies of the environment are used.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes them")]
pub fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    // On a system without certificates no client could be made, not even one for plain http.
    match crate::certificates::added() {
        [] => builder,
        added => builder.tls_certs_merge(
            added.iter().filter_map(|certificate| reqwest::Certificate::from_der(certificate).ok()),
        ),
    }
}

/// A client for what answers at this URL: a proxy cannot reach this machine's loopback.
pub fn builder_for(url: &Url) -> reqwest::ClientBuilder {
    if is_loopback(url) { builder().no_proxy() } else { builder() }
}

/// A client that fetches files: mirrors and releases may send on to another host. What comes is held against a checksum.
pub fn downloader() -> reqwest::ClientBuilder {
    builder().redirect(reqwest::redirect::Policy::limited(10))
}

/// The same for files at this URL.
pub fn downloader_for(url: &Url) -> reqwest::ClientBuilder {
    if is_loopback(url) { downloader().no_proxy() } else { downloader() }
}

/// Whether a URL leads to this machine's loopback.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Host and port of a URL, as the resolver wants them: an IPv6 address without brackets.
pub fn host_and_port(url: &Url) -> Option<(String, u16)> {
    let host = match url.host()? {
        url::Host::Ipv6(address) => address.to_string(),
        other => other.to_string(),
    };
    Some((host, url.port_or_known_default().unwrap_or(80)))
}

/// Why a body could not be read.
#[derive(Debug)]
pub enum Unread {
    /// It has more bytes than this.
    TooLarge(usize),
    /// It broke off.
    Broken(reqwest::Error),
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unread::TooLarge(limit) => write!(f, "the answer is larger than {} MiB", limit >> 20),
            Unread::Broken(_) => f.write_str("the answer broke off"),
        }
    }
}

impl std::error::Error for Unread {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Unread::TooLarge(_) => None,
            Unread::Broken(error) => Some(error),
        }
    }
}

/// The whole body, which is left where it is as soon as it has more bytes than the limit.
///
/// # Errors
/// It is larger, or broke off.
pub async fn read(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Unread> {
    let told = response.content_length().unwrap_or(0);
    if told > limit as u64 {
        return Err(Unread::TooLarge(limit));
    }
    let mut body = Vec::with_capacity(usize::try_from(told).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(|e| Unread::Broken(e.without_url()))? {
        if body.len() + chunk.len() > limit {
            return Err(Unread::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The first bytes of a body, as text: for messages.
pub async fn excerpt(mut response: reqwest::Response) -> String {
    const MOST: usize = 4096;
    let mut text = Vec::new();
    while text.len() < MOST
        && let Ok(Some(chunk)) = response.chunk().await
    {
        text.extend_from_slice(&chunk[..chunk.len().min(MOST - text.len())]);
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn an_ipv6_address_has_no_brackets_for_the_resolver() {
        let found = |text| host_and_port(&url(text)).expect("a host");
        assert_eq!(found("http://[::1]:8080/x"), ("::1".into(), 8080));
        assert_eq!(found("https://shop.example/"), ("shop.example".into(), 443));
        assert_eq!(found("http://127.0.0.1/"), ("127.0.0.1".into(), 80));
    }

    #[test]
    fn loopback_is_told_in_each_spelling() {
        for here in ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]", "http://localhost:80"] {
            assert!(is_loopback(&url(here)), "{here}");
        }
        for there in ["http://10.0.0.1", "http://[::2]", "http://localhost.example"] {
            assert!(!is_loopback(&url(there)), "{there}");
        }
    }
}
