//! PromQL as far as it can be judged without a Prometheus.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr, VectorSelector, value::ValueType};

/// What can be said of an expression before Prometheus sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is certainly wrong.
    Wrong(String),
    /// It calls a function that is not known here; Prometheus may know it.
    UnknownFunction(String),
}

/// How deep an expression may nest, and how many operators and further pieces it may have: each may be a level of its
/// tree, which is walked by recursion.
const DEEPEST: usize = 100;
const MOST_PIECES: usize = 1000;

/// The tree of an expression that is small enough to be walked.
pub(crate) fn parse_promql(text: &str) -> Result<Expr, String> {
    let (mut depth, mut pieces) = (0_usize, 0_usize);
    let (mut quote, mut before) = (None, ' ');
    for c in text.chars() {
        let in_word = |c: char| c.is_alphanumeric() || "_:.".contains(c);
        match (quote, c) {
            (Some('`'), '`') => quote = None,
            (Some('`'), _) => {}
            // What is escaped ends no text, and escapes nothing.
            (Some(_), _) if before == '\\' => {
                before = ' ';
                continue;
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            // A word, or a sign that stands for itself.
            (None, c) if in_word(c) => pieces += usize::from(!in_word(before)),
            (None, c) if !c.is_whitespace() => pieces += 1,
            (None, _) => {}
        }
        if depth > DEEPEST || pieces > MOST_PIECES {
            return Err(format!(
                "it is too large: it nests at most {DEEPEST} deep, and has at most {MOST_PIECES} names, numbers and signs"
            ));
        }
        before = c;
    }
    parser::parse(text)
}

/// Whether an expression has one value per series: a vector or a scalar.
pub(crate) fn expression(text: &str) -> Result<(), Flaw> {
    match parse_promql(text) {
        Ok(expression) => match expression.value_type() {
            ValueType::Vector | ValueType::Scalar => Ok(()),
            ValueType::Matrix => Err(Flaw::Wrong(
                "this has many values per series; a function such as `rate` makes them one".into(),
            )),
            ValueType::String => Err(Flaw::Wrong("this is a text, which compares to no number".into())),
        },
        Err(why) if why.contains("unknown function") => Err(Flaw::UnknownFunction(why)),
        Err(why) => Err(Flaw::Wrong(format!("this is not PromQL: {why}"))),
    }
}

/// A selector of series with the metric's name: `metric{label="value"}`.
pub(crate) fn selector(text: &str) -> Result<VectorSelector, String> {
    let example = "write for example `app_error_count_total{endpoint=\"/api/users\"}`";
    match parse_promql(text) {
        Ok(Expr::VectorSelector(selector)) if metric_of(&selector).is_none() => {
            Err(format!("the name of the metric is missing; {example}"))
        }
        Ok(Expr::VectorSelector(selector)) if selector.offset.is_some() || selector.at.is_some() => {
            Err(format!("a series has no `offset` and no `@`; {example}"))
        }
        Ok(Expr::VectorSelector(selector)) => Ok(selector),
        Ok(_) => Err(format!("this is an expression, not a series; {example}")),
        Err(why) => Err(format!("this is not a series: {why}; {example}")),
    }
}

/// The metric that a selector names: before its braces, or quoted within them.
pub(crate) fn metric_of(selector: &VectorSelector) -> Option<&str> {
    let named = |matcher: &&Matcher| matcher.name == "__name__" && matches!(matcher.op, MatchOp::Equal);
    let quoted = || selector.matchers.matchers.iter().find(named).map(|matcher| matcher.value.as_str());
    selector.name.as_deref().or_else(quoted)
}

/// A selector of log streams, which LogQL writes as PromQL does: `{label="value"}`.
pub(crate) fn stream_selector(text: &str) -> Result<(), String> {
    let example = "write for example `{service_name=\"users-api\"}`";
    match parse_promql(text) {
        Ok(Expr::VectorSelector(selector))
            if selector.name.is_none() && selector.offset.is_none() && selector.at.is_none() =>
        {
            Ok(())
        }
        Ok(_) => Err(format!("this selects no log streams; {example}")),
        Err(why) => Err(format!("this selects no log streams: {why}; {example}")),
    }
}

/// Whether this can be the name of a metric. Since Prometheus 3 any text can; a piece of a selector is a mistake.
pub(crate) fn is_metric_name(name: &str) -> bool {
    let odd = |c: char| c.is_control() || "{}\"'`=".contains(c);
    !name.is_empty() && name.trim() == name && !name.contains(odd)
}

/// Whether this can be the name of a label.
pub(crate) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !(name.contains(':') && crate::observe::is_bare(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_cannot_judge_is_left_to_prometheus() {
        assert_eq!(expression("sum(rate(a[5m])) > 0"), Ok(()));
        assert_eq!(expression("1 + 1"), Ok(()));
        assert!(matches!(expression("holt_winters(a[5m], 0.5, 0.5)"), Err(Flaw::UnknownFunction(_))));
        assert!(matches!(expression("a[5m]"), Err(Flaw::Wrong(_))));
        assert!(matches!(expression("sum(a"), Err(Flaw::Wrong(_))));
        assert!(matches!(expression("\"a\""), Err(Flaw::Wrong(_))));
    }

    #[test]
    fn what_is_too_deep_or_too_long_for_a_stack_is_refused_before_it_is_parsed() {
        let deep = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
        assert_eq!(expression(&deep(DEEPEST)), Ok(()));
        for large in [
            deep(200_000),
            "1+".repeat(400_000) + "1",
            "-".repeat(900_000) + "1",
            "a or ".repeat(200_000) + "a",
        ] {
            assert!(matches!(expression(&large), Err(Flaw::Wrong(why)) if why.contains("too large")));
        }
        let text = format!("a{{b=\"{}\\\"(\", c='{}'}}", "(+".repeat(5000), "[".repeat(5000));
        assert_eq!(expression(&text), Ok(()), "a text has no depth");
    }

    #[test]
    fn a_stream_has_labels_alone() {
        assert!(stream_selector("{a=\"b\", c=~\"d.*\"}").is_ok());
        for wrong in ["m{a=\"b\"}", "{a=\"b\"} |= \"c\"", "{a=\"b\"", "{}", ""] {
            assert!(stream_selector(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_series_has_a_name_and_nothing_around_it() {
        assert!(selector("a{b=\"c\"}").is_ok());
        let quoted = selector("{\"http.requests\", \"http.route\"=\"/list\"}").expect("a series");
        assert_eq!(metric_of(&quoted), Some("http.requests"));
        for wrong in ["{b=\"c\"}", "sum(a)", "a[5m]", "a offset 5m", "a{b=c}", ""] {
            assert!(selector(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_may_have_any_letters_and_no_piece_of_a_selector() {
        for name in ["requests_total", "http.server.requests", "größe", "user id", "1st", "a-b"] {
            assert!(is_metric_name(name) && is_label_name(name), "{name}");
        }
        assert!(is_metric_name("job:requests:rate5m") && !is_label_name("job:requests:rate5m"));
        for wrong in ["", " a", "a{b=\"c\"}", "a=b", "a\nb", "'a'"] {
            assert!(!is_metric_name(wrong) && !is_label_name(wrong), "{wrong}");
        }
    }
}
