//! From what runs to what the plan wants: starts what is missing, stops what is not wanted, restarts
//! what changed, and waits until all of it is well. A port that was taken in between is replaced.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use jiff::Timestamp;

use super::down::{GRACE, stop_all};
use super::health::{Health, Reload, not_healthy};
use super::plan::{
    COLLECTOR, File, LOGSHIPPER, LOGSTORE, LOKI, PROMETHEUS, Part, Plan, Programs, Reread, RuleFile, plan,
    port_names, port_owner,
};
use super::ports::{self, allocate, is_free};
use super::process::{self, LAB_MARK, NAME_MARK, Spec, is_alive};
use super::reread::by_signal;
use super::tail::last_lines;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::stack::{LocalStack, Stack};
use crate::target::{Folder, Lab, Process, Waiting};
use crate::terminal::Terminal;

/// How often ports are chosen anew when they were taken between the choice and the start.
const ATTEMPTS: usize = 5;
/// How often is looked while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many last lines of a log tell why a process died.
const LAST_LINES: usize = 8;

/// Brings a lab to what its stack wants.
pub struct Converge<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// How it runs here.
    pub local: &'a LocalStack,
    /// Its rules.
    pub rules: &'a [RuleFile],
    /// The programs.
    pub programs: &'a Programs,
    /// Where the state is.
    pub folder: &'a Folder,
    /// Asks the parts.
    pub health: Health,
    /// Where progress goes.
    pub terminal: &'a Terminal,
    /// Ends every wait.
    pub interrupt: &'a Interrupt,
    /// How long the parts may take until they answer, and Prometheus until it sees all of them.
    pub bound: Duration,
    /// Whether an earlier `up` was broken off: nobody knows then which configuration was read.
    pub unsure: bool,
    /// What was started, and when.
    pub started: IndexMap<String, Timestamp>,
    /// The lab, as far as it is.
    pub lab: Lab,
}

/// The parts that keep log lines.
const KEEP_LOGS: [&str; 4] = [LOKI, COLLECTOR, LOGSTORE, LOGSHIPPER];

/// Why a part did not become ready.
enum NotReady {
    /// Somebody else has its port.
    PortTaken(String),
    /// Anything else.
    Failed(Error),
}

/// What a program says of a port that somebody else has, whichever language it is written in: the system's own words.
const PORT_TAKEN: &str = "address already in use";

