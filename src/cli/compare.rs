//! `sre compare`.

use std::path::Path;

use clap::Args;

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::report::Report;
use crate::report::compare::{Comparison, text};
use crate::run::{RunFolder, STATE_DIR};
use crate::target::Folder;

/// Shows what changed from one run to another.
#[derive(Debug, Args)]
pub struct Compare {
    /// The run to compare with, by its id or its beginning.
    before: String,
    /// The run that is compared; the newest, if left out.
    after: Option<String>,
}

impl Compare {
    /// Runs the command: exit 0 once the comparison is printed, whatever changed.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        Folder::here()?;
        let report = |run| Report::read(&RunFolder::open(Path::new(STATE_DIR), run)?);
        let comparison = Comparison::of(&report(Some(&self.before))?, &report(self.after.as_deref())?);
        context.terminal.print(&comparison, text)?;
        Ok(Exit::Pass)
    }
}
