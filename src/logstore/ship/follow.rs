//! Follows one log: the file that has its path, and those that were put aside under another name before they were read to
//! their ends.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::lines::whole;
use super::positions::{FilePosition, LogPosition, Pending};

/// A file that was put aside is done with when it has not grown for so long: who writes it may open the new one later.
const QUIET: Duration = Duration::from_secs(5);

/// Files that were packed cannot be read as they were written.
const PACKED: [&str; 5] = ["gz", "bz2", "xz", "zst", "lz4"];

/// A log.
#[derive(Debug)]
pub struct Followed {
    /// The name of who writes it.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    files: Vec<OpenFile>,
    changed: i64,
}

#[derive(Debug)]
struct OpenFile {
    position: FilePosition,
    file: File,
    grown: Instant,
}

/// Bytes of one file that are to be sent.
#[derive(Debug)]
pub struct Piece {
    /// What tells the file's lines apart from others.
    pub id: String,
    /// The first byte.
    pub start: u64,
    /// When they were read, in nanoseconds since 1970.
    pub read_at: i64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Which of the log's files.
    file: usize,
}

impl Followed {
    /// Goes on where a log was left; at its beginning where it is new.
    pub fn new(name: &str, path: &Path, position: LogPosition) -> Followed {
        let mut log =
            Followed { name: name.into(), path: path.into(), files: Vec::new(), changed: position.changed };
        // It may have been put aside under any name.
        let found = log.files_beside("");
        for position in position.files {
            let same = found.iter().find(|(_, other)| key(other) == position.file);
            if let Some(file) = same.and_then(|(path, _)| File::open(path).ok())
                && file.metadata().is_ok_and(|now| key(&now) == position.file)
            {
                log.files.push(OpenFile { position, file, grown: Instant::now() });
            }
        }
        log
    }

    /// How far it was sent.
    pub fn position(&self) -> LogPosition {
        let files = self.files.iter().map(|file| file.position.clone()).collect();
        LogPosition { files, changed: self.changed }
    }

    /// Bytes that can be sent now, up to so many of each file; what they begin and end with is noted in its position.
    pub fn read(&mut self, most: usize, now: i64) -> io::Result<Vec<Piece>> {
        self.discover()?;
        self.forget();
        let mut pieces = Vec::new();
        let last = self.files.len().saturating_sub(1);
        for (number, open) in self.files.iter_mut().enumerate() {
            let is_final = number < last && open.grown.elapsed() > QUIET;
            if let Some((bytes, read_at)) = open.read(most, is_final, now)? {
                let changed = open.file.metadata().map(|file| modified(&file)).unwrap_or_default();
                self.changed = self.changed.max(changed);
                let FilePosition { id, offset, .. } = &open.position;
                pieces.push(Piece { id: id.clone(), start: *offset, read_at, bytes, file: number });
            }
        }
        Ok(pieces)
    }

    /// A piece was sent.
    pub fn sent(&mut self, piece: &Piece) {
        self.files[piece.file].position.advance(&piece.bytes);
    }

    /// Finds the file that has the path now, and those that had it in the meantime.
    fn discover(&mut self) -> io::Result<()> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            // It is written later, or is just being put aside.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let is_known = |files: &[OpenFile], key| files.iter().any(|open| open.position.file == key);
        let current = key(&file.metadata()?);
        if is_known(&self.files, current) {
            return Ok(());
        }
        if self.changed > 0 {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            let mut unread = self.files_beside(&name);
            unread.retain(|(path, file)| {
                *path != self.path
                    && !is_packed(path)
                    && modified(file) > self.changed
                    && key(file) != current
                    && !is_known(&self.files, key(file))
            });
            unread.sort_by_key(|(_, file)| modified(file));
            for (path, _) in unread {
                self.begin(File::open(path)?)?;
            }
        }
        self.begin(file)
    }

    fn begin(&mut self, file: File) -> io::Result<()> {
        let position = FilePosition::start(key(&file.metadata()?));
        self.files.push(OpenFile { position, file, grown: Instant::now() });
        Ok(())
    }

    /// Lets go of files that were put aside, were read to their ends, and grow no more.
    fn forget(&mut self) {
        let last = self.files.len().saturating_sub(1);
        let mut number = 0;
        self.files.retain(|open| {
            number += 1;
            number > last || !open.is_done()
        });
    }

    /// The files in its folder, itself among them, whose names begin so.
    fn files_beside(&self, beginning: &str) -> Vec<(PathBuf, Metadata)> {
        let folder = self.path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
        let files = folder.into_iter().flatten().flatten();
        let files = files.filter(|file| file.file_name().to_string_lossy().starts_with(beginning));
        files
            .filter_map(|file| Some((file.path(), file.metadata().ok().filter(Metadata::is_file)?)))
            .collect()
    }
}

impl OpenFile {
    fn is_done(&self) -> bool {
        let size = self.file.metadata().map_or(0, |file| file.len());
        self.position.pending.is_none() && size <= self.position.offset && self.grown.elapsed() > QUIET
    }

    /// Bytes that can be sent, and when they were read.
    fn read(&mut self, most: usize, is_final: bool, now: i64) -> io::Result<Option<(Vec<u8>, i64)>> {
        if let Some(pending) = self.position.pending.clone() {
            // It was on its way when the process ended: the same once more.
            let length = (pending.end - self.position.offset) as usize;
            match self.following(length)? {
                Some(bytes) if bytes.len() == length && crc32fast::hash(&bytes) == pending.checksum => {
                    return Ok(Some((bytes, pending.read_at)));
                }
                _ => self.begin_anew(),
            }
        }
        let mut bytes = match self.following(most)? {
            Some(bytes) => bytes,
            None => {
                self.begin_anew();
                self.following(most)?.unwrap_or_default()
            }
        };
        let is_final = is_final && bytes.len() < most;
        bytes.truncate(whole(&bytes, is_final));
        if bytes.is_empty() {
            return Ok(None);
        }
        self.grown = Instant::now();
        let end = self.position.offset + bytes.len() as u64;
        self.position.pending = Some(Pending { end, checksum: crc32fast::hash(&bytes), read_at: now });
        Ok(Some((bytes, now)))
    }

    /// Up to so many bytes after the position; `None` where what was before it is there no more.
    fn following(&self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let before = &self.position.before;
        let left = self.file.metadata()?.len().saturating_sub(self.position.offset) as usize;
        let mut bytes = vec![0; before.len() + most.min(left)];
        let mut filled = 0;
        let from = self.position.offset - before.len() as u64;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], from + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(filled);
        if !bytes.starts_with(before) {
            return Ok(None);
        }
        Ok(Some(bytes.split_off(before.len())))
    }

    /// The file was emptied, and is written anew.
    fn begin_anew(&mut self) {
        self.position = FilePosition::start(self.position.file);
    }
}

fn key(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn modified(file: &Metadata) -> i64 {
    file.mtime().saturating_mul(1_000_000_000).saturating_add(file.mtime_nsec())
}

fn is_packed(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| PACKED.contains(&extension))
}
