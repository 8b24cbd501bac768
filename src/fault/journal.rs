//! The journal of faults: `.sre/journal/`, one small file a fault, on disk before the fault is injected.
//!
//! An entry's owner holds a lock on its file, which the system drops when the owner ends, however it
//! ends: an entry that can be locked was left behind. Whoever changes the journal holds its lock,
//! `.sre/journal/lock`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use super::entry::SCHEMA;
use super::{Entry, State};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::locked_file::LockedFile;
use crate::target::local::process;
use crate::target::{Folder, Lock, own_files, seal};
use crate::terminal::Terminal;

/// How long another `sre` may take for a change. Its longest is to start a lab's processes again.
const LOCK_BOUND: Duration = Duration::from_secs(60);

/// The faults that are injected, or about to be.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: Folder,
    terminal: Terminal,
}

/// An entry with its owner's lock on it.
#[derive(Debug)]
pub struct Held {
    /// The entry.
    pub entry: Entry,
    _lock: LockedFile,
}

/// What a file of the journal is.
#[derive(Debug)]
pub enum Read {
    /// Its owner ended without undoing it.
    Orphan(Held),
    /// Its owner, another `sre` or this one, still lives.
    Owned(Entry),
    /// It is no entry that this version knows, or none that this user has written here.
    Broken(PathBuf, Error),
}

impl Journal {
    /// The journal of this lab; it need not be there yet.
    pub fn new(folder: &Folder, terminal: &Terminal) -> Journal {
        Journal { folder: folder.clone(), terminal: terminal.clone() }
    }

    /// The lab's folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What tells the user.
    pub fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Where the entries are.
    pub fn path(&self) -> PathBuf {
        self.folder.root().join("journal")
    }

    /// Whether there is nothing to look at, not even a file that was half written. Cheap.
    pub fn is_untouched(&self) -> bool {
        match fs::read_dir(self.path()) {
            Ok(files) => files.flatten().all(|file| file.file_name() == "lock"),
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Takes the lock that whoever changes the journal holds. Waits for others, within a bound; an
    /// interruption does not end the wait, because undoing a fault must not be interrupted.
    pub async fn lock(&self) -> Result<Lock> {
        let purpose = "an sre that injects or undoes faults";
        Lock::take(&Folder::at(&self.path()), purpose, LOCK_BOUND, &self.terminal, &Interrupt::default())
            .await
    }

    /// Every entry of a fault that is on, oldest first. The journal's lock must be held.
    pub fn read(&self) -> Result<Vec<Read>> {
        Ok(self.all()?.into_iter().filter(|read| !read.is_undone()).collect())
    }

    fn all(&self) -> Result<Vec<Read>> {
        let mut paths = self.files()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        Ok(paths.into_iter().map(Read::of).collect())
    }

    /// Every entry that this version knows, whoever owns it. The journal's lock must be held.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let entry = |read| match read {
            Read::Orphan(Held { entry, .. }) | Read::Owned(entry) => Some(entry),
            Read::Broken(..) => None,
        };
        Ok(self.read()?.into_iter().filter_map(entry).collect())
    }

    /// Writes an entry, in the place of the one with its id if there is one; it is on disk when this
    /// comes back. The journal's lock must be held. An error (exit 5) if the disk does not take it.
    pub fn write(&self, entry: Entry) -> Result<Held> {
        let path = self.file(&entry.id);
        let failed = |e: io::Error| {
            Error::prerequisite(format!("{} cannot be written", path.display())).because(e).hint(
                "no fault is injected without its entry: make room, or give yourself the right to write",
            )
        };
        let text = seal::sealed(&path, &entry)?;
        let mut file = tempfile::Builder::new().prefix("new-").tempfile_in(self.path()).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        // Locked before anybody can see it, so that it never looks as if it had been left behind.
        file.as_file().lock().map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let file = file.persist(&path).map_err(|e| failed(e.error))?;
        let lock = LockedFile::lock(file).map_err(failed)?;
        self.sync().map_err(failed)?;
        Ok(Held { entry, _lock: lock })
    }

    /// Whether a fault is still in the journal.
    pub fn contains(&self, id: &str) -> bool {
        self.file(id).exists()
    }

    /// Removes the entry of a fault that was undone. The journal's lock must be held.
    pub fn remove(&self, id: &str) -> Result<()> {
        let path = self.file(id);
        let removed = match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync()),
        };
        removed.map_err(|e| Error::target(format!("{} cannot be removed", path.display())).because(e))
    }

    /// Removes files that a killed `sre` had half written, and what tells an owner that is gone that its fault is
    /// undone. The journal's lock must be held.
    pub fn sweep(&self) -> Result<()> {
        for read in self.all()?.iter().filter(|read| read.is_undone()) {
            if let Read::Orphan(Held { entry, .. }) | Read::Owned(entry) = read
                && !process::exists(entry.owner)
            {
                self.remove(&entry.id)?;
            }
        }
        let unfinished =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("new-"));
        for path in self.files()?.into_iter().filter(unfinished) {
            fs::remove_file(&path).map_err(|e| self.unreadable(e))?;
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        fs::read_dir(self.path())
            .and_then(|files| files.map(|file| file.map(|file| file.path())).collect())
            .map_err(|e| self.unreadable(e))
    }

    fn file(&self, id: &str) -> PathBuf {
        self.path().join(format!("{id}.json"))
    }

    /// Makes what was renamed or removed last over a crash of the machine.
    fn sync(&self) -> io::Result<()> {
        File::open(self.path())?.sync_all()
    }

    fn unreadable(&self, cause: io::Error) -> Error {
        Error::target(format!("the journal of faults in {} cannot be read", self.path().display()))
            .because(cause)
    }
}

