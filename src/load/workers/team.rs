//! The workers of a load: started together, told when to begin, and merged at the end.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use tokio::process::ChildStdin;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::merge::merge;
use super::message::{Assignment, Order, Told, error, send};
use super::process::Process;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::load::execute::{LoadResult, Part};
use crate::load::progress::{Progress, Sampler};
use crate::load::{Noted, Sample, Share};
use crate::scenario::{Load, Scenario};
use crate::target::Replica;

/// Preparing takes no longer.
const PREPARE: Duration = Duration::from_secs(30);

/// After the last answer can have come, or after it was told to stop, a worker has this long to tell of its part.
const TELL: Duration = Duration::from_secs(10);

/// A load for several workers.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The program that each worker is: `sre` itself.
    pub program: &'a OsStr,
    /// How many there are.
    pub workers: u64,
    /// Where to.
    pub replicas: &'a [Replica],
    /// Sets this run's request ids apart from other runs': the run's id.
    pub salt: &'a str,
}

/// Workers that are ready. They are ended when this is dropped.
pub struct Team<'a> {
    scenario: &'a Scenario,
    members: Vec<(Process, ChildStdin)>,
}

impl<'a> Team<'a> {
    /// Starts the workers; comes back when each has prepared its part.
    ///
    /// # Errors
    /// More workers than users or connections, or a load that cannot be sent (2); a worker that did not get
    /// ready (6); interrupted (130, 143).
    pub async fn start(job: Job<'_>, scenario: &'a Scenario, interrupt: &Interrupt) -> Result<Team<'a>> {
        refuse_idlers(scenario, job.workers)?;
        let mut members = Vec::new();
        for worker in 0..job.workers {
            let (process, mut orders) = Process::start(job.program)?;
            let assignment = Assignment {
                version: env!("CARGO_PKG_VERSION").into(),
                scenario: scenario.clone(),
                replicas: job.replicas.to_vec(),
                salt: job.salt.into(),
                share: Share { worker, workers: job.workers },
            };
            // Where it is gone already, waiting for it tells why.
            let _ = send(&mut orders, &Order::Prepare(Box::new(assignment))).await;
            members.push((process, orders));
        }
        let deadline = tokio::time::Instant::now() + PREPARE;
        for (worker, (process, _)) in members.iter_mut().enumerate() {
            let failed = || Error::target(format!("{} did not get ready", name(worker, job.workers)));
            match interrupt.or(tokio::time::timeout_at(deadline, process.next())).await? {
                Ok(Ok(Told::Ready)) => {}
                Ok(Ok(Told::Failed { exit, what, causes, hint })) => {
                    return Err(error(exit, what, causes, hint));
                }
                Ok(Ok(_)) => return Err(failed().because_of("it began before it was told to")),
                Ok(Err(why)) => return Err(failed().because_of(why)),
                Err(_) => return Err(failed().because_of(format!("within {} s", PREPARE.as_secs()))),
            }
        }
        Ok(Team { scenario, members })
    }

    /// Their process ids, in their order.
    pub fn processes(&self) -> Vec<Option<u32>> {
        self.members.iter().map(|(process, _)| process.id()).collect()
    }

    /// Lets all workers begin at the same instant, and comes back when every request's fate is known or its
    /// worker is lost; the summary names those that were.
    ///
    /// `progress` is told once a second of all workers together, `noted` of the requests that the scenario's checks
    /// ask for one by one.
    ///
    /// # Errors
    /// A worker that failed (its error), or no worker that was left at the end (3).
    pub async fn run(
        self,
        start: Instant,
        interrupt: &Interrupt,
        progress: &(dyn Fn(Sample) + Sync),
        noted: &(dyn Fn(&[Noted]) + Sync),
    ) -> Result<LoadResult> {
        let (scenario, workers) = (self.scenario, self.members.len() as u64);
        let sampler = Sampler::new(scenario);
        let tell = |second, mut what: crate::load::Second| {
            let requests = std::mem::take(&mut what.noted);
            if !requests.is_empty() {
                noted(&requests);
            }
            progress(sampler.sample(second, what));
        };
        let mut seconds = Progress::new(self.members.len(), &tell);
        let at = jiff::Timestamp::now() + start.saturating_duration_since(Instant::now());
        let (news, mut incoming) = unbounded_channel();
        let (mut following, mut orders) = (JoinSet::new(), Vec::new());
        for (worker, (process, mut to)) in self.members.into_iter().enumerate() {
            // Where it is gone already, following it tells why.
            let _ = send(&mut to, &Order::Start { at }).await;
            following.spawn(follow(worker, process, news.clone()));
            orders.push(Some(to));
        }
        drop(news);
        let mut deadline = tokio::time::Instant::from_std(start + longest(scenario) + TELL);
        let mut stopped = false;
        let mut parts: Vec<Option<Part>> = orders.iter().map(|_| None).collect();
        let mut lost = Vec::new();
        let mut lose = |worker: usize, why: &str, seconds: &mut Progress<'_>| {
            let after = start.elapsed().as_secs_f64();
            lost.push(format!("{} was lost after {after:.1} s: {why}", name(worker, workers)));
            seconds.lose();
        };
        loop {
            tokio::select! {
                news = incoming.recv() => match news {
                    None => break,
                    Some((_, News::Second { second, what })) => seconds.add(second.ceil() as u64, &what),
                    Some((worker, News::Done(part))) => {
                        orders[worker] = None;
                        if part.result.summary.interrupted && !stopped {
                            lose(worker, "it was told to end by somebody else", &mut seconds);
                        } else {
                            parts[worker] = Some(*part);
                        }
                    }
                    Some((_, News::Failed(error))) => return Err(error),
                    Some((worker, News::Lost(why))) => {
                        orders[worker] = None;
                        lose(worker, &why, &mut seconds);
                    }
                },
                () = interrupt.wait(), if !stopped => {
                    stopped = true;
                    deadline = deadline.min(tokio::time::Instant::now() + TELL);
                    for to in orders.iter_mut().flatten() {
                        let _ = send(to, &Order::Stop).await;
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    for (worker, _) in orders.iter().enumerate().filter(|(_, to)| to.is_some()) {
                        lose(worker, "it did not tell of its end", &mut seconds);
                    }
                    break;
                }
            }
        }
        seconds.finish(start.elapsed());
        merge(scenario, parts.into_iter().flatten().collect(), lost)
    }
}

