//! Files that a command writes for the user to change, and never overwrites unasked.

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Context;
use crate::error::{Error, Result};

/// Files to write, compared with those that are there.
#[derive(Debug, Default)]
pub struct Files {
    changed: Vec<(PathBuf, Cow<'static, str>)>,
    written: Written,
}

/// What became of each file, by path.
#[derive(Debug, Default, Serialize)]
pub struct Written {
    created: Vec<String>,
    overwritten: Vec<String>,
    unchanged: Vec<String>,
}

impl Files {
    /// Compares files, by their paths from `root`, with those that are there.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where one that is there cannot be read.
    pub fn compared(
        root: impl AsRef<Path>,
        files: impl IntoIterator<Item = (String, Cow<'static, str>)>,
    ) -> Result<Files> {
        let mut compared = Files::default();
        for (name, text) in files {
            let path = root.as_ref().join(&name);
            let list = match fs::read(&path) {
                Ok(present) if present == text.as_bytes() => {
                    compared.written.unchanged.push(name);
                    continue;
                }
                Ok(_) => &mut compared.written.overwritten,
                Err(e) if e.kind() == ErrorKind::NotFound => &mut compared.written.created,
                Err(e) => return Err(refused(&path, e)),
            };
            list.push(name);
            compared.changed.push((path, text));
        }
        Ok(compared)
    }

    /// Writes them; asks before one that was changed is overwritten, unless `force` says so.
    ///
    /// # Errors
    /// A prerequisite (exit 5) without consent, or where one cannot be written.
    pub async fn write(self, force: bool, context: &Context) -> Result<Written> {
        if !force && !self.written.overwritten.is_empty() {
            let changed = self.written.overwritten.join("\n  ");
            let question = format!("These files were changed, and would be overwritten:\n  {changed}");
            context.terminal.consent(&question, &context.interrupt).await?;
        }
        for (path, text) in &self.changed {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder).map_err(|e| refused(folder, e))?;
            fs::write(path, text.as_bytes()).map_err(|e| refused(path, e))?;
        }
        Ok(self.written)
    }
}

fn refused(path: &Path, cause: std::io::Error) -> Error {
    Error::prerequisite(format!("{} cannot be written", path.display())).because(cause)
}

impl Written {
    /// A line a file.
    pub fn in_words(&self) -> String {
        let lists =
            [("created", &self.created), ("overwritten", &self.overwritten), ("unchanged", &self.unchanged)];
        let lines =
            lists.iter().flat_map(|(what, paths)| paths.iter().map(move |path| format!("{what:<12}{path}")));
        lines.collect::<Vec<_>>().join("\n")
    }
}
