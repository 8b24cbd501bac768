//! `sre schema`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Prints the JSON schema of stack or scenario files, for editors.
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre schema` is not there yet"))
    }
}
