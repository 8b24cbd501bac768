//! `sre receiver`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Receives Alertmanager's notifications and keeps them.
#[derive(Debug, Args)]
pub struct Receiver {}

impl Receiver {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre receiver` is not there yet"))
    }
}
