//! The first half of a run: the baseline, then load and faults on one clock.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::senders::Called;
use super::witness::{Witness, told};
use super::{EventKind, Events, LoadFinished, NotedWriter, Reporter, RunFolder, RunStarted, SCHEMA, Senders};
use crate::catalog::LoadedStack;
use crate::check::Told;
use crate::check::alert::{Firing, Watch, already_firing};
use crate::check::reconcile::take_baseline;
use crate::error::{Error, Result};
use crate::fault::kubernetes::Scene;
use crate::fault::{self, Clock, Journal, Timeline};
use crate::interrupt::Interrupt;
use crate::load::{self, Job, LoadResult, LoadRun, Noted, Share, Team};
use crate::observe::{Prometheus, ensure_credentials};
use crate::scenario::{Check, Scenario};
use crate::target::kubernetes::reach::Reached;
use crate::target::{Folder, Lab, own_files};
use crate::terminal::Terminal;

/// Between the last preparation and the first request: executors and faults start on the same instant.
const LEAD: Duration = Duration::from_millis(200);

/// How long the baseline and the workers may take before the load begins.
const UNTIL_LOAD: Duration = Duration::from_secs(120);

/// Between two looks at rules that were not evaluated yet.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// What a run is made of.
pub struct Run<'a> {
    /// What is asked.
    pub scenario: &'a Scenario,
    /// What it runs on.
    pub stack: &'a LoadedStack,
    /// Where that is up.
    pub lab: &'a Lab,
    /// What is asked of its cluster, where it is on one.
    pub reached: &'a Reached,
    /// `.sre`.
    pub state: &'a Folder,
    /// What tells of waits.
    pub terminal: &'a Terminal,
    /// Ctrl-C and SIGTERM.
    pub interrupt: &'a Interrupt,
    /// Who sends the load.
    pub senders: Senders,
    /// Whether a verdict on the server's side will follow: then Prometheus has to answer before anything is sent.
    pub judged: bool,
}

/// A run that has begun: its folder, and where its events go.
pub struct Begun {
    /// Its folder.
    pub folder: RunFolder,
    /// Its events, the log in its folder among the reporters.
    pub events: Events,
}

