//! The store: lines in files, and in memory what finds them by stream and time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::entry::{Entry, Labels, identity};
use super::frame;
use super::segment::{Failed, Place, Segment, read};
use crate::locked_file::LockedFile;

/// A store has so many files at the most, so that what is removed at once is a small part of it.
const FILES: u64 = 16;

/// The smallest file that is worth a file of its own, in bytes.
const SMALLEST_FILE: u64 = 64 << 10;

/// So many lines are looked up at once: between two times, others may write.
const AT_ONCE: usize = 1000;

/// Streams at the most: labels that are different for each line, such as a request's id, would fill the memory.
const MOST_STREAMS: usize = 10_000;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Since a line came.
    pub age: Duration,
}

/// What became of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// So many are new.
    pub new: usize,
    /// So many were there already.
    pub known: usize,
}

/// Why lines were not kept.
#[derive(Debug)]
pub enum Refused {
    /// There are too many streams.
    Streams,
    /// They could not be written.
    Disk(io::Error),
}

/// Along time, or against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// A store in a folder, which no other process has at the same time.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    limits: Limits,
    contents: Mutex<Contents>,
    _lock: LockedFile,
}

#[derive(Debug, Default)]
struct Contents {
    segments: BTreeMap<u32, Segment>,
    /// Lines by their time, then in the order in which they came.
    index: BTreeMap<(i64, u64), (u32, Place)>,
    arrivals: u64,
    streams: Vec<Arc<Labels>>,
    by_labels: HashMap<Arc<Labels>, u32>,
}

impl Store {
    /// Opens the store in a folder, which is made where it is not there, and tells what was damaged.
    ///
    /// # Errors
    /// The folder cannot be written or read, or another process has it.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<(Store, Vec<String>)> {
        std::fs::create_dir_all(folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        let lock = LockedFile::lock(lock)?;
        let mut contents = Contents::default();
        let mut told = Vec::new();
        let numbers = Segment::numbers(folder)?;
        for number in &numbers {
            let is_last = Some(number) == numbers.last();
            let opened = Segment::open(folder, *number, is_last)?;
            if opened.damaged > 0 {
                let what = if is_last { "a write that was broken off, cut" } else { "damaged, passed over" };
                told.push(format!(
                    "the last {} bytes of file {number} of the log store are {what}",
                    opened.damaged
                ));
            }
            contents.segments.insert(*number, opened.segment);
            for (entry, place) in opened.entries {
                contents.add(&entry, place);
            }
        }
        if numbers.is_empty() {
            contents.segments.insert(1, Segment::create(folder, 1)?);
        }
        let store =
            Store { folder: folder.to_path_buf(), limits, contents: Mutex::new(contents), _lock: lock };
        store.expire(SystemTime::now())?;
        Ok((store, told))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps lines, and comes back when they are on the disk. A line that is there already, with the same labels,
    /// metadata, time and text, is one and the same: who was not answered may send it again.
    ///
    /// # Errors
    /// Why not all are kept; some may be.
    pub fn append(&self, entries: &[Entry]) -> Result<Appended, Refused> {
        let mut contents = self.contents();
        let mut new: HashSet<u128> = HashSet::new();
        let mut records = Vec::new();
        for entry in entries {
            let record = entry.encode();
            let identity = identity(&record);
            if !contents.has(identity) && new.insert(identity) {
                records.push((entry, record));
            }
        }
        contents.room_for_streams(records.iter().map(|(entry, _)| &entry.stream))?;
        let appended = Appended { new: records.len(), known: entries.len() - records.len() };
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let count = self.make_room(&mut contents, rest).map_err(Refused::Disk)?;
            let (now, later) = rest.split_at(count);
            self.write(&mut contents, now).map_err(Refused::Disk)?;
            rest = later;
        }
        Ok(appended)
    }

    fn write(&self, contents: &mut Contents, records: &[(&Entry, Vec<u8>)]) -> io::Result<()> {
        let bytes: Vec<Vec<u8>> = records.iter().map(|(_, record)| record.clone()).collect();
        let active = contents.active();
        match active.append(&bytes) {
            Ok(places) => {
                for ((entry, _), place) in records.iter().zip(places) {
                    contents.add(entry, place);
                }
                Ok(())
            }
            Err(Failed { error, spoiled }) => {
                if spoiled {
                    self.begin_file(contents)?;
                }
                Err(error)
            }
        }
    }

    /// Sees to a file with room, within the bounds of all files; how many of the records go into it, one at least.
    fn make_room(&self, contents: &mut Contents, records: &[(&Entry, Vec<u8>)]) -> io::Result<usize> {
        let largest = self.largest_file();
        let first = frame::size(&records[0].1);
        if contents.active().bytes + first > largest && !contents.active().identities.is_empty() {
            self.begin_file(contents)?;
        }
        let mut bytes = contents.active().bytes;
        let fits = |(_, record): &&(&Entry, Vec<u8>)| {
            bytes += frame::size(record);
            bytes <= largest
        };
        let count = records.iter().take_while(fits).count().max(1);
        let wanted: u64 = records[..count].iter().map(|(_, record)| frame::size(record)).sum();
        while contents.bytes() + wanted > self.limits.bytes && contents.segments.len() > 1 {
            contents.remove_oldest()?;
        }
        Ok(count)
    }

