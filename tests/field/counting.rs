//! Other load generators' own output, held against what the server counted.

use std::process::{Command, Stdio};

use jiff::Timestamp;

use crate::lab::{Lab, Verdict, verdict};
use crate::needs::skipped;
use crate::shop::{Shop, Way, job, lab};

/// Runs a generator, keeps what it prints in the lab's folder, and tells when it was started; `None` where it is not here.
fn load(lab: &Lab, program: &str, arguments: &[&str]) -> Option<Timestamp> {
    let since = Timestamp::now();
    let started = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let Ok(output) = started else {
        skipped(
            "peers",
            &format!("{program} is not here (Debian: apache2-utils, hey): its output is not judged"),
        );
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    std::fs::write(lab.path("out"), output.stdout).expect("the output");
    Some(since)
}

/// What `sre verify --from` tells of the output.
fn judged(lab: &Lab, tool: &str, since: Timestamp, more: &[&str]) -> Verdict {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
    command.args(["verify", "--from", tool, "out", "--since", &since.to_string(), "-o", "json"]).args(more);
    command.current_dir(lab.folder.path()).env_remove("SRE_TARGET").stdin(Stdio::null());
    verdict(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sre starts"))
}

fn shop_that_is_up(way: Way) -> (Shop, Lab, String) {
    let shop = Shop::start(way);
    let lab = lab(&shop, &job(shop.address, ""), 1);
    assert_eq!(lab.sre(&["up", "liar", "--target", "external"]), Some(0));
    let url = format!("http://{}", shop.address);
    (shop, lab, url)
}

#[test]
fn ab_by_number_agrees_exactly_and_a_request_more_is_told_as_in_flight() {
    let (shop, lab, url) = shop_that_is_up(Way::Plain);
    let url = format!("{url}/list");
    let Some(since) = load(&lab, "ab", &["-n", "200", "-c", "4", &url]) else { return };
    // Another path's counts are no matter.
    shop.ask("/other", 30);
    let verdict = judged(&lab, "ab", since, &[]);
    verdict.is(0, "pass", "200 = 200");
    assert_eq!(verdict.json["path"], "/list");
    // One more, as if it had been in flight at the end; then more than can have been.
    shop.ask("/list", 1);
    judged(&lab, "ab", since, &[]).is(0, "pass", "201 counted, 200 told: agrees within 4 in flight");
    shop.ask("/list", 4);
    judged(&lab, "ab", since, &[]).is(1, "fail", "200 to 204 sent by what ab tells, 205 counted");
}

#[test]
fn hey_agrees_by_status_and_what_it_did_not_send_is_not_asked_for() {
    let (_shop, lab, url) = shop_that_is_up(Way::Plain);
    // 98 are sent: 7 connections do not divide 100.
    let Some(since) = load(&lab, "hey", &["-n", "100", "-c", "7", &format!("{url}/list")]) else { return };
    let verdict = judged(&lab, "hey", since, &["--path", "/list"]);
    verdict.is(0, "pass", "98 = 98");
    assert_eq!(verdict.json["checks"][1]["message"], "1 of 1 equal");
}

#[test]
fn redirects_that_hey_follows_unseen_are_no_data() {
    let (_shop, lab, url) = shop_that_is_up(Way::Redirecting);
    let Some(since) = load(&lab, "hey", &["-n", "20", "-c", "2", &format!("{url}/orders")]) else { return };
    judged(&lab, "hey", since, &[]).is(3, "no-data", "redirects were counted, of which hey tells nothing");
}

#[test]
fn what_ended_without_an_answer_and_what_is_no_output_is_told_by_its_exit_code() {
    let (shop, lab, _) = shop_that_is_up(Way::Plain);
    let since = Timestamp::now();
    let write = |text: &str| std::fs::write(lab.path("out"), text).expect("the output");
    write(include_str!("../peers/hey-reset.txt"));
    shop.ask("/list", 20);
    judged(&lab, "hey", since, &[]).is(3, "no-data", "no request got a complete answer: any count up to 100");
    write("");
    let verdict = judged(&lab, "wrk", since, &[]);
    assert_eq!(verdict.exit, 2, "{verdict:#?}");
    assert!(verdict.stderr.contains("this is not what wrk tells of a run"), "{verdict:#?}");
    write(include_str!("../peers/wrk-time.txt"));
    let verdict = judged(&lab, "wrk", Timestamp::now(), &[]);
    assert!(verdict.exit == 2 && verdict.stderr.contains("it took 2.1 s"), "{verdict:#?}");
}
