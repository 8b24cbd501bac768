//! What a killed `sre` left behind here, told to who only looks: nothing is run, connected to or written for it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::figures::counted;
use crate::target::{Folder, own_files, seal};
use crate::terminal::Terminal;

/// Tells in one line what was left behind, if anything was.
pub fn tell(terminal: &Terminal) {
    let Ok(folder) = Folder::unchecked() else { return };
    // Nothing of a folder that is not this user's is read; a command that needs it refuses it.
    if !folder.root().exists() || own_files::check(folder.root()).is_err() {
        return;
    }
    let faults = left(&folder.root().join("journal"));
    let jobs = left(&folder.root().join("jobs"));
    let foreign = faults.foreign + jobs.foreign;
    if faults.own + jobs.own > 0 {
        let parts = [(faults.own, "fault"), (jobs.own, "load")];
        let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(*count, what));
        let what = parts.collect::<Vec<_>>().join(" and ");
        terminal
            .warn(format!("{what} left behind by a killed sre: `sre heal` or the next `sre up` clears that"));
    }
    if foreign > 0 {
        let what = counted(foreign, "file");
        terminal.warn(format!(
            "{what} in .sre that you have not written here: `sre trust` shows them, and nothing of them is run"
        ));
    }
}

/// How many entries of a folder were left behind.
#[derive(Default)]
struct Left {
    own: u64,
    foreign: u64,
}

fn left(folder: &Path) -> Left {
    let mut left = Left::default();
    for path in entries(folder) {
        let Ok(file) = own_files::open(&path) else { continue };
        let inode = file.metadata().map(|seen| seen.ino());
        if inode.is_ok_and(is_locked) {
            continue;
        }
        let Ok(text) = std::io::read_to_string(file) else { continue };
        match seal::verify(&path, &text) {
            Ok(()) => left.own += 1,
            Err(_) => left.foreign += 1,
        }
    }
    left
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

/// Whether somebody holds a lock on a file. Asked of the system, because to try the lock would make another `sre`
/// that tries it at the same moment believe that the entry has an owner.
fn is_locked(inode: u64) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let of = format!(":{inode}");
    locks
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.matches(':').count() == 2))
        .any(|place| place.ends_with(&of))
}
