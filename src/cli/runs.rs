//! `sre runs`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Lists runs, or removes old ones.
#[derive(Debug, Args)]
pub struct Runs {}

impl Runs {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre runs` is not there yet"))
    }
}
