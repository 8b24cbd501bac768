//! Fields of a line's text.

use serde_json::Value;

use super::super::entry::Labels;

/// Where a field of a JSON document is: `user.ids[0]`, `["with space"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// The label that tells that a line is not what it was taken for.
const ERROR: &str = "__error__";

impl Path {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Path> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix("[\"") {
                let (key, after) = inner.split_once("\"]")?;
                steps.push(Step::Key(key.to_owned()));
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('[') {
                let (index, after) = inner.split_once(']')?;
                steps.push(Step::Index(index.parse().ok()?));
                rest = after;
            } else {
                let from = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
                let end = from.find(['.', '[']).unwrap_or(from.len());
                let (key, after) = from.split_at(end);
                if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "_-@".contains(c)) {
                    return None;
                }
                steps.push(Step::Key(key.to_owned()));
                rest = after;
            }
        }
        (!steps.is_empty()).then_some(Path(steps))
    }

    fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(document, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
    }
}

/// Takes labels from a JSON document. Where it is none, the line stays, and says so in a label.
pub fn json(line: &str, wanted: &[(String, Path)], labels: &mut Labels) {
    match serde_json::from_str::<Value>(line) {
        Err(_) => add(labels, ERROR, "JSONParserErr".into()),
        Ok(document) => {
            for (label, path) in wanted {
                let value = match path.find(&document) {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                };
                add(labels, label, value);
            }
        }
    }
}

/// Takes labels from a text of the form `key=value other="with space"`.
pub fn logfmt(line: &str, wanted: &[(String, String)], labels: &mut Labels) {
    let found = pairs(line);
    for (label, key) in wanted {
        // The first of a key counts.
        let value = found.iter().find(|(found, _)| found == key).map(|(_, value)| value.clone());
        add(labels, label, value.unwrap_or_default());
    }
}

/// A label that the stream has already keeps its value.
fn add(labels: &mut Labels, name: &str, value: String) {
    let name = if labels.contains_key(name) { format!("{name}_extracted") } else { name.to_owned() };
    labels.insert(name, value);
}

fn pairs(line: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(after) = after.strip_prefix('=') else {
            pairs.push((key, String::new()));
            rest = after.trim_start();
            continue;
        };
        let (value, after) = match after.strip_prefix('"') {
            Some(inner) => quoted(inner),
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if !key.is_empty() {
            pairs.push((key, value));
        }
        rest = after.trim_start();
    }
    pairs
}

/// A text up to its closing quotation mark, and what follows.
fn quoted(inner: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, &inner[at + 1..]),
            '\\' => match letters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, other)) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    (text, "")
}
