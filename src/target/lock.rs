//! One `sre` at a time changes a lab: `.sre/lock`.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Folder, own_files};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::locked_file::LockedFile;
use crate::terminal::Terminal;

/// How much of what a holder wrote about itself is shown.
const HOLDER: u64 = 200;

/// Holds a lab's lock until it is dropped; the system drops it with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: LockedFile,
}

impl Lock {
    /// Takes the lock; `purpose` (`sre up`) is what others will be told. Waits for at most `bound`,
    /// saying for whom. Errors: exit 5 if it cannot be written, exit 6 after `bound`.
    pub async fn take(
        folder: &Folder,
        purpose: &str,
        bound: Duration,
        terminal: &Terminal,
        interrupt: &Interrupt,
    ) -> Result<Lock> {
        let path = folder.root().join("lock");
        let failed =
            |e: io::Error| Error::prerequisite(format!("{} cannot be locked", path.display())).because(e);
        own_files::make(folder.root()).map_err(failed)?;
        let deadline = Instant::now() + bound;
        let mut told = false;
        let file = loop {
            if let Some(file) = attempt(&path).map_err(failed)? {
                break file;
            }
            let holder = holder(&path);
            if Instant::now() >= deadline {
                return Err(Error::target(format!("{holder} has been busy here for {} s", bound.as_secs()))
                    .because_of(format!("it holds {}", path.display()))
                    .hint("let it come to its end, or end it"));
            }
            if !told {
                let bound = bound.as_secs();
                terminal.say(format!("waiting for {holder}, which is busy here (up to {bound} s)"));
                told = true;
            }
            interrupt.or(tokio::time::sleep(Duration::from_millis(100))).await?;
        };
        // For people only: who holds it is told by the lock itself.
        let _ = file.set_len(0);
        let _ = write!(&*file, "{purpose} (pid {})", std::process::id());
        Ok(Lock { _file: file })
    }
}

/// The file, locked; `None` while somebody else holds it.
fn attempt(path: &Path) -> io::Result<Option<LockedFile>> {
    loop {
        let file = own_files::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let file = own_files::regular(file)?;
        match LockedFile::try_lock(file)? {
            // Somebody may have deleted it in between: then another one is locked by others.
            Some(file) if !own_files::is_at(&file, path) => {}
            held => return Ok(held),
        }
    }
}

/// Who holds it, by what it wrote about itself.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let _ = own_files::open(path).and_then(|file| file.take(HOLDER).read_to_string(&mut text));
    let text: String = text.trim().chars().filter(|character| !character.is_control()).collect();
    if text.is_empty() { "another sre".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(folder: &Folder) -> Result<Lock> {
        Lock::take(folder, "sre up", Duration::ZERO, &Terminal::silent(true), &Interrupt::default()).await
    }

    #[tokio::test]
    async fn a_lock_that_is_a_link_overwrites_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let (precious, folder) = (place.path().join("precious"), Folder::at(&place.path().join(".sre")));
        std::fs::write(&precious, "precious").expect("written");
        own_files::make(folder.root()).expect("made");
        std::os::unix::fs::symlink(&precious, folder.root().join("lock")).expect("a link");
        assert!(take(&folder).await.is_err());
        assert_eq!(std::fs::read_to_string(&precious).ok().as_deref(), Some("precious"));
    }

    #[tokio::test]
    async fn a_lock_on_a_file_that_was_deleted_is_not_taken_for_the_lock() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(place.path());
        let held = take(&folder).await.expect("locked");
        assert_eq!(take(&folder).await.expect_err("it is held").exit(), crate::exit::Exit::Target);
        std::fs::remove_file(place.path().join("lock")).expect("removed");
        let second = take(&folder).await.expect("there is none any more");
        assert!(take(&folder).await.is_err(), "the second is held");
        drop((held, second));
        take(&folder).await.expect("nobody holds it");
    }
}
