//! The seal of what `sre` writes down to run again: only what this user wrote, in this folder, is run.
//!
//! A file with a seal is a JSON object whose last member is `seal`: HMAC-SHA256, with a key that only this user can
//! read, over the file's path and its text with an empty seal. A file that came with a folder has none, or another.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use serde::Serialize;
use serde_json::Value;

use super::own_files;
use crate::digest::hex;
use crate::error::{Error, Result};

/// Bytes of a key.
const KEY_LENGTH: usize = 32;
/// What the key is used for; another use would have another text.
const PURPOSE: &str = "sre.seal/v1";

/// The text of a document, with this user's seal for this path.
///
/// # Errors
/// A prerequisite (exit 5) where the user's key cannot be read or made.
pub fn sealed(path: &Path, document: &impl Serialize) -> Result<String> {
    let unsealed = text_without_seal(path, document)?;
    let seal = hex(hmac::sign(&key()?, &message(path, &unsealed)));
    Ok(with_seal(&unsealed, &seal))
}

/// Holds that a text is one that this user wrote at this path.
///
/// # Errors
/// A prerequisite (exit 5), with what to do, where it is not; or where the user's key cannot be read.
pub fn verify(path: &Path, text: &str) -> Result<()> {
    let refused = |why: &str| {
        Error::prerequisite(format!("{} is not taken from where it lies", path.display()))
            .because_of(why)
            .hint("sre trust shows what is in it and makes it yours; or delete it")
    };
    let unreadable = "it has no seal: you have not written it with this sre";
    let parsed: Value = serde_json::from_str(text).map_err(|_| refused(unreadable))?;
    let seal = parsed.get("seal").and_then(Value::as_str).ok_or_else(|| refused(unreadable))?;
    let member = format!("\"seal\": \"{seal}\"");
    let at = text.rfind(&member).ok_or_else(|| refused(unreadable))?;
    let unsealed = format!("{}{EMPTY}{}", &text[..at], &text[at + member.len()..]);
    let given = bytes(seal).ok_or_else(|| refused(unreadable))?;
    // Who only looks makes no key: where there is none, nothing was ever sealed.
    let Some(key) = existing_key()? else { return Err(refused(unreadable)) };
    hmac::verify(&key, &message(path, &unsealed), &given).map_err(|_| {
        refused(
            "its seal is not of your key for this path: somebody else wrote it, it was changed, or the folder was copied or moved",
        )
    })
}

/// The member before it is filled in.
const EMPTY: &str = "\"seal\": \"\"";

fn text_without_seal(path: &Path, document: &impl Serialize) -> Result<String> {
    let failed =
        |e: serde_json::Error| Error::target(format!("{} cannot be written", path.display())).because(e);
    let mut value = serde_json::to_value(document).map_err(failed)?;
    if let Value::Object(members) = &mut value {
        members.shift_remove("seal");
        members.insert("seal".into(), Value::String(String::new()));
    }
    serde_json::to_string_pretty(&value).map_err(failed)
}

fn with_seal(unsealed: &str, seal: &str) -> String {
    match unsealed.rfind(EMPTY) {
        Some(at) => format!("{}\"seal\": \"{seal}\"{}", &unsealed[..at], &unsealed[at + EMPTY.len()..]),
        None => unsealed.to_owned(),
    }
}

/// What is signed. The folder by its real path, so that links above it make no difference.
fn message(path: &Path, unsealed: &str) -> Vec<u8> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    let place = folder.join(path.file_name().unwrap_or_default());
    let mut message = PURPOSE.as_bytes().to_vec();
    for part in [place.as_os_str().as_encoded_bytes(), unsealed.as_bytes()] {
        message.extend((part.len() as u64).to_be_bytes());
        message.extend(part);
    }
    message
}

/// This user's key, made where there is none yet.
fn key() -> Result<hmac::Key> {
    let path = key_path()?;
    match existing_key()? {
        Some(key) => Ok(key),
        None => make_key(&path)
            .and_then(|()| read_key(&path))
            .map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key))
            .map_err(|e| unusable(&path, e)),
    }
}

