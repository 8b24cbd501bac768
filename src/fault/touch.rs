//! Doing and undoing what a fault does to one replica. Whoever calls it holds the journal's lock.

use std::time::{Duration, Instant};

use url::Url;

use super::heal::Patience;
use super::kubernetes::{self, Keeper};
use super::moment::Now;
use super::{Entry, Journal, State, Switches, Touched};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::target::local::process::{self, State as ProcessState};
use crate::target::local::tail::last_lines;
use crate::target::{Lab, Lock, Process};

/// The service switches a fault off by itself this much later than it should have been undone.
pub(super) const LAST_RESORT: Duration = Duration::from_secs(10);
/// How long the system may take for a signal, and a process to listen after its start.
const BOUND: Duration = Duration::from_secs(10);
/// How long another `sre` may be busy with the lab's processes.
const LAB_BOUND: Duration = Duration::from_secs(60);
/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Touched {
    /// Does it. Its entry is in the journal. What comes back holds it: the fault ends when that is dropped.
    pub(super) async fn inject(&self, journal: &Journal, interrupt: &Interrupt) -> Result<Vec<Keeper>> {
        match self {
            Touched::Switches { admin, .. } => set_switches(journal, admin, None).await?,
            Touched::Killed { process, .. } => {
                process::kill(process)?;
                reached(process, ProcessState::Dead, "killed").await?;
            }
            Touched::Paused { process } => {
                process::pause(process)?;
                reached(process, ProcessState::Paused, "paused").await?;
            }
            Touched::Object { cluster, on, record } => {
                let cluster = interrupt.or(cluster.connect()).await??;
                return kubernetes::inject(&cluster, on, record, interrupt).await;
            }
        }
        Ok(Vec::new())
    }

    /// Undoes it, however far it came, and looks whether it is; what is undone already is no error. Its entry,
    /// `id`, may still be in the journal.
    pub(super) async fn heal(&self, journal: &Journal, id: &str, patience: &Patience) -> Result<()> {
        match self {
            Touched::Switches { admin, process, .. } => {
                let gone = || process.as_ref().is_some_and(|process| !process::is_alive(process));
                if gone() {
                    return Ok(());
                }
                set_switches(journal, admin, Some(id)).await.or_else(|e| if gone() { Ok(()) } else { Err(e) })
            }
            Touched::Killed { process, url } => start_again(journal, process, url).await,
            // Also where it is not paused (yet): a pause that is under way is called off by it.
            Touched::Paused { process } => {
                let resumed = process::resume(process);
                if !process::is_alive(process) {
                    return Ok(());
                }
                resumed?;
                goes_on(process).await
            }
            Touched::Object { cluster, on, record } => {
                let cluster = patience.connect(cluster).await?;
                kubernetes::undo(&cluster, on, record).await?;
                kubernetes::relieve(&cluster, on, record).await
            }
        }
    }

    /// Waits until what was ready before it is so again.
    pub(super) async fn settle(&self) -> Result<()> {
        match self {
            Touched::Object { cluster, record, .. } => {
                kubernetes::settle(&cluster.connect().await?, record, kubernetes::SETTLED).await
            }
            // Their healing waits itself.
            Touched::Switches { .. } | Touched::Killed { .. } | Touched::Paused { .. } => Ok(()),
        }
    }
}

/// Sets on an admin port exactly what the journal wants of it, apart from one entry.
async fn set_switches(journal: &Journal, admin: &Url, without: Option<&str>) -> Result<()> {
    let entries = journal.entries()?;
    // What could not be undone is not wanted any more.
    let holds = |entry: &&Entry| Some(entry.id.as_str()) != without && entry.state != State::Failed;
    match wanted(&entries.iter().filter(holds).collect::<Vec<_>>(), admin, &Now::read()) {
        None => Switches::clear(admin).await,
        Some((switches, left)) => switches.put(admin, left + LAST_RESORT).await,
    }
}

/// What these entries together want of an admin port, and for how long yet; `None` if they want nothing.
pub(super) fn wanted(entries: &[&Entry], admin: &Url, now: &Now) -> Option<(Switches, Duration)> {
    let mut wanted: Option<(Switches, Duration)> = None;
    for entry in entries {
        for touched in &entry.touched {
            match touched {
                Touched::Switches { admin: of, switches, .. } if of == admin => {
                    let (all, left) = wanted.unwrap_or_default();
                    wanted = Some((all.union(*switches), left.max(entry.left(now))));
                }
                _ => {}
            }
        }
    }
    wanted
}

