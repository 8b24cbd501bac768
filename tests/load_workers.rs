//! Loads of several worker processes of the built binary, against a server that knows exactly what it answered.

#[path = "support/exact_server.rs"]
mod exact_server;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use exact_server::ExactServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sre::check::{Kind, Verdict};
use sre::exit::Exit;
use sre::interrupt::Interrupt;
use sre::load::{
    Away, Job, LEASE, Link, LoadResult, LoadRun, Sample, Share, Team, execute, judge, lead, processes,
};
use sre::scenario::Scenario;
use sre::target::Replica;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The built binary, of which every worker is one.
const SRE: &str = env!("CARGO_BIN_EXE_sre");

/// Nothing that is waited for here takes longer.
const BOUND: Duration = Duration::from_secs(90);

fn scenario(load: Value) -> Scenario {
    serde_json::from_value(json!({
        "name": "test",
        "load": load,
        "requests": {
            "ok": {"path": "/status/200", "weight": 3},
            "missing": {"path": "/status/404", "expect": 404},
        },
        "thresholds": ["error rate < 1%"],
    }))
    .expect("a scenario")
}

fn rate(rate: u64, duration: &str) -> Scenario {
    scenario(json!({"arrival-rate": {"phases": [
        {"name": "first", "duration": duration, "rate": rate},
        {"name": "second", "duration": duration, "rate": rate, "to": 2 * rate},
    ]}}))
}

fn replicas(servers: &[&ExactServer]) -> Vec<Replica> {
    let replica = |server: &&ExactServer| Replica {
        name: server.url.to_string(),
        url: server.url.clone(),
        instance: None,
        admin: None,
    };
    servers.iter().map(replica).collect()
}

async fn team<'a>(
    workers: u64,
    scenario: &'a Scenario,
    replicas: &[Replica],
) -> sre::error::Result<Team<'a>> {
    let workers = processes(OsStr::new(SRE), workers)?;
    let job = Job { workers, replicas, salt: "test" };
    Team::start(job, scenario, &Interrupt::default()).await
}

