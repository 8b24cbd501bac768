//! `sre runs`.

use std::path::Path;

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use jiff::Timestamp;

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::figures::counted;
use crate::report::runs::{Row, text};
use crate::run::{RunFolder, STATE_DIR};
use crate::target::Folder;

/// Lists the runs in this folder, newest first.
#[derive(Debug, Args)]
pub struct Runs {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Prune(Prune),
}

/// Removes old runs.
#[derive(Debug, Args)]
struct Prune {
    /// Keeps the newest N runs.
    #[arg(long, value_name = "N", required_unless_present = "older_than")]
    keep: Option<usize>,
    /// Removes only runs that started longer ago than this: `7d`, `12h`.
    #[arg(long, value_name = "TIME")]
    older_than: Option<humantime::Duration>,
    /// Only says what would be removed.
    #[arg(long)]
    dry_run: bool,
}

impl Runs {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        Folder::here()?;
        let folders = RunFolder::list(Path::new(STATE_DIR))?;
        match self.command {
            Some(Command::Prune(prune)) => prune.run(folders, context).await,
            None => {
                let rows: Vec<Row> = folders.iter().map(Row::of).collect();
                if rows.is_empty() {
                    context.terminal.say("There is no run here yet. `sre run errors` makes one.");
                    context.terminal.print_for_machines(&rows)?;
                } else {
                    context.terminal.print(&rows, |rows| text(rows, Timestamp::now()))?;
                }
                Ok(Exit::Pass)
            }
        }
    }
}

impl Prune {
    async fn run(self, folders: Vec<RunFolder>, context: &Context) -> Result<Exit> {
        let old = self.select(folders, Timestamp::now());
        if old.is_empty() {
            context.terminal.say("There is no run to remove.");
            return Ok(Exit::Pass);
        }
        let size = HumanBytes(old.iter().map(RunFolder::size).sum());
        let ids: Vec<_> = old.iter().map(|folder| format!("  {}", folder.id())).collect();
        let question = format!("Removes {} ({size}):\n{}", counted(old.len() as u64, "run"), ids.join("\n"));
        if self.dry_run {
            context.terminal.say(question);
            return Ok(Exit::Pass);
        }
        context.terminal.consent(&question, &context.interrupt).await?;
        for folder in &old {
            folder.remove()?;
        }
        context.terminal.say(format!("✔ {} removed", counted(old.len() as u64, "run")));
        Ok(Exit::Pass)
    }

    /// The runs that are not kept, of all runs, newest first; one that is going on is kept.
    fn select(&self, folders: Vec<RunFolder>, now: Timestamp) -> Vec<RunFolder> {
        let old = |folder: &RunFolder| {
            let age = now.duration_since(folder.started()).as_secs_f64();
            self.older_than.is_none_or(|limit| age > limit.as_secs_f64())
        };
        let rest = folders.into_iter().skip(self.keep.unwrap_or(0));
        rest.filter(|folder| old(folder) && !folder.is_running()).collect()
    }
}
