//! What is named on the command line: a metric or an alert, perhaps with labels. Pure.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr};

use crate::error::{Error, Result};
use crate::observe::{Labels, selector};
use crate::scenario::{is_metric_name, metric_of};

/// A name, and what labels must be.
#[derive(Debug, Clone)]
pub struct Name {
    /// The metric or the alert.
    pub name: String,
    /// What was asked of its labels.
    pub matchers: Vec<Matcher>,
}

impl Name {
    /// Reads it; whatever is no selector is a name as it stands.
    ///
    /// # Errors
    /// Usage (exit 2) where it is neither.
    pub fn read(text: &str) -> Result<Name> {
        if let Ok(Expr::VectorSelector(selector)) = parser::parse(text)
            && let Some(name) = metric_of(&selector)
        {
            let own = |matcher: &&Matcher| matcher.name != "__name__";
            let matchers = selector.matchers.matchers.iter().filter(own).cloned().collect();
            return Ok(Name { name: name.to_owned(), matchers });
        }
        match is_metric_name(text) {
            true => Ok(Name { name: text.to_owned(), matchers: Vec::new() }),
            false => Err(Error::usage(format!("`{text}` is neither a name nor a selector"))
                .hint("write for example requests_total, or 'requests_total{code=\"500\"}'")),
        }
    }

    /// The selector of all series of the name.
    pub fn selector(&self) -> String {
        selector(&self.name, [])
    }

    /// Whether labels are as asked.
    pub fn fits(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| is_match(matcher, labels))
    }

    /// The value that a label must have, where one is asked for.
    pub fn value(&self, label: &str) -> Option<&str> {
        let equal = |matcher: &&Matcher| matcher.name == label && matches!(matcher.op, MatchOp::Equal);
        self.matchers.iter().find(equal).map(|matcher| matcher.value.as_str())
    }

    /// The labels that must have one value each.
    pub fn labels(&self) -> Labels {
        let equal = self.matchers.iter().filter(|matcher| matches!(matcher.op, MatchOp::Equal));
        equal.map(|matcher| (matcher.name.clone(), matcher.value.clone())).collect()
    }
}

/// Whether a label is as a matcher wants it; one that is not there is empty.
pub fn is_match(matcher: &Matcher, labels: &Labels) -> bool {
    matcher.is_match(labels.get(&matcher.name).map_or("", String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_labels_and_any_letters() {
        let read = Name::read("a_total{code=\"500\",path!~\"/x.*\"}").expect("a selector");
        assert_eq!(
            (read.name.as_str(), read.value("code"), read.value("path")),
            ("a_total", Some("500"), None)
        );
        let labels = |path: &str| Labels::from([("code".into(), "500".into()), ("path".into(), path.into())]);
        assert!(read.fits(&labels("/y")) && !read.fits(&labels("/xy")) && !read.fits(&Labels::new()));
        assert_eq!(Name::read("http.requests").expect("a name").selector(), "{__name__=\"http.requests\"}");
        for wrong in ["", "a{b=", "sum(a)=1"] {
            assert!(Name::read(wrong).is_err(), "{wrong}");
        }
    }
}
