//! Processes that outlive `sre`: started apart from it, found again, paused, stopped.
//!
//! A process is known by its id together with its start time or the marks in its environment; the
//! system clock may be set while it runs, which moves the one but not the other. An id that was
//! given to another process is therefore never touched.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

use crate::error::{Error, Result};
use crate::target::{Folder, Lab, Process, own_files};

/// The mark that tells whose lab a process belongs to: the absolute path of its `.sre`.
pub const LAB_MARK: &str = "SRE_LAB";
/// The mark that tells a process' name.
pub const NAME_MARK: &str = "SRE_PROCESS";

/// What a process is given of the environment of `sre`, besides what its stack names: tokens of the user's shell
/// must not stand in a process that runs for weeks.
const KEPT: [&str; 15] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// How far the start time that the system tells may move while the clock is being steered, in seconds.
const START_TOLERANCE: u64 = 2;
/// How often a process that was told to end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the system may take to end a killed process.
const KILL_BOUND: Duration = Duration::from_secs(10);

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The name that it will be known by.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Environment variables, besides those of `sre`.
    pub environment: IndexMap<String, String>,
    /// Where it is started, if not where `sre` is.
    pub directory: Option<PathBuf>,
}

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs.
    Running,
    /// It is stopped by a signal, as a pause does.
    Paused,
    /// It is gone.
    Dead,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Dead => "dead",
        })
    }
}

/// Starts a process apart from `sre`: in a session of its own, so that neither Ctrl-C nor the end of the terminal
/// reaches it, its output appended to its log, marked as this lab's. Of the environment of `sre` it is given what
/// `KEPT` names. An error (exit 6) if it cannot be started.
pub fn start(spec: &Spec, folder: &Folder) -> Result<Process> {
    let mut environment = spec.environment.clone();
    environment.insert(LAB_MARK.into(), folder.root().display().to_string());
    environment.insert(NAME_MARK.into(), spec.name.clone());
    spawn(Process {
        name: spec.name.clone(),
        pid: 0,
        started: 0,
        program: spec.program.clone(),
        arguments: spec.arguments.clone(),
        environment,
        directory: spec.directory.clone(),
        log: folder.log(&spec.name),
    })
}

/// Starts again, as it was, a process that is dead or will be stopped by the caller.
pub fn start_again(process: &Process) -> Result<Process> {
    spawn(process.clone())
}

fn spawn(mut process: Process) -> Result<Process> {
    let failed = |e: std::io::Error| {
        Error::target(format!("{} cannot be started ({})", process.name, process.program.display()))
            .because(e)
    };
    if let Some(logs) = process.log.parent() {
        own_files::make(logs).map_err(failed)?;
    }
    let log = own_files::options().create(true).append(true).open(&process.log).map_err(failed)?;
    // It would wait for a reader, were it a pipe; as stdout it must wait for the disk.
    let log = own_files::regular(log).and_then(blocking).map_err(failed)?;
    is_program(&process.program).map_err(failed)?;
    let mut command = in_a_session(&process.program);
    if let Some(directory) = &process.directory {
        command.current_dir(directory);
    }
    let kept = KEPT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let child = command
        .args(&process.arguments)
        .env_clear()
        .envs(kept)
        .envs(&process.environment)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    process.pid = child.id();
    process.started = look(process.pid).map_or_else(now, |seen| seen.started);
    Ok(process)
}

/// A command that leads a session of its own. A process that is paused by a fault while its `sre` is killed would
/// else be sent SIGHUP, and a service of the user's own dies of that.
fn in_a_session(program: &Path) -> Command {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Not from a relative folder: it would be that of whoever made the current one.
    let folders = std::env::split_paths(&paths).filter(|folder| folder.is_absolute());
    let setsid = folders.map(|folder| folder.join("setsid")).find(|path| path.is_file());
    match setsid {
        Some(setsid) => {
            // Not the leader of a group: then it forks, and the process would have another id than is known.
            let mut command = Command::new(setsid);
            command.arg(program);
            command
        }
        None => {
            let mut command = Command::new(program);
            command.process_group(0);
            command
        }
    }
}

