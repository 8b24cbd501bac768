//! A lane's connection that speaks HTTP/2: many requests at a time.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::stream::{FuturesUnordered, Stream as _};

use super::lane::{Found, Lane};
use super::pool::{Job, Slot};
use crate::load::wire::http2::Http2;
use crate::load::wire::{End, Stream};
use crate::load::{NotSent, Unknown};

/// Sends requests over a new connection until it ends. Where it is not ready by then, it is none.
pub(super) async fn serve(lane: &Rc<Lane>, replica: usize, stream: Stream, until: Instant) {
    let connection = match tokio::time::timeout_at(until.into(), Http2::new(stream)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(why)) => return lane.connect_failed(replica, why, None),
        Err(_) => return lane.connect_failed(replica, NotSent::ConnectTimeout, None),
    };
    let slot = lane.connected(replica, connection.streams());
    // It offers itself once it has taken what waits already.
    slot.free.set(0);
    let mut client = Client {
        lane,
        replica,
        slot,
        connection,
        streams: FuturesUnordered::new(),
        jobs: HashMap::new(),
        next: 0,
    };
    client.fill(Found::Connected);
    poll_fn(|cx| client.poll(cx)).await;
    lane.disconnected(replica, &client.slot);
}

/// A request on its way, by its number on this connection.
type Exchange<'a> = Pin<Box<dyn Future<Output = (u64, End)> + 'a>>;

struct Client<'a> {
    lane: &'a Rc<Lane>,
    replica: usize,
    slot: Rc<Slot>,
    connection: Http2,
    streams: FuturesUnordered<Exchange<'a>>,
    /// What is on its way, and when it was sent.
    jobs: HashMap<u64, (Job, Instant)>,
    next: u64,
}

impl Client<'_> {
    /// Ready when the connection takes no further requests and all those on their way have ended.
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
            // Before anything is sent: what ended meanwhile takes no request that would then be of unknown fate.
            if self.connection.poll(cx).is_ready() {
                self.lane.retire(self.replica, &self.slot);
            }
            while !self.slot.leaving.get()
                && let Some(job) = self.slot.receive()
            {
                self.send(job);
            }
            match Pin::new(&mut self.streams).poll_next(cx) {
                Poll::Ready(Some((number, end))) => {
                    if let Some((job, sent)) = self.jobs.remove(&number) {
                        self.lane.finish(self.replica, job, sent, end);
                    }
                    self.fill(Found::Freed);
                }
                Poll::Ready(None) if self.slot.leaving.get() => return Poll::Ready(()),
                _ => {
                    let before = self.next;
                    // The server's settings may have changed.
                    self.fill(Found::Freed);
                    if self.next == before {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Sends what waits, as far as the server takes it, and offers the places that are left.
    fn fill(&mut self, found: Found) {
        if self.slot.leaving.get() {
            return;
        }
        while self.places() > 0
            && let Some(job) = self.lane.take(self.replica, Instant::now(), found)
        {
            self.send(job);
        }
        self.lane.offer(self.replica, &self.slot, self.places());
    }

    /// How many more requests the server takes now.
    fn places(&self) -> usize {
        self.connection.streams().saturating_sub(self.jobs.len() + self.slot.handed())
    }

    fn send(&mut self, job: Job) {
        self.lane.note_leaving();
        let sent = Instant::now();
        let lane = self.lane;
        let template = &lane.shared.templates[job.request];
        let begun = self.connection.send(job.asked(template, self.replica), &mut lane.ids.borrow_mut());
        let stream = match begun {
            Ok(stream) => stream,
            Err(end) => return lane.finish(self.replica, job, sent, end),
        };
        let number = self.next;
        self.next += 1;
        self.jobs.insert(number, (job, sent));
        self.streams.push(Box::pin(async move {
            (number, stream.answer(template.contains.as_deref(), lane.timeout()).await)
        }));
    }
}
