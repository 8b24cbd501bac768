//! Whether a log's events fit each other: each is readable, and still they may tell what cannot have been. Pure.

use super::folder::is_id;
use super::{Event, EventKind};
use crate::load::MOST_COUNTED;

/// The last second of the year 9999: no clock of Prometheus is later.
const LAST: f64 = 253_402_300_799.0;

/// What a log has told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Replicas of the run; `None` before it has started.
    replicas: Option<usize>,
    baseline: bool,
    /// What the load was to send; `None` before it has begun.
    asked: Option<Option<u64>>,
    ended: bool,
}

impl Told {
    /// Takes the next event.
    ///
    /// # Errors
    /// What does not fit, as half a sentence.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), String> {
        match &event.kind {
            EventKind::RunStarted(run) => {
                if !is_id(&run.run) {
                    return Err(format!("`{}` is no run's name", run.run.escape_debug()));
                }
                let replicas = run.replicas.max(run.endpoints.replicas.len());
                once("run", self.replicas.replace(replicas).is_some())
            }
            EventKind::BaselineTaken(baseline) => {
                let scraped = baseline.targets.iter().map(|target| target.scraped);
                times(scraped.chain([baseline.at, baseline.settled]).chain(baseline.round))?;
                once("baseline", std::mem::replace(&mut self.baseline, true))
            }
            EventKind::LoadStarted(plan) => once("load", self.asked.replace(plan.asked).is_some()),
            EventKind::LoadProgress(sample) => {
                let counts = [sample.sent, sample.answered, sample.errors, sample.in_flight];
                match counts.into_iter().find(|count| *count > MOST_COUNTED) {
                    Some(count) => Err(format!("{count} requests in one second")),
                    None => times([sample.second, sample.p50, sample.p99]),
                }
            }
            EventKind::LoadFinished(load) => {
                times(load.prometheus_started.into_iter().chain(load.prometheus_ended))?;
                load.summary.consistent(self.replicas.unwrap_or_default())?;
                match self.asked {
                    Some(asked) if asked != load.summary.asked => {
                        return Err(
                            "the load's plan and its end tell of different numbers of requests".into()
                        );
                    }
                    _ => {}
                }
                once("end of the load", std::mem::replace(&mut self.ended, true))
            }
            EventKind::FaultInjected(fault) | EventKind::FaultHealed(fault) => times(fault.prometheus_time),
            EventKind::PrometheusStarted { at } => times([*at]),
            _ => Ok(()),
        }
    }
}

fn once(what: &str, again: bool) -> Result<(), String> {
    match again {
        false => Ok(()),
        true => Err(format!("it tells of a second {what}")),
    }
}

fn times(all: impl IntoIterator<Item = f64>) -> Result<(), String> {
    match all.into_iter().find(|time| !(0.0..=LAST).contains(time)) {
        None => Ok(()),
        Some(time) => Err(format!("{time} is no time")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::run::Log;

    fn log(events: &[Value]) -> Log {
        let lines = events.iter().map(|event| {
            let mut event = event.clone();
            event["time"] = json!("2026-11-21T06:40:12Z");
            event.to_string() + "\n"
        });
        Log::parse(lines.collect::<String>().as_bytes())
    }

    fn started(run: &str) -> Value {
        json!({
            "event": "run-started", "schema": "sre.events/v1", "run": run, "scenario": "s", "stack": "s",
            "target": "local", "seed": 1, "replicas": 1, "versions": {},
        })
    }

    #[test]
    fn what_cannot_have_been_is_damage() {
        let run = || started("20261121-064012-errors");
        let baseline = |at: f64| json!({"event": "baseline-taken", "at": at, "targets": []});
        assert_eq!(log(&[run(), baseline(1.8e9)]).damage, None);
        for (events, line) in [
            (vec![started("../../../etc")], 1),
            (vec![started("20261121-064012-a/b")], 1),
            (vec![run(), run()], 2),
            (vec![run(), baseline(1e300)], 2),
            (vec![run(), baseline(-1.0)], 2),
            (vec![run(), baseline(1.8e9), baseline(1.8e9)], 3),
            (vec![run(), json!({"event": "prometheus-started", "at": 1e300})], 2),
        ] {
            let read = log(&events);
            let damage = read.damage.expect("it is damaged");
            assert_eq!((damage.line, damage.cut_off, read.events.len()), (line, false, line - 1), "{damage}");
            assert!(damage.to_string().starts_with("The event log is damaged at line"), "{damage}");
        }
    }
}
