//! `sre logs`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Prints what a part of the lab wrote.
#[derive(Debug, Args)]
pub struct Logs {}

impl Logs {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre logs` is not there yet"))
    }
}
