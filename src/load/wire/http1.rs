//! A connection that speaks HTTP/1.1: one request at a time, written and read by one task.
//!
//! Not by hyper: a generator of load has the processor to itself only if it uses little of it, and knows what left
//! only if it sees its own bytes. Heads are read by httparse.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::answer::Answer;
use super::connect::Stream;
use super::contents::Contents;
use super::exchange::{Asked, End};
use super::failure::unknown;
use crate::load::Unknown;

/// As many bytes of an answer are read at once.
pub(in crate::load) const BUFFER: usize = 64 * 1024;

/// A connection.
pub(in crate::load) struct Http1 {
    stream: Stream,
    /// Fires at the earliest when the request in hand has no time left; set anew only when it fires.
    timer: Pin<Box<Sleep>>,
    timeout: Duration,
}

/// A request on its way.
pub(in crate::load) struct Exchange<'a> {
    answer: Answer,
    contents: Contents<'a>,
    /// Whether the request itself asks for the connection's end.
    closes: bool,
    /// What the system had taken from the connection before it.
    before: u64,
    /// How much of the request was written, and whether TLS has handed it on.
    written: usize,
    flushed: bool,
    /// Why the rest of it cannot be. Its answer may have come all the same.
    broken: Option<io::Error>,
    deadline: Instant,
}

impl Http1 {
    /// Over a new connection; each request may take so long.
    pub(in crate::load) fn new(stream: Stream, timeout: Duration) -> Http1 {
        let timer = Box::pin(sleep_until((Instant::now() + timeout).into()));
        Http1 { stream, timer, timeout }
    }

    /// Whether the server ended the connection while it was idle, or sent what nobody asked for.
    pub(in crate::load) fn is_over(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> bool {
        let mut buffer = ReadBuf::new(buffer);
        Pin::new(&mut self.stream).poll_read(cx, &mut buffer).is_ready()
    }

    /// The same, asked of the system itself: for a connection that was idle for a while.
    pub(in crate::load) fn has_ended(&self) -> bool {
        self.stream.has_ended()
    }

    /// Begins with a request that is sent now.
    pub(in crate::load) fn begin<'a>(&self, asked: Asked<'a>, now: Instant) -> Exchange<'a> {
        Exchange {
            answer: Answer::new(*asked.method() == Method::HEAD),
            contents: Contents::new(asked.template.contains.as_deref()),
            closes: asked.template.closes,
            before: self.stream.written.bytes(),
            written: 0,
            flushed: false,
            broken: None,
            deadline: now + self.timeout,
        }
    }

    /// Writes `request`, reads its answer, and looks at the clock. Ready when the answer is complete or will never be:
    /// how it ended, and whether the connection takes a further request.
    pub(in crate::load) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        request: &[u8],
        exchange: &mut Exchange<'_>,
        buffer: &mut [u8],
    ) -> Poll<(End, bool)> {
        if !exchange.flushed
            && exchange.broken.is_none()
            && let Poll::Ready(Err(error)) = self.poll_write(cx, request, exchange)
        {
            exchange.broken = Some(error);
        }
        let why = match self.poll_read(cx, exchange, buffer) {
            Poll::Ready(Ok(stays)) => {
                let (status, location) = exchange.answer.end();
                let missing = exchange.contents.missing();
                return Poll::Ready((End::Answered { status, missing, location }, stays));
            }
            Poll::Ready(Err(why)) => why,
            Poll::Pending => match &exchange.broken {
                Some(error) => unknown(error),
                None => ready!(self.poll_time(cx, exchange)),
            },
        };
        // Nothing was written: it certainly never left.
        let unsent =
            self.stream.written.bytes() == exchange.before && matches!(why, Unknown::Closed | Unknown::Reset);
        Poll::Ready((if unsent { End::Unsent } else { End::Unknown(why) }, false))
    }

    fn poll_time(&mut self, cx: &mut Context<'_>, exchange: &Exchange<'_>) -> Poll<Unknown> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= exchange.deadline {
                return Poll::Ready(Unknown::Timeout);
            }
            self.timer.as_mut().reset(exchange.deadline.into());
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        request: &[u8],
        exchange: &mut Exchange<'_>,
    ) -> Poll<io::Result<()>> {
        while exchange.written < request.len() {
            let rest = &request[exchange.written..];
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
        buffer: &mut [u8],
    ) -> Poll<Result<bool, Unknown>> {
        loop {
            let mut buffer = ReadBuf::new(buffer);
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                return Poll::Ready(Err(unknown(&error)));
            }
            let bytes = buffer.filled();
            let answer = &mut exchange.answer;
            if bytes.is_empty() {
                return Poll::Ready(answer.closed().map(|()| false));
            }
            match answer.take(bytes, &mut exchange.contents) {
                Err(why) => return Poll::Ready(Err(why)),
                // What comes after an answer, or before its request has left as a whole, belongs to nothing.
                Ok(taken) if answer.is_complete() => {
                    let whole = exchange.flushed && taken == bytes.len();
                    return Poll::Ready(Ok(whole && answer.keeps() && !exchange.closes));
                }
                Ok(_) => {}
            }
        }
    }
}
