//! Secrets: files name the environment variables that hold them, and only this user says which of these are sent.
//!
//! `${env:NAME}` stands for a secret in headers and bodies, a bare name in `credentials`. It is kept as a name in every
//! file, read at the last moment, and taken out of all that is told by its value.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, Result};
use crate::http_client::is_loopback;
use crate::target::{own_files, seal};

/// Variables that begin so are there for `sre`: any file may name them.
pub const PREFIX: &str = "SRE_SECRET_";

/// What begins a placeholder; `$${env:` is the text itself.
const OPEN: &str = "${env:";
/// Shorter values are not looked for in texts: they would be found everywhere.
const SHORTEST: usize = 4;
/// A value of so many bytes is no part of a word by chance.
const CERTAIN: usize = 12;

/// What this process knows of secrets.
#[derive(Default)]
struct State {
    /// Names that the command line allows.
    allowed: BTreeSet<String>,
    /// Whether secrets may go over plain http to other machines.
    plain_http: bool,
    /// Values that the leader of a load gave this worker.
    given: Secrets,
    /// Each text that tells a secret, and its name.
    known: BTreeMap<String, String>,
}

static STATE: LazyLock<RwLock<State>> = LazyLock::new(RwLock::default);

fn state() -> RwLockReadGuard<'static, State> {
    STATE.read().unwrap_or_else(PoisonError::into_inner)
}

fn change() -> RwLockWriteGuard<'static, State> {
    STATE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Secrets by their names.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(BTreeMap<String, String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Allows variables for as long as this process lives: this user has named them.
pub fn allow<T: Into<String>>(names: impl IntoIterator<Item = T>) {
    change().allowed.extend(names.into_iter().map(Into::into));
}

/// Lets secrets go over plain http to other machines, too: this user wants it.
pub fn allow_plain_http() {
    change().plain_http = true;
}

/// Takes the secrets that the leader of a load has read, and has been allowed to.
pub fn take(secrets: Secrets) {
    change().given.0.extend(secrets.0);
}

/// The secrets that texts name, for a worker that does not have this environment.
///
/// # Errors
/// As [`read`].
pub fn collect<'a>(texts: impl IntoIterator<Item = &'a str>, whom: &str) -> Result<Secrets> {
    let mut secrets = BTreeMap::new();
    for text in texts {
        for name in names(text).map_err(Error::usage)? {
            secrets.insert(name.to_owned(), read(name, whom)?);
        }
    }
    Ok(Secrets(secrets))
}

/// The variables that a text names.
///
/// # Errors
/// A placeholder that names none, in words.
pub fn names(text: &str) -> Result<Vec<&str>, String> {
    Ok(pieces(text)?.into_iter().filter_map(|piece| piece.variable()).collect())
}

/// Whether a text names a variable.
pub fn names_any(text: &str) -> bool {
    names(text).is_ok_and(|names| !names.is_empty())
}

/// The text with what its variables hold, for `whom`.
///
/// # Errors
/// Usage (exit 2) for a placeholder that names no variable; else as [`read`].
pub fn resolve<'a>(text: &'a str, whom: &str) -> Result<Cow<'a, str>> {
    if !text.contains(OPEN) {
        return Ok(Cow::Borrowed(text));
    }
    let mut resolved = String::with_capacity(text.len());
    for piece in pieces(text).map_err(Error::usage)? {
        match piece {
            Piece::Text(text) => resolved.push_str(text),
            Piece::Variable(name) => resolved.push_str(&read(name, whom)?),
        }
    }
    Ok(Cow::Owned(resolved))
}

/// What a variable holds, for `whom`; from now on no text that is told has it.
///
/// # Errors
/// A prerequisite (exit 5) where this user has not allowed it, or it is not set.
pub fn read(name: &str, whom: &str) -> Result<String> {
    let value = read_name(name, whom)?;
    know(&value, variable(name));
    Ok(value)
}

/// As [`read`], of what is no secret by itself, such as a user's name.
///
/// # Errors
/// As [`read`].
pub fn read_name(name: &str, whom: &str) -> Result<String> {
    let name = variable(name);
    if let Some(value) = state().given.0.get(name).cloned() {
        return Ok(value);
    }
    if !is_allowed(name) {
        return Err(Error::prerequisite(format!("the environment variable {name} is sent to nobody"))
            .because_of(format!("a file names it for {whom}, and you have not allowed that"))
            .hint(format!(
                "sre trust --env {name} allows it in this folder, --allow-env {name} this once; a name that begins with {PREFIX} is allowed"
            )));
    }
    std::env::var(name).map_err(|_| {
        Error::prerequisite(format!("the environment variable {name} is not set"))
            .because_of(format!("it was named for {whom}"))
            .hint(format!("export {name}=…"))
    })
}

