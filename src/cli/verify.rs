//! `sre verify`.

use clap::Args;

use super::reach::reach;
use super::turn::Turn;
use super::up::what_is_up;
use super::verify_from::From;
use super::{Context, report};
use crate::error::Result;
use crate::exit::Exit;
use crate::report::terminal::Live;
use crate::run::{self, RunFolder};
use crate::target::Folder;
use crate::target::busy::Work;
use crate::target::kubernetes::reach::Way;

/// Judges a run, for the first time or again: holds what the client knows against what monitoring saw. With --from, the
/// client is another load generator, and what it knows is what it printed.
#[derive(Debug, Args)]
pub struct Verify {
    /// The run's id, or the beginning of it; the newest without it. With --from, the file with what the generator printed.
    #[arg(value_name = "RUN|FILE")]
    run: Option<String>,
    #[command(flatten)]
    pub(super) from: From,
}

impl Verify {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        if let Some(peer) = self.from.peer {
            return self.from.run(peer, self.run.as_deref(), context).await;
        }
        let state = Folder::here()?;
        let here = what_is_up(&state, context)?;
        // What is judged must stay up until it is.
        let turn = Turn::default();
        let _busy = match &here {
            Some(_) => Some(turn.begin(&state, Work::Judge, "sre verify", context).await?),
            None => None,
        };
        let reached = match here {
            Some(lab) => Some(reach(&lab, &Way::Unneeded, context).await?),
            None => None,
        };
        let lab = reached.as_ref().map(|reached| &reached.lab);
        let folder = RunFolder::open(state.root(), self.run.as_deref())?;
        let screen = Live::new(&context.terminal).after(&folder.read()?.events);
        let events = run::resume(&folder, Box::new(screen))?;
        let verdict = run::verify(&folder, state.root(), lab, &events, &context.interrupt).await;
        report::print_result(&folder, &context.terminal)?;
        verdict
    }
}
