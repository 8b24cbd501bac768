//! The schedule: when each request is due and which one it is, whatever the server does.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mix::{Mix, unit};
use super::shape::{Curve, curves};
use crate::scenario::{ArrivalRate, Scenario, Spacing};

/// Rounding errors of sums such as 33.3/s for 30 s are smaller than this share of a request.
const ROUNDING: f64 = 1e-6;

/// Sets the gaps of Poisson arrivals apart from the choice of requests.
const GAPS: u64 = 0x6761_7073;

/// When every request of a load is due, and which one it is: a pure function of scenario and seed.
///
/// Request i is due when the integral of the rate reaches i. With Poisson spacing the integral is the
/// same at the end, and so is the number of requests; in between the gaps are exponential.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    segments: Vec<Segment>,
    phases: Vec<PhasePlan>,
    mix: Mix,
    asked: u64,
    seconds: f64,
    gaps: Option<Gaps>,
}

/// A stretch of time with one curve.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    /// Seconds from the load's start.
    start: f64,
    /// Requests due before it.
    before: f64,
    curve: Curve,
    length: f64,
}

/// A phase's place in the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct PhasePlan {
    /// Its name.
    pub name: String,
    /// Seconds from the load's start to its own.
    pub start: f64,
    /// Seconds that it lasts.
    pub seconds: f64,
    /// The number of its first request.
    pub first: u64,
    /// How many requests are due in it.
    pub asked: u64,
}

/// Exponential gaps, scaled so that the schedule's count comes out.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Gaps {
    seed: u64,
    scale: f64,
}

impl Gaps {
    fn gap(self, index: u64) -> f64 {
        -unit(self.seed ^ GAPS, index).ln()
    }
}

/// One request of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its number, from 0.
    pub index: u64,
    /// When it is due, from the load's start.
    pub due: Duration,
    /// The number of its phase.
    pub phase: usize,
    /// The number of its request among the scenario's.
    pub request: usize,
}

/// One worker's part of a schedule: all parts together are the whole, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// This worker's number, from 0.
    pub worker: u64,
    /// How many workers there are.
    pub workers: u64,
}

impl Share {
    /// The whole schedule.
    pub const ALL: Share = Share { worker: 0, workers: 1 };

    /// Splits this part further.
    pub fn split(self, part: u64, parts: u64) -> Share {
        Share { worker: self.worker + self.workers * part, workers: self.workers * parts }
    }

    /// How many of so many things that are shared out evenly are its own.
    pub fn of(self, number: u64) -> u64 {
        number / self.workers + u64::from(self.worker < number % self.workers)
    }

    /// Whether a request belongs to it: each round over the replicas does or does not as a whole.
    pub fn has(self, index: u64, replicas: u64) -> bool {
        index / replicas % self.workers == self.worker
    }

    /// How many requests with numbers below `end` belong to it.
    pub fn below(self, end: u64, replicas: u64) -> u64 {
        let cycle = replicas * self.workers;
        let rest = (end % cycle).saturating_sub(replicas * self.worker).min(replicas);
        end / cycle * replicas + rest
    }
}

impl Schedule {
    /// The schedule of an open model. Linear in the number of requests with Poisson spacing, else in that of phases.
    pub fn new(scenario: &Scenario, load: &ArrivalRate) -> Schedule {
        let mut segments = Vec::new();
        let mut phases = Vec::new();
        let (mut start, mut before) = (0.0, 0.0);
        for (number, phase) in load.phases.iter().enumerate() {
            phases.push(PhasePlan {
                name: phase.name.clone().unwrap_or_else(|| format!("phase-{}", number + 1)),
                start,
                seconds: phase.duration.as_secs_f64(),
                first: (before - ROUNDING).ceil().max(0.0) as u64,
                asked: 0,
            });
            for (curve, length) in curves(phase) {
                if length > 0.0 {
                    segments.push(Segment { start, before, curve, length });
                    start += length;
                    before += curve.count(length);
                }
            }
        }
        let asked = (before + ROUNDING).floor() as u64;
        let mix = Mix::new(scenario.requests.values().map(|request| request.weight), scenario.seed);
        let mut schedule = Schedule { segments, phases, mix, asked, seconds: start, gaps: None };
        if load.spacing == Spacing::Poisson {
            schedule.space_by_chance(scenario.seed, before);
        }
        let mut next = asked;
        for phase in schedule.phases.iter_mut().rev() {
            phase.first = phase.first.min(next);
            phase.asked = next - phase.first;
            next = phase.first;
        }
        schedule
    }

    /// The arrivals of a Poisson process of which it is known how many there are: sums of exponential
    /// gaps, scaled so that one more would lie at the schedule's end.
    fn space_by_chance(&mut self, seed: u64, total: f64) {
        let mut gaps = Gaps { seed, scale: 1.0 };
        let sum: f64 = (0..=self.asked).map(|index| gaps.gap(index)).sum();
        gaps.scale = total / sum;
        self.gaps = Some(gaps);
        let starts: Vec<f64> = self.phases.iter().map(|phase| self.count_until(phase.start)).collect();
        let (mut index, mut sum) = (0, 0.0);
        for (phase, start) in self.phases.iter_mut().zip(starts) {
            while index < self.asked {
                let next = sum + gaps.gap(index);
                if next * gaps.scale >= start {
                    break;
                }
                sum = next;
                index += 1;
            }
            phase.first = index;
        }
    }

