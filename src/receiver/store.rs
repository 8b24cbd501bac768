//! Where the receiver keeps notifications: one JSON document a line, in the order of arrival.
//!
//! The file is the store; in memory there is only where each line begins.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::payload::Kept;
use crate::target::own_files;

/// Notifications in a file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    /// The number of each notification, and where its line begins.
    lines: Vec<(u64, u64)>,
    /// Where the last line ends.
    length: u64,
    /// The number of the next one.
    next: u64,
    /// The file is at most so long: the oldest notifications are dropped.
    most: u64,
}

/// What was kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Added {
    /// Its number.
    pub id: u64,
    /// How many of the oldest were dropped for it.
    pub dropped: usize,
}

/// Some of the lines of a file.
#[derive(Debug)]
pub struct Lines {
    /// The file, at the first of them.
    pub file: File,
    /// Bytes, the last line break among them.
    pub length: u64,
}

impl Store {
    /// Opens the file, and reads what it holds; lines that are damaged, or were broken off by a kill, are dropped.
    pub fn open(path: &Path, most: u64) -> io::Result<Store> {
        if let Some(folder) = path.parent() {
            own_files::make(folder)?;
        }
        let file = open(path)?;
        let mut store = Store { path: path.into(), file, lines: Vec::new(), length: 0, next: 1, most };
        let mut reader = BufReader::new(store.file.try_clone()?);
        let (mut line, mut at, mut good) = (Vec::new(), 0, Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            let whole = line.ends_with(b"\n").then(|| serde_json::from_slice::<Kept>(&line).ok()).flatten();
            if let Some(kept) = whole {
                good.push((kept.id, at, line.len() as u64));
            }
            at += line.len() as u64;
            line.clear();
        }
        store.next = good.last().map_or(1, |(id, ..)| id + 1);
        if good.iter().map(|(.., length)| length).sum::<u64>() == at {
            store.lines = good.into_iter().map(|(id, at, _)| (id, at)).collect();
            store.length = at;
        } else {
            store.rewrite(&good)?;
        }
        Ok(store)
    }

    /// Keeps a notification, whose payload is a JSON object. It is kept only if all of it could be written.
    pub fn keep(&mut self, payload: &[u8]) -> io::Result<Added> {
        let (id, received) = (self.next, Timestamp::now());
        let object = payload.trim_ascii().strip_prefix(b"{").unwrap_or_default().trim_ascii_start();
        let mut line = format!("{{\"id\":{id},\"received\":\"{received}\",").into_bytes();
        // A text in JSON has no line break of its own: each stands between two words.
        line.extend(object.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        line.push(b'\n');
        let dropped = self.make_room(line.len() as u64)?;
        if let Err(error) = self.file.write_all(&line) {
            // What was written of it would be the beginning of the next one's line.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.lines.push((id, self.length));
        self.length += line.len() as u64;
        self.next += 1;
        Ok(Added { id, dropped })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// Those whose number is greater than `after`.
    pub fn since(&self, after: u64) -> io::Result<Lines> {
        let first = self.lines.partition_point(|(id, _)| *id <= after);
        let from = self.lines.get(first).map_or(self.length, |(_, at)| *at);
        let mut file = own_files::open(&self.path)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Lines { file, length: self.length - from })
    }

    /// Drops the older half where there is no room for one more line.
    fn make_room(&mut self, length: u64) -> io::Result<usize> {
        if self.lines.is_empty() || self.length + length <= self.most {
            return Ok(0);
        }
        let room = (self.most / 2).min(self.most.saturating_sub(length));
        let ends = self.lines.iter().skip(1).map(|(_, at)| *at).chain([self.length]);
        let lines: Vec<_> = self.lines.iter().zip(ends).map(|((id, at), end)| (*id, *at, end - at)).collect();
        let first = lines.partition_point(|(_, at, _)| self.length - at > room);
        self.rewrite(&lines[first..])?;
        Ok(first)
    }

    /// Writes the file anew, with these lines of it: their numbers, where they begin, how long they are.
    fn rewrite(&mut self, lines: &[(u64, u64, u64)]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut written = io::BufWriter::new(own_files::create(&beside)?);
        let mut source = own_files::open(&self.path)?;
        let (mut kept, mut length) = (Vec::new(), 0);
        for (id, at, long) in lines {
            source.seek(SeekFrom::Start(*at))?;
            io::copy(&mut (&source).take(*long), &mut written)?;
            kept.push((*id, length));
            length += long;
        }
        written.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        (self.file, self.lines, self.length) = (open(&self.path)?, kept, length);
        Ok(())
    }
}

/// Never through a link: what is kept would land elsewhere.
fn open(path: &Path) -> io::Result<File> {
    own_files::regular(own_files::options().create(true).read(true).append(true).open(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(status: &str) -> String {
        format!("{{\n \"status\": \"{status}\",\r\n \"alerts\": []}}\n")
    }

    fn kept(store: &Store, after: u64) -> Vec<(u64, String)> {
        let mut text = String::new();
        let lines = store.since(after).expect("read");
        lines.file.take(lines.length).read_to_string(&mut text).expect("UTF-8");
        let told = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            (value["id"].as_u64().expect("a number"), value["status"].as_str().expect("a status").to_owned())
        };
        text.lines().map(told).collect()
    }

    #[test]
    fn notifications_outlive_the_receiver_and_broken_lines() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("notifications.ndjson");
        let mut store = Store::open(&path, 1 << 20).expect("opened");
        store.keep(payload("firing").as_bytes()).expect("kept");
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, format!("{{\"id\":\n{text}{{\"id\":2,\"recei")).expect("damaged");

        let mut store = Store::open(&path, 1 << 20).expect("opened again");
        assert_eq!(store.keep(payload("resolved").as_bytes()).expect("kept"), Added { id: 2, dropped: 0 });
        for store in [store, Store::open(&path, 1 << 20).expect("and again")] {
            assert_eq!(kept(&store, 0), [(1, "firing".into()), (2, "resolved".into())]);
            assert_eq!(kept(&store, 1), [(2, "resolved".into())]);
            assert_eq!(kept(&store, 2), []);
        }
    }

    #[test]
    fn nothing_is_kept_through_a_link() {
        let place = tempfile::tempdir().expect("a folder");
        let (precious, link) = (place.path().join("precious"), place.path().join("notifications.ndjson"));
        std::fs::write(&precious, "precious").expect("written");
        std::os::unix::fs::symlink(&precious, &link).expect("a link");
        assert!(Store::open(&link, 1 << 20).is_err());
        assert_eq!(std::fs::read(&precious).expect("read"), b"precious");
    }

    #[test]
    fn the_oldest_are_dropped_where_there_is_no_more_room() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("notifications.ndjson");
        let mut store = Store::open(&path, 1000).expect("opened");
        let dropped: usize =
            (0..50).map(|i| store.keep(payload(&i.to_string()).as_bytes()).expect("kept").dropped).sum();
        assert!(dropped > 0 && store.count() == 50 - dropped && store.count() > 3, "{dropped} were dropped");
        assert!(std::fs::metadata(&path).expect("a file").len() <= 1000);
        let store = Store::open(&path, 1000).expect("opened again");
        assert_eq!(kept(&store, 0).last(), Some(&(50, "49".into())));
        assert_eq!(kept(&store, 0).len(), 50 - dropped);
    }
}
