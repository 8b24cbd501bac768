//! The cache of downloaded tools: `$XDG_CACHE_HOME/sre/tools`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::error::{Error, Result};

/// How long a download by another `sre` is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(600);

/// A folder that holds one folder for each release or package that was unpacked.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's for programs: `$XDG_CACHE_HOME/sre/tools`, else `~/.cache/sre/tools`.
    pub fn of_user() -> Result<Cache> {
        Cache::of_user_for("tools")
    }

    /// The user's for things of one kind: `$XDG_CACHE_HOME/sre/KIND`, else `~/.cache/sre/KIND`.
    pub fn of_user_for(kind: &str) -> Result<Cache> {
        let base = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
            Some(base) if base.is_absolute() => base,
            _ => std::env::home_dir()
                .filter(|home| !home.as_os_str().is_empty())
                .ok_or_else(|| {
                    Error::prerequisite("there is no folder for downloads")
                        .because_of("neither XDG_CACHE_HOME nor HOME is set")
                        .hint("export XDG_CACHE_HOME=/some/folder")
                })?
                .join(".cache"),
        };
        Ok(Cache::at(base.join("sre").join(kind)))
    }

    /// The one in this folder.
    pub fn at(root: PathBuf) -> Cache {
        Cache { root }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an entry is, or would be.
    pub fn entry(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Puts an entry into the cache, unless it is there: `fill` is given an empty folder, which takes
    /// the entry's place only when `fill` came to its end. One at a time, over all `sre` of this user.
    pub async fn insert<F>(&self, key: &str, fill: impl FnOnce(PathBuf) -> F) -> Result<PathBuf>
    where
        F: Future<Output = Result<()>>,
    {
        let entry = self.entry(key);
        let failed = |e: io::Error| {
            Error::prerequisite(format!("the cache {} cannot be written", self.root.display()))
                .because(e)
                .hint("free space there, or name another folder: export XDG_CACHE_HOME=/some/folder")
        };
        fs::create_dir_all(&self.root).map_err(failed)?;
        let _lock = self.lock().await?;
        if entry.is_dir() {
            return Ok(entry);
        }
        self.sweep();
        let new = TempDir::with_prefix_in(".new-", &self.root).map_err(failed)?;
        fill(new.path().to_path_buf()).await?;
        // A folder made by tempfile is its owner's alone, and so may the cache be; a rename is atomic.
        fs::rename(new.path(), &entry).map_err(failed)?;
        Ok(entry)
    }

    /// Removes what an interrupted download left; the caller holds the lock.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    async fn lock(&self) -> Result<File> {
        let path = self.root.join(".lock");
        let failed =
            |e: io::Error| Error::prerequisite(format!("{} cannot be locked", path.display())).because(e);
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Error::prerequisite("another `sre` has been filling the cache for 10 min")
                        .hint(format!("end it, or see who holds it: fuser {}", path.display())));
                }
                Err(fs::TryLockError::Error(e)) => return Err(failed(e)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_entry_is_there_wholly_or_not_at_all() {
        let folder = TempDir::new().expect("a folder");
        let cache = Cache::at(folder.path().join("tools"));

        let failed = cache
            .insert("a", |new| async move {
                fs::write(new.join("half"), "x").expect("a file");
                Err(Error::prerequisite("the connection was lost"))
            })
            .await;
        assert!(failed.is_err());
        assert!(!cache.entry("a").exists());

        fs::create_dir(cache.root().join(".new-left-by-kill")).expect("a folder");
        let entry = cache
            .insert("a", |new| async move {
                fs::write(new.join("whole"), "x").expect("a file");
                Ok(())
            })
            .await
            .expect("an entry");
        assert!(entry.join("whole").exists());
        assert!(!cache.root().join(".new-left-by-kill").exists());

        let again = cache.insert("a", |_| async { panic!("it is there") }).await;
        assert_eq!(again.ok(), Some(entry));
    }
}
