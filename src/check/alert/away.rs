//! Whether Prometheus looked at all: while it was away nothing could fire, and nothing was seen to resolve.

use crate::error::Result;
use crate::observe::Prometheus;

/// Scrapes and evaluations may be late for so many seconds, whatever their interval.
const LATE: f64 = 10.0;

/// How long Prometheus may see nothing of a time that matters: a scrape or two may be late, and up to a third of the
/// time is no evidence.
pub fn allowed(time: f64, interval: f64) -> f64 {
    (time / 3.0).max(4.0 * interval).max(LATE)
}

/// When targets were scraped, whether with success or not, oldest first.
pub async fn scrapes(prometheus: &Prometheus, from: f64, to: f64) -> Result<Vec<f64>> {
    let up = prometheus.samples("up", from, to).await?;
    let mut times: Vec<f64> =
        up.iter().flat_map(|series| &series.samples).map(|sample| sample.time).collect();
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// For how long at a stretch nothing was scraped between two times.
pub fn longest(scrapes: &[f64], from: f64, to: f64) -> f64 {
    let within = scrapes.iter().copied().filter(|time| (from..=to).contains(time));
    let times: Vec<f64> = [from].into_iter().chain(within).chain([to]).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
}

/// For how long nothing was scraped around a moment, of what is known between two times.
pub fn around(scrapes: &[f64], at: f64, from: f64, to: f64) -> f64 {
    let before = scrapes.iter().copied().filter(|time| *time <= at).fold(from, f64::max);
    let after = scrapes.iter().copied().filter(|time| *time > at).fold(to, f64::min);
    after - before
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
    fn a_silence_around_a_moment_is_told_from_one_elsewhere() {
        let scrapes = [98.0, 99.0, 100.0, 120.0, 121.0, 150.0];
        assert_eq!(around(&scrapes, 101.0, 90.0, 140.0), 20.0);
        assert_eq!(around(&scrapes, 120.5, 90.0, 140.0), 1.0);
        // It has not come back yet, or was not there before.
        assert_eq!(around(&scrapes[..3], 101.0, 90.0, 115.0), 15.0);
        assert_eq!(around(&scrapes[3..], 101.0, 90.0, 140.0), 30.0);
    }

    #[test]
    fn a_late_scrape_is_no_absence() {
        assert_eq!(allowed(9.0, 1.0), 10.0);
        assert_eq!(allowed(60.0, 1.0), 20.0);
        assert_eq!(allowed(60.0, 15.0), 60.0);
    }
}
