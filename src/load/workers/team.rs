//! The workers of a load: started together, told when to begin, and merged at the end.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::clock::{Offset, QUESTIONS};
use super::link::{Carrier, Link};
use super::merge::merge;
use super::message::{Assignment, Order, Told, error, order};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::load::execute::{LoadResult, Part, check};
use crate::load::progress::{Progress, Sampler};
use crate::load::requests::secrets;
use crate::load::{Noted, Sample, Share};
use crate::scenario::{Load, Scenario};
use crate::target::Replica;

/// Between the last preparation and the start, at the least: the workers have to be told first.
const LEAD: Duration = Duration::from_millis(500);

/// The same, at the most.
const LONGEST_LEAD: Duration = Duration::from_secs(5);

/// Preparing takes no longer.
const PREPARE: Duration = Duration::from_secs(30);

/// After the last answer can have come, or after it was told to stop, a worker has this long to tell of its part.
const TELL: Duration = Duration::from_secs(10);

/// A load for several workers.
pub struct Job<'a> {
    /// The workers, each by what carries its lines.
    pub workers: Vec<Link>,
    /// Where to.
    pub replicas: &'a [Replica],
    /// Sets this run's request ids apart from other runs': the run's id.
    pub salt: &'a str,
}

/// Workers that are ready. They are let go when this is dropped.
pub struct Team<'a> {
    scenario: &'a Scenario,
    members: Vec<Member>,
}

/// A worker that is ready.
struct Member {
    link: Link,
    offset: Offset,
    /// The longest that an answer took.
    slowest: Duration,
}

impl<'a> Team<'a> {
    /// Comes back when each worker has prepared its part, and it is known what its clock says.
    ///
    /// # Errors
    /// More workers than users or connections, or a load that cannot be sent (2); a worker that did not get
    /// ready (6); interrupted (130, 143).
    pub async fn start(job: Job<'_>, scenario: &'a Scenario, interrupt: &Interrupt) -> Result<Team<'a>> {
        let workers = job.workers.len() as u64;
        refuse_idlers(scenario, workers)?;
        // Before a worker is told: what cannot be sent, and what must not be.
        check(scenario, job.replicas)?;
        let secrets = secrets(scenario)?;
        for (worker, link) in (0..).zip(&job.workers) {
            let assignment = Assignment {
                version: env!("CARGO_PKG_VERSION").into(),
                scenario: scenario.clone(),
                replicas: job.replicas.to_vec(),
                salt: job.salt.into(),
                share: Share { worker, workers },
                secrets: secrets.clone(),
            };
            order(&link.orders, &Order::Prepare(Box::new(assignment)))?;
        }
        let deadline = tokio::time::Instant::now() + PREPARE;
        let preparing = job.workers.into_iter().enumerate().map(|(worker, link)| async move {
            let failed =
                || Error::target(format!("{} did not get ready", name(worker, workers, &link.place)));
            let (failed, error) = (failed(), failed().because_of(format!("within {} s", PREPARE.as_secs())));
            tokio::time::timeout_at(deadline, prepare(link, failed)).await.map_err(|_| error)?
        });
        let members = interrupt.or(try_join_all(preparing)).await??;
        Ok(Team { scenario, members })
    }

    /// The process ids of those that are processes of this machine, in their order.
    pub fn processes(&self) -> Vec<Option<u32>> {
        self.members.iter().map(|member| member.link.process).collect()
    }

    /// So far at the most two workers may begin from each other.
    pub fn apart(&self) -> Duration {
        let mut errors: Vec<Duration> = self.members.iter().map(|member| member.offset.within).collect();
        errors.sort();
        errors.iter().rev().take(2).sum()
    }

    /// From now, so long before the start have the workers to be told of it.
    pub fn lead(&self) -> Duration {
        let slowest = self.members.iter().map(|member| member.slowest).max().unwrap_or_default();
        (LEAD + 4 * slowest).min(LONGEST_LEAD)
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
        let started = jiff::Timestamp::now() + start.saturating_duration_since(Instant::now());
        let sampler = Sampler::new(scenario);
        let tell = |second, mut what: crate::load::Second| {
            let requests = std::mem::take(&mut what.noted);
            if !requests.is_empty() {
                noted(&requests);
            }
            progress(sampler.sample(second, what));
        };
        let mut seconds = Progress::new(self.members.len(), &tell);
        let (news, mut incoming) = unbounded_channel();
        let (mut following, mut orders, mut names) = (JoinSet::new(), Vec::new(), Vec::new());
        for (worker, Member { link, offset, .. }) in self.members.into_iter().enumerate() {
            names.push(name(worker, workers, &link.place));
            let (to, told, carrier) = link.split();
            order(&to, &Order::Start { at: offset.theirs_at(start) })?;
            following.spawn(follow(worker, told, carrier, news.clone()));
            orders.push(Some(to));
        }
        drop(news);
        let mut deadline = tokio::time::Instant::from_std(start + longest(scenario) + TELL);
        let mut stopped = false;
        let mut parts: Vec<Option<Part>> = orders.iter().map(|_| None).collect();
        let mut lost = Vec::new();
        let mut lose = |worker: usize, why: &str, seconds: &mut Progress<'_>| {
            let after = start.elapsed().as_secs_f64();
            lost.push(format!("{} was lost after {after:.1} s: {why}", names[worker]));
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
                    for to in orders.iter().flatten() {
                        order(to, &Order::Stop)?;
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
        merge(scenario, started, parts.into_iter().flatten().collect(), lost)
    }
}

