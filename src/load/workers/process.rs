//! A worker as a child process of this one.

use std::ffi::OsStr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::message::Told;
use crate::error::{Error, Result};

/// A worker as a child process. It is ended when this is dropped, and ends by itself when this process is gone.
pub(super) struct Process {
    child: Child,
    told: Lines<BufReader<ChildStdout>>,
    last_words: Arc<Mutex<Option<String>>>,
    listener: JoinHandle<()>,
}

impl Process {
    /// Starts this program as a worker; comes back with the pipe for its orders, too.
    pub(super) fn start(program: &OsStr) -> Result<(Process, ChildStdin)> {
        let failed = || Error::target("a load worker cannot be started");
        let mut child = Command::new(program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is this process' to handle: the worker is told to stop, and tells what it knows.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed().because(e))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(orders), Some(told), Some(errors)) = pipes else { return Err(failed()) };
        let last_words = Arc::new(Mutex::new(None));
        let listener = tokio::spawn(listen(errors, last_words.clone()));
        Ok((Process { child, told: BufReader::new(told).lines(), last_words, listener }, orders))
    }

    /// Its process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The next message; without one, how the process ended.
    pub(super) async fn next(&mut self) -> Result<Told, String> {
        match self.told.next_line().await {
            Ok(Some(line)) => {
                serde_json::from_str(&line).map_err(|e| format!("it told what cannot be read: {e}"))
            }
            Ok(None) | Err(_) => Err(self.end().await),
        }
    }

    async fn end(&mut self) -> String {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let _ = (&mut self.listener).await;
        match self.last_words.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(words) => format!("{status}: {words}"),
            None => status,
        }
    }
}

/// Keeps the last line that a worker wrote on stderr.
async fn listen(errors: ChildStderr, last: Arc<Mutex<Option<String>>>) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
    }
}
