//! PromQL as far as it can be judged without a Prometheus.

use promql_parser::parser::{self, Expr, VectorSelector, value::ValueType};

/// What can be said of an expression before Prometheus sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is certainly wrong.
    Wrong(String),
    /// It calls a function that is not known here; Prometheus may know it.
    UnknownFunction(String),
}

/// Whether an expression has one value per series: a vector or a scalar.
pub(crate) fn expression(text: &str) -> Result<(), Flaw> {
    match parser::parse(text) {
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
    match parser::parse(text) {
        Ok(Expr::VectorSelector(selector)) if selector.name.is_none() => {
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

/// A selector of log streams, which LogQL writes as PromQL does: `{label="value"}`.
pub(crate) fn stream_selector(text: &str) -> Result<(), String> {
    let example = "write for example `{service_name=\"users-api\"}`";
    match parser::parse(text) {
        Ok(Expr::VectorSelector(selector))
            if selector.name.is_none() && selector.offset.is_none() && selector.at.is_none() =>
        {
            Ok(())
        }
        Ok(_) => Err(format!("this selects no log streams; {example}")),
        Err(why) => Err(format!("this selects no log streams: {why}; {example}")),
    }
}

/// Whether this can be the name of a metric.
pub(crate) fn is_metric_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || "_:".contains(c))
        && letters.all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
}

/// Whether this can be the name of a label.
pub(crate) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':')
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
    fn a_stream_has_labels_alone() {
        assert!(stream_selector("{a=\"b\", c=~\"d.*\"}").is_ok());
        for wrong in ["m{a=\"b\"}", "{a=\"b\"} |= \"c\"", "{a=\"b\"", "{}", ""] {
            assert!(stream_selector(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_series_has_a_name_and_nothing_around_it() {
        assert!(selector("a{b=\"c\"}").is_ok());
        for wrong in ["{b=\"c\"}", "sum(a)", "a[5m]", "a offset 5m", "a{b=c}", ""] {
            assert!(selector(wrong).is_err(), "{wrong}");
        }
    }
}