    /// How many requests are due before a time, by the rates alone.
    fn count_until(&self, seconds: f64) -> f64 {
        let after = self.segments.partition_point(|segment| segment.start <= seconds);
        match self.segments[..after].last() {
            Some(segment) => {
                segment.before + segment.curve.count((seconds - segment.start).min(segment.length))
            }
            None => 0.0,
        }
    }

    /// When the integral of the rate reaches a count.
    fn time(&self, count: f64) -> Duration {
        let after = self.segments.partition_point(|segment| segment.before <= count + ROUNDING);
        let Some(segment) = self.segments[..after].last() else { return Duration::ZERO };
        let within = segment.curve.time(count - segment.before).min(segment.length);
        Duration::from_nanos(((segment.start + within) * 1e9).round() as u64)
    }

    /// The phase of a request, by its number.
    fn phase(&self, index: u64) -> usize {
        self.phases.partition_point(|phase| phase.first <= index).saturating_sub(1)
    }

    /// How many requests it asks for: the integral of the rate, rounded down.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// How long it lasts, in seconds.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Its phases, in their order.
    pub fn phases(&self) -> &[PhasePlan] {
        &self.phases
    }

    /// Requests a second that it asks for at a time, in seconds from the start; 0 outside.
    pub fn rate(&self, at: f64) -> f64 {
        let after = self.segments.partition_point(|segment| segment.start <= at);
        match self.segments[..after].last() {
            Some(segment) if at < segment.start + segment.length => segment.curve.rate(at - segment.start),
            _ => 0.0,
        }
    }

    /// The number of the phase at a time, in seconds from the start; the last one afterwards.
    pub fn phase_at(&self, at: f64) -> usize {
        self.phases.partition_point(|phase| phase.start <= at).saturating_sub(1)
    }
}

/// The requests of one part of a schedule to one replica, in their order.
///
/// Request i goes to replica i mod replicas; each round over the replicas belongs to one worker.
#[derive(Debug, Clone)]
pub struct Tickets {
    schedule: Arc<Schedule>,
    next: u64,
    step: u64,
    /// With Poisson spacing: how many gaps are added up, and their sum.
    summed: (u64, f64),
}

impl Tickets {
    /// The requests that a part sends to one of so many replicas.
    pub fn new(schedule: Arc<Schedule>, share: Share, replica: u64, replicas: u64) -> Tickets {
        Tickets {
            schedule,
            next: replicas * share.worker + replica,
            step: replicas * share.workers,
            summed: (0, 0.0),
        }
    }

    /// All requests.
    pub fn all(schedule: Arc<Schedule>) -> Tickets {
        Tickets::new(schedule, Share::ALL, 0, 1)
    }

    /// The number of the next request; `None` at the end.
    pub fn upcoming(&self) -> Option<u64> {
        (self.next < self.schedule.asked).then_some(self.next)
    }

    /// How many requests are left whose number is below `end`.
    pub fn below(&self, end: u64) -> u64 {
        end.min(self.schedule.asked).saturating_sub(self.next).div_ceil(self.step)
    }

    fn due(&mut self) -> Duration {
        let Some(gaps) = self.schedule.gaps else { return self.schedule.time(self.next as f64) };
        let (from, mut sum) = self.summed;
        for index in from..=self.next {
            sum += gaps.gap(index);
        }
        self.summed = (self.next + 1, sum);
        self.schedule.time(sum * gaps.scale)
    }

    /// Only when they are due, by their numbers: which they are is not chosen.
    pub(super) fn dues(mut self) -> impl Iterator<Item = (u64, Duration)> {
        std::iter::from_fn(move || self.next_due())
    }

    fn next_due(&mut self) -> Option<(u64, Duration)> {
        let index = self.upcoming()?;
        let due = self.due();
        self.next += self.step;
        Some((index, due))
    }
}

impl Iterator for Tickets {
    type Item = Ticket;

