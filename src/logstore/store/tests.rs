use proptest::prelude::*;

use super::*;

const LARGE: Limits = Limits { bytes: 64 << 20, age: Duration::from_secs(3600) };
const ALL: (i64, i64) = (i64::MIN, i64::MAX);

fn entry(time: i64, service: &str, line: &str) -> Entry {
    let stream = Arc::new(Labels::from([("service_name".to_owned(), service.to_owned())]));
    Entry { time, stream, metadata: Labels::new(), line: line.into() }
}

fn open(folder: &Path, limits: Limits) -> Store {
    Store::open(folder, limits).expect("a store").0
}

fn lines(store: &Store, direction: Direction) -> Vec<String> {
    let mut lines = Vec::new();
    let mut visit = |entry: Entry| {
        lines.push(entry.line);
        true
    };
    store.visit(&|_| true, ALL, direction, &mut visit).expect("readable");
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However lines are divided, and wherever the file is broken off behind what was acknowledged: who was not answered
    /// sends again, and each line is there once.
    #[test]
    fn no_acknowledged_line_is_lost_or_doubled_wherever_it_breaks_off(
        sizes in prop::collection::vec(1usize..6, 1..8),
        broken in any::<prop::sample::Index>(),
        keep in any::<prop::sample::Index>(),
        garbage in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lines-00000001");
        let mut number = 0;
        let batches: Vec<Vec<Entry>> = sizes.iter().map(|size| (0..*size).map(|_| {
            number += 1;
            entry(number / 3, ["a", "b"][number as usize % 2], &number.to_string())
        }).collect()).collect();
        let broken = broken.index(batches.len());
        let store = open(folder.path(), LARGE);
        let mut acknowledged = frame::MAGIC.len() as u64;
        for batch in &batches[..broken] {
            store.append(batch).expect("kept");
            acknowledged = std::fs::metadata(&file).expect("a file").len();
        }
        // This one is written, in part, and its answer never comes.
        store.append(&batches[broken]).expect("kept");
        drop(store);
        let written = std::fs::read(&file).expect("readable");
        let end = acknowledged as usize + keep.index(written.len() - acknowledged as usize + 1);
        std::fs::write(&file, [&written[..end], &garbage].concat()).expect("written");

        let store = open(folder.path(), LARGE);
        for batch in &batches[broken..] {
            store.append(batch).expect("kept");
        }
        let expected: Vec<String> = (1..=number).map(|number| number.to_string()).collect();
        let mut found = lines(&store, Direction::Forward);
        found.sort_by_key(|line| line.parse::<i64>().expect("a number"));
        prop_assert_eq!(&found, &expected);
        drop(store);
        let (store, told) = Store::open(folder.path(), LARGE).expect("again");
        prop_assert!(told.is_empty(), "{:?}", told);
        prop_assert_eq!(lines(&store, Direction::Forward).len(), expected.len());
    }
}

#[test]
fn lines_come_by_time_and_then_as_they_came() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), LARGE);
    let batch =
        [entry(5, "a", "late"), entry(1, "a", "first"), entry(1, "b", "second"), entry(1, "a", "third")];
    assert_eq!(store.append(&batch).expect("kept"), Appended { new: 4, known: 0 });
    assert_eq!(store.append(&batch[1..]).expect("known"), Appended { new: 0, known: 3 });
    let twice = [entry(9, "a", "same"), entry(9, "a", "same")];
    assert_eq!(store.append(&twice).expect("kept"), Appended { new: 1, known: 1 });
    assert_eq!(lines(&store, Direction::Forward), ["first", "second", "third", "late", "same"]);
    drop(store);
    let store = open(folder.path(), LARGE);
    assert_eq!(lines(&store, Direction::Forward), ["first", "second", "third", "late", "same"]);
    assert_eq!(lines(&store, Direction::Backward), ["same", "late", "third", "second", "first"]);
}

#[test]
fn a_file_that_was_only_just_created_is_written_to() {
    let folder = tempfile::tempdir().expect("a folder");
    for begun in [&b""[..], b"sre"] {
        std::fs::write(folder.path().join("lines-00000001"), begun).expect("written");
        let store = open(folder.path(), LARGE);
        store.append(&[entry(1, "a", "x")]).expect("kept");
        drop(store);
        assert_eq!(lines(&open(folder.path(), LARGE), Direction::Forward), ["x"]);
    }
}

