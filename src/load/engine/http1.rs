//! A connection that speaks HTTP/1.1: one request at a time, both halves in one task.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Sleep, sleep_until};

use super::connect::Stream;
use super::exchange::{End, answered};
use super::lane::{Found, Lane};
use super::pool::{Job, Slot};
use crate::load::Unknown;
use crate::load::failure::unknown;
use crate::load::requests::Search;

/// Sends requests over a new connection until it ends.
pub(super) async fn serve(lane: &Rc<Lane>, replica: usize, stream: Stream) {
    let written = stream.written.clone();
    let Ok((sender, connection)) = http1::handshake(TokioIo::new(stream)).await else {
        return lane.connect_failed(replica, crate::load::NotSent::Connect, None);
    };
    let slot = lane.connected(replica, 1);
    let deadline = Instant::now() + lane.timeout();
    let mut client = Client {
        lane,
        replica,
        slot,
        sender,
        connection,
        closed: false,
        written,
        timer: Box::pin(sleep_until(deadline.into())),
        spare: HeaderMap::new(),
    };
    client.run().await;
    lane.disconnected(replica, &client.slot);
}

type Connection = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

struct Client<'a> {
    lane: &'a Rc<Lane>,
    replica: usize,
    slot: Rc<Slot>,
    sender: SendRequest<Full<Bytes>>,
    connection: Connection,
    closed: bool,
    written: Rc<Cell<u64>>,
    /// Fires at the earliest when the request in hand has no time left; set anew only when it fires.
    timer: Pin<Box<Sleep>>,
    /// The memory of the last answer's headers.
    spare: HeaderMap,
}

impl Client<'_> {
    async fn run(&mut self) {
        let mut found = Found::Connected;
        while self.is_ready().await {
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
            let end = self.exchange(&job, sent).await;
            self.lane.finish(self.replica, job, sent, end);
            found = Found::Freed;
        }
    }

    /// Comes back when the connection takes a request, or with `false` when it never will.
    async fn is_ready(&mut self) -> bool {
        let deadline = Instant::now() + self.lane.timeout();
        poll_fn(|cx| self.poll(cx, deadline, |client, cx| client.sender.poll_ready(cx)))
            .await
            .is_ok_and(|ready| ready.is_ok())
    }

    /// Comes back with a request, or without one when the connection ends.
    async fn wait(&mut self) -> Option<Job> {
        poll_fn(|cx| {
            self.slot.register(cx.waker());
            if Pin::new(&mut self.connection).poll(cx).is_ready() {
                // What it was handed meanwhile goes elsewhere.
                self.closed = true;
                return Poll::Ready(None);
            }
            self.slot.receive().map_or(Poll::Pending, |job| Poll::Ready(Some(job)))
        })
        .await
    }

    async fn exchange(&mut self, job: &Job, sent: Instant) -> End {
        let deadline = sent + self.lane.timeout();
        let before = self.written.get();
        let request = self.lane.request(job, self.replica, std::mem::take(&mut self.spare));
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| self.poll(cx, deadline, |_, cx| answer.as_mut().poll(cx))).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(mut error)) => {
                let handed_back = error.take_message().is_some();
                // Nothing was written: it certainly never left.
                if handed_back || self.written.get() == before {
                    return End::Unsent;
                }
                return End::Unknown(unknown(error.error()));
            }
            Err(why) => return End::Unknown(why),
        };
        let (parts, mut body) = response.into_parts();
        let template = &self.lane.shared.templates[job.request];
        let mut search = Search::new(template.contains.as_deref());
        if let Err(why) = self.read(&mut body, &mut search, deadline).await {
            return End::Unknown(why);
        }
        let end = answered(parts.status, &parts.headers, search.found());
        self.spare = parts.headers;
        self.spare.clear();
        end
    }

    /// Reads a body to its end.
    async fn read(
        &mut self,
        body: &mut Incoming,
        search: &mut Search<'_>,
        deadline: Instant,
    ) -> Result<(), Unknown> {
        while !body.is_end_stream() {
            match poll_fn(|cx| self.poll(cx, deadline, |_, cx| Pin::new(&mut *body).poll_frame(cx))).await? {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        search.take(data);
                    }
                }
                Some(Err(error)) => return Err(unknown(&error)),
                None => break,
            }
        }
        Ok(())
    }

    /// Moves the connection, and `step` with it, until `step` is done or its time is over.
    ///
    /// `step` waits for nothing but the connection, which is moved here: it needs no waker of its own.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Instant,
        mut step: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Unknown>> {
        self.slot.register(cx.waker());
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(done) = step(self, &mut nobody) {
            return Poll::Ready(Ok(done));
        }
        if !self.closed {
            self.closed = Pin::new(&mut self.connection).poll(cx).is_ready();
            if let Poll::Ready(done) = step(self, &mut nobody) {
                return Poll::Ready(Ok(done));
            }
        }
        if self.lane.aborted() {
            return Poll::Ready(Err(Unknown::Interrupted));
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(Unknown::Timeout));
            }
            self.timer.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}
