//! The closed model on goose: each user waits for an answer before sending the next request.
//!
//! goose drives the users, one task each. Requests, times and fates are our own, because goose's times end
//! with the first byte, and it neither tells sent from unsent nor holds back from a server that is gone.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use goose::GooseAttack;
use goose::config::GooseConfiguration;
use goose::goose::{GooseUser, Scenario as Journey, Transaction, TransactionResult};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use tokio_util::sync::CancellationToken;

use super::execute::{LoadRun, PhaseRow, Recorded};
use super::failure::fate;
use super::mix::{Mix, hash, unit};
use super::plan::USERS_PHASE;
use super::progress::{Progress, Tell};
use super::recorder::{Ended, Recorder};
use super::redirect::{Hop, follow};
use super::requests::{Ids, Number, REQUEST_ID, Search, Template};
use super::{Fate, Noted, Notes, Share, Unexpected, Unknown};
use crate::error::{Error, Result};
use crate::scenario::{Http, HttpVersion, Users};

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
    weights: Vec<u32>,
    http: Http,
    /// Whether a replica speaks TLS; redirects are followed within a replica only.
    tls: bool,
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
    client: reqwest::Client,
    mix: Mix,
    /// Requests that it has begun, redirects and retries not among them.
    begun: u64,
    /// Requests that came to nothing, one after another.
    failures: u32,
}

/// Lets users send requests until their time is over.
pub(super) async fn run(run: &LoadRun<'_>, load: &Users, tell: Tell<'_>) -> Result<Recorded> {
    let _turn = TURN.lock().await;
    let shared = Arc::new(Shared {
        templates: Template::all(run.scenario, run.replicas)?,
        weights: run.scenario.requests.values().map(|request| request.weight).collect(),
        http: load.http.clone(),
        tls: run.replicas.iter().any(|replica| replica.url.scheme() == "https"),
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
    // A client that cannot be made is found before the load, not by each user.
    client(&shared.http, shared.tls)?;
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
    configuration.accept_invalid_certs = !shared.tls;
    let turn = Transaction::new(Arc::new(move |user| {
        let shared = shared.clone();
        Box::pin(async move { shared.turn(user).await })
            as Pin<Box<dyn Future<Output = TransactionResult> + Send + '_>>
    }));
    let journey = Journey::new("users").register_transaction(turn);
    Ok(GooseAttack::initialize_with_config(configuration).map_err(problem)?.register_scenario(journey))
}

/// The share of a request's time that its connection may take. Less than all of it: the library looks at the whole first,
/// and would tell of a time-out after which the request may have arrived.
const TO_CONNECT: f64 = 0.9;

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

/// A user's own client. The certificates that this machine trusts are loaded for TLS only: a worker's image has none.
fn client(http: &Http, tls: bool) -> Result<reqwest::Client> {
    let builder = crate::http_client::builder()
        .timeout(http.timeout.get())
        .connect_timeout(http.timeout.get().mul_f64(TO_CONNECT))
        .retry(reqwest::retry::never())
        .no_proxy();
    let builder = match http.version {
        HttpVersion::Http1 => builder.http1_only(),
        HttpVersion::Http2 => builder.http2_prior_knowledge(),
    };
    let builder = if tls { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(|e| Error::prerequisite("no HTTP client could be made for the users").because(e))
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
            let Some(user) = self.arrive().await else { return Ok(()) };
            goose.set_session_data(user);
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
    async fn arrive(&self) -> Option<User> {
        let arrival = self.users.fetch_add(1, Ordering::Relaxed) as u64;
        let number = arrival * self.share.workers + self.share.worker;
        let ramp = self.load.ramp.map_or(Duration::ZERO, |ramp| ramp.get());
        let turn = ramp.mul_f64(number as f64 / self.load.users.max(1) as f64);
        self.wait_until(self.start + turn).await;
        // `run` has seen that a client can be made.
        let client = client(&self.http, self.tls).ok()?;
        let seed = hash(self.seed, number);
        let mix = Mix::new(self.weights.iter().copied(), seed);
        Some(User { number, client, mix, begun: 0, failures: 0 })
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
        let mut ids = Ids::new(self.seed, &self.salt);
        let (mut hop, mut redirects, mut retries) = (None, self.http.redirects, self.http.retries);
        let mut id = Number { user: Some(user.number), index: number, turn: 0 };
        let answered = loop {
            let header = ids.id(id);
            let (fate, next) = self
                .exchange(&user.client, request, replica, hop.as_ref(), (id, header), redirects > 0)
                .await;
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
        client: &reqwest::Client,
        request: usize,
        replica: usize,
        hop: Option<&Hop>,
        (number, id): (Number, HeaderValue),
        follows: bool,
    ) -> (Fate, Option<Hop>) {
        let template = &self.templates[request];
        let address = &template.to[replica];
        let (method, url, body) = match hop {
            None => (template.method.clone(), address.url.clone(), Some(template.body.clone())),
            Some(hop) => (hop.method.clone(), hop.url.clone(), hop.body.then(|| template.body.clone())),
        };
        let mut headers = address.headers.clone();
        if template.identified {
            headers.insert(REQUEST_ID, id);
        }
        let mut builder = client.request(method, url).headers(headers);
        if let Some(body) = body.filter(|body| !body.is_empty()) {
            builder = builder.body(body);
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        lock(&self.recorder).sent();
        let sent = Instant::now();
        let answer = tokio::select! {
            biased;
            () = self.abort.cancelled() => Err(Fate::Unknown(Unknown::Interrupted)),
            answer = read(builder, template) => answer.map_err(|error| fate(&error)),
        };
        let end = Instant::now();
        let (fate, unexpected, next) = match answer {
            Err(fate) => (fate, None, None),
            Ok((status, location, contained)) => {
                let next = location.filter(|_| follows).and_then(|location| {
                    follow(template, address, hop, self.http.version, status, &location)
                });
                let unexpected = match (&next, template.expect.allows(status.as_u16()), contained) {
                    (Some(_), ..) | (None, true, true) => None,
                    (None, false, _) => Some(Unexpected::Status),
                    (None, true, false) => Some(Unexpected::Text),
                };
                (Fate::Answered(status.as_u16()), unexpected, next)
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
        recorder.ended(&Ended { phase: 0, request, replica, hop, fate, unexpected, due: sent, sent, end });
        let mut last = lock(&self.last_end);
        *last = last.max(end);
        (fate, next)
    }
}

/// Sends a request and reads its answer to the last byte: status, where it redirects to, and whether its
/// body contained what it had to.
async fn read(
    builder: reqwest::RequestBuilder,
    template: &Template,
) -> reqwest::Result<(StatusCode, Option<HeaderValue>, bool)> {
    let mut response = builder.send().await?;
    let status = response.status();
    let location = if status.is_redirection() { response.headers().get(LOCATION).cloned() } else { None };
    let mut search = Search::new(template.contains.as_deref());
    while let Some(part) = response.chunk().await? {
        search.take(&part);
    }
    Ok((status, location, search.found()))
}
