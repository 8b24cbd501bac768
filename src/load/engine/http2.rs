//! A connection that speaks HTTP/2: many requests at a time.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, Stream as _};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::connect::Stream;
use super::exchange::{End, answered};
use super::lane::{Found, Lane};
use super::pool::{Job, Slot};
use crate::load::failure::unknown;
use crate::load::requests::Search;
use crate::load::{NotSent, Unknown};

/// Requests at the same time on one connection; servers allow at least this many by RFC 9113's advice.
pub(super) const STREAMS: usize = 100;

/// Runs hyper's tasks on the lane's own thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Sends requests over a new connection until it ends.
pub(super) async fn serve(lane: &Rc<Lane>, replica: usize, stream: Stream) {
    let Ok((sender, connection)) = http2::handshake(Local, TokioIo::new(stream)).await else {
        return lane.connect_failed(replica, NotSent::Connect, None);
    };
    let slot = lane.connected(replica, STREAMS);
    let mut client = Client {
        lane,
        replica,
        slot,
        sender,
        connection: Some(Box::pin(connection)),
        streams: FuturesUnordered::new(),
        jobs: HashMap::new(),
        next: 0,
    };
    while client.slot.free.get() > 0 && client.start(Found::Connected) {}
    lane.free(replica, &client.slot);
    poll_fn(|cx| client.poll(cx)).await;
    lane.disconnected(replica, &client.slot);
}

/// A request on its way, the moment it was sent at, and its number on this connection.
type Exchange<'a> = Pin<Box<dyn Future<Output = (u64, End)> + 'a>>;
type Connection = Pin<Box<http2::Connection<TokioIo<Stream>, Full<Bytes>, Local>>>;

struct Client<'a> {
    lane: &'a Rc<Lane>,
    replica: usize,
    slot: Rc<Slot>,
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Connection>,
    streams: FuturesUnordered<Exchange<'a>>,
    jobs: HashMap<u64, (Job, Instant)>,
    next: u64,
}

impl Client<'_> {
    /// Ready when the connection has ended and all its requests have, too.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.slot.register(cx.waker());
        loop {
            if self.lane.aborted() {
                self.streams.clear();
                for (_, (job, sent)) in self.jobs.drain() {
                    self.lane.finish(self.replica, job, sent, End::Unknown(Unknown::Interrupted));
                }
                return Poll::Ready(());
            }
            if let Some(connection) = &mut self.connection
                && connection.as_mut().poll(cx).is_ready()
            {
                self.connection = None;
                self.lane.retire(self.replica, &self.slot);
            }
            while self.connection.is_some()
                && let Some(job) = self.slot.receive()
            {
                self.send(job);
            }
            match Pin::new(&mut self.streams).poll_next(cx) {
                Poll::Ready(Some((number, end))) => {
                    if let Some((job, sent)) = self.jobs.remove(&number) {
                        self.lane.finish(self.replica, job, sent, end);
                    }
                    if self.connection.is_some() && !self.start(Found::Freed) {
                        self.lane.release(self.replica, &self.slot);
                    }
                }
                Poll::Ready(None) if self.connection.is_none() => return Poll::Ready(()),
                _ => return Poll::Pending,
            }
        }
    }

    /// Sends the next request that waits, if one does, in a place that is taken already.
    fn start(&mut self, found: Found) -> bool {
        let job = match found {
            // The first requests take places of their own.
            Found::Connected => self.lane.take(self.replica, Instant::now(), found).inspect(|_| {
                self.slot.free.set(self.slot.free.get() - 1);
            }),
            _ => self.lane.take(self.replica, Instant::now(), found),
        };
        job.map(|job| self.send(job)).is_some()
    }

    fn send(&mut self, job: Job) {
        let sent = Instant::now();
        let number = self.next;
        self.next += 1;
        let request = self.lane.request(&job, self.replica);
        let answer = self.sender.try_send_request(request);
        let (lane, name) = (self.lane, job.request);
        self.jobs.insert(number, (job, sent));
        self.streams.push(Box::pin(async move {
            let exchange = async {
                let response = match answer.await {
                    Ok(response) => response,
                    Err(mut error) => {
                        let handed_back = error.take_message().is_some();
                        return if handed_back { End::Unsent } else { End::Unknown(unknown(error.error())) };
                    }
                };
                let (parts, mut body) = response.into_parts();
                let mut search = Search::new(lane.shared.templates[name].contains.as_deref());
                while let Some(frame) = body.frame().await {
                    match frame {
                        Ok(frame) => frame.data_ref().into_iter().for_each(|data| search.take(data)),
                        Err(error) => return End::Unknown(unknown(&error)),
                    }
                }
                answered(parts.status, &parts.headers, search.found())
            };
            let end = tokio::time::timeout(lane.timeout(), exchange).await;
            (number, end.unwrap_or(End::Unknown(Unknown::Timeout)))
        }));
    }
}
