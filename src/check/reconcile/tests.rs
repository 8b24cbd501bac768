//! What is wrong, and the verdict on it: the table of lies, without a server.
//! `tests/lies.rs` tells the same stories in front of a real Prometheus.

use super::history::TargetHistory;
use super::judge::{Case, Judgement};
use super::ledger::{Group, Ledger};
use super::reading::Question;
use crate::check::{Outcome, Verdict};
use crate::observe::{Labels, Sample, Series};
use crate::stack::Counter;

/// The load ran from 100 to 110 on Prometheus' clock; targets are scraped every second.
const ENDED: f64 = 110.0;

pub(super) fn counter() -> Counter {
    serde_json::from_value(serde_json::json!({"metric": "m", "status": "code"})).expect("a counter")
}

pub(super) fn key(code: &str) -> super::Key {
    [("code".to_owned(), code.to_owned())].into()
}

/// So many answers of each status, and so many requests of unknown fate.
pub(super) fn sent(statuses: &[(&str, u64)], unknown: u64) -> Ledger {
    let answered = statuses.iter().map(|(code, count)| (key(code), *count)).collect();
    Ledger {
        groups: vec![Group { base: super::Key::new(), answered, unknown }],
        raised: Vec::new(),
        unbooked: 0,
    }
}

/// A target that is scraped every second from 99.5 on, whose series have these values at these seconds.
pub(super) struct Target(pub(super) TargetHistory);

impl Target {
    pub(super) fn new(instance: &str) -> Target {
        let labels = Labels::from([("job".into(), "j".into()), ("instance".into(), instance.into())]);
        Target(TargetHistory { labels, known_before: true, ..TargetHistory::default() })
    }

    pub(super) fn scraped(mut self, until: f64) -> Target {
        let seconds = (until - 99.5).ceil() as i32;
        self.0.scrapes = (0..seconds).map(|i| Sample { time: 99.5 + f64::from(i), value: 1.0 }).collect();
        self
    }

    /// A series that is in every scrape from its first value on, rising in straight steps between the points.
    pub(super) fn counts(self, code: &str, points: &[(f64, f64)]) -> Target {
        self.series("code", code, points)
    }

    pub(super) fn series(mut self, label: &str, value: &str, points: &[(f64, f64)]) -> Target {
        let last = points.last().expect("a point").0;
        let samples =
            self.0.scrapes.iter().filter(|s| s.time >= points[0].0 && s.time <= last.max(s.time.min(last)));
        let at =
            |time: f64| points.iter().rev().find(|(from, _)| *from <= time).map_or(0.0, |(_, value)| *value);
        let samples: Vec<Sample> =
            samples.map(|scrape| Sample { time: scrape.time, value: at(scrape.time) }).collect();
        let labels = Labels::from([("__name__".into(), "m".into()), (label.into(), value.into())]);
        self.0.series.push(Series { labels, samples });
        self
    }

    fn fails_from(mut self, time: f64) -> Target {
        for scrape in self.0.scrapes.iter_mut().filter(|s| s.time >= time) {
            scrape.value = 0.0;
        }
        for series in &mut self.0.series {
            series.samples.retain(|s| s.time < time);
        }
        self
    }
}

pub(super) fn case<'a>(counter: &'a Counter, ledger: &'a Ledger, targets: Vec<Target>, now: f64) -> Case<'a> {
    let histories = targets.into_iter().map(|target| target.0).collect();
    Case::of(Question { counter, ledger, tolerance: 0 }, histories, ENDED, ENDED + 30.0, now)
}

fn judge(ledger: &Ledger, targets: Vec<Target>, now: f64) -> Judgement {
    case(&counter(), ledger, targets, now).judge()
}

pub(super) fn finally(ledger: &Ledger, targets: Vec<Target>) -> Vec<Outcome> {
    match judge(ledger, targets, ENDED + 34.0) {
        Judgement::Final(outcomes) => outcomes,
        Judgement::Wait(why) => panic!("still waiting: {why}"),
    }
}

pub(super) fn verdict(outcomes: &[Outcome]) -> Verdict {
    let of = |verdict| outcomes.iter().any(|outcome| outcome.verdict == verdict);
    match () {
        () if of(Verdict::Fail) => Verdict::Fail,
        () if of(Verdict::NoData) => Verdict::NoData,
        () => Verdict::Pass,
    }
}

pub(super) fn text(outcomes: &[Outcome]) -> String {
    outcomes
        .iter()
        .flat_map(|o| [vec![o.message.clone()], o.notes.clone()].concat())
        .collect::<Vec<_>>()
        .join("\n")
}

pub(super) const END: f64 = 142.0;

