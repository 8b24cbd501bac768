//! How far each log was sent, in a file that is replaced as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::locked_file::LockedFile;

/// How many bytes before a position must still be there: else it is another file.
pub const REMEMBERED: usize = 64;

/// How far each log was sent, by its path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// The logs.
    pub logs: BTreeMap<PathBuf, LogPosition>,
}

/// How far a log was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// Its files that are not done with, oldest first; the last has its path, or had it.
    pub files: Vec<FilePosition>,
    /// When a file was last changed of which something was read, in nanoseconds since 1970: files that were put aside
    /// unread are newer.
    pub changed: i64,
}

/// How far a file was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// What tells its lines apart from those of all other files.
    pub id: String,
    /// Its device and inode.
    pub file: (u64, u64),
    /// So many bytes were sent.
    pub offset: u64,
    /// The last of these.
    pub before: Vec<u8>,
    /// What is being sent.
    pub pending: Option<Pending>,
}

/// What is being sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Up to this byte.
    pub end: u64,
    /// A checksum of it.
    pub checksum: u32,
    /// When it was read, in nanoseconds since 1970.
    pub read_at: i64,
}

impl FilePosition {
    /// The beginning of a file.
    pub fn start(file: (u64, u64)) -> FilePosition {
        let id = uuid::Uuid::new_v4().simple().to_string();
        FilePosition { id: id[..12].to_owned(), file, offset: 0, before: Vec::new(), pending: None }
    }

    /// These bytes were sent.
    pub fn advance(&mut self, sent: &[u8]) {
        self.offset += sent.len() as u64;
        self.pending = None;
        self.before.extend(&sent[sent.len().saturating_sub(REMEMBERED)..]);
        self.before.drain(..self.before.len().saturating_sub(REMEMBERED));
    }
}

/// The file with the positions, which no other process has at the same time.
#[derive(Debug)]
pub struct PositionsFile {
    path: PathBuf,
    _lock: LockedFile,
}

impl PositionsFile {
    /// Opens it, and reads what it says; nothing where it is not there.
    ///
    /// # Errors
    /// It cannot be read, or another process has it.
    pub fn open(path: &Path) -> io::Result<(PositionsFile, Positions)> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let lock =
            File::options().create(true).truncate(false).write(true).open(path.with_extension("lock"))?;
        let lock = LockedFile::lock(lock)?;
        let positions = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Positions::default(),
            Err(e) => return Err(e),
        };
        Ok((PositionsFile { path: path.to_path_buf(), _lock: lock }, positions))
    }

    /// Replaces what it says, durably.
    pub fn save(&self, positions: &Positions) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(positions)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(folder)?.sync_all()
    }
}
