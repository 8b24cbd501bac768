//! The leader's side of a session with a worker elsewhere: connects again and again, until the worker is gone.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::link::Carried;
use super::session::{Over, Session};

/// A worker that was not heard of for so long is lost, and a worker whose leader was not heard of for so long ends.
pub const LEASE: Duration = Duration::from_secs(10);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a worker cannot be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Away {
    /// It may be, a moment later.
    ForNow(String),
    /// It is gone.
    ForGood(String),
}

/// Carries the lines of a link to a worker elsewhere and back, over one connection after another.
pub async fn lead<C: AsyncRead + AsyncWrite>(
    connect: impl Fn() -> BoxFuture<'static, Result<C, Away>>,
    ends: Carried,
) {
    let Carried { mut orders, told } = ends;
    // A bridge, because the lines of a link end with a reason.
    let (heard, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let talking = talk(connect, &mut orders, heard);
    let mut talking = Box::pin(talking);
    let end = loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => {
                let _ = told.send(Ok(line));
            }
            end = &mut talking => break end,
        }
    };
    while let Ok(line) = lines.try_recv() {
        let _ = told.send(Ok(line));
    }
    let _ = told.send(Err(end));
}

/// Comes back with the end of the worker, in words.
async fn talk<C: AsyncRead + AsyncWrite>(
    connect: impl Fn() -> BoxFuture<'static, Result<C, Away>>,
    orders: &mut tokio::sync::mpsc::UnboundedReceiver<String>,
    heard: tokio::sync::mpsc::UnboundedSender<String>,
) -> String {
    let (mut session, mut heard) = (Session::of_leader(), Some(heard));
    let begun = Instant::now();
    loop {
        let last = session.heard_at().unwrap_or(begun);
        let why = match tokio::time::timeout_at(last + LEASE, connect()).await {
            Ok(Ok(connection)) => {
                let over = session.talk(connection, orders, &mut heard).await;
                match over {
                    Over::Done => return "it ended".into(),
                    Over::Another => return "it was started again".into(),
                    Over::Broken(why) => why,
                }
            }
            Ok(Err(Away::ForGood(why))) => return why,
            Ok(Err(Away::ForNow(why))) => why,
            Err(_) => "it cannot be connected".into(),
        };
        if session.heard_all() {
            return "it ended".into();
        }
        if session.heard_at().unwrap_or(begun).elapsed() >= LEASE {
            return format!("it was not heard of for {} s: {why}", LEASE.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