#[test]
fn counts_that_agree_pass_in_the_second_scrape_after_the_end() {
    let ledger = sent(&[("200", 100)], 0);
    let target = |until: f64| {
        Target::new("a").scraped(until).counts("200", &[(99.5, 7.0), (110.2, 107.0), (until, 107.0)])
    };
    assert!(
        matches!(judge(&ledger, vec![target(111.0)], 111.0), Judgement::Wait(_)),
        "one scrape is not enough"
    );
    match judge(&ledger, vec![target(112.0)], 112.0) {
        Judgement::Final(outcomes) => assert_eq!(verdict(&outcomes), Verdict::Pass, "{outcomes:#?}"),
        Judgement::Wait(why) => panic!("{why}"),
    }
}

#[test]
fn one_that_is_not_counted_fails_and_the_table_names_it() {
    let target = Target::new("a")
        .scraped(END)
        .counts("200", &[(99.5, 0.0), (105.0, 50.0), (110.2, 99.0), (END, 99.0)]);
    let outcomes = finally(&sent(&[("200", 100)], 0), vec![target]);
    assert_eq!(verdict(&outcomes), Verdict::Fail);
    let table = outcomes[0].table.as_ref().expect("a table");
    assert_eq!(table.rows, [["200", "100", "99", "-1"]]);
}

#[test]
fn a_single_rise_does_not_tell_a_lost_count_from_an_export_in_the_middle_of_the_load() {
    let ledger = sent(&[("200", 100)], 0);
    let counter = counter();
    let once = |settled: f64, wait: f64| {
        let end = ENDED + wait + 2.0;
        let target = Target::new("a").scraped(end).counts("200", &[(99.5, 0.0), (110.2, 60.0), (end, 60.0)]);
        let case =
            Case { settled, deadline: ENDED + wait, ..case(&counter, &ledger, vec![target], end + 2.0) };
        let Judgement::Final(outcomes) = case.judge() else { panic!("it waits") };
        outcomes
    };
    let outcomes = once(0.0, 30.0);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(text(&outcomes).contains("rose in a single scrape"), "{}", text(&outcomes));
    assert!(outcomes[0].hint.as_ref().is_some_and(|hint| hint.contains("wait: 90s")), "{outcomes:#?}");
    // Whoever waits for the next export knows.
    assert_eq!(verdict(&once(90.0, 90.0)), Verdict::Fail);
    assert_eq!(verdict(&once(0.0, 90.0)), Verdict::Fail);
}

#[test]
fn more_than_was_sent_fails_at_once() {
    let ledger = sent(&[("200", 100)], 0);
    let target =
        Target::new("a").scraped(111.0).counts("200", &[(99.5, 0.0), (105.0, 102.0), (111.0, 102.0)]);
    let Judgement::Final(outcomes) = judge(&ledger, vec![target], 111.0) else { panic!("it waits") };
    assert_eq!(verdict(&outcomes), Verdict::Fail);
    assert!(text(&outcomes).contains("counted more than was sent"), "{}", text(&outcomes));
}

#[test]
fn one_status_counted_as_another_fails_although_the_sum_agrees() {
    let target = Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (105.0, 100.0), (END, 100.0)]);
    let outcomes = finally(&sent(&[("200", 90), ("500", 10)], 0), vec![target]);
    assert_eq!((outcomes[0].verdict, outcomes[1].verdict), (Verdict::Pass, Verdict::Fail));
    assert_eq!(outcomes[1].table.as_ref().map(|table| table.rows.len()), Some(2));
}

#[test]
fn a_count_that_comes_late_is_waited_for() {
    let ledger = sent(&[("200", 100)], 0);
    let late = |until| {
        Target::new("a")
            .scraped(until)
            .counts("200", &[(99.5, 0.0), (120.0, 60.0), (130.0, 100.0), (until, 100.0)])
    };
    assert!(matches!(judge(&ledger, vec![late(125.0)], 125.0), Judgement::Wait(_)));
    // Where so long was not waited before the load, what was sent before it may be among that.
    for (settled, expected) in [(30.0, Verdict::Pass), (0.0, Verdict::NoData)] {
        let counter = counter();
        let case = Case { settled, ..case(&counter, &ledger, vec![late(END)], ENDED + 31.0) };
        let Judgement::Final(outcomes) = case.judge() else { panic!("it waits") };
        assert_eq!(verdict(&outcomes), expected, "{outcomes:#?}");
    }
}