impl Run<'_> {
    /// Makes the run's folder and tells of its start.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where the folder cannot be written.
    pub fn begin(&self, screens: Vec<Box<dyn Reporter>>) -> Result<Begun> {
        let folder = RunFolder::create(self.state.root(), &self.scenario.name)?;
        folder.save_scenario(self.scenario)?;
        folder.save_stack(&self.stack.stack)?;
        let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(folder.log()?)];
        reporters.extend(screens);
        let events = Events::new(reporters);
        let mut versions =
            indexmap::IndexMap::from([("sre".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        versions.extend(self.lab.versions.clone());
        events.emit(EventKind::RunStarted(Box::new(RunStarted {
            schema: SCHEMA.into(),
            run: folder.id().into(),
            scenario: self.scenario.name.clone(),
            stack: self.stack.stack.name.clone(),
            target: self.lab.target,
            seed: self.scenario.seed,
            replicas: self.lab.endpoints.replica_count(),
            versions,
            endpoints: self.lab.endpoints.clone(),
            rules: self.stack.rule_names(),
            offsets: self.stack.rule_offsets(),
        })))?;
        Ok(Begun { folder, events })
    }

    /// Puts the load and these faults on, and records what the client knows.
    ///
    /// # Errors
    /// Where it could not start (2, 3, 6), was interrupted (130, 143), or could not be recorded (5).
    pub async fn load(&self, begun: &Begun, faults: Timeline) -> Result<LoadFinished> {
        self.load_and_tell(begun, faults).await.inspect_err(|error| {
            let exit = self.interrupt.exit().unwrap_or(error.exit());
            // The log may be what failed.
            let _ = begun.events.emit(EventKind::RunFailed { error: error.to_string(), exit: exit.code() });
        })
    }

    async fn load_and_tell(&self, begun: &Begun, mut faults: Timeline) -> Result<LoadFinished> {
        if self.judged {
            ensure_credentials(&self.lab.endpoints)?;
        }
        let prometheus = self.prometheus().await?;
        fault::ensure_none(self.state, self.terminal, self.interrupt).await?;
        // The guards come before the baseline: what takes time is over when the load begins.
        let prepared = self.interrupt.or(faults.prepare(UNTIL_LOAD)).await;
        let finished = match prepared {
            Ok(Ok(())) => self.load_with(begun, &faults, prometheus).await,
            Ok(Err(error)) | Err(error) => Err(error),
        };
        faults.dismiss(&Journal::new(self.state, self.terminal)).await;
        finished
    }

    /// The faults, on what there is here. Where they are on what the lab did not bring itself, it is asked for consent.
    ///
    /// # Errors
    /// Usage (exit 2) where one cannot be injected; a prerequisite (5) without consent; the target (6) where its cluster
    /// does not tell.
    pub async fn faults(&self) -> Result<Timeline> {
        let steps = &self.scenario.faults;
        if steps.is_empty() {
            return Ok(Timeline::default());
        }
        let timeline = match self.interrupt.or(Scene::of(self.lab)).await?? {
            Some(scene) => self.interrupt.or(fault::aim(steps, &scene)).await??,
            None => fault::plan(steps, self.lab)?,
        };
        self.refuse_what_shows_nothing(&timeline)?;
        if let Some(question) = timeline.question(self.lab) {
            let question = format!("{}: {question}", self.scenario.name);
            self.terminal.consent(&question, self.interrupt).await?;
        }
        Ok(timeline)
    }

    /// A fault that is to be detected must be shown by something.
    fn refuse_what_shows_nothing(&self, timeline: &Timeline) -> Result<()> {
        let unaided = || self.scenario.detected_checks().filter(|(_, check)| check.expr.is_none());
        let asked = |number| unaided().any(|(_, check)| check.is_of(number));
        match timeline.faults.iter().find(|fault| asked(fault.number) && !fault.has_sign()) {
            None => Ok(()),
            Some(fault) => Err(Error::usage(format!("fault {} cannot be detected", fault.number))
                .because_of(format!(
                    "on the target {} nothing shows {} by itself",
                    self.lab.target, fault.kind
                ))
                .hint("name what shows it in the check `detected`: `fault`, `expr`, `is`")),
        }
    }

    async fn load_with(
        &self,
        begun: &Begun,
        faults: &Timeline,
        prometheus: Option<Prometheus>,
    ) -> Result<LoadFinished> {
        let events = &begun.events;
        if let Some(prometheus) = &prometheus {
            self.refuse_what_fires(prometheus).await?;
            let instances: Vec<String> =
                self.lab.endpoints.scraped().into_iter().map(|(_, instance)| instance).collect();
            let waiting = |message: &str| {
                let (name, message) = ("baseline".to_owned(), message.to_owned());
                let _ = events.emit(EventKind::CheckWaiting { name, message });
            };
            let taking = take_baseline(prometheus, &self.stack.stack, self.scenario, &instances, &waiting);
            let baseline = self.interrupt.or(taking).await??;
            events.emit(EventKind::BaselineTaken(Box::new(baseline)))?;
        }
        let mut plan = load::plan(self.scenario);
        plan.shape += &self.senders.in_words();
        let mut called = self.senders.call(self.scenario, begun.folder.id(), self.interrupt).await?;
        let sent = async {
            let team = self.team(begun, &mut called).await?;
            events.emit(EventKind::LoadStarted(plan))?;
            let before = told(prometheus.as_ref()).await;
            let witness = Witness::new(before);
            let result = self.put_on(begun, faults, prometheus.as_ref(), (before, &witness), team).await?;
            Ok::<_, Error>((before, witness, result))
        };
        let sent = sent.await;
        called.dismiss().await;
        let (before, witness, result) = sent?;
        let after = told(prometheus.as_ref()).await;
        witness.note(after);
        let pods = self.reached.pods().await;
        write_latencies(&result, &begun.folder.latency_file())?;
        let finished = LoadFinished {
            summary: result.summary,
            prometheus_started: before.map(|told| told.time),
            prometheus_ended: after.map(|told| told.time),
            clock_moved: witness.moved(),
            pods,
        };
        events.emit(EventKind::LoadFinished(Box::new(finished.clone())))?;
        self.interrupt.check()?;
        Ok(finished)
    }

    /// The workers, ready to begin; none where this process sends the load itself.
    async fn team(&self, begun: &Begun, called: &mut Called) -> Result<Option<Team<'_>>> {
        let Some(workers) = called.links() else { return Ok(None) };
        let job = Job { workers, replicas: &self.lab.endpoints.replicas, salt: begun.folder.id() };
        let team = Team::start(job, self.scenario, self.interrupt).await?;
        if let Some(place) = called.place() {
            let apart = team.apart().as_secs_f64() * 1000.0;
            self.terminal.say(format!("load from {place}; they begin within {apart:.1} ms of each other"));
        }
        Ok(Some(team))
    }

    /// Load and faults at the same time, on the same clock.
    async fn put_on(
        &self,
        begun: &Begun,
        faults: &Timeline,
        prometheus: Option<&Prometheus>,
        (before, witness): (Option<Told>, &Witness),
        team: Option<Team<'_>>,
    ) -> Result<LoadResult> {
        let interrupt = self.interrupt.child();
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        // A load that cannot be recorded proves nothing, nor does one half without the other: the first
        // that fails ends all of it. After an interruption both end early, which is no failure.
        let fail = |error: &Error| {
            if interrupt.exit().is_none() && self.interrupt.exit().is_none() {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.clone());
                interrupt.trigger(error.exit());
            }
        };
        let progress = |sample| {
            let _ = begun.events.emit(EventKind::LoadProgress(sample)).inspect_err(&fail);
        };
        let notes = match self.scenario.logs_checks().next() {
            Some(_) => Some(Mutex::new(NotedWriter::create(begun.folder.noted_file())?)),
            None => None,
        };
        let noted = |requests: &[Noted]| {
            let Some(notes) = &notes else { return };
            let spelt = requests.iter().map(|request| request.spell(self.scenario, begun.folder.id()));
            let _ = notes.lock().unwrap_or_else(PoisonError::into_inner).add(spelt).inspect_err(&fail);
        };
        let start = Instant::now() + team.as_ref().map_or(LEAD, Team::lead);
        let load = async {
            match team {
                Some(team) => team.run(start, &interrupt, &progress, &noted).await,
                None => {
                    load::execute(LoadRun {
                        scenario: self.scenario,
                        replicas: &self.lab.endpoints.replicas,
                        interrupt: &interrupt,
                        start,
                        progress: &progress,
                        noted: &noted,
                        salt: begun.folder.id(),
                        share: Share::ALL,
                    })
                    .await
                }
            }
        };
        let known = before.map(|told| (told.time, told.answered));
        let ask = || async {
            let told = told(prometheus).await;
            witness.note(told);
            Some(told?.time)
        };
        let clock = Clock::new(ask, known);
        let journal = Journal::new(self.state, self.terminal);
        let faults = faults.run(&journal, start, &begun.events, &clock, &interrupt);
        let both = async {
            tokio::join!(async { load.await.inspect_err(&fail) }, async { faults.await.inspect_err(&fail) })
        };
        let watch = Watch::of(self.scenario, &self.lab.endpoints).filter(|_| self.judged);
        let watching = async {
            let alerts = async {
                match &watch {
                    Some(watch) => watch.go_on(&begun.events).await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(alerts, witness.go_on(prometheus));
        };
        let (load, _) = tokio::select! {
            both = both => both,
            () = watching => unreachable!("it never ends by itself"),
        };
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(notes) = notes {
            notes.into_inner().unwrap_or_else(PoisonError::into_inner).finish()?;
        }
        load
    }

    /// The client of Prometheus, where it answers.
    async fn prometheus(&self) -> Result<Option<Prometheus>> {
        let client = match &self.lab.endpoints.prometheus {
            Some(endpoint) => Prometheus::new(endpoint),
            None => Err(crate::check::missing("Prometheus")),
        };
        let answering = match client {
            Ok(client) => client.time().await.map(|_| client),
            Err(error) => Err(error),
        };
        match answering {
            Ok(client) => Ok(Some(client)),
            Err(error) if self.judged => Err(error.hint("sre status tells what runs, and how it is")),
            Err(_) => Ok(None),
        }
    }

    /// An alert that fires already would be taken for one that this run brought about.
    async fn refuse_what_fires(&self, prometheus: &Prometheus) -> Result<()> {
        let asked = |check: &Check| matches!(check, Check::Alert(_) | Check::NoAlerts(_));
        if !self.judged || !self.scenario.checks.iter().any(asked) {
            return Ok(());
        }
        let mut firing = self.interrupt.or(evaluated(prometheus, &self.stack.rule_names())).await??;
        firing.alerts.retain(|labels| !self.scenario.may_fire_before(labels));
        if firing.alerts.is_empty() {
            return Ok(());
        }
        Err(Error::target(format!("{} fires before the run", firing.in_words()))
            .because_of("what fires already cannot be told from what this run brings about")
            .hint(
                "Wait until it has resolved, or mend what it tells of; one that always fires is named in the scenario: \
                 `along` beside the `alert`, or `except` of `no-alerts`",
            ))
    }
}

/// What fires, once each rule was evaluated: one that was not yet may fire, too.
async fn evaluated(prometheus: &Prometheus, rules: &[String]) -> Result<Firing> {
    let started = Instant::now();
    loop {
        let firing = already_firing(prometheus, rules).await?;
        if firing.unevaluated.is_empty() {
            return Ok(firing);
        }
        if started.elapsed() > UNTIL_LOAD {
            return Err(Error::no_data(format!("{} was not evaluated yet", firing.unevaluated.join(", ")))
                .because_of(format!("Prometheus had {} s for it", UNTIL_LOAD.as_secs()))
                .hint("Prometheus' page of rules tells when each is evaluated"));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

fn write_latencies(result: &LoadResult, path: &Path) -> Result<()> {
    let failed =
        |e: std::io::Error| Error::prerequisite(format!("{} cannot be written", path.display())).because(e);
    let mut file = std::io::BufWriter::new(own_files::create(path).map_err(failed)?);
    result.histograms.write(&result.summary, &mut file)?;
    std::io::Write::flush(&mut file).map_err(failed)
}
