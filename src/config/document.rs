//! A YAML file with the place of every key and value in it.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{Location, Spanned};

use super::parse;
use super::path::{Path, Step};
use super::problem::{Place, Problem};
use super::refusal::Refusal;

/// A YAML file with the place of every key and value in it.
#[derive(Debug, Clone)]
pub struct Document {
    kind: &'static str,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) root: Node,
}

/// A key, a scalar, a list or a mapping, and where it stands.
pub(super) type Node = Spanned<Tree>;

#[derive(Debug, Clone)]
pub(super) enum Tree {
    Scalar(String),
    List(Vec<Node>),
    Mapping(Vec<(Spanned<String>, Node)>),
}

impl Document {
    /// Parses a file's text. `kind` is what the file should be: `scenario`; `name` is what it is called on screens.
    ///
    /// Text that is no YAML, empty, or several documents is refused.
    pub fn parse(
        kind: &'static str,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> Result<Document, Refusal> {
        let mut text = text.into();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let empty = Spanned::new(Tree::Scalar(String::new()), Location::UNKNOWN, Location::UNKNOWN);
        let mut document = Document { kind, name: name.into(), text, root: empty };
        if document.text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
            return Err(Refusal::new(document, vec![Problem::at(0..0, "the file is empty")]));
        }
        match parse::yaml(&document.text) {
            Ok(root) => {
                document.root = root;
                Ok(document)
            }
            Err(problem) => Err(Refusal::new(document, vec![problem])),
        }
    }

    /// What the file should be: `scenario`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What the file is called on screens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys at the top of the file.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let entries = match &self.root.value {
            Tree::Mapping(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(key, _)| key.value.as_str())
    }

    /// The characters of the file that a problem is about.
    pub(super) fn characters(&self, problem: &Problem) -> Range<usize> {
        match &problem.place {
            Place::Characters(range) => range.clone(),
            Place::Value(path) => self.locate(path, false),
            Place::Key(path) => self.locate(path, true),
        }
    }

    /// The place of a value or of its key. What is not in the file, because it has a default, is where its parent is.
    fn locate(&self, path: &Path, key_wanted: bool) -> Range<usize> {
        let mut node = &self.root;
        let mut place = first_place(node);
        for (i, step) in path.steps().iter().enumerate() {
            let last = i + 1 == path.steps().len();
            match (step, &node.value) {
                (Step::Key(name), Tree::Mapping(entries)) => {
                    let Some((key, value)) = entries.iter().find(|(key, _)| key.value == *name) else {
                        break;
                    };
                    node = value;
                    let scalar = matches!(node.value, Tree::Scalar(_)) && length(&node.referenced) > 0;
                    place = range(if scalar && !(last && key_wanted) {
                        &node.referenced
                    } else {
                        &key.referenced
                    });
                }
                (Step::Index(index), Tree::List(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    node = item;
                    place = first_place(node);
                }
                _ => break,
            }
        }
        place
    }
}

/// A scalar itself; the first key of a mapping, the first item of a list.
fn first_place(node: &Node) -> Range<usize> {
    match &node.value {
        Tree::Mapping(entries) if !entries.is_empty() => range(&entries[0].0.referenced),
        Tree::List(items) if !items.is_empty() => first_place(&items[0]),
        _ => range(&node.referenced),
    }
}

pub(super) fn range(location: &Location) -> Range<usize> {
    let start = location.span().offset() as usize;
    start..start + length(location)
}

fn length(location: &Location) -> usize {
    location.span().len() as usize
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Scalar(text.to_owned()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Scalar(value.to_string()))
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar(String::new()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
                let mut mapping = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    mapping.push(entry);
                }
                Ok(Tree::Mapping(mapping))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
