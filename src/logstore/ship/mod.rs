//! Follows the files that programs write, and sends their lines by OTLP: each once, whatever is killed meanwhile.
//!
//! What is about to be sent is written down first, with the time at which it was read. After a `kill -9` the very same
//! records are sent again, and a store takes them for those that it has. A record's `log.record.uid` tells lines
//! apart that say the same.

mod client;
mod follow;
mod lines;
pub(crate) mod positions;
mod shipper;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::routing::{Router, get};
use url::Url;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::loopback::guarded;
use client::Client;
pub use positions::Positions;
use shipper::Shipper;

/// What is followed, and where its lines go.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the service, which is a label of all its lines: `service_name`.
    pub service: String,
    /// The names of the replicas (`service_instance_id`), and their logs.
    pub logs: Vec<(String, PathBuf)>,
    /// Where lines are taken by OTLP over HTTP, without `/v1/logs`.
    pub to: Url,
    /// Where is kept how far each log was sent.
    pub positions: PathBuf,
}

/// Follows logs until the process is asked to end; `GET /` on `listen` tells that it runs, `warn` what goes wrong.
///
/// # Errors
/// A prerequisite (5) where the positions cannot be read, or another process has them; the target (6) where the
/// address cannot be listened on.
pub async fn ship(
    listen: SocketAddr,
    options: &Options,
    interrupt: &Interrupt,
    warn: &dyn Fn(String),
) -> Result<()> {
    let failed = || Error::target(format!("the log shipper cannot listen on {listen}"));
    let mut shipper = Shipper::open(options, warn)?;
    let client = Client::new(options)?;
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|e| failed().because(e))?;
    let ended = interrupt.clone();
    let router = guarded(Router::new().route("/", get(async || "the log shipper runs\n")), listen);
    let health =
        axum::serve(listener, router).with_graceful_shutdown(async move { ended.wait().await }).into_future();
    let (served, ()) = tokio::join!(health, shipper.run(&client, interrupt, warn));
    served.map_err(|e| failed().because(e))
}
