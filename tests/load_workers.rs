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
use sre::load::{Job, LoadResult, LoadRun, Sample, Share, Team, execute, judge};
use sre::scenario::Scenario;
use sre::target::Replica;

/// The built binary, of which every worker is one.
const SRE: &str = env!("CARGO_BIN_EXE_sre");

/// Nothing that is waited for here takes longer.
const BOUND: Duration = Duration::from_secs(30);

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
    let job = Job { program: OsStr::new(SRE), workers, replicas, salt: "test" };
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
    for order in [json!({"prepare": assignment}), json!({"start": {"at": jiff::Timestamp::now()}})] {
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
