//! Check `promql`: an expression's one value compares as asked.

use super::context::CheckContext;
use super::wait::until_pass;
use super::{Group, Kind, Outcome, Verdict};
use crate::error::Result;
use crate::figures::plural;
use crate::observe::QueryResult;
use crate::scenario::PromqlCheck;

/// An expression's one value compares as asked. Nothing, NaN and several series are no data.
///
/// # Errors
/// Interrupted (130, 143).
pub async fn check(context: &CheckContext<'_>, asked: &PromqlCheck) -> Result<Outcome> {
    let look = || context.judge_answer(&asked.expr, asked.wait.get(), |result| judge(asked, result));
    until_pass(context, asked.wait.get(), look, |error| blind(asked, error.to_string())).await
}

fn outcome(asked: &PromqlCheck, verdict: Verdict, message: String) -> Outcome {
    let name = asked.name.clone().unwrap_or_else(|| asked.expr.clone());
    let mut outcome = Outcome::new(Kind::Promql, Group::Metrics, name, verdict, message)
        .hinted("Ask Prometheus the expression itself.");
    outcome.evidence = serde_json::json!({"expr": asked.expr, "is": asked.is});
    outcome
}

fn blind(asked: &PromqlCheck, reason: String) -> Outcome {
    outcome(asked, Verdict::NoData, "no data".into()).noted(reason)
}

/// The verdict on an expression's answer.
pub(super) fn judge(asked: &PromqlCheck, result: &QueryResult) -> Outcome {
    let value = match result {
        QueryResult::Scalar(value) => *value,
        QueryResult::Vector(series) => match series.as_slice() {
            [(_, value)] => *value,
            [] => return blind(asked, "The expression gives no series.".into()),
            more => {
                let number = plural(more.len() as u64, "series", "series");
                return blind(asked, format!("The expression gives {number} where one was expected."));
            }
        },
    };
    if value.is_nan() {
        return blind(asked, "The expression gives NaN: it divides nothing by nothing.".into());
    }
    let verdict = if asked.is.holds(value) { Verdict::Pass } else { Verdict::Fail };
    let message = match verdict {
        Verdict::Pass => format!("{} {}", figure(value), asked.is),
        _ => format!("{}, expected {}", figure(value), asked.is),
    };
    outcome(asked, verdict, message)
}

/// Five significant digits are enough for a screen.
fn figure(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        return format!("{value}");
    }
    let digits = (4 - value.abs().log10().floor() as i32).clamp(0, 12);
    format!("{value:.*}", digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Labels;

    fn asked() -> PromqlCheck {
        serde_json::from_value(serde_json::json!({"expr": "x", "is": "> 0"})).expect("a check")
    }

    #[test]
    fn only_one_number_can_pass() {
        let vector =
            |values: &[f64]| QueryResult::Vector(values.iter().map(|v| (Labels::new(), *v)).collect());
        for (result, verdict) in [
            (vector(&[]), Verdict::NoData),
            (vector(&[f64::NAN]), Verdict::NoData),
            (vector(&[1.0, 1.0]), Verdict::NoData),
            (vector(&[0.0]), Verdict::Fail),
            (vector(&[1.0]), Verdict::Pass),
            (QueryResult::Scalar(f64::INFINITY), Verdict::Pass),
            (QueryResult::Scalar(-1.0), Verdict::Fail),
        ] {
            assert_eq!(judge(&asked(), &result).verdict, verdict, "{result:?}");
        }
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(0.123_456_7), "0.12346");
        assert_eq!(figure(12_345.678_9), "12346");
        assert_eq!(figure(3.0), "3");
    }
}
