//! `${key}` in the values of a file, replaced before the file is parsed into types.
//!
//! The text is edited scalar by scalar, quoted as each scalar is, so that no value can add YAML of its own.

use std::ops::Range;

use indexmap::IndexMap;

use super::document::{Document, Node, Tree, range};
use super::problem::Problem;
use super::suggest::unknown;

/// What each `${key}` is replaced by. Values hold no control characters.
pub type Values = IndexMap<String, String>;

/// What names a secret (`${env:NAME}`) is no parameter, and stays as it is until it is sent.
const SECRET: &str = "env:";

/// Text with its placeholders replaced.
#[derive(Debug)]
pub struct Substituted {
    /// The text.
    pub(super) text: String,
    pub(super) edits: Edits,
}

/// What was replaced, in characters: where it was, and how long it is now.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Range<usize>, usize)>);

impl Edits {
    /// Where characters of the new text stand in the text as it was written.
    pub(super) fn original(&self, at: Range<usize>) -> Range<usize> {
        let mut shift = 0_isize;
        for (before, length) in &self.0 {
            let start = before.start.saturating_add_signed(shift);
            if at.start < start {
                break;
            }
            if at.start < start + length {
                return before.clone();
            }
            shift += *length as isize - before.len() as isize;
        }
        at.start.saturating_add_signed(-shift)..at.end.saturating_add_signed(-shift)
    }
}

/// Replaces `${key}` in every value of a file, except below its own key `parameters`; `$${` is a plain `${`.
pub fn substitute(document: &Document, values: &Values) -> Result<Substituted, Vec<Problem>> {
    let mut scalars = Vec::new();
    if let Tree::Mapping(entries) = &document.root.value {
        for (_, node) in entries.iter().filter(|(key, _)| key.value != "parameters") {
            collect(node, &mut scalars);
        }
    }
    scalars.sort_by_key(|scalar| scalar.0.start);
    // What an alias refers to is met once for each alias.
    scalars.dedup_by_key(|scalar| scalar.0.start);

    let characters: Vec<char> = document.text.chars().collect();
    let (mut text, mut edits, mut problems, mut done) = (String::new(), Edits::default(), Vec::new(), 0);
    for (place, value) in scalars {
        let source: String = characters[place.clone()].iter().collect();
        match (Scalar { source: &source, value }).with(values) {
            Ok(replaced) => {
                text.extend(&characters[done..place.start]);
                text.push_str(&replaced);
                done = place.end;
                edits.0.push((place, replaced.chars().count()));
            }
            Err(key) => problems.push(
                Problem::at(place, format!("`${{{key}}}` is not a parameter of this stack")).help(format!(
                    "{}; write `$${{` for a plain `${{`",
                    unknown(&key, values.keys().map(String::as_str))
                )),
            ),
        }
    }
    text.extend(&characters[done..]);
    if problems.is_empty() { Ok(Substituted { text, edits }) } else { Err(problems) }
}

fn collect<'a>(node: &'a Node, scalars: &mut Vec<(Range<usize>, &'a str)>) {
    match &node.value {
        Tree::Scalar(value) if value.contains("${") => scalars.push((range(&node.defined), value)),
        Tree::Scalar(_) => {}
        Tree::List(items) => items.iter().for_each(|item| collect(item, scalars)),
        Tree::Mapping(entries) => entries.iter().for_each(|(_, value)| collect(value, scalars)),
    }
}

/// A scalar as it is written, and what it means.
struct Scalar<'a> {
    source: &'a str,
    value: &'a str,
}

impl Scalar<'_> {
    /// As it is written with its placeholders replaced, or the first key that is not known.
    fn with(&self, values: &Values) -> Result<String, String> {
        if self.source.starts_with('"') {
            expand(self.source, values, |value| {
                let quoted = serde_json::Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            })
        } else if self.source.starts_with('\'') {
            expand(self.source, values, |value| value.replace('\'', "''"))
        } else if self.source.ends_with('\n') {
            // A block scalar, which is raw text to the end of its last line.
            expand(self.source, values, str::to_owned)
        } else {
            let plain = expand(self.source, values, str::to_owned)?;
            if values_are_plain(self.source, values) {
                return Ok(plain);
            }
            let quoted = serde_json::Value::from(expand(self.value, values, str::to_owned)?).to_string();
            // As many lines as before, so that what follows keeps its place.
            Ok(quoted + &"\n".repeat(self.source.matches('\n').count()))
        }
    }
}

