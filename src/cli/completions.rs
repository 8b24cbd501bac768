//! `sre completions`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Prints a completion script for a shell.
#[derive(Debug, Args)]
pub struct Completions {}

impl Completions {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre completions` is not there yet"))
    }
}
