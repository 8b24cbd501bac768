//! What a check is given: what was asked, what was done, and whom to ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::alert::Fate;
use super::pace::{During, Told, doubt};
use super::reconcile::{AnsweredSecond, Baseline};
use super::{Outcome, Verdict};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::observe::{Labels, Prometheus, QueryResult, Series};
use crate::run::{EventKind, Events, FaultEvent, LoadFinished};
use crate::scenario::Scenario;
use crate::stack::Stack;
use crate::target::{Endpoints, PodChanges, TargetKind};

/// What a check is given. Times are in seconds since 1970 on Prometheus' clock.
#[derive(Clone, Copy)]
pub struct CheckContext<'a> {
    /// What was asked.
    pub scenario: &'a Scenario,
    /// What counts requests, and which rules belong to it.
    pub stack: &'a Stack,
    /// Names of the stack's alert rules.
    pub rules: &'a [String],
    /// By how many seconds the groups of these rules look back, by the stack's files.
    pub offsets: &'a IndexMap<String, f64>,
    /// When Prometheus started, each time that was seen.
    pub starts: &'a Mutex<Vec<f64>>,
    /// What Alertmanager did with the alerts that are asked about.
    pub fates: &'a Mutex<Vec<Fate>>,
    /// Where the stack runs.
    pub target: TargetKind,
    /// Where everything answers.
    pub endpoints: &'a Endpoints,
    /// The client of Prometheus, or why there is none.
    pub prometheus: &'a Result<Prometheus>,
    /// The counters before the load.
    pub baseline: Option<&'a Baseline>,
    /// The run's id, from which the ids of its requests follow.
    pub run: &'a str,
    /// The file with the requests that checks ask for one by one.
    pub noted: &'a std::path::Path,
    /// What the client knows.
    pub load: &'a LoadFinished,
    /// When the client got answers.
    pub answered: &'a [AnsweredSecond],
    /// Faults that were injected and undone.
    pub faults: &'a Faults,
    /// What became of the service's pods during the load.
    pub pods: &'a PodChanges,
    /// When the next run began, if one did: what came later is not this run's.
    pub horizon: Option<f64>,
    /// Where events go.
    pub events: &'a Events,
    /// Ctrl-C and SIGTERM.
    pub interrupt: &'a Interrupt,
    /// What Prometheus first told of its time since the checks began.
    pub first_told: &'a Mutex<Option<Told>>,
    /// Whether Prometheus was waited for in vain: the checks that follow do not wait for it again.
    pub in_vain: &'a AtomicBool,
}

/// Faults of a run, from its events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Those that were injected, in order.
    pub injected: Vec<FaultEvent>,
    /// Those that were undone, in order.
    pub healed: Vec<FaultEvent>,
}

impl<'a> CheckContext<'a> {
    /// The client of Prometheus.
    ///
    /// # Errors
    /// No data (exit 3) where the lab has none, or its credentials are missing.
    pub fn prometheus(&self) -> Result<&'a Prometheus> {
        self.prometheus.as_ref().map_err(Clone::clone)
    }

    /// Prometheus' time now, for all that is judged by it.
    ///
    /// # Errors
    /// No data (exit 3) where the lab has no Prometheus, or it does not answer; for good where its clock did not go as
    /// this machine's does: then what is judged by it would not be about the load, and a wait might not end.
    pub async fn time(&self) -> Result<f64> {
        let asked = Instant::now();
        let time = self.prometheus()?.time().await?;
        let now = Told { time, asked, answered: Instant::now() };
        let first = *self.first_told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        match doubt(&During::from(self.load), self.faults, &first, &now) {
            None => Ok(time),
            Some(why) => {
                Err(Error::no_data("Prometheus' clock cannot be relied on").because_of(why).lasting())
            }
        }
    }

    /// The outcome of what an expression gives now. Once the bound after the last answer is over, that of the first
    /// moment within it that passes: a verdict that is made late, or again, is about the same time.
    ///
    /// # Errors
    /// No data (exit 3) where the lab has no Prometheus, or it does not answer.
    pub async fn judge_answer(
        &self,
        expression: &str,
        bound: Duration,
        judge: impl Fn(&QueryResult) -> Outcome,
    ) -> Result<Outcome> {
        let prometheus = self.prometheus()?;
        let now = self.time().await?;
        let asked = Asked::at(now, self.load.prometheus_ended, bound.as_secs_f64(), self.horizon);
        let last = prometheus.query(expression, Some(asked.at)).await?;
        let outcome = judge(&last);
        let Some(from) = asked.from.filter(|_| outcome.verdict != Verdict::Pass) else {
            return Ok(outcome);
        };
        let expression = match last {
            QueryResult::Scalar(_) => format!("vector({expression}\n)"),
            QueryResult::Vector(_) => expression.to_owned(),
        };
        let before = prometheus.evaluations(&expression, from, asked.at, 1.0).await?;
        let mut earlier = instants(&before).map(|answer| judge(&answer));
        Ok(earlier.find(|outcome| outcome.verdict == Verdict::Pass).unwrap_or(outcome))
    }

    /// Tells that a check waits, and for what.
    ///
    /// # Errors
    /// Where the event log cannot be written.
    pub fn waiting(&self, name: &str, message: &str) -> Result<()> {
        let (name, message) = (name.to_owned(), message.to_owned());
        self.events.emit(EventKind::CheckWaiting { name, message })
    }

    /// How long answers that do not come are waited for: the bound, and some seconds in which Prometheus may
    /// come back.
    pub fn patience(&self, bound: Duration) -> Stopwatch {
        let bound = if self.is_in_vain() { Duration::ZERO } else { bound + Duration::from_secs(10) };
        Stopwatch { started: Instant::now(), bound, pause: FIRST_PAUSE }
    }

    /// Whether Prometheus was waited for in vain already.
    pub fn is_in_vain(&self) -> bool {
        self.in_vain.load(Ordering::Relaxed)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Bounds a wait on this machine's clock, and spaces its looks.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    started: Instant,
    bound: Duration,
    pause: Duration,
}