async fn run(team: Team<'_>, interrupt: &Interrupt) -> (LoadResult, Vec<Sample>) {
    let samples = Mutex::new(Vec::new());
    let progress = |sample| samples.lock().expect("no panic").push(sample);
    let start = Instant::now() + Duration::from_millis(200);
    let result = team.run(start, interrupt, &progress, &|_| {}).await.expect("a load");
    (result, samples.into_inner().expect("no panic"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_are_the_whole() {
    let servers = [ExactServer::start().await, ExactServer::start().await];
    let replicas = replicas(&[&servers[0], &servers[1]]);
    let scenario = rate(100, "1500ms");
    let team = team(3, &scenario, &replicas).await.expect("workers");
    let (merged, samples) = run(team, &Interrupt::default()).await;

    let counts = servers.each_ref().map(ExactServer::counts);
    let counted: u64 = counts.iter().map(exact_server::Counts::all).sum();
    assert_eq!((merged.summary.total.sent, merged.summary.asked), (counted, Some(375)));
    assert_eq!(counted, 375);
    assert_eq!(merged.summary.total.times.since_due.count, counted);
    assert_eq!(samples.iter().map(|sample| sample.sent).sum::<u64>(), counted);
    assert!(samples.iter().any(|sample| sample.phase == "first" && sample.asked_rate == Some(100.0)));
    let ids: BTreeSet<&String> = counts.iter().flat_map(|counts| &counts.ids).collect();
    assert_eq!(ids.len() as u64, counted, "no request is sent twice");

    // One process sends the very same requests.
    let alone = execute(LoadRun {
        scenario: &scenario,
        replicas: &replicas,
        salt: "test",
        share: Share::ALL,
        interrupt: &Interrupt::default(),
        start: Instant::now(),
        progress: &|_| {},
        noted: &|_| {},
    })
    .await
    .expect("a load");
    assert_eq!(merged.summary.tallies, alone.summary.tallies);
    assert_eq!(merged.summary.asked, alone.summary.asked);
    for (merged, alone) in merged.summary.phases.iter().zip(&alone.summary.phases) {
        assert_eq!((&merged.name, merged.asked), (&alone.name, alone.asked));
        assert_eq!(merged.total.statuses, alone.total.statuses);
        assert_eq!(merged.total.times.since_due.count, alone.total.times.since_due.count);
    }
    for (now, before) in servers.each_ref().map(ExactServer::counts).iter().zip(&counts) {
        let (again, first) = (now.ids[before.ids.len()..].iter(), before.ids.iter());
        assert_eq!(again.collect::<BTreeSet<_>>(), first.collect::<BTreeSet<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_shared_out() {
    let server = ExactServer::start().await;
    let load = json!({"users": {"users": 5, "duration": "1s", "think": "50ms"}});
    let scenario = scenario(load);
    let team = team(2, &scenario, &replicas(&[&server])).await.expect("workers");
    let (result, _) = run(team, &Interrupt::default()).await;
    let counts = server.counts();
    assert_eq!(counts.all(), result.summary.total.sent);
    assert_eq!(counts.connections, 5, "one a user");
    let users: BTreeSet<&str> =
        counts.ids.iter().filter_map(|id| id.strip_prefix("42-test-")?.split('.').next()).collect();
    assert_eq!(users, BTreeSet::from(["0", "1", "2", "3", "4"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_a_verdict_and_no_smaller_number() {
    let server = ExactServer::start().await;
    let scenario = rate(50, "2s");
    let team = team(4, &scenario, &replicas(&[&server])).await.expect("workers");
    let second = team.processes()[1].expect("it runs");
    let interrupt = Interrupt::default();
    let ((result, _), ()) = tokio::join!(run(team, &interrupt), async {
        until("requests", || server.counts().all() > 20).await;
        kill(second);
    });
    assert_eq!(result.summary.lost.len(), 1, "{:?}", result.summary.lost);
    let lost = &result.summary.lost[0];
    assert!(lost.starts_with("worker 2 of 4 was lost after ") && lost.contains("SIGKILL"), "{lost}");
    assert_eq!(result.summary.asked, Some(250), "what was asked is the whole");
    assert!(!result.summary.interrupted && result.summary.total.sent < 250);
    let outcomes = judge(&scenario, &result.summary, &result.histograms);
    assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::NoData), "{outcomes:?}");
    assert_eq!((outcomes[0].kind, &outcomes[0].message), (Kind::Generator, lost));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_worker_nothing_is_known() {
    let server = ExactServer::start().await;
    let scenario = rate(50, "5s");
    let team = team(1, &scenario, &replicas(&[&server])).await.expect("a worker");
    kill(team.processes()[0].expect("it runs"));
    let start = Instant::now() + Duration::from_millis(100);
    let error = team.run(start, &Interrupt::default(), &|_| {}, &|_| {}).await.expect_err("nothing is known");
    assert_eq!(error.exit(), Exit::NoData);
    assert!(error.to_string().contains("worker 1 of 1 was lost"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_ends_all_workers_and_what_they_know_is_kept() {
    let server = ExactServer::start().await;
    let scenario = rate(50, "1m");
    let team = team(2, &scenario, &replicas(&[&server])).await.expect("workers");
    let processes = team.processes();
    let interrupt = Interrupt::default();
    let ((result, _), ()) = tokio::join!(run(team, &interrupt), async {
        until("requests", || server.counts().all() > 20).await;
        interrupt.trigger(Exit::Interrupted);
    });
    assert!(result.summary.interrupted && result.summary.lost.is_empty(), "{:?}", result.summary);
    assert_eq!(server.counts().all(), result.summary.total.sent);
    until("the end of the workers", || processes.iter().flatten().all(|process| !runs(*process))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_ended_when_the_load_is_given_up() {
    let server = ExactServer::start().await;
    let scenario = rate(50, "1m");
    let team = team(2, &scenario, &replicas(&[&server])).await.expect("workers");
    let processes = team.processes();
    drop(team);
    until("the end of the workers", || processes.iter().flatten().all(|process| !runs(*process))).await;
    assert_eq!(server.counts().all(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_leader_is_gone_ends_by_itself() {
    let server = ExactServer::start().await;
    let mut worker = Command::new(SRE)
        .arg("worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut orders = worker.stdin.take().expect("a pipe");
    let assignment = json!({
        "version": env!("CARGO_PKG_VERSION"), "scenario": rate(50, "1m"), "replicas": replicas(&[&server]),
        "salt": "test", "share": {"worker": 0, "workers": 1},
    });
    for order in [json!({"prepare": assignment}), json!({"start": {"at": 0}})] {
        writeln!(orders, "{order}").expect("it listens");
    }
    until("requests", || server.counts().all() > 5).await;
    drop(orders);
    until("the end of the worker", || worker.try_wait().expect("a child").is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let server = ExactServer::start().await;
    let refused = async |workers, scenario: &Scenario| {
        team(workers, scenario, &replicas(&[&server])).await.err().expect("it is refused")
    };
    let few = scenario(json!({"users": {"users": 2, "duration": "1s"}}));
    let error = refused(3, &few).await;
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.to_string().contains("3 workers are too many"), "{error}");

    let mut odd = rate(1, "1s");
    odd.requests["ok"].headers.insert("not a header".into(), "x".into());
    let error = refused(2, &odd).await;
    assert_eq!(error.exit(), Exit::Usage, "the worker's own error: {error}");
    assert!(error.to_string().contains("not a header"), "{error}");
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn pid(process: u32) -> Pid {
    process.try_into().ok().and_then(Pid::from_raw).expect("a process id")
}

fn kill(process: u32) {
    kill_process(pid(process), Signal::KILL).expect("it runs");
}

/// Whether a process is there and was not only left to be waited for.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid(process).as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// A worker elsewhere: it listens for its leader. Killed when dropped.
struct Elsewhere {
    process: std::process::Child,
    address: std::net::SocketAddr,
}

impl Elsewhere {
    fn start() -> Elsewhere {
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        Elsewhere { process: Elsewhere::listen(free), address: free }
    }

    fn listen(address: std::net::SocketAddr) -> std::process::Child {
        Command::new(SRE)
            .args(["worker", "--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    }

    /// Another worker in the place of this one.
    fn start_again(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("a child");
        self.process = Elsewhere::listen(self.address);
    }

    /// A link to it over connections of which each breaks after this time.
    fn link(&self, lasting: Duration) -> Link {
        let address = self.address;
        let connect = move || {
            Box::pin(async move {
                let opened = tokio::net::TcpStream::connect(address).await;
                let mut far = opened.map_err(|e| Away::ForNow(e.to_string()))?;
                let (near, mut carried) = tokio::io::duplex(4096);
                tokio::spawn(async move {
                    let carrying = tokio::io::copy_bidirectional(&mut carried, &mut far);
                    let _ = tokio::time::timeout(lasting, carrying).await;
                });
                Ok(near)
            }) as _
        };
        Link::new("elsewhere".into(), None, |ends| tokio::spawn(lead(connect, ends)))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn team_elsewhere<'a>(links: Vec<Link>, scenario: &'a Scenario, server: &ExactServer) -> Team<'a> {
    let job = Job { workers: links, replicas: &replicas(&[server]), salt: "test" };
    Team::start(job, scenario, &Interrupt::default()).await.expect("workers")
}

#[test]
fn a_worker_listens_on_this_machine_alone() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7000"] {
        let ran = Command::new(SRE).args(["worker", "--listen", address]).stdin(Stdio::null()).output();
        let ran = ran.expect("it starts");
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{address}: {told}");
        assert!(told.contains("does not listen on"), "{address}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_gives_a_worker_no_orders() {
    let server = ExactServer::start().await;
    let scenario = rate(50, "1s");
    let worker = Elsewhere::start();
    // What a page may send without asking for leave: its lines are after those of HTTP.
    let orders = "{\"hello\":{\"worker\":null,\"have\":0}}\n{\"item\":{\"number\":0,\"item\":\"end\"}}\n";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nOrigin: https://evil.example\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{orders}",
        worker.address,
        orders.len()
    );
    for _ in 0..5 {
        let mut page = connected(worker.address).await;
        let _ = page.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        // It is hung up on, perhaps before all of it was sent.
        let _ = page.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    let team = team_elsewhere(vec![worker.link(Duration::from_secs(60))], &scenario, &server).await;
    let (result, _) = run(team, &Interrupt::default()).await;
    assert_eq!(result.summary.total.sent, 125, "50 a second, then from 50 to 100");
    assert_eq!(server.counts().all(), 125);
    assert!(result.summary.lost.is_empty());
}

/// A connection, once somebody listens.
async fn connected(address: std::net::SocketAddr) -> tokio::net::TcpStream {
    let connecting = async {
        loop {
            match tokio::net::TcpStream::connect(address).await {
                Ok(connection) => return connection,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), connecting).await.expect("it listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_connections_to_workers_break() {
    let server = ExactServer::start().await;
    let scenario = rate(100, "2s");
    let mut workers = [Elsewhere::start(), Elsewhere::start(), Elsewhere::start()];
    let lasting = [700, 450, 60_000].map(Duration::from_millis);
    let links = workers.iter().zip(lasting).map(|(worker, lasting)| worker.link(lasting)).collect();
    let team = team_elsewhere(links, &scenario, &server).await;
    assert!(team.apart() < Duration::from_millis(200), "{:?}", team.apart());
    let (result, samples) = run(team, &Interrupt::default()).await;
    assert_eq!((result.summary.lost.as_slice(), result.summary.asked), ([].as_slice(), Some(500)));
    assert_eq!((server.counts().all(), result.summary.total.sent), (500, 500));
    assert_eq!(result.summary.total.times.since_due.count, 500);
    assert_eq!(samples.iter().map(|sample| sample.sent).sum::<u64>(), 500);
    let ended = |worker: &mut Elsewhere| worker.process.try_wait().expect("a child").is_some();
    until("the end of the workers", || workers.iter_mut().all(ended)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_elsewhere_that_is_started_again_is_lost() {
    let server = ExactServer::start().await;
    let scenario = rate(50, "2s");
    let mut workers = [Elsewhere::start(), Elsewhere::start()];
    let links = workers.iter().map(|worker| worker.link(BOUND)).collect();
    let team = team_elsewhere(links, &scenario, &server).await;
    let interrupt = Interrupt::default();
    let ((result, _), ()) = tokio::join!(run(team, &interrupt), async {
        until("requests", || server.counts().all() > 20).await;
        workers[1].start_again();
    });
    let lost = &result.summary.lost;
    assert!(lost.len() == 1 && lost[0].starts_with("worker 2 of 2 (elsewhere) was lost after "), "{lost:?}");
    assert!(lost[0].ends_with("it was started again"), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_elsewhere_whose_leader_is_gone_ends_by_itself() {
    let server = ExactServer::start().await;
    let scenario = rate(50, "5m");
    let mut worker = Elsewhere::start();
    let team = team_elsewhere(vec![worker.link(BOUND)], &scenario, &server).await;
    let interrupt = Interrupt::default();
    tokio::select! {
        _ = run(team, &interrupt) => panic!("it cannot be over"),
        () = until("requests", || server.counts().all() > 20) => {}
    }
    // The leader is gone, without a word.
    let gone = Instant::now();
    until("the end of the worker", || worker.process.try_wait().expect("a child").is_some()).await;
    assert!(gone.elapsed() < LEASE + Duration::from_secs(5), "{:?}", gone.elapsed());
}
