//! Secrets are never printed and never written: credentials are cut out of every text.

use std::borrow::Cow;

use serde_json::Value;

use crate::check::Outcome;
use crate::secret;

/// What stands in a secret's place.
const GONE: &str = "***";

/// Words after which a secret follows, up to the next space, quote or separator.
const BEFORE_A_SECRET: [&str; 20] = [
    "bearer ",
    "basic ",
    "password: ",
    "password\": \"",
    "password\":\"",
    "--password ",
    "cookie: ",
    "x-api-key: ",
    "pgpassword=",
    "secret\":\"",
    "token=",
    "password=",
    "passwd=",
    "secret=",
    "apikey=",
    "api_key=",
    "api-key=",
    "access_key=",
    "signature=",
    "sig=",
];

/// The text without the secrets that are known here, credentials in URLs, `Authorization` values, and query parameters
/// that hold secrets.
///
/// What it cuts out never holds a quote or a backslash, so JSON stays JSON.
pub fn redact(text: &str) -> Cow<'_, str> {
    match secret::redact(text) {
        Cow::Borrowed(text) => guess(text),
        Cow::Owned(text) => Cow::Owned(guess(&text).into_owned()),
    }
}

/// The text without what looks like a secret: what others tell has secrets that are not known here.
fn guess(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    let mut secrets: Vec<(usize, usize)> = Vec::new();
    for (at, scheme) in lower.match_indices("://") {
        let from = at + scheme.len();
        let authority = &text[from..end_of(text, from, "/?#")];
        if let Some(length) = authority.rfind('@') {
            secrets.push((from, from + length));
        }
    }
    for word in BEFORE_A_SECRET {
        for (at, _) in lower.match_indices(word) {
            let from = at + word.len();
            let to = end_of(text, from, "&;,)");
            let starts_a_word = !lower[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
            if starts_a_word && to > from && (word.ends_with('=') || is_token(&text[from..to])) {
                secrets.push((from, to));
            }
        }
    }
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    secrets.sort_unstable();
    let (mut clean, mut done) = (String::with_capacity(text.len()), 0);
    for (from, to) in secrets {
        if from >= done {
            clean.push_str(&text[done..from]);
            clean.push_str(GONE);
        }
        done = done.max(to);
    }
    clean.push_str(&text[done..]);
    Cow::Owned(clean)
}

/// An outcome without secrets: nothing is judged from it any more.
pub fn outcome_without_secrets(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    let cells = outcome.table.iter_mut().flat_map(|table| table.rows.iter_mut().flatten());
    let texts = [&mut outcome.name, &mut outcome.message];
    texts.into_iter().chain(&mut outcome.notes).chain(&mut outcome.hint).chain(cells).for_each(clean);
    clean_value(&mut outcome.evidence);
    outcome
}

fn clean(text: &mut String) {
    if let Cow::Owned(clean) = redact(text) {
        *text = clean;
    }
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => clean(text),
        Value::Array(values) => values.iter_mut().for_each(clean_value),
        Value::Object(values) => values.values_mut().for_each(clean_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Where the word that begins at `from` ends.
fn end_of(text: &str, from: usize, separators: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || "\"'`\\<>".contains(c) || separators.contains(c);
    text[from..].find(ends).map_or(text.len(), |length| from + length)
}

/// `Basic bXk6c2VjcmV0` is a secret, `basic credentials` is not.
fn is_token(word: &str) -> bool {
    word.len() >= 8 && word.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase() || c == '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_secrets_out() {
        for (text, clean) in [
            ("GET http://me:pa@ss@prom:9090/api failed", "GET http://***@prom:9090/api failed"),
            ("authorization: Bearer eyJhbGciOi.x-y", "authorization: Bearer ***"),
            ("Authorization: Basic bWU6c2VjcmV0", "Authorization: Basic ***"),
            ("http://h/x?token=abc&page=2", "http://h/x?token=***&page=2"),
            (r#"{"u":"https://t0k@h/","n":1}"#, r#"{"u":"https://***@h/","n":1}"#),
            ("https://a:b@h/?password=c", "https://***@h/?password=***"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

    #[test]
    fn leaves_everything_else() {
        for text in [
            "http://127.0.0.1:9090/api/v1/query",
            "mail a@b.c via http://h/p@q",
            "with bearer or basic credentials from the environment",
            "secrets=3",
            "",
            "ünïcode ://",
        ] {
            assert!(matches!(redact(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
