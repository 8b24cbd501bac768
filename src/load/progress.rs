//! Progress: seconds of several threads or workers, put together to samples.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::histograms::latency;
use super::plan::USERS_PHASE;
use super::recorder::Second;
use super::{Sample, Schedule};
use crate::scenario::{Load, Scenario};

/// Told once a second: how many seconds have gone by, and what happened in the last one.
pub(super) type Tell<'a> = &'a (dyn Fn(f64, Second) + Sync);

/// Puts the seconds of several parts of a load together, and tells of each once all have told theirs.
pub(super) struct Progress<'a> {
    parts: usize,
    seconds: BTreeMap<u64, (Second, usize)>,
    tell: Tell<'a>,
}

impl<'a> Progress<'a> {
    /// Of so many parts.
    pub(super) fn new(parts: usize, tell: Tell<'a>) -> Progress<'a> {
        Progress { parts, seconds: BTreeMap::new(), tell }
    }

    /// A part's second, by its number from 1.
    pub(super) fn add(&mut self, second: u64, what: &Second) {
        let (sum, parts) = self.seconds.entry(second).or_insert_with(|| (Second::default(), 0));
        sum.merge(what);
        *parts += 1;
        self.tell_of_whole_seconds();
    }

    /// A part will tell of nothing any more.
    pub(super) fn lose(&mut self) {
        self.parts = self.parts.saturating_sub(1);
        self.tell_of_whole_seconds();
    }

    fn tell_of_whole_seconds(&mut self) {
        while let Some(first) = self.seconds.first_entry()
            && first.get().1 >= self.parts
        {
            let (second, (sum, _)) = first.remove_entry();
            (self.tell)(second as f64, sum);
        }
    }

    /// The load ended after this time: tells of what not all parts had a share in.
    pub(super) fn finish(mut self, elapsed: Duration) {
        for (second, (sum, _)) in std::mem::take(&mut self.seconds) {
            if sum.sent + sum.answered + sum.errors > 0 || !sum.noted.is_empty() {
                (self.tell)((second as f64).min(elapsed.as_secs_f64()), sum);
            }
        }
    }
}

/// Makes samples of seconds: adds what was asked.
pub(super) struct Sampler {
    /// `None` in the closed model.
    schedule: Option<Arc<Schedule>>,
}

impl Sampler {
    /// Of a scenario's load.
    pub(super) fn new(scenario: &Scenario) -> Sampler {
        Sampler {
            schedule: match &scenario.load {
                Load::ArrivalRate(load) => Some(Arc::new(Schedule::new(scenario, load))),
                Load::Users(_) => None,
            },
        }
    }

    /// The schedule of an open model.
    pub(super) fn schedule(&self) -> Option<&Arc<Schedule>> {
        self.schedule.as_ref()
    }

    /// The sample of a second.
    pub(super) fn sample(&self, second: f64, what: Second) -> Sample {
        let middle = (second - 0.5).max(0.0);
        let phase = match &self.schedule {
            Some(schedule) => {
                schedule.phases().get(schedule.phase_at(middle)).map_or("", |phase| &phase.name)
            }
            None => USERS_PHASE,
        };
        let times = latency(&what.since_due);
        Sample {
            second,
            phase: phase.to_owned(),
            asked_rate: self.schedule.as_ref().map(|schedule| schedule.rate(middle)),
            sent: what.sent,
            answered: what.answered,
            errors: what.errors,
            in_flight: what.in_flight,
            p50: times.p50,
            p99: times.p99,
            whole: Some(Arc::new(what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_second_is_told_once_all_who_are_left_have_told_theirs() {
        let told = Mutex::new(Vec::new());
        let tell = |second: f64, what: Second| told.lock().expect("no panic").push((second, what.sent));
        let sent = |sent| Second { sent, ..Second::default() };
        let mut progress = Progress::new(2, &tell);
        progress.add(1, &sent(3));
        assert!(told.lock().expect("no panic").is_empty());
        progress.add(1, &sent(4));
        progress.add(2, &sent(5));
        progress.lose();
        progress.add(3, &sent(6));
        progress.finish(Duration::from_secs(3));
        assert_eq!(*told.lock().expect("no panic"), [(1.0, 7), (2.0, 5), (3.0, 6)]);
    }
}
