//! `sre compare`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Compares two runs: counts, latencies, verdicts, and what changed.
#[derive(Debug, Args)]
pub struct Compare {}

impl Compare {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre compare` is not there yet"))
    }
}
