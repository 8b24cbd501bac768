//! The table of what can be wrong with log lines, told without a server.

use std::collections::{BTreeMap, HashSet};

use super::{Case, Comparison, RequestLine, Surroundings};
use crate::check::{Outcome, Verdict};
use crate::load::NotedRequest;

/// Errors of two replicas in turn, one every half a second.
fn requests(count: usize) -> Vec<NotedRequest> {
    (0..count)
        .map(|number| NotedRequest {
            id: format!("42-run-{number}"),
            request: if number % 4 < 2 { "server-error".into() } else { "list-users".into() },
            replica: number % 2,
            status: Some(500),
            end: number as f64 / 2.0,
        })
        .collect()
}

fn line(request: &NotedRequest) -> RequestLine {
    RequestLine {
        id: request.id.clone(),
        status: Some(request.status.unwrap_or(500)),
        source: Some(format!("pod-{}", request.replica)),
        time: 1_000_000_000 + (request.end * 1e9) as i64,
        text: format!("{{\"request_id\":\"{}\"}}", request.id),
    }
}

/// What the verdict is made of, besides requests and lines.
#[derive(Default)]
struct Around {
    surroundings: Surroundings,
    overdue: Vec<usize>,
    behind_one: Option<usize>,
    first: f64,
}

fn judge(requests: &[NotedRequest], lines: &[RequestLine], around: Around) -> Outcome {
    let id = |number: usize| format!("42-run-{number}");
    Case {
        name: "every error is logged".into(),
        comparison: Comparison::new(requests, lines),
        overdue: around.overdue.into_iter().map(id).collect::<HashSet<_>>(),
        bound: 30.0,
        looked: (around.first, 46.0),
        replicas: vec!["users-api-0".into(), "users-api-1".into()],
        behind_one: around.behind_one,
        surroundings: around.surroundings,
    }
    .judge()
}

fn lines_without(requests: &[NotedRequest], missing: &[usize]) -> Vec<RequestLine> {
    let kept = requests.iter().enumerate().filter(|(number, _)| !missing.contains(number));
    kept.map(|(_, request)| line(request)).collect()
}

#[track_caller]
fn is(outcome: &Outcome, verdict: Verdict, message: &str, told: &str) {
    let text = format!("{outcome:#?}");
    assert_eq!(outcome.verdict, verdict, "{text}");
    assert_eq!(outcome.message, message, "{text}");
    assert!(outcome.notes.iter().any(|note| note.contains(told)), "`{told}` is not told: {text}");
}

#[test]
fn every_line_once_passes() {
    let requests = requests(40);
    let outcome = judge(&requests, &lines_without(&requests, &[]), Around::default());
    assert_eq!((outcome.verdict, outcome.message.as_str()), (Verdict::Pass, "40 = 40"));
    assert!(outcome.notes.is_empty() && outcome.table.is_none() && outcome.hint.is_none(), "{outcome:?}");
}

#[test]
fn a_missing_line_that_later_ones_overtook_is_lost() {
    let requests = requests(40);
    let outcome = judge(&requests, &lines_without(&requests, &[3, 4]), Around::default());
    is(&outcome, Verdict::Fail, "40 expected, 38 logged", "2 lines are lost");
    is(&outcome, Verdict::Fail, "40 expected, 38 logged", "later lines of users-api-1 are");
    let table = outcome.table.expect("a table");
    assert_eq!(
        table.rows,
        [["list-users", "500", "20", "19", "1"], ["server-error", "500", "20", "19", "1"]]
    );
    assert_eq!(outcome.evidence["ids"]["missing"], serde_json::json!(["42-run-3", "42-run-4"]));
}

#[test]
fn missing_lines_at_the_end_of_one_replica_may_be_on_their_way() {
    let requests = requests(40);
    // The other replica's lines are all there.
    let outcome = judge(&requests, &lines_without(&requests, &[35, 37, 39]), Around::default());
    is(
        &outcome,
        Verdict::NoData,
        "40 expected, 37 logged",
        "3 lines are missing. Nothing newer of users-api-1",
    );
}

#[test]
fn a_line_that_lags_by_less_than_a_batch_is_not_overtaken() {
    let requests = requests(40);
    let outcome = judge(&requests, &lines_without(&requests, &[37]), Around::default());
    assert_eq!(outcome.verdict, Verdict::NoData, "{outcome:#?}");
}

#[test]
fn nothing_at_all_is_no_data_and_says_what_there_is() {
    let requests = requests(4);
    let silence = Some("The log store has nothing of {a=\"b\"}; a is c".to_owned());
    let around =
        Around { surroundings: Surroundings { silence, ..Surroundings::default() }, ..Around::default() };
    is(
        &judge(&requests, &[], around),
        Verdict::NoData,
        "4 expected, 0 logged",
        "4 lines are missing. The log store has nothing of",
    );
}

#[test]
fn a_replica_that_was_started_again_hides_its_own_lines_only() {
    let requests = requests(40);
    let interrupted = BTreeMap::from([(1, "users-api-1 was started again between A and B".to_owned())]);
    let around = || Around {
        surroundings: Surroundings { interrupted: interrupted.clone(), ..Surroundings::default() },
        ..Around::default()
    };
    let own = judge(&requests, &lines_without(&requests, &[3, 5]), around());
    is(&own, Verdict::NoData, "40 expected, 38 logged", "users-api-1 was started again between A and B");
    let both = judge(&requests, &lines_without(&requests, &[3, 4]), around());
    is(&both, Verdict::Fail, "40 expected, 38 logged", "1 line is lost");
    is(&both, Verdict::Fail, "40 expected, 38 logged", "1 line is missing. users-api-1 was started again");
}

