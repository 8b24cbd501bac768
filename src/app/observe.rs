//! Around every counted request: its id, its body, its faults, and its one count and log line.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::answer::Answer;
use super::body;
use super::failure::Failure;
use super::faults::InjectedException;
use super::labels::{ErrorType, ExceptionType};
use super::pending::Pending;
use super::request_id::{HEADER, RequestId};
use super::service::Service;

/// Sees to it that a request is counted and logged once, whatever becomes of it.
pub async fn observe(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let pending = Pending::begin(service.clone(), id.clone(), &request);
    request.extensions_mut().insert(id.clone());

    let answered = AssertUnwindSafe(answer(&service, &id, request, next)).catch_unwind().await;
    let (mut parts, body) = match answered {
        Ok((parts, body)) => (parts, body),
        Err(panic) => {
            let (exception, failure) = exception(panic.as_ref());
            service.metrics.exception(exception, pending.endpoint());
            rendered(failure.into_response()).await
        }
    };
    parts.headers.insert(HEADER, id.header());
    let failure = parts.extensions.remove::<Failure>();
    let answer = Answer::new(body, parts.status.as_u16(), failure, pending);
    Response::from_parts(parts, Body::new(answer))
}

/// The answer, whole, after the latency and the errors that the fault switch asks for.
async fn answer(
    service: &Service,
    id: &RequestId,
    request: Request,
    next: Next,
) -> (http::response::Parts, Bytes) {
    let (parts, body) = request.into_parts();
    let body = match body::read(body).await {
        Ok(body) => body,
        Err(failure) => return rendered(failure.into_response()).await,
    };
    let faults = service.faults.get();
    if faults.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(faults.latency_ms)).await;
    }
    let response = match faults.strike(service.chance, id.as_str()) {
        Ok(()) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(failure) => failure.into_response(),
    };
    rendered(response).await
}

/// An answer with its whole body. The routes' bodies are in memory, so this neither waits nor fails.
async fn rendered(response: Response) -> (http::response::Parts, Bytes) {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("bodies in memory can always be read");
    (parts, body)
}

fn exception(panic: &(dyn Any + Send)) -> (ExceptionType, Failure) {
    let (exception, message) = if panic.is::<InjectedException>() {
        (ExceptionType::Injected, "the fault switch made this an exception".to_owned())
    } else {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        (ExceptionType::Panic, format!("the handler panicked: {text}"))
    };
    (exception, Failure::new(ErrorType::Exception, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(panic: impl FnOnce() + std::panic::UnwindSafe) -> (ExceptionType, Failure) {
        exception(std::panic::catch_unwind(panic).unwrap_err().as_ref())
    }

    #[test]
    fn a_bug_is_told_apart_from_an_injected_exception() {
        let (kind, failure) = of(|| panic!("index {} out of bounds", 3));
        assert_eq!(kind, ExceptionType::Panic);
        assert_eq!(failure.message, "the handler panicked: index 3 out of bounds");
        assert_eq!(of(|| panic!("plain")).1.message, "the handler panicked: plain");
        let (kind, failure) = of(|| std::panic::resume_unwind(Box::new(InjectedException)));
        assert_eq!((kind, failure.error_type), (ExceptionType::Injected, ErrorType::Exception));
    }
}
