//! YAML text into types; what serde and the YAML parser have to say becomes a [`Problem`] in our words.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, MessageFormatter, Options, UserMessageFormatter, options};

use super::document::{Document, Node, range};
use super::placeholder::{Substituted, Values, substitute};
use super::problem::Problem;
use super::suggest::unknown;

/// The tree of a YAML text.
pub(super) fn yaml(text: &str) -> Result<Node, Problem> {
    serde_saphyr::from_str_with_options(text, strict()).map_err(|error| problem(&error, text, |at| at))
}

impl Document {
    /// The file as a `T`.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_saphyr::from_str_with_options(&self.text, strict())
            .map_err(|error| problem(&error, &self.text, |at| at))
    }

    /// The file as a `T`, with `${key}` in its values replaced; problems stand where they are in the file as it was written.
    pub fn typed_with<T: DeserializeOwned>(&self, values: &Values) -> Result<T, Vec<Problem>> {
        let Substituted { text, edits } = substitute(self, values)?;
        serde_saphyr::from_str_with_options(&text, strict())
            .map_err(|error| vec![problem(&error, &text, |at| edits.original(at))])
    }
}

fn strict() -> Options {
    options! { with_snippet: false, strict_booleans: true }
}

/// What is wrong, in the words of someone who writes the file.
fn problem(error: &Error, text: &str, original: impl Fn(Range<usize>) -> Range<usize>) -> Problem {
    let place = error.location().map_or(0..0, |location| range(&location));
    let written: String = text.chars().skip(place.start).take(place.len()).collect();
    let (message, help) = match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`"), Some(unknown(field, expected.iter().copied())))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("`{variant}` is not known here"), Some(unknown(variant, expected.iter().copied())))
        }
        Error::SerdeMissingField { field, .. } => (format!("the key `{field}` is missing"), None),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or(&written);
            (format!("the key `{key}` is given twice"), None)
        }
        Error::InvalidScalar { ty, .. } => (format!("`{written}` is not {}", scalar(ty)), None),
        Error::InvalidBooleanStrict { .. } => (format!("`{written}` is not true or false"), None),
        Error::Unexpected { expected, .. } => (format!("{} is expected here", shape(expected)), None),
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            (format!("{expected} is expected here, not {unexpected}"), None)
        }
        Error::SerdeInvalidValue { expected, .. } => (format!("`{written}` is refused: {expected}"), None),
        Error::MultipleDocuments { .. } => {
            ("a file holds one document; a second one starts here".into(), None)
        }
        Error::Message { msg, .. } => (msg.clone(), None),
        Error::ExternalMessage { msg, .. } => (format!("this is not YAML: {msg}"), None),
        other => (UserMessageFormatter.format_message(other).into_owned(), None),
    };
    let problem = Problem::at(original(place), message);
    match help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

fn scalar(rust_type: &str) -> String {
    match rust_type {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "bool" => "true or false".into(),
        other => format!("a {other}"),
    }
}

fn shape(event: &str) -> &str {
    match event {
        "mapping start" => "a mapping (`key: value`)",
        "sequence start" => "a list (`- item`)",
        "string scalar" => "a text",
        "mapping end" => "the end of this mapping, which has one key only,",
        other => other,
    }
}
