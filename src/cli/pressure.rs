//! `sre pressure`.

use clap::{Args, Subcommand};

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::fault::pressure;
use crate::scenario::Duration;

/// Uses processors or memory where it runs, and ends by itself: what helper pods of faults run.
#[derive(Debug, Args)]
pub struct Pressure {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Uses so many processors.
    Cpu {
        /// How many: 1.5.
        #[arg(long)]
        cores: f64,
        /// For how long.
        #[arg(long = "for")]
        lasts: Duration,
    },
    /// Takes memory until a share of a limit is in use; ends also with its standard input.
    Memory {
        /// The share, from 0 to 1; at 1 the kernel kills the container.
        #[arg(long)]
        share: f64,
        /// The limit, in bytes.
        #[arg(long)]
        limit: u64,
        /// For how long.
        #[arg(long = "for")]
        lasts: Duration,
    },
}

impl Pressure {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        // Whoever started it waits for a line that says that it runs.
        context.terminal.print_text("started")?;
        match self.what {
            What::Cpu { cores, lasts } => pressure::cpu(cores, lasts.get(), &context.interrupt).await,
            What::Memory { share, limit, lasts } => {
                pressure::memory(share, limit, lasts.get(), &context.interrupt).await;
            }
        }
        Ok(Exit::Pass)
    }
}