    fn next(&mut self) -> Option<Ticket> {
        let (index, due) = self.next_due()?;
        Some(Ticket {
            index,
            due,
            phase: self.schedule.phase(index),
            request: self.schedule.mix.choose(index),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::Load;

    fn schedule(load: serde_json::Value, seed: u64) -> Arc<Schedule> {
        let scenario: Scenario = serde_json::from_value(serde_json::json!({
            "name": "test", "seed": seed, "load": {"arrival-rate": load},
            "requests": {"a": {"path": "/a", "weight": 3}, "b": {"path": "/b"}},
        }))
        .expect("a scenario");
        let Load::ArrivalRate(load) = &scenario.load else { panic!("an arrival rate") };
        Arc::new(Schedule::new(&scenario, load))
    }

    fn phase() -> impl Strategy<Value = serde_json::Value> {
        (1u64..4_000, 0.0..300.0f64, prop::option::of(0.0..300.0f64), 0u32..5, prop::option::of(1u64..3_000))
            .prop_map(|(ms, rate, to, steps, period)| {
                let mut phase = serde_json::json!({"duration": format!("{ms}ms"), "rate": rate});
                if let Some(to) = to {
                    phase["to"] = to.into();
                    if steps > 0 {
                        phase["steps"] = steps.into();
                    } else if let Some(period) = period {
                        phase["period"] = format!("{period}ms").into();
                    }
                }
                phase
            })
    }

    fn load() -> impl Strategy<Value = serde_json::Value> {
        (prop::collection::vec(phase(), 1..4), prop::bool::ANY).prop_map(|(phases, poisson)| {
            serde_json::json!({"phases": phases, "spacing": if poisson { "poisson" } else { "even" }})
        })
    }

    proptest! {
        #[test]
        fn all_parts_are_the_whole_once(
            load in load(), seed: u64, workers in 1u64..6, lanes in 1u64..4, replicas in 1u64..5,
        ) {
            let schedule = schedule(load, seed);
            let whole: Vec<Ticket> = Tickets::all(schedule.clone()).collect();
            let mut parts = Vec::new();
            for worker in 0..workers {
                for lane in 0..lanes {
                    let share = Share { worker, workers }.split(lane, lanes);
                    for replica in 0..replicas {
                        let part = Tickets::new(schedule.clone(), share, replica, replicas);
                        for ticket in part {
                            prop_assert_eq!(ticket.index % replicas, replica);
                            parts.push(ticket);
                        }
                    }
                }
            }
            parts.sort_by_key(|ticket| ticket.index);
            prop_assert_eq!(parts, whole);
        }

        #[test]
        fn a_part_is_counted_without_walking_it(end in 0u64..500, workers in 1u64..6, worker in 0u64..6, replicas in 1u64..5) {
            let share = Share { worker: worker % workers, workers };
            let walked = (0..end).filter(|index| share.has(*index, replicas)).count() as u64;
            prop_assert_eq!(share.below(end, replicas), walked);
        }

        #[test]
        fn due_times_rise_and_stay_inside_their_phase(load in load(), seed: u64) {
            let schedule = schedule(load, seed);
            let tickets: Vec<Ticket> = Tickets::all(schedule.clone()).collect();
            prop_assert_eq!(tickets.len() as u64, schedule.asked());
            prop_assert!(tickets.windows(2).all(|pair| pair[0].due <= pair[1].due));
            prop_assert_eq!(schedule.phases().iter().map(|phase| phase.asked).sum::<u64>(), schedule.asked());
            for ticket in tickets {
                let phase = &schedule.phases()[ticket.phase];
                let due = ticket.due.as_secs_f64();
                prop_assert!(due >= phase.start - 1e-6 && due <= phase.start + phase.seconds + 1e-6, "{:?} in {:?}", ticket, phase);
            }
        }

        #[test]
        fn the_rest_is_counted_without_walking_it(load in load(), workers in 1u64..5, replicas in 1u64..4, end in 0u64..2_000) {
            let schedule = schedule(load, 1);
            let part = Tickets::new(schedule, Share { worker: 0, workers }, 0, replicas);
            let walked = part.clone().filter(|ticket| ticket.index < end).count() as u64;
            prop_assert_eq!(part.below(end), walked);
        }
    }

    #[test]
    fn a_constant_rate_has_no_drift() {
        let schedule = schedule(serde_json::json!({"phases": [{"duration": "1h", "rate": "1000/m"}]}), 1);
        assert_eq!(schedule.asked(), 60_000);
        let last = Tickets::all(schedule).last().expect("tickets");
        assert_eq!(last.due, Duration::from_millis(59_999 * 60));
    }

    #[test]
    fn a_pause_between_phases_is_kept() {
        let phases = serde_json::json!({"phases": [
            {"name": "before", "duration": "1s", "rate": 10},
            {"name": "pause", "duration": "5s", "rate": 0},
            {"name": "after", "duration": "1s", "rate": 10},
        ]});
        let schedule = schedule(phases, 1);
        let asked: Vec<u64> = schedule.phases().iter().map(|phase| phase.asked).collect();
        assert_eq!(asked, [10, 0, 10]);
        let eleventh = Tickets::all(schedule).nth(10).expect("a ticket");
        assert_eq!((eleventh.due, eleventh.phase), (Duration::from_secs(6), 2));
    }

    #[test]
    fn poisson_gaps_spread_as_exponential_ones_do() {
        let load = serde_json::json!({"phases": [{"duration": "100s", "rate": 100}], "spacing": "poisson"});
        let due: Vec<f64> = Tickets::all(schedule(load, 42)).map(|ticket| ticket.due.as_secs_f64()).collect();
        assert_eq!(due.len(), 10_000);
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean - 0.01).abs() < 0.000_2, "{mean}");
        assert!(
            (deviation / mean - 1.0).abs() < 0.05,
            "an exponential's deviation is its mean: {}",
            deviation / mean
        );
    }
}
