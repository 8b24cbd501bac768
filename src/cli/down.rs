//! `sre down`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Takes down what `sre up` brought up.
#[derive(Debug, Args)]
pub struct Down {}

impl Down {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre down` is not there yet"))
    }
}
