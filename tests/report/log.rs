//! Event logs that were written, cut off, damaged, or come from another version.

use std::fs;
use std::io::Write;

use sre::run::{EventKind, EventLog, Log, Reporter};

use crate::fixture::*;

#[test]
fn a_log_reads_as_it_was_written() {
    let state = tempfile::tempdir().expect("a folder");
    let run = Run::errors()
        .loaded(overloaded_load())
        .fault("1", "latency 2s", 5.0)
        .verified([short_count(), no_rule()], 1);
    let log = run.write(state.path()).read().expect("a log");
    assert_eq!(log.events, run.events);
    assert_eq!(log.damage, None);
}

/// As after `kill -9` or on a full disk: the file may end at any byte.
#[test]
fn a_log_that_ends_anywhere_is_read_up_to_its_last_whole_line() {
    let state = tempfile::tempdir().expect("a folder");
    let run = Run::errors().load_started().load_finished(load()).verified([counted()], 0);
    let file = run.write(state.path()).events_file();
    let whole = fs::read(&file).expect("a log");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("a line");
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).expect("a shorter log");
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        if length <= first {
            assert_eq!(Log::read(&file).expect_err("no run").exit().code(), 3, "{length} bytes");
            continue;
        }
        let log = Log::read(&file).expect("a log");
        assert_eq!(log.events, run.events[..lines], "{length} bytes");
        assert_eq!(log.damage.is_some(), whole[length - 1] != b'\n', "{length} bytes");
        assert!(log.damage.is_none_or(|damage| damage.cut_off && damage.line == lines + 1));
    }
}

#[test]
fn a_cut_off_log_is_continued_after_its_last_whole_line() {
    let state = tempfile::tempdir().expect("a folder");
    let run = Run::errors().loaded(load());
    let folder = run.write(state.path());
    let mut file = fs::OpenOptions::new().append(true).open(folder.events_file()).expect("the log");
    file.write_all(br#"{"time":"2026-11-21T06:4"#).expect("half a line");
    let whole = run.clone().verified([counted()], 0);
    let mut log = folder.log().expect("a log that can be continued");
    for event in &whole.events[run.events.len()..] {
        log.event(event).expect("a line");
    }
    let read = folder.read().expect("a log");
    assert_eq!((read.events, read.damage), (whole.events, None));
}

#[test]
fn a_log_that_is_damaged_in_the_middle_is_read_up_to_there_and_not_continued() {
    let state = tempfile::tempdir().expect("a folder");
    let folder = pass().write(state.path());
    let lines = fs::read_to_string(folder.events_file()).expect("a log");
    let damaged: String = lines
        .lines()
        .enumerate()
        .map(|(i, line)| if i == 9 { "{\0}\n".into() } else { format!("{line}\n") })
        .collect();
    fs::write(folder.events_file(), damaged).expect("the log");
    let report = sre::report::Report::read(&folder).expect("a report");
    assert_eq!(report.exit, 3);
    assert!(report.notes.iter().any(|note| note.contains("damaged at line 10")), "{:?}", report.notes);
    assert_eq!(folder.log().expect_err("damaged").exit().code(), 3);
}

#[test]
fn events_of_another_version_are_left_out_and_another_schema_is_refused() {
    let state = tempfile::tempdir().expect("a folder");
    let run = pass();
    let folder = run.write(state.path());
    let text = fs::read_to_string(folder.events_file()).expect("a log");
    let new = r#"{"time":"2026-11-21T06:40:13Z","event":"something-new","with":{"9":[1]}}"#;
    let (first, rest) = text.split_once('\n').expect("a line");
    fs::write(folder.events_file(), format!("{first}\n{new}\n{rest}")).expect("the log");
    let log = folder.read().expect("a log");
    assert_eq!((log.events, log.damage), (run.events, None));

    fs::write(folder.events_file(), text.replace("sre.events/v1", "sre.events/v2")).expect("the log");
    let error = folder.read().expect_err("another schema");
    assert_eq!(error.exit().code(), 3);
    assert!(
        error.to_string().contains("its schema is sre.events/v2; this version reads sre.events/v1"),
        "{error}"
    );
}

#[test]
fn one_process_at_a_time_writes_a_log() {
    let state = tempfile::tempdir().expect("a folder");
    let folder = pass().write(state.path());
    assert!(!folder.is_running());
    let log = folder.log().expect("a log");
    assert!(folder.is_running());
    assert_eq!(folder.log().expect_err("it is being written").exit().code(), 2);
    assert_eq!(folder.remove().expect_err("it is being written").exit().code(), 2);
    drop(log);
    folder.remove().expect("nobody writes it");
}

/// `/dev/full` answers every write as a full disk does.
#[test]
fn a_full_disk_ends_the_run_with_exit_5_and_nothing_is_written_after_it() {
    let mut log = EventLog::append(std::path::Path::new("/dev/full")).expect("a log");
    let events = pass().events;
    let error = log.event(&events[0]).expect_err("the disk is full");
    assert_eq!(error.exit().code(), 5);
    let text = error.to_string();
    assert!(text.contains("/dev/full cannot be written") && text.contains("free"), "{text}");
    assert_eq!(log.event(&events[1]).expect_err("there is a hole now").exit().code(), 5);
}

/// What is judged later is the very thing that was told: a label that was changed is another series.
#[test]
fn what_is_judged_from_a_log_is_never_redacted_and_what_is_told_in_words_is() {
    use sre::check::reconcile::{Baseline, BaselineSeries, BaselineTarget};
    let labels = |path: &str| [("path".to_owned(), path.to_owned())].into_iter().collect();
    let baseline = Baseline {
        at: 1.0,
        targets: vec![BaselineTarget {
            labels: labels("http://a:b@c/?token=abc"),
            scraped: 1.0,
            scrape_url: Some("http://c/metrics?token=abc".into()),
            process_started: None,
            series: ["/verify?token=abc", "/verify?token=def"]
                .map(|path| BaselineSeries { labels: labels(path), value: 1.0 })
                .into(),
        }],
        settled: 0.0,
        round: None,
    };
    let state = tempfile::tempdir().expect("a folder");
    let told = EventKind::BaselineTaken(Box::new(baseline));
    let run = Run::errors().event(told).failed("asked http://me:hunter2@c/", 6);
    let folder = run.write(state.path());
    let read = folder.read().expect("a log").events;
    assert_eq!(read[..2], run.events[..2]);
    let text = fs::read_to_string(folder.events_file()).expect("a log");
    assert!(text.contains("token=def") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_run_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let state = tempfile::tempdir().expect("a folder");
    let folder = sre::run::RunFolder::create(state.path(), "errors").expect("a folder");
    let mut log = folder.log().expect("a log");
    log.event(&Run::errors().events[0]).expect("a line");
    folder.save_result(&pass().report()).expect("written");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    for entry in fs::read_dir(folder.path()).expect("a folder").flatten() {
        assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
    }
}
