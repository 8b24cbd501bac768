//! Check `detected`: monitoring sees the faults, and sees that they are over. Judged from evaluations of an
//! expression on Prometheus' clock, from before the first fault until after the last one.

use serde_json::json;

use super::context::CheckContext;
use super::wait::pause;
use super::{Group, Kind, Outcome, Verdict};
use crate::error::Result;
use crate::figures::duration;
use crate::observe::{Prometheus, Series};
use crate::scenario::DetectedCheck;

/// Seconds between two evaluations.
const STEP: f64 = 1.0;

/// When the faults were, on Prometheus' clock, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    /// The load's start: from there on the expression must not hold.
    before: f64,
    /// The first fault's injection.
    from: f64,
    /// It is detected until then.
    detected_by: f64,
    /// The last fault's healing.
    until: f64,
    /// It is recovered until then.
    recovered_by: f64,
}

/// What the evaluations show.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Seen {
    /// Whether there was any value.
    any: bool,
    /// Whether it held before the first fault.
    before: bool,
    /// When it first held.
    detected: Option<f64>,
    /// From when on, after the last fault, it held no more.
    recovered: Option<f64>,
}

/// The faults are detected, and recovery from them is seen: an outcome each.
///
/// # Errors
/// Interrupted (130, 143). Whatever Prometheus cannot tell is a verdict, not an error.
pub async fn check(context: &CheckContext<'_>, asked: &DetectedCheck) -> Result<Vec<Outcome>> {
    let Some(window) = window(context, asked) else {
        return Ok(blind(asked, "No fault was injected and undone, or Prometheus did not tell when."));
    };
    let mut stopwatch = context.patience(asked.within.get() + asked.recovers.get());
    loop {
        let looked = match context.prometheus() {
            Ok(prometheus) => look(context, prometheus, asked, window).await,
            Err(error) => return Ok(blind(asked, &error.to_string())),
        };
        let message = match looked {
            Ok((seen, now)) if settled(&seen, window, now) => return Ok(judge(asked, window, seen, now)),
            Ok((seen, _)) if seen.detected.is_none() => "waiting for the faults to be seen".to_owned(),
            Ok((_, now)) => {
                let left = duration((window.recovered_by - now).max(0.0));
                format!("waiting for recovery to be seen ({left} left)")
            }
            Err(error) if stopwatch.over() => return Ok(blind(asked, &error.to_string())),
            Err(error) => format!("waiting for Prometheus: {}", error.what()),
        };
        context.waiting(&asked.sentence(), &message)?;
        pause(context.interrupt, stopwatch.next()).await?;
    }
}

fn window(context: &CheckContext<'_>, asked: &DetectedCheck) -> Option<Window> {
    let times = |faults: &[crate::run::FaultEvent]| -> Vec<f64> {
        faults.iter().filter_map(|fault| fault.prometheus_time).collect()
    };
    let from = times(&context.faults.injected).into_iter().reduce(f64::min)?;
    let until = times(&context.faults.healed).into_iter().reduce(f64::max)?;
    Some(Window {
        before: context.load.prometheus_started.unwrap_or(from).min(from),
        from,
        detected_by: from + asked.within.as_secs_f64(),
        until,
        recovered_by: until + asked.recovers.as_secs_f64(),
    })
}

async fn look(
    context: &CheckContext<'_>,
    prometheus: &Prometheus,
    asked: &DetectedCheck,
    window: Window,
) -> Result<(Seen, f64)> {
    let now = prometheus.time().await?.min(context.horizon.unwrap_or(f64::MAX));
    let to = now.min(window.recovered_by);
    let series = prometheus.evaluations(&asked.expr, window.before, to, STEP).await?;
    Ok((seen(&series, window, |value| asked.is.holds(value)), now))
}

