//! `sre init`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::catalog::{ShippedFile, shipped_files};
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Writes the stacks and scenarios that come with sre into this folder, to change them.
#[derive(Debug, Args)]
pub struct Init {
    /// Overwrites files that were changed.
    #[arg(long)]
    force: bool,
}

/// What became of each file, by path.
#[derive(Debug, Default, Serialize)]
struct Written {
    created: Vec<String>,
    overwritten: Vec<String>,
    unchanged: Vec<String>,
}

impl Init {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let planned = plan(Path::new("."), &shipped_files())?;
        if !self.force && !planned.written.overwritten.is_empty() {
            let changed = planned.written.overwritten.join("\n  ");
            let question = format!("These files were changed, and will be overwritten:\n  {changed}");
            context.terminal.consent(&question, &context.interrupt).await?;
        }
        planned.write()?;
        context.terminal.print(&planned.written, |written| written.in_words())?;
        Ok(Exit::Pass)
    }
}

/// What will be written, and what becomes of each file by it.
#[derive(Debug, Default)]
struct Plan {
    files: Vec<(PathBuf, &'static str)>,
    written: Written,
}

/// Compares files with those that are there.
fn plan(root: &Path, files: &[ShippedFile]) -> Result<Plan> {
    let mut plan = Plan::default();
    for file in files {
        let path = root.join(&file.path);
        let list = match fs::read(&path) {
            Ok(present) if present == file.text.as_bytes() => {
                plan.written.unchanged.push(file.path.clone());
                continue;
            }
            Ok(_) => &mut plan.written.overwritten,
            Err(e) if e.kind() == ErrorKind::NotFound => &mut plan.written.created,
            Err(e) => return Err(refused(&path, e)),
        };
        list.push(file.path.clone());
        plan.files.push((path, file.text));
    }
    Ok(plan)
}

impl Plan {
    fn write(&self) -> Result<()> {
        for (path, text) in &self.files {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(|e| refused(folder, e))?;
            fs::write(path, text).map_err(|e| refused(path, e))?;
        }
        Ok(())
    }
}

fn refused(path: &Path, cause: std::io::Error) -> Error {
    Error::prerequisite(format!("{} cannot be written", path.display())).because(cause)
}

impl Written {
    fn in_words(&self) -> String {
        let lists =
            [("created", &self.created), ("overwritten", &self.overwritten), ("unchanged", &self.unchanged)];
        let lines =
            lists.iter().flat_map(|(what, paths)| paths.iter().map(move |path| format!("{what:<12}{path}")));
        lines.collect::<Vec<_>>().join("\n")
    }
}
