//! Runs other programs (helm, minikube, an image loader), with their output, and never leaves one behind.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use duct::ReaderHandle;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// How long an interrupted program may take to clean up before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// A program to run.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    arguments: Vec<OsString>,
    input: Option<Vec<u8>>,
    environment: Vec<(String, String)>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Finished {
    /// Whether it says that it succeeded.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl Program {
    /// A program, found on PATH unless `name` is a path, and its arguments.
    pub fn new<A: Into<OsString>>(name: impl AsRef<Path>, arguments: impl IntoIterator<Item = A>) -> Program {
        Program {
            name: name.as_ref().display().to_string(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            input: None,
            environment: Vec::new(),
        }
    }

    /// What it reads from stdin; nothing, without this.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Program {
        self.input = Some(input.into());
        self
    }

    /// Sets an environment variable.
    pub fn environment(mut self, key: &str, value: &str) -> Program {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Adds arguments.
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Runs it to its end; `line` is called with each line of its stdout as it comes.
    ///
    /// On an interrupt, or when this future is dropped, the program is sent SIGINT; one that is still there
    /// after 20 s is killed. Fails only if the program can't be run or was interrupted: how it ended is
    /// for the caller to judge.
    pub async fn run(self, interrupt: &Interrupt, mut line: impl FnMut(&str)) -> Result<Finished> {
        interrupt.check()?;
        let (handle, mut lines, finished) = self.start()?;
        let mut guard = Guard(Some(handle));
        let mut stdout = String::new();
        let mut interrupted = false;
        loop {
            tokio::select! {
                next = lines.recv() => match next {
                    Some(next) => {
                        line(&next);
                        stdout.push_str(&next);
                        stdout.push('\n');
                    }
                    None => break,
                },
                () = interrupt.wait(), if !interrupted => {
                    interrupted = true;
                    guard.stop();
                }
            }
        }
        let (code, stderr) = finished
            .await
            .map_err(|_| Error::target(format!("`{}` ended unseen", self.name)))?
            .map_err(|e| Error::target(format!("`{}` could not be waited for", self.name)).because(e))?;
        guard.0 = None;
        if interrupted {
            interrupt.check()?;
        }
        Ok(Finished { code, stdout, stderr })
    }

    /// Starts it on a thread of its own that reads its output and waits for it, whatever becomes of the caller.
    #[allow(clippy::type_complexity)]
    fn start(
        &self,
    ) -> Result<(
        Arc<ReaderHandle>,
        mpsc::UnboundedReceiver<String>,
        oneshot::Receiver<std::io::Result<(Option<i32>, String)>>,
    )> {
        let mut expression = duct::cmd(&self.name, &self.arguments).stderr_capture().unchecked();
        for (key, value) in &self.environment {
            expression = expression.env(key, value);
        }
        expression = match &self.input {
            Some(input) => expression.stdin_bytes(input.clone()),
            None => expression.stdin_null(),
        };
        let handle = expression.reader().map_err(|e| {
            let error = Error::prerequisite(format!("`{}` can't be run", self.name)).because(&e);
            match e.kind() {
                std::io::ErrorKind::NotFound => {
                    error.hint("install it, or put its folder on PATH; see `sre doctor`")
                }
                _ => error,
            }
        })?;
        let handle = Arc::new(handle);
        let (sender, lines) = mpsc::unbounded_channel();
        let (end, finished) = oneshot::channel();
        let reading = handle.clone();
        std::thread::spawn(move || {
            let mut result = Ok(());
            for text in BufReader::new(&*reading).lines() {
                match text {
                    Ok(text) => {
                        let _ = sender.send(text);
                    }
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
            drop(sender);
            let ended = result.and_then(|()| reading.try_wait()).map(|output| match output {
                Some(output) => (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()),
                None => (None, String::new()),
            });
            let _ = end.send(ended);
        });
        Ok((handle, lines, finished))
    }
}

/// Ends a program that nobody waits for any more.
struct Guard(Option<Arc<ReaderHandle>>);

impl Guard {
    /// Asks the program to end, and kills it if it does not.
    fn stop(&self) {
        let Some(handle) = self.0.clone() else { return };
        for pid in handle.pids() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended by itself just now.
                let _ = kill_process(pid, Signal::INT);
            }
        }
        std::thread::spawn(move || {
            let started = std::time::Instant::now();
            while started.elapsed() < GRACE {
                if !matches!(handle.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = handle.kill();
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn shell(script: &str) -> Program {
        Program::new("sh", ["-c", script])
    }

    #[tokio::test]
    async fn output_input_and_exit_status_are_kept() {
        let mut lines = Vec::new();
        let program = shell("cat; echo $LAB; echo oops >&2; exit 3").input("in\n").environment("LAB", "x");
        let finished = program.run(&Interrupt::default(), |line| lines.push(line.to_owned())).await.unwrap();
        assert_eq!(finished, Finished { code: Some(3), stdout: "in\nx\n".into(), stderr: "oops\n".into() });
        assert_eq!(lines, ["in", "x"]);
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_a_prerequisite() {
        let program = Program::new("/nonexistent/helm", ["version"]);
        let error = program.run(&Interrupt::default(), |_| ()).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Prerequisite);
    }

    #[tokio::test]
    async fn an_interrupt_lets_the_program_clean_up() {
        let folder = tempfile::tempdir().unwrap();
        let clean = folder.path().join("clean");
        let script =
            format!("trap 'touch {}; exit 1' INT; echo ready; while :; do sleep 0.05; done", clean.display());
        let interrupt = Interrupt::default();
        let trigger = interrupt.clone();
        let error = shell(&script).run(&interrupt, |_| trigger.trigger(Exit::Interrupted)).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Interrupted);
        assert!(clean.exists(), "it was killed before it could clean up");
    }

    #[tokio::test]
    async fn a_program_that_nobody_waits_for_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let clean = folder.path().join("clean");
        let script =
            format!("trap 'touch {}; exit 1' INT; echo ready; while :; do sleep 0.05; done", clean.display());
        let interrupt = Interrupt::default();
        let (ready, started) = oneshot::channel();
        let mut ready = Some(ready);
        let running = shell(&script).run(&interrupt, |_| {
            let _ = ready.take().map(|ready| ready.send(()));
        });
        tokio::select! {
            _ = running => panic!("it runs until it is told to end"),
            _ = started => {}
        }
        let asked = std::time::Instant::now();
        while !clean.exists() {
            assert!(asked.elapsed() < Duration::from_secs(10), "it was left behind");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
