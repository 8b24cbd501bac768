//! `up`: brings up what is not up, mends what is broken, leaves alone what is well.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;

use super::converge::Converge;
use super::health::Health;
use super::plan::{Programs, RuleFile};
use super::process::{self, State, is_alive};
use super::{down, programs};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::stack::{LocalStack, Stack};
use crate::target::{Endpoints, Folder, LAB_SCHEMA, Lab, Lock, TargetKind, where_it_runs};
use crate::terminal::Terminal;

/// How long another `sre` that changes this lab is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(120);

/// How long it may take until all is well, unless another bound is asked for.
pub const BOUND: Duration = Duration::from_secs(60);

/// What is to be brought up.
pub struct Request<'a> {
    /// The stack, its parameters applied.
    pub stack: &'a Stack,
    /// The parameters as they were applied.
    pub parameters: &'a IndexMap<String, String>,
    /// Gives the text of a file of the stack.
    pub stack_file: &'a dyn Fn(&str) -> Result<String>,
    /// Where the lab's state is kept.
    pub folder: &'a Folder,
    /// This program, which is the receiver and, in the shipped stacks, the service.
    pub sre: PathBuf,
    /// How long the parts may take until they answer, and Prometheus until it sees all of them.
    pub bound: Duration,
}

/// The error for a stack that is somewhere else, with the targets that it has.
pub(super) fn not_local(stack: &Stack) -> Error {
    let error = Error::usage(format!("the stack {} cannot run on the target local", stack.name))
        .because_of("it has no `local`");
    match where_it_runs(stack) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Brings the stack up on this machine. Comes back when every scrape target is healthy, every rule
/// file is loaded, and Alertmanager and the receiver answer. Where nothing was up before, an error
/// or an interruption leaves nothing running.
///
/// Errors: 2 if another stack is up here or this one has no `local`, 5 if a tool or the right to
/// write is missing, 6 if it does not come up; those of an interruption.
pub async fn up(request: &Request<'_>, terminal: &Terminal, interrupt: &Interrupt) -> Result<Lab> {
    let stack = request.stack;
    let folder = request.folder;
    let local = stack.local.as_ref().ok_or_else(|| not_local(stack))?;
    let rules = stack
        .rules
        .iter()
        .map(|name| Ok(RuleFile::new(name, (request.stack_file)(name)?, folder)))
        .collect::<Result<Vec<_>>>()?;

    folder.prepare()?;
    let _lock = Lock::take(folder, "sre up", LOCK_BOUND, terminal, interrupt).await?;
    let previous = Lab::load(folder.root())?;
    let alive = previous.as_ref().is_some_and(|lab| lab.processes.iter().any(is_alive));
    if let Some(lab) = &previous
        && (lab.stack != stack.name || lab.target != TargetKind::Local)
        && (alive || lab.target != TargetKind::Local)
    {
        return Err(Error::usage(format!("the stack {} is up here, on {}", lab.stack, lab.target))
            .because_of(format!("{} on local was asked for, and a folder holds one lab", stack.name))
            .hint("sre down, or work in another folder"));
    }
    stop_strays(previous.as_ref(), folder, terminal).await?;
    resume_paused(previous.as_ref(), terminal)?;

    let programs = programs::programs(local, previous.as_ref(), &request.sre, terminal, interrupt).await?;
    let result = bring_up(request, local, &rules, &programs, previous, terminal, interrupt).await;
    if result.is_err() && !alive {
        // Nothing was up before, so nothing is left: the logs stay.
        if let Err(error) = down::take_down(folder).await {
            terminal.warn(format!("cleaning up failed: {error}"));
        }
    }
    result
}

async fn bring_up(
    request: &Request<'_>,
    local: &LocalStack,
    rules: &[RuleFile],
    programs: &Programs,
    previous: Option<Lab>,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Lab> {
    let folder = request.folder;
    let versions = programs.versions.clone();
    let parameters = request.parameters.clone();
    let lab = match previous.clone() {
        Some(lab) => Lab { stack: request.stack.name.clone(), parameters, versions, ..lab },
        None => Lab {
            schema: LAB_SCHEMA.into(),
            stack: request.stack.name.clone(),
            target: TargetKind::Local,
            parameters,
            complete: false,
            endpoints: Endpoints::default(),
            processes: Vec::new(),
            versions,
            cluster: None,
        },
    };
    let mut converge = Converge {
        stack: request.stack,
        local,
        rules,
        programs,
        folder,
        health: Health::new()?,
        terminal,
        interrupt,
        bound: request.bound,
        unsure: !lab.complete,
        started: IndexMap::new(),
        lab,
    };
    converge.run().await?;
    let mut lab = converge.lab;
    lab.complete = true;
    if previous.as_ref() != Some(&lab) {
        lab.save(folder.root())?;
    }
    Ok(lab)
}

/// Ends what carries this lab's mark and is not known: what an `up` left that was killed.
async fn stop_strays(lab: Option<&Lab>, folder: &Folder, terminal: &Terminal) -> Result<()> {
    // A known process may have started others, which carry its marks.
    let known = |name: &str| lab.and_then(|lab| lab.process(name)).is_some_and(is_alive);
    for stray in process::marked(folder).iter().filter(|process| !known(&process.name)) {
        terminal.say(format!("ending {} (pid {}), left by an earlier sre", stray.name, stray.pid));
        process::stop(stray, down::GRACE).await?;
    }
    Ok(())
}

/// Lets go on what was left paused.
fn resume_paused(lab: Option<&Lab>, terminal: &Terminal) -> Result<()> {
    for process in lab.iter().flat_map(|lab| &lab.processes) {
        if process::state(process) == State::Paused {
            terminal.say(format!("{} was paused: it goes on", process.name));
            process::resume(process)?;
        }
    }
    Ok(())
}
