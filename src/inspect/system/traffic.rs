//! Requests that something served: how long they took and how they ended, by whichever metrics it has.

use std::collections::BTreeMap;

use super::eyes::{Eyes, Targets};
use super::model::{AtQuantile, Latencies, Missing, Part, Rates, Traffic, Warning};
use super::probe::Moved;
use super::quantile::{Histogram, Latency, SHOWN};
use crate::figures::duration;

/// How many requests a 99th percentile wants: ten of them are above it.
const FOR_LATENCY: f64 = 1000.0;
/// How many requests a rate wants: its chance error is then a twentieth, and one error 0.25 %.
const FOR_RATES: f64 = 400.0;
/// The part of requests that may be server errors.
const SERVER_ERRORS: f64 = 0.01;

/// Where the requests of something are counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Whose they are, as it is shown.
    pub of: String,
    /// The counter of requests.
    pub count: &'static str,
    /// The label of the counter that holds the status.
    pub status: &'static str,
    /// The buckets of the histogram of how long requests took, in seconds.
    pub buckets: &'static str,
    /// What both are narrowed to.
    pub matchers: Vec<String>,
}

impl Source {
    /// The selector of the counter.
    pub fn count_selector(&self) -> String {
        format!("{}{{{}}}", self.count, self.matchers.join(","))
    }

    fn bucket_query(&self, range: &str) -> String {
        format!("sum by (le) (increase({}{{{}}}[{range}]))", self.buckets, self.matchers.join(","))
    }
}

/// What was served.
pub async fn look(eyes: &Eyes, source: &Source) -> Traffic {
    let count = source.count_selector();
    let interval = match eyes.interval(&count).await {
        Ok(interval) => interval,
        Err(missing) => {
            return Traffic {
                of: source.of.clone(),
                latency: Part::Missing(missing.clone()),
                rates: Part::Missing(missing),
                warnings: Vec::new(),
            };
        }
    };
    let latency = latencies(eyes, source, &count, interval).await;
    let rates =
        eyes.counter(&count, Some(source.status), interval, FOR_RATES).await.map(|moved| rates(&moved));
    let warnings = warnings(latency.as_ref().ok(), rates.as_ref().ok());
    Traffic { of: source.of.clone(), latency: latency.into(), rates: rates.into(), warnings }
}

/// What the targets of counters warn of: figures that leave something out, or are of before.
pub fn of_targets(targets: &Targets, whose: &str) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if targets.down > 0 {
        let all = targets.up + targets.down;
        warnings.push(Warning::new(
            format!("{} of {} targets of {whose} cannot be scraped", targets.down, all),
            "what they served since is not in these figures; up == 0 tells which they are",
        ));
    }
    if let Some(since) = targets.since.filter(|_| !targets.now && targets.down == 0) {
        warnings.push(Warning::new(
            format!("{whose} has told nothing for {}: these figures are of before", duration(since)),
            "it is gone, is not scraped any more, or was started again and has had no request since",
        ));
    }
    warnings
}

async fn latencies(eyes: &Eyes, source: &Source, count: &str, interval: f64) -> Result<Latencies, Missing> {
    let window = eyes.counter(count, None, interval, FOR_LATENCY).await?.window;
    let buckets = eyes.vector(&source.bucket_query(&window.promql())).await?;
    let buckets = buckets.iter().filter_map(|(labels, value)| Some((labels.get("le")?.as_str(), *value)));
    let histogram = Histogram::new(buckets).ok_or_else(|| {
        Missing::because(format!("Prometheus has no classic buckets of {}", source.buckets))
    })?;
    let quantiles = SHOWN
        .iter()
        .filter_map(|&q| histogram.quantile(q).map(|latency| AtQuantile { q, latency }))
        .collect();
    Ok(Latencies { window, requests: histogram.total(), quantiles })
}

