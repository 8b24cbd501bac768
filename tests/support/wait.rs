//! Waits for a condition, for a bounded time.

use std::time::{Duration, Instant};

/// Asks `attempt` until it has something, for 60 s at the most.
///
/// # Panics
/// With `what` was waited for, once the time is over.
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < end, "waited 60 s in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