/// Every worker has something to send with.
fn refuse_idlers(scenario: &Scenario, workers: u64) -> Result<()> {
    let (most, what) = match &scenario.load {
        Load::Users(load) => (load.users, "users"),
        Load::ArrivalRate(load) => (load.connections, "connections"),
    };
    if workers > most as u64 {
        return Err(Error::usage(format!("{workers} workers are too many"))
            .because_of(format!("the scenario {} has {most} {what}", scenario.name))
            .hint(format!("--workers {}", most.max(1))));
    }
    Ok(())
}

/// The time after which every request has its fate.
fn longest(scenario: &Scenario) -> Duration {
    let http = match &scenario.load {
        Load::ArrivalRate(load) => &load.http,
        Load::Users(load) => &load.http,
    };
    // A request may wait for a connection, and be answered, each time until its time is over.
    let turns = 2 * (1 + http.redirects + http.retries);
    scenario.load.duration().get() + http.timeout.get() * turns
}

fn name(worker: usize, workers: u64) -> String {
    format!("worker {} of {workers}", worker + 1)
}

/// What is heard of a worker.
enum News {
    Second { second: f64, what: crate::load::Second },
    Done(Box<Part>),
    Failed(Error),
    Lost(String),
}

/// Hears a worker out, until its last message or its end.
async fn follow(worker: usize, mut process: Process, news: UnboundedSender<(usize, News)>) {
    loop {
        let heard = match process.next().await {
            Ok(Told::Second { second, what }) => News::Second { second, what },
            Ok(Told::Done(done)) => match done.part() {
                Ok(part) => News::Done(Box::new(part)),
                Err(error) => News::Lost(error.to_string()),
            },
            Ok(Told::Failed { exit, what, causes, hint }) => News::Failed(error(exit, what, causes, hint)),
            Ok(Told::Ready) => News::Lost("it was started again".into()),
            Err(why) => News::Lost(why),
        };
        let last = !matches!(heard, News::Second { .. });
        let ended = matches!(heard, News::Lost(_));
        if news.send((worker, heard)).is_err() || ended {
            return;
        }
        if last {
            // It ends by itself once its orders end; until then it may not be dropped.
            let _ = tokio::time::timeout(TELL, process.next()).await;
            return;
        }
    }
}