/// Whether a program can be started, if it is named by a path: asked before, because another program starts it.
fn is_program(program: &Path) -> std::io::Result<()> {
    match program.components().count() {
        0 | 1 => Ok(()),
        _ => Ok(rustix::fs::access(program, rustix::fs::Access::EXEC_OK)?),
    }
}

/// The same file, whose writes wait.
fn blocking(file: File) -> std::io::Result<File> {
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}

/// How a process is.
pub fn state(process: &Process) -> State {
    match look(process.pid) {
        Some(seen) if seen.is(process) => seen.state,
        _ => State::Dead,
    }
}

/// Whether a process runs or is paused.
pub fn is_alive(process: &Process) -> bool {
    state(process) != State::Dead
}

/// The memory that a process has, in bytes; `None` if it is dead.
pub fn memory(process: &Process) -> Option<u64> {
    look(process.pid).filter(|seen| seen.is(process) && seen.state != State::Dead).map(|seen| seen.memory)
}

/// Stops a process until it is resumed (SIGSTOP). An error (exit 6) if it is dead.
pub fn pause(process: &Process) -> Result<()> {
    signal(process, Signal::STOP)
}

/// Lets a paused process go on (SIGCONT). An error (exit 6) if it is dead.
pub fn resume(process: &Process) -> Result<()> {
    signal(process, Signal::CONT)
}

/// Tells a process to read its configuration again (SIGHUP). An error (exit 6) if it is dead.
pub fn reread(process: &Process) -> Result<()> {
    signal(process, Signal::HUP)
}

/// Kills a process at once (SIGKILL). An error (exit 6) if it is dead already.
pub fn kill(process: &Process) -> Result<()> {
    signal(process, Signal::KILL)
}

/// Ends a process, paused or not: SIGTERM, after `grace` SIGKILL. Comes back when it is gone.
/// Whether it had to be told at all: `false` if it was dead.
pub async fn stop(process: &Process, grace: Duration) -> Result<bool> {
    if !is_alive(process) {
        return Ok(false);
    }
    // It may end between a look and a signal, which is what is wanted.
    let tell =
        |signal_| signal(process, signal_).or_else(|e| if is_alive(process) { Err(e) } else { Ok(()) });
    tell(Signal::TERM)?;
    tell(Signal::CONT)?;
    if !gone_within(process, grace).await {
        tell(Signal::KILL)?;
        if !gone_within(process, KILL_BOUND).await {
            return Err(Error::target(format!("{} (pid {}) does not end", process.name, process.pid))
                .because_of("it is still there after SIGKILL: the system may be waiting for a disk"));
        }
    }
    Ok(true)
}

/// Starts a process of the lab again as it was, after ending it if it is alive; records and saves it.
pub async fn restart(lab: &mut Lab, folder: &Folder, name: &str, grace: Duration) -> Result<Process> {
    let process = lab
        .process(name)
        .cloned()
        .ok_or_else(|| Error::target(format!("the lab has no process {name}")).hint("sre status"))?;
    stop(&process, grace).await?;
    let process = start_again(&process)?;
    lab.record(process.clone());
    lab.save(folder.root())?;
    Ok(process)
}

