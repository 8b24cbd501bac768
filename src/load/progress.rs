//! Progress: seconds of several threads, put together to samples.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::histograms::latency;
use super::recorder::Second;
use super::{Sample, Schedule};

/// Puts the seconds of several threads together, and tells of each once all have told theirs.
pub(super) struct Progress<'a> {
    /// What is asked; `None` in the closed model.
    schedule: Option<Arc<Schedule>>,
    phase: String,
    parts: usize,
    seconds: BTreeMap<u64, (Second, usize)>,
    tell: &'a (dyn Fn(Sample) + Sync),
}

impl<'a> Progress<'a> {
    /// Of a schedule that so many threads send.
    pub(super) fn new(
        schedule: Arc<Schedule>,
        parts: usize,
        tell: &'a (dyn Fn(Sample) + Sync),
    ) -> Progress<'a> {
        Progress { schedule: Some(schedule), phase: String::new(), parts, seconds: BTreeMap::new(), tell }
    }

    /// Of one phase without a schedule.
    pub(super) fn unscheduled(phase: &str, tell: &'a (dyn Fn(Sample) + Sync)) -> Progress<'a> {
        Progress { schedule: None, phase: phase.into(), parts: 1, seconds: BTreeMap::new(), tell }
    }

    /// A thread's second, by its number from 1.
    pub(super) fn add(&mut self, second: u64, what: &Second) {
        let (sum, parts) = self.seconds.entry(second).or_insert_with(|| (Second::default(), 0));
        sum.merge(what);
        *parts += 1;
        if *parts == self.parts
            && let Some((sum, _)) = self.seconds.remove(&second)
        {
            self.tell(second as f64, &sum);
        }
    }

    /// The load ended after this time: tells of what not all threads had a part in.
    pub(super) fn finish(mut self, elapsed: Duration) {
        for (second, (sum, _)) in std::mem::take(&mut self.seconds) {
            if sum.sent + sum.answered + sum.errors > 0 {
                self.tell((second as f64).min(elapsed.as_secs_f64()), &sum);
            }
        }
    }

    fn tell(&self, second: f64, sum: &Second) {
        let middle = (second - 0.5).max(0.0);
        let phase = match &self.schedule {
            Some(schedule) => {
                schedule.phases().get(schedule.phase_at(middle)).map_or("", |phase| &phase.name)
            }
            None => &self.phase,
        };
        let times = latency(&sum.since_due);
        (self.tell)(Sample {
            second,
            phase: phase.to_owned(),
            asked_rate: self.schedule.as_ref().map(|schedule| schedule.rate(middle)),
            sent: sum.sent,
            answered: sum.answered,
            errors: sum.errors,
            in_flight: sum.in_flight,
            p50: times.p50,
            p99: times.p99,
        });
    }
}
