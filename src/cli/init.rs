//! `sre init`.

use clap::Args;

use super::Context;
use super::files::Files;
use super::init_external::Service;
use crate::catalog::shipped_files;
use crate::error::Result;
use crate::exit::Exit;

/// Writes the stacks and scenarios that come with sre into this folder, to change them; with --external,
/// those of a service of your own.
#[derive(Debug, Args)]
pub struct Init {
    /// Overwrites files that were changed.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    service: Service,
}

impl Init {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        if !self.service.external.is_empty() {
            return self.service.init(self.force, context).await;
        }
        let shipped = shipped_files().into_iter().map(|file| (file.path, file.text.into()));
        let written = Files::compared(".", shipped)?.write(self.force, context).await?;
        context.terminal.print(&written, |written| written.in_words())?;
        Ok(Exit::Pass)
    }
}