async fn gone_within(process: &Process, bound: Duration) -> bool {
    let deadline = Instant::now() + bound;
    loop {
        reap(process.pid);
        if !is_alive(process) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every process that carries this lab's mark and is not this one, recorded or not.
pub fn marked(folder: &Folder) -> Vec<Process> {
    let lab = folder.root().display().to_string();
    let Ok(mut system) = System::new() else { return Vec::new() };
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what_is_looked_at());
    let own = std::process::id();
    let mut found: Vec<Process> = system
        .processes()
        .values()
        .map(Seen::of)
        .filter(|seen| seen.lab.as_deref() == Some(&lab) && seen.state != State::Dead && seen.pid != own)
        .map(|seen| {
            let name = seen.name.unwrap_or_else(|| format!("pid {}", seen.pid));
            Process {
                log: folder.log(&name),
                name,
                pid: seen.pid,
                started: seen.started,
                program: PathBuf::new(),
                arguments: Vec::new(),
                environment: IndexMap::new(),
                directory: None,
            }
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn signal(process: &Process, signal: Signal) -> Result<()> {
    let failed = || Error::target(format!("{} (pid {}) cannot be signalled", process.name, process.pid));
    if !is_alive(process) {
        return Err(failed().because_of("it is dead"));
    }
    let pid = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| failed().because_of("it is no process id"))?;
    // Its whole group, so that what it started itself is reached; a found one may lead no group.
    rustix::process::kill_process_group(pid, signal)
        .or_else(|_| rustix::process::kill_process(pid, signal))
        .map_err(|e| failed().because(e))
}

/// Whether there is a process of this id, whosever.
pub fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // One of somebody else's may not be signalled, and is there.
    pid.is_some_and(|pid| !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// Lets the system forget a dead child of this very process.
fn reap(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What the system tells of a process.
struct Seen {
    pid: u32,
    started: u64,
    state: State,
    memory: u64,
    lab: Option<String>,
    name: Option<String>,
}

impl Seen {
    fn of(process: &sysinfo::Process) -> Seen {
        let mark = |key: &str| {
            process.environ().iter().find_map(|pair| {
                pair.to_str()?
                    .split_once('=')
                    .filter(|(name, _)| *name == key)
                    .map(|(_, value)| value.to_owned())
            })
        };
        Seen {
            pid: process.pid().as_u32(),
            started: process.start_time(),
            state: match process.status() {
                // A zombie has ended; whoever should take note of it has not. While other threads of it end, it still
                // listens: what is started in its place would find its port taken.
                ProcessStatus::Zombie if has_threads(process.pid()) => State::Running,
                ProcessStatus::Zombie | ProcessStatus::Dead => State::Dead,
                ProcessStatus::Stop => State::Paused,
                _ => State::Running,
            },
            memory: process.memory(),
            lab: mark(LAB_MARK),
            name: mark(NAME_MARK),
        }
    }

    /// Whether this is the process that was recorded.
    fn is(&self, process: &Process) -> bool {
        let started = self.started.abs_diff(process.started) <= START_TOLERANCE;
        let marked = self.lab.is_some()
            && self.lab.as_ref() == process.environment.get(LAB_MARK)
            && self.name.as_ref() == process.environment.get(NAME_MARK);
        started || marked
    }
}

/// Whether a process has threads besides its first one.
fn has_threads(pid: Pid) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1)
}

fn look(pid: u32) -> Option<Seen> {
    let pid = Pid::from_u32(pid);
    let mut system = System::new().ok()?;
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what_is_looked_at());
    system.process(pid).map(Seen::of)
}

fn what_is_looked_at() -> ProcessRefreshKind {
    ProcessRefreshKind::nothing().with_environ(UpdateKind::Always).with_memory().without_tasks()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::target::local::tail::last_lines;

    const GRACE: Duration = Duration::from_secs(5);

    fn shell(name: &str, script: &str) -> Spec {
        let arguments = vec!["-c".into(), script.into()];
        Spec {
            name: name.into(),
            program: "/bin/sh".into(),
            arguments,
            environment: IndexMap::new(),
            directory: None,
        }
    }

    fn place() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(&place.path().join(".sre"));
        (place, folder)
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < deadline, "{what} did not come about");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    #[tokio::test]
    async fn a_process_is_started_paused_resumed_and_stopped() {
        let (_place, folder) = place();
        let process = start(&shell("sleeper", "echo up; exec sleep 60"), &folder).expect("started");
        until("its output", || last_lines(&process.log, 5) == ["up"]).await;
        assert_eq!(state(&process), State::Running);
        pause(&process).expect("paused");
        until("the pause", || state(&process) == State::Paused).await;
        resume(&process).expect("resumed");
        until("the resumption", || state(&process) == State::Running).await;
        pause(&process).expect("paused again");
        assert!(stop(&process, GRACE).await.expect("stopped, paused or not"));
        assert_eq!(state(&process), State::Dead);
        assert!(!stop(&process, GRACE).await.expect("it is gone"));
    }

    #[tokio::test]
    async fn it_has_a_session_of_its_own_and_nothing_of_the_environment_that_nobody_named() {
        let (_place, folder) = place();
        // cargo sets it for every test.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let script = "echo ${CARGO_MANIFEST_DIR-nothing} ${PATH:+a path}; exec sleep 60";
        let process = start(&shell("sleeper", script), &folder).expect("started");
        until("its output", || last_lines(&process.log, 5) == ["nothing a path"]).await;
        let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid).expect("an id")).expect("an id");
        assert_eq!(rustix::process::getsid(Some(pid)).expect("it is there"), pid);
        stop(&process, GRACE).await.expect("stopped");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_before_anything_is_started() {
        let (_place, folder) = place();
        let missing = Spec { program: "/nonexistent/program".into(), ..shell("missing", "") };
        let error = start(&missing, &folder).expect_err("it is not there");
        assert!(error.to_string().contains("missing cannot be started"), "{error}");
    }

    #[tokio::test]
    async fn one_that_ignores_sigterm_is_killed_with_what_it_started() {
        let (_place, folder) = place();
        let process =
            start(&shell("stubborn", "trap '' TERM; sleep 61 & while :; do sleep 0.1; done"), &folder)
                .expect("started");
        until("its child", || marked(&folder).len() >= 2).await;
        stop(&process, Duration::from_millis(200)).await.expect("killed");
        until("the end of its child", || marked(&folder).is_empty()).await;
    }

    #[tokio::test]
    async fn an_id_that_was_given_to_another_process_is_not_touched() {
        let (_place, folder) = place();
        let (_other_place, other_folder) = place();
        let other = start(&shell("bystander", "exec sleep 60"), &other_folder).expect("started");
        let mut recorded = start(&shell("gone", "exit 0"), &folder).expect("started");
        recorded.pid = other.pid;
        recorded.started -= 3600;
        assert_eq!(state(&recorded), State::Dead);
        assert!(kill(&recorded).is_err());
        assert!(is_alive(&other));
        stop(&other, GRACE).await.expect("stopped");
    }

    #[tokio::test]
    async fn a_process_is_known_though_the_clock_was_set() {
        let (_place, folder) = place();
        let mut process = start(&shell("sleeper", "exec sleep 60"), &folder).expect("started");
        process.started += 300;
        // While a program is being replaced (`exec`) its environment cannot be read.
        until("its recognition", || is_alive(&process)).await;
        stop(&process, GRACE).await.expect("stopped");
    }

    #[tokio::test]
    async fn one_that_nobody_recorded_is_found_by_its_mark() {
        let (_place, folder) = place();
        let process = start(&shell("stray", "exec sleep 60"), &folder).expect("started");
        let found = marked(&folder);
        assert_eq!(
            found.iter().map(|found| (found.name.as_str(), found.pid)).collect::<Vec<_>>(),
            [("stray", process.pid)]
        );
        stop(&found[0], GRACE).await.expect("stopped");
        assert!(marked(&folder).is_empty());
    }

    #[tokio::test]
    async fn a_restarted_process_is_as_it_was_and_recorded() {
        let (_place, folder) = place();
        let mut lab = crate::target::lab::tests::lab();
        let mut spec = shell("sleeper", "echo $COLOUR; exec sleep 60");
        spec.environment.insert("COLOUR".into(), "blue".into());
        let first = start(&spec, &folder).expect("started");
        lab.record(first.clone());
        until("its output", || last_lines(&first.log, 5) == ["blue"]).await;
        let second = restart(&mut lab, &folder, "sleeper", GRACE).await.expect("restarted");
        assert!(!is_alive(&first) && is_alive(&second));
        until("its output", || last_lines(&second.log, 5) == ["blue", "blue"]).await;
        assert_eq!(Lab::load(folder.root()).expect("saved"), Some(lab));
        stop(&second, GRACE).await.expect("stopped");
    }
}