/// How requests ended, by how often each status was counted.
pub fn rates(moved: &Moved) -> Rates {
    let (mut total, mut server_errors, mut ok) = (0.0, 0.0, 0.0);
    for (status, count) in &moved.values {
        total += count;
        match status.as_bytes().first() {
            Some(b'5') => server_errors += count,
            Some(b'2') => ok += count,
            _ => {}
        }
    }
    let part = |count: f64| (total > 0.0).then(|| count / total);
    // `increase` extrapolates to the whole window, but not beyond what data there is.
    let seconds = f64::from(moved.window.filled_seconds.clamp(1, moved.window.seconds));
    let per_second = total / seconds;
    Rates { window: moved.window, per_second, non_5xx: part(total - server_errors), ok_2xx: part(ok) }
}

fn warnings(latency: Option<&Latencies>, rates: Option<&Rates>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(errors) =
        rates.and_then(|rates| rates.non_5xx).map(|good| 1.0 - good).filter(|e| *e > SERVER_ERRORS)
    {
        warnings.push(Warning::new(
            format!(
                "{:.1} % of the requests failed (5xx); the limit is {:.0} %",
                errors * 100.0,
                SERVER_ERRORS * 100.0
            ),
            "the server or what it depends on fails: users see errors",
        ));
    }
    let above: BTreeMap<u64, f64> = latency
        .iter()
        .flat_map(|latencies| &latencies.quantiles)
        .filter_map(|at| match at.latency {
            Latency::Above { ms } => Some(((at.q * 100.0).round() as u64, ms)),
            _ => None,
        })
        .collect();
    if let Some((q, ms)) = above.first_key_value() {
        warnings.push(Warning::new(
            format!("p{q} is beyond the histogram's last bound, {}", crate::figures::bound(*ms)),
            "how slow these requests are cannot be told; they are at least that slow",
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::system::window::{Because, Window};

    fn moved(values: &[(&str, f64)]) -> Moved {
        Moved {
            window: Window { seconds: 300, because: Because::Enough, filled_seconds: 200 },
            values: values.iter().map(|(status, count)| (status.to_string(), *count)).collect(),
        }
    }

    #[test]
    fn statuses_are_told_apart_by_their_class() {
        let rates = rates(&moved(&[("200", 60.0), ("201", 20.0), ("404", 15.0), ("502", 4.0), ("503", 1.0)]));
        assert_eq!((rates.non_5xx, rates.ok_2xx), (Some(0.95), Some(0.8)));
        assert_eq!(rates.per_second, 0.5, "by the data that there is");
        assert_eq!(warnings(None, Some(&rates)).len(), 1);
    }

    #[test]
    fn no_requests_are_idle_and_warn_of_nothing() {
        for counts in [&[][..], &[("200", 0.0), ("500", 0.0)]] {
            let rates = rates(&moved(counts));
            assert_eq!((rates.per_second, rates.non_5xx, rates.ok_2xx), (0.0, None, None));
            assert_eq!(warnings(None, Some(&rates)), []);
        }
    }

    #[test]
    fn figures_that_leave_something_out_say_so() {
        let told = |targets: Targets| {
            of_targets(&targets, "whereami").into_iter().map(|warning| warning.what).collect::<Vec<_>>()
        };
        let fine = Targets { now: true, since: Some(1.0), up: 3, down: 0 };
        assert_eq!(told(fine.clone()), [""; 0]);
        assert_eq!(
            told(Targets { up: 2, down: 1, ..fine.clone() }),
            ["1 of 3 targets of whereami cannot be scraped"]
        );
        let gone = Targets { now: false, since: Some(90.0), up: 0, down: 0 };
        assert!(told(gone)[0].contains("has told nothing for 1 min 30 s"));
        assert_eq!(told(Targets { now: false, since: Some(9.0), up: 0, down: 3 }).len(), 1, "one reason");
        assert_eq!(told(Targets::default()), [""; 0], "it was never there");
    }

    #[test]
    fn the_lowest_quantile_beyond_the_last_bound_is_told() {
        let at = |q| AtQuantile { q, latency: Latency::Above { ms: 10_000.0 } };
        let latencies =
            Latencies { window: moved(&[]).window, requests: 9.0, quantiles: vec![at(0.99), at(0.95)] };
        let warnings = warnings(Some(&latencies), None);
        assert!(warnings[0].what.starts_with("p95 ") && warnings[0].what.ends_with("10 s"), "{warnings:?}");
    }
}
