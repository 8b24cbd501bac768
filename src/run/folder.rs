//! A run's folder: `.sre/runs/<id>/` holds everything needed to report, verify again, or compare.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{EventLog, Log};
use crate::error::{Error, Result};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::stack::Stack;
use crate::target::own_files;
use crate::terminal::{json, yaml};

/// Where `sre` keeps its state, from the folder it is called in.
pub const STATE_DIR: &str = ".sre";

/// The part of an id that tells when its run started, in UTC.
const STAMP: &str = "%Y%m%d-%H%M%S";
const STAMP_LEN: usize = "20261121-064012".len();

/// A run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    id: String,
    path: PathBuf,
    started: Timestamp,
}

impl RunFolder {
    /// Makes the folder of a new run of `scenario` under the state folder `state`, with an id of its own:
    /// `20261121-064012-errors`, or `…-errors-2` for the second in one second.
    pub fn create(state: &Path, scenario: &str) -> Result<RunFolder> {
        RunFolder::create_at(state, scenario, Timestamp::now())
    }

    fn create_at(state: &Path, scenario: &str, now: Timestamp) -> Result<RunFolder> {
        let runs = state.join("runs");
        own_files::make(&runs).map_err(|cause| unwritable(&runs, cause))?;
        let first = format!("{}-{}", now.strftime(STAMP), file_name(scenario));
        let mut id = first.clone();
        for number in 2.. {
            let path = runs.join(&id);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(RunFolder { id, path, started: now }),
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                    id = format!("{first}-{number}")
                }
                Err(cause) => return Err(unwritable(&path, cause)),
            }
        }
        unreachable!("there are more numbers than folders")
    }

    /// Finds a run by its id or by the beginning of it that no other run has; the newest run by `latest` or none.
    ///
    /// Exit 3 where there is no run at all, 2 where there is none of that id, or more than one.
    pub fn open(state: &Path, run: Option<&str>) -> Result<RunFolder> {
        let mut runs = RunFolder::list(state)?;
        if runs.is_empty() {
            return Err(Error::no_data("there is no run here yet")
                .because_of(format!("{} has none", state.join("runs").display()))
                .hint("sre run errors"));
        }
        let Some(run) = run.filter(|run| *run != "latest") else { return Ok(runs.remove(0)) };
        if let Some(exact) = runs.iter().find(|folder| folder.id == run) {
            return Ok(exact.clone());
        }
        let matching: Vec<_> = runs.iter().filter(|folder| folder.id.starts_with(run)).collect();
        match matching[..] {
            [one] => Ok(one.clone()),
            [] => {
                let nearest = runs.iter().max_by(|a, b| {
                    strsim::jaro_winkler(&a.id, run).total_cmp(&strsim::jaro_winkler(&b.id, run))
                });
                let error = Error::usage(format!("there is no run `{run}`"));
                Err(match nearest {
                    Some(nearest) => {
                        error.hint(format!("The nearest is {}; `sre runs` lists all.", nearest.id))
                    }
                    None => error,
                })
            }
            [..] => {
                let ids: Vec<_> = matching.iter().map(|folder| folder.id.as_str()).collect();
                Err(Error::usage(format!("{} runs begin with `{run}`", ids.len())).hint(ids.join("\n")))
            }
        }
    }

    /// Every run under the state folder, newest first.
    pub fn list(state: &Path) -> Result<Vec<RunFolder>> {
        let runs = state.join("runs");
        let unreadable = |cause| Error::no_data(format!("{} cannot be read", runs.display())).because(cause);
        let entries = match std::fs::read_dir(&runs) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let id = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // Whatever else lies here is not a run, and is never removed as one.
            if let Some(started) = started(&id).filter(|_| is_folder) {
                folders.push(RunFolder { path: entry.path(), id, started });
            }
        }
        folders.sort_by_cached_key(|folder| {
            std::cmp::Reverse((folder.started, number(&folder.id), folder.id.clone()))
        });
        Ok(folders)
    }

    /// Deletes the run, unless it is still going on (exit 2).
    pub fn remove(&self) -> Result<()> {
        if self.is_running() {
            return Err(Error::usage(format!("run {} is still going on", self.id)));
        }
        std::fs::remove_dir_all(&self.path)
            .map_err(|e| Error::target(format!("{} cannot be removed", self.path.display())).because(e))
    }

    /// The run's id, which is the folder's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the run started, to the second.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The event log: `events.ndjson`.
    pub fn events_file(&self) -> PathBuf {
        self.path.join("events.ndjson")
    }

    /// The scenario as it ran: `scenario.yaml`.
    pub fn scenario_file(&self) -> PathBuf {
        self.path.join("scenario.yaml")
    }

    /// The stack as it was: `stack.yaml`.
    pub fn stack_file(&self) -> PathBuf {
        self.path.join("stack.yaml")
    }

    /// The latencies, as an HdrHistogram V2 log: `latency.hlog`.
    pub fn latency_file(&self) -> PathBuf {
        self.path.join("latency.hlog")
    }

    /// The requests that its checks ask for one by one: `requests.ndjson`; there where a check does.
    pub fn noted_file(&self) -> PathBuf {
        self.path.join("requests.ndjson")
    }

    /// The report at the run's end, as `-o json` prints it: `result.json`.
    pub fn result_file(&self) -> PathBuf {
        self.path.join("result.json")
    }

    /// Keeps the scenario as it runs. Exit 5 where it cannot be written.
    pub fn save_scenario(&self, scenario: &Scenario) -> Result<()> {
        write(&self.scenario_file(), &yaml(scenario)?)
    }

    /// Keeps the stack as it is. Exit 5 where it cannot be written.
    pub fn save_stack(&self, stack: &Stack) -> Result<()> {
        write(&self.stack_file(), &yaml(stack)?)
    }

    /// Keeps the report, as `-o json` prints it. Exit 5 where it cannot be written.
    pub fn save_result(&self, report: &Report) -> Result<()> {
        write(&self.result_file(), &json(report)?)
    }

    /// Begins the event log, or continues it.
    pub fn log(&self) -> Result<EventLog> {
        EventLog::append(&self.events_file())
    }

    /// Reads the event log.
    pub fn read(&self) -> Result<Log> {
        Log::read(&self.events_file())
    }

    /// Whether a process writes the event log now.
    pub fn is_running(&self) -> bool {
        std::fs::File::open(self.events_file())
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
    }

    /// Bytes that the folder's files take.
    pub fn size(&self) -> u64 {
        std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

/// Writes a file of a run wholly or not at all: a `verify` that is killed leaves the verdict that was there.
fn write(path: &Path, contents: &str) -> Result<()> {
    let attempt = || -> io::Result<()> {
        // Its owner's alone, as the folder is: what was sent and what was seen may be nobody else's business.
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
        file.write_all(contents.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    attempt().map_err(|cause| unwritable(path, cause))
}

/// A file that cannot be written, with the space that is left on its disk.
pub(super) fn unwritable(path: &Path, cause: io::Error) -> Error {
    let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let error = Error::prerequisite(format!("{} cannot be written", path.display())).because(cause);
    // The file itself may not be there, its folders neither.
    let free = path.ancestors().find_map(|place| rustix::fs::statvfs(place).ok());
    match free {
        Some(disk) if full => error
            .because_of(format!("its disk has {} free", indicatif::HumanBytes(disk.f_bavail * disk.f_frsize)))
            .hint("Free some space; `sre runs prune --keep 5` removes old runs."),
        _ => error,
    }
}

/// When the run of this id started; `None` if it is no run's id.
fn started(id: &str) -> Option<Timestamp> {
    let (stamp, rest) = id.split_at_checked(STAMP_LEN)?;
    rest.strip_prefix('-').filter(|name| !name.is_empty())?;
    let time = DateTime::strptime(STAMP, stamp).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Whether this is a name that runs get: their files stay below their folder.
pub(super) fn is_id(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    started(id).is_some() && id.chars().all(plain)
}

/// The number that tells runs of one second apart; 1 without one.
fn number(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(1)
}

/// A scenario's name as part of a folder's name.
fn file_name(scenario: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = scenario.chars().take(60).map(plain).collect();
    if name.is_empty() { "scenario".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    fn ids(state: &Path) -> Vec<String> {
        RunFolder::list(state).expect("a list").into_iter().map(|folder| folder.id).collect()
    }

    #[test]
    fn ids_are_unique_and_sorted_newest_first() {
        let state = tempfile::tempdir().expect("a folder");
        let now = at("2026-11-21T06:40:12.9Z");
        for _ in 0..11 {
            RunFolder::create_at(state.path(), "errors", now).expect("a run");
        }
        RunFolder::create_at(state.path(), "../b d", at("2026-11-20T23:00:00Z")).expect("a run");
        let ids = ids(state.path());
        assert_eq!(ids[0], "20261121-064012-errors-11");
        assert_eq!(ids[10], "20261121-064012-errors");
        assert_eq!(ids[11], "20261120-230000----b-d");
    }

    #[test]
    fn what_is_no_run_is_not_listed() {
        let state = tempfile::tempdir().expect("a folder");
        for name in ["notes", "20261121-064012", "20261321-064012-errors", "täglich-was-auch-immer"] {
            std::fs::create_dir_all(state.path().join("runs").join(name)).expect("a folder");
        }
        std::fs::write(state.path().join("runs/20261121-064012-file"), "").expect("a file");
        assert_eq!(ids(state.path()), Vec::<String>::new());
    }

    #[test]
    fn opens_by_id_by_its_beginning_and_the_newest() {
        let state = tempfile::tempdir().expect("a folder");
        let none = RunFolder::open(state.path(), Some("2026")).expect_err("no run");
        assert_eq!(none.exit().code(), 3);
        for (scenario, time) in [("errors", "2026-11-21T06:40:12Z"), ("spike", "2026-11-22T06:40:12Z")] {
            RunFolder::create_at(state.path(), scenario, at(time)).expect("a run");
        }
        let open = |run| RunFolder::open(state.path(), run).map(|folder| folder.id);
        for (run, id) in [
            (None, "20261122-064012-spike"),
            (Some("latest"), "20261122-064012-spike"),
            (Some("20261121"), "20261121-064012-errors"),
            (Some("20261121-064012-errors"), "20261121-064012-errors"),
        ] {
            assert_eq!(open(run).expect("a run"), id);
        }
        let ambiguous = open(Some("2026112")).expect_err("two runs");
        assert_eq!(ambiguous.exit().code(), 2);
        assert!(ambiguous.to_string().contains("2 runs begin with `2026112`"), "{ambiguous}");
        let wrong = open(Some("20261121-064012-error_")).expect_err("no such run");
        assert_eq!(wrong.exit().code(), 2);
        assert!(wrong.to_string().contains("The nearest is 20261121-064012-errors"), "{wrong}");
    }

    #[test]
    fn an_id_that_is_another_ones_beginning_is_exact() {
        let state = tempfile::tempdir().expect("a folder");
        let now = at("2026-11-21T06:40:12Z");
        let first = RunFolder::create_at(state.path(), "errors", now).expect("a run");
        RunFolder::create_at(state.path(), "errors", now).expect("a run");
        assert_eq!(RunFolder::open(state.path(), Some(first.id())).expect("a run"), first);
    }

    #[test]
    fn a_state_folder_that_cannot_be_written_is_a_missing_prerequisite() {
        let state = tempfile::tempdir().expect("a folder");
        std::fs::write(state.path().join("runs"), "").expect("a file in the way");
        let error = RunFolder::create(state.path(), "errors").expect_err("no folder");
        assert_eq!(error.exit().code(), 5);
    }
}
