//! The verdict on counts: pure, from what Prometheus saw and what the client knows.
//!
//! A false pass is the worst that can happen, so agreement must hold in two scrapes of every target, and
//! whatever hides counts (a target that is not scraped, a restart, a counter that stands still, a label
//! that was renamed) makes a shortfall `no-data`, never `fail`, and never a pass.

use super::history::TargetHistory;
use super::reading::{Question, Reading, State};
use crate::check::Outcome;
use crate::figures::{clock, count, counted, duration};
use crate::target::ServicePod;

/// All that the verdict rests on.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// What was asked of the counters.
    pub question: Question<'a>,
    /// What Prometheus saw of each target; a target that is scraped twice stands here once.
    pub histories: Vec<TargetHistory>,
    /// Targets that were left out because they are another one over again: `127.0.0.1:8080 (job a, also job b)`.
    pub duplicates: Vec<String>,
    /// Replicas that must be scraped: name and `instance` label.
    pub replicas: Vec<(String, String)>,
    /// Pods that were replaced during the load.
    pub replaced: Vec<ServicePod>,
    /// Prometheus' time after the last answer.
    pub ended: f64,
    /// Prometheus' time until which a short count may be mended.
    pub deadline: f64,
    /// Prometheus' time now.
    pub now: f64,
    /// Seconds by which Prometheus' clock and this machine's went apart during the load.
    pub clock_moved: Option<f64>,
}

/// What can be said now.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// Nothing final yet; what is waited for.
    Wait(String),
    /// The verdict.
    Final(Vec<Outcome>),
}

/// A clock that moved by less is no matter of concern: scrapes are compared with Prometheus' own time.
const CLOCK_MOVED: f64 = 2.0;

