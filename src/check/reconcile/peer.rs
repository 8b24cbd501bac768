//! Requests that another load generator sent, by its own output, against the server's counters.
//!
//! The same reading and the same judge as for a run of `sre`; what the output does not tell (paths, methods, statuses, who
//! was in flight) is left out of the question or makes it an interval.

use std::time::{Duration, Instant};

use super::check::{Place, jobs, longest_round, sorted};
use super::fetch::{self, Counters};
use super::history::TargetHistory;
use super::judge::{Case, Judgement};
use super::ledger::{Group as Requests, Key, Ledger};
use super::reading::Question;
use super::{CLOCKS, NAME};
use crate::check::wait::pause;
use crate::check::{Group, Kind, Outcome, Verdict};
use crate::error::{Error, Result};
use crate::figures::{count, plural};
use crate::interrupt::Interrupt;
use crate::observe::{Labels, Prometheus};
use crate::peers::{Detail, Told};
use crate::stack::{Counter, Stack, StatusAs};
use crate::target::{Endpoints, PodChanges};

/// How long a shortfall is waited on: longer than the minute after which exporters send.
const WAIT: f64 = 65.0;

/// Another generator's run, and what it was put on.
#[derive(Debug, Clone, Copy)]
pub struct PeerRun<'a> {
    /// What its output tells.
    pub told: &'a Told,
    /// The path under which the server counts its requests; all paths, if left out.
    pub path: Option<&'a str>,
    /// Not before this instant on this machine's clock, in seconds since 1970.
    pub since: f64,
    /// Not after this one.
    pub until: f64,
    /// What counts its requests.
    pub stack: &'a Stack,
    /// Where that answers.
    pub endpoints: &'a Endpoints,
}

