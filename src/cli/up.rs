//! `sre up`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Brings a stack up, and finishes when every scrape target is healthy.
#[derive(Debug, Args)]
pub struct Up {}

impl Up {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre up` is not there yet"))
    }
}
