//! What an expression of PromQL is made of: which series it takes, and what it compares. Pure.

use promql_parser::parser::{self, Expr, VectorSelector};

use crate::scenario::metric_of;

/// A selector that stands in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its metric, where it names one.
    pub metric: Option<String>,
    /// The selector, without its offset and range.
    pub selector: String,
    /// Whether the expression gives nothing without its series: not so below `absent`, and on the sides of `or` and `unless`.
    pub needed: bool,
}

/// The selectors of an expression in their order, each once; none where it is no PromQL that is known here.
pub fn selected(expression: &str) -> Vec<Selected> {
    let mut all = Vec::new();
    if let Ok(expression) = parser::parse(expression) {
        collect(&expression, true, &mut all);
    }
    all
}

/// The metrics that an expression takes, in their order.
pub fn metrics_of(expression: &str) -> Vec<String> {
    let mut metrics: Vec<String> = Vec::new();
    for metric in selected(expression).into_iter().filter_map(|selected| selected.metric) {
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    metrics
}

/// The left side of an expression that compares with a number, and the rest of it: `sum(a)`, `> 5`.
pub fn compared(expression: &str) -> Option<(String, String)> {
    let mut parsed = parser::parse(expression).ok()?;
    loop {
        match parsed {
            Expr::Paren(paren) => parsed = *paren.expr,
            Expr::Binary(binary) if binary.op.is_comparison_operator() => {
                let Expr::NumberLiteral(number) = *binary.rhs else { return None };
                return Some((binary.lhs.to_string(), format!("{} {}", binary.op, number.val)));
            }
            _ => return None,
        }
    }
}

fn collect(expression: &Expr, needed: bool, all: &mut Vec<Selected>) {
    match expression {
        Expr::VectorSelector(selector) => add(selector, needed, all),
        Expr::MatrixSelector(matrix) => add(&matrix.vs, needed, all),
        Expr::Aggregate(aggregate) => collect(&aggregate.expr, needed, all),
        Expr::Unary(unary) => collect(&unary.expr, needed, all),
        Expr::Paren(paren) => collect(&paren.expr, needed, all),
        Expr::Subquery(subquery) => collect(&subquery.expr, needed, all),
        Expr::Binary(binary) => {
            let (left, right) = match binary.op.to_string().as_str() {
                "or" => (false, false),
                "unless" => (needed, false),
                _ => (needed, needed),
            };
            collect(&binary.lhs, left, all);
            collect(&binary.rhs, right, all);
        }
        Expr::Call(call) => {
            let needed = needed && !call.func.name.starts_with("absent");
            call.args.args.iter().for_each(|argument| collect(argument, needed, all));
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn add(selector: &VectorSelector, needed: bool, all: &mut Vec<Selected>) {
    let bare = VectorSelector { offset: None, at: None, ..selector.clone() };
    let (metric, selector) = (metric_of(&bare).map(str::to_owned), bare.to_string());
    match all.iter_mut().find(|known| known.selector == selector) {
        Some(known) => known.needed |= needed,
        None => all.push(Selected { metric, selector, needed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_expression_cannot_do_without_is_needed() {
        let needed = |text: &str| {
            let all = selected(text).into_iter();
            all.map(|one| format!("{}{}", one.selector, if one.needed { "!" } else { "" }))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(needed("sum(rate(a{x=\"1\"}[5m] offset 1h)) / sum(b) > 0.05"), "a{x=\"1\"}! b!");
        assert_eq!(needed("absent(a) or b"), "a b");
        assert_eq!(needed("a unless on (x) b"), "a! b");
        assert_eq!(needed("max_over_time(sum(a)[5m:1m]) and -a > bool 1"), "a!");
        assert_eq!(needed("no ( PromQL"), "");
        assert_eq!(metrics_of("rate(a[1m]) + a{x=\"1\"} + {__name__=\"b.c\"}"), ["a", "b.c"]);
    }

    #[test]
    fn a_comparison_with_a_number_is_taken_apart() {
        assert_eq!(compared("(sum(a) > 0.05)"), Some(("sum(a)".into(), "> 0.05".into())));
        assert_eq!(compared("a > b"), None);
        assert_eq!(compared("a + 1"), None);
    }
}
