//! What hides counts, or makes them doubtful: why a difference, or an agreement, proves nothing. Pure.

use super::history::TargetHistory;
use super::judge::{Case, Finding};
use super::lag::{self, Lag};
use super::reading::{LARGEST, Reading, State, Unassigned};
use crate::check::pace::CLOCK_MOVED;
use crate::figures::{clock, count, counted, duration};

impl Case<'_> {
    /// What hides counts, so that a difference proves nothing.
    pub(super) fn unsettled(&self, reading: &Reading) -> Option<Finding> {
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
        if let Some(finding) = self.returned(reading).or_else(|| self.renamed(reading)) {
            return Some(finding);
        }
        // What hides counts explains a shortfall, never a surplus.
        if reading.state() == State::Over {
            return self.behind_before_the_load(reading).or_else(|| self.unproven_fall(reading));
        }
        let raised_are_short = reading.raised.iter().any(|row| row.state == State::Short);
        let raised = || unassigned(reading.unassigned_raised.first().filter(|_| raised_are_short)?);
        if let Some(finding) = reading.unassigned.first().and_then(unassigned).or_else(raised) {
            return Some(finding);
        }
        if !reading.any_series {
            let instead = self.instead.as_ref().map_or(String::new(), |instead| format!("; {instead}"));
            return Some(Finding::NoData(format!(
                "Prometheus has no series of {}; the targets were scraped{instead}",
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
        if let Some(silent) = self.silent(reading) {
            return Some(silent);
        }
        for (history, target) in self.histories.iter().zip(&reading.targets) {
            let Some(still) = target.last_rise() else { continue };
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
        self.behind_before_the_load(reading)
            .or_else(|| self.behind_at_the_bound(reading))
            .or_else(|| self.hidden_by_failed_scrapes(reading))
    }

    /// A restart may hide where a target could not be scraped.
    fn hidden_by_failed_scrapes(&self, reading: &Reading) -> Option<Finding> {
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

    /// What does not fit together makes any count doubtful.
    pub(super) fn doubtful(&self) -> Option<Finding> {
        self.doubts.first().map(|doubt| Finding::Doubtful(doubt.clone()))
    }

    /// What shows that the samples are no counts of whole requests by one process.
    pub(super) fn broken(&self, reading: &Reading) -> Option<Finding> {
        if let Some((series, by)) = reading.broken.first() {
            let why = if *by >= LARGEST || (*by - by.round()).abs() < 1e-6 {
                "its values are above 2^53, where samples are no longer exact".to_owned()
            } else {
                "it does not count whole requests".to_owned()
            };
            return Some(Finding::NoData(format!("{series} rose by {by}: {why}")));
        }
        self.histories.iter().zip(&reading.targets).find_map(|(history, target)| {
            let why = target.mixed.as_ref()?;
            Some(Finding::Mixed(format!(
                "{} is several processes that answer scrapes in turn, each with counters of its own: {why}",
                self.name(history)
            )))
        })
    }

    /// What makes an agreement doubtful.
    pub(super) fn agreement_is_doubtful(&self, reading: &Reading) -> Option<Finding> {
        if self.question.ledger.answered() == 0 {
            return Some(Finding::NoData(format!(
                "no request got a complete answer: any count up to {} would agree",
                count(self.question.ledger.unknown())
            )));
        }
        let unassigned = || reading.unassigned.first().and_then(unassigned);
        self.returned(reading).or_else(unassigned).or_else(|| self.behind_before_the_load(reading))
    }

    /// A series that was away and came back no lower counts anew from 0, or goes on.
    fn returned(&self, reading: &Reading) -> Option<Finding> {
        let (series, at) = reading.returned.first()?;
        Some(Finding::NoData(format!(
            "{series} was missing in a scrape and was back at {}: whether it began again from 0 is not known",
            clock(*at)
        )))
    }

    /// A counter that fell without telling of a new process: restarted, or several processes in turn.
    fn unproven_fall(&self, reading: &Reading) -> Option<Finding> {
        self.histories.iter().zip(&reading.targets).find_map(|(history, target)| {
            let gap = target.unproven?;
            Some(Finding::Mixed(format!(
                "a counter of {} fell at {}, and nothing tells whether its process was started again or several processes answer scrapes in turn",
                self.name(history),
                clock(gap.to)
            )))
        })
    }

    fn lag(&self, reading: &Reading) -> Lag {
        let end = reading.until;
        let unknown = self.question.ledger.unknown();
        lag::measure(&self.until(end), &reading.targets, &self.answered, self.ended, unknown)
    }

    /// Counters that are behind by more than was waited before the load may show in it what was counted before.
    fn behind_before_the_load(&self, reading: &Reading) -> Option<Finding> {
        let Lag { behind, open, last_rise, .. } = self.lag(reading);
        // Where nothing rose, nothing that was counted before can be among it.
        last_rise?;
        let behind = behind.max(open);
        (behind > self.settled).then(|| Finding::Lag {
            why: format!(
                "the counters are behind by {} or more: what was counted before the load may have shown only in it",
                duration(behind)
            ),
            behind,
        })
    }

    /// A shortfall proves nothing while more may be to come.
    fn behind_at_the_bound(&self, reading: &Reading) -> Option<Finding> {
        let Lag { behind, last_rise, apart, .. } = self.lag(reading);
        let waited = self.deadline - self.ended;
        let Some(rise) = last_rise else {
            return Some(Finding::Lag {
                why: format!(
                    "no counter rose since the load began, until {} after the last response: nothing is counted, or the metrics are behind by more than that (exporters of OpenTelemetry send once a minute)",
                    duration(waited)
                ),
                behind: waited.max(lag::USUAL_EXPORT),
            });
        };
        // An export in the middle of a short load looks like a service that counts half of it. The next one tells; it comes
        // no later than two rises were apart. Whoever named a lag has said when.
        if self.settled == 0.0 && self.deadline - rise < apart.unwrap_or(f64::MAX).min(lag::USUAL_EXPORT) {
            return Some(Finding::Lag {
                why: format!(
                    "{}: whether they are exported once in a while, and the next export shows the rest, cannot be told",
                    match apart {
                        None => "the counters rose in a single scrape".to_owned(),
                        Some(apart) => format!("the counters rose every {} at the most", duration(apart)),
                    }
                ),
                behind: waited.max(lag::USUAL_EXPORT),
            });
        }
        let still_rising = rise > self.ended && self.deadline - rise < waited / 2.0;
        let rests = self.deadline - rise < 2.0 * behind;
        (still_rising || (behind > 0.0 && rests)).then(|| Finding::Lag {
            why: format!(
                "the counters rose until {}, {} before the wait was over: they lag by more than the {} that were waited",
                clock(rise),
                duration(self.deadline - rise),
                duration(waited)
            ),
            behind: behind.max(waited),
        })
    }

    /// A target of which Prometheus has no series of the counter: a page of HTML is scraped with success, too.
    fn silent(&self, reading: &Reading) -> Option<Finding> {
        let serves = |history: &&TargetHistory| {
            let metric = &self.question.counter.metric;
            history.series.iter().any(|series| series.labels.get("__name__") == Some(metric))
        };
        let silent = self.histories.iter().find(|history| !serves(history))?;
        (self.histories.len() > 1 && reading.any_series).then(|| {
            Finding::NoData(format!(
                "{} is scraped with success and has no series of {}: is that its page of metrics?",
                self.name(silent),
                self.question.counter.metric
            ))
        })
    }

    /// Series that ended although their process ran on, and what began in their place.
    pub(super) fn renamed(&self, reading: &Reading) -> Option<Finding> {
        let (ended, _) = reading.ended.first()?;
        let unassigned = reading.unassigned.first().map(|unassigned| &unassigned.series);
        let began = unassigned.or(reading.began.first().map(|(series, _)| series));
        Some(Finding::NoData(match began {
            Some(began) => format!("{ended} ended, {began} began"),
            None => format!("{ended} ended"),
        }))
    }
}

/// A series that rose without a label that tells requests apart.
fn unassigned(series: &Unassigned) -> Option<Finding> {
    Some(Finding::Unassigned(series.in_words()))
}
