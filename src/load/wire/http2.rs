//! A connection that speaks HTTP/2, by the crate h2: below hyper, which hides what became of a stream.
//!
//! A server tells which streams it certainly did not process: those that it refused, and those above the last one that
//! it names when it goes (RFC 9113, 8.7). Hyper's errors do not tell these from the others.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::{HeaderMap, header::CONTENT_ENCODING};

use super::connect::{Stream, Written};
use super::contents::{Coding, Contents};
use super::exchange::{Asked, End, location};
use super::failure::{StreamEnd, stream_end};
use crate::load::reason::{LONGEST_HEAD, MOST_HEADERS};
use crate::load::requests::Ids;
use crate::load::{NotSent, Unknown};

/// Requests at the same time on one connection at the most; servers allow at least this many by RFC 9113's advice.
pub(in crate::load) const STREAMS: usize = 100;

/// What a server may send of a body before it is taken.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;

/// The library reads heads up to here; those that are too long for us are told by their own reason.
const HEAD_OF_LIBRARY: u32 = 4 * LONGEST_HEAD as u32;

/// A connection.
pub(in crate::load) struct Http2 {
    sender: SendRequest<Bytes>,
    /// `None` once it has ended, or while another task runs it.
    connection: Option<Box<Connection<Stream, Bytes>>>,
    written: Written,
}

/// A request on its way.
pub(in crate::load) struct Sent {
    response: ResponseFuture,
    /// What the system had taken from the connection before it.
    before: u64,
    written: Written,
}

impl Http2 {
    /// Over a new connection: waits until the server has told how many requests it takes at the same time, so that none
    /// is refused because it came too early. The caller bounds the time.
    ///
    /// # Errors
    /// Where the server does not speak HTTP/2.
    pub(in crate::load) async fn new(stream: Stream) -> Result<Http2, NotSent> {
        let written = stream.written.clone();
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_OF_LIBRARY)
            // None until the server's first settings have come.
            .initial_max_send_streams(0)
            .handshake(stream);
        let (sender, connection) = handshake.await.map_err(|_| NotSent::NoHttp2)?;
        let mut http2 = Http2 { sender, connection: Some(Box::new(connection)), written };
        poll_fn(|cx| match http2.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(NotSent::NoHttp2)),
            Poll::Pending if http2.streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        Ok(http2)
    }

    /// How many requests it takes at the same time.
    pub(in crate::load) fn streams(&self) -> usize {
        self.sender.current_max_send_streams().min(STREAMS)
    }

    /// Runs the connection. Ready once it takes no further requests: those on their way go on while it is polled.
    pub(in crate::load) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection.as_mut()).poll(cx).is_ready()
        {
            self.connection = None;
        }
        if self.connection.is_none() || self.is_over(cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether it takes no further requests.
    pub(in crate::load) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        matches!(self.sender.poll_ready(cx), Poll::Ready(Err(_)))
    }

    /// Has a task of its own run the connection, until it ends or this is dropped.
    pub(in crate::load) fn spawn(&mut self) {
        if let Some(connection) = self.connection.take() {
            // How it ended is told to each of its streams.
            tokio::spawn(async move { drop(connection.await) });
        }
    }

    /// Sends a request; the caller keeps within [`streams`](Http2::streams).
    ///
    /// # Errors
    /// Nothing of it was sent: the connection has ended.
    pub(in crate::load) fn send(&mut self, asked: Asked<'_>, ids: &mut Ids) -> Result<Sent, End> {
        let before = self.written.bytes();
        let (request, body) = asked.request(ids);
        let (response, mut sending) =
            self.sender.send_request(request, body.is_empty()).map_err(|_| End::Unsent)?;
        if !body.is_empty()
            && let Err(error) = sending.send_data(body, true)
        {
            return Err(ended(&error, before, &self.written));
        }
        Ok(Sent { response, before, written: self.written.clone() })
    }
}

impl Sent {
    /// Reads the answer, for so long.
    pub(in crate::load) async fn answer(self, wanted: Option<&[u8]>, timeout: Duration) -> End {
        let (before, written) = (self.before, self.written);
        match tokio::time::timeout(timeout, read(self.response, wanted)).await {
            Err(_) => End::Unknown(Unknown::Timeout),
            Ok(Ok(end)) => end,
            Ok(Err(error)) => ended(&error, before, &written),
        }
    }
}

/// How a stream ended without an answer.
fn ended(error: &h2::Error, before: u64, written: &Written) -> End {
    match stream_end(error) {
        StreamEnd::Unprocessed => End::Unprocessed,
        StreamEnd::Refused => End::Refused,
        // Nothing was written since it was begun: it certainly never left.
        StreamEnd::Unknown(Unknown::Closed | Unknown::Reset) if written.bytes() == before => End::Unsent,
        StreamEnd::Unknown(why) => End::Unknown(why),
    }
}

async fn read(response: ResponseFuture, wanted: Option<&[u8]>) -> Result<End, h2::Error> {
    let (parts, mut body) = response.await?.into_parts();
    if let Some(why) = too_much(&parts.headers) {
        return Ok(End::Unknown(why));
    }
    let mut contents = Contents::new(wanted);
    let mut codings = parts.headers.get_all(CONTENT_ENCODING).iter();
    contents.begin(match (codings.next(), codings.next()) {
        (None, _) => Coding::None,
        (Some(coding), None) => Coding::read(coding.as_bytes()),
        (Some(_), Some(_)) => Coding::Other,
    });
    while let Some(part) = body.data().await {
        let part = part?;
        contents.take(&part);
        // Lets the server send as much again.
        body.flow_control().release_capacity(part.len())?;
    }
    body.trailers().await?;
    let location = location(parts.status, &parts.headers);
    Ok(End::Answered { status: parts.status, missing: contents.missing(), location })
}

/// The same bounds as for HTTP/1.1.
fn too_much(headers: &HeaderMap) -> Option<Unknown> {
    let length: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if length > LONGEST_HEAD {
        Some(Unknown::HeadTooLong)
    } else {
        (headers.len() > MOST_HEADERS).then_some(Unknown::TooManyHeaders)
    }
}
