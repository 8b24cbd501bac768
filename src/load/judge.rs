//! The verdicts that need no server: thresholds, and whether the generator kept the rate.

use serde_json::json;

use super::histograms::Timing;
use super::{Histograms, LoadSummary, RequestSummary, answered};
use crate::check::{Group, Kind, Outcome, Verdict};
use crate::figures::{count, latency};
use crate::scenario::{Metric, Scenario, Threshold};

/// Judges what the client knows by itself.
///
/// In the open model the first outcome is the generator's own: `Skipped` with its reason when it was overloaded. Latency
/// and rate thresholds then mean nothing and are `Skipped`, too. Next comes whether the requests were answered. A threshold
/// on what was not measured is `NoData`.
pub fn judge(scenario: &Scenario, summary: &LoadSummary, histograms: &Histograms) -> Vec<Outcome> {
    let thresholds = scenario.thresholds.iter().map(|threshold| judge_one(threshold, summary, histograms));
    let answered = answered::judge(scenario, summary);
    generator(summary).into_iter().chain(answered).chain(thresholds).collect()
}

fn generator(summary: &LoadSummary) -> Option<Outcome> {
    if !summary.lost.is_empty() {
        return Some(lost(summary));
    }
    let asked = summary.asked?;
    let outcome = |verdict, message| {
        Outcome::new(Kind::Generator, Group::Load, "the generator kept the rate", verdict, message)
    };
    if let Some(overload) = &summary.overload {
        let message = format!("{:.1}/s reached", overload.reached);
        let mut outcome = outcome(Verdict::Skipped, message)
            .noted(overload.reason.clone())
            .hinted("Ask for a lower rate, allow more connections, or send from a larger machine.");
        outcome.evidence = json!(overload);
        return Some(outcome);
    }
    if summary.interrupted || asked == 0 {
        let left = summary.total.sent + summary.total.not_sent;
        let why = match asked {
            0 => "The schedule asks for no request.",
            _ => "The load was interrupted.",
        };
        let message = format!("{} of {} requests were due", count(left), count(asked));
        return Some(outcome(Verdict::NoData, message).hinted(why));
    }
    Some(outcome(Verdict::Pass, format!("{} requests, none left out", count(asked))))
}

/// What a lost worker sent nobody knows: no figure stands for the whole load.
fn lost(summary: &LoadSummary) -> Outcome {
    let name = "no worker was lost";
    let mut outcome =
        Outcome::new(Kind::Generator, Group::Load, name, Verdict::NoData, summary.lost.join("; "))
            .noted("What it sent is in no count.")
            .hinted("Find out what ended it, then run it again.");
    outcome.evidence = json!({"lost": summary.lost});
    outcome
}

fn judge_one(threshold: &Threshold, summary: &LoadSummary, histograms: &Histograms) -> Outcome {
    let outcome = |verdict, message: String| {
        Outcome::new(Kind::Threshold, Group::Load, threshold.to_string(), verdict, message)
    };
    let known = if summary.lost.is_empty() {
        Ok(())
    } else {
        Err("A worker was lost, and its times with it.".to_owned())
    };
    let measured = known
        .and_then(|()| select(threshold, summary))
        .and_then(|(requests, seconds)| measure(threshold, requests, seconds, histograms));
    let value = match measured {
        Ok(value) => value,
        Err(why) => {
            return outcome(Verdict::NoData, "no data".into())
                .noted(why)
                .hinted("A limit on what was not measured says nothing.");
        }
    };
    let figure = figure(threshold.metric, value);
    let holds = threshold.operator.holds(value, threshold.limit);
    let meaningless = match threshold.metric {
        // What this process never put on the service says nothing of it: the verdict must be the same without.
        Metric::ErrorRate => {
            let service =
                select(threshold, summary).ok().and_then(|(requests, _)| requests.service_error_rate());
            service.is_none_or(|rate| threshold.operator.holds(rate, threshold.limit) != holds)
        }
        _ => true,
    };
    if summary.overload.is_some() && meaningless {
        let mut outcome = outcome(Verdict::Skipped, format!("{figure}, but the generator was overloaded"));
        outcome.evidence = json!({"measured": value, "limit": threshold.limit});
        return outcome;
    }
    let mut outcome = outcome(if holds { Verdict::Pass } else { Verdict::Fail }, figure.clone());
    outcome.evidence = json!({"measured": value, "limit": threshold.limit});
    if !holds {
        outcome.notes.push(format!(
            "{} was {figure}; it had to be {} {}.",
            threshold.metric,
            threshold.operator,
            limit(threshold)
        ));
        outcome.hint = Some(Kind::Threshold.documentation());
    }
    outcome
}

