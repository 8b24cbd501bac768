//! What may hide lines: asked of Prometheus and Loki where lines are missing.

use std::collections::BTreeMap;

use super::judge::Surroundings;
use crate::check::context::CheckContext;
use crate::check::reconcile::interruptions;
use crate::error::Result;
use crate::figures::clock;
use crate::observe::{Loki, Prometheus, Sample, matcher};
use crate::stack::LogLines;

/// How far back a line of the service is looked for, in nanoseconds: six hours.
const LOOK_BACK: i64 = 6 * 3600 * 1_000_000_000;

/// Values of a label that are named.
const NAMED: usize = 5;

/// Finds out what may hide lines. What cannot be found out is part of it.
pub async fn surroundings(
    context: &CheckContext<'_>,
    lines: &LogLines,
    loki: &Loki,
    nothing: bool,
    now: i64,
) -> Surroundings {
    let mut found = Surroundings::default();
    let prometheus = match context.prometheus() {
        Ok(_) if context.is_in_vain() => Err("Prometheus does not answer".to_owned()),
        Ok(prometheus) => Ok(prometheus),
        Err(error) => Err(error.what().to_owned()),
    };
    match prometheus {
        Err(why) => found.untold = Some(why),
        Ok(prometheus) => {
            match interrupted(context, prometheus).await {
                Ok(interrupted) => found.interrupted = interrupted,
                Err(error) => found.untold = Some(error.what().to_owned()),
            }
            if let Some(counter) = &lines.lost {
                let given_up = given_up(context, prometheus, counter).await;
                found.given_up = given_up.ok().map(|lines| (lines, counter.clone()));
            }
        }
    }
    if nothing {
        found.silence = silence(lines, loki, now).await;
    }
    found
}

/// Replicas that did not run throughout. What has no `instance` label of its own may be any of them.
async fn interrupted(context: &CheckContext<'_>, prometheus: &Prometheus) -> Result<BTreeMap<usize, String>> {
    let mut interrupted = BTreeMap::new();
    for (instance, what) in interruptions(context, prometheus).await? {
        for (number, replica) in context.endpoints.replicas.iter().enumerate() {
            if replica.instance.as_ref().is_none_or(|own| *own == instance) {
                let name = if replica.instance.is_some() { &replica.name } else { &instance };
                interrupted.insert(number, format!("{name} {what}"));
            }
        }
    }
    Ok(interrupted)
}

/// How far the service's own counter of lost lines rose during the run.
async fn given_up(context: &CheckContext<'_>, prometheus: &Prometheus, counter: &str) -> Result<u64> {
    let now = prometheus.time().await?.min(context.horizon.unwrap_or(f64::MAX));
    let from = context.baseline.map_or(now, |baseline| baseline.at);
    let job = context.stack.counter.job.as_ref().map(|job| matcher("job", "=", job)).unwrap_or_default();
    let series = prometheus.samples(&format!("{counter}{{{job}}}"), from, now).await?;
    Ok(series.iter().map(|series| rise(&series.samples)).sum::<f64>().round() as u64)
}

/// How far a counter rose, across restarts.
fn rise(samples: &[Sample]) -> f64 {
    let step = |pair: &[Sample]| match pair[1].value - pair[0].value {
        rise if rise >= 0.0 => rise,
        _ => pair[1].value,
    };
    samples.windows(2).map(step).sum()
}

/// What Loki has of the service at all.
pub async fn silence(lines: &LogLines, loki: &Loki, now: i64) -> Option<String> {
    let selector = &lines.selector;
    match loki.newest(selector, now - LOOK_BACK, now + 1).await {
        Ok(Some(line)) => Some(format!(
            "The log store has no line of this run; its newest line of {selector} is of {}",
            clock(line.time as f64 / 1e9)
        )),
        Ok(None) => {
            let label = selector.trim_start_matches('{').split(['=', '!']).next().unwrap_or_default().trim();
            let values = loki.label_values(label, now - LOOK_BACK, now + 1).await.unwrap_or_default();
            let there = match values.as_slice() {
                [] => format!("nothing with the label {label}"),
                values => {
                    let more = if values.len() > NAMED { ", …" } else { "" };
                    format!(
                        "{label} is {}{more}",
                        values.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ")
                    )
                }
            };
            Some(format!("The log store has nothing of {selector} of the last 6 hours; there is {there}"))
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_fell_began_again_from_0() {
        let samples = |values: &[f64]| -> Vec<Sample> {
            values.iter().enumerate().map(|(i, value)| Sample { time: i as f64, value: *value }).collect()
        };
        assert_eq!(rise(&samples(&[3.0, 3.0, 5.0, 1.0, 2.0])), 4.0);
        assert_eq!(rise(&samples(&[7.0])), 0.0);
        assert_eq!(rise(&[]), 0.0);
    }
}
