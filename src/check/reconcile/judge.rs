//! The verdict on counts: pure, from what Prometheus saw and what the client knows.
//!
//! A false pass is the worst that can happen, so agreement must hold in two scrapes of every target, and
//! whatever hides counts (a target that is not scraped, a restart, a counter that stands still, a label
//! that was renamed) makes a shortfall `no-data`, never `fail`, and never a pass.

use super::history::TargetHistory;
use super::lag::AnsweredSecond;
use super::reading::{Question, Reading, State};
use crate::check::Outcome;
use crate::check::pace::CLOCK_MOVED;
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
    /// What does not fit together, each as a sentence without its full stop: it makes any count doubtful.
    pub doubts: Vec<String>,
    /// What there is instead of the counter's series, where there are none: a sentence without its full stop.
    pub instead: Option<String>,
    /// When the client got answers that had to be counted.
    pub answered: Vec<AnsweredSecond>,
    /// Seconds in which every target is scraped twice, if all goes well.
    pub round: f64,
    /// Seconds by which counters may be behind, as the scenario says: agreement counts only after them.
    pub lag: f64,
    /// Seconds that were waited before the baseline, so that what was sent earlier is in it.
    pub settled: f64,
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

impl<'a> Case<'a> {
    /// What was seen of these targets, and nothing else that is known: the load ended at `ended`, a short count may be
    /// mended until `deadline`, and it is `now`.
    pub fn of(
        question: Question<'a>,
        histories: Vec<TargetHistory>,
        ended: f64,
        deadline: f64,
        now: f64,
    ) -> Case<'a> {
        Case {
            question,
            histories,
            duplicates: Vec::new(),
            replicas: Vec::new(),
            replaced: Vec::new(),
            doubts: Vec::new(),
            instead: None,
            answered: Vec::new(),
            round: 3.0,
            lag: 0.0,
            settled: 0.0,
            ended,
            deadline,
            now,
            clock_moved: None,
        }
    }
}

impl Case<'_> {
    /// Judges what was seen until now.
    pub fn judge(&self) -> Judgement {
        let unscraped = self.unscraped();
        if let Some(finding) = self.clock_went_back().or_else(|| self.doubtful()) {
            return Judgement::Final(self.differ(&self.reading(None).unwrap_or_default(), finding, 0));
        }
        let mut agreed = false;
        let mut last: Option<Reading> = None;
        for round in 0.. {
            let Some(reading) = self.reading(Some(round)) else { break };
            if let Some(finding) = self.broken(&reading) {
                return Judgement::Final(self.differ(&reading, finding, round + 1));
            }
            // A series without a sample in this scrape may get it later: samples do not always come together.
            let whole = reading.ended.is_empty();
            let confirms = whole && self.is_past_lag(round);
            match reading.state() {
                // The same in two scrapes of every target: it is not on its way past what was sent.
                State::Agrees if agreed && confirms && unscraped.is_empty() => {
                    return Judgement::Final(self.conclude(&reading, round + 1));
                }
                State::Over if whole => {
                    let verdict = self.unsettled(&reading).unwrap_or(Finding::Over);
                    return Judgement::Final(self.differ(&reading, verdict, round + 1));
                }
                state => agreed = state == State::Agrees && confirms,
            }
            last = Some(reading);
        }
        let rounds = self.rounds();
        let reading = self.reading(None).unwrap_or_default();
        // What was scraped within the bound may be seen a while after it.
        let complete = reading.ended.is_empty() && reading.any_series;
        if self.now <= self.deadline + if complete { 0.0 } else { self.round } {
            return Judgement::Wait(self.waiting(last.as_ref(), rounds));
        }
        let unscraped = unscraped.into_iter().next().map(Finding::NoData);
        let finding = match unscraped.or_else(|| self.broken(&reading)) {
            Some(finding) => finding,
            None => match (reading.state(), rounds) {
                (State::Agrees, 0) => Finding::NoData("no target was scraped after the last response".into()),
                (State::Agrees, 1) => Finding::NoData(
                    "the targets were scraped only once after the last response: nothing confirms that count"
                        .into(),
                ),
                (State::Agrees, _) => match self.renamed(&reading).filter(|_| reading.rose_and_ended) {
                    Some(renamed) => renamed,
                    None => return Judgement::Final(self.conclude(&reading, rounds)),
                },
                _ => self.unsettled(&reading).unwrap_or(Finding::Short),
            },
        };
        Judgement::Final(self.differ(&reading, finding, rounds))
    }

    /// A pass, unless something makes the agreement doubtful.
    fn conclude(&self, reading: &Reading, rounds: usize) -> Vec<Outcome> {
        match self.agreement_is_doubtful(reading) {
            Some(finding) => self.differ(reading, finding, rounds),
            None => self.agree(reading),
        }
    }

    /// Whether every target's scrape of this round is past the lag that the scenario names.
    fn is_past_lag(&self, round: usize) -> bool {
        let present = self.histories.iter().filter(|history| !history.gone);
        present
            .filter_map(|history| self.scrapes(history).nth(round))
            .all(|time| time > self.ended + self.lag)
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
                    // It was never scraped, and counts for nothing.
                    None => f64::MIN,
                },
            };
            at.push((history, end));
        }
        if round.is_some() && !self.histories.iter().any(|history| !history.gone) {
            return None;
        }
        Some(Reading::new(&self.question, &at))
    }

    /// Each target with the last scrape that is looked at.
    pub(super) fn until(&self, end: f64) -> Vec<(&TargetHistory, f64)> {
        self.histories.iter().map(|history| (history, end)).collect()
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
    /// What is there does not fit together.
    Doubtful(String),
    /// Whose requests a series counts is not known.
    Unassigned(String),
    /// Several counters stand behind one target.
    Mixed(String),
    /// Counters are behind what they count.
    Lag {
        /// What was seen.
        why: String,
        /// Seconds that they are behind, at least.
        behind: f64,
    },
    /// A pod was replaced: its last count is a lower bound.
    Replaced(String),
}
