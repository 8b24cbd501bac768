//! A log that does not fill the disk: where stdout is the log of a lab's process, it is put aside once it is long.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::target::local::process::{LAB_MARK, NAME_MARK};
use crate::target::{Folder, own_files};

/// Bytes of a log at the most; there is one more, which was put aside before it.
const LONGEST: u64 = 256 << 20;

/// A file that is written anew when it is long; the one before it stands beside it as `NAME.log.1`.
#[derive(Debug)]
pub struct Rotated {
    file: File,
    path: PathBuf,
    length: u64,
    longest: u64,
    /// Whether a line begins here: none is parted.
    at_start: bool,
}

impl Rotated {
    /// Goes on with the log of this process, if it is a lab's and its stdout is its log.
    pub fn of_stdout() -> Option<Rotated> {
        let (lab, name) = (std::env::var_os(LAB_MARK)?, std::env::var(NAME_MARK).ok()?);
        let path = Folder::at(Path::new(&lab)).log(&name);
        Rotated::of(io::stdout(), &path, LONGEST)
    }

    fn of(stdout: impl AsFd, path: &Path, longest: u64) -> Option<Rotated> {
        let open = rustix::fs::fstat(stdout).ok()?;
        let file = own_files::options().append(true).open(path).ok()?;
        let seen = file.metadata().ok().filter(fs::Metadata::is_file)?;
        let same = (open.st_dev, open.st_ino) == (seen.dev(), seen.ino());
        same.then(|| Rotated { file, path: path.into(), length: seen.len(), longest, at_start: true })
    }

    /// Puts the file aside. Whoever reads it to its end holds it open, or finds it under its other name.
    fn rotate(&mut self) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        fs::rename(&self.path, aside)?;
        self.file = own_files::options().append(true).create(true).open(&self.path)?;
        self.length = 0;
        Ok(())
    }
}

impl Write for Rotated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at_start && self.length > 0 && self.length + bytes.len() as u64 > self.longest {
            // Where it cannot be put aside, a long log is better than none.
            let _ = self.rotate();
        }
        let written = self.file.write(bytes)?;
        self.length += written as u64;
        self.at_start = bytes[..written].ends_with(b"\n");
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_put_aside_between_two_lines_and_nothing_more_than_one_is_kept() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("users-api-0.log");
        let stdout = File::create(&path).expect("a file");
        let mut log = Rotated::of(&stdout, &path, 1000).expect("stdout is the log");
        for number in 0..1000 {
            writeln!(log, "line {number}").expect("written");
        }
        let read = |name: &str| fs::read_to_string(place.path().join(name)).expect("a file");
        let (aside, now) = (read("users-api-0.log.1"), read("users-api-0.log"));
        assert!(aside.len() <= 1000 && now.len() <= 1000 && aside.len() > 900);
        assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 2);
        let lines: Vec<&str> = aside.lines().chain(now.lines()).collect();
        let expected: Vec<String> =
            (1000 - lines.len()..1000).map(|number| format!("line {number}")).collect();
        assert_eq!(lines, expected, "no line is lost between them");
    }

    #[test]
    fn what_is_no_log_of_a_lab_is_left_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let (path, other) = (place.path().join("log"), place.path().join("other"));
        fs::write(&path, "").expect("written");
        let stdout = File::create(&other).expect("a file");
        assert!(Rotated::of(&stdout, &path, 1000).is_none());
        assert!(Rotated::of(&stdout, &place.path().join("none"), 1000).is_none());
    }
}
