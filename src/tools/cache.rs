//! The cache of what was downloaded: `$XDG_CACHE_HOME/sre/KIND`, one folder an entry.
//!
//! An entry is written beside its place, flushed to the disk, and renamed: it is there as a whole or not at all. It
//! keeps the SHA-256 of each of its files, and what is used later is held against that, and against its owner.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::digest;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::locked_file::LockedFile;

/// How long a download by another `sre` is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(600);

/// The file of an entry with the SHA-256 of each of its other files, as `sha256sum` writes them.
const SUMS: &str = ".sha256sums";

/// A folder that holds one folder for each release, package or chart.
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

    /// Makes the cache's folder, for its owner alone, unless it is there.
    ///
    /// # Errors
    /// A prerequisite (exit 5): it cannot be written.
    pub fn prepare(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.root);
        // An unnamed file shows whether it can be written, and is gone by itself.
        made.and_then(|()| tempfile::tempfile_in(&self.root)).map(drop).map_err(|e| self.unwritable(e))
    }

    /// Why the cache cannot be written.
    pub fn unwritable(&self, cause: io::Error) -> Error {
        Error::prerequisite(format!("the cache {} cannot be written", self.root.display()))
            .because(cause)
            .hint("free space there, or name another folder: export XDG_CACHE_HOME=/some/folder")
    }

    /// A file of an entry, if it is the one that was put there; `None` if it is not there.
    ///
    /// # Errors
    /// Why it must not be used, in words that go on from its path.
    pub fn file(&self, key: &str, name: &str) -> Result<Option<PathBuf>, String> {
        let entry = self.entry(key);
        let path = entry.join(name);
        if fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        own(&entry)?;
        let known = sums(&entry)?;
        let (_, sum) =
            known.iter().find(|(known, _)| known == name).ok_or("was not there when it was got")?;
        if of_file(&path)? == *sum { Ok(Some(path)) } else { Err("has changed since it was got".into()) }
    }

    /// Whether every file of an entry is the one that was put there.
    ///
    /// # Errors
    /// Why it is not, in words that go on from its path.
    pub fn is_whole(&self, key: &str) -> Result<(), String> {
        let entry = self.entry(key);
        own(&entry)?;
        for (name, sum) in sums(&entry)? {
            if of_file(&entry.join(&name))? != sum {
                return Err(format!("has changed since it was got: {name}"));
            }
        }
        Ok(())
    }

    /// Puts an entry into the cache, unless it is there as a whole: `fill` is given an empty folder, which takes the
    /// entry's place only when `fill` came to its end. One at a time for each key, over all `sre` of this user; `wait`
    /// is called once where another one is waited for.
    ///
    /// # Errors
    /// A prerequisite (exit 5): the cache cannot be written; what `fill` says; an interruption while another one is waited
    /// for. `fill` itself must heed it.
    pub async fn insert<F>(
        &self,
        key: &str,
        interrupt: &Interrupt,
        wait: impl FnOnce(),
        fill: impl FnOnce(PathBuf) -> F,
    ) -> Result<PathBuf>
    where
        F: Future<Output = Result<()>>,
    {
        let entry = self.entry(key);
        self.prepare()?;
        let _lock = interrupt.or(self.lock(key, wait)).await??;
        if fs::symlink_metadata(&entry).is_ok() {
            if self.checked(key).await? {
                return Ok(entry);
            }
            self.remove(&entry)?;
        }
        self.sweep(key);
        let new = TempDir::with_prefix_in(left_by(key), &self.root).map_err(|e| self.unwritable(e))?;
        fill(new.path().to_path_buf()).await?;
        let (folder, root) = (new.path().to_path_buf(), self.root.clone());
        let place = entry.clone();
        blocking(move || seal(&folder, &place, &root)).await?.map_err(|e| self.unwritable(e))?;
        Ok(entry)
    }

    async fn checked(&self, key: &str) -> Result<bool> {
        let (cache, key) = (self.clone(), key.to_owned());
        blocking(move || cache.is_whole(&key).is_ok()).await
    }

    /// Removes an entry that is not what was put there. One of another user is left alone.
    fn remove(&self, entry: &Path) -> Result<()> {
        let owner = fs::symlink_metadata(entry).map_err(|e| self.unwritable(e))?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(Error::prerequisite(format!("{} belongs to another user", entry.display()))
                .because_of(format!("its owner is the user {owner}: it is neither used nor replaced"))
                .hint("name another folder: export XDG_CACHE_HOME=/some/folder"));
        }
        let removed = if entry.is_symlink() { fs::remove_file(entry) } else { fs::remove_dir_all(entry) };
        removed.map_err(|e| self.unwritable(e))
    }

    /// Removes what an interrupted download of an entry left; the caller holds its lock.
    fn sweep(&self, key: &str) {
        let left = left_by(key);
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&left) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Holds the lock of a key until it is dropped.
    ///
    /// # Errors
    /// A prerequisite (exit 5): it cannot be made, or another `sre` has held it for too long.
    pub async fn lock(&self, key: &str, wait: impl FnOnce()) -> Result<LockedFile> {
        let path = self.root.join(format!(".lock-{key}"));
        let failed =
            |e: io::Error| Error::prerequisite(format!("{} cannot be locked", path.display())).because(e);
        let open = || File::options().create(true).append(true).open(&path);
        let deadline = Instant::now() + LOCK_WAIT;
        let mut wait = Some(wait);
        loop {
            if let Some(held) = open().and_then(LockedFile::try_lock).map_err(failed)? {
                return Ok(held);
            }
            if Instant::now() >= deadline {
                return Err(Error::prerequisite("another `sre` has been filling the cache for 10 min")
                    .hint(format!("end it, or see who holds it: fuser {}", path.display())));
            }
            if let Some(wait) = wait.take() {
                wait();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// How the folders begin in which an entry is made. No key has a `~`, so no key's folders are another's.
fn left_by(key: &str) -> String {
    format!(".new-{key}~")
}

/// Only what belongs to this user or to root, and what nobody else can write, is used.
fn own(entry: &Path) -> Result<(), String> {
    let told = fs::symlink_metadata(entry).map_err(|e| format!("cannot be read: {e}"))?;
    if !told.is_dir() {
        return Err("is not in a folder of the cache".into());
    }
    let owner = told.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(format!("belongs to another user ({owner})"));
    }
    if told.mode() & 0o022 != 0 {
        return Err("is in a folder that others can write".into());
    }
    Ok(())
}

fn sums(entry: &Path) -> Result<Vec<(String, String)>, String> {
    let text = fs::read_to_string(entry.join(SUMS))
        .map_err(|_| "was put there by an older sre, or by hand".to_owned())?;
    digest::read_sums(&text).ok_or_else(|| "has no list of its files that can be read".to_owned())
}

fn of_file(path: &Path) -> Result<String, String> {
    let told = fs::symlink_metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    if !told.is_file() {
        return Err("is no file".into());
    }
    digest::of_file(path).map_err(|e| format!("cannot be read: {e}"))
}

/// Writes the sums of a finished entry, has the disk take all of it, and puts it into its place. Without that, a power
/// cut could leave files of the right name and without content.
fn seal(folder: &Path, place: &Path, root: &Path) -> io::Result<()> {
    let mut known = Vec::new();
    settle(folder, folder, &mut known)?;
    known.sort();
    let mut list = File::create(folder.join(SUMS))?;
    list.write_all(digest::write_sums(&known).as_bytes())?;
    list.sync_all()?;
    File::open(folder)?.sync_all()?;
    // A folder made by tempfile is its owner's alone, and so may the cache be; a rename is atomic.
    fs::rename(folder, place)?;
    File::open(root)?.sync_all()
}

fn settle(folder: &Path, top: &Path, known: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        let kind = entry?;
        if kind.is_dir() {
            settle(&path, top, known)?;
        } else if kind.is_file() {
            let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
            known.push((name, digest::of_file(&path)?));
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Work that reads or writes much, away from the tasks that wait for the network.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::prerequisite("the cache cannot be worked on").because(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn put(cache: &Cache, key: &str, text: &'static str) -> Result<PathBuf> {
        cache
            .insert(
                key,
                &Interrupt::default(),
                || (),
                |new| async move {
                    fs::write(new.join("program"), text).map_err(|e| Error::prerequisite("a file").because(e))
                },
            )
            .await
    }

    fn here() -> (TempDir, Cache) {
        let folder = TempDir::new().expect("a folder");
        let cache = Cache::at(folder.path().join("tools"));
        (folder, cache)
    }

    fn names(cache: &Cache) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(cache.root())
            .expect("the cache")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with(".lock"))
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn an_entry_is_there_wholly_or_not_at_all() {
        let (_folder, cache) = here();
        let failed = cache
            .insert(
                "a",
                &Interrupt::default(),
                || (),
                |new| async move {
                    fs::write(new.join("half"), "x").expect("a file");
                    Err(Error::prerequisite("the connection was lost"))
                },
            )
            .await;
        assert!(failed.is_err());
        assert_eq!(names(&cache), [""; 0]);

        fs::create_dir(cache.root().join(".new-a~left-by-kill")).expect("a folder");
        let entry = put(&cache, "a", "whole").await.expect("an entry");
        assert_eq!(names(&cache), ["a"]);

        let again =
            cache.insert("a", &Interrupt::default(), || (), |_| async { panic!("it is there") }).await;
        assert_eq!(again.ok(), Some(entry));
    }

    #[tokio::test]
    async fn what_another_key_is_made_in_is_not_swept() {
        let (_folder, cache) = here();
        fs::create_dir_all(cache.root().join(".new-a.b~at-work")).expect("a folder");
        put(&cache, "a", "x").await.expect("an entry");
        assert_eq!(names(&cache), [".new-a.b~at-work", "a"]);
    }

    #[tokio::test]
    async fn entries_of_different_keys_are_made_at_the_same_time() {
        let (_folder, cache) = here();
        // Each comes to its end only when the other has begun.
        let both = tokio::sync::Barrier::new(2);
        let interrupt = Interrupt::default();
        let insert = |key: &'static str| {
            cache.insert(
                key,
                &interrupt,
                || (),
                |_| async {
                    both.wait().await;
                    Ok(())
                },
            )
        };
        let (one, two) = tokio::join!(insert("one"), insert("two"));
        assert!(one.is_ok() && two.is_ok());
    }

    #[tokio::test]
    async fn a_file_that_was_changed_is_not_used_and_the_entry_is_made_anew() {
        let (_folder, cache) = here();
        put(&cache, "a", "right").await.expect("an entry");
        let program = cache.file("a", "program").expect("whole").expect("there");
        assert_eq!(cache.file("a", "other"), Ok(None));

        fs::write(&program, "wrong").expect("a file");
        assert_eq!(cache.file("a", "program"), Err("has changed since it was got".into()));
        put(&cache, "a", "right").await.expect("an entry");
        assert_eq!(fs::read_to_string(&program).ok().as_deref(), Some("right"));
        assert_eq!(cache.file("a", "program"), Ok(Some(program.clone())));

        // After a power cut a file may be empty.
        fs::write(&program, "").expect("a file");
        assert!(cache.file("a", "program").is_err());
        // What was laid beside it was never got.
        fs::write(cache.entry("a").join("extra"), "x").expect("a file");
        assert_eq!(cache.file("a", "extra"), Err("was not there when it was got".into()));
    }

    #[tokio::test]
    async fn an_entry_that_others_can_write_or_that_has_no_sums_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, cache) = here();
        put(&cache, "a", "x").await.expect("an entry");
        fs::set_permissions(cache.entry("a"), fs::Permissions::from_mode(0o777)).expect("permissions");
        assert_eq!(cache.file("a", "program"), Err("is in a folder that others can write".into()));
        fs::set_permissions(cache.entry("a"), fs::Permissions::from_mode(0o700)).expect("permissions");
        fs::remove_file(cache.entry("a").join(SUMS)).expect("the sums");
        assert!(cache.file("a", "program").is_err());
        // It is made anew.
        put(&cache, "a", "y").await.expect("an entry");
        assert!(cache.file("a", "program").is_ok_and(|file| file.is_some()));
    }

    #[tokio::test]
    async fn an_entry_of_another_user_is_neither_used_nor_replaced() {
        let (_folder, cache) = here();
        put(&cache, "a", "x").await.expect("an entry");
        if std::os::unix::fs::chown(cache.entry("a"), Some(4242), None).is_err() {
            // Only root can give files away.
            return;
        }
        assert_eq!(cache.file("a", "program"), Err("belongs to another user (4242)".into()));
        let refused = put(&cache, "a", "y").await.expect_err("it is not ours");
        assert!(refused.to_string().contains("belongs to another user"), "{refused}");
    }

    #[tokio::test]
    async fn a_cache_that_cannot_be_written_says_so() {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("file"), "").expect("a file");
        let cache = Cache::at(folder.path().join("file/tools"));
        let error = put(&cache, "a", "x").await.expect_err("it is below a file");
        assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
        assert!(error.to_string().contains("cannot be written"), "{error}");
        assert!(error.to_string().contains("XDG_CACHE_HOME"), "{error}");
    }
}
