//! `sre run`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Up if needed, load, verify and report, in one.
#[derive(Debug, Args)]
pub struct Run {}

impl Run {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre run` is not there yet"))
    }
}