impl Stopwatch {
    /// Whether the bound is over.
    pub fn over(&self) -> bool {
        self.started.elapsed() > self.bound
    }

    /// Whether an error is the end of the wait: the bound is over, or asking again would give the same.
    pub fn gives_up(&self, error: &Error) -> bool {
        self.over() || error.is_lasting()
    }

    /// The pause before the next look; each is longer than the one before, up to a second.
    pub fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        pause
    }
}

/// When an expression is evaluated.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Asked {
    at: f64,
    /// From here on, too: the bound is over, and it may have held earlier.
    from: Option<f64>,
}

impl Asked {
    fn at(now: f64, ended: Option<f64>, bound: f64, horizon: Option<f64>) -> Asked {
        let end = ended.map_or(f64::MAX, |ended| ended + bound).min(horizon.unwrap_or(f64::MAX));
        Asked { at: now.min(end), from: ended.filter(|_| now > end) }
    }
}

/// What series gave at each time, as an instant query tells it.
fn instants(series: &[Series]) -> impl Iterator<Item = QueryResult> {
    let mut all: BTreeMap<i64, Vec<(Labels, f64)>> = BTreeMap::new();
    for series in series {
        for sample in &series.samples {
            let answer = all.entry((sample.time * 1000.0).round() as i64).or_default();
            answer.push((series.labels.clone(), sample.value));
        }
    }
    all.into_values().map(QueryResult::Vector)
}

/// The error where a lab has no endpoint of some kind.
pub fn missing(what: &str) -> Error {
    Error::no_data(format!("this lab has no {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Sample;

    #[test]
    fn once_the_bound_is_over_all_of_it_is_asked_for() {
        let asked = |now, horizon| Asked::at(now, Some(100.0), 30.0, horizon);
        assert_eq!(asked(110.0, None), Asked { at: 110.0, from: None });
        assert_eq!(asked(131.0, None), Asked { at: 130.0, from: Some(100.0) });
        // The next run began before the bound was over.
        assert_eq!(asked(5000.0, Some(120.0)), Asked { at: 120.0, from: Some(100.0) });
        assert_eq!(Asked::at(5000.0, None, 30.0, None), Asked { at: 5000.0, from: None });
    }

    #[test]
    fn series_are_told_time_by_time() {
        let series = |name: &str, samples: &[(f64, f64)]| Series {
            labels: Labels::from([("x".into(), name.into())]),
            samples: samples.iter().map(|(time, value)| Sample { time: *time, value: *value }).collect(),
        };
        let both = [series("a", &[(1.0, 5.0), (2.0, 6.0)]), series("b", &[(2.0, 7.0)])];
        let values = |answer: QueryResult| match answer {
            QueryResult::Vector(series) => series.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
            QueryResult::Scalar(_) => panic!("a number"),
        };
        assert_eq!(instants(&both).map(values).collect::<Vec<_>>(), [vec![5.0], vec![6.0, 7.0]]);
    }
}
