//! What stands before a real Prometheus and answers as other products and proxies do: a double where the product itself
//! cannot be had here.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::Value;

use crate::serve::{Served, serve};

/// What was asked.
pub struct Asked {
    pub method: Method,
    pub path: String,
    /// As it stands in the URL.
    pub query: String,
    pub headers: HeaderMap,
}

/// What is answered.
pub enum Answer {
    /// What the real one says.
    Its,
    /// The JSON of the real one, changed.
    Changed(fn(Value) -> Value),
    /// This: status, headers, body.
    Own(u16, Vec<(&'static str, String)>, Body),
}

impl Answer {
    pub fn text(status: u16, kind: &str, body: &'static str) -> Answer {
        Answer::Own(status, vec![("content-type", kind.to_owned())], Body::from(body))
    }

    /// A session that has expired.
    pub fn login_page() -> Answer {
        let page = "<!doctype html><html><title>Sign in</title><form></form></html>";
        Answer::text(200, "text/html; charset=utf-8", page)
    }

    pub fn redirect(to: &str) -> Answer {
        Answer::Own(302, vec![("location", to.to_owned())], Body::empty())
    }
}

/// A running stand-in; it ends with its value.
pub struct StandIn(Served);

impl StandIn {
    pub fn before(to: SocketAddr, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> StandIn {
        let answer = Arc::new(answer);
        let router =
            axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let answer = Arc::clone(&answer);
                async move {
                    let asked = Asked {
                        method,
                        path: uri.path().to_owned(),
                        query: uri.query().unwrap_or_default().to_owned(),
                        headers,
                    };
                    match answer(&asked) {
                        Answer::Own(status, headers, body) => response(status, headers, body),
                        Answer::Its => forward(to, &asked, body, |text| text).await,
                        Answer::Changed(change) => {
                            forward(to, &asked, body, |text| match serde_json::from_slice(&text) {
                                Ok(json) => change(json).to_string().into_bytes(),
                                Err(_) => text,
                            })
                            .await
                        }
                    }
                }
            });
        StandIn(serve(router))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }
}

async fn forward(
    to: SocketAddr,
    asked: &Asked,
    body: Bytes,
    change: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> Response<Body> {
    let url = format!("http://{to}{}?{}", asked.path, asked.query);
    let method = asked.method.as_str().parse().expect("a method");
    let Ok(answer) = reqwest::Client::new().request(method, url).body(body).send().await else {
        return response(502, Vec::new(), Body::empty());
    };
    let status = answer.status().as_u16();
    let kind =
        answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("").to_owned();
    let text = answer.bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default();
    response(status, vec![("content-type", kind)], Body::from(change(text)))
}

fn response(status: u16, headers: Vec<(&'static str, String)>, body: Body) -> Response<Body> {
    let status = StatusCode::from_u16(status).expect("a status");
    let all = headers
        .into_iter()
        .fold(Response::builder().status(status), |all, (name, value)| all.header(name, value));
    all.body(body).expect("a response")
}
