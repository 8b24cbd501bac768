//! What rises without a label by which requests are told apart: it may count any of them.

use super::judge::Judgement;
use super::ledger::{Group, Ledger};
use super::tests::{END, Target, case, counter, finally, key, sent, text, verdict};
use crate::check::{Outcome, Verdict};

#[test]
fn what_rises_without_the_label_that_tells_requests_apart_is_never_a_pass() {
    let counted = |series: &[(&str, &str, f64)], unknown: u64| {
        let mut target = Target::new("a").scraped(END);
        for (label, value, count) in series {
            target = target.series(
                label,
                value,
                &[(99.5, 7.0), (105.0, 7.0 + count / 2.0), (110.2, 7.0 + count), (END, 7.0 + count)],
            );
        }
        finally(&sent(&[("200", 100)], unknown), vec![target])
    };
    let all = ("code", "200", 100.0);
    for (lacking, told) in
        [(("zone", "eu"), r#"m{zone="eu"} rose by 4"#), (("code", ""), r#"m{code=""} rose by 4"#)]
    {
        let without = |count| (lacking.0, lacking.1, count);
        // Beside all of them, it is more than was sent.
        let outcomes = counted(&[all, without(4.0)], 0);
        assert_eq!(verdict(&outcomes), Verdict::Fail);
        assert_eq!(outcomes[0].message, "100 sent, 104 counted: counted more than was sent");
        assert!(text(&outcomes).contains(told), "{}", text(&outcomes));
        // Beside requests of unknown fate, or in the place of some, nobody knows.
        for (code, unknown) in [(all, 4), (("code", "200", 96.0), 0)] {
            let outcomes = counted(&[code, without(4.0)], unknown);
            assert_eq!(verdict(&outcomes), Verdict::NoData);
            assert!(text(&outcomes).contains(told), "{}", text(&outcomes));
            assert!(text(&outcomes).contains("without the label code"), "{}", text(&outcomes));
        }
        assert_eq!(verdict(&counted(&[all, without(0.0)], 0)), Verdict::Pass, "it does not rise");
    }
    // Within a tolerance, too.
    let (counter, ledger) = (counter(), sent(&[("200", 100)], 0));
    let target = Target::new("a").scraped(END).counts("200", &[(99.5, 0.0), (110.2, 100.0), (END, 100.0)]);
    let target = target.series("zone", "eu", &[(99.5, 0.0), (110.2, 1.0), (END, 1.0)]);
    let mut case = case(&counter, &ledger, vec![target], END);
    case.question.tolerance = 5;
    let Judgement::Final(outcomes) = case.judge() else { panic!("it waits") };
    assert_eq!(verdict(&outcomes), Verdict::NoData);
}

/// Requests of one tenant, and of whoever has none: what the series count, by tenant.
fn of_tenants(groups: &[(Option<&str>, u64)], counts: &[(Option<&str>, f64)]) -> Vec<Outcome> {
    let labelled = |tenant: Option<&str>, mut labels: super::Key| {
        labels.extend(tenant.map(|tenant| ("tenant".to_owned(), tenant.to_owned())));
        labels
    };
    let group = |(tenant, count): &(Option<&str>, u64)| Group {
        base: labelled(*tenant, super::Key::new()),
        answered: [(labelled(*tenant, key("200")), *count)].into(),
        unknown: 0,
    };
    let ledger = Ledger { groups: groups.iter().map(group).collect(), ..Ledger::default() };
    let mut target = Target::new("a").scraped(END);
    for (tenant, count) in counts {
        target = target.counts("200", &[(99.5, 0.0), (105.0, count / 2.0), (110.2, *count), (END, *count)]);
        let labels = &mut target.0.series.last_mut().expect("a series").labels;
        *labels = labelled(*tenant, std::mem::take(labels));
    }
    finally(&ledger, vec![target])
}

#[test]
fn a_label_that_the_scenario_names_must_be_there_where_requests_have_it() {
    let lab = Some("lab");
    assert_eq!(verdict(&of_tenants(&[(lab, 10), (None, 4)], &[(lab, 10.0), (None, 4.0)])), Verdict::Pass);
    let outcomes = of_tenants(&[(lab, 10)], &[(lab, 6.0), (None, 4.0)]);
    assert_eq!(verdict(&outcomes), Verdict::NoData, "{}", text(&outcomes));
    assert!(text(&outcomes).contains("without the label tenant"), "{}", text(&outcomes));
    assert_eq!(verdict(&of_tenants(&[(lab, 10)], &[(lab, 10.0), (None, 4.0)])), Verdict::Fail);
    assert_eq!(verdict(&of_tenants(&[(lab, 10)], &[(lab, 10.0), (Some("other"), 4.0)])), Verdict::Fail);
}

#[test]
fn a_further_series_that_lost_its_label_explains_why_the_named_one_is_short() {
    let counted = |named: f64, bare: f64| {
        let series = r#"errors_total{type="db"}"#.to_owned();
        let raised = super::Raised { series, answered: 10, unknown: 0 };
        let ledger = Ledger { raised: vec![raised], ..sent(&[("200", 10)], 0) };
        let rising = |to: f64| [(99.5, 0.0), (105.0, to / 2.0), (110.2, to), (END, to)];
        let mut target = Target::new("a").scraped(END).counts("200", &rising(10.0));
        for (label, value, to) in [("type", "db", named), ("zone", "eu", bare)] {
            target = target.series(label, value, &rising(to));
            let labels = &mut target.0.series.last_mut().expect("a series").labels;
            labels.insert("__name__".into(), "errors_total".into());
        }
        finally(&ledger, vec![target])
    };
    assert_eq!(verdict(&counted(10.0, 0.0)), Verdict::Pass);
    assert_eq!(verdict(&counted(6.0, 0.0)), Verdict::Fail);
    let outcomes = counted(6.0, 4.0);
    assert_eq!(verdict(&outcomes), Verdict::NoData, "{}", text(&outcomes));
    assert!(text(&outcomes).contains(r#"errors_total{zone="eu"} rose by 4 without the label type"#));
}
