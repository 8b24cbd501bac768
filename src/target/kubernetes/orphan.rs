//! Processes that a killed `sre` left at work: found by a mark in their environment, and ended.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

use crate::error::{Error, Result};

/// The environment variable that names the `sre` process which started the marked one.
pub const PARENT: &str = "SRE_PARENT";

/// How long an orphan may take to clean up.
const GRACE: Duration = Duration::from_secs(30);

/// Ends every process of this user whose environment has `key=value` and whose `sre` is gone, by SIGINT, and
/// waits until it is gone. One whose `sre` is at work still is an error.
pub async fn end(key: &str, value: &str) -> Result<()> {
    let mark = format!("{key}={value}");
    let started = Instant::now();
    let mut asked = false;
    loop {
        let found = find(&mark)?;
        if found.is_empty() {
            return Ok(());
        }
        if let Some((pid, parent)) = found.iter().find(|(_, parent)| parent.is_some()) {
            let parent = parent.unwrap_or_default();
            return Err(Error::target(format!("another `sre` (process {parent}) works on {value} just now"))
                .because_of(format!("its process {pid} is running"))
                .hint("wait until it is done"));
        }
        if !asked {
            for (pid, _) in &found {
                if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::INT);
                }
            }
            asked = true;
        }
        if started.elapsed() > GRACE {
            let (pid, _) = found[0];
            return Err(Error::target(format!("process {pid}, left by a killed `sre`, does not end"))
                .hint(format!("end it: kill -9 {pid}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The processes with this mark, each with its `sre` if that is still its parent.
fn find(mark: &str) -> Result<Vec<(u32, Option<u32>)>> {
    let mut system =
        System::new().map_err(|e| Error::target("the processes could not be listed").because(e))?;
    let what = ProcessRefreshKind::nothing().with_environ(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let marked = system.processes().values().filter(|process| {
        // Threads are listed as processes, too.
        process.thread_kind().is_none()
            && process.status() != sysinfo::ProcessStatus::Zombie
            && process.environ().iter().any(|entry| entry == mark)
    });
    Ok(marked
        .map(|process| {
            let parent = process.parent().map(sysinfo::Pid::as_u32);
            let starter = process.environ().iter().find_map(|entry| {
                entry.to_str()?.strip_prefix(PARENT)?.strip_prefix('=')?.parse::<u32>().ok()
            });
            (process.pid().as_u32(), parent.filter(|parent| Some(*parent) == starter))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_orphan_is_ended_and_a_process_at_work_is_not() {
        let value = uuid::Uuid::new_v4().to_string();
        let start = |parent: u32| {
            duct::cmd!("sleep", "60")
                .env("SRE_TEST_MARK", &value)
                .env(PARENT, parent.to_string())
                .unchecked()
                .start()
                .unwrap()
        };
        let at_work = start(std::process::id());
        let error = end("SRE_TEST_MARK", &value).await.unwrap_err();
        assert!(error.what().contains("another `sre`"), "{error}");
        at_work.kill().unwrap();
        at_work.wait().unwrap();

        // Its starter's id is not that of its parent: whoever started it is gone.
        let orphan = start(1);
        let ended = std::thread::spawn(move || orphan.wait().map(|output| output.status.code()).unwrap());
        end("SRE_TEST_MARK", &value).await.unwrap();
        assert_eq!(ended.join().unwrap(), None, "a signal ended it");
    }
}
