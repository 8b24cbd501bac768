//! At saturation, beside wrk and oha: requests a second, and what one costs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::client::{self, Order};
use crate::page::{Row, Section};
use crate::process::{Ran, find, median, run};
use crate::server::Server;

/// Connections of each generator.
const CONNECTIONS: usize = 50;

/// Requests a second that `sre` is asked for: more than it or the server can do here, so that each connection has
/// the next request as soon as it is free.
const TOO_MANY: f64 = 200_000.0;

/// A run of one generator.
struct Measured {
    /// Complete answers a second.
    rate: f64,
    /// Microseconds of processor time a request, those of the client.
    cost: f64,
    /// Answers that nginx counted for each that the client counted.
    counted: f64,
}

/// Runs the three in turn, several times, and takes the middle of each figure.
pub fn saturation(server: &Server, time: Duration, rounds: usize) -> Section {
    let (wrk, oha) = (find("wrk", &["usr/bin/wrk"]), find("oha", &["bin/oha"]));
    let versions = [
        ("wrk", wrk.as_deref().map_or_else(missing, |program| version(program, 1))),
        ("oha", oha.as_deref().map_or_else(missing, |program| version(program, 1))),
    ];
    let mut runs: [Vec<Measured>; 3] = Default::default();
    for _ in 0..rounds {
        runs[0].extend(wrk.as_deref().and_then(|program| told("wrk", with_wrk(program, server, time))));
        runs[1].extend(oha.as_deref().and_then(|program| told("oha", with_oha(program, server, time))));
        runs[2].extend(told("sre", with_sre(server, time)));
    }
    let of = |runs: &[Measured], figure: fn(&Measured) -> f64| median(runs.iter().map(figure).collect());
    let [by_wrk, by_oha, by_sre] =
        [0, 1, 2].map(|which| (of(&runs[which], |run| run.rate), of(&runs[which], |run| run.cost)));
    let mut section = Section::new(
        "At saturation, on 50 connections",
        &format!(
            "Each generator sends as much as it can for {} s, {rounds} times in turn; the middle one counts. wrk {} · oha {}. \
             Client and server share the machine, so that a client which uses less of it gets more answers.",
            time.as_secs(),
            versions[0].1,
            versions[1].1
        ),
    );
    for (name, figures) in [("wrk", by_wrk), ("oha", by_oha), ("sre", by_sre)] {
        section
            .row(Row::told(name, format!("{:.0}/s · {:.1} µs of processor a request", figures.0, figures.1)));
    }
    section.row(Row::goal(
        "sre to oha",
        format!("{:.2} × its rate", by_sre.0 / by_oha.0),
        "≥ 1.0",
        known(by_sre.0 / by_oha.0).map(|ratio| ratio >= 1.0),
    ));
    section.row(Row::goal(
        "sre to wrk",
        format!("{:.2} × its rate", by_sre.0 / by_wrk.0),
        "≥ 0.7",
        known(by_sre.0 / by_wrk.0).map(|ratio| ratio >= 0.7),
    ));
    section.row(Row::goal(
        "processor a request, sre to oha",
        format!("{:.2} × its time", by_sre.1 / by_oha.1),
        "≤ 1.0",
        known(by_sre.1 / by_oha.1).map(|ratio| ratio <= 1.0),
    ));
    let exact = runs[2].iter().all(|run| run.counted == 1.0);
    let most = runs[2].iter().map(|run| (run.counted - 1.0).abs()).fold(0.0, f64::max);
    section.row(Row::required(
        "sre's count is nginx's",
        if exact { "equal".into() } else { format!("off by up to {:.4} %", most * 100.0) },
        "equal",
        exact && !runs[2].is_empty(),
    ));
    section
}

fn known(ratio: f64) -> Option<f64> {
    ratio.is_finite().then_some(ratio)
}

fn missing() -> String {
    "is not there (just bench-tools)".into()
}

fn told(name: &str, measured: Result<Measured, String>) -> Option<Measured> {
    measured.inspect_err(|why| eprintln!("{name} was not measured: {why}")).ok()
}

fn version(program: &Path, word: usize) -> String {
    let flag = if program.ends_with("wrk") { "-v" } else { "--version" };
    let told = Command::new(program)
        .arg(flag)
        .env("LD_LIBRARY_PATH", crate::process::tools().join("usr/lib/x86_64-linux-gnu"))
        .output();
    let text = told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().nth(word).unwrap_or("of unknown version").to_owned()
}

fn measured(ran: &Ran, answers: u64, seconds: f64, counted: u64) -> Measured {
    Measured {
        rate: answers as f64 / seconds,
        cost: ran.processor.as_secs_f64() * 1e6 / answers as f64,
        counted: counted as f64 / answers as f64,
    }
}

fn with_wrk(program: &Path, server: &Server, time: Duration) -> Result<Measured, String> {
    let mut command = Command::new(program);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(CONNECTIONS);
    command.args([format!("-t{threads}"), format!("-c{CONNECTIONS}"), format!("-d{}s", time.as_secs())]);
    command.arg(&server.url);
    let (counted, ran) = server.counted(|| run(command, |_| {}));
    let ran = ran?;
    // `  601842 requests in 6.00s, 92.40MB read`
    let line = ran.stdout.lines().find(|line| line.contains(" requests in ")).ok_or("no count")?;
    let mut words = line.split_whitespace();
    let answers = words.next().and_then(|count| count.parse().ok()).ok_or("no count")?;
    let seconds = words.nth(2).map(|word| word.trim_end_matches(['s', ',']));
    let seconds = seconds.and_then(|seconds| seconds.parse().ok()).ok_or("no time")?;
    Ok(measured(&ran, answers, seconds, counted))
}

fn with_oha(program: &Path, server: &Server, time: Duration) -> Result<Measured, String> {
    let mut command = Command::new(program);
    command.args(["-z", &format!("{}s", time.as_secs()), "-c", &CONNECTIONS.to_string(), "--no-tui"]);
    command.args(["--output-format", "json", &server.url]);
    let (counted, ran) = server.counted(|| run(command, |_| {}));
    let ran = ran?;
    let told: Value = serde_json::from_str(&ran.stdout).map_err(|e| e.to_string())?;
    let answers = told["statusCodeDistribution"]["200"].as_u64().ok_or("no count")?;
    let seconds = told["summary"]["total"].as_f64().ok_or("no time")?;
    Ok(measured(&ran, answers, seconds, counted))
}

fn with_sre(server: &Server, time: Duration) -> Result<Measured, String> {
    let order = Order {
        url: server.url.clone(),
        rate: TOO_MANY,
        seconds: time.as_secs_f64() * 2.0,
        connections: CONNECTIONS,
        stop_after: Some(time.as_secs_f64()),
    };
    let (counted, (sent, ran)) = server.counted(|| client::order(&order, |_| {}));
    let answers = sent.summary.total.statuses.get(&200).copied().unwrap_or(0);
    if answers == 0 {
        return Err("no answers".into());
    }
    Ok(measured(&ran, answers, sent.summary.seconds, counted))
}
