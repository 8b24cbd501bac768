//! Asks Loki for the lines of a run's requests until all are there or the bound ends.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::comparison::{Comparison, RequestLine};
use super::judge::{Case, Surroundings};
use super::question::Question;
use super::surroundings::surroundings;
use crate::check::context::CheckContext;
use crate::check::wait::pause;
use crate::check::{Group, Kind, Outcome};
use crate::error::{Error, Result};
use crate::figures::{count, duration, plural};
use crate::load::{Fate, NotedRequest, request_id_prefix};
use crate::observe::Loki;
use crate::run::read_noted;
use crate::scenario::LogsCheck;
use crate::stack::LogLines;

/// What must hold, as a sentence.
pub(in crate::check) fn name(asked: &LogsCheck) -> String {
    match asked.status.is_of_errors() {
        true => "every error is logged".into(),
        false => format!("every answer with {} is logged", asked.status),
    }
}

/// Lines that are all there must be there still, and no further ones, when this has passed.
const SETTLE: Duration = Duration::from_secs(1);

/// Seconds after the bound in which a late line is told from a lost one.
const GRACE: f64 = 15.0;

/// A Loki that does not answer is waited for so long at least, in seconds.
const PATIENCE: f64 = 10.0;

/// Nanoseconds around a run in which its lines are looked for: ten minutes. The clocks of services may differ.
const MARGIN: i64 = 600 * 1_000_000_000;

/// Nanoseconds after a run in which a line may have its time: an hour.
const AFTER: i64 = 3600 * 1_000_000_000;

/// Holds the requests that the load noted against Loki's lines.
///
/// # Errors
/// Interrupted (130, 143). Whatever Loki cannot tell is a verdict, not an error.
pub async fn check(context: &CheckContext<'_>, asked: &LogsCheck) -> Result<Outcome> {
    let prepared = match prepare(context, asked) {
        Ok(prepared) => prepared,
        Err(error) => return Ok(no_data(asked, &error)),
    };
    prepared.watch(context, asked).await
}

/// What is looked for, and where.
struct Prepared<'a> {
    lines: &'a LogLines,
    loki: Loki,
    requests: Vec<NotedRequest>,
    prefix: String,
}

fn prepare<'a>(context: &CheckContext<'a>, asked: &LogsCheck) -> Result<Prepared<'a>> {
    let summary = &context.load.summary;
    if !summary.lost.is_empty() {
        return Err(Error::no_data("A worker was lost, and nobody knows what it sent."));
    }
    if let Some(moved) = context.load.clock_moved.filter(|moved| moved.abs() * 1e9 >= MARGIN as f64) {
        return Err(Error::no_data(format!(
            "A clock was set by {} during the load: what lines bear does not tell that they are of it.",
            duration(moved.abs())
        )));
    }
    let lines = context.stack.logs.as_ref().ok_or_else(|| {
        Error::no_data("The stack does not say how its log lines are found.")
            .hint("`logs` in the stack file, with a `selector` of Loki's streams.")
    })?;
    let endpoint = context.endpoints.loki.as_ref().ok_or_else(|| {
        Error::no_data("Nothing keeps the log lines of this lab.")
            .hint("`sre up --set logs=true` has it kept; on the target external, name your Loki by `loki`.")
    })?;
    let loki = Loki::new(endpoint)?.once_only();
    let mut requests = read_noted(context.noted)?;
    requests.retain(|request| request.status.is_none_or(|status| asked.status.allows(status)));
    let noted = requests.len() as u64;
    let ended = ended_so(context, asked);
    if noted != ended {
        return Err(Error::no_data(format!(
            "{} to be looked for, but {} noted one by one.",
            plural(ended, "request has", "requests have"),
            plural(noted, "was", "were")
        )));
    }
    if requests.iter().all(|request| request.status.is_none()) {
        return Err(Error::no_data(format!(
            "No request was answered with {}: no line had to be written.",
            asked.status
        )));
    }
    let prefix = request_id_prefix(context.scenario.seed, context.run);
    Ok(Prepared { lines, loki, requests, prefix })
}

/// How many requests ended so that they must have been noted, by the load's own counts.
fn ended_so(context: &CheckContext<'_>, asked: &LogsCheck) -> u64 {
    let requests = &context.scenario.requests;
    let logged = |name: &String| requests.get(name).is_some_and(crate::scenario::Request::is_logged);
    let tallies = context.load.summary.tallies.iter().filter(|tally| logged(&tally.request));
    tallies
        .filter(|tally| match tally.fate {
            Fate::Answered(status) => asked.status.allows(status),
            Fate::Unknown(_) => true,
            Fate::NotSent(_) => false,
        })
        .map(|tally| tally.count)
        .sum()
}

fn no_data(asked: &LogsCheck, error: &Error) -> Outcome {
    let hint =
        error.next_step().unwrap_or("Does the log store run, and do lines reach it? `sre status` tells.");
    let mut outcome = Outcome::no_data(Kind::Logs, Group::Logs, name(asked)).noted(error.what()).hinted(hint);
    outcome.notes.extend(error.causes().iter().cloned());
    outcome
}

