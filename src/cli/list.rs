//! `sre list`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Lists stacks and scenarios.
#[derive(Debug, Args)]
pub struct List {}

impl List {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre list` is not there yet"))
    }
}
