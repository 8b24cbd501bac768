//! A file that one holder at a time has locked.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::Deref;

/// Holds a file's lock until it is dropped; the system drops it with the process, however that ends.
///
/// Dropping unlocks, which closing alone does not do at once: a child that is just being started has the file
/// open, too, until it runs its program.
#[derive(Debug)]
pub struct LockedFile(File);

impl LockedFile {
    /// Locks a file without waiting; `None` where somebody else holds it.
    ///
    /// # Errors
    /// The file system has no locks.
    pub fn try_lock(file: File) -> io::Result<Option<LockedFile>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(LockedFile(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// Locks a file that nobody else may hold.
    ///
    /// # Errors
    /// Busy where somebody else holds it, or the file system has no locks.
    pub fn lock(file: File) -> io::Result<LockedFile> {
        LockedFile::try_lock(file)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::ResourceBusy, "another process has it open"))
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // What cannot be unlocked is unlocked when the file is closed.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_inherited_the_file_does_not_keep_the_lock() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let open = || file.reopen().expect("open");
        let held = LockedFile::lock(open()).expect("nobody holds it");
        let inherited = held.try_clone().expect("as a child has it");
        assert!(LockedFile::try_lock(open()).expect("locks").is_none(), "it is held");
        drop(held);
        LockedFile::lock(open()).expect("nobody holds it any more");
        drop(inherited);
    }
}
