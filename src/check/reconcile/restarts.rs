//! Where a target's process was started again, and where it only looks like that: several processes behind one
//! address, each with counters of its own, answer scrapes in turn. Pure.

use super::history::{Gap, SAME_START, SAME_TIME, TargetHistory};
use crate::figures::clock;
use crate::observe::Sample;

/// Seconds by which the clock of a service may differ from Prometheus' where the start of a process is compared with
/// the time of a scrape.
const SKEW: f64 = 30.0;

/// So many times a counter falls and is back above where it was in the next scrape, before it is clear that this is
/// not one counter.
const BOUNCES: usize = 2;

/// What is known of restarts.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// From the last scrape of a process to the first of the next one.
    pub gaps: Vec<Gap>,
    /// The first fall of a counter of which nothing tells whether a new process was behind it.
    pub unproven: Option<Gap>,
    /// Why this is not one process that was started again, but several that answer in turn.
    pub mixed: Option<String>,
}

/// Looks at what the process tells of its start, at when its series were made, and at counters that fell.
pub(super) fn find(history: &TargetHistory, end: f64, good: &[f64]) -> Restarts {
    let mut found = Restarts::default();
    let told: Vec<Sample> =
        history.process_started.iter().copied().filter(|sample| sample.time <= end).collect();
    found.read_starts(&told);
    for series in &history.created {
        // A series that is made anew in the same process would do, too: it begins from 0.
        for pair in series.samples.windows(2).filter(|pair| pair[1].time <= end) {
            if pair[1].value > pair[0].value + SAME_START {
                found.add(pair[0].time, pair[1].time);
            }
        }
    }
    found.read_falls(history, end, good, &told);
    found.gaps.sort_by(|a, b| a.from.total_cmp(&b.from));
    found
}

impl Restarts {
    fn add(&mut self, from: f64, to: f64) {
        if !self.gaps.iter().any(|gap| gap.covers(from, to)) {
            self.gaps.push(Gap { from, to });
        }
    }

    fn read_starts(&mut self, told: &[Sample]) {
        for pair in told.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if (after.value - before.value).abs() <= SAME_START {
                continue;
            }
            if after.value < before.value {
                self.mix(format!("the start of its process went back at {}", clock(after.time)));
            } else if after.value + SKEW < before.time {
                // Whoever answered then ran already while the other one answered.
                self.mix(format!(
                    "another process answered at {}, which ran before already",
                    clock(after.time)
                ));
            }
            self.add(before.time, after.time);
        }
    }

    fn read_falls(&mut self, history: &TargetHistory, end: f64, good: &[f64], told: &[Sample]) {
        let (mut bounces, mut falls) = (0, Vec::new());
        for series in &history.series {
            for (i, pair) in series.samples.windows(2).enumerate().filter(|(_, pair)| pair[1].time <= end) {
                if pair[1].value >= pair[0].value {
                    continue;
                }
                let (from, to) = (pair[0].time, pair[1].time);
                let next = series.samples.get(i + 2).filter(|next| next.time <= end);
                // What was told of in between explains it: a series that is raised late in a new process is away first.
                if self.gaps.iter().any(|known| known.covers(from, to)) {
                    continue;
                }
                if same_process(told, from, to) {
                    self.mix(format!("a counter fell at {}, and its process was the same", clock(to)));
                }
                // The new process was there in the first scrape without the old one's series.
                let first = good.iter().find(|time| **time > from + SAME_TIME).copied();
                let gap = Gap { from, to: first.unwrap_or(to).min(to) };
                self.unproven.get_or_insert(gap);
                bounces += usize::from(next.is_some_and(|next| next.value >= pair[0].value));
                falls.push(gap);
            }
        }
        for gap in falls {
            self.add(gap.from, gap.to);
        }
        if bounces >= BOUNCES {
            self.mix(format!("its counters fell and were back in the next scrape, {bounces} times"));
        }
    }

    fn mix(&mut self, why: String) {
        self.mixed.get_or_insert(why);
    }
}

/// Whether the process told the same start in both scrapes.
fn same_process(told: &[Sample], from: f64, to: f64) -> bool {
    let at = |time: f64| told.iter().find(|sample| (sample.time - time).abs() <= SAME_TIME);
    at(from).zip(at(to)).is_some_and(|(before, after)| (before.value - after.value).abs() <= SAME_START)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Labels, Series};

    fn samples(values: &[f64]) -> Vec<Sample> {
        values
            .iter()
            .enumerate()
            .map(|(i, value)| Sample { time: 1000.0 + i as f64, value: *value })
            .collect()
    }

    fn found(values: &[f64], starts: &[f64], created: &[f64]) -> Restarts {
        let series = |values: &[f64]| Series { labels: Labels::new(), samples: samples(values) };
        let history = TargetHistory {
            scrapes: samples(&vec![1.0; values.len()]),
            process_started: samples(starts),
            created: if created.is_empty() { Vec::new() } else { vec![series(created)] },
            series: vec![series(values)],
            ..TargetHistory::default()
        };
        let good: Vec<f64> = history.scrapes.iter().map(|sample| sample.time).collect();
        find(&history, 2000.0, &good)
    }

    #[test]
    fn a_start_that_goes_back_is_two_processes_in_turn() {
        let found = found(&[5.0, 9.0, 12.0], &[990.0, 1000.5, 990.0], &[]);
        assert!(found.mixed.is_some_and(|why| why.contains("went back")));
    }

    #[test]
    fn a_process_that_ran_all_the_time_is_no_restart() {
        let found = found(&[5.0, 9.0], &[100.0, 103.0], &[]);
        assert!(found.mixed.is_some_and(|why| why.contains("ran before already")));
    }

    #[test]
    fn a_fall_in_the_same_process_is_no_restart() {
        let found = found(&[5.0, 3.0], &[100.0, 100.0], &[]);
        assert!(found.mixed.is_some_and(|why| why.contains("the same")));
    }

    #[test]
    fn a_counter_that_falls_and_is_back_again_and_again_is_several() {
        assert!(found(&[50.0, 40.0, 60.0, 45.0, 70.0], &[], &[]).mixed.is_some());
        let once = found(&[50.0, 4.0, 60.0, 70.0], &[], &[]);
        assert!(once.mixed.is_none() && once.unproven.is_some() && once.gaps.len() == 1);
    }

    #[test]
    fn a_restart_is_proven_by_a_later_start_or_by_series_that_were_made_anew() {
        for found in [found(&[50.0, 4.0], &[100.0, 1000.7], &[]), found(&[50.0, 50.0], &[], &[100.0, 1000.7])]
        {
            assert_eq!(found.gaps, [Gap { from: 1000.0, to: 1001.0 }]);
            assert!(found.mixed.is_none() && found.unproven.is_none());
        }
    }
}
