//! `sre load`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Puts a scenario's load on the stack that is up, and judges what needs no server.
#[derive(Debug, Args)]
pub struct Load {}

impl Load {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre load` is not there yet"))
    }
}
