//! `sre init`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

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
        let written = write(Path::new("."), &shipped_files(), self.force || context.global.yes)?;
        context.terminal.print(&written, |written| written.in_words())?;
        Ok(Exit::Pass)
    }
}

/// Writes files into a folder. Nothing is written at all while a file was changed and may not be overwritten (exit 5).
fn write(root: &Path, files: &[ShippedFile], overwrite: bool) -> Result<Written> {
    let mut written = Written::default();
    let mut to_write = Vec::new();
    for file in files {
        let path = root.join(&file.path);
        let list = match fs::read(&path) {
            Ok(present) if present == file.text.as_bytes() => {
                written.unchanged.push(file.path.clone());
                continue;
            }
            Ok(_) => &mut written.overwritten,
            Err(e) if e.kind() == ErrorKind::NotFound => &mut written.created,
            Err(e) => return Err(refused(&path, e)),
        };
        list.push(file.path.clone());
        to_write.push((path, file.text));
    }
    if !overwrite && !written.overwritten.is_empty() {
        return Err(Error::prerequisite(
            "files here differ from those that come with sre, and were left as they are",
        )
        .because_of(written.overwritten.join("\n"))
        .hint("sre init --force overwrites them"));
    }
    for (path, text) in to_write {
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(|e| refused(folder, e))?;
        fs::write(&path, text).map_err(|e| refused(&path, e))?;
    }
    Ok(written)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_overwritten_with_consent_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |path: &str, text| ShippedFile { path: path.into(), text };
        let files = [file("scenarios/a.yaml", "a"), file("stacks/b/stack.yaml", "b")];
        assert_eq!(write(dir.path(), &files, false).expect("written").created.len(), 2);
        assert_eq!(write(dir.path(), &files, false).expect("nothing to do").unchanged.len(), 2);

        let changed = dir.path().join("scenarios/a.yaml");
        fs::write(&changed, "mine").expect("a change");
        fs::remove_file(dir.path().join("stacks/b/stack.yaml")).expect("a file");
        let error = write(dir.path(), &files, false).expect_err("no consent");
        assert_eq!(error.exit(), Exit::Prerequisite);
        assert!(!dir.path().join("stacks/b/stack.yaml").exists(), "all or nothing");
        assert_eq!(fs::read_to_string(&changed).expect("a file"), "mine");

        let written = write(dir.path(), &files, true).expect("consent");
        assert_eq!((written.created.len(), written.overwritten.len()), (1, 1));
        assert_eq!(fs::read_to_string(&changed).expect("a file"), "a");
    }
}
