//! `sre fault`.

mod inject;
mod list;
mod place;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::fault::kubernetes;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::object::ObjectRef;

/// Faults: what there are, what each does, and injecting one by hand.
#[derive(Debug, Args)]
pub struct Fault {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Describe(list::Describe),
    Inject(Box<inject::Inject>),
    Heal(super::heal::Heal),
    #[command(hide = true)]
    Expire(Expire),
    #[command(hide = true)]
    Reach(Reach),
}

impl Fault {
    /// Whether it runs in a pod, and knows of no folder and no lab.
    pub fn is_inside(&self) -> bool {
        matches!(self.command, Command::Expire(_) | Command::Reach(_))
    }

    /// Whether it undoes faults itself, and tells of it at length.
    pub fn is_heal(&self) -> bool {
        matches!(self.command, Command::Heal(_))
    }

    /// Whether it injects a fault.
    pub fn injects(&self) -> bool {
        matches!(&self.command, Command::Inject(inject) if !inject.only_looks())
    }

    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        match self.command {
            Command::List(command) => command.run(context),
            Command::Describe(command) => command.run(context),
            Command::Inject(command) => command.run(context).await,
            Command::Heal(command) => command.run(context).await,
            Command::Expire(command) => command.run(context).await,
            Command::Reach(command) => command.run(context).await,
        }
    }
}

/// Undoes a fault from its annotation when its time is over: what the guard of a fault runs, in its pod.
#[derive(Debug, Args)]
struct Expire {
    /// The fault.
    #[arg(long)]
    id: String,
    /// The object that it is on, as JSON.
    #[arg(long)]
    on: String,
    /// For how many seconds the fault lasts.
    #[arg(long)]
    lasts: u64,
    /// For how many seconds it is waited for, where it is not on the object.
    #[arg(long)]
    patience: u64,
}

impl Expire {
    async fn run(self, context: &Context) -> Result<Exit> {
        let on: ObjectRef =
            serde_json::from_str(&self.on).map_err(|e| Error::usage("--on names no object").because(e))?;
        let work = async {
            let cluster = Cluster::inside().await?;
            let [lasts, patience] = [self.lasts, self.patience].map(Duration::from_secs);
            kubernetes::expire(&cluster, &self.id, &on, lasts, patience).await
        };
        let said = match context.interrupt.or(work).await?? {
            true => format!("healed the fault on {on}: nobody else had"),
            false => format!("no fault is on {on}"),
        };
        context.terminal.say(said);
        Ok(Exit::Pass)
    }
}

/// Connects to a pod until it no longer can: what a helper pod runs, to find out whether policies are enforced.
#[derive(Debug, Args)]
struct Reach {
    /// The address: `10.0.0.7:8080`.
    address: String,
}

impl Reach {
    async fn run(self, context: &Context) -> Result<Exit> {
        Ok(match context.interrupt.or(kubernetes::reach(&self.address)).await? {
            0 => Exit::Pass,
            3 => Exit::NoData,
            _ => Exit::CheckFailed,
        })
    }
}
