//! `sre run`.

use clap::Args;

use super::load::{Overrides, same_stack};
use super::reach::reach;
use super::up::{Wanted, as_it_is_up, bring_up, what_is_up};
use super::{Context, report};
use crate::error::Result;
use crate::exit::Exit;
use crate::report::terminal::Live;
use crate::run::{self, Run as Life};
use crate::target::{Folder, TargetKind};
use crate::{catalog, fault};

/// Up if needed, load, verify and report, in one.
#[derive(Debug, Args)]
pub struct Run {
    /// The scenario: a name that `sre list` shows, or a file.
    pub scenario: String,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    wanted: Wanted,
}

impl Run {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let scenario = self.overrides.apply(catalog::scenario(&self.scenario)?)?;
        let state = Folder::here()?;
        fault::recover(state.root(), &context.terminal).await?;
        let here = what_is_up(&state, context)?;
        if let Some(lab) = &here {
            same_stack(&scenario, &lab.stack)?;
        }
        let (lab, stack) = match here {
            // What is up already and is not ours to mend is taken as it is: the checks tell what is wrong with it.
            Some(lab) if lab.target == TargetKind::External => {
                let stack = as_it_is_up(&lab, &[])?;
                (lab, stack)
            }
            _ => bring_up(Some(&scenario.stack), &self.wanted, &state, context).await?,
        };
        let reached = reach(&lab, context).await?;
        let lab = &reached.lab;
        let life = Life {
            scenario: &scenario,
            stack: &stack,
            lab,
            state: state.root(),
            interrupt: &context.interrupt,
            judged: true,
        };
        let begun = life.begin(Box::new(Live::new(&context.terminal)))?;
        life.load(&begun).await?;
        let verdict =
            run::verify(&begun.folder, state.root(), Some(lab), &begun.events, &context.interrupt).await;
        report::print_result(&begun.folder, &context.terminal)?;
        verdict
    }
}
