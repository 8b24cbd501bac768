//! The store's HTTP: OTLP in, and the part of Loki's API that `sre` asks out. All else is refused with a sentence.

mod ingest;
mod query;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, get, post};
use serde_json::json;

use super::store::{Limits, Store};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::loopback::guarded;

/// The largest request that is taken, also when it is unpacked, in bytes.
const LARGEST_REQUEST: usize = 64 << 20;

/// How often is looked for what is too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// What can be chosen of a store.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How much is kept, and for how long.
    pub limits: Limits,
    /// Lines of one answer at the most.
    pub most_lines: usize,
}

struct Api {
    store: Store,
    most_lines: usize,
}

/// A request that is not answered as it was meant: a status and a sentence.
struct Refusal(StatusCode, String);

impl Refusal {
    fn bad(why: impl Into<String>) -> Refusal {
        Refusal(StatusCode::BAD_REQUEST, why.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}

/// Keeps lines that are sent to `listen` in a folder, and answers queries, until the process is asked to end; `warn` is
/// told what was damaged.
///
/// # Errors
/// A prerequisite (5) where the folder cannot be used, the target (6) where the address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    folder: &Path,
    options: Options,
    interrupt: &Interrupt,
    warn: &dyn Fn(String),
) -> Result<()> {
    let failed = || Error::target(format!("the log store cannot listen on {listen}"));
    let (store, damaged) = Store::open(folder, options.limits).map_err(|e| {
        Error::prerequisite(format!("the log store in {} cannot be opened", folder.display())).because(e)
    })?;
    damaged.into_iter().for_each(warn);
    let api = Arc::new(Api { store, most_lines: options.most_lines });
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|e| failed().because(e))?;
    let expiring = tokio::spawn(expire(api.clone()));
    let interrupt = interrupt.clone();
    let served = axum::serve(listener, guarded(router(api), listen))
        .with_graceful_shutdown(async move { interrupt.wait().await })
        .await;
    expiring.abort();
    served.map_err(|e| failed().because(e))
}

async fn expire(api: Arc<Api>) {
    let mut ticks = tokio::time::interval(EXPIRE_EVERY);
    loop {
        ticks.tick().await;
        // What cannot be removed now is removed later.
        let _ = blocking(&api, |api| api.store.expire(SystemTime::now())).await;
    }
}

/// Works with files beside the threads that answer.
async fn blocking<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> T + Send + 'static,
) -> std::result::Result<T, Refusal> {
    let api = api.clone();
    let done = tokio::task::spawn_blocking(move || work(&api)).await;
    done.map_err(|e| Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("the log store failed: {e}")))
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/otlp/v1/logs", post(ingest::take))
        .route("/loki/api/v1/query_range", get(query::range).post(query::range))
        .route("/loki/api/v1/labels", get(query::labels))
        .route("/loki/api/v1/label/{name}/values", get(query::values))
        .route("/loki/api/v1/status/buildinfo", get(build))
        .route("/ready", get(async || "ready\n"))
        .method_not_allowed_fallback(async |method: axum::http::Method, uri: Uri| {
            Refusal(StatusCode::METHOD_NOT_ALLOWED, format!("{} is not answered to {method}", uri.path()))
        })
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(api)
}

async fn unknown(uri: Uri) -> Refusal {
    Refusal(
        StatusCode::NOT_FOUND,
        format!(
            "this is the log store of sre, and it does not answer {}: it takes lines on /otlp/v1/logs, and answers \
             /loki/api/v1/query_range, /loki/api/v1/labels and /loki/api/v1/label/NAME/values; for all else bring a \
             Loki: sre up --set logs=loki",
            uri.path()
        ),
    )
}

async fn build() -> Response {
    axum::Json(json!({"version": env!("CARGO_PKG_VERSION"), "branch": "sre logstore"})).into_response()
}
