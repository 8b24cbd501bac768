//! What Prometheus scrapes instead of a liar: its page, changed on the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::liar::Liar;
use crate::serve::{Served, serve};

type Change = Arc<dyn Fn(String, u64) -> String + Send + Sync>;

/// A running disguise; it ends with its value.
pub struct Disguise {
    /// Where Prometheus scrapes.
    pub metrics: SocketAddr,
    _server: Served,
}

impl Disguise {
    /// Gives the liar's page after this change; it is told the number of the scrape, from 1.
    pub fn new(liar: &Liar, change: impl Fn(String, u64) -> String + Send + Sync + 'static) -> Disguise {
        let (page, change, scrapes) = (
            format!("http://{}/metrics", liar.metrics),
            Arc::new(change) as Change,
            Arc::new(AtomicU64::new(0)),
        );
        let router = axum::Router::new().fallback(move || {
            let (page, change, scrapes) = (page.clone(), Arc::clone(&change), Arc::clone(&scrapes));
            async move {
                let answer = reqwest::get(page).await.expect("the liar answers");
                let text = answer.text().await.expect("its page");
                let page = change(text, scrapes.fetch_add(1, Ordering::SeqCst) + 1);
                ([("content-type", "text/plain; version=0.0.4")], page)
            }
        });
        let server = serve(router);
        Disguise { metrics: server.address, _server: server }
    }
}

/// Every sample of the request counter, changed; everything else as it is.
pub fn each_count(page: &str, change: impl Fn(&str, f64) -> Option<String>) -> String {
    page.lines()
        .filter_map(|line| match line.rsplit_once(' ') {
            Some((series, value)) if series.starts_with("requests_total{") => {
                change(series, value.parse().expect("a number"))
            }
            _ => Some(line.to_owned()),
        })
        .map(|line| line + "\n")
        .collect()
}
