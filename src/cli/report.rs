//! `sre report`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Prints a run's report.
#[derive(Debug, Args)]
pub struct Report {}

impl Report {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre report` is not there yet"))
    }
}