#[test]
fn a_count_that_still_rises_at_the_bound_is_no_data_and_says_so() {
    let target = Target::new("a")
        .scraped(END)
        .counts("200", &[(99.5, 0.0), (120.0, 60.0), (139.0, 80.0), (END, 80.0)]);
    let outcomes = finally(&sent(&[("200", 100)], 0), vec![target]);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(text(&outcomes).contains("behind by 29.5 s or more"), "{}", text(&outcomes));
    assert!(outcomes[0].hint.as_ref().is_some_and(|hint| hint.contains("wait: 60s")), "{outcomes:#?}");
}

#[test]
fn a_counter_that_stands_still_from_the_middle_on_is_no_data() {
    let target = Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (105.0, 50.0), (END, 50.0)]);
    let outcomes = finally(&sent(&[("200", 100)], 0), vec![target]);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(text(&outcomes).contains("stand still since"), "{}", text(&outcomes));
}

#[test]
fn a_target_that_cannot_be_scraped_from_the_middle_on_is_no_data() {
    let target = Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (END, 0.0)]).fails_from(105.0);
    let outcomes = finally(&sent(&[("200", 100)], 0), vec![target]);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(
        text(&outcomes).contains("not scraped with success after the last response"),
        "{}",
        text(&outcomes)
    );
}

#[test]
fn a_target_that_cannot_be_scraped_hides_a_surplus_too() {
    // Everything was counted when the scrapes ended; nobody knows what came after.
    let target = Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (104.0, 100.0), (END, 100.0)]);
    let outcomes = finally(&sent(&[("200", 100)], 0), vec![target.fails_from(105.0)]);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
}

#[test]
fn a_restart_passes_only_if_the_counts_prove_it() {
    let restarted = |before: f64, after: f64| {
        Target::new("a")
            .scraped(END)
            .counts("200", &[(99.5, 40.0), (103.0, 40.0 + before), (106.0, after), (END, after)])
    };
    assert_eq!(verdict(&finally(&sent(&[("200", 100)], 0), vec![restarted(70.0, 30.0)])), Verdict::Pass);
    let outcomes = finally(&sent(&[("200", 100)], 3), vec![restarted(60.0, 30.0)]);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(
        text(&outcomes).contains("lost with the restart: between 10 and 13 requests"),
        "{}",
        text(&outcomes)
    );
}

#[test]
fn a_label_that_is_renamed_is_no_data_and_both_series_are_named() {
    let target = Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (104.5, 50.0)]).series(
        "status",
        "200",
        &[(105.5, 10.0), (108.5, 50.0), (END, 50.0)],
    );
    let outcomes = finally(&sent(&[("200", 100)], 0), vec![target]);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(text(&outcomes).contains(r#"m{code="200"} ended, m{status="200"} began"#), "{}", text(&outcomes));
}

#[test]
fn a_label_value_that_is_renamed_is_no_data_too() {
    let target = Target::new("a")
        .scraped(END)
        .counts("200", &[(99.5, 0.0), (104.5, 50.0)])
        .counts("2xx", &[(105.5, 10.0), (108.5, 50.0), (END, 50.0)]);
    // The first series is in no scrape after 105.
    let mut target = target;
    target.0.series[0].samples.retain(|s| s.time < 105.0);
    assert_eq!(verdict(&finally(&sent(&[("200", 100)], 0), vec![target])), Verdict::NoData);
}

#[test]
fn unknown_fates_are_an_interval() {
    let counted = |count: f64| {
        vec![
            Target::new("a")
                .scraped(END)
                .counts("200", &[(99.5, 0.0), (105.0, 50.0), (109.0, count), (END, count)]),
        ]
    };
    let ledger = sent(&[("200", 98)], 2);
    for count in [98.0, 99.0, 100.0] {
        assert_eq!(verdict(&finally(&ledger, counted(count))), Verdict::Pass, "{count}");
    }
    assert_eq!(verdict(&finally(&ledger, counted(97.0))), Verdict::Fail);
    assert_eq!(verdict(&finally(&ledger, counted(101.0))), Verdict::Fail);
}

#[test]
fn an_unknown_request_may_be_counted_under_any_status() {
    let target = Target::new("a")
        .scraped(END)
        .counts("200", &[(99.5, 0.0), (109.0, 98.0), (END, 98.0)])
        .counts("499", &[(105.5, 1.0), (END, 2.0)]);
    assert_eq!(verdict(&finally(&sent(&[("200", 98)], 2), vec![target])), Verdict::Pass);
}

#[test]
fn one_of_three_that_is_not_scraped_is_no_data_and_named() {
    let counter = counter();
    let ledger = sent(&[("200", 100)], 0);
    let target = Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (109.0, 66.0), (END, 66.0)]);
    let case = Case {
        replicas: vec![("app-0".into(), "a".into()), ("app-1".into(), "b".into())],
        ..case(&counter, &ledger, vec![target], END)
    };
    let Judgement::Final(outcomes) = case.judge() else { panic!("it waits") };
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(text(&outcomes).contains("app-1 (b) is not among the targets"), "{}", text(&outcomes));
}

