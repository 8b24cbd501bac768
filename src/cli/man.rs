//! `sre man`.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use super::files::Files;
use super::{Cli, Context};
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Writes the manual pages into a folder: one for `sre`, one for each of its commands.
#[derive(Debug, Args)]
pub struct Man {
    /// The folder, such as ~/.local/share/man/man1.
    folder: PathBuf,
    /// Overwrites pages that were changed, or are another version's.
    #[arg(long)]
    force: bool,
}

impl Man {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let pages =
            pages().map_err(|e| Error::prerequisite("the manual pages cannot be written").because(e))?;
        let pages = pages.into_iter().map(|(name, page)| (name, page.into()));
        let written = Files::compared(&self.folder, pages)?.write(self.force, context).await?;
        context.terminal.print(&written, |written| written.in_words())?;
        Ok(Exit::Pass)
    }
}

/// Every page, by its file's name.
fn pages() -> std::io::Result<Vec<(String, String)>> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    // This hands the global options on, and tells every command its full name.
    cli.build();
    let mut pages = Vec::new();
    add(&cli, None, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, above: Option<&str>, pages: &mut Vec<(String, String)>) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let page = Page::new(command.clone()).source(format!("sre {}", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut more = Roff::new();
    match above {
        None => {
            more.control("SH", ["EXIT STATUS"]);
            for exit in Exit::ALL {
                more.control("TP", []).text([bold(exit.code().to_string())]).text([roman(exit.meaning())]);
            }
        }
        Some(above) => {
            more.control("SH", ["SEE ALSO"]).text([bold(above), roman("(1)")]);
        }
    }
    more.to_writer(&mut text)?;
    pages.push((page.get_filename(), String::from_utf8_lossy(&text).into_owned()));
    for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        add(below, Some(name), pages)?;
    }
    Ok(())
}