/// The requests that a threshold speaks of, and the seconds that they were due in.
fn select<'a>(threshold: &Threshold, summary: &'a LoadSummary) -> Result<(&'a RequestSummary, f64), String> {
    let (requests, total, seconds) = match &threshold.phase {
        None => (&summary.requests, &summary.total, summary.phases.iter().map(|phase| phase.seconds).sum()),
        Some(name) => {
            let phase = summary.phases.iter().find(|phase| phase.name == *name);
            let phase = phase.ok_or_else(|| format!("No phase is named `{name}`."))?;
            (&phase.requests, &phase.total, phase.seconds)
        }
    };
    match &threshold.request {
        None => Ok((total, seconds)),
        Some(name) => {
            let request = requests.get(name).ok_or_else(|| format!("No request is named `{name}`."))?;
            Ok((request, seconds))
        }
    }
}

fn measure(
    threshold: &Threshold,
    requests: &RequestSummary,
    seconds: f64,
    histograms: &Histograms,
) -> Result<f64, String> {
    let error_rate = requests.error_rate().ok_or("No request was sent.")?;
    let times = &requests.times.since_due;
    match threshold.metric {
        Metric::ErrorRate => Ok(error_rate),
        Metric::Rate if seconds > 0.0 => Ok(requests.statuses.values().sum::<u64>() as f64 / seconds),
        _ if times.count == 0 => Err("No request was answered.".into()),
        Metric::Percentile(percentile) => {
            let histogram =
                histograms.select(Timing::SinceDue, threshold.request.as_deref(), threshold.phase.as_deref());
            if histogram.is_empty() {
                return Err("The times of the answers are missing.".into());
            }
            Ok(histogram.value_at_percentile(percentile) as f64 / 1000.0)
        }
        Metric::Mean => Ok(times.mean),
        Metric::Max => Ok(times.max),
        Metric::Rate => Err("The load lasted no time.".into()),
    }
}

fn figure(metric: Metric, value: f64) -> String {
    match metric {
        Metric::ErrorRate => format!("{:.2}%", value * 100.0),
        Metric::Rate => format!("{value:.1}/s"),
        Metric::Percentile(_) | Metric::Mean | Metric::Max => latency(value),
    }
}

