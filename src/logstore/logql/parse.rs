//! From text to a query.

use regex::{Regex, RegexBuilder};

use super::fields::Path;
use super::{Matcher, Query, Stage, Test};

/// What a compiled regular expression may take in memory, in bytes.
const LARGEST_REGEX: usize = 1 << 20;

type Parsed<T> = Result<T, String>;

/// What is left to be read.
struct Reader<'a> {
    rest: &'a str,
}

/// Reads a query as a whole.
pub fn query(text: &str) -> Parsed<Query> {
    let mut reader = Reader { rest: text.trim_start() };
    if !reader.rest.starts_with('{') {
        return Err(format!(
            "a query begins with a stream selector such as {{service_name=\"users-api\"}}; metric queries such as \
             rate() are not answered here: {}",
            reader.near()
        ));
    }
    let selector = reader.selector()?;
    let mut stages = Vec::new();
    while !reader.rest.is_empty() {
        stages.push(reader.stage()?);
    }
    Ok(Query { selector, stages })
}

impl<'a> Reader<'a> {
    /// The beginning of the rest, for messages.
    fn near(&self) -> String {
        match self.rest.chars().take(30).collect::<String>() {
            rest if rest.is_empty() => "the query ends too early".into(),
            rest => format!("`{rest}`"),
        }
    }

    fn takes(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn name(&mut self) -> Parsed<&'a str> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("a name is missing: {}", self.near()));
        }
        self.rest = rest.trim_start();
        Ok(name)
    }

    /// A text in quotation marks, or in backticks.
    fn text(&mut self) -> Parsed<String> {
        if let Some(inner) = self.rest.strip_prefix('`') {
            let (text, rest) =
                inner.split_once('`').ok_or_else(|| format!("a ` is missing: {}", self.near()))?;
            self.rest = rest.trim_start();
            return Ok(text.to_owned());
        }
        let Some(inner) = self.rest.strip_prefix('"') else {
            return Err(format!("a text in quotation marks is missing: {}", self.near()));
        };
        let (text, rest) = quoted(inner)?;
        self.rest = rest.trim_start();
        Ok(text)
    }

    fn selector(&mut self) -> Parsed<Vec<Matcher>> {
        let mut matchers = Vec::new();
        self.takes("{");
        while !self.takes("}") {
            matchers.push(self.matcher()?);
            if !self.takes(",") && !self.rest.starts_with('}') {
                return Err(format!("a `}}` is missing: {}", self.near()));
            }
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let label = self.name()?.to_owned();
        let test = if self.takes("=~") {
            Test::Matches(whole(&self.text()?)?)
        } else if self.takes("!~") {
            Test::MatchesNot(whole(&self.text()?)?)
        } else if self.takes("!=") {
            Test::IsNot(self.text()?)
        } else if self.rest.starts_with("==") || !self.takes("=") {
            return Err(format!(
                "labels are compared with texts, by =, !=, =~ and !~, and by nothing else here: {}",
                self.near()
            ));
        } else {
            Test::Is(self.text()?)
        };
        Ok(Matcher { label, test })
    }

    fn stage(&mut self) -> Parsed<Stage> {
        let stage = if self.takes("|=") {
            Stage::Contains(self.text()?, true)
        } else if self.takes("!=") {
            Stage::Contains(self.text()?, false)
        } else if self.takes("|~") {
            Stage::Matches(regex(&self.text()?)?, true)
        } else if self.takes("!~") {
            Stage::Matches(regex(&self.text()?)?, false)
        } else if self.takes("|") {
            return self.pipe();
        } else {
            return Err(format!(
                "this is no part of a query for lines that is answered here: {}",
                self.near()
            ));
        };
        self.alone(stage)
    }

    /// Further conditions would change what a stage means.
    fn alone(&self, stage: Stage) -> Parsed<Stage> {
        let word = self.rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if ["or", "and"].contains(&word) || self.rest.starts_with(',') {
            return Err(format!(
                "conditions are put one after the other by `|` here, and not joined: {}",
                self.near()
            ));
        }
        Ok(stage)
    }

    fn pipe(&mut self) -> Parsed<Stage> {
        let before = self.rest;
        match self.name()? {
            "json" => Ok(Stage::Json(self.wanted("json", |path| {
                Path::parse(&path)
                    .ok_or_else(|| format!("`{path}` is no path of a field such as `user.id` or `ids[0]`"))
            })?)),
            "logfmt" => Ok(Stage::Logfmt(self.wanted("logfmt", Ok)?)),
            _ if self.rest.starts_with(['=', '!', '<', '>']) => {
                self.rest = before;
                let matcher = self.matcher()?;
                self.alone(Stage::Label(matcher))
            }
            other => Err(format!(
                "`| {other}` is not answered here, but json, logfmt and filters of labels and lines are"
            )),
        }
    }

    /// `label="field", other="other field"`.
    fn wanted<T>(&mut self, parser: &str, field: impl Fn(String) -> Parsed<T>) -> Parsed<Vec<(String, T)>> {
        let mut wanted = Vec::new();
        loop {
            let named = self.name().ok().filter(|_| self.takes("="));
            let Some(label) = named else {
                return Err(format!(
                    "`| {parser}` needs the fields that are wanted, label=\"field\": {}",
                    self.near()
                ));
            };
            wanted.push((label.to_owned(), field(self.text()?)?));
            if !self.takes(",") {
                return Ok(wanted);
            }
        }
    }
}

/// A text up to its closing quotation mark, and what follows it. Escapes are those of Go.
fn quoted(inner: &str) -> Parsed<(String, &str)> {
    let mut text = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((text, &inner[at + 1..])),
            '\\' => {
                let escape = letters.next().map(|(_, letter)| letter);
                let mut number = |digits: usize| {
                    let digits: String = letters.by_ref().take(digits).map(|(_, letter)| letter).collect();
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
                };
                let meant = match escape {
                    Some(same @ ('"' | '\\' | '\'' | '/')) => Some(same),
                    Some('n') => Some('\n'),
                    Some('t') => Some('\t'),
                    Some('r') => Some('\r'),
                    Some('b') => Some('\u{8}'),
                    Some('f') => Some('\u{c}'),
                    Some('x') => number(2),
                    Some('u') => number(4),
                    Some('U') => number(8),
                    _ => None,
                };
                text.push(meant.ok_or_else(|| format!("an escape in a text is not understood: `{inner}`"))?);
            }
            other => text.push(other),
        }
    }
    Err(format!("a quotation mark is missing: `\"{inner}`"))
}

/// A regular expression that must match a part of a text.
fn regex(text: &str) -> Parsed<Regex> {
    let built = RegexBuilder::new(text).size_limit(LARGEST_REGEX).build();
    built.map_err(|error| format!("`{text}` is not a regular expression that can be used: {error}"))
}

/// A regular expression that must match a text as a whole.
fn whole(text: &str) -> Parsed<Regex> {
    regex(text)?;
    regex(&format!("^(?s:{text})$"))
}
