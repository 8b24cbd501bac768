//! Who is at work in a folder's lab: `.sre/busy/`, one small file each, which its `sre` holds a lock on.
//!
//! A run judges what it sees by what it did itself. Whoever else would send load, inject a fault or change the lab
//! meanwhile is told who is at work there, and since when.

use std::fs::{self, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Folder, Lock, own_files};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::locked_file::LockedFile;
use crate::terminal::Terminal;

/// How long another `sre` may look at who is at work.
const LOCK_BOUND: Duration = Duration::from_secs(10);
/// How often it is looked whether others are done.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What somebody does with a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Load, faults and a verdict: `sre run`.
    Run,
    /// Load alone: `sre load`.
    Load,
    /// A fault by hand: `sre fault inject`.
    Fault,
    /// A verdict alone: `sre verify`.
    Judge,
    /// The lab itself changes: `sre up`, `sre down`.
    Change,
}

impl Work {
    /// Whether the one must not be done while the other is.
    pub fn bars(self, other: Work) -> bool {
        use Work::*;
        match (self, other) {
            (Judge, Judge | Run | Load | Fault) | (Run | Load | Fault, Judge) => false,
            // By hand, one injects a fault while load goes on.
            (Load, Fault) | (Fault, Load | Fault) => false,
            // They wait for one another by the lab's lock.
            (Change, Change) => false,
            _ => true,
        }
    }
}

/// Somebody at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// What is done.
    pub work: Work,
    /// The command: `sre run outage`.
    pub command: String,
    /// Its process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
}

impl std::fmt::Display for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let command: String = self.command.chars().filter(|character| !character.is_control()).collect();
        write!(f, "`{command}` (pid {}, since {})", self.pid, self.since.strftime("%H:%M:%S UTC"))
    }
}

/// Tells others that somebody is at work, until it is dropped.
#[derive(Debug)]
pub struct Busy {
    path: PathBuf,
    _lock: LockedFile,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Begins some work in a folder; `command` is what others will be told. With `queue` others are waited for.
///
/// # Errors
/// The target (exit 6) where somebody else is at work who must not be disturbed; a prerequisite (5) where the
/// folder cannot be written; interrupted (130, 143).
pub async fn begin(
    folder: &Folder,
    work: Work,
    command: &str,
    queue: bool,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Busy> {
    let place = folder.root().join("busy");
    let failed = |e: io::Error| {
        Error::prerequisite(format!("{} cannot be used", place.display()))
            .because(e)
            .hint("make room or give yourself the right to write there, or work in another folder")
    };
    folder.make().map_err(failed)?;
    let mut told = false;
    loop {
        let lock =
            Lock::take(&Folder::at(&place), "an sre that begins", LOCK_BOUND, terminal, interrupt).await?;
        let others = others(&place).map_err(failed)?;
        let Some(other) = others.into_iter().find(|other| work.bars(other.work)) else {
            let worker =
                Worker { work, command: command.into(), pid: std::process::id(), since: Timestamp::now() };
            return write(&place, &worker).map_err(failed);
        };
        drop(lock);
        if !queue {
            return Err(Error::target(format!("{other} is at work on this lab"))
                .because_of("each would see what the other does, and take it for its own")
                .hint("--queue waits until it is done; or end it"));
        }
        if !told {
            terminal.say(format!("waiting for {other}"));
            told = true;
        }
        interrupt.or(tokio::time::sleep(LOOK_EVERY)).await?;
    }
}

fn write(place: &Path, worker: &Worker) -> io::Result<Busy> {
    let mut file = tempfile::Builder::new().prefix("new-").tempfile_in(place)?;
    file.write_all(&serde_json::to_vec(worker)?)?;
    file.as_file().lock()?;
    let path = place.join(format!("{}-{}.json", worker.pid, uuid::Uuid::new_v4().simple()));
    let lock = file.persist(&path).map_err(|e| e.error)?;
    Ok(Busy { path, _lock: LockedFile::lock(lock)? })
}

/// Those at work; what a killed one left is removed. The place's lock must be held.
fn others(place: &Path) -> io::Result<Vec<Worker>> {
    let mut others = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name == "lock") {
            continue;
        }
        // It may end, and remove its file, just now.
        let Ok(file) = own_files::open(&path) else { continue };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => others.push(serde_json::from_reader(&file).unwrap_or(Worker {
                work: Work::Run,
                command: "another version of sre".into(),
                pid: 0,
                since: Timestamp::now(),
            })),
            Err(TryLockError::Error(e)) => return Err(e),
            Ok(()) => {
                let _ = fs::remove_file(&path);
            }
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    const ALL: [Work; 5] = [Work::Run, Work::Load, Work::Fault, Work::Judge, Work::Change];

    async fn start(folder: &Folder, work: Work, queue: bool) -> Result<Busy> {
        let (terminal, interrupt) = (Terminal::silent(true), Interrupt::default());
        begin(folder, work, "sre it", queue, &terminal, &interrupt).await
    }

    #[test]
    fn barring_is_mutual_and_a_run_is_alone_with_its_load() {
        for one in ALL {
            for other in ALL {
                assert_eq!(one.bars(other), other.bars(one), "{one:?} and {other:?}");
            }
        }
        for other in [Work::Run, Work::Load, Work::Fault, Work::Change] {
            assert!(Work::Run.bars(other), "{other:?}");
        }
        assert!(Work::Load.bars(Work::Load) && Work::Change.bars(Work::Judge));
    }

    #[tokio::test]
    async fn the_second_is_told_who_is_at_work_and_waits_if_it_is_asked_to() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(&place.path().join(".sre"));
        let first = start(&folder, Work::Run, false).await.expect("nobody is at work");
        let refused = start(&folder, Work::Change, false).await.expect_err("a run goes on");
        assert_eq!(refused.exit(), Exit::Target);
        let sentence = format!("`sre it` (pid {}, since ", std::process::id());
        assert!(refused.to_string().contains(&sentence), "{refused}");
        let judging = start(&folder, Work::Judge, false).await.expect("that disturbs nobody");
        drop(judging);
        let waiting = tokio::spawn({
            let folder = folder.clone();
            async move { start(&folder, Work::Load, true).await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        drop(first);
        waiting.await.expect("no panic").expect("it waited");
        start(&folder, Work::Change, false).await.expect("all are done");
    }

    #[tokio::test]
    async fn what_a_killed_one_left_keeps_nobody_away() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(place.path());
        let busy = start(&folder, Work::Run, false).await.expect("nobody is at work");
        let text = fs::read(&busy.path).expect("its file");
        drop(busy);
        fs::write(place.path().join("busy/left.json"), text).expect("written");
        start(&folder, Work::Run, false).await.expect("its lock went with it");
        assert!(!place.path().join("busy/left.json").exists());
    }
}
