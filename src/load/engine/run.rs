//! A run of the engine: its threads, their progress, and what they leave behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;

use super::lane::{Lane, Left};
use super::pacer::pace;
use crate::error::{Error, Result};
use crate::load::Notes;
use crate::load::execute::{LoadRun, PhaseRow, Recorded};
use crate::load::progress::{Progress, Tell};
use crate::load::recorder::{Recorder, Second};
use crate::load::requests::Template;
use crate::load::schedule::{Schedule, Share};
use crate::load::watch::{Lateness, Observed, processor_time, raise_open_files, tolerated};
use crate::load::wire::{Connector, native_roots};
use crate::scenario::{ArrivalRate, Http};

/// Lanes at the most: as many as a word has bits to wake them.
const MOST_LANES: usize = 64;

/// What all threads of a run know.
pub(super) struct Shared {
    pub schedule: Arc<Schedule>,
    pub share: Share,
    /// The share of requests that may leave late by this process' own doing.
    pub tolerated: f64,
    pub templates: Vec<Template>,
    pub connectors: Vec<Connector>,
    pub http: Http,
    pub timeout: Duration,
    pub seed: u64,
    pub salt: String,
    /// Which requests are noted one by one.
    pub notes: Notes,
    /// When the first request is due.
    pub start: Instant,
    /// One a lane.
    pub wakes: Vec<Notify>,
    /// Which of them have to be woken when something becomes due.
    pub hungry: Vec<AtomicBool>,
    /// Connections that the lanes share.
    pub connections: usize,
    /// Requests with numbers below this are due.
    pub due: AtomicU64,
    pub stop: AtomicBool,
}

impl Shared {
    /// Requests with numbers below this are due.
    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::SeqCst)
    }

    /// Whether no further request may leave.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wakes.iter().for_each(Notify::notify_one);
    }

    /// The lane that a request belongs to; none, where it belongs to another worker.
    pub(super) fn lane_of(&self, index: u64) -> Option<u64> {
        let replicas = self.connectors.len() as u64;
        let mine = self.share.has(index, replicas);
        mine.then(|| index / replicas / self.share.workers % self.wakes.len() as u64)
    }

    /// How many requests with numbers from `first` on this worker has to send.
    fn asked(&self, first: u64, count: u64) -> u64 {
        let below = |end| self.share.below(end, self.connectors.len() as u64);
        below(first + count) - below(first)
    }

    /// How many connections a lane may have to a replica: all are shared out, and each has one at least.
    pub(super) fn bound(&self, lane: usize, replica: usize) -> usize {
        let parts = self.wakes.len() * self.connectors.len();
        let part = lane * self.connectors.len() + replica;
        (self.connections / parts + usize::from(part < self.connections % parts)).max(1)
    }
}

/// What lanes tell while they run.
pub(super) enum Report {
    /// What happened in a second, by its number from 1.
    Second { second: u64, what: Second },
}

/// Ends the threads when the run is given up.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Sends the requests of a schedule when they are due.
pub(in crate::load) async fn run(
    run: &LoadRun<'_>,
    load: &ArrivalRate,
    schedule: Arc<Schedule>,
    tell: Tell<'_>,
) -> Result<Recorded> {
    let shared = Arc::new(prepare(run, load, schedule)?);
    raise_open_files();
    let guard = Guard(shared.clone());
    let used_before = processor_time();
    let (reports, mut incoming) = unbounded_channel();
    let mut lanes = Vec::new();
    for number in 0..shared.wakes.len() {
        lanes.push(spawn(shared.clone(), number, reports.clone())?);
    }
    drop(reports);
    thread("sre-pacer", {
        let shared = shared.clone();
        move || pace(&shared)
    })?;

    let mut progress = Progress::new(lanes.len(), tell);
    let mut interrupted = false;
    loop {
        tokio::select! {
            report = incoming.recv() => match report {
                Some(Report::Second { second, what }) => progress.add(second, &what),
                None => break,
            },
            () = run.interrupt.wait(), if !interrupted => {
                interrupted = true;
                shared.stop();
            }
        }
    }
    let mut left = Vec::new();
    for lane in lanes {
        left.push(
            lane.await.map_err(|_| Error::target("the load generator stopped in the middle of the load"))?,
        );
    }
    progress.finish(run.start.elapsed());
    drop(guard);
    let used = processor_time().saturating_sub(used_before);
    Ok(record(&shared, left, used, interrupted))
}

