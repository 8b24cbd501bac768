//! `sre open`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Prints where a part of the lab answers, and opens it.
#[derive(Debug, Args)]
pub struct Open {}

impl Open {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre open` is not there yet"))
    }
}