impl Prepared<'_> {
    async fn watch(&self, context: &CheckContext<'_>, asked: &LogsCheck) -> Result<Outcome> {
        let bound = asked.wait.as_secs_f64();
        let question = Question { lines: self.lines, prefix: &self.prefix, status: &asked.status };
        let (logql, name) = (question.logql(), name(asked));
        let clock = Clock::new(context);
        let started = Instant::now();
        let mut stopwatch = context.patience(Duration::ZERO);
        let mut first = None;
        let mut overdue: Option<HashSet<String>> = None;
        let mut complete: Option<(Instant, usize)> = None;
        loop {
            let at = clock.since_end();
            let (from, to) = clock.window();
            let message = match context.interrupt.or(self.loki.lines(&logql, from, to)).await? {
                Err(error) => {
                    if at > bound && started.elapsed().as_secs_f64() > PATIENCE {
                        return Ok(no_data(asked, &error));
                    }
                    format!("waiting for the log store: {}", error.what())
                }
                Ok(lines) => {
                    let first = *first.get_or_insert(at);
                    let lines: Vec<RequestLine> =
                        lines.into_iter().filter_map(|line| question.read(line)).collect();
                    let comparison = Comparison::new(&self.requests, &lines);
                    let missing = &comparison.missing;
                    if at > bound && overdue.is_none() {
                        overdue = Some(missing.iter().map(|request| request.id.clone()).collect());
                    }
                    let settled = missing.is_empty() && self.is_settled(&mut complete, lines.len());
                    if settled || (!missing.is_empty() && at > bound + GRACE) {
                        let surroundings = match settled && !comparison.is_wrong() {
                            true => Surroundings::default(),
                            false => {
                                let nothing = comparison.lines == 0;
                                let asking = surroundings(context, self.lines, &self.loki, nothing, now());
                                context.interrupt.or(asking).await?
                            }
                        };
                        let case = Case {
                            name,
                            overdue: overdue.unwrap_or_default(),
                            bound,
                            looked: (first, at),
                            replicas: context.endpoints.replicas.iter().map(|r| r.name.clone()).collect(),
                            behind_one: behind_one(context),
                            comparison,
                            surroundings,
                        };
                        return Ok(case.judge());
                    }
                    if !missing.is_empty() {
                        complete = None;
                    }
                    format!(
                        "{} of {} lines are in the log store ({} left)",
                        count(comparison.logged() as u64),
                        count(comparison.due.len() as u64),
                        duration((bound - at).max(0.0))
                    )
                }
            };
            context.waiting(&name, &message)?;
            pause(context.interrupt, stopwatch.next()).await?;
        }
    }

    /// Whether as many lines were all there a while ago.
    fn is_settled(&self, complete: &mut Option<(Instant, usize)>, lines: usize) -> bool {
        match complete {
            Some((since, then)) if *then == lines => since.elapsed() >= SETTLE,
            _ => {
                *complete = Some((Instant::now(), lines));
                false
            }
        }
    }
}

/// How many replicas stand behind one address.
fn behind_one(context: &CheckContext<'_>) -> Option<usize> {
    let replicas = context.endpoints.replica_count();
    (replicas > context.endpoints.replicas.len()).then_some(replicas)
}

/// This machine's clock, on which the load began and ended.
struct Clock {
    started: Timestamp,
    ended: Timestamp,
    /// Since the last answer when the check began; from then on the clock that is never set goes on.
    before: f64,
    began: Instant,
}

impl Clock {
    fn new(context: &CheckContext<'_>) -> Clock {
        let summary = &context.load.summary;
        let lasted = Duration::try_from_secs_f64(summary.seconds).unwrap_or_default();
        let ended = summary.started.checked_add(lasted).unwrap_or(summary.started);
        Clock::at(summary.started, ended, Timestamp::now())
    }

    fn at(started: Timestamp, ended: Timestamp, now: Timestamp) -> Clock {
        let before = now.duration_since(ended).as_secs_f64().max(0.0);
        Clock { started, ended, before, began: Instant::now() }
    }

    /// Seconds since the last answer.
    fn since_end(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    /// The times, in nanoseconds, between which the run's lines are looked for.
    fn window(&self) -> (i64, i64) {
        let until = now().min(nanoseconds(self.ended).saturating_add(AFTER));
        (nanoseconds(self.started) - MARGIN, until + MARGIN)
    }
}

fn now() -> i64 {
    nanoseconds(Timestamp::now())
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX - MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_is_not_waited_for() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let at = |now: &str| {
            let clock = Clock::at(time("2026-11-28T12:00:00Z"), time("2026-11-28T12:01:00Z"), time(now));
            clock.since_end()
        };
        assert!((10.0..60.0).contains(&at("2026-11-28T12:01:10Z")));
        assert!(
            (0.0..60.0).contains(&at("2026-11-28T11:00:00Z")),
            "an hour would pass before the bound ends"
        );
    }
}
