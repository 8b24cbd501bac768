//! The part of LogQL that `sre` asks with: a stream selector, then filters of lines, `json` and `logfmt` with the fields
//! that are wanted, and filters of labels. Pure.
//!
//! What is not in it is refused by name; nothing is left out silently.

mod fields;
mod parse;
#[cfg(test)]
mod tests;

use regex::Regex;

use super::entry::{Entry, Labels};
use fields::Path;

/// A query.
#[derive(Debug)]
pub struct Query {
    /// Which streams.
    selector: Vec<Matcher>,
    /// What is done with each line, in this order.
    stages: Vec<Stage>,
}

/// What a label must be.
#[derive(Debug)]
struct Matcher {
    label: String,
    test: Test,
}

/// What a text must be.
#[derive(Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

/// What is done with a line.
#[derive(Debug)]
enum Stage {
    /// Its text must have this, or must not.
    Contains(String, bool),
    /// Its text must match this, or must not.
    Matches(Regex, bool),
    /// Labels are taken from the fields of its text.
    Json(Vec<(String, Path)>),
    /// The same from a text of the form `key=value`.
    Logfmt(Vec<(String, String)>),
    /// A label must be so.
    Label(Matcher),
}

impl Matcher {
    /// A label that is not there is as one that is empty.
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).map_or("", String::as_str);
        match &self.test {
            Test::Is(text) => value == text,
            Test::IsNot(text) => value != text,
            Test::Matches(regex) => regex.is_match(value),
            Test::MatchesNot(regex) => !regex.is_match(value),
        }
    }
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// What is not understood, or not done here, as a sentence.
    pub fn parse(text: &str) -> Result<Query, String> {
        parse::query(text)
    }

    /// Whether it asks for lines of a stream with these labels.
    pub fn selects(&self, stream: &Labels) -> bool {
        self.selector.iter().all(|matcher| matcher.holds(stream))
    }

    /// The labels that a line has in the end, or nothing where it is filtered out.
    pub fn labels(&self, entry: &Entry) -> Option<Labels> {
        let mut labels = (*entry.stream).clone();
        labels.extend(entry.metadata.clone());
        for stage in &self.stages {
            let stays = match stage {
                Stage::Contains(text, wanted) => entry.line.contains(text.as_str()) == *wanted,
                Stage::Matches(regex, wanted) => regex.is_match(&entry.line) == *wanted,
                Stage::Json(wanted) => {
                    fields::json(&entry.line, wanted, &mut labels);
                    true
                }
                Stage::Logfmt(wanted) => {
                    fields::logfmt(&entry.line, wanted, &mut labels);
                    true
                }
                Stage::Label(matcher) => matcher.holds(&labels),
            };
            if !stays {
                return None;
            }
        }
        Some(labels)
    }
}
