//! `down`: stops exactly what `up` started, whatever became of it since.

use std::fs;
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;

use super::process::{marked, stop};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::target::{Folder, Lab, Lock, Process};
use crate::terminal::Terminal;

/// How long a process may take to end after SIGTERM; Prometheus writes its data in it.
pub const GRACE: Duration = Duration::from_secs(20);
/// How long another `sre` that changes this lab is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(120);

/// A process that was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// Stops the lab in this folder; data, logs and runs stay. What was stopped: nothing if nothing was
/// up. Not ended by an interruption, because a lab half down helps nobody.
pub async fn down(folder: &Folder, terminal: &Terminal, interrupt: &Interrupt) -> Result<Vec<Stopped>> {
    if !folder.root().exists() {
        return Ok(Vec::new());
    }
    let _lock = Lock::take(folder, "sre down", LOCK_BOUND, terminal, interrupt).await?;
    if let Err(error) = Lab::load(folder.root()) {
        terminal.warn(format!("{}; what runs here is found by its marks", error.what()));
    }
    take_down(folder).await
}

/// Stops and forgets all that runs in a folder. The caller holds its lock.
pub async fn take_down(folder: &Folder) -> Result<Vec<Stopped>> {
    let mut stopped = Vec::new();
    if let Ok(Some(lab)) = Lab::load(folder.root()) {
        stopped.extend(stop_all(&lab.processes).await?);
    }
    // What an `up` started that was killed before it could write it down; twice, because a process
    // that is replacing its program shows no marks for a moment.
    for _ in 0..2 {
        stopped.extend(stop_all(&marked(folder)).await?);
    }
    Lab::remove(folder.root())?;
    Ok(stopped)
}

/// Deletes Prometheus' data, logs and notifications of a lab that is down; runs stay.
pub fn purge(folder: &Folder) -> Result<()> {
    match fs::remove_dir_all(folder.local()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::target(format!("{} cannot be removed", folder.local().display())).because(e))
        }
        _ => Ok(()),
    }
}

/// Stops processes, all at once. What had to be stopped, in their order; the first error after all were tried.
pub async fn stop_all(processes: &[Process]) -> Result<Vec<Stopped>> {
    let results = join_all(processes.iter().map(|process| stop(process, GRACE))).await;
    let mut stopped = Vec::new();
    let mut failed = None;
    for (process, result) in processes.iter().zip(results) {
        match result {
            Ok(true) => stopped.push(Stopped { name: process.name.clone(), pid: process.pid }),
            Ok(false) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(stopped), Err)
}
