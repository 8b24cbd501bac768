//! `sre down`.

use clap::Args;
use serde::Serialize;

use super::Context;
use super::turn::{Turn, release};
use crate::error::Result;
use crate::exit::Exit;
use crate::target::busy::Work;
use crate::target::kubernetes;
use crate::target::local::{self, Stopped};
use crate::target::{Folder, Lab, TargetKind};

/// Takes down what `sre up` brought up here; runs and data stay.
#[derive(Debug, Args)]
pub struct Down {
    /// Deletes Prometheus' data, logs and notifications, too; runs stay.
    #[arg(long)]
    purge: bool,
    /// Leaves the minikube cluster that `sre up` made, and removes only what is on it.
    #[arg(long)]
    keep_cluster: bool,
    #[command(flatten)]
    turn: Turn,
}

#[derive(Serialize)]
struct Removed {
    stack: String,
    context: String,
    /// What was removed, in the order of its removal.
    removed: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    /// The lab that was up, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<String>,
    stopped: Vec<Stopped>,
    purged: bool,
    /// Whether it was somebody's own, which goes on.
    #[serde(skip)]
    external: bool,
}

impl Down {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        let _busy = match folder.root().exists() {
            true => Some(self.turn.begin(&folder, Work::Change, "sre down", context).await?),
            false => None,
        };
        // What is not this user's is not taken down by what it says of itself.
        if let Err(error) = Lab::load(folder.root())
            && error.exit() == Exit::Prerequisite
        {
            return Err(error);
        }
        let purge = self.purge && folder.local().exists();
        if purge {
            let what = format!(
                "{} will be deleted: Prometheus' data, logs and notifications of this lab",
                folder.local().display()
            );
            context.terminal.consent(&what, &context.interrupt).await?;
        }
        let lab = Lab::load(folder.root()).ok().flatten();
        if let Some(Lab { stack, cluster: Some(place), .. }) = &lab {
            let lease = match &lab {
                Some(lab) => self.turn.on_cluster(lab, (Work::Change, "sre down"), context).await?,
                None => None,
            };
            let down =
                kubernetes::down::down(&folder, self.keep_cluster, &context.terminal, &context.interrupt);
            let down = down.await;
            release(lease).await;
            let removed = down?;
            if purge {
                local::purge(&folder)?;
            }
            let report = Removed { stack: stack.clone(), context: place.context.clone(), removed };
            context.terminal.print(&report, |report| {
                format!("{} is down on {}: {} removed", report.stack, report.context, report.removed.len())
            })?;
            return Ok(Exit::Pass);
        }
        let external = lab.as_ref().is_some_and(|lab| lab.target == TargetKind::External);
        let stack = lab.map(|lab| lab.stack);
        let stopped = local::down(&folder, &context.terminal, &context.interrupt).await?;
        if purge {
            local::purge(&folder)?;
        }
        context.terminal.print(&Report { stack, stopped, purged: purge, external }, screen)?;
        Ok(Exit::Pass)
    }
}

fn screen(report: &Report) -> String {
    let names: Vec<&str> = report.stopped.iter().map(|stopped| stopped.name.as_str()).collect();
    let mut lines = match (names.as_slice(), &report.stack) {
        ([], None) => vec!["nothing is up here".to_owned()],
        ([], Some(stack)) if report.external => {
            vec![format!("{stack} is no lab of this folder any more; what you run yourself goes on")]
        }
        ([], Some(stack)) => vec![format!("{stack} is down; none of its processes was running")],
        (names, _) => vec![format!("down: {}", names.join(", "))],
    };
    if report.purged {
        lines.push("data, logs and notifications are deleted; runs stay".into());
    }
    lines.join("\n")
}
