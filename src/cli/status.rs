//! `sre status`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Shows what is up here, and how it is.
#[derive(Debug, Args)]
pub struct Status {}

impl Status {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre status` is not there yet"))
    }
}
