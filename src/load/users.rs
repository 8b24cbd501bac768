//! The closed model on goose: each user waits for an answer before sending the next request.
//!
//! goose drives the users, one task each. Connections, requests, times and fates are our own, because goose's times end
//! with the first byte, and it neither tells sent from unsent nor holds back from a server that is gone.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use goose::GooseAttack;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario as Journey, Transaction, TransactionResult};
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::execute::{LoadRun, PhaseRow, Recorded};
use super::mix::{Mix, hash, unit};
use super::plan::USERS_PHASE;
use super::progress::{Progress, Tell};
use super::recorder::{Ended, Recorder};
use super::redirect::{Hop, follow};
use super::requests::{Ids, Number, Template};
use super::wire::{Asked, Connector, End, native_roots};
use super::{Fate, NotSent, Noted, Notes, Share, Unexpected, Unknown};
use crate::error::{Error, Result};
use crate::scenario::{Http, Users};

/// After an interruption, answers are waited for this long.
const GRACE: Duration = Duration::from_secs(2);

/// A user whose request came to nothing waits this long before the next one; it doubles up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// goose keeps whether it was told to stop for the whole process, so that loads take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What all users know.
struct Shared {
    templates: Vec<Template>,
    /// By replica.
    connectors: Arc<Vec<Connector>>,
    weights: Vec<u32>,
    http: Http,
    load: Users,
    /// The users of this worker.
    share: Share,
    seed: u64,
    salt: String,
    /// Which requests are noted one by one.
    notes: Notes,
    /// When the load began.
    start: Instant,
    /// No request leaves after this is cancelled.
    over: CancellationToken,
    /// Requests on their way are given up once this is cancelled.
    abort: CancellationToken,
    recorder: Mutex<Recorder>,
    in_flight: AtomicU64,
    users: AtomicUsize,
    last_end: Mutex<Instant>,
}

/// What one user knows.
#[derive(Clone)]
struct User {
    number: u64,
    /// goose asks for users that can be cloned.
    connections: Arc<tokio::sync::Mutex<Connections>>,
    mix: Mix,
    /// Requests that it has begun, redirects and retries not among them.
    begun: u64,
    /// Requests that came to nothing, one after another.
    failures: u32,
}

/// Lets users send requests until their time is over.
pub(super) async fn run(run: &LoadRun<'_>, load: &Users, tell: Tell<'_>) -> Result<Recorded> {
    let _turn = TURN.lock().await;
    let connectors =
        run.replicas.iter().map(|replica| Connector::new(&replica.url, load.http.version, native_roots));
    let shared = Arc::new(Shared {
        templates: Template::all(run.scenario, run.replicas)?,
        connectors: Arc::new(connectors.collect::<Result<_>>()?),
        weights: run.scenario.requests.values().map(|request| request.weight).collect(),
        http: load.http.clone(),
        load: load.clone(),
        share: run.share,
        seed: run.scenario.seed,
        salt: run.salt.to_owned(),
        notes: Notes::of(run.scenario),
        start: run.start,
        over: CancellationToken::new(),
        abort: CancellationToken::new(),
        recorder: Mutex::new(Recorder::new(1, run.scenario.requests.len(), run.replicas.len())),
        in_flight: AtomicU64::new(0),
        users: AtomicUsize::new(0),
        last_end: Mutex::new(run.start),
    });
    let mut attack = Box::pin(attack(shared.clone(), run.replicas[0].url.as_str())?.execute());
    let mut progress = Progress::new(1, tell);
    let end = run.start + load.duration.get();
    let mut interrupted = None;
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let mut second = 1;
    loop {
        tokio::select! {
            done = &mut attack => {
                done.map_err(|e| Error::target("the users of the load could not go on").because(e))?;
                break;
            }
            () = run.interrupt.wait(), if interrupted.is_none() => {
                interrupted = Some(Instant::now());
                shared.over.cancel();
            }
            _ = look.tick() => {}
        }
        let now = Instant::now();
        while now >= run.start + Duration::from_secs(second) {
            progress.add(second, &shared.look());
            second += 1;
        }
        if now >= end {
            shared.over.cancel();
        }
        if shared.over.is_cancelled() {
            // Said again each time: goose forgets it when it starts.
            goose::trigger_killswitch("the load is over");
        }
        if interrupted.is_some_and(|since| now >= since + GRACE.min(load.http.timeout.get())) {
            shared.abort.cancel();
        }
    }
    progress.add(second, &shared.look());
    progress.finish(run.start.elapsed());
    let recorder = lock(&shared.recorder).clone();
    let lasted = interrupted.unwrap_or(end).saturating_duration_since(run.start).min(load.duration.get());
    Ok(Recorded {
        recorder,
        phases: vec![PhaseRow { name: USERS_PHASE.into(), seconds: lasted.as_secs_f64(), asked: None }],
        asked: None,
        seconds: lock(&shared.last_end).saturating_duration_since(run.start).as_secs_f64(),
        observed: None,
        interrupted: interrupted.is_some(),
    })
}

