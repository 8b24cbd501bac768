//! `sre load` with faults, ended in every way; afterwards everything is as it was.
//!
//! `SRE_SOAK` tells how often it is killed at a random moment; 10 times without it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::TestLab;
use crate::support::wait::until;

/// Faults of every kind come and go as fast as they can.
const RESTLESS: &str = r#"
name: scenario
load: {arrival-rate: {phases: [{rate: 5/s, duration: 4s}]}}
requests: {list-users: {path: /api/users}}
faults:
  - {fault: kill, at: 0s, for: 300ms, replicas: [0]}
  - {fault: kill, at: 600ms, for: 300ms, replicas: [0]}
  - {fault: kill, at: 1200ms, for: 300ms, replicas: [0]}
  - {fault: pause, at: 0s, for: 200ms, replicas: [1]}
  - {fault: pause, at: 400ms, for: 200ms, replicas: [1]}
  - {fault: pause, at: 800ms, for: 200ms, replicas: [1]}
  - {fault: {latency: 10ms}, at: 0s, for: 400ms, replicas: [2]}
  - {fault: unready, at: 200ms, for: 500ms, replicas: [2]}
  - {fault: {error-rate: 50%}, at: 600ms, for: 700ms, replicas: [2]}
"#;

/// One of each kind, for as long as the load lasts.
const LONG: &str = r#"
name: scenario
load: {arrival-rate: {phases: [{rate: 5/s, duration: 10m}]}}
requests: {list-users: {path: /api/users}}
faults:
  - {fault: kill, at: 0s, for: 10m, replicas: [0]}
  - {fault: pause, at: 0s, for: 10m, replicas: [1]}
  - {fault: {latency: 10ms}, at: 0s, for: 10m, replicas: [2]}
"#;

fn load(lab: &TestLab, scenario: &str) -> Child {
    let file = lab.path().join("scenario.yaml");
    std::fs::write(&file, scenario).unwrap();
    let mut command = lab.command(&["load", &file.to_string_lossy()]);
    let log = std::fs::File::create(lab.path().join("load.log")).unwrap();
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Waits until so many faults are injected, or are about to be.
async fn entries(lab: &TestLab, child: &mut Child, count: usize, state: &str) {
    until("the faults", async || {
        let log = || std::fs::read_to_string(lab.path().join("load.log")).unwrap();
        assert_eq!(child.try_wait().unwrap(), None, "{}", log());
        let entries = lab.entries();
        let reached = |entry: &&Value| state == "planned" || entry["state"] == state;
        (entries.iter().filter(reached).count() >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_signal_that_ends_it_undoes_everything_before_the_end() {
    let lab = TestLab::start().await;
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let mut child = load(&lab, LONG);
        entries(&lab, &mut child, 3, "injected").await;
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = until("its end", async || child.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(code));
        lab.assert_healed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_started_to_outlive_its_terminal_does() {
    let lab = TestLab::start().await;
    let file = lab.path().join("scenario.yaml");
    std::fs::write(&file, LONG).unwrap();
    let script = format!("trap '' HUP; exec {} load {}", env!("CARGO_BIN_EXE_sre"), file.display());
    let log = std::fs::File::create(lab.path().join("load.log")).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .current_dir(lab.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    entries(&lab, &mut child, 3, "injected").await;
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    // The one that it ends by tells whether it heard the other.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = until("its end", async || child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(143), "SIGHUP was not ignored");
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_whose_journal_was_deleted_are_undone_all_the_same() {
    let lab = TestLab::start().await;
    for gone in [lab.folder().root().join("journal"), lab.folder().root().to_path_buf()] {
        let recorded = lab.recorded();
        let mut children = Vec::new();
        for (fault, replica) in [("pause", "0"), ("latency=1s", "1")] {
            let arguments = ["fault", "inject", fault, "--replicas", replica, "--for", "3s"];
            let mut command = lab.command(&arguments);
            children.push(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        }
        until("both", async || {
            let injected = lab.entries().iter().filter(|entry| entry["state"] == "injected").count();
            (injected == 2).then_some(())
        })
        .await;
        std::fs::remove_dir_all(gone).unwrap();
        for child in children {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{stderr}");
            assert!(stderr.contains("it is undone all the same"), "{stderr}");
        }
        recorded.save(lab.folder().root()).unwrap();
        lab.assert_healed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_who_only_looks_is_told_and_the_next_load_undoes_everything() {
    let lab = TestLab::start().await;
    let mut child = load(&lab, LONG);
    entries(&lab, &mut child, 3, "injected").await;
    let (_, _, stderr) = lab.sre(&["list"]);
    assert!(!stderr.contains("left behind"), "they have an owner: {stderr}");
    child.kill().unwrap();
    child.wait().unwrap();
    for looking in [["list"], ["status"], ["runs"]] {
        let (_, _, stderr) = lab.sre(&looking);
        assert!(stderr.contains("3 faults left behind by a killed sre: `sre heal`"), "{looking:?}: {stderr}");
        assert_eq!(lab.entries().len(), 3, "{looking:?} has undone something");
    }
    // It begins with it, whatever becomes of it afterwards.
    let (_, _, stderr) = lab.sre(&["load", "no-such-scenario"]);
    let left = format!("left behind by sre {}", child.id());
    for fault in ["kill on users-api-0", "pause on users-api-1", "latency 10ms on users-api-2"] {
        assert!(stderr.contains(&format!("healed {fault}, {left}")), "{stderr}");
    }
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "what a failure was found with")]
async fn killed_at_any_moment_everything_comes_back() {
    let times = std::env::var("SRE_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(10);
    let seed: u64 =
        std::env::var("SRE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(rand::random());
    println!("SRE_SEED={seed} SRE_SOAK={times}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut within = |milliseconds| Duration::from_millis(random.random_range(0..milliseconds));
    let lab = TestLab::start().await;
    let mut mended = 0;
    for time in 1..=times {
        let mut child = load(&lab, RESTLESS);
        entries(&lab, &mut child, 1, "planned").await;
        tokio::time::sleep(within(1600)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let left = lab.entries().len();
        mended += left;
        // The one that mends it is killed, too.
        let mut healer = lab.command(&["heal"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(within(60)).await;
        healer.kill().unwrap();
        healer.wait().unwrap();
        let (code, stdout, stderr) = lab.sre(&["heal"]);
        println!("{time} of {times}: {left} left, then {stdout}");
        assert_eq!(code, 0, "{stdout}{stderr}");
        lab.assert_healed().await;
    }
    assert!(mended > 0, "no kill left anything behind: nothing was tested");
}
