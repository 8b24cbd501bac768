//! The receiver's HTTP: `POST /alerts`, `GET /notifications?since=ID`, `GET /healthz`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{Router, get, post};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::payload::Payload;
use super::store::{Lines, Store};
use crate::error::{Error, Result};
use crate::figures::{bytes, counted};
use crate::interrupt::Interrupt;
use crate::loopback::guarded;

/// The longest notification, in bytes: Alertmanager gives one up for good that is refused. This is room for some 25,000
/// alerts of a group.
const LONGEST: usize = 16 << 20;
/// The longest file, in bytes.
const MOST: u64 = 64 << 20;
/// What is read of the file at once.
const CHUNK: usize = 64 << 10;

/// Tells somebody what happens.
type Tell = Arc<dyn Fn(String) + Send + Sync>;

#[derive(Clone)]
struct Receiver {
    store: Arc<Mutex<Store>>,
    tell: Tell,
}

#[derive(Deserialize)]
struct Since {
    /// The number of the last notification that is known already.
    #[serde(default)]
    since: u64,
}

/// Receives notifications on `listen` and keeps them in `file`, until the process is asked to end; tells what it does.
pub async fn serve(listen: SocketAddr, file: &Path, interrupt: &Interrupt, tell: Tell) -> Result<()> {
    let failed = || Error::target(format!("the receiver cannot listen on {listen}"));
    let store = Store::open(file, MOST)
        .map_err(|e| Error::prerequisite(format!("{} cannot be written", file.display())).because(e))?;
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|e| failed().because(e))?;
    let address = listener.local_addr().map_err(|e| failed().because(e))?;
    let has = counted(store.count() as u64, "notification");
    tell(format!("receives on http://{address}/alerts and keeps in {} ({has} there)", file.display()));
    let interrupt = interrupt.clone();
    let router = guarded(router(Receiver { store: Arc::new(Mutex::new(store)), tell }), listen);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { interrupt.wait().await })
        .await
        .map_err(|e| failed().because(e))
}

fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/alerts", post(keep).layer(DefaultBodyLimit::max(LONGEST)))
        .route("/notifications", get(since))
        .route("/healthz", get(async || "ok"))
        .with_state(receiver)
}

async fn keep(
    State(receiver): State<Receiver>,
    body: std::result::Result<Bytes, BytesRejection>,
) -> (StatusCode, String) {
    let refuse = |status: StatusCode, why: String| {
        (receiver.tell)(format!("refused a notification with {}: {why}", status.as_u16()));
        (status, why)
    };
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let why = format!("it is longer than {}", bytes(LONGEST as f64));
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, why);
        }
        Err(rejection) => return refuse(rejection.status(), rejection.body_text()),
    };
    let payload: Payload = match serde_json::from_slice(&body) {
        Ok(payload) => payload,
        Err(e) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, format!("it is no notification: {e}")),
    };
    let kept = receiver.store.lock().unwrap_or_else(PoisonError::into_inner).keep(&body);
    match kept {
        Ok(added) => {
            (receiver.tell)(told(&payload, added.id, added.dropped));
            (StatusCode::OK, String::new())
        }
        // Alertmanager tries again after a 5xx: a full disk loses nothing.
        Err(e) => refuse(StatusCode::INSUFFICIENT_STORAGE, e.to_string()),
    }
}

fn told(payload: &Payload, id: u64, dropped: usize) -> String {
    let mut told = format!("kept {id}: {}, {}", payload.status, counted(payload.alerts(), "alert"));
    if payload.truncated_alerts > 0 {
        told += &format!(", and {} more that were left out (max_alerts)", payload.truncated_alerts);
    }
    if dropped > 0 {
        told +=
            &format!("; dropped the {} before, for want of room", counted(dropped as u64, "notification"));
    }
    told
}

async fn since(State(receiver): State<Receiver>, Query(query): Query<Since>) -> Response {
    let lines = receiver.store.lock().unwrap_or_else(PoisonError::into_inner).since(query.since);
    match lines {
        Ok(lines) => ([(CONTENT_TYPE, "application/json")], array(lines)).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

/// The lines as one JSON array, read as they are sent: however many there are, few are in memory.
fn array(lines: Lines) -> Body {
    if lines.length == 0 {
        return Body::from("[]");
    }
    let rest = futures::stream::try_unfold(
        (tokio::fs::File::from_std(lines.file), lines.length),
        async |(mut file, left)| {
            if left == 0 {
                return Ok(None);
            }
            let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
            file.read_exact(&mut chunk).await?;
            let left = left - chunk.len() as u64;
            // Lines have no other line breaks than those at their ends.
            for byte in chunk.iter_mut().filter(|byte| **byte == b'\n') {
                *byte = b',';
            }
            if left == 0
                && let Some(last) = chunk.last_mut()
            {
                *last = b']';
            }
            Ok::<_, std::io::Error>(Some((Bytes::from(chunk), (file, left))))
        },
    );
    let first = futures::stream::once(async { Ok(Bytes::from_static(b"[")) });
    Body::from_stream(futures::StreamExt::chain(first, rest))
}
