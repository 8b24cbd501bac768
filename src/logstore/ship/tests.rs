use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::super::otlp::{LogRecord, Value};
use super::follow::{Followed, Piece};
use super::lines::{LONGEST_PIECE, records, whole};
use super::positions::{LogPosition, Positions, PositionsFile};

fn text(record: &LogRecord) -> String {
    match record.body.as_ref().and_then(|body| body.value.clone()) {
        Some(Value::String(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn texts(records: &[LogRecord]) -> Vec<String> {
    records.iter().map(text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// However a text comes in parts, it becomes the same records.
    #[test]
    fn records_do_not_depend_on_how_a_text_comes_in(
        words in prop::collection::vec(("[a-zé\n]{0,6}", 1usize..30_000), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let text: Vec<u8> = words.iter().flat_map(|(word, times)| word.repeat(times / word.len().max(1)).into_bytes()).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let (mut at, mut came) = (0, Vec::new());
        for (number, cut) in cuts.iter().enumerate() {
            let is_last = number + 1 == cuts.len();
            let length = whole(&text[at..*cut], is_last);
            came.extend(records("f", at as u64, &text[at..at + length], 7));
            at += length;
        }
        prop_assert_eq!(at, text.len());
        let at_once = records("f", 0, &text, 7);
        let uids = |records: &[LogRecord]| records.iter().map(|record| format!("{:?}", record.attributes)).collect::<Vec<_>>();
        prop_assert_eq!(uids(&came), uids(&at_once));
        prop_assert_eq!(texts(&came), texts(&at_once));
        let joined: String = texts(&came).concat();
        prop_assert_eq!(joined, String::from_utf8_lossy(&text).replace('\n', ""));
    }
}

#[test]
fn a_line_has_its_own_time_or_that_of_its_reading() {
    let lines =
        b"{\"timestamp\":\"2026-11-28T10:00:00.000001Z\",\"a\":1}\r\n\nplain\n{\"timestamp\": 5}\nlast";
    let records = records("f", 100, lines, 7);
    assert_eq!(
        texts(&records),
        ["{\"timestamp\":\"2026-11-28T10:00:00.000001Z\",\"a\":1}", "plain", "{\"timestamp\": 5}", "last"]
    );
    let times: Vec<u64> = records.iter().map(|record| record.time_unix_nano).collect();
    assert_eq!(times, [1_795_860_000_000_001_000, 59, 65, 82]);
    let uid = |number: usize| format!("{:?}", records[number].attributes[0]);
    assert!(uid(0).contains("f-100") && uid(1).contains("f-152"), "{} {}", uid(0), uid(1));
    assert_eq!(whole(lines, false), lines.len() - 4);
    assert!(
        whole(&[b'x'; LONGEST_PIECE], false) == 0
            && whole(&[b'x'; LONGEST_PIECE + 1], false) == LONGEST_PIECE
    );
}

/// A log, what was sent of it, and how far that was noted down.
struct Bench {
    folder: tempfile::TempDir,
    log: Followed,
    noted: LogPosition,
    /// What a store has: texts by what tells records apart.
    kept: BTreeMap<String, String>,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Followed::new("a", &folder.path().join("a.log"), LogPosition::default());
        Bench { folder, log, noted: LogPosition::default(), kept: BTreeMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    }

    /// Reads, and notes down what is about to be sent.
    fn read(&mut self) -> Vec<Piece> {
        let pieces = self.log.read(1 << 20, 7).expect("readable");
        self.noted = self.log.position();
        pieces
    }

    fn keep(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            for record in records(&piece.id, piece.start, &piece.bytes, piece.read_at) {
                let same = format!("{} {:?}", record.time_unix_nano, record.attributes);
                self.kept.insert(same, text(&record));
            }
        }
    }

    /// Sends all that is there.
    fn ship(&mut self) {
        loop {
            let pieces = self.read();
            if pieces.is_empty() {
                return;
            }
            self.keep(&pieces);
            pieces.iter().for_each(|piece| self.log.sent(piece));
        }
    }

    /// `kill -9`, and a start anew from what was noted.
    fn restart(&mut self) {
        let position: LogPosition =
            serde_json::from_value(serde_json::to_value(&self.noted).expect("JSON")).expect("the same");
        self.log = Followed::new("a", &self.path("a.log"), position);
    }

    #[track_caller]
    fn has(&self, expected: &[&str]) {
        let mut kept: Vec<&str> = self.kept.values().map(String::as_str).collect();
        kept.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(kept, expected);
    }
}

#[test]
fn half_lines_wait_and_equal_lines_are_two() {
    let mut bench = Bench::new();
    bench.ship();
    bench.write("a.log", "one\ntw");
    bench.ship();
    bench.has(&["one"]);
    bench.write("a.log", "o\none\n");
    bench.ship();
    bench.ship();
    bench.has(&["one", "two", "one"]);
}

#[test]
fn what_was_on_its_way_is_sent_again_as_it_was() {
    let mut bench = Bench::new();
    bench.write("a.log", "one\n");
    let pieces = bench.read();
    // It is kept, and the answer is lost.
    bench.keep(&pieces);
    bench.restart();
    bench.write("a.log", "two\n");
    bench.ship();
    bench.ship();
    bench.has(&["one", "two"]);
    // This one was not kept.
    bench.write("a.log", "three\n");
    let _ = bench.read();
    bench.restart();
    bench.ship();
    bench.has(&["one", "two", "three"]);
}

#[test]
fn files_that_are_put_aside_are_read_to_their_ends() {
    let mut bench = Bench::new();
    bench.write("a.log", "1\n");
    bench.ship();
    bench.write("a.log", "2\n");
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).expect("renamed");
    bench.ship();
    bench.write("a.log", "4\n");
    // Who writes still has the old one open.
    bench.write("a.log.1", "3\n");
    bench.ship();
    bench.has(&["1", "2", "3", "4"]);
    // Twice, while nobody followed.
    bench.restart();
    bench.write("a.log", "5\n");
    std::thread::sleep(Duration::from_millis(20));
    fs::rename(bench.path("a.log.1"), bench.path("a.log.3")).expect("renamed");
    fs::rename(bench.path("a.log"), bench.path("a.log.2")).expect("renamed");
    bench.write("a.log.1", "6\n");
    std::thread::sleep(Duration::from_millis(20));
    bench.write("a.log", "7\n");
    bench.write("a.log.4.gz", "packed\n");
    bench.restart();
    bench.ship();
    bench.has(&["1", "2", "3", "4", "5", "6", "7"]);
    // Under any name, such as that of the log of the lab before.
    bench.write("a.log", "8\n");
    fs::rename(bench.path("a.log"), bench.path("a.previous")).expect("renamed");
    bench.write("a.log", "9\n");
    bench.restart();
    bench.ship();
    bench.has(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn old_files_beside_a_new_log_are_left_alone() {
    let mut bench = Bench::new();
    bench.write("a.log.1", "old\n");
    bench.write("a.log", "new\n");
    bench.ship();
    bench.has(&["new"]);
}

#[test]
fn a_file_that_was_emptied_is_read_from_its_beginning() {
    let mut bench = Bench::new();
    bench.write("a.log", "one\ntwo\n");
    bench.ship();
    fs::write(bench.path("a.log"), "").expect("emptied");
    bench.ship();
    bench.write("a.log", "one\n");
    bench.ship();
    bench.has(&["one", "two", "one"]);
    // Emptied and written to beyond the place, unseen.
    fs::write(bench.path("a.log"), "three\nfour\nfive\n").expect("anew");
    bench.ship();
    bench.has(&["one", "two", "one", "three", "four", "five"]);
    // And while what was sent was on its way.
    bench.write("a.log", "six\n");
    let _ = bench.read();
    fs::write(bench.path("a.log"), "seven\neight\nnine\nten\n").expect("anew");
    bench.restart();
    bench.ship();
    assert!(!bench.kept.values().any(|line| line == "six"), "it was gone before it was sent");
    assert_eq!(bench.kept.len(), 10);
}

#[test]
fn positions_are_one_process_s_and_survive() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("positions.json");
    let (file, none) = PositionsFile::open(&path).expect("opened");
    assert_eq!(none, Positions::default());
    assert_eq!(
        PositionsFile::open(&path).expect_err("it is open").to_string(),
        "another process has it open"
    );
    let mut positions = Positions::default();
    positions.logs.insert(Path::new("/a.log").into(), LogPosition { changed: 5, ..LogPosition::default() });
    file.save(&positions).expect("saved");
    drop(file);
    let (file, read) = PositionsFile::open(&path).expect("opened again");
    assert_eq!(read, positions);
    drop(file);
    fs::write(&path, "{").expect("written");
    assert!(PositionsFile::open(&path).is_err());
}