impl Case<'_> {
    /// Judges what was seen until now.
    pub fn judge(&self) -> Judgement {
        let unscraped = self.unscraped();
        if let Some(finding) = self.clock_went_back() {
            return Judgement::Final(self.differ(&self.reading(None).unwrap_or_default(), finding, 0));
        }
        let mut previous: Option<State> = None;
        let mut last: Option<Reading> = None;
        for round in 0.. {
            let Some(reading) = self.reading(Some(round)) else { break };
            if let Some(finding) = broken(&reading) {
                return Judgement::Final(self.differ(&reading, finding, round + 1));
            }
            match (reading.state(), previous) {
                // The same in two scrapes of every target: it is not on its way past what was sent.
                (State::Agrees, Some(State::Agrees)) if unscraped.is_empty() => {
                    return Judgement::Final(self.agree(&reading));
                }
                (State::Over, _) => {
                    let verdict = self.unsettled(&reading).unwrap_or(Finding::Over);
                    return Judgement::Final(self.differ(&reading, verdict, round + 1));
                }
                (state, _) => previous = Some(state),
            }
            last = Some(reading);
        }
        let rounds = self.rounds();
        if self.now <= self.deadline {
            return Judgement::Wait(self.waiting(last.as_ref(), rounds));
        }
        let reading = self.reading(None).unwrap_or_default();
        let finding = match unscraped.into_iter().next().map(Finding::NoData).or_else(|| broken(&reading)) {
            Some(finding) => finding,
            None => match (reading.state(), rounds) {
                (State::Agrees, 0) => Finding::NoData("no target was scraped after the last response".into()),
                (State::Agrees, _) => {
                    // Gone targets have no second scrape; what is there agrees in all that can be read.
                    return Judgement::Final(self.agree(&reading));
                }
                _ => self.unsettled(&reading).unwrap_or(Finding::Short),
            },
        };
        Judgement::Final(self.differ(&reading, finding, rounds))
    }

    /// The counters in the scrape of this round (from 0) after the last answer, of every target that is still
    /// there; with `None`, in the last scrape of each. `None` while a target is missing in the round.
    fn reading(&self, round: Option<usize>) -> Option<Reading> {
        let mut at = Vec::new();
        for history in &self.histories {
            let end = match round {
                Some(round) if !history.gone => self.scrapes(history).nth(round)?,
                _ => match history.scrapes.iter().rev().find(|s| s.value == 1.0 && s.time <= self.deadline) {
                    Some(scrape) => scrape.time,
                    None => continue,
                },
            };
            at.push((history, end));
        }
        if round.is_some() && !self.histories.iter().any(|history| !history.gone) {
            return None;
        }
        Some(Reading::new(&self.question, &at))
    }

    /// Successful scrapes after the last answer and within the bound.
    fn scrapes<'a>(&self, history: &'a TargetHistory) -> impl Iterator<Item = f64> + 'a {
        let deadline = self.deadline;
        history.scrapes_after(self.ended).filter(move |time| *time <= deadline)
    }

    /// How often every target that is still there was scraped after the last answer.
    fn rounds(&self) -> usize {
        let present = self.histories.iter().filter(|history| !history.gone);
        present.map(|history| self.scrapes(history).count()).min().unwrap_or_default()
    }

    /// Targets that had to be scraped after the last answer and were not.
    fn unscraped(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (name, instance) in &self.replicas {
            if !self.histories.iter().any(|history| history.instance() == instance && !history.gone) {
                reasons.push(format!("{name} ({instance}) is not among the targets that Prometheus scrapes"));
            }
        }
        for history in self.histories.iter().filter(|history| self.scrapes(history).next().is_none()) {
            let name = self.name(history);
            if history.gone {
                // A target that is gone keeps its last count as a lower bound.
                continue;
            }
            let ok = history.last_scrape();
            reasons.push(match ok {
                Some(time) => format!(
                    "{name} was not scraped with success after the last response; the last time was {} before it",
                    duration((self.ended - time).max(0.0))
                ),
                None => format!("{name} was never scraped with success"),
            });
        }
        if self.histories.is_empty() && reasons.is_empty() {
            reasons.push("Prometheus scrapes no target of the service".into());
        }
        reasons
    }

    /// Scrapes from before the last answer would be taken for later ones, whatever they show.
    fn clock_went_back(&self) -> Option<Finding> {
        let seconds = self.clock_moved.filter(|seconds| *seconds < -CLOCK_MOVED)?;
        Some(Finding::NoData(format!(
            "Prometheus' clock went back by {} against this machine's during the load",
            duration(-seconds)
        )))
    }

    /// What hides counts, so that a difference proves nothing.
    fn unsettled(&self, reading: &Reading) -> Option<Finding> {
        if let Some(seconds) = self.clock_moved.filter(|seconds| seconds.abs() > CLOCK_MOVED) {
            return Some(Finding::NoData(format!(
                "Prometheus' clock moved by {} against this machine's during the load",
                duration(seconds.abs())
            )));
        }
        if let Some(history) =
            self.histories.iter().find(|history| !history.known_before && !history.from_zero)
        {
            return Some(Finding::NoData(format!(
                "{} was not scraped before the load: what it had counted until then is not known",
                self.name(history)
            )));
        }
        if let Some((series, at)) = reading.returned.first() {
            return Some(Finding::NoData(format!(
                "{series} was missing in a scrape and was back at {}: whether it began again from 0 is not known",
                clock(*at)
            )));
        }
        if let Some(renamed) = self.renamed(reading) {
            return Some(renamed);
        }
        // What hides counts explains a shortfall, never a surplus.
        if reading.state() == State::Over {
            return None;
        }
        if !reading.any_series {
            return Some(Finding::NoData(format!(
                "Prometheus has no series of {}; the targets were scraped",
                self.question.counter.metric
            )));
        }
        if let Some((target, gap)) = reading.restarts().next() {
            let missing: u64 = reading.rows.iter().map(|row| row.least.saturating_sub(row.counted)).sum();
            return Some(Finding::NoData(format!(
                "lost with the restart: between {} and {} requests; {} was started again between {} and {}",
                count(missing),
                count(missing + self.question.ledger.unknown()),
                self.name(&self.histories[target]),
                clock(gap.from),
                clock(gap.to),
            )));
        }
        if let Some(history) = self.histories.iter().find(|history| history.gone) {
            return Some(Finding::Replaced(format!(
                "{}: what it counted after its last scrape is not known",
                self.replacement(history)
            )));
        }
        for (history, target) in self.histories.iter().zip(&reading.targets) {
            let Some(still) = target.last_rise else { continue };
            let during = history.scrapes_after(still).filter(|time| *time <= self.ended).count();
            if during >= 2 {
                return Some(Finding::NoData(format!(
                    "the counters of {} stand still since {}, {} before the last response",
                    self.name(history),
                    clock(still),
                    duration(self.ended - still),
                )));
            }
        }
        self.histories.iter().zip(&reading.targets).find_map(|(history, target)| {
            let hidden = target.failed_scrapes > 0
                && !history.ran_throughout(history.last_scrape().unwrap_or(self.deadline));
            hidden.then(|| {
                Finding::NoData(format!(
                    "{} could not be scraped {}, and nothing proves that it was not started again meanwhile",
                    self.name(history),
                    counted(target.failed_scrapes as u64, "time"),
                ))
            })
        })
    }

    /// Series that ended although their process ran on, or that rose without the labels that tell requests apart.
    fn renamed(&self, reading: &Reading) -> Option<Finding> {
        let ended = reading.ended.first().map(|(series, _)| series);
        let began = reading.unrecognised.first().or(reading.began.first().map(|(series, _)| series));
        let text = match (ended, began) {
            (Some(ended), Some(began)) => format!("{ended} ended, {began} began"),
            (Some(ended), None) => format!("{ended} ended"),
            (None, _) => format!("{} lacks a label that tells requests apart", reading.unrecognised.first()?),
        };
        Some(Finding::NoData(text))
    }

    pub(super) fn name(&self, history: &TargetHistory) -> String {
        let instance = history.instance();
        let replaced = self.replaced.iter().filter(|_| history.gone);
        let replaced = replaced.filter_map(|pod| Some((&pod.name, pod.instance.as_ref()?)));
        let mut known = replaced.chain(self.replicas.iter().map(|(name, of)| (name, of)));
        match known.find(|(_, of)| *of == instance) {
            Some((name, _)) if name != instance => format!("{name} ({instance})"),
            _ => instance.to_owned(),
        }
    }

    /// `users-api-x (10.244.1.7:8080) was replaced during the load, at about 12:01:05`. When a pod went is known to
    /// Prometheus as the time of its last scrape.
    pub(super) fn replacement(&self, history: &TargetHistory) -> String {
        let at = history.last_scrape().map_or(String::new(), |at| format!(", at about {}", clock(at)));
        format!("{} was replaced during the load{at}", self.name(history))
    }

    fn waiting(&self, reading: Option<&Reading>, rounds: usize) -> String {
        let left = duration((self.deadline - self.now).max(0.0));
        match reading {
            None => format!("waiting for a scrape of every target after the last response ({left} left)"),
            Some(reading) => format!(
                "{} of {} counted after {} of every target ({left} left)",
                count(reading.counted()),
                count(self.question.ledger.answered()),
                counted(rounds as u64, "scrape"),
            ),
        }
    }
}

/// Why counts differ.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finding {
    /// More was counted than was sent.
    Over,
    /// Less was counted than was answered, and nothing hides counts.
    Short,
    /// Something hides counts.
    NoData(String),
    /// A pod was replaced: its last count is a lower bound.
    Replaced(String),
}

/// A counter that is raised by anything but whole requests does not count requests.
fn broken(reading: &Reading) -> Option<Finding> {
    let (series, by) = reading.broken.first()?;
    Some(Finding::NoData(format!("{series} rose by {by}: it does not count whole requests")))
}
