//! Whose `.sre` it is, and how its files are opened: by its owner alone, and never through a link.
//!
//! A folder may come from anywhere: a clone, an archive, a colleague. What is in its `.sre` is looked at, but a
//! link there would have `sre` write to a file of somebody's choice.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// Where `sre` makes files; a link in one of these was put there by somebody else.
const FOLDERS: [&str; 8] = ["", "journal", "jobs", "busy", "runs", "local", "local/logs", "local/rules"];
/// The write bits of the group and of everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Refuses a state folder that this user has not made, or that somebody else may write to.
///
/// # Errors
/// A prerequisite (exit 5), with what to do; it is no error where there is no such folder.
pub fn check(root: &Path) -> Result<()> {
    let refused = || Error::prerequisite(format!("{} cannot be used", root.display()));
    let seen = match fs::symlink_metadata(root) {
        Ok(seen) => seen,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(refused().because(e)),
    };
    if seen.is_symlink() {
        return Err(refused()
            .because_of("it is a symbolic link: what is written there would land elsewhere")
            .hint("delete the link, or work in another folder"));
    }
    if !seen.is_dir() {
        return Err(refused().because_of("it is not a folder").hint("delete it, or work in another folder"));
    }
    let user = rustix::process::geteuid().as_raw();
    if seen.uid() != user {
        return Err(refused()
            .because_of(format!("it belongs to the user with the id {}, and you are {user}", seen.uid()))
            .hint("work in a folder of your own, or delete it"));
    }
    if seen.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(refused()
            .because_of("others may write to it, and it tells what `sre` starts again")
            .hint(format!("chmod -R go-w {}", root.display())));
    }
    match FOLDERS.iter().find_map(|folder| link_in(&root.join(folder))) {
        None => Ok(()),
        Some(link) => Err(refused()
            .because_of(format!("{} is a symbolic link, and sre makes none", link.display()))
            .hint("delete the link, or .sre")),
    }
}

/// Refuses a folder with a link anywhere in it, before a program is started that writes there.
///
/// # Errors
/// A prerequisite (exit 5).
pub fn check_whole(folder: &Path) -> Result<()> {
    if let Some(link) = link_in(folder) {
        return Err(Error::prerequisite(format!("{} cannot be used", folder.display()))
            .because_of(format!("{} is a symbolic link, and sre makes none", link.display()))
            .hint("delete the link"));
    }
    let below = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.try_for_each(|entry| check_whole(&entry.path()))
}

/// The first link in a folder.
fn link_in(folder: &Path) -> Option<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links.next().map(|entry| entry.path())
}

/// Makes a folder and those above it, for its owner alone.
pub fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// How a file of the state is opened: never through a link, and never waiting for the other end of a pipe.
pub fn options() -> OpenOptions {
    let mut options = File::options();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    options
}

/// Begins a file of the state.
pub fn create(path: &Path) -> io::Result<File> {
    regular(options().write(true).create(true).truncate(true).open(path)?)
}

/// Opens a file of the state for reading; an error if it is none.
pub fn open(path: &Path) -> io::Result<File> {
    regular(options().read(true).open(path)?)
}

/// Holds that what was opened is a file, and no device or pipe.
pub fn regular(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")),
    }
}

/// Reads a file of the state.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a file that nobody but this user can have written.
pub fn read_of_this_user(path: &Path) -> io::Result<String> {
    let mut file = open(path)?;
    let seen = file.metadata()?;
    if seen.uid() != rustix::process::geteuid().as_raw() || seen.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may have written it"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a file that was opened, and locked since, is the one that the path leads to still: it may have been
/// replaced or deleted in between, and a lock on what is gone keeps nobody away.
pub fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn refusal(root: &Path) -> String {
        let error = check(root).expect_err("it is refused");
        assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
        error.to_string()
    }

    #[test]
    fn a_folder_of_ones_own_is_used() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path().join(".sre");
        check(&root).expect("there is none yet");
        make(&root.join("journal")).expect("made");
        assert_eq!(fs::metadata(&root).expect("there").mode() & 0o777, 0o700);
        check(&root).expect("it is ours");
    }

    #[test]
    fn what_others_may_write_to_and_links_are_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path().join(".sre");
        make(&root.join("local/logs")).expect("made");
        symlink("/etc", root.join("local/logs/x.log")).expect("a link");
        assert!(refusal(&root).contains("x.log is a symbolic link"));
        fs::remove_file(root.join("local/logs/x.log")).expect("removed");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o775)).expect("changed");
        assert!(refusal(&root).contains("others may write to it"));
        let link = place.path().join("link");
        symlink(&root, &link).expect("a link");
        assert!(refusal(&link).contains("it is a symbolic link"));
        fs::write(place.path().join("file"), "").expect("written");
        assert!(refusal(&place.path().join("file")).contains("it is not a folder"));
    }

    #[test]
    fn nothing_is_opened_through_a_link_and_a_pipe_is_not_waited_for() {
        let place = tempfile::tempdir().expect("a folder");
        let (precious, link) = (place.path().join("precious"), place.path().join("link"));
        fs::write(&precious, "x").expect("written");
        symlink(&precious, &link).expect("a link");
        assert!(options().write(true).open(&link).is_err() && read(&link).is_err());
        let pipe = place.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success() && read(&pipe).is_err());
    }
}
