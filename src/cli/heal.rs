//! `sre heal`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Undoes every fault that is still injected.
#[derive(Debug, Args)]
pub struct Heal {}

impl Heal {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre heal` is not there yet"))
    }
}
