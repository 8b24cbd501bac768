//! The receiver's HTTP: `POST /alerts`, `GET /notifications?since=ID`, `GET /healthz`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{Router, get, post};
use serde::Deserialize;

use super::store::Store;
use super::{Notification, Payload};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::loopback::only_loopback;

type Shared = Arc<Mutex<Store>>;

#[derive(Deserialize)]
struct Since {
    /// The number of the last notification that is known already.
    #[serde(default)]
    since: u64,
}

/// Receives notifications on `listen` and keeps them in `file`, until the process is asked to end.
pub async fn serve(listen: SocketAddr, file: &Path, interrupt: &Interrupt) -> Result<()> {
    let failed = || Error::target(format!("the receiver cannot listen on {listen}"));
    let store = Store::open(file)
        .map_err(|e| Error::prerequisite(format!("{} cannot be written", file.display())).because(e))?;
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|e| failed().because(e))?;
    let interrupt = interrupt.clone();
    let router = match listen.ip().is_loopback() {
        true => router(Arc::new(Mutex::new(store))).layer(axum::middleware::from_fn(only_loopback)),
        false => router(Arc::new(Mutex::new(store))),
    };
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { interrupt.wait().await })
        .await
        .map_err(|e| failed().because(e))
}

fn router(store: Shared) -> Router {
    Router::new()
        .route("/alerts", post(keep))
        .route("/notifications", get(since))
        .route("/healthz", get(async || "ok"))
        .with_state(store)
}

async fn keep(State(store): State<Shared>, Json(payload): Json<Payload>) -> (StatusCode, String) {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    match store.keep(payload) {
        Ok(()) => (StatusCode::OK, String::new()),
        // Alertmanager tries again after a 5xx: a full disk loses nothing.
        Err(e) => (StatusCode::INSUFFICIENT_STORAGE, e.to_string()),
    }
}

async fn since(State(store): State<Shared>, Query(query): Query<Since>) -> Json<Vec<Notification>> {
    let store = store.lock().unwrap_or_else(PoisonError::into_inner);
    Json(store.since(query.since).to_vec())
}