/// Holds that what has secrets in it may go to a server.
///
/// # Errors
/// A prerequisite (exit 5) where it would go over plain http to another machine.
pub fn may_go_to(url: &Url, whom: &str) -> Result<()> {
    let state = state();
    if url.scheme() != "http" || is_loopback(url) || state.plain_http || !state.given.0.is_empty() {
        return Ok(());
    }
    Err(Error::prerequisite(format!("no secret is sent to {whom} on {url}"))
        .because_of("it would go over plain http to another machine: whoever is between can read it")
        .hint("name an https:// address; or say --allow-plain-http where you trust the network"))
}

/// The text with the name of each secret in place of its value.
pub fn redact(text: &str) -> Cow<'_, str> {
    let state = state();
    let mut found: Vec<(&String, &String)> =
        state.known.iter().filter(|(value, _)| text.contains(value.as_str())).collect();
    // One may be a part of another.
    found.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    found.into_iter().fold(Cow::Borrowed(text), |text, (value, name)| {
        Cow::Owned(without(&text, value, &format!("{OPEN}{name}}}")))
    })
}

/// The text with `name` in place of a value, where that is no part of a longer word: a short one may be one of many.
fn without(text: &str, value: &str, name: &str) -> String {
    let in_word = |c: Option<char>| value.len() < CERTAIN && c.is_some_and(char::is_alphanumeric);
    let (mut clean, mut done) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices(value) {
        let after = at + value.len();
        if in_word(text[..at].chars().next_back()) || in_word(text[after..].chars().next()) {
            continue;
        }
        clean.push_str(&text[done..at]);
        clean.push_str(name);
        done = after;
    }
    clean.push_str(&text[done..]);
    clean
}

/// Remembers what tells a user and a password together: `Authorization: Basic …`.
pub fn know_pair(user: &str, password: &str, name: &str) {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    change().known.insert(pair, variable(name).to_owned());
}

/// Remembers a value in each way in which texts show it.
fn know(value: &str, name: &str) {
    if value.len() < SHORTEST {
        return;
    }
    let quoted = serde_json::Value::from(value).to_string();
    let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let mut state = change();
    for text in [value, &quoted[1..quoted.len() - 1], &encoded, &encoded.replace('+', "%20"), value.trim()] {
        if text.len() >= SHORTEST {
            state.known.insert(text.to_owned(), name.to_owned());
        }
    }
}

/// Whether this can be the name of a variable.
pub fn is_variable(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| letters(c) && !c.is_ascii_digit()) && name.chars().all(letters)
}

/// The name in `${env:NAME}`, or the name as it is.
fn variable(text: &str) -> &str {
    text.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix('}')).unwrap_or(text)
}

#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

