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
        #[arg(long, value_parser = cores)]
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

/// How many processors a machine may have: each is a thread.
const MOST: f64 = 4096.0;

fn cores(text: &str) -> std::result::Result<f64, String> {
    let cores: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    match (0.0..=MOST).contains(&cores) {
        true => Ok(cores),
        false => Err(format!("it must be from 0 to {MOST}")),
    }
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

#[cfg(test)]
mod tests {
    use super::cores;

    #[test]
    fn no_machine_has_more_processors_than_can_be_asked_for() {
        assert_eq!(cores("1.5"), Ok(1.5));
        for wrong in ["1e18", "-1", "NaN", "inf", "two"] {
            assert!(cores(wrong).is_err(), "{wrong}");
        }
    }
}
