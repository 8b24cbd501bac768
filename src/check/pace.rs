//! Whether Prometheus' clock went as this machine's does: on it stand the windows of all that is judged. Pure.

use std::time::Instant;

use super::context::Faults;
use crate::figures::duration;
use crate::run::{FaultEvent, LoadFinished};

/// A clock that moved by less is no matter of concern: scrapes are compared with Prometheus' own time.
pub const CLOCK_MOVED: f64 = 2.0;

/// Prometheus' time, as it was told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// In seconds since 1970.
    pub time: f64,
    /// When it was asked, on the clock of this machine that nobody sets.
    pub asked: Instant,
    /// When it answered.
    pub answered: Instant,
}

impl Told {
    /// Seconds by which Prometheus' clock went further than this machine's since an earlier answer, at the least; less than
    /// nothing where it went less far. An answer may be of any moment between the question and its coming.
    pub fn moved_since(&self, earlier: &Told) -> f64 {
        let went = self.time - earlier.time;
        let most = self.answered.saturating_duration_since(earlier.asked).as_secs_f64();
        let least = self.asked.saturating_duration_since(earlier.answered).as_secs_f64();
        if went > most { went - most } else { (went - least).min(0.0) }
    }
}

/// The load on Prometheus' clock, as far as that told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct During {
    /// Its start.
    pub started: Option<f64>,
    /// Its end.
    pub ended: Option<f64>,
    /// Seconds by which the clock moved meanwhile against this machine's.
    pub moved: Option<f64>,
}

impl From<&LoadFinished> for During {
    fn from(load: &LoadFinished) -> During {
        During { started: load.prometheus_started, ended: load.prometheus_ended, moved: load.clock_moved }
    }
}

/// Why what is judged now by Prometheus' clock is not about the load, in a sentence; `first` is what it told when the
/// checks began.
pub fn doubt(load: &During, faults: &Faults, first: &Told, now: &Told) -> Option<String> {
    let far = |seconds: &f64| seconds.abs() > CLOCK_MOVED;
    if let Some(seconds) = load.moved.filter(far) {
        return Some(format!(
            "it moved by {} against this machine's during the load",
            duration(seconds.abs())
        ));
    }
    if let Some(fault) = outside(load, faults) {
        return Some(format!("by it {fault} was not during the load"));
    }
    if let Some(ended) = load.ended.filter(|ended| now.time < ended - CLOCK_MOVED) {
        return Some(format!("by it the load ends in {}", duration(ended - now.time)));
    }
    let seconds = now.moved_since(first);
    far(&seconds).then(|| {
        format!("it moved by {} against this machine's while this was looked for", duration(seconds.abs()))
    })
}

/// A fault that was, by Prometheus' clock, before or after the load, or undone before it was injected.
fn outside<'a>(load: &During, faults: &'a Faults) -> Option<&'a str> {
    let started = load.started.map_or(f64::MIN, |time| time - CLOCK_MOVED);
    let ended = load.ended.map_or(f64::MAX, |time| time + CLOCK_MOVED);
    let at = |of: &FaultEvent| of.prometheus_time.is_some_and(|time| time < started || time > ended);
    let injected = |of: &FaultEvent| faults.injected.iter().find(|one| one.id == of.id)?.prometheus_time;
    let backwards = |of: &FaultEvent| {
        injected(of).zip(of.prometheus_time).is_some_and(|(from, to)| to < from - CLOCK_MOVED)
    };
    let healed = faults.healed.iter().filter(|fault| at(fault) || backwards(fault));
    let fault = faults.injected.iter().filter(|fault| at(fault)).chain(healed).next()?;
    Some(&fault.description)
}
