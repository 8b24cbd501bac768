//! A connection that speaks HTTP/1.1: one request at a time, written and read by one task.
//!
//! Not by hyper: a generator of load has the processor to itself only if it uses little of it, and knows what left
//! only if it sees its own bytes. Heads are read by httparse.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::answer::Answer;
use super::connect::Stream;
use super::exchange::End;
use super::lane::{Found, Lane};
use super::pool::{Job, Slot};
use crate::load::Unknown;
use crate::load::failure::unknown;
use crate::load::requests::Search;

/// Sends requests over a new connection until it ends.
pub(super) async fn serve(lane: &Rc<Lane>, replica: usize, stream: Stream) {
    let slot = lane.connected(replica, 1);
    let deadline = Instant::now() + lane.timeout();
    let mut client = Client {
        lane,
        replica,
        slot,
        stream,
        request: Vec::new(),
        timer: Box::pin(sleep_until(deadline.into())),
    };
    client.run().await;
    lane.disconnected(replica, &client.slot);
}

struct Client<'a> {
    lane: &'a Rc<Lane>,
    replica: usize,
    slot: Rc<Slot>,
    stream: Stream,
    /// The bytes of the request in hand; their memory is used again.
    request: Vec<u8>,
    /// Fires at the earliest when the request in hand has no time left; set anew only when it fires.
    timer: Pin<Box<Sleep>>,
}

/// A request on its way.
struct Exchange<'a> {
    answer: Answer,
    search: Search<'a>,
    /// How much of the request was written, and whether TLS has handed it on.
    written: usize,
    flushed: bool,
    /// Why the rest of it cannot be. Its answer may have come all the same.
    broken: Option<io::Error>,
    deadline: Instant,
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

    /// Whether the server ended an idle connection, or sent what nobody asked for.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let mut buffer = self.lane.buffer.borrow_mut();
        let mut buffer = ReadBuf::new(&mut buffer);
        Pin::new(&mut self.stream).poll_read(cx, &mut buffer).is_ready()
    }

    /// Comes back with a request, or without one when the connection ends.
    async fn wait(&mut self) -> Option<Job> {
        poll_fn(|cx| {
            self.slot.register(cx.waker());
            // What it was handed when it ends goes elsewhere.
            if self.is_over(cx) {
                return Poll::Ready(None);
            }
            self.slot.receive().map_or(Poll::Pending, |job| Poll::Ready(Some(job)))
        })
        .await
    }

    /// Sends a request and reads its answer: how it ended, and whether the connection takes a further one.
    async fn exchange(&mut self, job: &Job, sent: Instant) -> (End, bool) {
        let before = self.stream.written.get();
        self.lane.write(job, self.replica, &mut self.request);
        let template = &self.lane.shared.templates[job.request];
        let method = job.hop.as_ref().map_or(&template.method, |hop| &hop.method);
        let mut exchange = Exchange {
            answer: Answer::new(*method == Method::HEAD),
            search: Search::new(template.contains.as_deref()),
            written: 0,
            flushed: false,
            broken: None,
            deadline: sent + self.lane.timeout(),
        };
        match poll_fn(|cx| self.poll(cx, &mut exchange)).await {
            Ok(stays) => {
                let (status, location) = exchange.answer.end();
                (End::Answered { status, contained: exchange.search.found(), location }, stays)
            }
            // Nothing was written: it certainly never left.
            Err(Unknown::Closed | Unknown::Reset) if self.stream.written.get() == before => {
                (End::Unsent, false)
            }
            Err(why) => (End::Unknown(why), false),
        }
    }

    /// Writes, reads, and looks at the clock; ready when the answer is complete or will never be.
    fn poll(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange<'_>) -> Poll<Result<bool, Unknown>> {
        self.slot.register(cx.waker());
        if !exchange.flushed
            && exchange.broken.is_none()
            && let Poll::Ready(Err(error)) = self.poll_write(cx, exchange)
        {
            exchange.broken = Some(error);
        }
        if let Poll::Ready(done) = self.poll_read(cx, exchange) {
            return Poll::Ready(done);
        }
        if let Some(error) = &exchange.broken {
            return Poll::Ready(Err(unknown(error)));
        }
        if self.lane.aborted() {
            return Poll::Ready(Err(Unknown::Interrupted));
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= exchange.deadline {
                return Poll::Ready(Err(Unknown::Timeout));
            }
            self.timer.as_mut().reset(exchange.deadline.into());
        }
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange<'_>) -> Poll<io::Result<()>> {
        while exchange.written < self.request.len() {
            let rest = &self.request[exchange.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => exchange.written += bytes,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        exchange.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'_>,
    ) -> Poll<Result<bool, Unknown>> {
        let mut buffer = self.lane.buffer.borrow_mut();
        loop {
            let mut buffer = ReadBuf::new(&mut buffer);
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                return Poll::Ready(Err(unknown(&error)));
            }
            let bytes = buffer.filled();
            let answer = &mut exchange.answer;
            if bytes.is_empty() {
                return Poll::Ready(answer.closed().map(|()| false));
            }
            let taken = answer.take(bytes, &mut exchange.search);
            match taken {
                Err(why) => return Poll::Ready(Err(why)),
                // What comes after an answer, or before its request has left as a whole, belongs to nothing.
                Ok(taken) if answer.is_complete() => {
                    let whole = exchange.flushed && taken == bytes.len();
                    return Poll::Ready(Ok(whole && answer.keeps()));
                }
                Ok(_) => {}
            }
        }
    }
}
