//! A timeline injects and undoes at its times, and undoes everything whatever ends it.

use serde_json::json;
use sre::exit::Exit;
use sre::run::EventKind;
use sre::target::local::process::{self, State};

use crate::lab::TestLab;
use crate::support::wait::until;

/// One of each, on a replica of its own, for longer than any test takes.
const ONE_OF_EACH: &str = "[{fault: kill, at: 0s, for: 1h, replicas: [0]},
    {fault: pause, at: 0s, for: 1h, replicas: [1]},
    {fault: {exceptions: 30%}, at: 0s, for: 1h, replicas: [2]}]";

#[tokio::test(flavor = "multi_thread")]
async fn faults_on_one_replica_are_merged_and_each_ends_at_its_time() {
    let lab = TestLab::start().await;
    let steps = "[{fault: {latency: 10ms}, at: 0s, for: 2s, replicas: [0, 1]},
        {fault: {error-rate: 20%}, at: 0s, for: 2s, replicas: [1]},
        {fault: unready, at: 0s, for: 4s, replicas: [1]}]";
    let mut playing = lab.play(steps, || Some(1700000000.5));
    match playing.next().await {
        EventKind::FaultInjected(fault) => {
            assert_eq!(fault.description, "latency 10ms on users-api-0, users-api-1");
            assert_eq!(fault.prometheus_time, Some(1700000000.5));
            assert_eq!(fault.instances.len(), 2);
        }
        other => panic!("{other:?}"),
    }
    playing.injected("error-rate 20% on users-api-1").await;
    playing.injected("unready on users-api-1").await;
    assert_eq!(lab.entries().len(), 3);
    assert_eq!(lab.switches(0).await, Some(json!({"latency_ms": 10})));
    let all = json!({"latency_ms": 10, "error_rate": 0.2, "unready": true});
    assert_eq!(lab.switches(1).await, Some(all));
    assert_eq!(lab.switches(2).await, Some(json!({})));
    playing.healed("latency 10ms on users-api-0, users-api-1").await;
    playing.healed("error-rate 20% on users-api-1").await;
    assert_eq!(lab.switches(0).await, Some(json!({})));
    assert_eq!(lab.switches(1).await, Some(json!({"unready": true})));
    playing.healed("unready on users-api-1").await;
    playing.task.await.unwrap().unwrap();
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_one_of_two_faults_on_a_replica_leaves_the_other_on_also_where_the_journal_was_deleted() {
    let lab = TestLab::start().await;
    let steps = "[{fault: {latency: 10ms}, at: 0s, for: 2s, replicas: [1]},
        {fault: unready, at: 0s, for: 5s, replicas: [1]},
        {fault: {error-rate: 20%}, at: 3s, for: 1s, replicas: [1]}]";
    let mut playing = lab.play(steps, || None);
    playing.injected("latency 10ms on users-api-1").await;
    playing.injected("unready on users-api-1").await;
    std::fs::remove_dir_all(lab.folder().root().join("journal")).unwrap();
    playing.healed("latency 10ms on users-api-1").await;
    assert_eq!(lab.switches(1).await, Some(json!({"unready": true})));
    // Whoever comes after a `kill -9` of this has to know of it, too.
    let entries = lab.entries();
    assert_eq!(
        entries.iter().map(|entry| &entry["description"]).collect::<Vec<_>>(),
        ["unready on users-api-1"]
    );
    std::fs::remove_dir_all(lab.folder().root().join("journal")).unwrap();
    playing.injected("error-rate 20% on users-api-1").await;
    assert_eq!(lab.switches(1).await, Some(json!({"error_rate": 0.2, "unready": true})));
    playing.healed("error-rate 20% on users-api-1").await;
    assert_eq!(lab.switches(1).await, Some(json!({"unready": true})));
    playing.healed("unready on users-api-1").await;
    playing.task.await.unwrap().unwrap();
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_starts_again_as_it_was_and_a_paused_one_goes_on() {
    let lab = TestLab::start().await;
    let (killed, paused) = (lab.process(0), lab.process(1));
    let steps =
        "[{fault: kill, at: 0s, for: 1s, replicas: [0]}, {fault: pause, at: 0s, for: 1s, replicas: [1]}]";
    let mut playing = lab.play(steps, || None);
    playing.injected("kill on users-api-0").await;
    assert_eq!(process::state(&killed), State::Dead);
    playing.injected("pause on users-api-1").await;
    assert_eq!(process::state(&paused), State::Paused);
    playing.healed("kill on users-api-0").await;
    playing.healed("pause on users-api-1").await;
    playing.task.await.unwrap().unwrap();
    lab.assert_healed().await;
    let back = lab.process(0);
    assert_ne!(back.pid, killed.pid);
    assert_eq!((back.program, back.arguments), (killed.program, killed.arguments));
    assert_eq!(lab.process(1), paused, "it kept its process");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_undoes_everything_at_once_and_tells() {
    let lab = TestLab::start().await;
    let mut playing = lab.play(ONE_OF_EACH, || None);
    for fault in ["kill on users-api-0", "pause on users-api-1", "exceptions 30% on users-api-2"] {
        playing.injected(fault).await;
    }
    playing.interrupt.trigger(Exit::Terminated);
    for fault in ["kill on users-api-0", "pause on users-api-1", "exceptions 30% on users-api-2"] {
        playing.healed(fault).await;
    }
    assert_eq!(playing.task.await.unwrap().unwrap_err().exit(), Exit::Terminated);
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_undoes_everything() {
    let lab = TestLab::start().await;
    let mut playing = lab.play(ONE_OF_EACH, || None);
    for _ in 0..3 {
        assert!(matches!(playing.next().await, EventKind::FaultInjected(_)));
    }
    playing.task.abort();
    assert!(playing.task.await.unwrap_err().is_cancelled());
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_undoes_everything() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let lab = TestLab::start().await;
    let mut playing = lab.play(ONE_OF_EACH, || match ASKED.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => None,
        _ => panic!("on purpose, with a killed and a paused process"),
    });
    playing.injected("kill on users-api-0").await;
    playing.injected("pause on users-api-1").await;
    assert!(playing.task.await.unwrap_err().is_panic());
    // A panic does not wait for what it has started again.
    until("its answer", async || lab.switches(0).await).await;
    lab.assert_healed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_injected_ends_the_run_and_undoes_the_rest() {
    let lab = TestLab::start().await;
    let steps = "[{fault: unready, at: 0s, for: 1h, replicas: [1, 2]}, {fault: kill, at: 1s, for: 1h, replicas: [0]}]";
    let mut playing = lab.play(steps, || None);
    playing.injected("unready on users-api-1, users-api-2").await;
    process::kill(&lab.process(0)).unwrap();
    match playing.next().await {
        EventKind::FaultFailed { fault, error } => {
            assert_eq!(fault.description, "kill on users-api-0");
            assert!(error.contains("it is dead"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    playing.healed("kill on users-api-0").await;
    playing.healed("unready on users-api-1, users-api-2").await;
    let error = playing.task.await.unwrap().unwrap_err();
    assert_eq!(error.exit(), Exit::Target);
    assert_eq!(error.what(), "kill on users-api-0 could not be injected");
    lab.assert_healed().await;
}
