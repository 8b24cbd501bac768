//! One file of the store: lines are appended, and are on the disk before they count.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::entry::{Entry, identity};
use super::frame;

/// What is said of a file's name before its number.
const PREFIX: &str = "lines-";

/// A file with records.
#[derive(Debug)]
pub struct Segment {
    /// Its number; later files have higher ones.
    pub number: u32,
    /// Its size, in bytes.
    pub bytes: u64,
    /// When a line was last added.
    pub written: SystemTime,
    /// The streams that it has lines of: their first and last times.
    pub streams: BTreeMap<u32, (i64, i64)>,
    /// What tells its records apart.
    pub identities: HashSet<u128>,
    /// The file, which those who read hold on to.
    pub file: Arc<File>,
    path: PathBuf,
}

/// Where a record is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The file's number.
    pub segment: u32,
    /// The first byte of the record.
    pub at: u64,
    /// Its length.
    pub length: u32,
}

/// What was found in a file.
pub struct Opened {
    /// The file.
    pub segment: Segment,
    /// Its lines, and where they are.
    pub entries: Vec<(Entry, Place)>,
    /// Bytes at its end, or from its first damaged record on, that are no records.
    pub damaged: u64,
}

impl Segment {
    /// The numbers of the files in a folder, lowest first.
    pub fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for file in std::fs::read_dir(folder)? {
            let name = file?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Creates a file, durably.
    pub fn create(folder: &Path, number: u32) -> io::Result<Segment> {
        let path = path(folder, number);
        let mut file = File::options().read(true).append(true).create_new(true).open(&path)?;
        let begun = file
            .write_all(frame::MAGIC)
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(folder)?.sync_all());
        if let Err(error) = begun {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Segment::new(number, file, frame::MAGIC.len() as u64, SystemTime::now(), path))
    }

    fn new(number: u32, file: File, bytes: u64, written: SystemTime, path: PathBuf) -> Segment {
        let (streams, identities) = Default::default();
        Segment { number, bytes, written, streams, identities, file: Arc::new(file), path }
    }

    /// Reads a file. What is no record any more at its end is cut off where it is the last file: it was being written
    /// when the process or the machine ended, and nobody was told that it is kept.
    pub fn open(folder: &Path, number: u32, is_last: bool) -> io::Result<Opened> {
        let path = path(folder, number);
        let file = File::options().read(true).append(true).open(&path)?;
        let text = std::fs::read(&path)?;
        let (records, whole) = frame::records(&text);
        let damaged = (text.len() - whole) as u64;
        let mut bytes = text.len() as u64;
        // One that was only just created may not even have its beginning.
        if is_last && (damaged > 0 || whole == 0) {
            file.set_len(whole as u64)?;
            if whole == 0 {
                (&file).write_all(frame::MAGIC)?;
            }
            file.sync_all()?;
            bytes = (whole.max(frame::MAGIC.len())) as u64;
        }
        let written = file.metadata()?.modified()?;
        let mut segment = Segment::new(number, file, bytes, written, path);
        let mut entries = Vec::new();
        for range in records {
            let record = &text[range.clone()];
            // Whole, but not of this version of the store.
            let entry = Entry::decode(record).map_err(io::Error::other)?;
            segment.identities.insert(identity(record));
            entries
                .push((entry, Place { segment: number, at: range.start as u64, length: range.len() as u32 }));
        }
        Ok(Opened { segment, entries, damaged })
    }

    /// Adds records, and comes back when they are on the disk; where each of them is.
    ///
    /// # Errors
    /// They could not be written. The file is then as it was before, or must not be written to any more.
    pub fn append(&mut self, records: &[Vec<u8>]) -> Result<Vec<Place>, Failed> {
        let mut bytes = Vec::with_capacity(records.iter().map(|record| frame::size(record) as usize).sum());
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let (at, length) = frame::content(self.bytes + bytes.len() as u64, record);
            places.push(Place { segment: self.number, at, length });
            frame::add(record, &mut bytes);
        }
        if let Err(error) = (&*self.file).write_all(&bytes) {
            let mended = self.file.set_len(self.bytes).and_then(|()| self.file.sync_all()).is_ok();
            return Err(Failed { error, spoiled: !mended });
        }
        if let Err(error) = self.file.sync_data() {
            // What of it is on the disk is not known, and a later success would not tell.
            let _ = self.file.set_len(self.bytes);
            return Err(Failed { error, spoiled: true });
        }
        self.bytes += bytes.len() as u64;
        self.written = SystemTime::now();
        self.identities.extend(records.iter().map(|record| identity(record)));
        Ok(places)
    }

    /// Notes that it has a line of a stream.
    pub fn note(&mut self, stream: u32, time: i64) {
        let (first, last) = self.streams.entry(stream).or_insert((time, time));
        (*first, *last) = ((*first).min(time), (*last).max(time));
    }

    /// Removes it.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Records were not written.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: io::Error,
    /// Whether the file must not be written to any more.
    pub spoiled: bool,
}

/// Reads a record.
pub fn read(file: &File, place: Place) -> io::Result<Entry> {
    let mut record = vec![0; place.length as usize];
    file.read_exact_at(&mut record, place.at)?;
    Entry::decode(&record).map_err(io::Error::other)
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{PREFIX}{number:08}"))
}