fn prepare(run: &LoadRun<'_>, load: &ArrivalRate, schedule: Arc<Schedule>) -> Result<Shared> {
    let connectors = run
        .replicas
        .iter()
        .map(|replica| Connector::new(&replica.url, load.http.version, native_roots))
        .collect::<Result<Vec<_>>>()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let connections = run.share.of(load.connections as u64) as usize;
    let lanes = cores.min(connections / connectors.len()).clamp(1, MOST_LANES);
    Ok(Shared {
        share: run.share,
        tolerated: tolerated(&run.scenario.thresholds),
        templates: Template::all(run.scenario, run.replicas)?,
        connectors,
        http: load.http.clone(),
        timeout: load.http.timeout.get(),
        seed: run.scenario.seed,
        salt: run.salt.to_owned(),
        notes: Notes::of(run.scenario),
        start: run.start,
        wakes: (0..lanes).map(|_| Notify::new()).collect(),
        hungry: (0..lanes).map(|_| AtomicBool::new(true)).collect(),
        connections,
        due: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        schedule,
    })
}

fn spawn(
    shared: Arc<Shared>,
    number: usize,
    reports: UnboundedSender<Report>,
) -> Result<oneshot::Receiver<Left>> {
    let (sender, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::target("the load generator cannot start").because(e))?;
    thread(&format!("sre-lane-{number}"), move || {
        let lane = Lane::new(shared, number);
        let left = LocalSet::new().block_on(&runtime, lane.run(&reports));
        let _ = sender.send(left);
    })?;
    Ok(receiver)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(|e| Error::target("the load generator cannot start a thread").because(e))
}

fn record(shared: &Shared, lanes: Vec<Left>, used: Duration, interrupted: bool) -> Recorded {
    let schedule = &shared.schedule;
    let phases = schedule.phases();
    let mut recorder = Recorder::new(phases.len(), shared.templates.len(), shared.connectors.len());
    let mut lateness = vec![Lateness::default(); phases.len()];
    let (mut last_sent, mut last_end) = (shared.start, shared.start);
    let (mut connections, mut limit) = (0, None);
    for lane in lanes {
        recorder.merge(&lane.recorder);
        for (sum, more) in lateness.iter_mut().zip(&lane.lateness) {
            sum.merge(more);
        }
        last_sent = last_sent.max(lane.last_sent);
        last_end = last_end.max(lane.last_end);
        connections += lane.connections;
        limit = limit.or(lane.limit);
    }
    let elapsed = shared.start.elapsed().as_secs_f64();
    let lasted =
        |start: f64, seconds: f64| if interrupted { (elapsed - start).clamp(0.0, seconds) } else { seconds };
    let observed = Observed {
        tolerated: shared.tolerated,
        left: recorder.sent_in_all(),
        seconds: (last_sent - shared.start).as_secs_f64().max(lasted(0.0, schedule.seconds())),
        connections,
        cores_used: used.as_secs_f64() / elapsed.max(f64::EPSILON),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        limit,
        processes: 1,
        phases: phases.iter().map(|phase| shared.asked(phase.first, phase.asked)).zip(lateness).collect(),
    };
    Recorded {
        recorder,
        phases: phases
            .iter()
            .map(|phase| PhaseRow {
                name: phase.name.clone(),
                seconds: lasted(phase.start, phase.seconds),
                asked: Some(shared.asked(phase.first, phase.asked)),
            })
            .collect(),
        asked: Some(shared.asked(0, schedule.asked())),
        seconds: (last_end - shared.start).as_secs_f64(),
        observed: Some(observed),
        interrupted,
    }
}
