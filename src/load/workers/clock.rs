//! What a worker's clock says, seen from its leader's: by round trips, so that no two clocks have to agree.

use std::time::{Duration, Instant};

/// So many questions are asked; the answer that came back soonest is the most exact.
pub(super) const QUESTIONS: u32 = 16;

/// How a worker's clock stands to its leader's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Offset {
    /// When the worker's clock said `theirs`, by the leader's clock.
    ours: Instant,
    theirs: u64,
    /// The truth is at most so far away, before or after.
    pub within: Duration,
}

impl Offset {
    /// Of one question: asked and answered at these instants, and the microseconds of the answer. Whenever in
    /// between the worker looked at its clock, it was half the round trip from the middle at most.
    pub(super) fn of(asked: Instant, answered: Instant, theirs: u64) -> Offset {
        let within = answered.saturating_duration_since(asked) / 2;
        Offset { ours: asked + within, theirs, within }
    }

    /// The more exact of two.
    pub(super) fn best(self, other: Offset) -> Offset {
        if other.within < self.within { other } else { self }
    }

    /// What the worker's clock says at an instant of the leader's; the beginning of its time, for one before it.
    pub(super) fn theirs_at(&self, instant: Instant) -> u64 {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        match instant.checked_duration_since(self.ours) {
            Some(later) => self.theirs.saturating_add(micros(later)),
            None => self.theirs.saturating_sub(micros(self.ours.saturating_duration_since(instant))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_clock_is_told_within_half_the_round_trip_wherever_the_delay_was() {
        // The worker's clock began a day before, or a second after, the leader's first question.
        let begin = Instant::now();
        for their_zero in [86_400_000_000_i64, -1_000_000] {
            for (there, back) in [(MS, MS), (8 * MS, MS), (Duration::ZERO, 9 * MS)] {
                let asked = begin + 2000 * MS;
                let looked = asked + there;
                let truth = |instant: Instant| {
                    u64::try_from(instant.duration_since(begin).as_micros() as i64 + their_zero)
                        .expect("after")
                };
                let offset = Offset::of(asked, looked + back, truth(looked));
                let start = begin + 5000 * MS;
                let error = offset.theirs_at(start).abs_diff(truth(start));
                assert!(u128::from(error) <= offset.within.as_micros(), "{error} µs, {:?}", offset.within);
                assert_eq!(offset.within, (there + back) / 2);
                let before = asked - 100 * MS;
                assert!(
                    u128::from(offset.theirs_at(before).abs_diff(truth(before))) <= offset.within.as_micros()
                );
            }
        }
    }

    #[test]
    fn the_soonest_answer_is_the_most_exact() {
        let now = Instant::now();
        let (slow, fast) = (Offset::of(now, now + 9 * MS, 1), Offset::of(now, now + MS, 2));
        assert_eq!((slow.best(fast), fast.best(slow)), (fast, fast));
    }
}