    fn begin_file(&self, contents: &mut Contents) -> io::Result<()> {
        let number = contents.active().number + 1;
        contents.segments.insert(number, Segment::create(&self.folder, number)?);
        Ok(())
    }

    fn largest_file(&self) -> u64 {
        (self.limits.bytes / FILES).max(SMALLEST_FILE)
    }

    /// Removes what is too old at this time.
    ///
    /// # Errors
    /// A file cannot be removed, or no new one begun.
    pub fn expire(&self, now: SystemTime) -> io::Result<()> {
        let mut contents = self.contents();
        let is_old =
            |segment: &Segment| now.duration_since(segment.written).is_ok_and(|age| age > self.limits.age);
        if is_old(contents.active()) && !contents.active().identities.is_empty() {
            self.begin_file(&mut contents)?;
        }
        let too_large = |contents: &Contents| contents.bytes() > self.limits.bytes;
        while contents.segments.len() > 1
            && (too_large(&contents) || contents.segments.values().next().is_some_and(is_old))
        {
            contents.remove_oldest()?;
        }
        Ok(())
    }

    /// Gives lines of the streams that match, from one time on and before another, until `visit` has enough.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn visit(
        &self,
        matches: &dyn Fn(&Labels) -> bool,
        (from, to): (i64, i64),
        direction: Direction,
        visit: &mut dyn FnMut(Entry) -> bool,
    ) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let mut range = (Bound::Included((from, 0)), Bound::Excluded((to, 0)));
        loop {
            let (found, last) = self.contents().places(matches, range, direction);
            for (file, place) in found {
                if !visit(read(&file, place)?) {
                    return Ok(());
                }
            }
            match (last, direction) {
                (None, _) => return Ok(()),
                (Some(last), Direction::Forward) => range.0 = Bound::Excluded(last),
                (Some(last), Direction::Backward) => range.1 = Bound::Excluded(last),
            }
        }
    }

    /// The streams that have lines from one time on and before another.
    pub fn streams(&self, (from, to): (i64, i64)) -> Vec<Arc<Labels>> {
        let contents = self.contents();
        let mut found = HashSet::new();
        for segment in contents.segments.values() {
            let there = segment.streams.iter().filter(|(_, (first, last))| *first < to && *last >= from);
            found.extend(there.map(|(stream, _)| *stream));
        }
        found.into_iter().map(|stream| contents.streams[stream as usize].clone()).collect()
    }
}

/// The times and arrivals between which lines are looked up.
type Keys = (Bound<(i64, u64)>, Bound<(i64, u64)>);

impl Contents {
    fn active(&mut self) -> &mut Segment {
        self.segments.values_mut().next_back().expect("a store has a file from its opening on")
    }

    fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    fn has(&self, identity: u128) -> bool {
        self.segments.values().any(|segment| segment.identities.contains(&identity))
    }

    fn room_for_streams<'a>(&self, streams: impl Iterator<Item = &'a Arc<Labels>>) -> Result<(), Refused> {
        let new: HashSet<&Arc<Labels>> =
            streams.filter(|labels| !self.by_labels.contains_key(*labels)).collect();
        if self.streams.len() + new.len() > MOST_STREAMS { Err(Refused::Streams) } else { Ok(()) }
    }

    /// Has a line be found, where its record is.
    fn add(&mut self, entry: &Entry, place: Place) {
        let stream = *self.by_labels.entry(entry.stream.clone()).or_insert_with(|| {
            self.streams.push(entry.stream.clone());
            (self.streams.len() - 1) as u32
        });
        self.index.insert((entry.time, self.arrivals), (stream, place));
        self.arrivals += 1;
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.note(stream, entry.time);
        }
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        if let Some((number, segment)) = self.segments.pop_first() {
            self.index.retain(|_, (_, place)| place.segment != number);
            segment.remove()?;
        }
        Ok(())
    }

    /// The next lines' places, and the last key that was looked at where there may be more.
    #[expect(clippy::type_complexity, reason = "two things that are of use together only once")]
    fn places(
        &self,
        matches: &dyn Fn(&Labels) -> bool,
        range: Keys,
        direction: Direction,
    ) -> (Vec<(Arc<File>, Place)>, Option<(i64, u64)>) {
        let wanted: HashSet<u32> = (0..)
            .zip(&self.streams)
            .filter(|(_, labels)| matches(labels))
            .map(|(stream, _)| stream)
            .collect();
        if wanted.is_empty() || !is_range(&range) {
            return (Vec::new(), None);
        }
        let range = self.index.range(range);
        let mut keys: Box<dyn Iterator<Item = _>> = match direction {
            Direction::Forward => Box::new(range),
            Direction::Backward => Box::new(range.rev()),
        };
        let mut found = Vec::new();
        for (key, (stream, place)) in &mut keys {
            if wanted.contains(stream)
                && let Some(segment) = self.segments.get(&place.segment)
            {
                found.push((segment.file.clone(), *place));
                if found.len() == AT_ONCE {
                    return (found, Some(*key));
                }
            }
        }
        (found, None)
    }
}

/// A map's range panics where its end comes before its start.
fn is_range((from, to): &Keys) -> bool {
    match (from, to) {
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from < to
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
