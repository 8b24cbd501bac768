//! `sre run`.

use clap::Args;

use super::load::Overrides;
use super::up::bring_up;
use super::{Context, report};
use crate::error::Result;
use crate::exit::Exit;
use crate::report::terminal::Live;
use crate::run::{self, Run as Life};
use crate::target::Folder;
use crate::{catalog, fault};

/// Up if needed, load, verify and report, in one.
#[derive(Debug, Args)]
pub struct Run {
    /// The scenario: a name that `sre list` shows, or a file.
    pub scenario: String,
    #[command(flatten)]
    overrides: Overrides,
    /// Sets a parameter of the stack, if it is not up yet.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How many replicas of the service run, if the stack is not up yet: short for `--set replicas=N`.
    #[arg(long, value_name = "N")]
    replicas: Option<usize>,
}

impl Run {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let scenario = self.overrides.apply(catalog::scenario(&self.scenario)?)?;
        let state = Folder::here()?;
        fault::recover(state.root(), &context.terminal).await?;
        let (lab, stack) = bring_up(&scenario.stack, &self.set, self.replicas, &state, context).await?;
        let life = Life {
            scenario: &scenario,
            stack: &stack,
            lab: &lab,
            state: state.root(),
            interrupt: &context.interrupt,
            judged: true,
        };
        let begun = life.begin(Box::new(Live::new(&context.terminal)))?;
        life.load(&begun).await?;
        let verdict =
            run::verify(&begun.folder, state.root(), Some(&lab), &begun.events, &context.interrupt).await;
        report::print_result(&begun.folder, &context.terminal)?;
        verdict
    }
}
