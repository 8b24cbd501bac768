//! Where this program is. It may have been replaced, by an upgrade, since it was started.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// What Linux adds to the path of a program that was replaced.
const DELETED: &str = " (deleted)";

/// This very program, as it runs: for processes that must be of the same version.
///
/// # Errors
/// A prerequisite (exit 5) where the system does not tell.
pub fn running() -> Result<PathBuf> {
    let path = current()?;
    let itself = PathBuf::from("/proc/self/exe");
    Ok(if !path.exists() && itself.exists() { itself } else { path })
}

/// The program at this one's path, which may be a newer one: for what is started again later, by another process.
///
/// # Errors
/// As for [`running`].
pub fn installed() -> Result<PathBuf> {
    let path = current()?;
    let newer = path.to_str().and_then(|path| path.strip_suffix(DELETED)).map(PathBuf::from);
    Ok(newer.filter(|newer| !path.exists() && newer.exists()).unwrap_or(path))
}

fn current() -> Result<PathBuf> {
    std::env::current_exe()
        .map_err(|e| Error::prerequisite("the path of this program cannot be told").because(e))
}
