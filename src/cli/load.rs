//! `sre load`.

use clap::Args;

use super::reach::reach;
use super::up::{as_it_is_up, what_is_up};
use super::{Context, report};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::report::terminal::Live;
use crate::run::{self, Run};
use crate::scenario::{Duration, Rate, Scenario};
use crate::target::Folder;
use crate::{catalog, fault};

/// Puts a scenario's load on the stack that is up, and judges what needs no server: thresholds, and whether
/// the generator kept up.
#[derive(Debug, Args)]
pub struct Load {
    /// The scenario: a name that `sre list` shows, or a file.
    #[arg(default_value = "baseline", conflicts_with = "named")]
    scenario: String,
    /// The same, by name.
    #[arg(long = "scenario", value_name = "NAME", id = "named")]
    named: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
}

/// The same shape of load, higher, wider or longer.
#[derive(Debug, Clone, Args)]
pub struct Overrides {
    /// The highest rate of all phases; the others keep their proportion to it.
    #[arg(long, value_name = "RATE", value_parser = parse::<Rate>)]
    rate: Option<Rate>,
    /// Users at the same time.
    #[arg(long, value_name = "N")]
    users: Option<usize>,
    /// How long the whole load lasts.
    #[arg(long, value_name = "TIME", value_parser = parse::<Duration>)]
    duration: Option<Duration>,
}

fn parse<T: std::str::FromStr<Err = String>>(text: &str) -> std::result::Result<T, String> {
    text.parse()
}

impl Overrides {
    /// The scenario with another load.
    ///
    /// # Errors
    /// Usage (exit 2) where it does not fit the scenario.
    pub fn apply(&self, scenario: Scenario) -> Result<Scenario> {
        scenario.override_with(self.rate, self.users, self.duration)
    }
}

impl Load {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let name = self.named.as_ref().unwrap_or(&self.scenario);
        let scenario = self.overrides.apply(catalog::scenario(name)?)?;
        let state = Folder::here()?;
        fault::recover(state.root(), &context.terminal).await?;
        let lab = what_is_up(&state, context)?
            .ok_or_else(|| Error::target("nothing is up here").hint(format!("sre up {}", scenario.stack)))?;
        same_stack(&scenario, &lab.stack)?;
        let stack = as_it_is_up(&lab, &[])?;
        let reached = reach(&lab, context).await?;
        let life = Run {
            scenario: &scenario,
            stack: &stack,
            lab: &reached.lab,
            state: state.root(),
            interrupt: &context.interrupt,
            judged: false,
        };
        let begun = life.begin(Box::new(Live::new(&context.terminal)))?;
        life.load(&begun).await?;
        let verdict = run::judge_load(&begun.folder, &begun.events);
        report::print_result(&begun.folder, &context.terminal)?;
        verdict
    }
}

/// A scenario names its stack; on another one its counts would mean nothing.
///
/// # Errors
/// Usage (exit 2).
pub fn same_stack(scenario: &Scenario, up: &str) -> Result<()> {
    if scenario.stack == up {
        return Ok(());
    }
    Err(Error::usage(format!("the scenario {} is for the stack {}", scenario.name, scenario.stack))
        .because_of(format!("the stack {up} is up here"))
        .hint(format!("sre down, then sre up {}; or work in another folder", scenario.stack)))
}
