//! A run's event log: one JSON document a line, each written before anything else is done.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::consistency::Told;
use super::folder::unwritable;
use super::{Event, EventKind, Reporter, SCHEMA};
use crate::error::{Error, Result};
use crate::target::own_files;

/// Writes events to a run's log; holds a lock on it, so that one process at a time does.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    path: PathBuf,
    /// Bytes up to the end of the last whole line.
    whole: u64,
    /// After a failed write nothing follows: a log with a hole in it would tell another story.
    broken: Option<Error>,
}

impl EventLog {
    /// Begins the log at `path`, or continues it; a half line that a killed process left is cut off.
    ///
    /// Exit 2 where another process writes it, 3 where it is damaged, 5 where it cannot be written.
    pub fn append(path: &Path) -> Result<EventLog> {
        let unwritable = |cause| unwritable(path, cause);
        let file =
            own_files::options().read(true).append(true).create(true).open(path).map_err(unwritable)?;
        lock(&file).map_err(|error| match error {
            TryLockError::WouldBlock => {
                Error::usage(format!("{} is being written by another sre", path.display()))
                    .hint("Wait until that run has ended.")
            }
            TryLockError::Error(cause) => unwritable(cause),
        })?;
        let mut whole = file.metadata().map_err(unwritable)?.len();
        if whole > 0 {
            match Log::read(path)?.damage {
                None => {}
                Some(damage) if damage.cut_off => {
                    whole = damage.offset;
                    file.set_len(whole).map_err(unwritable)?;
                }
                Some(damage) => {
                    return Err(Error::no_data(format!("{} cannot be continued", path.display()))
                        .because_of(damage.to_string())
                        .hint("Run it again: a run whose record was changed or damaged cannot be judged."));
                }
            }
        }
        Ok(EventLog { file, path: path.to_owned(), whole, broken: None })
    }

    fn write(&mut self, event: &Event) -> Result<()> {
        let json = serde_json::to_string(&*event.without_secrets())
            .map_err(|cause| unwritable(&self.path, std::io::Error::other(cause)))?;
        let line = json + "\n";
        if let Err(cause) = self.file.write_all(line.as_bytes()) {
            // What was written of the line must not pass for an event.
            let _ = self.file.set_len(self.whole);
            return Err(unwritable(&self.path, cause));
        }
        self.whole += line.len() as u64;
        Ok(())
    }
}

impl Reporter for EventLog {
    fn event(&mut self, event: &Event) -> Result<()> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.write(event).inspect_err(|error| self.broken = Some(error.clone()))
    }
}

/// Whoever asks whether a run is going on holds the lock for an instant: that is no other writer.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..20 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(5)),
            other => return other,
        }
    }
    file.try_lock()
}

/// What an event log tells.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Every event up to the end, or up to the damage; the first is `run-started`.
    pub events: Vec<Event>,
    /// Set where the log could not be read to its end.
    pub damage: Option<Damage>,
}

/// Where a log stops being readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The line that cannot be read, from 1.
    pub line: usize,
    /// The byte at which it begins.
    pub offset: u64,
    /// Whether it is the last line, and has no end: its writer was killed or the disk was full.
    pub cut_off: bool,
    /// Why it cannot be read.
    pub cause: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut_off {
            return write!(f, "The event log ends in the middle of line {}, which was left out.", self.line);
        }
        let line = self.line;
        write!(
            f,
            "The event log is damaged at line {line} ({}); that and what follows was left out.",
            self.cause
        )
    }
}

impl Log {
    /// Reads a log up to its last whole line. Events of an unknown kind are left out.
    ///
    /// Exit 3 where there is no log, where it does not begin with `run-started`, or where a newer version wrote it.
    pub fn read(path: &Path) -> Result<Log> {
        let name = path.display();
        let bytes =
            std::fs::read(path).map_err(|e| Error::no_data(format!("{name} cannot be read")).because(e))?;
        check_schema(&bytes).map_err(|error| match error {
            Some(schema) => Error::no_data(format!("{name} was written by another version of sre"))
                .because_of(format!("its schema is {schema}; this version reads {SCHEMA}"))
                .hint("Read it with the version of sre that wrote it."),
            None => Error::no_data(format!("{name} holds no run"))
                .because_of("it does not begin with a whole `run-started` event"),
        })?;
        Ok(Log::parse(&bytes))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Log {
        let mut log = Log::default();
        let mut told = Told::default();
        let mut offset = 0;
        for (i, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let cut_off = !line.ends_with(b"\n");
            let event = match serde_json::from_slice::<Event>(line) {
                Ok(event) if !cut_off => event,
                other => {
                    let cause = other.err().map_or("no line end".into(), |e| e.to_string());
                    log.damage = Some(Damage { line: i + 1, offset, cut_off, cause });
                    break;
                }
            };
            if let Err(cause) = told.take(&event) {
                log.damage = Some(Damage { line: i + 1, offset, cut_off: false, cause });
                break;
            }
            if event.kind != EventKind::Unknown {
                log.events.push(event);
            }
            offset += line.len() as u64;
        }
        log
    }
}

/// The schema is looked at before anything else: a newer log need not have today's shape.
fn check_schema(bytes: &[u8]) -> Result<(), Option<String>> {
    #[derive(serde::Deserialize)]
    struct First {
        event: String,
        schema: String,
    }
    let first = bytes.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n"));
    match first.and_then(|line| serde_json::from_slice::<First>(line).ok()) {
        Some(first) if first.event != "run-started" => Err(None),
        Some(first) if first.schema != SCHEMA => Err(Some(first.schema)),
        Some(_) => Ok(()),
        None => Err(None),
    }
}