/// The worker once it is ready, and what its clock says.
async fn prepare(mut link: Link, failed: Error) -> Result<Member> {
    match heard(link.told.recv().await) {
        Ok(Told::Ready) => {}
        Ok(Told::Failed { exit, what, causes, hint }) => {
            let told = error(exit, what, causes, hint);
            let ended = told.exit().is_interruption();
            return Err(if ended { failed.because_of("it was told to end") } else { told });
        }
        Ok(_) => return Err(failed.because_of("it began before it was told to")),
        Err(why) => return Err(failed.because_of(why)),
    }
    let mut best: Option<Offset> = None;
    let mut slowest = Duration::ZERO;
    for question in 0..QUESTIONS {
        let asked = Instant::now();
        order(&link.orders, &Order::Clock { question })?;
        match heard(link.told.recv().await) {
            Ok(Told::Clock { question: answered, now }) if answered == question => {
                let offset = Offset::of(asked, Instant::now(), now);
                slowest = slowest.max(asked.elapsed());
                best = Some(best.map_or(offset, |best| best.best(offset)));
            }
            Ok(_) => return Err(failed.because_of("it did not tell what its clock says")),
            Err(why) => return Err(failed.because_of(why)),
        }
    }
    match best {
        Some(offset) => Ok(Member { link, offset, slowest }),
        None => Err(failed),
    }
}

/// A worker's message; without one, how it ended.
fn heard(line: Option<Result<String, String>>) -> Result<Told, String> {
    let line = line.ok_or("it was let go")??;
    serde_json::from_str(&line).map_err(|e| format!("it told what cannot be read: {e}"))
}

/// Refuses more workers than have something to send with.
///
/// # Errors
/// Usage (exit 2).
pub fn refuse_idlers(scenario: &Scenario, workers: u64) -> Result<()> {
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

/// The time after which every request of a load has its fate.
pub fn longest(scenario: &Scenario) -> Duration {
    let http = match &scenario.load {
        Load::ArrivalRate(load) => &load.http,
        Load::Users(load) => &load.http,
    };
    // A request may wait for a connection, and be answered, each time until its time is over.
    let turns = 2 * (1 + http.redirects + http.retries);
    scenario.load.duration().get() + http.timeout.get() * turns
}

fn name(worker: usize, workers: u64, place: &str) -> String {
    let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
    format!("worker {} of {workers}{place}", worker + 1)
}

/// What is heard of a worker.
enum News {
    Second { second: f64, what: crate::load::Second },
    Done(Box<Part>),
    Failed(Error),
    Lost(String),
}

/// Hears a worker out, until its last message or its end.
async fn follow(
    worker: usize,
    mut told: UnboundedReceiver<Result<String, String>>,
    _carrier: Carrier,
    news: UnboundedSender<(usize, News)>,
) {
    loop {
        let heard = match heard(told.recv().await) {
            Ok(Told::Second { second, what }) => News::Second { second, what },
            Ok(Told::Done(done)) => match done.part() {
                Ok(part) => News::Done(Box::new(part)),
                Err(error) => News::Lost(error.to_string()),
            },
            Ok(Told::Failed { exit, what, causes, hint }) => {
                let told = error(exit, what, causes, hint);
                match told.exit() {
                    exit if exit.is_interruption() => News::Lost("it was told to end".into()),
                    _ => News::Failed(told),
                }
            }
            Ok(Told::Ready) => News::Lost("it was started again".into()),
            Ok(Told::Clock { .. }) => continue,
            Err(why) => News::Lost(why),
        };
        let last = !matches!(heard, News::Second { .. });
        let ended = matches!(heard, News::Lost(_));
        if news.send((worker, heard)).is_err() || ended {
            return;
        }
        if last {
            // It ends by itself once its orders end; until then it may not be let go.
            let _ = tokio::time::timeout(TELL, told.recv()).await;
            return;
        }
    }
}
