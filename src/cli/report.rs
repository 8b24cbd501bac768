//! `sre report`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Context, Output};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::report::{self, junit, markdown};
use crate::run::{RunFolder, STATE_DIR};
use crate::target::Folder;
use crate::terminal::{Terminal, json, yaml};

/// Prints a run's report.
#[derive(Debug, Args)]
pub struct Report {
    /// The run's id or its beginning; the newest run, if left out.
    run: Option<String>,
    /// The report's form; as `--output` says, if left out.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Writes the report into this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Keeps a run's result beside its events, and prints it where a machine asked for one.
///
/// # Errors
/// Where the folder or stdout cannot be written (5).
pub fn print_result(folder: &RunFolder, terminal: &Terminal) -> Result<()> {
    let report = report::Report::read(folder)?;
    folder.save_result(&report)?;
    terminal.print_for_machines(&report)
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// The object that scripts rely on.
    Json,
    /// The same as YAML.
    Yaml,
    /// For what shows test results.
    Junit,
    /// For merge requests, issues and job summaries.
    Markdown,
}

impl From<Output> for Format {
    fn from(output: Output) -> Format {
        match output {
            Output::Table => Format::Text,
            Output::Json => Format::Json,
            Output::Yaml => Format::Yaml,
            Output::Markdown => Format::Markdown,
        }
    }
}

impl Report {
    /// Runs the command: exit 0 once the report is printed, whatever its verdict.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        Folder::here()?;
        let folder = RunFolder::open(Path::new(STATE_DIR), self.run.as_deref())?;
        let report = report::Report::read(&folder)?;
        let text = match self.format.unwrap_or(context.global.output.into()) {
            Format::Text => report::text(&report),
            Format::Json => json(&report)?,
            Format::Yaml => yaml(&report)?,
            Format::Junit => junit::junit(&report)?,
            Format::Markdown => markdown::markdown(&report),
        };
        match &self.out {
            None => context.terminal.print_text(&text)?,
            Some(file) => {
                let plain = anstream::adapter::strip_str(text.trim_end()).to_string() + "\n";
                std::fs::write(file, plain).map_err(|e| {
                    Error::prerequisite(format!("{} cannot be written", file.display())).because(e)
                })?;
                context.terminal.say(format!("report of run {} written to {}", report.run, file.display()));
            }
        }
        Ok(Exit::Pass)
    }
}
