//! Listens, serves, and stops without breaking off what it has begun.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::faults::Switch;
use super::log::{Level, Log};
use super::metrics::Metrics;
use super::service::Service;
use super::{admin, routes};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// How long requests that are under way may take to end once the service stops.
const GRACE: Duration = Duration::from_secs(10);

/// How long stdout may take to accept the last log lines.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Bytes of an answer that wait for the client, here and again in the kernel, before more of it is asked for.
const BUFFERED: usize = 64 << 10;

/// How the demo service runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it serves; port 0 is any free one.
    pub listen: SocketAddr,
    /// Where faults are switched, on loopback; nowhere without it.
    pub admin: Option<SocketAddr>,
    /// Every random decision follows from this number and the request's id.
    pub seed: u64,
    /// The median time of the simulated query.
    pub query: Duration,
    /// The replica's name in its logs.
    pub replica: String,
    /// Which lines are logged.
    pub log_level: Level,
    /// How long it goes on serving, unready, after it was asked to stop.
    pub drain: Duration,
}

/// Serves until it is asked to stop, then ends what it has begun.
///
/// # Errors
/// Usage, if the admin port is not on loopback; target, if an address can't be listened on.
pub async fn serve(config: Config, interrupt: &Interrupt) -> Result<()> {
    if let Some(address) = config.admin {
        admin::check_address(address)?;
    }
    let listener = listen(config.listen, "--listen")?;
    let admin = match config.admin {
        Some(address) => Some((listen(address, "--admin")?, address)),
        None => None,
    };

    let metrics = Metrics::new();
    let log = Log::to_stdout(config.log_level, config.replica, metrics.lost_log_lines())
        .map_err(|e| Error::target("the log cannot be written").because(e))?;
    let service = Arc::new(Service {
        chance: Chance::new(config.seed),
        query: config.query,
        faults: Switch::default(),
        metrics,
        log,
        stopping: false.into(),
    });
    let addresses = json!({
        "address": address(&listener),
        "admin": admin.as_ref().map(|(listener, _)| address(listener)),
        "seed": config.seed,
    });
    service.log.notice("listening", addresses);

    let stop = CancellationToken::new();
    let serving = async {
        let public = accept(listener, routes::router(service.clone()), &stop);
        match admin {
            Some((admin, address)) => {
                let router = admin::router(service.clone(), address);
                tokio::join!(public, accept(admin, router, &stop));
            }
            None => public.await,
        }
    };
    let stopping = async {
        interrupt.wait().await;
        service.stopping.store(true, Ordering::Relaxed);
        service.log.notice("stopping", json!({}));
        tokio::time::sleep(config.drain).await;
        stop.cancel();
    };
    tokio::join!(serving, stopping);
    service.log.notice("stopped", json!({}));
    service.log.flush(LAST_LINES).await;
    Ok(())
}

fn listen(address: SocketAddr, option: &str) -> Result<TcpListener> {
    bind(address).map_err(|e| {
        Error::target(format!("{address} cannot be listened on"))
            .because(e)
            .hint(format!("{option} {}:0 takes any free port", address.ip()))
    })
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections inherit it. Left to itself, the kernel takes megabytes of an answer that nobody reads.
    socket.set_send_buffer_size(BUFFERED as u32)?;
    socket.bind(address)?;
    socket.listen(1024)
}

fn address(listener: &TcpListener) -> Option<SocketAddr> {
    listener.local_addr().ok()
}

/// Accepts connections until `stop`, then waits for those that have a request under way.
async fn accept(listener: TcpListener, router: Router, stop: &CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), stop.clone()));
                }
                // The process is out of files, or the client is gone: neither ends the service.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        // What is broken off here is counted and logged as such.
        connections.shutdown().await;
    }
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(BUFFERED);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
