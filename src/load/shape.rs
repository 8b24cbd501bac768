//! Shapes: how many requests are due after a time, and the exact inverse.

use std::f64::consts::TAU;

use crate::scenario::Phase;

/// A rate over a stretch of time that starts at 0. Times in seconds, rates a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Curve {
    /// Straight from one rate to another over a length; constant where they are equal.
    Line { from: f64, to: f64, length: f64 },
    /// Swings from one rate to another and back in a period.
    Sine { from: f64, to: f64, period: f64 },
}

impl Curve {
    /// The rate at a time.
    pub(super) fn rate(self, at: f64) -> f64 {
        match self {
            Curve::Line { from, to, length } => from + (to - from) * at / length,
            Curve::Sine { from, to, period } => {
                (from + to) / 2.0 - (to - from) / 2.0 * (TAU * at / period).cos()
            }
        }
    }

    /// How many requests are due until a time: the integral of the rate.
    pub(super) fn count(self, until: f64) -> f64 {
        match self {
            Curve::Line { from, to, length } => from * until + (to - from) / length * until * until / 2.0,
            Curve::Sine { from, to, period } => {
                (from + to) / 2.0 * until - (to - from) / 2.0 * period / TAU * (TAU * until / period).sin()
            }
        }
    }

    /// When so many requests are due: the inverse of `count`.
    pub(super) fn time(self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        match self {
            Curve::Line { from, to, length } => {
                let slope = (to - from) / length;
                // This form of the root loses no digits where the slope is small or falling.
                2.0 * count / (from + (from * from + 2.0 * slope * count).max(0.0).sqrt())
            }
            Curve::Sine { from, to, period } => {
                let each = (from + to) / 2.0 * period;
                let periods = (count / each).floor();
                periods * period + self.root(count - periods * each, period)
            }
        }
    }

    /// Newton's steps, halving the interval where one leaves it.
    fn root(self, count: f64, end: f64) -> f64 {
        let (mut low, mut high) = (0.0, end);
        let mut at = end / 2.0;
        for _ in 0..100 {
            let off = self.count(at) - count;
            if off > 0.0 {
                high = at
            } else {
                low = at
            }
            let step = at - off / self.rate(at);
            let next = if step > low && step < high { step } else { (low + high) / 2.0 };
            if (next - at).abs() < 1e-12 * end {
                return next;
            }
            at = next;
        }
        at
    }
}

/// A phase as curves with their lengths in seconds.
///
/// `steps: n` are n rises of equal height, so n + 1 levels of equal length, the first at `rate`, the last at `to`.
pub(super) fn curves(phase: &Phase) -> Vec<(Curve, f64)> {
    let length = phase.duration.as_secs_f64();
    let from = phase.rate.get();
    let to = phase.to.map_or(from, |to| to.get());
    if let Some(period) = phase.period.filter(|period| period.as_secs_f64() > 0.0) {
        return vec![(Curve::Sine { from, to, period: period.as_secs_f64() }, length)];
    }
    let Some(steps) = phase.steps.filter(|steps| *steps > 0) else {
        return vec![(Curve::Line { from, to, length }, length)];
    };
    let length = length / f64::from(steps + 1);
    (0..=steps)
        .map(|step| {
            let rate = from + (to - from) * f64::from(step) / f64::from(steps);
            (Curve::Line { from: rate, to: rate, length }, length)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn curve() -> impl Strategy<Value = (Curve, f64)> {
        let rates = (0.0..5_000.0f64, 0.0..5_000.0f64, 0.1..600.0f64, 0.05..700.0f64);
        (rates, any::<bool>()).prop_map(|((from, to, length, period), sine)| {
            (if sine { Curve::Sine { from, to, period } } else { Curve::Line { from, to, length } }, length)
        })
    }

    proptest! {
        #[test]
        fn the_inverse_gives_the_count_back((curve, length) in curve(), share in 0.0..1.0f64) {
            let count = curve.count(length) * share;
            let time = curve.time(count);
            prop_assert!(time >= 0.0 && time <= length * (1.0 + 1e-9), "{curve:?}: {count} at {time}");
            prop_assert!((curve.count(time) - count).abs() < 1e-6 * (1.0 + count), "{curve:?}: {count} at {time}");
        }
    }

    #[test]
    fn steps_are_levels_of_equal_length() {
        let phase: Phase =
            serde_json::from_str(r#"{"duration":"10s","rate":"100/s","to":"500/s","steps":4}"#)
                .expect("a phase");
        let levels: Vec<(f64, f64)> =
            curves(&phase).iter().map(|(curve, length)| (curve.rate(0.0), *length)).collect();
        assert_eq!(levels, [(100.0, 2.0), (200.0, 2.0), (300.0, 2.0), (400.0, 2.0), (500.0, 2.0)]);
    }
}
