//! The generator watches itself: which requests left late, and whose doing that was.
//!
//! A request leaves late when it is written more than `LATE` after it was due. Whose doing it was:
//! - a connection was free, and still it left late: this process was too slow;
//! - all connections that it may have were waiting for answers: the bound was reached, and the rate
//!   asked was not put on the server;
//! - connections were being made, or could not be: the server's doing, and no overload.
//!
//! Time since due counts all of them, so a stalled server is seen in the figures whatever the cause.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Overload;
use crate::figures::count;
use crate::scenario::{Metric, Threshold};

/// A request that is written later than this after it was due left late.
pub(super) const LATE: Duration = Duration::from_millis(100);

/// So many late requests in a phase are nobody's fault: a machine that sleeps for a moment.
const FORGIVEN: u64 = 5;

/// The share of requests that may leave late before the rate itself is not what was asked for.
const RATE_KEPT: f64 = 0.01;

/// The share of requests that may leave late by this process' own doing. They are in the times since due,
/// and nowhere else: a limit on p95 means something as long as fewer than one in twenty are late, and where no
/// time is judged, none of them hides anything.
pub(super) fn tolerated(thresholds: &[Threshold]) -> f64 {
    thresholds
        .iter()
        .filter_map(|threshold| match threshold.metric {
            Metric::Percentile(percentile) => Some((100.0 - percentile) / 100.0),
            Metric::Mean => Some(RATE_KEPT),
            Metric::Max => Some(0.0),
            Metric::ErrorRate | Metric::Rate => None,
        })
        .fold(1.0, f64::min)
}

/// Requests of one phase that did not leave when they were due.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lateness {
    /// Left late although a connection was free.
    pub slow: u64,
    /// Left late because all connections waited for answers.
    pub bound: u64,
    /// Never left because all connections waited for answers.
    pub never_bound: u64,
    /// Never left because this machine gave no further connection: open files, ports.
    pub never_limit: u64,
}

impl Lateness {
    /// Adds another part's.
    pub(super) fn merge(&mut self, other: &Lateness) {
        self.slow += other.slow;
        self.bound += other.bound;
        self.never_bound += other.never_bound;
        self.never_limit += other.never_limit;
    }

    fn late(&self) -> u64 {
        self.slow + self.bound
    }

    fn never(&self) -> u64 {
        self.never_bound + self.never_limit
    }

    /// Whether a phase that asked for so many requests did not get its rate, or has times that mean nothing.
    fn is_overload(&self, asked: u64, tolerated: f64) -> bool {
        let beyond = |late: u64, share: f64| late > FORGIVEN && late as f64 > asked as f64 * share;
        self.never() > 0 || beyond(self.bound, RATE_KEPT) || beyond(self.late(), tolerated)
    }
}

/// What the generator saw of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Observed {
    /// Requests asked for, and those that did not leave when they were due; by phase.
    pub phases: Vec<(u64, Lateness)>,
    /// The share of requests that may leave late by this process' own doing.
    pub tolerated: f64,
    /// Requests that left.
    pub left: u64,
    /// Seconds from the start until the last one left, or the schedule's where that is longer.
    pub seconds: f64,
    /// Connections that it might have.
    pub connections: usize,
    /// Cores that this process used, on average.
    pub cores_used: f64,
    /// Cores that there are.
    pub cores: usize,
    /// What the system said where it gave no further connection: `Too many open files`.
    pub limit: Option<String>,
    /// Processes that sent.
    pub processes: usize,
}

impl Observed {
    /// Adds what another worker on the same machine saw of itself in the same load.
    pub(super) fn merge(&mut self, other: &Observed) {
        for ((asked, lateness), (more, other)) in self.phases.iter_mut().zip(&other.phases) {
            *asked += more;
            lateness.merge(other);
        }
        self.left += other.left;
        self.seconds = self.seconds.max(other.seconds);
        self.connections += other.connections;
        self.cores_used += other.cores_used;
        self.cores = self.cores.max(other.cores);
        if self.limit.is_none() {
            self.limit.clone_from(&other.limit);
        }
        self.processes += other.processes;
    }
}

