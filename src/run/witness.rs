//! Watches during the load whether Prometheus' clock goes as this machine's does: a clock that is set and set back meanwhile
//! is right at the end, and the times between were not.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::check::Told;
use crate::observe::Prometheus;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Prometheus' time, and this machine's around that moment.
pub async fn told(prometheus: Option<&Prometheus>) -> Option<Told> {
    let asked = Instant::now();
    let time = prometheus?.time().await.ok()?;
    Some(Told { time, asked, answered: Instant::now() })
}

/// What was seen of the clock since the load began.
#[derive(Debug)]
pub struct Witness {
    first: Option<Told>,
    /// By how much it moved at the most; less than nothing for back.
    moved: Mutex<Option<f64>>,
}

impl Witness {
    /// From this time on; where Prometheus did not tell any, nothing is seen.
    pub fn new(first: Option<Told>) -> Witness {
        Witness { first, moved: Mutex::new(None) }
    }

    /// Looks again and again; never ends by itself.
    pub async fn go_on(&self, prometheus: Option<&Prometheus>) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.note(told(prometheus).await);
        }
    }

    /// Notes what Prometheus tells by now.
    pub fn note(&self, told: Option<Told>) {
        let Some((first, told)) = self.first.zip(told) else { return };
        let now = told.moved_since(&first);
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved = Some(moved.map_or(now, |most: f64| if now.abs() > most.abs() { now } else { most }));
    }

    /// Seconds by which it moved at the most.
    pub fn moved(&self) -> Option<f64> {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_to_right_was_wrong() {
        let start = Instant::now();
        let at = |seconds: u64, time: f64| {
            let asked = start + Duration::from_secs(seconds);
            Some(Told { time, asked, answered: asked + Duration::from_millis(10) })
        };
        let witness = Witness::new(at(0, 1000.0));
        assert_eq!(witness.moved(), None);
        for (seconds, time) in [(1, 1001.0), (2, 992.0), (3, 1013.0), (4, 1004.0)] {
            witness.note(at(seconds, time));
        }
        witness.note(None);
        let moved = witness.moved().expect("it was seen");
        assert!((-10.0..-9.9).contains(&moved), "{moved}");
    }
}
