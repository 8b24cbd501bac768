//! `sre heal`, and what a command begins with that changes a lab or puts load on it: what was left behind is undone, what a running `sre`
//! holds is not.

use serde_json::{Value, json};
use sre::run::EventKind;
use sre::target::Lab;
use sre::target::local::process::{self, State};

use crate::lab::TestLab;
use crate::support::wait::until;

/// Leaves these faults behind, as an `sre` that was killed does.
async fn leave_behind(lab: &TestLab, steps: &str) {
    let mut playing = lab.play(steps, || None);
    let wanted = steps.matches("fault:").count();
    for _ in 0..wanted {
        assert!(matches!(playing.next().await, EventKind::FaultInjected(_)));
    }
    // The entries as they are on disk, without an owner's lock, after the timeline has undone its own.
    let journal = lab.folder().root().join("journal");
    let entries: Vec<_> = std::fs::read_dir(&journal)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    playing.task.abort();
    let _ = playing.task.await;
    for (path, text) in entries {
        std::fs::write(path, text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fault_there_is_nothing_to_heal() {
    let lab = TestLab::start().await;
    let (code, stdout, stderr) = lab.sre(&["heal"]);
    assert_eq!((code, stdout.as_str()), (0, "nothing to heal: no fault is in the journal\n"), "{stderr}");
    let (code, stdout, _) = lab.sre(&["heal", "-o", "json"]);
    assert_eq!((code, stdout.trim()), (0, "[]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_running_sre_holds_is_healed_only_by_force() {
    let lab = TestLab::start().await;
    let steps =
        "[{fault: pause, at: 0s, for: 1h, replicas: [0]}, {fault: unready, at: 0s, for: 1h, replicas: [1]}]";
    let mut playing = lab.play(steps, || None);
    playing.injected("pause on users-api-0").await;
    playing.injected("unready on users-api-1").await;

    let (code, stdout, _) = lab.sre(&["heal", "-o", "json"]);
    assert_eq!(code, 0);
    let findings: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    assert_eq!(findings.iter().map(|finding| &finding["found"]).collect::<Vec<_>>(), ["held", "held"]);
    assert_eq!(findings[0]["owner"], json!(std::process::id()));
    let (_, _, stderr) = lab.sre(&["load", "no-such-scenario"]);
    assert!(!stderr.contains("healed"), "{stderr}");
    assert_eq!(lab.state(0), State::Paused);
    assert_eq!(lab.switches(1).await, Some(json!({"unready": true})));
    let (code, _, stderr) = lab.sre(&["load", "baseline"]);
    assert_eq!(code, 6, "{stderr}");
    assert!(stderr.contains("a fault is injected in this lab already"), "{stderr}");

    let (code, stdout, _) = lab.sre(&["heal", "--force"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("✔ healed pause on users-api-0"), "{stdout}");
    lab.assert_healed().await;
    // Its owner finds that nothing is left to do, and switches nothing on again while it undoes one after another.
    playing.interrupt.trigger(sre::exit::Exit::Interrupted);
    playing.healed("pause on users-api-0").await;
    playing.healed("unready on users-api-1").await;
    let _ = playing.task.await.unwrap();
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_healed_by_force_is_not_switched_on_again_by_its_owner() {
    let lab = TestLab::start().await;
    let steps = "[{fault: {latency: 10ms}, at: 0s, for: 3s, replicas: [1]},
        {fault: unready, at: 0s, for: 1h, replicas: [1]}]";
    let mut playing = lab.play(steps, || None);
    playing.injected("latency 10ms on users-api-1").await;
    playing.injected("unready on users-api-1").await;
    assert_eq!(lab.sre(&["heal", "--force"]).0, 0);
    lab.assert_healed().await;
    playing.healed("latency 10ms on users-api-1").await;
    lab.assert_healed().await;
    playing.interrupt.trigger(sre::exit::Exit::Interrupted);
    playing.healed("unready on users-api-1").await;
    let _ = playing.task.await.unwrap();
    lab.assert_healed().await;
    let left = std::fs::read_dir(lab.folder().root().join("journal")).unwrap();
    let left: Vec<_> = left.map(|file| file.unwrap().file_name()).filter(|name| name != "lock").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_is_told_and_kept_until_it_can() {
    let lab = TestLab::start().await;
    leave_behind(&lab, "[{fault: unready, at: 0s, for: 1h, replicas: [2]}]").await;
    process::pause(&lab.process(2)).unwrap();
    let (code, stdout, stderr) = lab.sre(&["heal"]);
    assert_eq!(code, 6, "{stdout}{stderr}");
    assert!(stdout.contains("✘ could not heal unready on users-api-2"), "{stdout}");
    assert!(stdout.contains("because: the fault switches at http://127.0.0.1:"), "{stdout}");
    assert_eq!(lab.entries()[0]["state"], "failed");
    let (code, _, stderr) = lab.sre(&["load", "baseline"]);
    assert_eq!(code, 6);
    assert!(stderr.contains("warning: could not heal unready on users-api-2"), "{stderr}");
    process::resume(&lab.process(2)).unwrap();
    let (code, stdout, _) = lab.sre(&["heal"]);
    assert_eq!(code, 0, "{stdout}");
    let (code, stdout, _) = lab.sre(&["heal"]);
    assert_eq!((code, stdout.starts_with("nothing to heal")), (0, true));
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_is_told_and_kept() {
    let lab = TestLab::start().await;
    leave_behind(&lab, "[{fault: unready, at: 0s, for: 1h, replicas: [2]}]").await;
    let broken = lab.folder().root().join("journal/broken.json");
    std::fs::write(&broken, "{").unwrap();
    let (code, stdout, _) = lab.sre(&["heal"]);
    assert_eq!(code, 6);
    assert!(stdout.contains("✔ healed unready on users-api-2"), "{stdout}");
    assert!(stdout.contains("✘ could not heal an entry that cannot be read: broken"), "{stdout}");
    std::fs::remove_file(&broken).unwrap();
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_with_its_process_is_healed() {
    let lab = TestLab::start().await;
    let steps =
        "[{fault: unready, at: 0s, for: 1h, replicas: [0]}, {fault: pause, at: 0s, for: 1h, replicas: [1]}]";
    leave_behind(&lab, steps).await;
    for number in [0, 1] {
        process::kill(&lab.process(number)).unwrap();
        until("it is dead", async || (lab.state(number) == State::Dead).then_some(())).await;
    }
    let (code, stdout, _) = lab.sre(&["heal"]);
    assert_eq!(code, 0, "{stdout}");
    assert_eq!(lab.entries(), Vec::<Value>::new());
    assert_eq!([lab.state(0), lab.state(1)], [State::Dead, State::Dead], "no fault killed them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_somebody_started_again_is_left_alone() {
    let lab = TestLab::start().await;
    leave_behind(&lab, "[{fault: kill, at: 0s, for: 1h, replicas: [0]}]").await;
    let process = lab.process(0);
    let (code, ..) = lab.sre(&["heal"]);
    assert_eq!((code, lab.entries().len()), (0, 0));
    assert_eq!(lab.process(0), process);
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_lab_that_was_taken_down_nothing_is_started() {
    let lab = TestLab::start().await;
    leave_behind(&lab, "[{fault: kill, at: 0s, for: 1h, replicas: [0]}]").await;
    process::kill(&lab.process(0)).unwrap();
    until("it is dead", async || (lab.state(0) == State::Dead).then_some(())).await;
    let recorded = lab.recorded();
    Lab::remove(lab.folder().root()).unwrap();
    let (code, ..) = lab.sre(&["heal"]);
    assert_eq!((code, lab.entries().len()), (0, 0));
    assert_eq!(process::marked(&lab.folder()).len(), 2);
    recorded.save(lab.folder().root()).unwrap();
}
