//! The side of a worker that is not its leader's child: listens for its leader, and serves.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::lead::LEASE;
use super::serve::serve;
use super::session::{Over, Session};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::lines::Lines;

/// The leader comes when all workers are there.
const FIRST: Duration = Duration::from_secs(180);

/// Bytes that a worker may be ahead of its session.
const AHEAD: usize = 64 << 10;

/// Serves as a worker to the leader that connects. Where that was not heard of for 10 s it is taken to be gone,
/// and the load ends.
///
/// # Errors
/// As [`serve`], and a leader that did not come or is gone (6).
pub async fn listen(listener: TcpListener, interrupt: &Interrupt) -> Result<()> {
    let (orders, to_serve) = unbounded_channel();
    let (of_serve, mut say) = unbounded_channel();
    let ((order_from, order_to), (tell_from, tell_to)) = (duplex(AHEAD), duplex(AHEAD));
    let serving = serve(BufReader::new(order_from), tell_to, interrupt);
    let hand_in = hand_in(to_serve, order_to);
    let hand_out = hand_out(tell_from, of_serve);
    let mut attending = Box::pin(attend(listener, &mut say, orders, interrupt));
    let mut working = Box::pin(async { tokio::join!(serving, hand_in, hand_out).0 });
    tokio::select! {
        attended = &mut attending => match attended {
            // All that there was to tell is told, so that this is at its end, too.
            Ok(()) => working.await,
            Err(gone) => working.await.and(Err(gone)),
        },
        served = &mut working => {
            let attended = attending.await;
            served.and(attended)
        }
    }
}

/// Talks to the leader, whichever connection it comes by; the newest one counts.
async fn attend(
    listener: TcpListener,
    say: &mut UnboundedReceiver<String>,
    orders: UnboundedSender<String>,
    interrupt: &Interrupt,
) -> Result<()> {
    let (mut session, mut orders) = (Session::of_worker(), Some(orders));
    let first = Instant::now() + FIRST;
    loop {
        let until = session.heard_at().map_or(first, |last| last + LEASE);
        let accepting = tokio::time::timeout_at(until, listener.accept());
        let accepted = match session.heard_at() {
            None => interrupt.or(accepting).await?,
            // Once there is a leader, it is to learn what this worker knows.
            Some(_) => accepting.await,
        };
        let Ok(accepted) = accepted else {
            if session.heard_all() {
                return Ok(());
            }
            return Err(Error::target("the leader of this load worker is gone")
                .because_of(format!("it was not heard of for {} s", LEASE.as_secs())));
        };
        let mut accepted = Some(accepted);
        while let Some(now) = accepted.take() {
            let Ok((connection, _)) = now else {
                // No file or no memory just now.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let _ = connection.set_nodelay(true);
            tokio::select! {
                over = session.talk(connection, say, &mut orders) => if over == Over::Done { return Ok(()) },
                newer = listener.accept() => accepted = Some(newer),
            }
        }
    }
}

async fn hand_in(mut orders: UnboundedReceiver<String>, mut to: tokio::io::DuplexStream) {
    while let Some(order) = orders.recv().await {
        let line = format!("{order}\n");
        if to.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn hand_out(from: tokio::io::DuplexStream, say: UnboundedSender<String>) {
    let mut lines = Lines::new(BufReader::new(from));
    while let Ok(Some(line)) = lines.next_line().await {
        let _ = say.send(line);
    }
}