fn limit(threshold: &Threshold) -> String {
    figure(threshold.metric, threshold.limit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::capacity::{Held, Step};
    use crate::load::histograms::{Key, empty, record};
    use crate::load::{NotSent, Overload, PhaseSummary, Reason, Unexpected, Unknown};

    /// 100 requests in 10 s: 90 answered after 1 to 90 ms, of which 5 unexpectedly, 10 refused.
    fn measured() -> (LoadSummary, Histograms) {
        let mut times = empty();
        (1..=90).for_each(|ms| record(&mut times, Duration::from_millis(ms)));
        let key = Key { phase: "steady".into(), request: "list".into(), timing: Timing::SinceDue };
        let mut histograms = Histograms::default();
        histograms.add(key, &times).expect("same bounds");
        let request = RequestSummary {
            sent: 90,
            statuses: [(200, 85), (500, 5)].into(),
            unexpected: 5,
            not_sent: 10,
            unknown: 0,
            reasons: [(Reason::Unexpected(Unexpected::Status), 5), (Reason::NotSent(NotSent::Refused), 10)]
                .into(),
            times: histograms.times(None, None),
        };
        let requests: indexmap::IndexMap<_, _> =
            [("list".to_owned(), request.clone()), ("never".to_owned(), RequestSummary::default())].into();
        let summary = LoadSummary {
            started: jiff::Timestamp::UNIX_EPOCH,
            seconds: 10.0,
            asked: Some(100),
            tallies: Vec::new(),
            requests: requests.clone(),
            total: request.clone(),
            phases: vec![PhaseSummary {
                name: "steady".into(),
                seconds: 10.0,
                asked: Some(100),
                requests,
                total: request,
            }],
            overload: None,
            interrupted: false,
            lost: Vec::new(),
        };
        (summary, histograms)
    }

    fn judged(threshold: &str, summary: &LoadSummary, histograms: &Histograms) -> Outcome {
        let scenario: Scenario = serde_json::from_value(json!({
            "name": "test", "load": {"arrival-rate": {"phases": []}}, "requests": {}, "thresholds": [threshold],
        }))
        .expect("a scenario");
        judge(&scenario, summary, histograms).pop().expect("an outcome")
    }

    #[test]
    fn figures_are_held_against_their_limits() {
        let (summary, histograms) = measured();
        for (threshold, verdict) in [
            ("p50 < 46ms", Verdict::Pass),
            ("p50 < 45ms", Verdict::Fail),
            ("p99.9 <= 91ms for list in steady", Verdict::Pass),
            ("max < 90ms", Verdict::Fail),
            ("mean < 46ms in steady", Verdict::Pass),
            ("error rate < 16%", Verdict::Pass),
            ("error rate < 15%", Verdict::Fail),
            ("rate >= 9/s", Verdict::Pass),
            ("rate > 9/s for list", Verdict::Fail),
            ("p95 < 1h for never", Verdict::NoData),
            ("error rate < 1% for never", Verdict::NoData),
            ("p95 < 1h for nobody", Verdict::NoData),
            ("p95 < 1h in never", Verdict::NoData),
        ] {
            let outcome = judged(threshold, &summary, &histograms);
            assert_eq!(outcome.verdict, verdict, "{threshold}: {outcome:?}");
        }
    }

    #[test]
    fn when_overloaded_only_counts_are_judged() {
        let (mut summary, histograms) = measured();
        summary.overload = Some(Overload { reason: "too slow".into(), late: 50, never: 0, reached: 5.0 });
        assert_eq!(judged("p50 < 1ms", &summary, &histograms).verdict, Verdict::Skipped);
        assert_eq!(judged("rate > 1/s", &summary, &histograms).verdict, Verdict::Skipped);
        assert_eq!(judged("error rate < 1%", &summary, &histograms).verdict, Verdict::Fail);
        let generator = generator(&summary).expect("an outcome");
        assert_eq!((generator.verdict, generator.notes), (Verdict::Skipped, vec!["too slow".to_owned()]));
    }

    #[test]
    fn an_error_rate_is_judged_without_what_own_bounds_kept_back() {
        // 94 of 160 were never put on the service, which answered the others: some of them with errors.
        let of = |errors: u64, own: NotSent| {
            let mut summary = ended(66, errors, 94, 0);
            let reasons = [(Reason::NotSent(own), 94), (Reason::Unexpected(Unexpected::Status), errors)];
            summary.total.reasons = reasons.into_iter().filter(|(_, count)| *count > 0).collect();
            summary.overload =
                Some(Overload { reason: "3 connections".into(), late: 9, never: 94, reached: 16.0 });
            summary
        };
        for (summary, threshold, verdict) in [
            (of(0, NotSent::Queue), "error rate < 5%", Verdict::Skipped),
            (of(0, NotSent::Limit), "error rate < 5%", Verdict::Skipped),
            (of(0, NotSent::Refused), "error rate < 5%", Verdict::Fail),
            (of(9, NotSent::Queue), "error rate < 5%", Verdict::Fail),
            (of(9, NotSent::Queue), "error rate < 90%", Verdict::Pass),
            (of(0, NotSent::Queue), "error rate > 50%", Verdict::Skipped),
        ] {
            let outcome = judged(threshold, &summary, &Histograms::default());
            assert_eq!(outcome.verdict, verdict, "{threshold}: {outcome:?}");
        }
        assert_eq!(answered(&["error rate < 5%"], &of(0, NotSent::Queue)).verdict, Verdict::Skipped);
    }

    #[test]
    fn a_lost_worker_is_no_smaller_number() {
        let (mut summary, histograms) = measured();
        summary.lost = vec!["worker 2 of 4 was lost after 3.0 s: signal: 9 (SIGKILL)".into()];
        assert_eq!(judged("p50 < 1h", &summary, &histograms).verdict, Verdict::NoData);
        assert_eq!(judged("error rate < 99%", &summary, &histograms).verdict, Verdict::NoData);
        summary.asked = None;
        let generator = generator(&summary).expect("an outcome");
        assert_eq!((generator.verdict, &generator.message), (Verdict::NoData, &summary.lost[0]));
    }

    #[test]
    fn times_that_are_missing_are_no_pass() {
        let (summary, _) = measured();
        assert_eq!(judged("p95 < 1h", &summary, &Histograms::default()).verdict, Verdict::NoData);
    }

    /// The verdict on whether requests were answered, under these thresholds.
    fn answered(thresholds: &[&str], summary: &LoadSummary) -> Outcome {
        let scenario: Scenario = serde_json::from_value(json!({
            "name": "test", "load": {"arrival-rate": {"phases": []}}, "requests": {}, "thresholds": thresholds,
        }))
        .expect("a scenario");
        judge(&scenario, summary, &Histograms::default())
            .into_iter()
            .find(|outcome| outcome.kind == Kind::Answered)
            .expect("an outcome")
    }

    /// So many requests of one name were answered, of which some unexpectedly, and the others refused or timed out.
    fn ended(answered: u64, unexpected: u64, refused: u64, timed_out: u64) -> LoadSummary {
        let (mut summary, _) = measured();
        let request = RequestSummary {
            sent: answered + timed_out,
            statuses: [(200, answered)].into_iter().filter(|(_, count)| *count > 0).collect(),
            unexpected,
            not_sent: refused,
            unknown: timed_out,
            reasons: [
                (Reason::NotSent(NotSent::Refused), refused),
                (Reason::Unknown(Unknown::Timeout), timed_out),
                (Reason::Unexpected(Unexpected::Status), unexpected),
            ]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect(),
            ..RequestSummary::default()
        };
        summary.requests = [("list".to_owned(), request.clone())].into();
        summary.total = request;
        summary
    }

    #[test]
    fn requests_without_an_answer_fail_unless_a_threshold_on_all_of_them_allows_for_them() {
        for (summary, thresholds, verdict) in [
            (ended(100, 0, 0, 0), &[][..], Verdict::Pass),
            (ended(99, 0, 1, 0), &[], Verdict::Pass),
            (ended(98, 0, 1, 1), &[], Verdict::Fail),
            (ended(100, 2, 0, 0), &[], Verdict::Fail),
            (ended(100, 100, 0, 0), &[], Verdict::Fail),
            (ended(0, 0, 100, 0), &[], Verdict::NoData),
            (ended(0, 0, 0, 60), &["error rate <= 100%"], Verdict::NoData),
            (ended(21, 0, 79, 0), &["error rate < 80%"], Verdict::Pass),
            (ended(21, 0, 79, 0), &["error rate < 80% for list"], Verdict::Fail),
            (ended(21, 0, 79, 0), &["error rate < 80% in steady", "p95 < 1s"], Verdict::Fail),
            (ended(21, 0, 79, 0), &["error rate > 1%"], Verdict::Fail),
        ] {
            let outcome = answered(thresholds, &summary);
            assert_eq!(outcome.verdict, verdict, "{thresholds:?}: {outcome:?}");
        }
    }

    #[test]
    fn a_rate_at_which_nothing_is_answered_is_above_the_capacity_where_a_threshold_says_so() {
        for (threshold, held) in [("error rate < 1%", Held::Broken), ("error rate <= 100%", Held::NoData)] {
            let scenario: Scenario = serde_json::from_value(json!({
                "name": "test", "load": {"arrival-rate": {"phases": []}}, "requests": {}, "thresholds": [threshold],
            }))
            .expect("a scenario");
            let step = Step::new(100.0, &scenario, &ended(0, 0, 100, 0), &Histograms::default());
            assert_eq!(step.held, held, "{step:?}");
        }
    }

    #[test]
    fn reasons_are_told_by_request_name_in_words_and_for_machines() {
        let outcome = answered(&[], &ended(20, 1, 70, 9));
        assert_eq!(outcome.message, "19 of 99: 70 refused, 9 timeout, 1 unexpected status");
        let rows = outcome.table.expect("a table").rows;
        assert_eq!(rows[0], ["list", "the connection was refused", "70"]);
        let told = &outcome.evidence["failures"]["list"];
        assert_eq!(*told, json!({"refused": 70, "timeout": 9, "unexpected-status": 1}));
    }

    #[test]
    fn what_an_overloaded_generator_could_not_send_is_not_the_service_s_failure() {
        let mut summary = ended(50, 0, 50, 0);
        summary.overload = Some(Overload { reason: "too slow".into(), late: 50, never: 50, reached: 5.0 });
        assert_eq!(answered(&[], &summary).verdict, Verdict::Skipped);
    }

    #[test]
    fn an_interrupted_or_empty_schedule_was_not_kept() {
        let (mut summary, _) = measured();
        assert_eq!(generator(&summary).map(|o| o.verdict), Some(Verdict::Pass));
        summary.interrupted = true;
        assert_eq!(generator(&summary).map(|o| o.verdict), Some(Verdict::NoData));
        summary.interrupted = false;
        summary.asked = Some(0);
        assert_eq!(generator(&summary).map(|o| o.verdict), Some(Verdict::NoData));
    }
}
