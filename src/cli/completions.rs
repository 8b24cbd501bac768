//! `sre completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context};
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Prints the completions of a shell, to be sourced by it.
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "sre", &mut script);
        let script = String::from_utf8(script)
            .map_err(|e| Error::usage(format!("the completions of {} are no text", self.shell)).because(e))?;
        context.terminal.print(&script, String::clone)?;
        Ok(Exit::Pass)
    }
}
