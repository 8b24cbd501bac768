//! An answer's body, which counts its request before the last byte is handed over.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body::{Frame, SizeHint};

use super::failure::Failure;
use super::labels::Method;
use super::pending::Pending;

/// So many bytes are handed to the connection at once: of a longer answer the last piece is handed over
/// only when the client has taken most of it, so that an answer that broke off can be told.
const PIECE: usize = 16 << 10;

/// An answer's body. The request ends before the last piece is handed to the connection; if that never
/// comes to pass, it ends as one whose client went away.
#[derive(Debug)]
pub struct Answer {
    rest: Bytes,
    status: u16,
    failure: Option<Failure>,
    pending: Pending,
}

impl Answer {
    /// The answer to this request.
    pub fn new(body: Bytes, status: u16, failure: Option<Failure>, pending: Pending) -> Answer {
        let mut answer = Answer { rest: body, status, failure, pending };
        // Nothing is asked of a body that is empty or, to HEAD, not sent.
        if answer.rest.is_empty() || answer.pending.method() == Method::Head {
            answer.end();
        }
        answer
    }

    fn end(&mut self) {
        self.pending.end(self.status, self.failure.as_ref());
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        if self.rest.is_empty() {
            self.end();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
