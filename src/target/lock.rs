//! One `sre` at a time changes a lab: `.sre/lock`.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::Folder;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::terminal::Terminal;

/// Holds a lab's lock until it is dropped; the system drops it with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
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
        let failed = |e: std::io::Error| {
            Error::prerequisite(format!("{} cannot be locked", path.display())).because(e)
        };
        std::fs::create_dir_all(folder.root()).map_err(failed)?;
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let deadline = Instant::now() + bound;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(failed(e)),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = File::open(&path).and_then(|mut file| file.read_to_string(&mut holder));
                    let holder = match holder.trim() {
                        "" => "another sre",
                        holder => holder,
                    };
                    if Instant::now() >= deadline {
                        return Err(Error::target(format!(
                            "{holder} has been busy here for {} s",
                            bound.as_secs()
                        ))
                        .because_of(format!("it holds {}", path.display()))
                        .hint("let it come to its end, or end it"));
                    }
                    if !told {
                        terminal.say(format!(
                            "waiting for {holder}, which is busy here (up to {} s)",
                            bound.as_secs()
                        ));
                        told = true;
                    }
                    interrupt.or(tokio::time::sleep(Duration::from_millis(100))).await?;
                }
            }
        }
        // For people only: who holds it is told by the lock itself.
        let _ = file.set_len(0);
        let _ = write!(file, "{purpose} (pid {})", std::process::id());
        Ok(Lock { _file: file })
    }
}