impl<'a> Piece<'a> {
    fn variable(&self) -> Option<&'a str> {
        match self {
            Piece::Text(_) => None,
            Piece::Variable(name) => Some(name),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(OPEN) {
        if rest[..at].ends_with('$') {
            pieces.push(Piece::Text(&rest[..at - 1]));
            pieces.push(Piece::Text(OPEN));
            rest = &rest[at + OPEN.len()..];
            continue;
        }
        pieces.push(Piece::Text(&rest[..at]));
        let (name, after) = rest[at + OPEN.len()..]
            .split_once('}')
            .filter(|(name, _)| is_variable(name))
            .ok_or("`${env:` is followed by the name of an environment variable and `}`; write `$${env:` for the text itself")?;
        pieces.push(Piece::Variable(name));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// What a user has allowed in a folder.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Remembered {
    folder: PathBuf,
    variables: BTreeSet<String>,
}

fn is_allowed(name: &str) -> bool {
    name.starts_with(PREFIX) || state().allowed.contains(name) || remembered().variables.contains(name)
}

/// Allows variables in this folder from now on, in this user's own state.
///
/// # Errors
/// A prerequisite (exit 5) where that cannot be written.
pub fn remember(names: &[String]) -> Result<()> {
    let folder = here()?;
    let path = remembered_file(&folder)?;
    let failed =
        |e: std::io::Error| Error::prerequisite(format!("{} cannot be written", path.display())).because(e);
    let mut all = Remembered { folder, ..remembered() };
    all.variables.extend(names.iter().cloned());
    let text = serde_json::to_string_pretty(&all).map_err(|e| failed(e.into()))?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    own_files::make(parent).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.persist(&path).map_err(|e| failed(e.error))?;
    allow(names.iter().cloned());
    Ok(())
}

/// What was allowed in this folder; nothing where that cannot be told.
fn remembered() -> Remembered {
    let read = || {
        let folder = here().ok()?;
        let text = own_files::read_of_this_user(&remembered_file(&folder).ok()?).ok()?;
        serde_json::from_str::<Remembered>(&text).ok().filter(|found| found.folder == folder)
    };
    read().unwrap_or_default()
}

fn here() -> Result<PathBuf> {
    std::env::current_dir()
        .and_then(std::fs::canonicalize)
        .map_err(|e| Error::prerequisite("the current folder cannot be told").because(e))
}

fn remembered_file(folder: &Path) -> Result<PathBuf> {
    let name = crate::digest::of_reader(folder.as_os_str().as_encoded_bytes())
        .map_err(|e| Error::prerequisite("the current folder has no digest").because(e))?;
    Ok(seal::state_folder()?.join("env").join(name + ".json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_at_its_variables() {
        assert_eq!(names("Bearer ${env:SRE_SECRET_A}/${env:B}"), Ok(vec!["SRE_SECRET_A", "B"]));
        assert_eq!(names("${key} $ {env:A} $${env:A}"), Ok(vec![]));
        assert_eq!(resolve("a $${env:A} b", "x").expect("a text"), "a ${env:A} b");
        for wrong in ["${env:}", "${env:A B}", "${env:A", "${env:1A}", "${env:A-B}"] {
            assert!(names(wrong).is_err(), "{wrong}");
            assert_eq!(resolve(wrong, "x").expect_err(wrong).exit(), crate::exit::Exit::Usage);
        }
    }

    #[test]
    fn what_nobody_allowed_is_not_read_though_it_is_set() {
        // Cargo sets it for every test.
        let error = read("CARGO_MANIFEST_DIR", "Prometheus").expect_err("not allowed");
        assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
        assert!(error.to_string().contains("--allow-env CARGO_MANIFEST_DIR"), "{error}");
        let error = read("SRE_SECRET_NOBODY_HAS_SET", "Prometheus").expect_err("not set");
        assert!(error.to_string().contains("is not set"), "{error}");
    }

    #[test]
    fn a_value_that_was_read_is_told_by_its_name_in_every_way_that_it_is_written() {
        know("hunter two/\"3\"", "SRE_SECRET_X");
        know_pair("me", "hunter two/\"3\"", "SRE_SECRET_X");
        for text in [
            "it said hunter two/\"3\"!",
            r#"{"a":"hunter two/\"3\""}"#,
            "GET /?a=hunter+two%2F%223%22",
            "GET /?a=hunter%20two%2F%223%22",
            "Authorization: Basic bWU6aHVudGVyIHR3by8iMyI=",
        ] {
            let clean = redact(text);
            assert!(clean.contains("${env:SRE_SECRET_X}") && !clean.contains("hunter"), "{clean}");
        }
        know("abc", "SRE_SECRET_SHORT");
        know("zyxw", "SRE_SECRET_WORD");
        assert_eq!(redact("abc and azyxw"), "abc and azyxw");
        assert_eq!(redact("a zyxw, zyxws"), "a ${env:SRE_SECRET_WORD}, zyxws");
    }

    #[test]
    fn a_secret_stays_on_this_machine_or_is_encrypted() {
        for fine in
            ["http://127.0.0.1:9090", "http://localhost:1", "http://[::1]:1", "https://prometheus.example"]
        {
            may_go_to(&fine.parse().expect("a URL"), "Prometheus").expect(fine);
        }
        let url = "http://prometheus.example".parse().expect("a URL");
        let error = may_go_to(&url, "Prometheus").expect_err("plain http");
        assert!(error.to_string().contains("--allow-plain-http"), "{error}");
    }

    #[test]
    fn nobody_prints_secrets_by_accident() {
        let secrets = Secrets(BTreeMap::from([("A".into(), "hunter2".into())]));
        assert_eq!(format!("{secrets:?}"), r#"{"A"}"#);
    }
}
