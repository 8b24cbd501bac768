//! `sre validate`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Validates stack and scenario files.
#[derive(Debug, Args)]
pub struct Validate {}

impl Validate {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre validate` is not there yet"))
    }
}
