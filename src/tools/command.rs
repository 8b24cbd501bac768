//! A program of the distribution, run to its end: bounded, and ended with all that it started.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::interrupt::Interrupt;

/// How long one may take.
const BOUND: Duration = Duration::from_secs(600);

/// How often it is told that one still runs.
const TICK: Duration = Duration::from_millis(200);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whether with 0.
    pub success: bool,
    /// With what, in words.
    pub status: String,
    /// What it wrote.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs a program to its end, in a group of processes of its own; `tick` is called while it runs.
///
/// # Errors
/// It cannot be started, takes too long, or `interrupt` came: it is then ended, with all that it started.
pub async fn run<S: AsRef<std::ffi::OsStr>>(
    program: &str,
    arguments: &[S],
    folder: Option<&Path>,
    interrupt: &Interrupt,
    tick: &(dyn Fn() + Sync),
) -> Result<Ended, String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env("LC_ALL", "C").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let child = command.spawn().map_err(|e| format!("{program} cannot be run: {e}"))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let ended = child.wait_with_output();
    tokio::pin!(ended);
    let deadline = tokio::time::Instant::now() + BOUND;
    let mut ticks = tokio::time::interval(TICK);
    let why = loop {
        tokio::select! {
            biased;
            ended = &mut ended => {
                let output = ended.map_err(|e| format!("{program} cannot be waited for: {e}"))?;
                return Ok(Ended {
                    success: output.status.success(),
                    status: output.status.to_string(),
                    stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                });
            }
            () = interrupt.wait() => break "it was interrupted".to_owned(),
            () = tokio::time::sleep_until(deadline) => {
                break format!("{program} did not end within {} s", BOUND.as_secs());
            }
            _ = ticks.tick() => tick(),
        }
    };
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    // What it writes to may be removed only when it is gone.
    let _ = ended.await;
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[tokio::test]
    async fn an_interruption_ends_all_that_was_started() {
        let run = |test| tokio::time::timeout(Duration::from_secs(30), test);
        run(interrupted()).await.expect("all that was started ends");
    }

    async fn interrupted() {
        let folder = tempfile::tempdir().expect("a folder");
        let interrupt = Interrupt::default();
        let script = "sleep 1000 & echo $! >pid; mv pid child; wait";
        let arguments = ["-c", script];
        let child = folder.path().join("child");
        let begun = || {
            if child.exists() {
                interrupt.trigger(Exit::Interrupted);
            }
        };
        let ended = run("sh", &arguments, Some(folder.path()), &interrupt, &begun).await;
        assert_eq!(ended, Err("it was interrupted".into()));
        let pid: i32 = std::fs::read_to_string(&child).expect("its id").trim().parse().expect("a number");
        // Its files are closed by then; the kernel takes a moment more. One that nobody has waited for is a zombie.
        let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z"),
            Err(_) => true,
        };
        while !gone() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn one_that_is_not_there_says_so() {
        let ended = run("/nonexistent/apt-get", &["x"], None, &Interrupt::default(), &|| ()).await;
        assert!(ended.is_err_and(|why| why.contains("/nonexistent/apt-get cannot be run")));
    }
}
