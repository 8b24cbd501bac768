//! A moment on the clocks of this machine: the one that people read, which may be set, and the one that counts since the
//! machine was started, which nobody sets and all processes share.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A moment on this machine's clocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Now {
    /// What people read.
    pub wall: Timestamp,
    /// What nobody sets; `None` where the system does not tell which start it counts from.
    pub steady: Option<Steady>,
}

/// A moment on the clock that nobody sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    /// The start of the machine that it counts from: after another one it says nothing.
    pub boot: String,
    /// Seconds since then, without those that the machine slept.
    pub seconds: f64,
}

impl Now {
    /// Now.
    pub fn read() -> Now {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
        let steady = boot.map(|boot| Steady { boot: boot.trim().to_owned(), seconds });
        Now { wall: Timestamp::now(), steady }
    }

    /// So much later, on both clocks.
    pub fn after(&self, time: Duration) -> Now {
        let signed = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        let later =
            |steady: &Steady| Steady { seconds: steady.seconds + time.as_secs_f64(), ..steady.clone() };
        Now {
            wall: self.wall.saturating_add(signed).unwrap_or(Timestamp::MAX),
            steady: self.steady.as_ref().map(later),
        }
    }

    /// How long until another moment, by the clock that nobody sets; by the other one only where the machine was started
    /// between them.
    pub fn until(&self, wall: Timestamp, steady: Option<&Steady>) -> Duration {
        match (&self.steady, steady) {
            (Some(now), Some(then)) if now.boot == then.boot => {
                Duration::try_from_secs_f64((then.seconds - now.seconds).max(0.0)).unwrap_or(Duration::MAX)
            }
            _ => Duration::try_from(wall.duration_since(self.wall)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_changes_nothing() {
        let now = Now::read();
        let end = now.after(Duration::from_secs(60));
        assert!(now.steady.is_some());
        for hours in [-1, 1] {
            let wall = now.wall + SignedDuration::from_hours(hours);
            let set = Now { wall, ..now.after(Duration::from_secs(20)) };
            let left = set.until(end.wall, end.steady.as_ref()).as_secs_f64();
            assert!((left - 40.0).abs() < 0.001, "{left}");
        }
        assert_eq!(now.after(Duration::from_secs(90)).until(end.wall, end.steady.as_ref()), Duration::ZERO);
    }

    #[test]
    fn after_another_start_only_the_wall_clock_tells() {
        let now = Now::read();
        let end = now.after(Duration::from_secs(60));
        let another = Steady { boot: "another".into(), seconds: 5.0 };
        let left = Now { steady: Some(another), ..now }.until(end.wall, end.steady.as_ref());
        assert_eq!(left, Duration::from_secs(60));
    }
}
