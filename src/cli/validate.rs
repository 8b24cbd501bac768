//! `sre validate`.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use crate::catalog::{Catalog, Validated};
use crate::error::Result;
use crate::exit::Exit;

/// Validates stack and scenario files, and shows everything that is wrong with them.
#[derive(Debug, Args)]
pub struct Validate {
    /// Scenario files, stack.yaml files or stacks' folders.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Validate {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let catalog = Catalog::here();
        let validated: Vec<Validated> = self.files.iter().map(|file| catalog.validate(file)).collect();
        let valid = validated.iter().all(|file| file.valid);
        context
            .terminal
            .print(&validated, |files| files.iter().map(in_words).collect::<Vec<_>>().join("\n"))?;
        Ok(if valid { Exit::Pass } else { Exit::Usage })
    }
}

fn in_words(file: &Validated) -> String {
    let mark = if file.valid { '✔' } else { '✘' };
    let kind = file.kind.map(|kind| format!("  {kind}")).unwrap_or_default();
    let name = file.name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    let problems: String = file.screens.iter().map(|screen| format!("\n{screen}\n")).collect();
    format!("{mark} {}{kind}{name}{problems}", file.file)
}