/// Whether everything that replaces a placeholder of this text means the same without quotes.
fn values_are_plain(source: &str, values: &Values) -> bool {
    let plain = |value: &str| {
        value.starts_with(|c: char| c.is_ascii_alphanumeric())
            && value.chars().all(|c| c.is_ascii_alphanumeric() || "._/+-".contains(c))
            && !value.eq_ignore_ascii_case("null")
    };
    values.iter().all(|(key, value)| !source.contains(&format!("${{{key}}}")) || plain(value))
}

fn expand(text: &str, values: &Values, quote: impl Fn(&str) -> String) -> Result<String, String> {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            // What stands for no secret must not begin to.
            let kept = if rest[at + 2..].starts_with(SECRET) { at } else { at - 1 };
            expanded.push_str(&rest[..kept]);
            expanded.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        expanded.push_str(&rest[..at]);
        let (key, after) = rest[at + 2..].split_once('}').ok_or_else(|| rest[at + 2..].to_owned())?;
        if key.starts_with(SECRET) {
            expanded.push_str(&rest[at..rest.len() - after.len()]);
            rest = after;
            continue;
        }
        expanded.push_str(&quote(values.get(key).ok_or_else(|| key.to_owned())?));
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, value: &str) -> serde_json::Value {
        let document = Document::parse("stack", "test.yaml", text).expect("YAML");
        let values = Values::from([("key".to_owned(), value.to_owned())]);
        let text = substitute(&document, &values).expect("known keys").text;
        serde_saphyr::from_str(&text).expect("still YAML")
    }

    #[test]
    fn every_style_of_scalar_is_replaced_by_the_very_value() {
        let nasty = [
            "x",
            "a: b",
            "- a",
            "a # b",
            "\"",
            "'",
            "\\",
            "{a: 1}",
            "[",
            "",
            "null",
            "~",
            "*a",
            "&a",
            "!t",
            "%",
            "@",
            "`",
            "a=b=c",
            "|",
            ">",
            "?",
            "ends:",
            "ünïcode",
        ];
        for value in nasty {
            for text in [
                "a: ${key}\nb: 1\n",
                "a: \"${key}\"\nb: 1\n",
                "a: '${key}'\nb: 1\n",
                "a: [\"${key}\"]\nb: 1\n",
                "a: |-\n  ${key}\nb: 1\n",
                "a: ${key}",
            ] {
                let result = replaced(text, value);
                let found = if result["a"].is_array() { &result["a"][0] } else { &result["a"] };
                // Leading characters of a block scalar are its indentation; none of the values has any.
                assert_eq!(found, value, "{text:?} with {value:?}");
                assert_eq!(
                    result.as_object().map(serde_json::Map::len),
                    Some(1 + usize::from(text.contains("b:")))
                );
            }
        }
    }

    #[test]
    fn numbers_stay_numbers_and_two_dollars_are_one() {
        assert_eq!(replaced("a: ${key}\n", "3")["a"], 3);
        assert_eq!(replaced("a: $${key} ${key}\n", "3")["a"], "${key} 3");
        assert_eq!(replaced("a: ${key} ${env:B}\n", "3")["a"], "3 ${env:B}");
        assert_eq!(replaced("a: $${env:B} ${key}\n", "3")["a"], "$${env:B} 3");
        assert_eq!(replaced("parameters: {a: \"${key}\"}\n", "3")["parameters"]["a"], "${key}");
    }

    #[test]
    fn places_are_those_of_the_text_as_it_was_written() {
        let document =
            Document::parse("stack", "test.yaml", "a: {b: \"${key}\", c: 1}\nd: 2\n").expect("YAML");
        let values = Values::from([("key".to_owned(), "much longer than before".to_owned())]);
        let Substituted { text, edits } = substitute(&document, &values).expect("known keys");
        for letter in ["b:", "c:", "d:"] {
            let now = text.find(letter).expect("a key");
            assert_eq!(edits.original(now..now + 1).start, document.text.find(letter).expect("a key"));
        }
        let inside = text.find("longer").expect("the value");
        assert_eq!(edits.original(inside..inside + 1), 7..15);
    }

    #[test]
    fn unknown_keys_are_all_told() {
        let document = Document::parse("stack", "test.yaml", "a: ${kye}\nb: ${open\n").expect("YAML");
        let values = Values::from([("key".to_owned(), "3".to_owned())]);
        let problems = substitute(&document, &values).expect_err("two unknown keys");
        assert_eq!(problems.len(), 2);
        assert!(problems[0].help.as_deref().is_some_and(|help| help.contains("did you mean `key`?")));
    }
}