#[test]
fn streams_and_times_select() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), LARGE);
    let many: Vec<Entry> = (0..2500).map(|i| entry(i, ["a", "b"][i as usize % 2], &i.to_string())).collect();
    store.append(&many).expect("kept");
    let mut found = Vec::new();
    let is_b = |labels: &Labels| labels["service_name"] == "b";
    let mut visit = |entry: Entry| {
        found.push(entry.time);
        found.len() < 1100
    };
    store.visit(&is_b, (10, 2490), Direction::Backward, &mut visit).expect("readable");
    assert_eq!((found[0], found[1], found.len()), (2489, 2487, 1100));
    found.clear();
    let mut visit = |entry: Entry| {
        found.push(entry.time);
        true
    };
    store.visit(&is_b, (10, 2490), Direction::Forward, &mut visit).expect("readable");
    assert_eq!((found[0], found.last(), found.len()), (11, Some(&2489), 1240));
    for nothing in [(5, 5), (9, 2)] {
        store.visit(&is_b, nothing, Direction::Forward, &mut |_| panic!("none")).expect("readable");
    }
    let names = |range| {
        let mut names: Vec<String> =
            store.streams(range).iter().map(|labels| labels["service_name"].clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(ALL), ["a", "b"]);
    assert_eq!(names((0, 1)), ["a"]);
    assert!(names((2500, 9999)).is_empty());
}

fn on_disk(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .expect("a folder")
        .map(|file| file.expect("a file").metadata().expect("it").len())
        .sum()
}

#[test]
fn the_oldest_lines_make_room_and_the_disk_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { bytes: 1 << 20, ..LARGE };
    let store = open(folder.path(), limits);
    let text = "x".repeat(1000);
    for batch in 0..40 {
        let batch: Vec<Entry> =
            (0..100).map(|i| entry(batch * 100 + i, "a", &format!("{text}{batch}-{i}"))).collect();
        store.append(&batch).expect("kept");
        assert!(on_disk(folder.path()) <= limits.bytes, "{}", on_disk(folder.path()));
    }
    let kept = lines(&store, Direction::Forward);
    assert!(kept.len() > 800 && kept.len() < 1048, "{}", kept.len());
    assert!(kept.last().expect("lines").ends_with("39-99"), "the newest stay");
    drop(store);
    let store = open(folder.path(), limits);
    assert_eq!(lines(&store, Direction::Forward), kept);
    // One batch that is larger than all that may be kept.
    let batch: Vec<Entry> = (0..3000).map(|i| entry(9000 + i, "a", &format!("{text}{i}"))).collect();
    store.append(&batch).expect("kept");
    assert!(on_disk(folder.path()) <= limits.bytes);
    drop(store);
    // A lower bound than before holds from the opening on.
    let store = open(folder.path(), Limits { bytes: 512 << 10, ..LARGE });
    assert!(on_disk(folder.path()) <= 512 << 10);
    assert!(lines(&store, Direction::Backward)[0].ends_with("x2999"));
}

#[test]
fn what_is_too_old_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), LARGE);
    store.append(&[entry(1, "a", "old")]).expect("kept");
    let now = SystemTime::now();
    store.expire(now + Duration::from_secs(3000)).expect("looked at");
    assert_eq!(lines(&store, Direction::Forward), ["old"]);
    store.expire(now + Duration::from_secs(4000)).expect("removed");
    assert!(lines(&store, Direction::Forward).is_empty());
    assert!(store.streams(ALL).is_empty());
    store.append(&[entry(1, "a", "old")]).expect("kept anew");
    assert_eq!(lines(&store, Direction::Forward), ["old"]);
}

#[test]
fn one_process_has_a_store_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let _store = open(folder.path(), LARGE);
    let error = Store::open(folder.path(), LARGE).expect_err("it is open");
    assert_eq!(error.to_string(), "another process has it open");
}

#[test]
fn damage_in_the_midst_of_it_is_told_and_the_rest_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { bytes: 1 << 20, ..LARGE };
    let store = open(folder.path(), limits);
    let text = "x".repeat(1000);
    let batch: Vec<Entry> = (0..100).map(|i| entry(i, "a", &format!("{text}{i}"))).collect();
    store.append(&batch).expect("kept");
    drop(store);
    let first = folder.path().join("lines-00000001");
    let mut bytes = std::fs::read(&first).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&first, &bytes).expect("written");
    let (store, told) = Store::open(folder.path(), limits).expect("a store");
    assert!(told.len() == 1 && told[0].contains("of file 1 of the log store are damaged"), "{told:?}");
    let kept = lines(&store, Direction::Forward);
    assert!(
        kept.len() > 50 && kept.len() < 100 && kept.last().expect("lines").ends_with("x99"),
        "{}",
        kept.len()
    );
    assert_eq!(std::fs::read(&first).expect("readable"), bytes, "it is left as it is");
}

#[test]
fn labels_that_differ_in_every_line_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), LARGE);
    let many: Vec<Entry> = (0..=MOST_STREAMS).map(|i| entry(1, &i.to_string(), "x")).collect();
    assert!(matches!(store.append(&many), Err(Refused::Streams)));
    assert!(lines(&store, Direction::Forward).is_empty());
    store.append(&many[1..]).expect("kept");
}
