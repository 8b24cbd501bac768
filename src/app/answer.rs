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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use futures::FutureExt;
    use http::{HeaderMap, Request};
    use http_body_util::BodyExt;

    use super::super::request_id::RequestId;
    use super::super::service::Service;
    use super::*;

    fn answer(method: &str, length: usize) -> (Arc<Service>, Answer) {
        let service = Arc::new(Service::quiet());
        let request = Request::builder().method(method).uri("/x").body(Body::empty()).unwrap();
        let pending = Pending::begin(service.clone(), RequestId::of(&HeaderMap::new()), &request);
        (service, Answer::new(vec![7; length].into(), 404, None, pending))
    }

    /// How many requests ended with this status.
    fn count(service: &Service, status: u16) -> usize {
        let text = service.metrics.expose().unwrap();
        let label = format!("http_status=\"{status}\"}}");
        text.lines().filter_map(|line| line.split_once(&label)?.1.trim().parse::<usize>().ok()).sum()
    }

    fn next_length(answer: &mut Answer) -> usize {
        let frame = answer.frame().now_or_never().unwrap().unwrap().unwrap();
        frame.into_data().unwrap().len()
    }

    #[test]
    fn a_request_is_counted_before_its_last_piece_is_handed_over() {
        let (service, mut answer) = answer("GET", 2 * PIECE + 1);
        for _ in 0..2 {
            assert_eq!(next_length(&mut answer), PIECE);
            assert_eq!(count(&service, 404), 0);
        }
        assert_eq!(next_length(&mut answer), 1);
        assert_eq!(count(&service, 404), 1);
        drop(answer);
        assert_eq!((count(&service, 404), count(&service, 499)), (1, 0));
    }

    #[test]
    fn an_answer_that_is_not_sent_is_counted_at_once() {
        for (method, length) in [("GET", 0), ("HEAD", 100)] {
            let (service, answer) = answer(method, length);
            assert_eq!(count(&service, 404), 1);
            drop(answer);
            assert_eq!((count(&service, 404), count(&service, 499)), (1, 0));
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_told_apart() {
        let (service, mut answer) = answer("GET", 2 * PIECE);
        next_length(&mut answer);
        drop(answer);
        assert_eq!((count(&service, 404), count(&service, 499)), (0, 1));
    }
}
