//! Runs other programs (helm, minikube, an image loader), with their output, and never leaves one behind.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use duct::ReaderHandle;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// How long an interrupted program may take to clean up before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// How long a program may take, unless its caller says otherwise.
const BOUND: Duration = Duration::from_secs(600);

/// How long one may take that builds, downloads or starts a cluster.
pub const LONG: Duration = Duration::from_secs(1800);

/// How long after its end is asked for its pipes may still be open: one that it started may hold them.
const AFTER: Duration = Duration::from_secs(5);

/// A program to run.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    bound: Duration,
    grace: Duration,
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
            bound: BOUND,
            grace: GRACE,
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

    /// How long it may take; ten minutes, without this.
    pub fn within(mut self, bound: Duration) -> Program {
        self.bound = bound;
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
    /// On an interrupt, when its time is over, or when this future is dropped, the program and all that it started
    /// are sent SIGINT; what is still there after 20 s is killed. Fails only if the program can't be run, took too
    /// long or was interrupted: how it ended is for the caller to judge.
    pub async fn run(self, interrupt: &Interrupt, mut line: impl FnMut(&str)) -> Result<Finished> {
        interrupt.check()?;
        let (handle, mut lines, finished) = self.start()?;
        let mut guard = Guard { handle: Some(handle), grace: self.grace };
        let mut stdout = String::new();
        let (mut interrupted, mut late) = (false, false);
        let mut deadline = tokio::time::Instant::now() + self.bound;
        loop {
            let stopping = interrupted || late;
            tokio::select! {
                next = lines.recv() => match next {
                    Some(next) => {
                        line(&next);
                        stdout.push_str(&next);
                        stdout.push('\n');
                    }
                    None => break,
                },
                () = interrupt.wait(), if !stopping => {
                    interrupted = true;
                    deadline = tokio::time::Instant::now() + self.grace + AFTER;
                    guard.stop();
                }
                () = tokio::time::sleep_until(deadline) => {
                    if stopping {
                        guard.handle = None;
                        interrupt.check()?;
                        return Err(self.late().because_of("it does not even end when it is killed"));
                    }
                    late = true;
                    deadline = tokio::time::Instant::now() + self.grace + AFTER;
                    guard.stop();
                }
            }
        }
        let (code, stderr) = finished
            .await
            .map_err(|_| Error::target(format!("`{}` ended unseen", self.name)))?
            .map_err(|e| Error::target(format!("`{}` could not be waited for", self.name)).because(e))?;
        guard.handle = None;
        if interrupted {
            interrupt.check()?;
        }
        if late {
            let error = self.late();
            return Err(if stderr.trim().is_empty() { error } else { error.because_of(stderr.trim()) });
        }
        Ok(Finished { code, stdout, stderr })
    }

    fn late(&self) -> Error {
        let arguments: Vec<_> = self.arguments.iter().take(2).map(|part| part.to_string_lossy()).collect();
        let command = format!("{} {}", self.name, arguments.join(" "));
        Error::target(format!("`{}` did not come to its end", command.trim()))
            .because_of(format!("it had {} s, and was ended then", self.bound.as_secs()))
            .hint("run it by hand to see what it waits for")
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
        let mut expression = duct::cmd(&self.name, &self.arguments)
            .stderr_capture()
            .unchecked()
            // A group of its own, so that what it starts is ended with it.
            .before_spawn(|command| {
                command.process_group(0);
                Ok(())
            });
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
            // Not by `lines`: a byte that is no UTF-8 ends nothing.
            for line in BufReader::new(&*reading).split(b'\n') {
                match line {
                    Ok(line) => {
                        let line = line.strip_suffix(b"\r").unwrap_or(&line);
                        let _ = sender.send(String::from_utf8_lossy(line).into_owned());
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

/// Ends a program that nobody waits for any more, and what it started.
struct Guard {
    handle: Option<Arc<ReaderHandle>>,
    grace: Duration,
}

impl Guard {
    /// Asks the program to end, and kills it if it does not.
    fn stop(&self) {
        let Some(handle) = self.handle.clone() else { return };
        let groups: Vec<Pid> =
            handle.pids().into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect();
        for group in &groups {
            // It may have ended by itself just now.
            let _ = kill_process_group(*group, Signal::INT);
        }
        let grace = self.grace;
        std::thread::spawn(move || {
            let started = std::time::Instant::now();
            let is_there = |group: &Pid| test_kill_process_group(*group).is_ok();
            while started.elapsed() < grace {
                // A dead one counts as there until it is waited for.
                let _ = handle.try_wait();
                if !groups.iter().any(is_there) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            for group in &groups {
                let _ = kill_process_group(*group, Signal::KILL);
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
    async fn a_program_that_hangs_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let alive = folder.path().join("alive");
        // Its child holds its stdout, and neither heeds SIGINT.
        let script = format!(
            "trap '' INT; (trap '' INT; while :; do touch {0}; sleep 0.02; done) & echo said >&2; wait",
            alive.display()
        );
        let mut program = shell(&script).within(Duration::from_millis(300));
        program.grace = Duration::from_millis(200);
        let error = program.run(&Interrupt::default(), |_| ()).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Target);
        assert!(error.to_string().contains("did not come to its end"), "{error}");
        std::fs::remove_file(&alive).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!alive.exists(), "what it started goes on");
    }

    #[tokio::test]
    async fn a_byte_that_is_no_text_ends_nothing() {
        let finished = shell("printf 'a\\377b\\r\\nc\\n'").run(&Interrupt::default(), |_| ()).await.unwrap();
        assert_eq!(finished.stdout, "a\u{fffd}b\nc\n");
        assert!(finished.success());
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
