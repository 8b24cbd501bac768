//! `sre app`.

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// The demo service: the API of the labs.
#[derive(Debug, Args)]
pub struct App {}

impl App {
    /// Runs the command.
    pub async fn run(self, _context: &Context) -> Result<Exit> {
        Err(Error::usage("`sre app` is not there yet"))
    }
}
