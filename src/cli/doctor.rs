//! `sre doctor`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Tells whether `sre up` can work here, and what mends it where it can't.
#[derive(Debug, Args)]
pub struct Doctor {}

impl Doctor {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre doctor` is not there yet"))
    }
}