/// What evaluations show: it holds where one of the series does.
fn seen(series: &[Series], window: Window, holds: impl Fn(f64) -> bool) -> Seen {
    let mut all: Vec<(f64, bool)> = series
        .iter()
        .flat_map(|series| series.samples.iter())
        .filter(|sample| !sample.value.is_nan())
        .map(|sample| (sample.time, holds(sample.value)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let held = |from: f64| all.iter().filter(move |(time, holds)| *holds && *time >= from);
    let last = held(window.until).next_back().map(|(time, _)| *time);
    // A value is needed that says that it is over: silence is none.
    let after = last.unwrap_or(window.until);
    let over =
        all.iter().find(|(time, holds)| !*holds && *time >= window.until && *time > after - STEP / 2.0);
    Seen {
        any: !all.is_empty(),
        before: held(f64::MIN).any(|(time, _)| *time < window.from),
        detected: held(window.from).map(|(time, _)| *time).next(),
        recovered: over.map(|(time, _)| *time).filter(|time| last.is_none_or(|last| *time > last)),
    }
}

fn settled(seen: &Seen, window: Window, now: f64) -> bool {
    match (seen.detected, seen.recovered) {
        (None, _) => now > window.detected_by.max(window.until) + STEP,
        (Some(_), Some(_)) => true,
        (Some(_), None) => now > window.recovered_by + STEP,
    }
}

fn judge(asked: &DetectedCheck, window: Window, seen: Seen, now: f64) -> Vec<Outcome> {
    if !seen.any {
        return blind(asked, "The expression had no value in all that time.");
    }
    let allowed =
        |took: f64, may: f64| format!("after {} ({} allowed)", duration(took.max(0.0)), duration(may));
    let may = window.detected_by - window.from;
    let (verdict, message) = match seen.detected {
        _ if seen.before => (Verdict::Fail, "it held before anything was done".into()),
        Some(at) if at <= window.detected_by => (Verdict::Pass, allowed(at - window.from, may)),
        Some(at) => (Verdict::Fail, allowed(at - window.from, may)),
        None => (Verdict::Fail, format!("not within {}", duration(may))),
    };
    let mut detected = outcome(asked, "detected", verdict, message);
    detected.evidence = json!({
        "expr": asked.expr, "is": asked.is, "from": window.from, "detected": seen.detected,
        "after_seconds": seen.detected.map(|at| at - window.from), "allowed_seconds": may,
    });
    let may = window.recovered_by - window.until;
    let (verdict, message) = match (seen.detected, seen.recovered) {
        (None, _) => (Verdict::NoData, "no data: it was never detected".into()),
        (_, Some(at)) if at <= window.recovered_by => (Verdict::Pass, allowed(at - window.until, may)),
        (_, Some(at)) => (Verdict::Fail, allowed(at - window.until, may)),
        (_, None) => (Verdict::Fail, format!("not within {}", duration((now - window.until).min(may)))),
    };
    let mut recovered = outcome(asked, "recovered", verdict, message);
    recovered.evidence = json!({
        "expr": asked.expr, "is": asked.is, "until": window.until, "recovered": seen.recovered,
        "after_seconds": seen.recovered.map(|at| at - window.until), "allowed_seconds": may,
    });
    vec![detected, recovered]
}

fn outcome(asked: &DetectedCheck, done: &str, verdict: Verdict, message: String) -> Outcome {
    let name = format!("{}: {done}", asked.sentence());
    let mut outcome = Outcome::new(Kind::Detected, Group::Metrics, name, verdict, message);
    if verdict != Verdict::Pass {
        let documentation = Kind::Detected.documentation();
        outcome.hint = Some(format!("Graph the expression over the run. {documentation}"));
    }
    outcome
}

fn blind(asked: &DetectedCheck, reason: &str) -> Vec<Outcome> {
    let mut detected = outcome(asked, "detected", Verdict::NoData, "no data".into());
    detected.notes.push(reason.into());
    let recovered = outcome(asked, "recovered", Verdict::NoData, "no data: it was never detected".into());
    vec![detected, recovered]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Labels, Sample};

    const WINDOW: Window =
        Window { before: 90.0, from: 100.0, detected_by: 110.0, until: 120.0, recovered_by: 140.0 };

    /// Values second by second from 90 on; a minus is none.
    fn series(values: &str) -> Vec<Series> {
        let samples = values
            .chars()
            .enumerate()
            .filter_map(|(i, value)| {
                Some(Sample { time: 90.0 + i as f64, value: f64::from(value.to_digit(10)?) })
            })
            .collect();
        vec![Series { labels: Labels::new(), samples }]
    }

    fn of(values: &str) -> (Option<f64>, Option<f64>, bool) {
        let seen = seen(&series(values), WINDOW, |value| value > 0.0);
        (seen.detected, seen.recovered, seen.before)
    }

    fn verdicts(values: &str) -> Vec<Verdict> {
        let asked: DetectedCheck =
            serde_json::from_value(json!({"expr": "x", "is": "> 0", "within": "10s", "recovers": "20s"}))
                .expect("a check");
        let seen = seen(&series(values), WINDOW, |value| value > 0.0);
        judge(&asked, WINDOW, seen, 145.0).iter().map(|outcome| outcome.verdict).collect()
    }

    #[test]
    fn times_count_from_injection_and_from_healing() {
        let values = "0000000000".to_owned() + "0001111111" + "1111111111" + "11110000000000000000";
        assert_eq!(of(&values), (Some(103.0), Some(124.0), false));
        assert_eq!(verdicts(&values), [Verdict::Pass, Verdict::Pass]);
    }

    #[test]
    fn what_comes_back_has_not_recovered() {
        let values = "0000000000".to_owned() + "0011111111" + "1111111111" + "00110000000000000000";
        assert_eq!(of(&values), (Some(102.0), Some(124.0), false));
        let values = "0000000000".to_owned() + "0011111111" + "1111111111" + "00000000000000000001";
        assert_eq!(of(&values).1, None);
        assert_eq!(verdicts(&values), [Verdict::Pass, Verdict::Fail]);
    }

    #[test]
    fn silence_is_no_recovery_and_no_value_is_no_data() {
        let values = "0000000000".to_owned() + "0011111111" + "1111111111" + "11------------------";
        assert_eq!(verdicts(&values), [Verdict::Pass, Verdict::Fail]);
        assert_eq!(verdicts(&"-".repeat(50)), [Verdict::NoData, Verdict::NoData]);
    }

    #[test]
    fn what_held_before_detects_nothing() {
        let values = "0000011111".to_owned() + "1111111111" + "1111111111" + "00000000000000000000";
        assert_eq!(verdicts(&values), [Verdict::Fail, Verdict::Pass]);
        assert_eq!(verdicts(&"0".repeat(50)), [Verdict::Fail, Verdict::NoData]);
        // Too late.
        let values = "0000000000".to_owned() + "0000000000" + "0111111111" + "00000000000000000000";
        assert_eq!(verdicts(&values), [Verdict::Fail, Verdict::Pass]);
    }
}
