//! A search for capacity: loads one after another, each judged by the scenario's thresholds.

use std::time::{Duration, Instant};

use super::Senders;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::load::{self, Capacity, Job, Link, LoadResult, LoadRun, Search, Share, Step, Team};
use crate::scenario::{Load, Rate, Scenario};
use crate::target::Replica;

/// Between the last preparation of a step and its first request.
const LEAD: Duration = Duration::from_millis(500);

/// A search for the highest rate that keeps a scenario's thresholds.
pub struct CapacitySearch<'a> {
    /// What is sent; its faults and checks are left out.
    pub scenario: &'a Scenario,
    /// Where to.
    pub replicas: &'a [Replica],
    /// The first rate; without it, the scenario's highest.
    pub from: Option<Rate>,
    /// The highest rate that is tried.
    pub to: Rate,
    /// How long each step lasts.
    pub step: crate::scenario::Duration,
    /// Who sends.
    pub senders: &'a Senders,
    /// Ctrl-C and SIGTERM.
    pub interrupt: &'a Interrupt,
}

impl CapacitySearch<'_> {
    /// Searches, and tells `each` of every step.
    ///
    /// # Errors
    /// A scenario without thresholds or without a rate, or an empty range (2); whatever a load meets; interrupted
    /// (130, 143).
    pub async fn run(&self, each: impl Fn(&Step)) -> Result<Capacity> {
        let from = self.from()?;
        let to = self.to.get();
        if from > to {
            return Err(Error::usage(format!("there is no rate between {from}/s and {to}/s"))
                .hint("--from RATE --to RATE, the lower one first"));
        }
        let salt = uuid::Uuid::new_v4().to_string();
        let mut search = Search::new(from, to);
        let mut number = 0;
        while let Some(rate) = search.next_rate() {
            number += 1;
            let scenario = self.at(rate)?;
            let result = self.send(&scenario, &format!("{}-{number}", &salt[..8])).await?;
            self.interrupt.check()?;
            let step = Step::new(rate, &scenario, &result.summary, &result.histograms);
            each(&step);
            search.record(step);
        }
        Ok(search.found())
    }

    fn from(&self) -> Result<f64> {
        let refused = |why: &str| {
            Error::usage(format!("no capacity can be found with the scenario {}", self.scenario.name))
                .because_of(why.to_owned())
        };
        if self.scenario.thresholds.is_empty() {
            return Err(refused("it has no thresholds: every rate would do")
                .hint("Add some, for example: thresholds: [p99 < 500ms, error rate < 1%]"));
        }
        let Load::ArrivalRate(load) = &self.scenario.load else {
            return Err(
                refused("its executor `users` asks for no rate").hint("Use an arrival-rate scenario.")
            );
        };
        let rates = load.phases.iter().flat_map(|phase| [Some(phase.rate), phase.to]).flatten();
        Ok(self.from.map_or_else(|| rates.map(Rate::get).fold(0.0, f64::max), Rate::get))
    }

    /// The scenario's shape of load, as high as this and as long as a step.
    fn at(&self, rate: f64) -> Result<Scenario> {
        let bare = Scenario { faults: Vec::new(), checks: Vec::new(), ..self.scenario.clone() };
        let rate = Rate::per_second(rate).ok_or_else(|| Error::usage(format!("{rate} is no rate")))?;
        bare.override_with(Some(rate), None, Some(self.step))
    }

    async fn send(&self, scenario: &Scenario, salt: &str) -> Result<LoadResult> {
        let mut called = self.senders.call(scenario, salt, self.interrupt).await?;
        let sent = match called.links() {
            Some(workers) => self.by_workers(scenario, salt, workers).await,
            None => self.here(scenario, salt).await,
        };
        called.dismiss().await;
        sent
    }

    async fn by_workers(&self, scenario: &Scenario, salt: &str, workers: Vec<Link>) -> Result<LoadResult> {
        let job = Job { workers, replicas: self.replicas, salt };
        let team = Team::start(job, scenario, self.interrupt).await?;
        let start = Instant::now() + team.lead();
        team.run(start, self.interrupt, &|_| {}, &|_| {}).await
    }

    async fn here(&self, scenario: &Scenario, salt: &str) -> Result<LoadResult> {
        load::execute(LoadRun {
            scenario,
            replicas: self.replicas,
            salt,
            share: Share::ALL,
            interrupt: self.interrupt,
            start: Instant::now() + LEAD,
            progress: &|_| {},
            noted: &|_| {},
        })
        .await
    }
}