/// This user's key, where there is one.
fn existing_key() -> Result<Option<hmac::Key>> {
    let path = key_path()?;
    match read_key(&path) {
        Ok(key) => Ok(Some(hmac::Key::new(hmac::HMAC_SHA256, &key))),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(unusable(&path, e)),
    }
}

fn unusable(path: &Path, cause: io::Error) -> Error {
    Error::prerequisite(format!("your key {} cannot be used", path.display())).because(cause).hint(
        "give yourself the right to read and write there, or: export XDG_STATE_HOME=/some/folder/of/yours",
    )
}

/// `$XDG_STATE_HOME/sre/key`, else `~/.local/state/sre/key`.
fn key_path() -> Result<PathBuf> {
    state_folder().map(|folder| folder.join("key"))
}

/// Where `sre` keeps what is this user's alone: `$XDG_STATE_HOME/sre`, else `~/.local/state/sre`.
///
/// # Errors
/// A prerequisite (exit 5) where there is no such place.
pub fn state_folder() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_STATE_HOME").map(PathBuf::from) {
        Some(base) if base.is_absolute() => base,
        _ => std::env::home_dir()
            .filter(|home| !home.as_os_str().is_empty())
            .ok_or_else(|| {
                Error::prerequisite("there is no folder for what is yours alone, such as your key")
                    .because_of("neither XDG_STATE_HOME nor HOME is set")
                    .hint("export XDG_STATE_HOME=/some/folder/of/yours")
            })?
            .join(".local/state"),
    };
    Ok(base.join("sre"))
}

fn read_key(path: &Path) -> io::Result<Vec<u8>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let file = own_files::open(path)?;
    let seen = file.metadata()?;
    if seen.uid() != rustix::process::geteuid().as_raw() {
        return Err(wrong("it belongs to another user"));
    }
    if seen.mode() & 0o077 != 0 {
        return Err(wrong("others may read it: chmod 600, or delete it"));
    }
    let text = io::read_to_string(file)?;
    bytes(text.trim()).filter(|key| key.len() == KEY_LENGTH).ok_or_else(|| wrong("it is no key: delete it"))
}

/// Makes a key, unless another `sre` has made one meanwhile.
fn make_key(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    own_files::make(folder)?;
    let mut key = [0; KEY_LENGTH];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let mut file = tempfile::Builder::new().prefix("new-").tempfile_in(folder)?;
    writeln!(file, "{}", hex(key))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => Err(e.error),
        _ => Ok(()),
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_sealed_here_and_not_changed_since_is_taken() {
        let (here, elsewhere) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let path = here.path().join("lab.json");
        let text =
            sealed(&path, &json!({"program": "/bin/true", "share": 0.1, "seal": "planted"})).expect("sealed");
        verify(&path, &text).expect("it is ours");
        let parsed: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(parsed["program"], "/bin/true");
        let changed = text.replace("true", "evil");
        let compact = parsed.to_string();
        let other = "{\"program\": \"/bin/evil\", \"seal\": \"00\"}";
        for foreign in [changed.as_str(), &compact, other, "{}", "", "[1]"] {
            let error = verify(&path, foreign).expect_err(foreign);
            assert_eq!(error.exit(), crate::exit::Exit::Prerequisite, "{error}");
            assert!(error.to_string().contains("sre trust"), "{error}");
        }
        assert!(verify(&elsewhere.path().join("lab.json"), &text).is_err(), "the folder was copied");
        assert!(verify(&here.path().join("other.json"), &text).is_err(), "the file was renamed");
    }

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("sre/key");
        make_key(&path).expect("made");
        let key = read_key(&path).expect("read");
        make_key(&path).expect("there already");
        assert_eq!(read_key(&path).expect("read again"), key);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("changed");
        assert!(read_key(&path).expect_err("others may read it").to_string().contains("others may read it"));
    }
}
