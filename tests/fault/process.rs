//! When a process of a lab is dead.

use std::process::Command;

use indexmap::IndexMap;
use sre::target::Folder;
use sre::target::local::process::{self, Spec, State};

use crate::needs::skipped;
use crate::support::wait::until;

/// Ends its first thread, and goes on in another one.
const SCRIPT: &str = "import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)";

#[tokio::test]
async fn one_whose_first_thread_alone_has_ended_is_not_dead() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("threads", "no python3, which can end its first thread alone");
    }
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(&place.path().join(".sre"));
    let spec = Spec {
        name: "threads".into(),
        program: "/usr/bin/env".into(),
        arguments: ["python3", "-c", SCRIPT].map(String::from).into(),
        environment: IndexMap::new(),
        directory: None,
    };
    let started = process::start(&spec, &folder).unwrap();
    until("the end of its first thread", async || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", started.pid)).ok()?;
        stat.contains(") Z ").then_some(())
    })
    .await;
    assert_eq!(process::state(&started), State::Running);
    process::kill(&started).unwrap();
    until("its end", async || (process::state(&started) == State::Dead).then_some(())).await;
}