impl Converge<'_> {
    /// Does it.
    pub async fn run(&mut self) -> Result<()> {
        if !self.lab.processes.iter().any(is_alive) {
            self.set_logs_aside();
        }
        for _ in 0..ATTEMPTS {
            let plan = self.plan()?;
            let changed = self.write_files(&plan)?;
            self.lab.endpoints = plan.endpoints.clone();
            self.stop_unwanted(&plan).await?;
            match self.start_and_wait(&plan, &changed).await {
                Ok(()) => {
                    let place = |name: &str| plan.parts.iter().position(|part| part.spec.name == name);
                    self.lab.processes.sort_by_key(|process| place(&process.name));
                    return self.wait_until_seen(&plan).await;
                }
                Err(NotReady::Failed(error)) => return Err(error),
                Err(NotReady::PortTaken(who)) => {
                    self.terminal.detail(format!("{who}: its port was taken, another one"))
                }
            }
        }
        Err(Error::target(format!("ports were taken {ATTEMPTS} times between choice and start"))
            .hint("something else on this machine takes ports in great numbers; try again"))
    }

    fn plan(&self) -> Result<Plan> {
        let had = ports::load(self.folder);
        let held = |name: &str| self.lab.process(port_owner(name)).is_some_and(is_alive);
        let place = self.folder.root().to_string_lossy();
        let ports = allocate(&place, &port_names(self.local), &had, held)?;
        if ports != had {
            ports::save(&ports, self.folder)?;
        }
        plan(self.stack, self.local, self.rules, self.programs, &ports, self.folder)
    }

    /// Writes what changed; the names of the processes that must read it again.
    fn write_files(&mut self, plan: &Plan) -> Result<BTreeSet<&'static str>> {
        let is_new = |file: &&File| fs::read_to_string(&file.path).ok().as_deref() != Some(&file.text);
        let new: Vec<&File> = plan.files.iter().filter(is_new).collect();
        if self.lab.complete && !new.is_empty() {
            // Until it was read, too, a later `up` must not take this lab for complete.
            self.lab.complete = false;
            self.lab.save(self.folder.root())?;
        }
        for file in &new {
            self.folder.write(&file.path, &file.text)?;
        }
        Ok(new.iter().map(|file| file.reader).collect())
    }

    async fn stop_unwanted(&mut self, plan: &Plan) -> Result<()> {
        let is_wanted = |process: &Process| plan.parts.iter().any(|part| part.spec.name == process.name);
        let unwanted: Vec<Process> =
            self.lab.processes.iter().filter(|process| !is_wanted(process)).cloned().collect();
        if unwanted.is_empty() {
            return Ok(());
        }
        stop_all(&unwanted).await?;
        for process in &unwanted {
            self.terminal.detail(format!("stopped {}", process.name));
        }
        self.lab.processes.retain(is_wanted);
        Ok(())
    }

    /// Prometheus is started when all that it scrapes answer, so that it never sees one that is not there yet. What
    /// keeps log lines is started first, because it takes longest, and is waited for last.
    async fn start_and_wait(
        &mut self,
        plan: &Plan,
        changed: &BTreeSet<&'static str>,
    ) -> Result<(), NotReady> {
        let (prometheus, others): (Vec<&Part>, Vec<&Part>) =
            plan.parts.iter().partition(|part| part.spec.name == PROMETHEUS);
        let (logs, scraped): (Vec<&Part>, Vec<&Part>) =
            others.iter().partition(|part| KEEP_LOGS.contains(&part.spec.name.as_str()));
        for part in logs.iter().chain(&scraped) {
            self.interrupt.check().map_err(NotReady::Failed)?;
            self.ensure(part, changed).await.map_err(NotReady::Failed)?;
        }
        self.wait_until_ready(&scraped).await?;
        for part in &prometheus {
            self.interrupt.check().map_err(NotReady::Failed)?;
            self.ensure(part, changed).await.map_err(NotReady::Failed)?;
        }
        self.wait_until_ready(&prometheus).await?;
        self.wait_until_ready(&logs).await
    }

    /// Leaves a part alone, has it read its configuration again, or starts it.
    async fn ensure(&mut self, part: &Part, changed: &BTreeSet<&'static str>) -> Result<()> {
        let name = part.spec.name.as_str();
        if let Some(process) = self.lab.process(name).cloned() {
            let reread = changed.contains(name) || self.unsure;
            if is_alive(&process) && is_as_wanted(&process, &part.spec) {
                match &part.reread {
                    Some(by) if reread && !self.started.contains_key(name) => {
                        match self.have_reread(&process, by).await? {
                            Reload::Done => {
                                self.terminal.detail(format!("{name} has read its configuration again"));
                                return Ok(());
                            }
                            Reload::Refused(why) => {
                                return Err(Error::target(format!("{name} refuses its configuration"))
                                    .because_of(why)
                                    .hint(format!("sre logs {name}")));
                            }
                            Reload::NoAnswer => {}
                        }
                    }
                    Some(_) if reread => {}
                    _ => return Ok(()),
                }
            }
            process::stop(&process, GRACE).await?;
        }
        // Written before the start: whatever happens now, the next command knows of this lab.
        self.lab.complete = false;
        self.lab.save(self.folder.root())?;
        self.started.insert(name.to_owned(), Timestamp::now());
        self.lab.record(process::start(&part.spec, self.folder)?);
        self.lab.save(self.folder.root())?;
        self.terminal.detail(format!("started {name}"));
        Ok(())
    }

    async fn have_reread(&self, process: &Process, by: &Reread) -> Result<Reload> {
        match by {
            Reread::Post(url) => Ok(self.health.reload(url).await),
            Reread::Signal(metrics) => by_signal(&self.health, process, metrics).await,
        }
    }

    async fn wait_until_ready(&self, parts: &[&Part]) -> Result<(), NotReady> {
        let mut waiting = Waiting::new(self.terminal, self.bound);
        for part in parts {
            let name = &part.spec.name;
            loop {
                let ready =
                    self.interrupt.or(self.health.ready(&part.ready)).await.map_err(NotReady::Failed)?;
                let process = self.lab.process(name);
                // Asked after the answer: another process may have answered in its place.
                if !process.is_some_and(is_alive) {
                    return Err(self.why_dead(part, process));
                }
                let Err(why) = ready else { break };
                if waiting.is_over() {
                    let what = format!("{name} does not answer after {} s", self.bound.as_secs());
                    return Err(NotReady::Failed(with_last_lines(
                        Error::target(what).because_of(why),
                        process,
                    )));
                }
                waiting.tell(&format!("{name}: {why}"));
                self.interrupt.or(tokio::time::sleep(LOOK_EVERY)).await.map_err(NotReady::Failed)?;
            }
        }
        Ok(())
    }

    fn why_dead(&self, part: &Part, process: Option<&Process>) -> NotReady {
        let name = &part.spec.name;
        // Whoever had the port may have let go of it meanwhile.
        let told = |process: &Process| {
            let lines = last_lines(&process.log, LAST_LINES);
            lines.iter().any(|line| line.to_ascii_lowercase().contains(PORT_TAKEN))
        };
        if part.ports.iter().any(|port| !is_free(*port)) || process.is_some_and(told) {
            return NotReady::PortTaken(name.clone());
        }
        NotReady::Failed(with_last_lines(Error::target(format!("{name} died at its start")), process))
    }

    /// Waits until Prometheus scrapes every target, has every rule, and knows Alertmanager.
    async fn wait_until_seen(&self, plan: &Plan) -> Result<()> {
        let mut waiting = Waiting::new(self.terminal, self.bound);
        loop {
            let Some(missing) = self.interrupt.or(self.not_seen(plan)).await? else { return Ok(()) };
            if let Some(dead) = self.lab.processes.iter().find(|process| !is_alive(process)) {
                return Err(with_last_lines(Error::target(format!("{} died", dead.name)), Some(dead)));
            }
            if waiting.is_over() {
                let what = format!("not all is well after {} s", self.bound.as_secs());
                let prometheus = self.lab.process(PROMETHEUS);
                let process = plan
                    .targets
                    .iter()
                    .find(|target| missing.contains(&format!("({})", target.process)))
                    .and_then(|target| self.lab.process(&target.process))
                    .or(prometheus);
                return Err(with_last_lines(Error::target(what).because_of(missing), process));
            }
            waiting.tell(&missing);
            self.interrupt.or(tokio::time::sleep(LOOK_EVERY)).await?;
        }
    }

    /// What Prometheus does not see as it should.
    async fn not_seen(&self, plan: &Plan) -> Option<String> {
        let prometheus = &plan.endpoints.prometheus.as_ref()?.url;
        let asked = |part: &str, why: String| Some(format!("Prometheus' {part}: {why}"));
        let targets = match self.health.targets(prometheus).await {
            Ok(targets) => targets,
            Err(why) => return asked("targets", why),
        };
        if let Some(missing) = not_healthy(&plan.targets, &targets, |name| self.started.get(name).copied()) {
            return Some(missing);
        }
        match self.health.rule_files(prometheus).await {
            Ok(loaded) => {
                if let Some(rule) = self.rules.iter().find(|rule| !loaded.contains(&rule.path)) {
                    return asked("rules", format!("{} is not loaded", rule.path.display()));
                }
            }
            Err(why) => return asked("rules", why),
        }
        match self.health.has_alertmanager(prometheus).await {
            Ok(true) => None,
            Ok(false) => asked("Alertmanagers", "there is none yet".into()),
            Err(why) => asked("Alertmanagers", why),
        }
    }

    /// The logs of the lab before are kept once, so that they neither mix with new ones nor grow for ever.
    fn set_logs_aside(&self) {
        let logs = self.folder.local().join("logs");
        for entry in fs::read_dir(logs).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                let _ = fs::rename(entry.path(), entry.path().with_extension("previous"));
            }
        }
    }
}

/// Whether a process is what would be started now: same program, same build of it, same arguments.
fn is_as_wanted(process: &Process, spec: &Spec) -> bool {
    let own = process.environment.iter().filter(|(name, _)| *name != LAB_MARK && *name != NAME_MARK);
    let replaced = fs::metadata(&process.program).and_then(|file| file.modified()).is_ok_and(|modified| {
        modified.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|time| time.as_secs() > process.started + 2)
    });
    process.program == spec.program
        && process.arguments == spec.arguments
        && process.directory == spec.directory
        && own.eq(spec.environment.iter())
        && !replaced
}

fn with_last_lines(error: Error, process: Option<&Process>) -> Error {
    let Some(process) = process else { return error };
    let lines = last_lines(&process.log, LAST_LINES);
    let error = if lines.is_empty() {
        error.because_of("it wrote nothing to its log")
    } else {
        error.because_of(format!("its last lines:\n{}", lines.join("\n")))
    };
    error.hint(format!("all it wrote: {}", process.log.display()))
}
