//! Quantiles of a histogram's buckets, without the artefacts: what lies in the first or the last bucket is only
//! known to be below or above its bound.

use serde::Serialize;

/// The quantiles that are shown.
pub const SHOWN: [f64; 5] = [0.25, 0.5, 0.75, 0.95, 0.99];

/// A histogram over a window: how many observations were at most as large as each bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Finite bounds in seconds, ascending, with the observations up to each.
    buckets: Vec<(f64, f64)>,
    /// All observations.
    total: f64,
}

/// A quantile of a latency, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Latency {
    /// Between a bucket's bounds, taken as spread evenly between them.
    About {
        /// The value.
        ms: f64,
        /// The bounds that it certainly lies between.
        between_ms: [f64; 2],
    },
    /// In the first bucket: less than its bound, nobody knows how much.
    Below {
        /// The bound.
        ms: f64,
    },
    /// In the last bucket: more than its lower bound, nobody knows how much.
    Above {
        /// The bound.
        ms: f64,
    },
}

impl Histogram {
    /// From bounds as their labels write them and the observations up to each. `None` without a finite bound and
    /// `+Inf`.
    pub fn new<'a>(buckets: impl IntoIterator<Item = (&'a str, f64)>) -> Option<Histogram> {
        let mut all: Vec<(f64, f64)> = Vec::new();
        for (bound, count) in buckets {
            let Ok(bound) = bound.parse::<f64>() else { continue };
            let count = if count.is_finite() { count.max(0.0) } else { 0.0 };
            // `1` and `1.0` are the same bound: Prometheus 3 writes the second.
            match all.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += count,
                None => all.push((bound, count)),
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Buckets of one scrape are not always of one instant, and `increase` extrapolates each by itself.
        let mut highest: f64 = 0.0;
        for (_, count) in &mut all {
            highest = highest.max(*count);
            *count = highest;
        }
        let (last, total) = all.pop()?;
        if last != f64::INFINITY || all.is_empty() {
            return None;
        }
        Some(Histogram { buckets: all, total })
    }

    /// How many observations there are.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// A quantile; `None` where nothing was observed.
    pub fn quantile(&self, q: f64) -> Option<Latency> {
        if self.total <= 0.0 {
            return None;
        }
        let rank = q * self.total;
        let Some(i) = self.buckets.iter().position(|(_, count)| *count >= rank) else {
            let (last, _) = self.buckets[self.buckets.len() - 1];
            return Some(Latency::Above { ms: milliseconds(last) });
        };
        let (upper, upto) = self.buckets[i];
        if i == 0 {
            return Some(Latency::Below { ms: milliseconds(upper) });
        }
        let (lower, before) = self.buckets[i - 1];
        let within = if upto > before { (rank - before) / (upto - before) } else { 1.0 };
        let value = lower + (upper - lower) * within;
        Some(Latency::About {
            ms: milliseconds(value),
            between_ms: [milliseconds(lower), milliseconds(upper)],
        })
    }
}

/// Rounded where a double's digits end.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantiles(buckets: &[(&str, f64)]) -> Vec<Option<Latency>> {
        let histogram = Histogram::new(buckets.iter().copied()).expect("a histogram");
        SHOWN.map(|q| histogram.quantile(q)).to_vec()
    }

    #[test]
    fn what_is_between_bounds_is_interpolated() {
        let all = quantiles(&[("0.005", 0.0), ("0.01", 50.0), ("0.1", 100.0), ("+Inf", 100.0)]);
        assert_eq!(all[0], Some(Latency::About { ms: 7.5, between_ms: [5.0, 10.0] }));
        assert_eq!(all[1], Some(Latency::About { ms: 10.0, between_ms: [5.0, 10.0] }));
        assert_eq!(all[2], Some(Latency::About { ms: 55.0, between_ms: [10.0, 100.0] }));
    }

    #[test]
    fn the_first_and_the_last_bucket_give_a_bound_and_no_figure() {
        let all = quantiles(&[("0.005", 60.0), ("10", 98.0), ("+Inf", 100.0)]);
        assert_eq!(all[0], Some(Latency::Below { ms: 5.0 }));
        assert_eq!(all[1], Some(Latency::Below { ms: 5.0 }));
        assert_eq!(all[4], Some(Latency::Above { ms: 10_000.0 }));
    }

    #[test]
    fn nothing_observed_is_no_latency() {
        assert_eq!(quantiles(&[("0.1", 0.0), ("+Inf", 0.0)]), [None; 5]);
        assert_eq!(quantiles(&[("0.1", f64::NAN), ("+Inf", f64::NAN)]), [None; 5]);
    }

    #[test]
    fn bounds_come_in_any_order_and_writing_and_counts_need_not_rise() {
        let tidy = quantiles(&[("0.1", 10.0), ("1", 30.0), ("5", 30.0), ("+Inf", 40.0)]);
        let untidy =
            quantiles(&[("+Inf", 40.0), ("1.0", 20.0), ("5", 29.99), ("1", 10.0), ("0.1", 10.0), ("x", 1.0)]);
        assert_eq!(tidy, untidy);
    }

    #[test]
    fn without_a_finite_bound_or_without_the_last_there_is_no_histogram() {
        assert_eq!(Histogram::new([("+Inf", 4.0)]), None);
        assert_eq!(Histogram::new([("0.1", 4.0), ("1", 5.0)]), None);
        assert_eq!(Histogram::new([]), None);
    }

    #[test]
    fn a_quantile_lies_between_the_bounds_that_it_tells() {
        proptest::proptest!(|(counts in proptest::collection::vec(0.0..1e6f64, 3..12), q in 0.0..1.0f64)| {
            let mut bounds: Vec<String> = (1..counts.len()).map(|i| (i as f64 * 0.1).to_string()).collect();
            bounds.push("+Inf".into());
            let histogram = Histogram::new(bounds.iter().map(String::as_str).zip(counts)).expect("a histogram");
            if let Some(Latency::About { ms, between_ms: [from, to] }) = histogram.quantile(q) {
                assert!((from..=to).contains(&ms), "{ms} is not between {from} and {to}");
            }
        });
    }
}
