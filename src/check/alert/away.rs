//! Whether Prometheus looked at all: while it was away nothing could fire, and nothing was seen to resolve.

use crate::check::context::CheckContext;
use crate::error::Result;
use crate::observe::{Prometheus, Series, one_of};

/// A Prometheus that is started anew scrapes nothing for some five seconds.
const SHORT: f64 = 4.0;

/// Scrapes and evaluations may be late for so many seconds, whatever their interval.
const LATE: f64 = 10.0;

/// How long Prometheus may see nothing of a time that matters: a scrape or two may be late, and up to a third of the
/// time is no evidence.
pub fn allowed(time: f64, interval: f64) -> f64 {
    (time / 3.0).max(4.0 * interval).max(LATE)
}

/// For how long Prometheus saw nothing, where that is too long for what it did not see to prove anything. Without one
/// scrape it proves nothing, however short the time.
pub fn blind(scrapes: &[f64], from: f64, to: f64, interval: f64) -> Option<f64> {
    let gap = longest(scrapes, from, to);
    (scrapes.is_empty() || gap > allowed(to - from, interval)).then_some(gap)
}

/// When targets were scraped, whether with success or not, oldest first: from series of `up`.
pub fn times(up: &[Series]) -> Vec<f64> {
    let mut times: Vec<f64> =
        up.iter().flat_map(|series| &series.samples).map(|sample| sample.time).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// When the service's targets were not scraped, with success or not, for longer than usual: Prometheus was away, or is
/// just back.
pub async fn gaps(
    context: &CheckContext<'_>,
    prometheus: &Prometheus,
    from: f64,
    to: f64,
) -> Result<Vec<(f64, f64)>> {
    let instances: Vec<String> =
        context.endpoints.scraped().into_iter().map(|(_, instance)| instance).collect();
    let up = prometheus.samples(&of_instances(&instances), from, to).await?;
    let times = times(&up);
    let usual = up.iter().filter_map(between).reduce(f64::max).unwrap_or(0.0);
    Ok(longer(&times, to, (3.0 * usual).max(SHORT)))
}

fn longer(times: &[f64], to: f64, than: f64) -> Vec<(f64, f64)> {
    let pairs = times.iter().copied().zip(times.iter().copied().skip(1).chain([to]));
    pairs.filter(|(from, to)| to - from > than).collect()
}

/// Seconds between two scrapes of these instances, or of whatever is scraped, before a time: the longest of them.
pub async fn scrape_interval(prometheus: &Prometheus, instances: &[String], before: f64) -> Result<f64> {
    let selector = of_instances(instances);
    for window in [120.0, 900.0] {
        let up = prometheus.samples(&selector, before - window, before).await?;
        if let Some(longest) = up.iter().filter_map(between).reduce(f64::max) {
            return Ok(longest);
        }
    }
    Ok(0.0)
}

fn of_instances(instances: &[String]) -> String {
    match instances {
        [] => "up".to_owned(),
        instances => format!("up{{{}}}", one_of("instance", instances)),
    }
}

/// Seconds between two scrapes of a target: as most are.
fn between(series: &Series) -> Option<f64> {
    let mut apart: Vec<f64> = series.samples.windows(2).map(|pair| pair[1].time - pair[0].time).collect();
    apart.sort_by(f64::total_cmp);
    apart.get(apart.len() / 2).copied()
}

/// For how long at a stretch nothing was scraped between two times.
pub fn longest(scrapes: &[f64], from: f64, to: f64) -> f64 {
    let within = scrapes.iter().copied().filter(|time| (from..=to).contains(time));
    let times: Vec<f64> = [from].into_iter().chain(within).chain([to]).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_counts_with_both_ends() {
        assert_eq!(longest(&[101.0, 102.0, 117.0, 118.0], 100.0, 120.0), 15.0);
        assert_eq!(longest(&[101.0], 100.0, 120.0), 19.0);
        assert_eq!(longest(&[90.0, 130.0], 100.0, 120.0), 20.0);
    }

    #[test]
    fn a_late_scrape_is_no_absence() {
        assert_eq!(allowed(9.0, 1.0), 10.0);
        assert_eq!(allowed(60.0, 1.0), 20.0);
        assert_eq!(allowed(60.0, 15.0), 60.0);
    }
}
