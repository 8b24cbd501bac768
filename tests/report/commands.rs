//! `sre report`, `sre runs` and `sre compare` as the built binary does them.

use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;

use crate::fixture::*;

fn sre(folder: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("sre"));
    command.current_dir(folder).env_remove("SRE_YES").env_remove("SRE_TARGET");
    command
}

/// A folder with two runs: the newest failed.
fn lab() -> tempfile::TempDir {
    let lab = tempfile::tempdir().expect("a folder");
    let state = lab.path().join(".sre");
    pass().write(&state);
    Run::started("20261122-064012-errors").loaded(load()).verified([short_count()], 1).write(&state);
    lab
}

#[test]
fn report_prints_the_newest_run_and_exits_0_whatever_its_verdict() {
    let lab = lab();
    sre(lab.path())
        .arg("report")
        .assert()
        .code(0)
        .stdout(predicate::str::contains("FAIL · 1 check: 1 failed"));
    sre(lab.path())
        .args(["report", "20261121"])
        .assert()
        .code(0)
        .stdout(predicate::str::contains("PASS · 3 checks").and(predicate::str::contains('\x1b').not()));
}

#[test]
fn report_without_a_run_exits_3_and_a_wrong_id_2_with_the_nearest() {
    let empty = tempfile::tempdir().expect("a folder");
    sre(empty.path()).arg("report").assert().code(3).stderr(predicate::str::contains("there is no run"));
    sre(lab().path())
        .args(["report", "20261121-064012-error_"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("The nearest is 20261121-064012-errors"));
}

#[test]
fn report_prints_one_document_for_machines() {
    let lab = lab();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = sre(lab.path()).args(arguments).assert().code(0).get_output().stdout.clone();
        serde_json::from_slice(&output).expect("one JSON document")
    };
    let report = json(&["report", "-o", "json"]);
    assert_eq!((&report["verdict"], &report["requests"]["counted"]), (&"fail".into(), &11_880.into()));
    assert_eq!(json(&["report", "--format", "json"]), report);
    assert_eq!(json(&["runs", "-o", "json"])[1]["run"], "20261121-064012-errors");
    assert_eq!(json(&["compare", "20261121", "latest", "-o", "json"])["checks"][0]["after"], "fail");
}

#[test]
fn report_writes_a_file() {
    let lab = lab();
    sre(lab.path()).args(["report", "--format", "junit", "--out", "junit.xml"]).assert().code(0).stdout("");
    let xml = std::fs::read_to_string(lab.path().join("junit.xml")).expect("the file");
    assert!(xml.starts_with("<?xml") && xml.contains("<failure"), "{xml}");
    sre(lab.path()).args(["report", "--color", "always", "--out", "report.txt"]).assert().code(0);
    let text = std::fs::read_to_string(lab.path().join("report.txt")).expect("the file");
    assert!(!text.contains('\x1b'), "no colours in files: {text}");
    sre(lab.path())
        .args(["report", "--out", "no/such/folder/report.txt"])
        .assert()
        .code(5)
        .stderr(predicate::str::contains("cannot be written"));
}

#[test]
fn colours_are_there_when_asked_for() {
    sre(lab().path()).args(["report", "--color", "always"]).assert().stdout(predicate::str::contains('\x1b'));
}

#[test]
fn a_full_stdout_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let lab = lab();
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin!("sre"))
        .current_dir(lab.path())
        .arg("report")
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("sre runs");
    assert_eq!(status.code(), Some(5));
}

#[test]
fn prune_needs_to_know_what_and_consent() {
    let lab = lab();
    sre(lab.path()).args(["runs", "prune"]).assert().code(2);
    sre(lab.path()).args(["runs", "prune", "--dry-run"]).assert().code(2);
    let ids = || {
        predicate::str::contains("20261121-064012-errors")
            .and(predicate::str::contains("20261122-064012-errors").not())
    };
    sre(lab.path()).args(["runs", "prune", "--keep", "1"]).assert().code(5).stderr(ids());
    sre(lab.path()).args(["runs", "prune", "--keep", "1", "--dry-run"]).assert().code(0).stderr(ids());
    assert_eq!(std::fs::read_dir(lab.path().join(".sre/runs")).expect("runs").count(), 2);
    sre(lab.path()).args(["runs", "prune", "--keep", "1", "--yes"]).assert().code(0).stderr(ids());
    assert_eq!(std::fs::read_dir(lab.path().join(".sre/runs")).expect("runs").count(), 1);
    // The run that is left lies in the future of no clock for long: it is younger than this.
    sre(lab.path()).args(["runs", "prune", "--older-than", "36500d", "--yes"]).assert().code(0);
    sre(lab.path()).arg("report").assert().code(0);
}

#[test]
fn no_runs_are_an_empty_list() {
    let empty = tempfile::tempdir().expect("a folder");
    sre(empty.path()).arg("runs").assert().code(0).stdout("").stderr(predicate::str::contains("no run here"));
    sre(empty.path()).args(["runs", "-o", "json"]).assert().code(0).stdout("[]\n");
}