/// Whether the rate asked was not sent, and why: one request of a phase never left, more than one in a hundred
/// waited for a connection, or more left late by the generator's own doing than the judged times bear.
pub(super) fn overload(observed: &Observed) -> Option<Overload> {
    observed.phases.iter().find(|(asked, lateness)| lateness.is_overload(*asked, observed.tolerated))?;
    let mut all = Lateness::default();
    observed.phases.iter().for_each(|(_, lateness)| all.merge(lateness));
    let asked = count(observed.phases.iter().map(|(asked, _)| asked).sum());
    let mut reasons = Vec::new();
    if all.never_limit > 0 {
        let limit = observed.limit.as_deref().unwrap_or("this machine gave no further connection");
        reasons.push(format!("{} of {asked} requests never left: {limit}", count(all.never_limit)));
    }
    if all.bound + all.never_bound > 0 {
        let never = match all.never_bound {
            0 => String::new(),
            never => format!(" and {} never left", count(never)),
        };
        let connections = match observed.connections {
            1 => "the one connection was".into(),
            number => format!("all {} connections were", count(number as u64)),
        };
        reasons.push(format!(
            "{connections} waiting for answers: {} of {asked} requests left more than {} ms late{never}",
            count(all.bound),
            LATE.as_millis(),
        ));
    }
    if all.slow > 0 {
        reasons.push(format!(
            "{} of {asked} requests left more than {} ms late",
            count(all.slow),
            LATE.as_millis()
        ));
    }
    let who = match observed.processes {
        1 => "this process".into(),
        workers => format!("{workers} workers"),
    };
    reasons.push(format!("{who} used {:.1} of {} cores", observed.cores_used, observed.cores));
    Some(Overload {
        reason: reasons.join("; "),
        late: all.late(),
        never: all.never(),
        reached: if observed.seconds > 0.0 { observed.left as f64 / observed.seconds } else { 0.0 },
    })
}

/// Processor time that this process has used so far.
pub(super) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Lets this process open as many files as the system lets it: each connection is one.
pub(super) fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where this is refused the lower limit stands, and is named if it is reached.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(phases: Vec<(u64, Lateness)>) -> Observed {
        Observed {
            phases,
            tolerated: RATE_KEPT,
            left: 11_000,
            seconds: 60.0,
            connections: 256,
            cores_used: 1.94,
            cores: 2,
            limit: None,
            processes: 1,
        }
    }

    #[test]
    fn one_in_a_hundred_may_be_late() {
        let late = |slow| overload(&observed(vec![(12_000, Lateness { slow, ..Lateness::default() })]));
        assert_eq!(late(120), None);
        let overload = late(1_204).expect("an overload");
        assert_eq!(
            overload.reason,
            "1,204 of 12,000 requests left more than 100 ms late; this process used 1.9 of 2 cores"
        );
        assert_eq!((overload.late, overload.never), (1_204, 0));
        assert!((overload.reached - 183.3).abs() < 0.1);
    }

    #[test]
    fn late_requests_matter_as_far_as_times_are_judged() {
        let tolerated = |texts: &[&str]| {
            let thresholds: Vec<Threshold> =
                texts.iter().map(|text| text.parse().expect("a threshold")).collect();
            super::tolerated(&thresholds)
        };
        assert_eq!(tolerated(&[]), 1.0);
        assert_eq!(tolerated(&["error rate < 5%"]), 1.0);
        assert!((tolerated(&["p50 < 1s", "p95 < 1s"]) - 0.05).abs() < 1e-9);
        assert_eq!(tolerated(&["max < 1s"]), 0.0);
        let late = |slow, tolerated| {
            let phases = vec![(1_000, Lateness { slow, ..Lateness::default() })];
            overload(&Observed { tolerated, ..observed(phases) }).is_some()
        };
        assert!(late(60, 0.05) && !late(40, 0.05) && !late(1_000, 1.0));
    }

    #[test]
    fn a_short_phase_is_not_hidden_by_a_long_one() {
        let spike = Lateness { slow: 90, ..Lateness::default() };
        assert!(overload(&observed(vec![(50_000, Lateness::default()), (100, spike)])).is_some());
    }

    #[test]
    fn workers_are_judged_together() {
        let one = || observed(vec![(100, Lateness { slow: 4, ..Lateness::default() })]);
        assert_eq!(overload(&one()), None);
        let mut all = one();
        (0..3).for_each(|_| all.merge(&one()));
        let overload = overload(&all).expect("16 of 400 are too many");
        assert_eq!(
            overload.reason,
            "16 of 400 requests left more than 100 ms late; 4 workers used 7.8 of 2 cores"
        );
    }

    #[test]
    fn a_hiccup_in_a_tiny_load_is_no_overload() {
        assert_eq!(overload(&observed(vec![(20, Lateness { slow: 5, ..Lateness::default() })])), None);
    }

    #[test]
    fn the_bound_on_connections_is_a_reason_of_its_own() {
        let overload = overload(&observed(vec![(
            12_000,
            Lateness { bound: 900, never_bound: 30, ..Lateness::default() },
        )]))
        .expect("an overload");
        assert!(
            overload.reason.starts_with(
                "all 256 connections were waiting for answers: 900 of 12,000 requests left more than 100 ms late and 30 never left"
            ),
            "{}",
            overload.reason
        );
        assert_eq!(overload.never, 30);
    }

    #[test]
    fn the_machine_s_limits_are_named() {
        let mut observed = observed(vec![(12_000, Lateness { never_limit: 1, ..Lateness::default() })]);
        observed.limit = Some("Too many open files (os error 24)".into());
        let overload = overload(&observed).expect("an overload");
        assert!(
            overload.reason.starts_with("1 of 12,000 requests never left: Too many open files"),
            "{}",
            overload.reason
        );
    }
}
