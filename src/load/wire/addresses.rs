//! Which of a host's addresses a connection is made to.
//!
//! A name may have several: `localhost` has one of IPv4 and one of IPv6, a headless Service one for each pod. Connections
//! begin at each of them in turn, so that all get their part of the load. An address that refuses is left for the next
//! one at once, and one that is silent is overtaken after a moment (RFC 8305, "Happy Eyeballs"): it takes no time-out of
//! a request as long as another one answers.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::net::TcpStream;

use super::connect::ConnectError;
use crate::load::NotSent;

/// An address that has not answered for so long is raced by the next one.
const OVERTAKE: Duration = Duration::from_millis(250);

/// An address that failed, or was overtaken, comes after the others for so long.
const LAST: Duration = Duration::from_secs(10);

/// The addresses of one host and port. The name is resolved for each connection: a change is seen by the next one.
pub(super) struct Addresses {
    host: String,
    port: u16,
    /// Connections that were begun.
    begun: AtomicUsize,
    /// Those that failed or were overtaken, and when. Bounded: only those that the name has now are kept.
    behind: Mutex<Vec<(SocketAddr, Instant)>>,
}

impl Addresses {
    pub(super) fn new(host: String, port: u16) -> Addresses {
        Addresses { host, port, begun: AtomicUsize::new(0), behind: Mutex::default() }
    }

    /// A connection to the first address that takes one.
    ///
    /// # Errors
    /// Where the name has no address, or all of them failed: why the last one did.
    pub(super) async fn connect(&self) -> Result<TcpStream, ConnectError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| ConnectError::of(NotSent::Name))?.collect();
        let turn = self.begun.fetch_add(1, Ordering::Relaxed);
        match found.as_slice() {
            [] => Err(ConnectError::of(NotSent::Name)),
            [only] => Ok(TcpStream::connect(only).await?),
            _ => {
                let order = order(found, turn, &self.behind(Instant::now()));
                Ok(self.race(&order).await?)
            }
        }
    }

    /// Connects to these addresses, each a moment after the one before it or when that has failed.
    async fn race(&self, order: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut begun = 0;
        let mut attempts = FuturesUnordered::new();
        let mut last = None;
        loop {
            if begun < order.len() {
                let address = order[begun];
                attempts.push(async move { (address, TcpStream::connect(address).await) });
                begun += 1;
            }
            let answered = async {
                match begun < order.len() {
                    true => tokio::time::timeout(OVERTAKE, attempts.next()).await.ok(),
                    false => Some(attempts.next().await),
                }
            };
            match answered.await {
                // Silent: the next one is tried beside it.
                None => {}
                Some(Some((address, Ok(stream)))) => {
                    let overtaken = order[..begun].iter().take_while(|other| **other != address);
                    self.put_behind(order, overtaken.copied().collect(), address);
                    return Ok(stream);
                }
                Some(Some((_, Err(error)))) => last = Some(error),
                Some(None) => return Err(last.unwrap_or_else(|| io::ErrorKind::NotConnected.into())),
            }
        }
    }

    fn behind(&self, now: Instant) -> Vec<SocketAddr> {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.iter().filter(|(_, since)| now < *since + LAST).map(|(address, _)| *address).collect()
    }

    /// Puts these behind the others, and `answered` no longer.
    fn put_behind(&self, known: &[SocketAddr], overtaken: Vec<SocketAddr>, answered: SocketAddr) {
        let now = Instant::now();
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.retain(|(address, _)| {
            known.contains(address) && *address != answered && !overtaken.contains(address)
        });
        behind.extend(overtaken.into_iter().map(|address| (address, now)));
    }
}

/// The addresses in the order in which the connection with this number tries them: each in turn is the first, and those
/// that are behind come last.
fn order(mut found: Vec<SocketAddr>, turn: usize, behind: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut seen = Vec::with_capacity(found.len());
    found.retain(|address| {
        !seen.contains(address) && {
            seen.push(*address);
            true
        }
    });
    let (mut ahead, mut last): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| !behind.contains(address));
    for part in [&mut ahead, &mut last] {
        let places = part.len().max(1);
        part.rotate_left(turn % places);
    }
    ahead.append(&mut last);
    ahead
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<SocketAddr> {
        last.iter().map(|last| SocketAddr::from(([127, 0, 0, *last], 80))).collect()
    }

    #[test]
    fn each_address_is_the_first_in_turn_and_those_that_failed_come_last() {
        let tried = |turn, behind: &[u8]| order(addresses(&[1, 2, 3, 2]), turn, &addresses(behind));
        assert_eq!(tried(0, &[]), addresses(&[1, 2, 3]));
        assert_eq!(tried(1, &[]), addresses(&[2, 3, 1]));
        assert_eq!(tried(5, &[]), addresses(&[3, 1, 2]));
        assert_eq!(tried(0, &[1]), addresses(&[2, 3, 1]));
        assert_eq!(tried(1, &[1]), addresses(&[3, 2, 1]));
        assert_eq!(tried(1, &[1, 2, 3]), addresses(&[2, 3, 1]), "where all failed, all are tried again");
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_left_at_once_and_comes_last() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let alive = listener.local_addr().expect("an address");
        // The same port of another loopback address: nobody listens there.
        let gone = SocketAddr::from(([127, 0, 0, 9], alive.port()));
        let addresses = Addresses::new("two.example".into(), alive.port());
        let stream = addresses.race(&[gone, alive]).await.expect("the second one takes it");
        assert_eq!(stream.peer_addr().expect("a peer"), alive);
        assert_eq!(addresses.behind(Instant::now()), [gone]);
        let error = addresses.race(&[gone]).await.expect_err("nobody is left");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// Nobody accepts, and the queue is full: the system takes no more, as where a network drops what is sent.
    #[tokio::test]
    async fn an_address_that_is_silent_is_overtaken_and_comes_last() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let alive = listener.local_addr().expect("an address");
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let full = socket.listen(1).expect("listening");
        let silent = full.local_addr().expect("an address");
        let mut waiting = Vec::new();
        while let Ok(stream) = tokio::time::timeout(OVERTAKE, TcpStream::connect(silent)).await {
            waiting.push(stream.expect("connected"));
            assert!(waiting.len() < 10, "the queue is never full");
        }
        let addresses = Addresses::new("two.example".into(), alive.port());
        let stream = addresses.race(&[silent, alive]).await.expect("the second one takes it");
        assert_eq!(stream.peer_addr().expect("a peer"), alive);
        assert_eq!(addresses.behind(Instant::now()), [silent]);
    }
}
