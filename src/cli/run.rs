//! `sre run`.

use clap::Args;

use super::load::{Overrides, Sending, same_stack};
use super::turn::{Turn, release};
use super::up::{Wanted, bring_up, external_as_written, recorded};
use super::{Context, report};
use crate::error::Result;
use crate::exit::Exit;
use crate::fault;
use crate::run::{self, Run as Life};
use crate::scenario::Scenario;
use crate::target::busy::Work;
use crate::target::kubernetes::lease::Lease;
use crate::target::{Folder, TargetKind};

/// Up if needed, load, verify and report, in one.
#[derive(Debug, Args)]
pub struct Run {
    /// The scenario: a name that `sre list` shows, or a file.
    pub scenario: String,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    sending: Sending,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    turn: Turn,
}

impl Run {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let scenario = self.overrides.load(&self.scenario, &context.terminal)?;
        let state = Folder::here()?;
        let command = format!("sre run {}", self.scenario);
        let _busy = self.turn.begin(&state, Work::Run, &command, context).await?;
        let mut lease = None;
        let done = self.at_work(&scenario, &state, &command, &mut lease, context).await;
        release(lease).await;
        done
    }

    async fn at_work(
        &self,
        scenario: &Scenario,
        state: &Folder,
        command: &str,
        lease: &mut Option<Lease>,
        context: &Context,
    ) -> Result<Exit> {
        // Before anything is mended: a fault that is held by another run must not be.
        fault::ensure_none(state, &context.terminal, &context.interrupt).await?;
        let here = recorded(state, context)?;
        if let Some(lab) = &here {
            same_stack(scenario, &lab.stack)?;
            *lease = self.turn.on_cluster(lab, (Work::Run, command), context).await?;
            if let Some(place) = &lab.cluster {
                fault::ensure_none_before_up(place, &context.terminal, &context.interrupt).await?;
            }
        }
        let (lab, stack) = match here {
            Some(lab) if lab.target == TargetKind::External => {
                external_as_written(lab, state, context).await?
            }
            _ => bring_up(Some(&scenario.stack), &self.wanted, state, context).await?,
        };
        if lease.is_none() {
            *lease = self.turn.on_cluster(&lab, (Work::Run, command), context).await?;
        }
        let (reached, senders) = self.sending.ways(&lab, state, context).await?;
        let lab = &reached.lab;
        let life = Life {
            scenario,
            stack: &stack,
            lab,
            reached: &reached,
            state,
            terminal: &context.terminal,
            interrupt: &context.interrupt,
            judged: true,
            senders,
        };
        let begun = self.sending.load(&life).await?;
        let verdict =
            run::verify(&begun.folder, state.root(), Some(lab), &begun.events, &context.interrupt).await;
        report::print_result(&begun.folder, &context.terminal)?;
        verdict
    }
}
