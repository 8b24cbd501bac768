//! `sre describe`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Describes a stack or a scenario.
#[derive(Debug, Args)]
pub struct Describe {}

impl Describe {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre describe` is not there yet"))
    }
}
