//! `sre init`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Writes the shipped stacks and scenarios here, to change them.
#[derive(Debug, Args)]
pub struct Init {}

impl Init {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre init` is not there yet"))
    }
}
