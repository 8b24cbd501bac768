//! When a fault is looked for: each in a window of its own, on Prometheus' clock. Pure.

use crate::scenario::DetectedCheck;

/// When a fault was, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Its injection.
    pub injected: f64,
    /// Its healing.
    pub healed: f64,
}

/// When the load was, as far as Prometheus told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Its start.
    pub started: Option<f64>,
    /// Its end.
    pub ended: Option<f64>,
}

/// When a fault is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// From here on until the injection it must not be shown.
    pub before: f64,
    /// Whether `before` is when another fault was healed, which may be shown for a while yet.
    pub after_another: bool,
    /// The fault.
    pub fault: Times,
    /// It is detected until then.
    pub detected_by: f64,
    /// What is shown first after that is not this fault's: its healing, and what a scrape may be late.
    pub shown_by: f64,
    /// It is over until then.
    pub over_by: f64,
    /// When the next fault after it was injected: from there on what is shown may be that one's.
    pub next: Option<f64>,
    /// Once over it stays so until then: the next fault, the load's end or `over_by`, whichever is first.
    pub stays: f64,
    /// For so many seconds what was evaluated may change: a scrape may take that long.
    pub late: f64,
}

/// For how long before its injection a fault must not be shown.
const BEFORE: f64 = 60.0;

impl Window {
    /// The window of a fault beside the others.
    pub fn of(fault: Times, others: &[Times], load: Load, asked: &DetectedCheck) -> Window {
        let start = load.started.unwrap_or(fault.injected).clamp(fault.injected - BEFORE, fault.injected);
        let earlier = others.iter().map(|other| other.healed).filter(|healed| *healed <= fault.injected);
        let earlier = earlier.reduce(f64::max).filter(|healed| *healed >= start);
        let later = others.iter().map(|other| other.injected).filter(|injected| *injected >= fault.healed);
        let next = later.reduce(f64::min);
        let over_by = fault.healed + asked.recovers.as_secs_f64();
        Window {
            before: earlier.unwrap_or(start),
            after_another: earlier.is_some(),
            fault,
            detected_by: fault.injected + asked.within.as_secs_f64(),
            shown_by: f64::MAX,
            over_by,
            next,
            late: super::judge::LATE,
            stays: next.into_iter().chain(load.ended).fold(over_by, f64::min),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(fault: (f64, f64), others: &[(f64, f64)], load_started: f64) -> Window {
        let times = |(injected, healed): (f64, f64)| Times { injected, healed };
        let others: Vec<Times> = others.iter().copied().map(times).collect();
        let load = Load { started: Some(load_started), ended: Some(200.0) };
        Window::of(times(fault), &others, load, &DetectedCheck::default())
    }

    #[test]
    fn the_first_is_looked_for_from_the_load_s_start() {
        let of = window((100.0, 120.0), &[(140.0, 150.0), (130.0, 135.0)], 90.0);
        assert_eq!((of.before, of.after_another, of.next), (90.0, false, Some(130.0)));
        assert_eq!((of.detected_by, of.over_by), (130.0, 180.0));
        // A load of hours is not looked at as a whole.
        assert_eq!(window((5000.0, 5010.0), &[], 90.0).before, 4940.0);
    }

    #[test]
    fn a_later_one_is_looked_for_since_the_one_before_was_healed() {
        let of = window((140.0, 150.0), &[(100.0, 120.0), (130.0, 135.0)], 90.0);
        assert_eq!((of.before, of.after_another, of.next), (135.0, true, None));
        // One that is on at the same time is neither before nor after it.
        let of = window((140.0, 150.0), &[(130.0, 145.0)], 90.0);
        assert_eq!((of.before, of.after_another, of.next), (90.0, false, None));
    }

    #[test]
    fn it_stays_over_until_something_else_comes() {
        // The next fault, the end of the load, or that of its own time.
        assert_eq!(window((100.0, 120.0), &[(140.0, 150.0)], 90.0).stays, 140.0);
        assert_eq!(window((140.0, 150.0), &[(100.0, 120.0)], 90.0).stays, 200.0);
        assert_eq!(window((100.0, 120.0), &[], 90.0).stays, 180.0);
    }
}
