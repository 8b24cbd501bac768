//! `sre load`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::capacity::FindCapacity;
use super::push::Pushing;
use super::reach::reach;
use super::up::{as_it_is_up, what_is_up};
use super::{Context, Output, report};
use crate::catalog;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::report::{push::Push, samples::Samples, terminal::Live};
use crate::run::{self, Begun, Reporter, Run};
use crate::scenario::{Duration, Rate, Scenario};
use crate::target::Folder;
use crate::terminal::Terminal;

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
    #[command(flatten)]
    sending: Sending,
    #[command(flatten)]
    capacity: FindCapacity,
}

/// The same shape of load, higher, wider or longer.
#[derive(Debug, Clone, Default, Args)]
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

/// How load is sent, and where its seconds go.
#[derive(Debug, Clone, Args)]
pub struct Sending {
    /// So many processes of sre send it together.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub workers: u64,
    /// Writes each second of the load into this file, as a line of JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    push: Pushing,
}

impl Sending {
    /// Begins a run, and puts its load on; its seconds go to the screen, and wherever else they are wanted.
    ///
    /// # Errors
    /// Usage (exit 2) where two want stdout; a prerequisite (5) where the file cannot be made or nothing takes the
    /// samples; and as [`Run::load`].
    pub async fn load(&self, life: &Run<'_>) -> Result<Begun> {
        let mut reporters = self.reporters(life.terminal)?;
        let mut push = life.interrupt.or(self.push.start(life.lab, life.terminal)).await??;
        reporters.extend(push.as_mut().and_then(Push::reporter));
        let begun = life.begin(reporters)?;
        let loaded = life.load(&begun).await;
        if let Some(push) = push {
            self.push.finish(push, life.terminal).await;
        }
        loaded.map(|_| begun)
    }

    /// The live screen, and the stream of samples where one is asked for.
    fn reporters(&self, terminal: &Terminal) -> Result<Vec<Box<dyn Reporter>>> {
        let Some(file) = &self.out else { return Ok(vec![Box::new(Live::new(terminal))]) };
        let to_stdout = file == Path::new("-");
        if to_stdout && terminal.output() != Output::Table {
            return Err(Error::usage("--out - and --output want stdout, both")
                .hint("--out FILE; or sre report -o json afterwards"));
        }
        let live = if to_stdout { Live::on_stderr(terminal) } else { Live::new(terminal) };
        Ok(vec![Box::new(live), Box::new(Samples::create(file)?)])
    }
}

/// A value of the command line.
pub(super) fn parse<T: std::str::FromStr<Err = String>>(text: &str) -> std::result::Result<T, String> {
    text.parse()
}

impl Overrides {
    /// The scenario of this name or file, with this load; what is doubtful in its file is told.
    ///
    /// # Errors
    /// Usage (exit 2) where there is none, it is not sound, or this load does not fit it.
    pub fn load(&self, name_or_path: &str, terminal: &Terminal) -> Result<Scenario> {
        let loaded = catalog::scenario(name_or_path)?;
        loaded.warnings.iter().for_each(|warning| terminal.warn(warning));
        loaded.scenario.override_with(self.rate, self.users, self.duration)
    }
}

impl Load {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let name = self.named.as_ref().unwrap_or(&self.scenario);
        let scenario = match self.capacity.asked() {
            true => Overrides::default().load(name, &context.terminal)?,
            false => self.overrides.load(name, &context.terminal)?,
        };
        let state = Folder::here()?;
        let lab = what_is_up(&state, context)?
            .ok_or_else(|| Error::target("nothing is up here").hint(format!("sre up {}", scenario.stack)))?;
        same_stack(&scenario, &lab.stack)?;
        if self.capacity.asked() {
            let (step, workers) = (self.overrides.duration, self.sending.workers);
            return self.capacity.run(&scenario, step, workers, &lab, context).await;
        }
        let stack = as_it_is_up(&lab, &[])?;
        let reached = reach(&lab, context).await?;
        let life = Run {
            scenario: &scenario,
            stack: &stack,
            lab: &reached.lab,
            reached: &reached,
            state: &state,
            terminal: &context.terminal,
            interrupt: &context.interrupt,
            judged: false,
            workers: self.sending.workers,
        };
        let begun = self.sending.load(&life).await?;
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