#[test]
fn no_series_at_all_is_no_data() {
    let outcomes = finally(&sent(&[("200", 100)], 0), vec![Target::new("a").scraped(END)]);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(text(&outcomes).contains("no series of m"), "{}", text(&outcomes));
}

#[test]
fn no_target_at_all_is_no_data() {
    assert_eq!(verdict(&finally(&sent(&[("200", 100)], 0), Vec::new())), Verdict::NoData);
}

#[test]
fn a_target_that_was_not_scraped_before_the_load_proves_no_difference() {
    let mut target =
        Target::new("a").scraped(END).counts("200", &[(101.5, 40.0), (109.0, 140.0), (END, 140.0)]);
    target.0.known_before = false;
    assert_eq!(verdict(&finally(&sent(&[("200", 100)], 0), vec![target])), Verdict::NoData);
}

/// Two pods, the second of which came during the load in the place of the first: what each counted at last.
fn replaced(first: f64, second: f64, ledger: &Ledger) -> Vec<Outcome> {
    let mut old = Target::new("a")
        .scraped(105.0)
        .counts("200", &[(99.5, 7.0), (104.0, 7.0 + first), (105.0, 7.0 + first)]);
    old.0.gone = true;
    // It had counted 10 when it was scraped for the first time.
    let mut new = Target::new("b").scraped(END);
    new.0.scrapes.retain(|scrape| scrape.time > 106.0);
    let mut new = new.counts("200", &[(106.5, 10.0), (109.0, second), (END, second)]);
    (new.0.known_before, new.0.from_zero) = (false, true);
    let counter = counter();
    let pod = |name: &str, instance: &str| crate::target::ServicePod {
        name: name.into(),
        uid: name.into(),
        node: None,
        instance: Some(instance.into()),
        ready: true,
    };
    let case = Case {
        replicas: vec![("app-new".into(), "b".into())],
        replaced: vec![pod("app-old", "a")],
        ..case(&counter, ledger, vec![old, new], ENDED + 31.0)
    };
    match case.judge() {
        Judgement::Final(outcomes) => outcomes,
        Judgement::Wait(why) => panic!("still waiting: {why}"),
    }
}

#[test]
fn a_pod_that_was_replaced_keeps_its_last_count_as_a_lower_bound() {
    let outcomes = replaced(40.0, 55.0, &sent(&[("200", 100)], 0));
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert_eq!(outcomes[0].message, "at least 95 of 100 counted");
    let text = text(&outcomes);
    assert!(text.contains("app-old (a) was replaced during the load, at about"), "{text}");
}

#[test]
fn a_pod_that_was_replaced_hides_nothing_where_all_is_counted_all_the_same() {
    let outcomes = replaced(40.0, 60.0, &sent(&[("200", 100)], 0));
    assert_eq!(verdict(&outcomes), Verdict::Pass);
    assert!(text(&outcomes).contains("prove that nothing was lost"), "{}", text(&outcomes));
}

#[test]
fn a_pod_that_was_replaced_explains_no_surplus() {
    assert_eq!(verdict(&replaced(40.0, 61.0, &sent(&[("200", 100)], 0))), Verdict::Fail);
}

#[test]
fn a_clock_that_moved_makes_a_difference_no_data_and_one_that_went_back_any_count() {
    let counter = counter();
    let ledger = sent(&[("200", 100)], 0);
    let verdict_on = |counted: f64, clock_moved: f64| {
        let target =
            Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (110.2, counted), (END, counted)]);
        let clock_moved = Some(clock_moved);
        let case = Case { clock_moved, ..case(&counter, &ledger, vec![target], END) };
        let Judgement::Final(outcomes) = case.judge() else { panic!("it waits") };
        verdict(&outcomes)
    };
    assert_eq!(verdict_on(99.0, 300.0), Verdict::NoData);
    assert_eq!(verdict_on(100.0, 300.0), Verdict::Pass);
    assert_eq!(verdict_on(99.0, -300.0), Verdict::NoData);
    assert_eq!(verdict_on(100.0, -300.0), Verdict::NoData);
}

#[test]
fn a_counter_of_fractions_is_no_data_although_it_rounds_to_what_was_sent() {
    let target = Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (110.2, 99.7), (END, 99.7)]);
    let outcomes = finally(&sent(&[("200", 100)], 0), vec![target]);
    assert_eq!(verdict(&outcomes), Verdict::NoData);
    assert!(text(&outcomes).contains("whole requests"), "{}", text(&outcomes));
}
