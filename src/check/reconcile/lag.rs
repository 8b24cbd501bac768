//! How far counters are behind what they count, as far as their rises tell it. Pure.
//!
//! Metrics that are exported once a minute and scraped each second stand still for a minute. What was counted before
//! the load may then show only in it, and what was counted in the load only long after it.

use super::history::{SAME_TIME, TargetCount, TargetHistory};

/// A stretch of time on Prometheus' clock in which the client certainly got an answer that had to be counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnsweredSecond {
    /// Not before.
    pub from: f64,
    /// Not after.
    pub to: f64,
}

/// What rises tell of the lag.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Lag {
    /// By so many seconds counters were behind at least: answers that no scrape showed for so long, before one did.
    pub behind: f64,
    /// For so many seconds no scrape has shown an answer, and none did later: it was lost, or is still to come.
    pub open: f64,
    /// The last scrape in which any counter rose.
    pub last_rise: Option<f64>,
    /// The shortest time between two scrapes in which counters of one target rose: they are not exported less often.
    pub apart: Option<f64>,
}

/// Measures the lag. `ended` is the time after the last answer; `unknown` requests may have been handled long after the
/// client gave them up.
pub(super) fn measure(
    targets: &[(&TargetHistory, f64)],
    counts: &[TargetCount],
    answered: &[AnsweredSecond],
    ended: f64,
    unknown: u64,
) -> Lag {
    let mut rises: Vec<f64> =
        counts.iter().flat_map(|count| count.steps.iter().map(|(time, _)| *time)).collect();
    rises.sort_by(f64::total_cmp);
    let mut lag = Lag { last_rise: rises.last().copied(), apart: apart(counts), ..Lag::default() };
    if late(targets, counts, ended) > unknown as f64 {
        lag.behind = lag.last_rise.map_or(0.0, |last| last - ended);
    }
    // Samples with times of their own do not tell when they could be seen.
    let stamped = |history: &TargetHistory| history.series.iter().any(|series| history.has_own_times(series));
    if targets.iter().any(|(history, _)| stamped(history)) {
        return lag;
    }
    let until = targets.iter().map(|(_, end)| *end).fold(0.0, f64::max);
    for second in answered {
        let shown_in_it = rises.iter().any(|time| (second.from..=second.to).contains(time));
        let further = rises.iter().find(|time| **time > second.to).copied();
        let next = further.unwrap_or(until + 2.0 * SAME_TIME);
        let still = targets.iter().map(|(history, end)| {
            history.scrapes_after(second.to).filter(|time| *time < next - SAME_TIME && *time <= *end).count()
        });
        // The next scrape of every target had to show it.
        if !shown_in_it && still.min().is_some_and(|still| still > 0) {
            let behind = if further.is_some() { &mut lag.behind } else { &mut lag.open };
            *behind = behind.max(next - second.to);
        }
    }
    lag
}

/// The shortest time between two rises of one target.
fn apart(counts: &[TargetCount]) -> Option<f64> {
    let of_target =
        |count: &TargetCount| count.steps.windows(2).map(|pair| pair[1].0 - pair[0].0).reduce(f64::min);
    counts.iter().filter_map(of_target).reduce(f64::min)
}

/// How far counters rose later than the second scrape of their target after the last answer.
fn late(targets: &[(&TargetHistory, f64)], counts: &[TargetCount], ended: f64) -> f64 {
    let of_target = |((history, _), count): (&(&TargetHistory, f64), &TargetCount)| {
        let second = history.scrapes_after(ended).nth(1).unwrap_or(f64::MAX);
        count.steps.iter().filter(|(time, _)| *time > second + SAME_TIME).map(|(_, by)| by).sum::<f64>()
    };
    targets.iter().zip(counts).map(of_target).sum()
}

/// Seconds between two exports that are to be expected: exporters of OpenTelemetry send once a minute.
pub(super) const USUAL_EXPORT: f64 = 60.0;

/// A bound that such a lag fits into, with room for one interval more: `90s` for a minute. It is more than the usual
/// 30 s: a `wait` of no more than that names no lag.
pub(super) fn enough(behind: f64) -> String {
    let seconds = (behind.max(21.0) * 1.5 / 30.0).ceil() * 30.0;
    format!("{seconds:.0}s")
}