/// Holds what another generator tells against the server's counters.
///
/// `waiting` is told what is waited for.
///
/// # Errors
/// Interrupted (130, 143). Whatever Prometheus cannot tell is a verdict, not an error.
pub async fn check_peer(
    prometheus: &Prometheus,
    run: PeerRun<'_>,
    interrupt: &Interrupt,
    waiting: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Outcome>> {
    let no_data = |reason: String| {
        let outcome = Outcome::no_data(Kind::Reconcile, Group::Counts, NAME).noted(reason);
        Ok(vec![outcome.hinted("Is Prometheus up, and does it scrape the service? `sre status` tells.")])
    };
    if run.told.most() == 0 {
        return no_data(format!("{} tells of no request: there is nothing to count.", run.told.peer.name()));
    }
    let started = Instant::now();
    let clocks = match interrupt.or(clocks(prometheus)).await? {
        Ok(clocks) => clocks,
        Err(error) => return no_data(error.to_string()),
    };
    loop {
        let message = match interrupt.or(look(prometheus, run, clocks, started)).await? {
            Ok(Judgement::Final(outcomes)) => return Ok(outcomes),
            Ok(Judgement::Wait(message)) => message,
            Err(error) if error.is_lasting() || started.elapsed().as_secs_f64() > WAIT => {
                return no_data(error.to_string());
            }
            Err(error) => format!("waiting for Prometheus: {}", error.what()),
        };
        waiting(&message);
        pause(interrupt, Duration::from_secs(1)).await?;
    }
}

/// By how much Prometheus' clock is ahead of this machine's, at least and at most.
async fn clocks(prometheus: &Prometheus) -> Result<(f64, f64)> {
    let here = || jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
    let before = here();
    let there = prometheus.time().await?;
    Ok((there - here(), there - before))
}

async fn look(
    prometheus: &Prometheus,
    run: PeerRun<'_>,
    (ahead_least, ahead_most): (f64, f64),
    started: Instant,
) -> Result<Judgement> {
    let (since, until) = (run.since + ahead_least, run.until + ahead_most);
    let counter = asked(&run.stack.counter, run.path);
    let counters = Counters { counter: &counter, others: Vec::new() };
    let replicas = run.endpoints.scraped();
    let instances: Vec<String> = replicas.iter().map(|(_, instance)| instance.clone()).collect();
    let now = prometheus.time().await?;
    let targets = prometheus.targets_with(jobs(run.stack)).await?;
    let round = longest_round(&targets, counter.job.as_deref())?;
    let baseline = fetch::baseline_at(prometheus, &counters, &instances, since, round).await?;
    if baseline.targets.is_empty() {
        return Err(Error::no_data(
            "Prometheus has no scrape of the service from the minutes before the run",
        )
        .hint("Bring the lab up before the load, and say --since as it was.")
        .lasting());
    }
    let latest = until + WAIT.max(2.0 * round);
    let seen = fetch::since(prometheus, &counters, &instances, &baseline, now.min(latest)).await?;
    let ended = ended(&seen.histories, run.told, since, until);
    let deadline = ended + WAIT.max(2.0 * round);
    let overdue = started.elapsed().as_secs_f64() > deadline - ended + round + CLOCKS;
    let place = Place {
        prometheus,
        counters: &counters,
        targets: &targets,
        pods: (&PodChanges::default(), &run.endpoints.pods),
        from: since,
        ended,
        until: now.min(deadline),
    };
    let mut sorted = sorted(&place, seen).await;
    if !overdue && is_before(&sorted.kept, run.told, until) {
        return Ok(Judgement::Wait("waiting for a scrape after the end of the run".into()));
    }
    sorted.doubts.extend(followed(&sorted.kept, &run.stack.counter, run.told));
    let counter = respell(counter, run.told.detail, &mut sorted.kept);
    let ledger = ledger(run.told, &counter);
    let rose_on = rose_on(&sorted.kept, until);
    let question = Question { counter: &counter, ledger: &ledger, tolerance: 0 };
    let now = if overdue { f64::MAX } else { now };
    let case = Case {
        duplicates: sorted.named,
        replicas,
        doubts: sorted.doubts,
        instead: sorted.instead,
        round,
        ..Case::of(question, sorted.kept, ended, deadline, now)
    };
    Ok(match case.judge() {
        Judgement::Wait(message) => Judgement::Wait(message),
        Judgement::Final(outcomes) => Judgement::Final(tell(outcomes, run.told, &counter, rose_on)),
    })
}

/// The counter as it is asked: of one path, where that is known.
fn asked(counter: &Counter, path: Option<&str>) -> Counter {
    let mut asked = counter.clone();
    if let (Some(label), Some(path)) = (&counter.path, path) {
        asked.matching.insert(label.clone(), path.to_owned());
    }
    (asked.path, asked.method) = (None, None);
    asked
}

/// The last instant at which a request may have been answered. Where the output tells no times, `until` may be long after
/// the run: the last rise that it can have made is nearer.
fn ended(histories: &[TargetHistory], told: &Told, since: f64, until: f64) -> f64 {
    if told.times.is_some() {
        return until;
    }
    // What came just before `until` shows in the next scrape only.
    let seen = |history: &TargetHistory| history.scrapes_after(until).next().unwrap_or(until);
    let rises = histories.iter().filter_map(|history| history.count(seen(history)).last_rise());
    rises.fold(since + told.seconds.unwrap_or(0.0), f64::max).min(until)
}

/// Whether requests until then may not be scraped yet. Where the output tells no times, what was seen last is taken for its
/// end, and that may be one request too early.
fn is_before(histories: &[TargetHistory], told: &Told, until: f64) -> bool {
    let unseen = |history: &TargetHistory| history.scrapes_after(until).next().is_none();
    told.times.is_none() && histories.iter().any(unseen)
}

/// Whether counters rose in a scrape that no request until then can have reached first.
fn rose_on(histories: &[TargetHistory], until: f64) -> bool {
    histories.iter().any(|history| {
        let Some(next) = history.scrapes_after(until).next() else { return false };
        history.count(f64::MAX).last_rise().is_some_and(|rise| rise > next)
    })
}

/// A generator that follows redirects and does not tell of them, and a server that counted some.
fn followed(histories: &[TargetHistory], counter: &Counter, told: &Told) -> Option<String> {
    let status = counter.status.as_ref()?;
    let mut rises = histories.iter().flat_map(|history| history.count(f64::MAX).rises);
    let redirected = |labels: &Labels| labels.get(status).and_then(|value| class(value)) == Some('3');
    let tells = told.answered.keys().any(|status| status.starts_with('3'));
    let some =
        told.peer.may_follow_redirects() && !tells && rises.any(|r| r.by > 0.0 && redirected(&r.labels));
    some.then(|| {
        format!(
            "redirects were counted, of which {} tells nothing: it counts a whole chain once",
            told.peer.name()
        )
    })
}

/// The class of a status, as labels spell statuses: `404`, `4xx`.
fn class(value: &str) -> Option<char> {
    let (first, rest) = value.split_at_checked(1)?;
    let first = first.chars().next().filter(|digit| ('1'..='5').contains(digit))?;
    (rest == "xx" || (rest.len() == 2 && rest.bytes().all(|digit| digit.is_ascii_digit()))).then_some(first)
}

/// Brings the counter and what was seen of it to the statuses that the output tells apart.
fn respell(mut counter: Counter, detail: Detail, histories: &mut [TargetHistory]) -> Counter {
    let Some(label) = counter.status.clone() else { return counter };
    let series = || histories.iter().flat_map(|history| &history.series);
    let known = series().all(|series| series.labels.get(&label).is_none_or(|value| class(value).is_some()));
    if detail == Detail::Totals || !known {
        counter.status = None;
        return counter;
    }
    if detail == Detail::Classes {
        counter.status_as = StatusAs::Class;
        for series in histories.iter_mut().flat_map(|history| &mut history.series) {
            if let Some(value) = series.labels.get_mut(&label)
                && let Some(class) = class(value)
            {
                *value = format!("{class}xx");
            }
        }
    }
    counter
}

/// What the counter must show.
fn ledger(told: &Told, counter: &Counter) -> Ledger {
    let mut requests = Requests { unknown: told.unanswered + told.dropped, ..Requests::default() };
    for (status, count) in &told.answered {
        let mut key = Key::new();
        if let Some(label) = &counter.status {
            let code = status.parse().ok().filter(|_| told.detail == Detail::Codes);
            key.insert(
                label.clone(),
                code.map_or_else(|| status.clone(), |code| counter.status_as.spell(code)),
            );
        }
        if *count > 0 {
            *requests.answered.entry(key).or_default() += count;
        }
    }
    Ledger { groups: vec![requests], ..Ledger::default() }
}

/// The outcomes in the words of what was asked.
fn tell(mut outcomes: Vec<Outcome>, told: &Told, counter: &Counter, rose_on: bool) -> Vec<Outcome> {
    if counter.status.is_none() {
        outcomes.truncate(1);
    }
    let name = told.peer.name();
    let Some(all) = outcomes.first_mut() else { return outcomes };
    let figure = |name: &str| all.evidence[name].as_u64().unwrap_or_default();
    let (counted, most) = (figure("counted"), figure("sent"));
    all.notes.retain(|note| !note.contains("without a complete answer:"));
    let exact = counted == told.total();
    match all.verdict {
        Verdict::Pass if exact => all.message = format!("{0} = {0}", count(counted)),
        Verdict::Pass => {
            let mut within = Vec::new();
            if told.dropped > 0 {
                within.push(format!("{} in flight", count(told.dropped)));
            }
            if told.unanswered > 0 {
                within.push(format!("{} without a complete answer", count(told.unanswered)));
            }
            let (within, total) = (within.join(" and "), count(told.total()));
            all.message = format!("{} counted, {total} told: agrees within {within}", count(counted));
            if told.dropped > 0 {
                all.notes.push(format!(
                    "{name} {} drops what is in flight at its end, up to {}; whether just those were counted is not known.",
                    told.peer.version(),
                    plural(told.dropped, "request", "requests"),
                ));
            }
        }
        Verdict::Fail => {
            let told = match most {
                most if most == told.total() => count(most),
                most => format!("{} to {}", count(told.total()), count(most)),
            };
            all.message = format!("{told} sent by what {name} tells, {} counted", count(counted));
        }
        _ => {}
    }
    if told.unanswered > 0 && all.verdict != Verdict::Pass {
        all.notes.push(format!(
            "{} ended without a complete answer: the server may have counted each or not.",
            plural(told.unanswered, "request", "requests")
        ));
    }
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.verdict == Verdict::Fail) {
        if rose_on && counted > most {
            outcome.verdict = Verdict::NoData;
            outcome.notes.push(
                "The counters rose on after the run: somebody else sends requests, and nobody knows since when.".into(),
            );
            outcome.hint = Some(
                Kind::Reconcile.hint("Name the run's end with --until, its path with --path; or send alone."),
            );
        } else if let Some(hint) = &mut outcome.hint {
            *hint = format!("{} {hint}", told.peer.caveat());
        }
    }
    for hint in outcomes.iter_mut().filter_map(|outcome| outcome.hint.as_mut()) {
        // What mends it in a scenario does not mend it here.
        if hint.contains("reconcile: {") {
            *hint = Kind::Reconcile
                .hint("Once the counters have caught up, ask again with the same --since and --until.");
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::observe::{Sample, Series};
    use crate::peers::Peer;

    fn counter() -> Counter {
        serde_json::from_value(json!({"metric": "m", "path": "path", "method": "method", "status": "code"}))
            .expect("a counter")
    }

    fn told(peer: Peer, detail: Detail, answered: &[(&str, u64)]) -> Told {
        let answered: BTreeMap<String, u64> =
            answered.iter().map(|(status, count)| ((*status).to_owned(), *count)).collect();
        Told {
            peer,
            detail,
            answered,
            unanswered: 0,
            dropped: 0,
            path: None,
            seconds: Some(1.0),
            times: None,
        }
    }

    /// Scraped each second from 0 on, with these values by status.
    fn history(series: &[(&str, &[f64])]) -> TargetHistory {
        let samples = |values: &[f64]| {
            values
                .iter()
                .enumerate()
                .map(|(time, value)| Sample { time: time as f64, value: *value })
                .collect()
        };
        let of = |(code, values): &(&str, &[f64])| Series {
            labels: Labels::from([("__name__".into(), "m".into()), ("code".into(), (*code).into())]),
            samples: samples(values),
        };
        let scrapes = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        TargetHistory {
            labels: Labels::from([("job".into(), "shop".into()), ("instance".into(), "1:1".into())]),
            scrapes: samples(&vec![1.0; scrapes]),
            series: series.iter().map(of).collect(),
            known_before: true,
            ..TargetHistory::default()
        }
    }

    /// The verdict long after a run from 0.5 s to `until`, its words, and those of its notes.
    fn judged(told: &Told, mut histories: Vec<TargetHistory>, until: f64) -> (Verdict, String, String) {
        let doubts = followed(&histories, &counter(), told).into_iter().collect();
        let counter = respell(asked(&counter(), Some("/list")), told.detail, &mut histories);
        let ledger = ledger(told, &counter);
        let (ended, rose_on) = (ended(&histories, told, 0.5, until), rose_on(&histories, until));
        let question = Question { counter: &counter, ledger: &ledger, tolerance: 0 };
        let case = Case { doubts, ..Case::of(question, histories, ended, ended + WAIT, f64::MAX) };
        let Judgement::Final(outcomes) = case.judge() else { panic!("it is final") };
        let outcomes = tell(outcomes, told, &counter, rose_on);
        let worst = [Verdict::Fail, Verdict::NoData, Verdict::Pass];
        let worst = worst.into_iter().find(|verdict| outcomes.iter().any(|o| o.verdict == *verdict));
        let notes = outcomes.iter().flat_map(|o| o.notes.iter().chain(&o.hint)).cloned();
        (worst.expect("a verdict"), outcomes[0].message.clone(), notes.collect::<Vec<_>>().join(" "))
    }

    /// A counter that rises by `by` in its third second, and stands still for so long that a shortfall is one.
    fn risen(code: &str, by: f64) -> TargetHistory {
        let values: Vec<f64> = (0..90).map(|time| if time < 3 { 7.0 } else { 7.0 + by }).collect();
        history(&[(code, &values)])
    }

    #[test]
    fn exactly_what_was_told_passes_and_a_request_more_or_less_does_not() {
        let told = told(Peer::Hey, Detail::Codes, &[("200", 100)]);
        assert_eq!(judged(&told, vec![risen("200", 100.0)], 8.0).0, Verdict::Pass);
        assert_eq!(judged(&told, vec![risen("200", 100.0)], 8.0).1, "100 = 100");
        let (verdict, message, notes) = judged(&told, vec![risen("200", 101.0)], 8.0);
        assert_eq!((verdict, message.as_str()), (Verdict::Fail, "100 sent by what hey tells, 101 counted"));
        assert!(notes.contains("hey follows redirects"), "{notes}");
        assert_eq!(judged(&told, vec![risen("200", 99.0)], 8.0).0, Verdict::Fail);
        assert_eq!(judged(&told, vec![risen("500", 100.0)], 8.0).0, Verdict::Fail, "another status");
    }

    #[test]
    fn without_a_scrape_after_its_end_a_run_is_not_known_whole() {
        let told = told(Peer::Ab, Detail::Totals, &[("", 100)]);
        let history = || vec![risen("200", 100.0)];
        assert!(is_before(&history(), &told, 89.5), "the last scrape was at 89 s");
        assert!(!is_before(&history(), &told, 88.5));
        let times = Some((1.0, 89.5));
        assert!(!is_before(&history(), &Told { times, ..told }, 89.5), "the judge knows when it ended");
    }

    #[test]
    fn what_is_dropped_is_a_bound_and_said_so() {
        let told = Told { dropped: 10, ..told(Peer::Wrk, Detail::Totals, &[("", 100)]) };
        let (verdict, message, notes) = judged(&told, vec![risen("200", 107.0)], 8.0);
        assert_eq!(verdict, Verdict::Pass);
        assert_eq!(message, "107 counted, 100 told: agrees within 10 in flight");
        assert!(notes.contains("wrk 4.1.0 drops what is in flight at its end, up to 10 requests"), "{notes}");
        assert_eq!(judged(&told, vec![risen("200", 100.0)], 8.0).1, "100 = 100");
        assert_eq!(judged(&told, vec![risen("200", 111.0)], 8.0).0, Verdict::Fail);
        assert_eq!(judged(&told, vec![risen("200", 99.0)], 8.0).0, Verdict::Fail);
        let none = Told { unanswered: 5, ..Told { answered: BTreeMap::new(), ..told } };
        assert_eq!(judged(&none, vec![risen("200", 3.0)], 8.0).0, Verdict::NoData);
    }

    #[test]
    fn classes_are_held_against_codes_and_unknown_spellings_against_nothing() {
        let told = told(Peer::H2load, Detail::Classes, &[("2xx", 30), ("5xx", 4)]);
        let ends = |to: f64| (0..90).map(|time| if time < 3 { 0.0 } else { to }).collect::<Vec<f64>>();
        let (ok, made, bad) = (ends(20.0), ends(10.0), ends(4.0));
        let codes = history(&[("200", &ok), ("201", &made), ("503", &bad)]);
        assert_eq!(judged(&told, vec![codes], 8.0).0, Verdict::Pass);
        let words = history(&[("OK", &ok), ("Created", &made), ("Unavailable", &bad)]);
        assert_eq!(judged(&told, vec![words], 8.0).1, "34 = 34");
        for (value, expected) in
            [("404", Some('4')), ("4xx", Some('4')), ("OK", None), ("2000", None), ("é", None)]
        {
            assert_eq!(class(value), expected, "{value}");
        }
    }

    #[test]
    fn counters_that_rise_on_prove_no_surplus() {
        let told = told(Peer::Hey, Detail::Codes, &[("200", 100)]);
        let values: Vec<f64> = (0..90).map(|time| 50.0 * f64::from(time)).collect();
        let (verdict, _, notes) = judged(&told, vec![history(&[("200", &values)])], 8.0);
        assert_eq!(verdict, Verdict::NoData);
        assert!(notes.contains("somebody else sends requests"), "{notes}");
    }

    #[test]
    fn redirects_that_are_followed_unseen_are_no_data() {
        let moved = |peer| {
            let told = told(peer, Detail::Codes, &[("200", 100)]);
            judged(&told, vec![history(&[("302", &[0.0, 0.0, 100.0]), ("200", &[0.0, 0.0, 100.0])])], 8.0).0
        };
        assert_eq!(moved(Peer::Vegeta), Verdict::NoData);
        let told = told(Peer::Vegeta, Detail::Codes, &[("302", 100)]);
        assert_eq!(
            judged(&told, vec![risen("302", 100.0)], 8.0).0,
            Verdict::Pass,
            "it was told not to follow"
        );
    }
}
