//! `sre load --find-capacity`.

use clap::Args;

use super::Context;
use super::columns::{WIDTH, columns};
use super::load::parse;
use crate::error::Result;
use crate::exit::Exit;
use crate::figures::{NOTHING, count, latency, rate};
use crate::load::{Capacity, Held, Limit, Step};
use crate::run::{CapacitySearch, Senders};
use crate::scenario::{Duration, Rate, Scenario};
use crate::target::Lab;

/// The search for the highest rate that keeps the thresholds.
#[derive(Debug, Clone, Args)]
pub struct FindCapacity {
    /// Finds the highest rate that keeps the scenario's thresholds, by short loads one after another;
    /// --duration is how long each lasts [default: 5s].
    #[arg(long, conflicts_with_all = ["rate", "users", "out", "remote_write"])]
    find_capacity: bool,
    /// The rate that the search begins with [default: the scenario's highest].
    #[arg(long, value_name = "RATE", value_parser = parse::<Rate>, requires = "find_capacity")]
    from: Option<Rate>,
    /// The highest rate that is tried.
    #[arg(long, value_name = "RATE", value_parser = parse::<Rate>, requires = "find_capacity", default_value = "100000/s")]
    to: Rate,
}

/// How long a step lasts, unless it is told.
const STEP: Duration = Duration::from_secs(5);

impl FindCapacity {
    /// Whether it is asked for.
    pub fn asked(&self) -> bool {
        self.find_capacity
    }

    /// Searches, and prints the curve.
    pub async fn run(
        &self,
        scenario: &Scenario,
        step: Option<Duration>,
        senders: &Senders,
        lab: &Lab,
        context: &Context,
    ) -> Result<Exit> {
        let search = CapacitySearch {
            scenario,
            replicas: &lab.endpoints.replicas,
            from: self.from,
            to: self.to,
            step: step.unwrap_or(STEP),
            senders,
            interrupt: &context.interrupt,
        };
        let found = search.run(|step| context.terminal.say(line(step))).await?;
        context.terminal.print(&found, screen)?;
        Ok(found.exit())
    }
}

fn line(step: &Step) -> String {
    let why = step.why.first().map_or(String::new(), |why| format!(" · {why}"));
    format!("  {} · {}{why}", rate(step.rate), word(step.held))
}

fn word(held: Held) -> &'static str {
    match held {
        Held::Kept => "kept",
        Held::Broken => "broken",
        Held::Overloaded => "overloaded",
        Held::NoData => "no data",
    }
}

fn screen(found: &Capacity) -> String {
    let time = |time: Option<f64>| time.map_or(NOTHING.into(), latency);
    let rows = found.steps.iter().map(|step| {
        let errors = step.error_rate.map_or(NOTHING.into(), |rate| format!("{:.2} %", rate * 100.0));
        let (p50, p99) = (time(step.p50_ms), time(step.p99_ms));
        [rate(step.rate), count(step.sent), p50, p99, errors, word(step.held).into()]
    });
    let table = columns(WIDTH, ["RATE", "SENT", "P50", "P99", "ERRORS", "THRESHOLDS"], rows);
    format!("{table}\n\n{}", verdict(found))
}

fn verdict(found: &Capacity) -> String {
    let above = found.steps.iter().find(|step| step.held != Held::Kept);
    let why = above.map(|step| step.why.join("; ")).unwrap_or_default();
    let at = above.map_or(String::new(), |step| rate(step.rate));
    match (found.limit, found.capacity) {
        (Limit::Highest, Some(kept)) => {
            format!("capacity: {} at least, the highest that was tried", rate(kept))
        }
        (Limit::Thresholds, Some(kept)) => format!("capacity: {}; at {at}: {why}", rate(kept)),
        (Limit::Generator, Some(kept)) => {
            format!("capacity: {} at least; at {at} the generator was overloaded: {why}", rate(kept))
        }
        (Limit::Generator, None) => {
            format!("capacity: not known; at {at} the generator was overloaded: {why}")
        }
        (Limit::NoData, _) => format!("capacity: not known; at {at}: {why}"),
        (Limit::Thresholds | Limit::Highest, None) => {
            format!("capacity: below {at}, the lowest that was tried: {why}")
        }
    }
}
