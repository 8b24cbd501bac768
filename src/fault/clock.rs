//! Prometheus' time, also while it does not answer: what is asked just when a fault hurts.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long Prometheus may take to tell its time.
const BOUND: Duration = Duration::from_secs(1);

/// Tells Prometheus' time, asked each time; where it does not tell it soon, the last one that it told and what went by
/// since.
pub struct Clock<N> {
    ask: N,
    /// Prometheus' time in seconds since 1970, and this machine's at the same moment.
    known: Mutex<Option<(f64, Instant)>>,
}

impl<N, F> Clock<N>
where
    N: Fn() -> F,
    F: Future<Output = Option<f64>>,
{
    /// A clock that asks by `ask`; `known` is what Prometheus told before.
    pub fn new(ask: N, known: Option<(f64, Instant)>) -> Clock<N> {
        Clock { ask, known: Mutex::new(known) }
    }

    /// The time now; `None` where Prometheus never told any.
    pub async fn time(&self) -> Option<f64> {
        let told = tokio::time::timeout(BOUND, (self.ask)()).await.ok().flatten();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Some(time) => {
                *known = Some((time, Instant::now()));
                Some(time)
            }
            None => known.map(|(time, at)| time + at.elapsed().as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_told_follows_from_what_was() {
        let answers = Mutex::new(vec![None, Some(500.0), None]);
        let ask = || async { answers.lock().expect("a lock").pop().flatten() };
        let clock = Clock::new(ask, Some((100.0, Instant::now() - Duration::from_secs(7))));
        let near = |time: Option<f64>, expected: f64| {
            let time = time.expect("a time");
            assert!((expected..expected + 5.0).contains(&time), "{time} instead of {expected}");
        };
        near(clock.time().await, 107.0);
        near(clock.time().await, 500.0);
        near(clock.time().await, 500.0);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_not_waited_for() {
        let clock = Clock::new(std::future::pending::<Option<f64>>, Some((100.0, Instant::now())));
        let time = tokio::time::timeout(BOUND * 5, clock.time()).await.expect("an end").expect("a time");
        // What is done next begins after the wait.
        assert!((101.0..106.0).contains(&time), "{time}");
        assert_eq!(Clock::new(async || None, None).time().await, None);
    }
}