/// Starts a killed process again, unless its lab is down or somebody has started it since.
async fn start_again(journal: &Journal, killed: &Process, url: &Url) -> Result<()> {
    let folder = journal.folder();
    let purpose = "an sre that starts a process again";
    let _lock = Lock::take(folder, purpose, LAB_BOUND, journal.terminal(), &Interrupt::default()).await?;
    let Some(mut lab) = Lab::load(folder.root())? else { return Ok(()) };
    let Some(recorded) = lab.process(&killed.name).cloned() else { return Ok(()) };
    if (recorded.pid, recorded.started) != (killed.pid, killed.started) && process::is_alive(&recorded) {
        // Whoever has started it may have been killed before it listened.
        return listens(&recorded, url).await;
    }
    // One that an `sre` started and was killed before it could record it holds the port.
    for stray in process::marked(folder) {
        if stray.name == killed.name && stray.pid != recorded.pid {
            process::stop(&stray, GRACE).await?;
        }
    }
    // A process that is still alive may be about to die of the kill: this ends it for certain.
    let process = process::restart(&mut lab, folder, &killed.name, GRACE).await?;
    listens(&process, url).await
}

/// Waits until a process listens. An error (exit 6) if it ends, or does not within the bound.
async fn listens(process: &Process, url: &Url) -> Result<()> {
    let failed = || {
        let lines = last_lines(&process.log, 5);
        let error = Error::target(format!("{} does not listen on {url} after its start", process.name));
        let error = if lines.is_empty() { error } else { error.because_of(lines.join("\n")) };
        error.hint(format!("sre logs {}", process.name))
    };
    let addresses = url.socket_addrs(|| None).map_err(|e| failed().because(e))?;
    let deadline = Instant::now() + BOUND;
    loop {
        if !process::is_alive(process) {
            return Err(failed().because_of("it ended at once"));
        }
        if tokio::net::TcpStream::connect(addresses.as_slice()).await.is_ok() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(failed().because_of(format!("it had {} s for it", BOUND.as_secs())));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until a process that was resumed is no longer paused; one that has ended meanwhile is not.
async fn goes_on(process: &Process) -> Result<()> {
    match reached(process, ProcessState::Running, "resumed").await {
        Err(error) if process::is_alive(process) => Err(error),
        _ => Ok(()),
    }
}

/// Waits until a signal has had its effect.
async fn reached(process: &Process, wanted: ProcessState, word: &str) -> Result<()> {
    let deadline = Instant::now() + BOUND;
    while process::state(process) != wanted {
        if Instant::now() >= deadline {
            let what = format!("{} (pid {}) was not {word}", process.name, process.pid);
            return Err(Error::target(what).because_of(format!(
                "it is {} {} s after the signal",
                process::state(process),
                BOUND.as_secs()
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::journal::tests::entry;

    #[test]
    fn a_replica_is_wanted_to_have_what_is_left_of_all_faults_on_it() {
        let admin: Url = "http://127.0.0.1:9".parse().expect("a URL");
        let elsewhere: Url = "http://127.0.0.1:10".parse().expect("a URL");
        let now = Now { wall: jiff::Timestamp::UNIX_EPOCH, steady: None };
        let later = Duration::from_secs(60);
        let slow = entry("slow");
        let mut unready = Entry { until: now.after(later).wall, ..entry("unready") };
        unready.touched = [&admin, &elsewhere]
            .map(|admin| Touched::Switches {
                replica: "users-api-0".into(),
                admin: admin.clone(),
                process: None,
                switches: Switches { unready: true, ..Switches::default() },
            })
            .into();
        let both = Switches { latency_ms: 2000, unready: true, ..Switches::default() };
        let second = Switches { unready: true, ..Switches::default() };
        let wanted = |entries: &[&Entry], admin| wanted(entries, admin, &now);
        assert_eq!(wanted(&[&slow, &unready], &admin), Some((both, later)));
        assert_eq!(wanted(&[&unready], &admin), Some((second, later)));
        assert_eq!(wanted(&[&slow, &unready], &elsewhere), Some((second, later)));
        assert_eq!(wanted(&[&slow], &elsewhere), None);
    }
}
