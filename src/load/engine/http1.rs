//! A lane's connection that speaks HTTP/1.1: one request at a time.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::lane::{Found, Lane};
use super::pool::{Job, Slot};
use crate::load::Unknown;
use crate::load::wire::http1::Http1;
use crate::load::wire::{End, Stream};

/// Sends requests over a new connection until it ends.
pub(super) async fn serve(lane: &Rc<Lane>, replica: usize, stream: Stream) {
    let slot = lane.connected(replica, 1);
    let connection = Http1::new(stream, lane.timeout());
    let mut client = Client { lane, replica, slot, connection, request: Vec::new() };
    client.run().await;
    lane.disconnected(replica, &client.slot);
}

struct Client<'a> {
    lane: &'a Rc<Lane>,
    replica: usize,
    slot: Rc<Slot>,
    connection: Http1,
    /// The bytes of the request in hand; their memory is used again.
    request: Vec<u8>,
}

impl Client<'_> {
    async fn run(&mut self) {
        let mut found = Found::Connected;
        // What ended meanwhile takes no request that would then be of unknown fate.
        while !poll_fn(|cx| Poll::Ready(self.is_over(cx))).await {
            let job = match self.lane.take(self.replica, Instant::now(), found) {
                Some(job) => job,
                None => {
                    self.slot.free.set(1);
                    self.lane.free(self.replica, &self.slot);
                    match self.wait().await {
                        Some(job) => job,
                        None => return,
                    }
                }
            };
            let sent = Instant::now();
            let (end, stays) = self.exchange(&job, sent).await;
            self.lane.finish(self.replica, job, sent, end);
            if !stays {
                return;
            }
            found = Found::Freed;
        }
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.connection.is_over(cx, &mut self.lane.buffer.borrow_mut())
    }

    /// Comes back with a request, or without one when the connection ends.
    async fn wait(&mut self) -> Option<Job> {
        poll_fn(|cx| {
            self.slot.register(cx.waker());
            // What it was handed when it ends goes elsewhere.
            if self.is_over(cx) {
                return Poll::Ready(None);
            }
            if self.slot.handed() > 0 && self.connection.has_ended() {
                return Poll::Ready(None);
            }
            self.slot.receive().map_or(Poll::Pending, |job| Poll::Ready(Some(job)))
        })
        .await
    }

    /// Sends a request and reads its answer: how it ended, and whether the connection takes a further one.
    async fn exchange(&mut self, job: &Job, sent: Instant) -> (End, bool) {
        self.lane.note_leaving();
        let asked = job.asked(&self.lane.shared.templates[job.request], self.replica);
        asked.write(&self.lane.ids.borrow(), &mut self.request);
        let mut exchange = self.connection.begin(asked, sent);
        poll_fn(|cx| {
            self.slot.register(cx.waker());
            let mut buffer = self.lane.buffer.borrow_mut();
            match self.connection.poll(cx, &self.request, &mut exchange, &mut buffer) {
                Poll::Pending if self.lane.aborted() => {
                    Poll::Ready((End::Unknown(Unknown::Interrupted), false))
                }
                polled => polled,
            }
        })
        .await
    }
}
