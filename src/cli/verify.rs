//! `sre verify`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Judges a run: holds what the client knows against what monitoring saw.
#[derive(Debug, Args)]
pub struct Verify {}

impl Verify {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre verify` is not there yet"))
    }
}