fn attack(shared: Arc<Shared>, host: &str) -> Result<GooseAttack> {
    let problem =
        |e: goose::GooseError| Error::target("the users of the load could not be started").because(e);
    silence();
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(host.to_owned());
    configuration.users = Some(shared.share.of(shared.load.users as u64) as usize);
    // All at once; each then waits for its turn in the ramp, to the millisecond.
    configuration.increase_rate = Some("1000".into());
    configuration.quiet = 2;
    configuration.no_metrics = true;
    // It resets its own metrics when all users are there, which are not used; told not to, it says so on stdout.
    configuration.no_reset_metrics = false;
    configuration.no_print_metrics = true;
    configuration.no_telnet = true;
    configuration.no_websocket = true;
    // Each goose user has a client of its own that sends nothing; made so, it needs no certificates of this machine.
    configuration.accept_invalid_certs = true;
    let turn = Transaction::new(Arc::new(move |user| {
        let shared = shared.clone();
        Box::pin(async move { shared.turn(user).await })
            as Pin<Box<dyn Future<Output = TransactionResult> + Send + '_>>
    }));
    let journey = Journey::new("users").register_transaction(turn);
    Ok(GooseAttack::initialize_with_config(configuration).map_err(problem)?.register_scenario(journey))
}

/// Keeps goose's own messages off the screen, unless somebody listens to messages already.
fn silence() {
    struct Silent;
    impl log::Log for Silent {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            false
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }
    let _ = log::set_logger(&Silent);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn look(&self) -> super::recorder::Second {
        lock(&self.recorder).look(self.in_flight.load(Ordering::Relaxed))
    }

    /// One turn of a user: a request, its redirects and retries, and the time to think.
    async fn turn(&self, goose: &mut GooseUser) -> TransactionResult {
        if goose.get_session_data::<User>().is_none() {
            goose.set_session_data(self.arrive().await);
        }
        if let Some(user) = goose.get_session_data_mut::<User>() {
            self.journey(user).await;
        }
        if self.over.is_cancelled() {
            // Until goose has told this user to leave.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// A new user, when its time in the ramp has come.
    async fn arrive(&self) -> User {
        let arrival = self.users.fetch_add(1, Ordering::Relaxed) as u64;
        let number = arrival * self.share.workers + self.share.worker;
        let ramp = self.load.ramp.map_or(Duration::ZERO, |ramp| ramp.get());
        let turn = ramp.mul_f64(number as f64 / self.load.users.max(1) as f64);
        self.wait_until(self.start + turn).await;
        let ids = Ids::new(self.seed, &self.salt);
        let connections = Connections::new(self.connectors.clone(), &self.http, ids);
        let mix = Mix::new(self.weights.iter().copied(), hash(self.seed, number));
        User { number, connections: Arc::new(connections.into()), mix, begun: 0, failures: 0 }
    }

    async fn wait_until(&self, until: Instant) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = tokio::time::sleep_until(until.into()) => {}
        }
    }

    async fn journey(&self, user: &mut User) {
        if self.over.is_cancelled() {
            return;
        }
        let number = user.begun;
        user.begun += 1;
        let request = user.mix.choose(number);
        let replica = (user.number + number) as usize % self.templates[request].to.len();
        let mut connections = user.connections.lock().await;
        let (mut hop, mut redirects, mut retries) = (None, self.http.redirects, self.http.retries);
        let mut id = Number { user: Some(user.number), index: number, turn: 0 };
        let answered = loop {
            let asked = (request, hop.as_ref(), id);
            let (fate, next) = self.exchange(&mut connections, replica, asked, redirects > 0).await;
            id.turn += 1;
            match (fate, next) {
                _ if self.over.is_cancelled() => break true,
                (Fate::Answered(_), None) => break true,
                (Fate::Answered(_), next) => {
                    redirects -= 1;
                    hop = next;
                }
                _ if retries > 0 => retries -= 1,
                _ => break false,
            }
        };
        drop(connections);
        let pause = if answered {
            user.failures = 0;
            self.think(user.number, number)
        } else {
            user.failures += 1;
            (FIRST_PAUSE * 2u32.pow((user.failures - 1).min(10))).min(LONGEST_PAUSE)
        };
        if !pause.is_zero() {
            self.wait_until(Instant::now() + pause).await;
        }
    }

    fn think(&self, user: u64, number: u64) -> Duration {
        let Some(range) = self.load.think else { return Duration::ZERO };
        let (from, to) = (range.from.get(), range.to.get());
        from + (to - from).mul_f64(unit(hash(self.seed, user), !number))
    }

    /// Sends one request and records what became of it. Comes back with where it redirects to, if it may be followed.
    async fn exchange(
        &self,
        connections: &mut Connections,
        replica: usize,
        (request, hop, number): (usize, Option<&Hop>, Number),
        follows: bool,
    ) -> (Fate, Option<Hop>) {
        let template = &self.templates[request];
        let address = &template.to[replica];
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        lock(&self.recorder).sent();
        let due = Instant::now();
        let ended = tokio::select! {
            biased;
            () = self.abort.cancelled() => None,
            ended = connections.exchange(Asked { template, address, hop, number }, replica) => Some(ended),
        };
        let end = Instant::now();
        let (sent, fate, unexpected, next) = match ended {
            None if connections.is_asking() => (due, Fate::Unknown(Unknown::Interrupted), None, None),
            None | Some((_, Ok(End::Unsent | End::Unprocessed | End::Refused))) => {
                (due, Fate::NotSent(NotSent::Connect), None, None)
            }
            Some((sent, Err(why))) => (sent, Fate::NotSent(why), None, None),
            Some((sent, Ok(End::Unknown(why)))) => (sent, Fate::Unknown(why), None, None),
            Some((sent, Ok(End::Answered { status, missing, location }))) => {
                let next = location.filter(|_| follows).and_then(|location| {
                    follow(template, address, hop, self.http.version, status, &location)
                });
                let unexpected = match next {
                    Some(_) => None,
                    None if !template.expect.allows(status.as_u16()) => Some(Unexpected::Status),
                    None => missing,
                };
                (sent, Fate::Answered(status.as_u16()), unexpected, next)
            }
        };
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut recorder = lock(&self.recorder);
        if matches!(fate, Fate::NotSent(_)) {
            recorder.unsent();
        }
        if self.notes.wants(request, fate) {
            recorder.note(Noted {
                number: number.to_string(),
                request,
                replica,
                status: fate.status(),
                end: end.saturating_duration_since(self.start).as_secs_f64(),
            });
        }
        let hop = hop.map_or(0, |hop| recorder.hop(hop.method.as_str(), hop.url.path()));
        recorder.ended(&Ended { phase: 0, request, replica, hop, fate, unexpected, due, sent, end });
        let mut last = lock(&self.last_end);
        *last = last.max(end);
        (fate, next)
    }
}
