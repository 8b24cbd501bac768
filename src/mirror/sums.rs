//! The list of a mirror's files with their SHA-256, as `sha256sum` writes and checks it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::digest;
use crate::error::{Error, Result};

/// Its file, in the mirror's folder.
pub const FILE: &str = "SHA256SUMS";

/// The folders whose files it lists.
pub const FOLDERS: [&str; 3] = ["charts", "images", "tools"];

/// A mirror's files, by their paths from its folder, with their SHA-256.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<String, String>);

impl Sums {
    /// Reads one; `place` says where it is.
    ///
    /// # Errors
    /// A prerequisite (exit 5): it is something else.
    pub fn parse(text: &str, place: &str) -> Result<Sums> {
        let known = digest::read_sums(text).ok_or_else(|| {
            Error::prerequisite(format!("{place} is no list of checksums, as `sha256sum` writes it"))
                .hint("`sre mirror fill DIR` writes it anew")
        })?;
        Ok(Sums(known.into_iter().collect()))
    }

    /// That of a mirror's folder; `None` where it has none.
    ///
    /// # Errors
    /// A prerequisite (exit 5): it cannot be read.
    pub fn of_folder(root: &Path) -> Result<Option<Sums>> {
        let path = root.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Sums::parse(&text, &path.display().to_string()).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::prerequisite(format!("{} cannot be read", path.display())).because(e)),
        }
    }

    /// What a file must be.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Lists all that is in a mirror's folder, and writes the list there; the SHA-256 of the list itself.
    ///
    /// # Errors
    /// A prerequisite (exit 5): a file cannot be read, or has changed since it was listed; the list cannot be written.
    pub fn write(root: &Path) -> Result<String> {
        let before = Sums::of_folder(root)?.unwrap_or_default();
        let mut known = Vec::new();
        for folder in FOLDERS {
            for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
                let path = entry.path();
                // What is being written has a name that begins with a dot.
                if !path.is_file() || entry.file_name().to_string_lossy().starts_with('.') {
                    continue;
                }
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                let sum = digest::of_file(&path).map_err(|e| {
                    Error::prerequisite(format!("{} cannot be read", path.display())).because(e)
                })?;
                match before.get(&name) {
                    Some(listed) if listed != sum => {
                        return Err(changed(&path.display().to_string(), listed, &sum));
                    }
                    _ => known.push((name, sum)),
                }
            }
        }
        known.sort();
        let path = root.join(FILE);
        let text = digest::write_sums(&known);
        super::fill::write_whole(&path, text.as_bytes())?;
        digest::of_reader(text.as_bytes())
            .map_err(|e| Error::prerequisite(format!("{} cannot be read", path.display())).because(e))
    }
}

/// A file is another than the list says.
pub fn changed(place: &str, listed: &str, found: &str) -> Error {
    Error::prerequisite(format!("{place} is not what the mirror's {FILE} lists: it was refused"))
        .because_of(format!("its SHA-256 is {found}, listed is {listed}"))
        .hint("remove it and fill the mirror again: sre mirror fill DIR; if you did not change it, somebody else did")
}

/// A mirror has no list, or a file that its list does not have.
pub fn unlisted(place: &str) -> Error {
    Error::prerequisite(format!("{place} cannot be held against a checksum"))
        .because_of(format!("the mirror's {FILE} does not list it, or there is none"))
        .hint("`sre mirror fill DIR` lists all that is there, also what was put there by hand")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_all_that_is_there_and_a_changed_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("images")).expect("a folder");
        fs::write(folder.path().join("images/a.tar"), "a").expect("a file");
        fs::write(folder.path().join("images/.half"), "x").expect("a file");
        let own = Sums::write(folder.path()).expect("a list");
        assert_eq!(digest::of_file(&folder.path().join(FILE)).ok(), Some(own));
        let sums = Sums::of_folder(folder.path()).expect("readable").expect("there");
        assert!(sums.get("images/a.tar").is_some() && sums.get("images/.half").is_none());

        // What was put there by hand is listed, too.
        fs::write(folder.path().join("images/b.tar"), "b").expect("a file");
        Sums::write(folder.path()).expect("a list");
        fs::write(folder.path().join("images/a.tar"), "A").expect("a file");
        let error = Sums::write(folder.path()).expect_err("it has changed");
        assert!(error.to_string().contains("images/a.tar is not what"), "{error}");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert!(Sums::parse("<html>", "x").is_err());
    }
}
