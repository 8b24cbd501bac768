//! Check `series`: series are there, with the labels named.

use super::context::CheckContext;
use super::wait::until_pass;
use super::{Group, Kind, Outcome, Verdict};
use crate::error::Result;
use crate::figures::{count, plural};
use crate::observe::{Labels, QueryResult};
use crate::scenario::SeriesCheck;

/// Series are there, with the labels named.
///
/// # Errors
/// Interrupted (130, 143).
pub async fn check(context: &CheckContext<'_>, asked: &SeriesCheck) -> Result<Outcome> {
    let look = || context.judge_answer(&asked.series, asked.wait.get(), |result| judge(asked, result));
    until_pass(context, asked.wait.get(), look, |error| blind(asked, error.to_string())).await
}

fn outcome(asked: &SeriesCheck, verdict: Verdict, message: String) -> Outcome {
    Outcome::new(Kind::Series, Group::Metrics, asked.series.clone(), verdict, message)
        .hinted("Prometheus' own page shows which series there are.")
}

fn blind(asked: &SeriesCheck, reason: String) -> Outcome {
    outcome(asked, Verdict::NoData, "no data".into()).noted(reason)
}

/// The verdict on a selector's answer.
pub(super) fn judge(asked: &SeriesCheck, result: &QueryResult) -> Outcome {
    match result {
        QueryResult::Vector(series) => {
            judge_labels(asked, &series.iter().map(|(labels, _)| labels.clone()).collect::<Vec<_>>())
        }
        QueryResult::Scalar(_) => blind(asked, "It gives a number, not series.".into()),
    }
}

fn judge_labels(asked: &SeriesCheck, series: &[Labels]) -> Outcome {
    if series.is_empty() {
        return blind(asked, "Prometheus has no such series.".into());
    }
    let lacks = |labels: &Labels| {
        asked.labels.iter().find(|label| labels.get(*label).is_none_or(String::is_empty)).cloned()
    };
    let lacking: Vec<String> = series.iter().filter_map(lacks).collect();
    match lacking.first() {
        None => outcome(asked, Verdict::Pass, plural(series.len() as u64, "series", "series")),
        Some(label) => outcome(
            asked,
            Verdict::Fail,
            format!(
                "{} of {} without label {label}",
                count(lacking.len() as u64),
                count(series.len() as u64)
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_no_data_and_one_without_the_label_fails() {
        let asked: SeriesCheck =
            serde_json::from_value(serde_json::json!({"series": "up", "labels": ["zone"]})).expect("a check");
        let with = Labels::from([("zone".into(), "a".into())]);
        assert_eq!(judge_labels(&asked, &[]).verdict, Verdict::NoData);
        assert_eq!(judge_labels(&asked, std::slice::from_ref(&with)).verdict, Verdict::Pass);
        assert_eq!(judge_labels(&asked, &[with, Labels::new()]).verdict, Verdict::Fail);
    }
}
