//! Waits for a condition, for a bounded time.

use std::time::{Duration, Instant};

/// Asks `attempt` until it has something, for 20 s at the most.
///
/// # Panics
/// With `what` was waited for, once the time is over.
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < end, "waited 20 s in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