#[test]
fn without_prometheus_nothing_is_lost_for_certain() {
    let requests = requests(40);
    let untold = Some("Prometheus does not answer".to_owned());
    let around =
        Around { surroundings: Surroundings { untold, ..Surroundings::default() }, ..Around::default() };
    let outcome = judge(&requests, &lines_without(&requests, &[3]), around);
    is(&outcome, Verdict::NoData, "40 expected, 39 logged", "not known: Prometheus does not answer");
}

#[test]
fn lines_that_the_service_gave_up_are_proven_lost() {
    let requests = requests(40);
    let given_up = Some((3, "lines_lost_total".to_owned()));
    let around = || Around {
        surroundings: Surroundings { given_up: given_up.clone(), ..Surroundings::default() },
        ..Around::default()
    };
    let outcome = judge(&requests, &lines_without(&requests, &[35, 37, 39]), around());
    is(&outcome, Verdict::Fail, "40 expected, 37 logged", "gave up 3 lines (lines_lost_total)");
    // They may have been lines that nobody asked for.
    let all = judge(&requests, &lines_without(&requests, &[]), around());
    assert_eq!(all.verdict, Verdict::Pass, "{all:#?}");
}

#[test]
fn lines_that_came_after_the_bound_are_late_not_lost() {
    let requests = requests(40);
    let around = || Around { overdue: vec![38, 39], ..Around::default() };
    let outcome = judge(&requests, &lines_without(&requests, &[]), around());
    is(
        &outcome,
        Verdict::Fail,
        "40 expected, 40 logged",
        "2 lines were late: not there 30.0 s after the last answer",
    );
    let one = judge(&requests, &lines_without(&requests, &[39]), around());
    is(&one, Verdict::Fail, "40 expected, 39 logged", "1 line was late");
}

#[test]
fn lines_that_are_there_twice_are_told_apart_by_their_words() {
    let requests = requests(40);
    let mut lines = lines_without(&requests, &[]);
    lines.extend([line(&requests[1]), line(&requests[1]), line(&requests[2])]);
    let shipped = judge(&requests, &lines, Around::default());
    is(
        &shipped,
        Verdict::Fail,
        "40 expected, 40 logged",
        "2 requests have more than one line, word for word",
    );
    is(&shipped, Verdict::Fail, "40 expected, 40 logged", "One is 42-run-1, with 3 lines");

    let mut lines = lines_without(&requests, &[]);
    lines.push(RequestLine { text: "again".into(), ..line(&requests[5]) });
    let written = judge(&requests, &lines, Around::default());
    is(&written, Verdict::Fail, "40 expected, 40 logged", "1 request has more than one line, in other words");
}

#[test]
fn a_doubled_line_does_not_make_up_for_a_lost_one() {
    let requests = requests(40);
    let mut lines = lines_without(&requests, &[3]);
    lines.push(line(&requests[5]));
    assert_eq!(lines.len(), requests.len());
    let outcome = judge(&requests, &lines, Around::default());
    is(&outcome, Verdict::Fail, "40 expected, 39 logged", "1 line is lost");
}

#[test]
fn a_line_that_nobody_can_have_caused_fails_and_so_does_another_status() {
    let requests = requests(4);
    let mut lines = lines_without(&requests, &[]);
    lines.push(RequestLine { id: "42-run-99".into(), ..line(&requests[0]) });
    is(
        &judge(&requests, &lines, Around::default()),
        Verdict::Fail,
        "4 expected, 4 logged",
        "1 line tells of a request",
    );

    let mut lines = lines_without(&requests, &[]);
    lines[2].status = Some(503);
    let outcome = judge(&requests, &lines, Around::default());
    is(&outcome, Verdict::Fail, "4 expected, 4 logged", "One is 42-run-2: 500 was answered, 503 is logged");
}

#[test]
fn a_request_of_unknown_fate_may_be_logged_once_or_not_at_all() {
    let mut requests = requests(4);
    requests[3].status = None;
    for (missing, message) in [(vec![], "4 of 3 to 4"), (vec![3], "3 of 3 to 4")] {
        let outcome = judge(&requests, &lines_without(&requests, &missing), Around::default());
        is(&outcome, Verdict::Pass, message, "1 request ended without a complete answer");
    }
    let mut twice = lines_without(&requests, &[]);
    twice.push(line(&requests[3]));
    assert_eq!(judge(&requests, &twice, Around::default()).verdict, Verdict::Fail);
}

#[test]
fn behind_one_address_a_line_is_overtaken_where_every_replica_has_a_later_one() {
    let requests = requests(40);
    let judged = |missing: &[usize], replicas| {
        let lines = lines_without(&requests, missing);
        judge(&requests, &lines, Around { behind_one: Some(replicas), ..Around::default() }).verdict
    };
    assert_eq!(judged(&[3], 2), Verdict::Fail);
    // It may be of the replica whose lines end early.
    assert_eq!(judged(&[3, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39], 2), Verdict::Fail);
    assert_eq!(judged(&[30, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39], 2), Verdict::NoData);
    // Or of a third, of which nothing came at all.
    assert_eq!(judged(&[3], 3), Verdict::NoData);
}

#[test]
fn a_look_long_after_says_that_it_cannot_tell_when_lines_came() {
    let requests = requests(4);
    let outcome =
        judge(&requests, &lines_without(&requests, &[]), Around { first: 90.0, ..Around::default() });
    is(&outcome, Verdict::Pass, "4 = 4", "whether they came within 30.0 s is not known");
}
