//! The folder that holds a lab's state: `./.sre`.

use std::io;
use std::path::{Path, PathBuf};

use super::own_files;
use crate::error::{Error, Result};

/// Below this much free space nothing is started: Prometheus alone would soon fill it.
const LEAST_FREE: u64 = 64 << 20;

/// The folder that holds a lab's state. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// `.sre` in the current folder; it need not be there yet.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where it is not this user's own, as for [`own_files::check`].
    pub fn here() -> Result<Folder> {
        let folder = Folder::unchecked()?;
        own_files::check(folder.root())?;
        Ok(folder)
    }

    /// `.sre` in the current folder, whoever made it: for who only looks.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where the current folder cannot be told.
    pub fn unchecked() -> Result<Folder> {
        let current = std::env::current_dir()
            .map_err(|e| Error::prerequisite("the current folder cannot be told").because(e))?;
        Ok(Folder::at(&current.join(".sre")))
    }

    /// The one at this path.
    pub fn at(root: &Path) -> Folder {
        Folder { root: std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf()) }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What belongs to the target `local`.
    pub fn local(&self) -> PathBuf {
        self.root.join("local")
    }

    /// What a process writes: `local/logs/NAME.log`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.local().join("logs").join(format!("{name}.log"))
    }

    /// Prometheus' data.
    pub fn data(&self) -> PathBuf {
        self.local().join("data")
    }

    /// Makes the folder and those below it. An error (exit 5) if it cannot be written or the disk is full.
    pub fn prepare(&self) -> Result<()> {
        let failed = |e: io::Error| self.unwritable().because(e);
        self.make().map_err(failed)?;
        // Prometheus and others write below it, and follow links.
        own_files::check_whole(&self.local())?;
        for folder in [self.local().join("logs"), self.local().join("rules"), self.data()] {
            own_files::make(&folder).map_err(failed)?;
        }
        match self.free() {
            Ok(free) if free < LEAST_FREE => Err(self
                .unwritable()
                .because_of(format!("only {} MB are free on its disk", free / 1_000_000))),
            Ok(_) => Ok(()),
            Err(e) => Err(failed(e)),
        }
    }

    /// Makes the folder, where it is not there yet, for its owner alone.
    pub fn make(&self) -> io::Result<()> {
        own_files::make(&self.root)?;
        // State is a machine's own: it is never committed with the folder that it lies in.
        let ignore = own_files::options().write(true).create_new(true).open(self.root.join(".gitignore"));
        match ignore.and_then(|mut file| io::Write::write_all(&mut file, b"*\n")) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => Ok(()),
        }
    }

    /// Bytes that are free on its disk, for who is not root.
    pub fn free(&self) -> io::Result<u64> {
        let there = self.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let disk = rustix::fs::statvfs(there)?;
        Ok(disk.f_bavail * disk.f_frsize)
    }

    /// Replaces a file in one step: whoever reads it finds the old one or the new one.
    pub fn write(&self, path: &Path, text: &str) -> Result<()> {
        let failed =
            |e: io::Error| Error::prerequisite(format!("{} cannot be written", path.display())).because(e);
        let folder = path.parent().unwrap_or(&self.root);
        own_files::make(folder).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
        // Without it a power cut may leave an empty file under the name.
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    fn unwritable(&self) -> Error {
        Error::prerequisite(format!("{} cannot be used", self.root.display()))
            .hint("make room or give yourself the right to write there, or work in another folder")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_leaves_no_other() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(&place.path().join(".sre"));
        let path = folder.local().join("prometheus.yml");
        folder.write(&path, "a").expect("written");
        folder.write(&path, "b").expect("written again");
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("b"));
        assert_eq!(fs::read_dir(folder.local()).map(Iterator::count).ok(), Some(1));
    }

    #[test]
    fn a_file_in_its_place_is_a_missing_prerequisite() {
        let place = tempfile::tempdir().expect("a folder");
        fs::write(place.path().join(".sre"), "a file").expect("written");
        let error = Folder::at(&place.path().join(".sre")).prepare().expect_err("it is no folder");
        assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
    }
}
