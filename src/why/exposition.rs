//! What a page exposes to Prometheus: its series, by name and labels, with their values. Pure.
//!
//! Lines that are none are passed over: what Prometheus itself says of them is the target's last error.

use crate::observe::Labels;

/// A sample of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposed {
    /// Its labels, `__name__` among them.
    pub labels: Labels,
    /// Its value; NaN where it is no number.
    pub value: f64,
}

impl Exposed {
    /// Its metric.
    pub fn name(&self) -> &str {
        self.labels.get("__name__").map_or("", String::as_str)
    }
}

/// The samples of a page in either of the text formats.
pub fn read(page: &str) -> Vec<Exposed> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// The sum of a metric's samples that have this label, or of all; `None` where there are none.
pub fn sum(page: &[Exposed], metric: &str, label: Option<(&str, &str)>) -> Option<f64> {
    let is_meant = |sample: &&Exposed| {
        sample.name() == metric
            && label.is_none_or(|(name, value)| sample.labels.get(name).map(String::as_str) == Some(value))
    };
    page.iter().filter(is_meant).map(|sample| sample.value).reduce(|a, b| a + b)
}

fn sample(line: &str) -> Option<Exposed> {
    let line = line.trim_start();
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let mut labels = Labels::new();
    if end > 0 {
        labels.insert("__name__".into(), line[..end].to_owned());
    }
    let rest = match line[end..].strip_prefix('{') {
        None => &line[end..],
        Some(inner) => braces(inner, &mut labels)?,
    };
    let value = rest.split_whitespace().next()?.parse().unwrap_or(f64::NAN);
    labels.contains_key("__name__").then_some(Exposed { labels, value })
}

/// Reads what stands in braces, and gives what follows them.
fn braces<'a>(mut text: &'a str, labels: &mut Labels) -> Option<&'a str> {
    loop {
        text = text.trim_start_matches([',', ' ', '\t']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some(rest);
        }
        let (name, rest) = match text.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = text.find(|c: char| "=}, \t".contains(c))?;
                (text[..end].to_owned(), &text[end..])
            }
        };
        match rest.trim_start().strip_prefix('=') {
            // A name in quotes that stands alone is the metric's.
            None => {
                labels.insert("__name__".into(), name);
                text = rest;
            }
            Some(rest) => {
                let (value, rest) = unquoted(rest.trim_start().strip_prefix('"')?)?;
                labels.insert(name, value);
                text = rest;
            }
        }
    }
}

/// A text up to its quote, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_what_is_no_sample_is_passed_over() {
        let page = "# HELP a help\n# TYPE a counter\na_total{path=\"/x,{y}\",q=\"say \\\"hi\\\"\\n\"} 3 1700000000\n\
                    b 0.5\n{\"http.requests\",\"http.route\"=\"/l\"} 7\n<html>\nbad{x=\"1\nc NaN # {id=\"1\"} 2\n# EOF\n";
        let read = read(page);
        let names: Vec<&str> = read.iter().map(Exposed::name).collect();
        assert_eq!(names, ["a_total", "b", "http.requests", "c"]);
        assert_eq!(read[0].labels["path"], "/x,{y}");
        assert_eq!(read[0].labels["q"], "say \"hi\"\n");
        assert_eq!((read[0].value, read[1].value, read[2].value), (3.0, 0.5, 7.0));
        assert_eq!(read[2].labels["http.route"], "/l");
        assert!(read[3].value.is_nan());
    }

    #[test]
    fn samples_are_summed_by_a_label() {
        let page = read("f{i=\"webhook\",r=\"a\"} 2\nf{i=\"webhook\",r=\"b\"} 1\nf{i=\"email\"} 5\n");
        assert_eq!(sum(&page, "f", Some(("i", "webhook"))), Some(3.0));
        assert_eq!(sum(&page, "f", None), Some(8.0));
        assert_eq!(sum(&page, "g", None), None);
    }
}
