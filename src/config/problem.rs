//! One thing that is wrong in a file.

use std::ops::Range;

use serde::Serialize;

use super::Path;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not do what was meant.
    Warning,
}

/// One thing that is wrong in a file, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    pub(super) place: Place,
}

/// Where a problem is, before it is looked up in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// The value of a path; its key, where the value has parts of its own.
    Value(Path),
    /// The last key of a path.
    Key(Path),
    /// These characters of the file.
    Characters(Range<usize>),
}

impl Problem {
    /// The file cannot be used because of the value at this path.
    pub fn error(path: &Path, message: impl Into<String>) -> Problem {
        Problem::new(Severity::Error, Place::Value(path.clone()), message)
    }

    /// The value at this path is probably not what was meant.
    pub fn warning(path: &Path, message: impl Into<String>) -> Problem {
        Problem::new(Severity::Warning, Place::Value(path.clone()), message)
    }

    /// The file cannot be used because of the last key of this path.
    pub fn key_error(path: &Path, message: impl Into<String>) -> Problem {
        Problem::new(Severity::Error, Place::Key(path.clone()), message)
    }

    /// The file cannot be used because of these characters of it, counted from 0.
    pub(super) fn at(characters: Range<usize>, message: impl Into<String>) -> Problem {
        Problem::new(Severity::Error, Place::Characters(characters), message)
    }

    fn new(severity: Severity, place: Place, message: impl Into<String>) -> Problem {
        Problem { severity, message: message.into(), help: None, place }
    }

    /// Says what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// A problem with its line and column, for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located {
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, as a sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}
