//! What a failed call to the API server says, in words, and whether it is worth trying again.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};

use crate::error::{Error, Result};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);

/// After so long a call is not begun again: whoever waits for it wants to know that nobody answers.
const TOGETHER: Duration = Duration::from_secs(30);

/// What failed, without the dump of the whole `Status` that kube's own text has.
pub fn explain(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return if status.message.is_empty() {
            format!("{} {}", status.code, status.reason)
        } else {
            status.message.clone()
        };
    }
    // The innermost causes are those that name a file, an address or a certificate.
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        next = error.source();
    }
    text
}

/// The HTTP status that the API server answered with; `None` if it did not answer.
pub fn status(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the same call may succeed a moment later.
pub fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            matches!(status.code, 408 | 429 | 502..=504)
                || status.code == 500 && status.details.as_ref().is_some_and(|d| d.retry_after_seconds > 0)
        }
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// Calls the API server, again with growing, jittered pauses (up to six times in about 10 s) while it
/// can't be reached or asks to be called later. Each call may take 30 s, and none begins after as long.
pub async fn retry<T, F: Future<Output = kube::Result<T>>>(call: impl FnMut() -> F) -> kube::Result<T> {
    let pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(4))
        .with_max_times(6)
        .with_jitter();
    retry_after(pauses, call).await
}

async fn retry_after<T, F: Future<Output = kube::Result<T>>>(
    pauses: ExponentialBuilder,
    mut call: impl FnMut() -> F,
) -> kube::Result<T> {
    let bounded = || {
        let call = call();
        async move {
            match tokio::time::timeout(CALL, call).await {
                Ok(result) => result,
                Err(_) => Err(kube::Error::Service(
                    format!("no answer from the API server within {} s", CALL.as_secs()).into(),
                )),
            }
        }
    };
    let begun = Instant::now();
    bounded.retry(pauses).when(|error| is_transient(error) && begun.elapsed() < TOGETHER).await
}

/// As [`retry`], with an error that says what failed: `what` is a whole sentence's beginning, such as
/// `Deployment lab/app could not be applied`.
pub async fn call<T, F: Future<Output = kube::Result<T>>>(
    what: impl Fn() -> String,
    call: impl FnMut() -> F,
) -> Result<T> {
    retry(call).await.map_err(|error| failed(what(), &error))
}

/// As [`call`], where it is no error that the object is not there.
pub async fn call_opt<T, F: Future<Output = kube::Result<T>>>(
    what: impl Fn() -> String,
    call: impl FnMut() -> F,
) -> Result<Option<T>> {
    match retry(call).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(failed(what(), &error)),
    }
}

/// The error of a failed call, with what to do next where that is known.
pub fn failed(what: String, error: &kube::Error) -> Error {
    let failure = Error::target(what).because_of(explain(error));
    match status(error) {
        Some(401) => failure.hint("the credentials of this context are not valid (any more); log in again"),
        Some(403) => failure.hint("this user lacks the permission; `sre doctor` lists what is needed"),
        None if is_transient(error) => failure.hint("is the cluster running, and is this the right context?"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use kube::core::Status;

    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "Reason").with_code(code).boxed())
    }

    #[test]
    fn only_the_message_of_a_status_is_told() {
        assert_eq!(explain(&api(404, "pods \"x\" not found")), "pods \"x\" not found");
    }

    #[tokio::test]
    async fn transient_failures_are_tried_again_and_bounded() {
        let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(1)).with_max_times(6);
        let calls = Cell::new(0);
        let answer = retry_after(pauses, || {
            calls.set(calls.get() + 1);
            async { if calls.get() < 3 { Err(api(503, "later")) } else { Ok(calls.get()) } }
        });
        assert_eq!(answer.await.unwrap(), 3);

        calls.set(0);
        let answer = retry_after(pauses, || {
            calls.set(calls.get() + 1);
            async { Err::<(), _>(api(503, "later")) }
        });
        assert!(answer.await.is_err());
        assert_eq!(calls.get(), 7);
    }

    #[tokio::test]
    async fn what_is_wrong_for_good_is_not_tried_again() {
        let calls = Cell::new(0);
        let answer = call(
            || "Pod x could not be read".into(),
            || {
                calls.set(calls.get() + 1);
                async { Err::<(), _>(api(403, "forbidden")) }
            },
        );
        let error = answer.await.unwrap_err();
        assert_eq!(calls.get(), 1);
        assert!(error.next_step().is_some_and(|hint| hint.contains("permission")), "{error}");
    }
}