impl Read {
    fn is_undone(&self) -> bool {
        match self {
            Read::Orphan(Held { entry, .. }) | Read::Owned(entry) => entry.state == State::Undone,
            Read::Broken(..) => false,
        }
    }

    fn of(path: PathBuf) -> Read {
        let failed = || Error::target(format!("{} cannot be read", path.display()));
        let parsed = own_files::open(&path).map_err(|e| failed().because(e)).and_then(|file| {
            let text = io::read_to_string(&file).map_err(|e| failed().because(e))?;
            let entry: Entry = serde_json::from_str(&text).map_err(|e| failed().because(e))?;
            match entry.schema.as_str() {
                // What it names is started, signalled and connected to.
                SCHEMA => seal::verify(&path, &text).map(|()| (entry, file)),
                other => Err(failed().because_of(format!("it is `{other}`, this sre knows `{SCHEMA}`"))),
            }
        });
        match parsed {
            Err(error) => Read::Broken(path, error),
            Ok((entry, file)) => match LockedFile::try_lock(file) {
                Ok(Some(lock)) => Read::Orphan(Held { entry, _lock: lock }),
                Ok(None) => Read::Owned(entry),
                Err(e) => Read::Broken(path.clone(), failed().because(e)),
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::fault::{State, Switches, Touched};

    pub fn entry(id: &str) -> Entry {
        let touched = Touched::Switches {
            replica: "users-api-0".into(),
            admin: "http://127.0.0.1:9".parse().expect("a URL"),
            process: None,
            switches: Switches { latency_ms: 2000, ..Switches::default() },
        };
        Entry {
            schema: SCHEMA.into(),
            id: id.into(),
            description: "latency 2s on users-api-0".into(),
            state: State::Planned,
            owner: std::process::id(),
            until: Timestamp::UNIX_EPOCH,
            ends: None,
            touched: vec![touched],
            error: None,
        }
    }

    pub fn journal() -> (tempfile::TempDir, Journal) {
        let place = tempfile::tempdir().expect("a folder");
        let journal = Journal::new(&Folder::at(&place.path().join(".sre")), &Terminal::silent(true));
        (place, journal)
    }

    #[tokio::test]
    async fn an_entry_is_its_owners_until_the_owner_is_gone() {
        let (_place, journal) = journal();
        assert!(journal.is_untouched());
        let _lock = journal.lock().await.expect("locked");
        assert!(journal.is_untouched(), "the lock alone is nothing to look at");
        let held = journal.write(entry("a")).expect("written");
        assert!(matches!(journal.read().expect("read").as_slice(), [Read::Owned(_)]));
        let replaced =
            journal.write(Entry { state: State::Injected, ..held.entry.clone() }).expect("written");
        drop(held);
        assert!(matches!(journal.read().expect("read").as_slice(), [Read::Owned(_)]));
        drop(replaced);
        match journal.read().expect("read").as_slice() {
            [Read::Orphan(held)] => assert_eq!(held.entry.state, State::Injected),
            other => panic!("{other:?}"),
        }
        journal.remove("a").expect("removed");
        journal.remove("a").expect("and again");
        assert!(!journal.contains("a") && journal.is_untouched());
    }

    #[tokio::test]
    async fn a_broken_or_newer_entry_is_told_and_kept() {
        let (_place, journal) = journal();
        let _lock = journal.lock().await.expect("locked");
        let newer = Entry { schema: "sre.fault/v9".into(), ..entry("b") };
        drop(journal.write(newer).expect("written"));
        fs::write(journal.file("a"), "{").expect("written");
        assert!(matches!(journal.read().expect("read").as_slice(), [Read::Broken(..), Read::Broken(..)]));
        assert_eq!(journal.entries().expect("read"), []);
        assert!(!journal.is_untouched());
    }

    #[tokio::test]
    async fn an_entry_that_somebody_else_wrote_is_not_undone() {
        let (_place, journal) = journal();
        let _lock = journal.lock().await.expect("locked");
        fs::write(journal.file("a"), serde_json::to_string(&entry("a")).expect("JSON")).expect("written");
        match journal.read().expect("read").as_slice() {
            [Read::Broken(_, error)] => assert_eq!(error.exit(), crate::exit::Exit::Prerequisite),
            other => panic!("{other:?}"),
        }
        assert_eq!(journal.entries().expect("read"), []);
    }

    #[tokio::test]
    async fn a_file_that_was_half_written_is_swept() {
        let (_place, journal) = journal();
        let _lock = journal.lock().await.expect("locked");
        fs::write(journal.path().join("new-x7f"), "{").expect("written");
        assert!(!journal.is_untouched());
        journal.sweep().expect("swept");
        assert!(journal.is_untouched());
    }
}
