//! When an alert fired and resolved: pure, from the samples of `ALERTS`.

use crate::check::reconcile::display_labels;
use crate::figures::duration;
use crate::observe::{Labels, Series};

/// What an alert had to do. Times are in seconds since 1970 on Prometheus' clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Labels that it must carry.
    pub labels: Labels,
    /// The instances that were disturbed; an alert that names another one is about something else. Any, if empty.
    pub instances: Vec<String>,
    /// The first fault, or the load's start.
    pub from: f64,
    /// It fires until then.
    pub fires_by: f64,
    /// The last fault's end, or the load's end.
    pub until: f64,
    /// It resolves until then.
    pub resolves_by: f64,
    /// Seconds between evaluations of its rule.
    pub interval: f64,
}

/// What an alert did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Episode {
    /// When it was first seen to fire as it had to.
    pub fired: Option<f64>,
    /// The first evaluation in which it no longer fired, if there was one until now.
    pub resolved: Option<f64>,
    /// Label sets for which it fired although it had not to.
    pub strangers: Vec<String>,
    /// Whether it fired before anything was done.
    pub before: bool,
}

impl Expectation {
    /// Whether a firing alert is the one that is meant.
    pub fn is_meant(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
            && (self.instances.is_empty()
                || labels.get("instance").is_none_or(|instance| self.instances.contains(instance)))
    }

    /// What the alert did, from its `ALERTS{alertstate="firing"}` series, the last evaluation being at `evaluated`.
    pub fn episode(&self, firing: &[Series], evaluated: f64) -> Episode {
        let mut episode = Episode::default();
        let mut last: Option<f64> = None;
        for series in firing {
            let times = series.samples.iter().map(|sample| sample.time);
            let during: Vec<f64> = times.clone().filter(|time| *time >= self.from).collect();
            episode.before |= times.clone().any(|time| time < self.from);
            if !self.is_meant(&series.labels) {
                if !during.is_empty() {
                    episode
                        .strangers
                        .push(display_labels(&series.labels, &["__name__", "alertname", "alertstate"]));
                }
                continue;
            }
            let first = during.iter().copied().reduce(f64::min);
            episode.fired = [episode.fired, first].into_iter().flatten().reduce(f64::min);
            last = [last, during.iter().copied().reduce(f64::max)].into_iter().flatten().reduce(f64::max);
        }
        // It is over when an evaluation came after its last sample without giving it another one. An evaluation
        // may begin late, up to the next one's time, but never early; all times are in whole milliseconds.
        episode.resolved = last.map(|last| last + self.interval).filter(|over| evaluated > over - 0.0005);
        episode
    }

    /// `after 9.2 s (30.0 s allowed)`.
    pub fn fired_message(&self, fired: f64) -> String {
        allowed(fired - self.from, self.fires_by - self.from)
    }

    /// `after 14.0 s (1 min allowed)`.
    pub fn resolved_message(&self, resolved: f64) -> String {
        allowed(resolved - self.until, self.resolves_by - self.until)
    }
}

fn allowed(took: f64, may: f64) -> String {
    format!("after {} ({} allowed)", duration(took.max(0.0)), duration(may))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Sample;

    fn expectation() -> Expectation {
        Expectation {
            labels: Labels::new(),
            instances: Vec::new(),
            from: 100.0,
            fires_by: 130.0,
            until: 160.0,
            resolves_by: 200.0,
            interval: 1.0,
        }
    }

    fn series(instance: &str, times: &[f64]) -> Series {
        Series {
            labels: Labels::from([("alertname".into(), "A".into()), ("instance".into(), instance.into())]),
            samples: times.iter().map(|time| Sample { time: *time, value: 1.0 }).collect(),
        }
    }

    #[test]
    fn it_fired_at_its_first_sample_and_resolved_after_its_last() {
        let episode = expectation().episode(&[series("x", &[109.0, 110.0, 170.0])], 172.0);
        assert_eq!((episode.fired, episode.resolved), (Some(109.0), Some(171.0)));
        assert!(!episode.before && episode.strangers.is_empty());
    }

    #[test]
    fn it_is_not_over_before_the_next_evaluation() {
        assert_eq!(expectation().episode(&[series("x", &[109.0, 110.0])], 110.0).resolved, None);
        assert_eq!(expectation().episode(&[series("x", &[109.0])], 110.0).resolved, Some(110.0));
    }

    #[test]
    fn a_late_evaluation_is_not_taken_for_the_next_one() {
        assert_eq!(expectation().episode(&[series("x", &[109.0])], 109.6).resolved, None);
        assert_eq!(expectation().episode(&[series("x", &[109.0])], 109.999).resolved, None);
        assert_eq!(expectation().episode(&[series("x", &[109.123])], 110.123).resolved, Some(110.123));
    }

    #[test]
    fn another_instance_is_a_stranger() {
        let expectation = Expectation { instances: vec!["x".into()], ..expectation() };
        let episode = expectation.episode(&[series("y", &[109.0])], 120.0);
        assert_eq!(episode.fired, None);
        assert_eq!(episode.strangers, [r#"{instance="y"}"#]);
    }

    #[test]
    fn what_fired_before_is_told() {
        assert!(expectation().episode(&[series("x", &[99.0, 101.0])], 120.0).before);
    }
}
