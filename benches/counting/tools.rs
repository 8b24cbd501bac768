//! The tools: how each is called, and how what it tells is read.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sre::load::LoadSummary;
use sre::peers::Peer;

use crate::generator;
use crate::process::{find, tools};
use crate::situations::{Ends, Situation};

/// Seconds after which a tool is ended.
const LIMIT: u64 = 25;

/// What a tool tells of a run.
#[derive(Debug, Default)]
pub struct Told {
    pub answered: u64,
    pub failed: u64,
    /// Seconds.
    pub p99: Option<f64>,
    /// Seconds.
    pub longest: Option<f64>,
    /// Whether it ran for a time, although a number was asked for.
    pub by_time: bool,
}

impl Told {
    pub fn total(&self) -> u64 {
        self.answered + self.failed
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Peer(Peer),
    /// `-w`: it waits for what is in flight.
    OhaWaits,
    Bombardier,
    Siege,
    Sre,
}

pub struct Tool {
    pub name: &'static str,
    pub program: Option<PathBuf>,
    pub version: String,
    kind: Kind,
    home: PathBuf,
}

/// All of them, whether they are here or not.
pub fn all(home: &Path) -> Vec<Tool> {
    let tool = |name, program: &str, place: &str, kind| {
        let program = match kind {
            Kind::Sre => std::env::current_exe().ok(),
            _ => find(program, &[place]),
        };
        let version = program.as_deref().map_or_else(|| "not here".into(), |program| version(kind, program));
        Tool { name, program, version, kind, home: home.to_owned() }
    };
    vec![
        tool("wrk", "wrk", "usr/bin/wrk", Kind::Peer(Peer::Wrk)),
        tool("oha", "oha", "bin/oha", Kind::Peer(Peer::Oha)),
        tool("oha -w", "oha", "bin/oha", Kind::OhaWaits),
        tool("hey", "hey", "usr/bin/hey", Kind::Peer(Peer::Hey)),
        tool("ab -k", "ab", "usr/bin/ab", Kind::Peer(Peer::Ab)),
        tool("h2load --h1", "h2load", "usr/bin/h2load", Kind::Peer(Peer::H2load)),
        tool("vegeta", "vegeta", "bin/vegeta", Kind::Peer(Peer::Vegeta)),
        tool("bombardier", "bombardier", "bin/bombardier", Kind::Bombardier),
        tool("siege -b", "siege", "usr/bin/siege", Kind::Siege),
        tool("sre", "", "", Kind::Sre),
    ]
}

/// A program, bounded from outside.
pub struct Bounded(Command);

/// What came of it.
pub struct Ran {
    pub stdout: String,
    pub exit: i32,
}

impl Bounded {
    pub fn run(&mut self) -> Result<Ran, String> {
        let done = self.0.output().map_err(|error| format!("not started: {error}"))?;
        match done.status.code() {
            Some(124 | 137) => Err(format!("did not end in {LIMIT} s")),
            code => Ok(Ran {
                stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
                exit: code.unwrap_or(-1),
            }),
        }
    }
}

impl Tool {
    /// How it is called in a situation; `None` where it has no such mode.
    pub fn command(&self, url: &str, situation: &Situation) -> Option<Bounded> {
        let program = self.program.as_deref()?;
        let connections = situation.connections;
        let (seconds, number) = match situation.ends {
            Ends::Time(seconds) => (seconds, None),
            Ends::Number(number) => (1, Some(number)),
            Ends::NumberOnly(_) if self.only_by_time() => return None,
            Ends::NumberOnly(number) => (1, Some(number)),
        };
        let for_time = |option: &str| format!("{option}{seconds}s");
        let either = |by_time: [String; 2], by_number: &str| match number {
            Some(number) => [by_number.to_owned(), number.to_string()],
            None => by_time,
        };
        let pair = |option: &str, value: String| [option.to_owned(), value];
        let mut arguments: Vec<String> = Vec::new();
        let c = pair("-c", connections.to_string());
        match self.kind {
            Kind::Peer(Peer::Wrk) => {
                let threads = connections.min(2);
                arguments.extend([format!("-t{threads}"), format!("-c{connections}"), for_time("-d")]);
                arguments.extend(["--latency".into(), url.into()]);
            }
            Kind::Peer(Peer::Oha) | Kind::OhaWaits => {
                arguments.extend(either(pair("-z", for_time("")), "-n"));
                arguments.extend(c);
                arguments.extend(["--no-tui", "--output-format", "json"].map(String::from));
                arguments.extend((self.kind == Kind::OhaWaits).then(|| "-w".to_owned()));
                arguments.push(url.into());
            }
            Kind::Peer(Peer::Hey) => {
                arguments.extend(either(pair("-z", for_time("")), "-n"));
                arguments.extend(c);
                arguments.push(url.into());
            }
            Kind::Peer(Peer::Ab) => {
                arguments.push("-k".into());
                match number {
                    Some(number) => arguments.extend(pair("-n", number.to_string())),
                    // `-t` alone ends at 50,000 requests; of two options the later one wins.
                    None => {
                        arguments.extend(["-t".into(), seconds.to_string(), "-n".into(), "10000000".into()])
                    }
                }
                arguments.extend(c);
                arguments.push(url.into());
            }
            Kind::Peer(Peer::H2load) => {
                arguments.push("--h1".into());
                arguments.extend(either(pair("-D", seconds.to_string()), "-n"));
                arguments.extend(c);
                arguments.push(url.into());
            }
            Kind::Peer(Peer::Vegeta) => {
                // Its pace is what it is told; a number is a pace for a second.
                let rate = number.unwrap_or(1000);
                let targets = self.home.join("targets");
                std::fs::write(&targets, format!("GET {url}\n")).ok()?;
                arguments.push(format!(
                    "{program} attack -targets={targets} -rate={rate} -duration={seconds}s | {program} report -type=json",
                    program = program.display(),
                    targets = targets.display(),
                ));
            }
            Kind::Bombardier => {
                arguments.extend(c);
                arguments.extend(either(pair("-d", for_time("")), "-n"));
                arguments.extend(["-l", "-p", "r", "-o", "json", url].map(String::from));
            }
            Kind::Siege => {
                arguments.push("-b".into());
                arguments.extend(c);
                match number {
                    Some(number) => arguments.extend(pair("-r", (number / connections).to_string())),
                    None => arguments.push(format!("-t{seconds}S")),
                }
                arguments.push(url.into());
            }
            Kind::Sre => {
                let paced = situation.frozen.is_some();
                arguments.push(generator::MODE.into());
                arguments.push(generator::order(url, situation.ends, connections, paced));
            }
        }
        let mut command = Command::new("timeout");
        command.args(["-k", "1", &LIMIT.to_string()]);
        match self.kind {
            Kind::Peer(Peer::Vegeta) => command.args(["sh", "-c"]),
            _ => command.arg(program),
        };
        command.args(arguments).stdin(Stdio::null());
        command.env("LD_LIBRARY_PATH", libraries()).env("HOME", &self.home);
        Some(Bounded(command))
    }

    fn only_by_time(&self) -> bool {
        self.kind == Kind::Peer(Peer::Wrk)
    }

    /// What it told.
    pub fn read(&self, ran: &Ran) -> Result<Told, String> {
        let text = ran.stdout.as_str();
        let told = match self.kind {
            Kind::Peer(peer) => of_peer(peer, text),
            Kind::OhaWaits => of_peer(Peer::Oha, text),
            Kind::Bombardier => of_bombardier(text),
            Kind::Siege => of_siege(text),
            Kind::Sre => of_sre(text),
        };
        let told = told.ok_or_else(|| format!("no report, exit {}", ran.exit))?;
        Ok(Told { by_time: self.only_by_time(), ..told })
    }
}

fn libraries() -> PathBuf {
    tools().join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH))
}

fn version(kind: Kind, program: &Path) -> String {
    if kind == Kind::Sre {
        let build = if cfg!(debug_assertions) { " (development build)" } else { "" };
        return format!("{}{build}", env!("CARGO_PKG_VERSION"));
    }
    let ask = |option: &str| {
        let told = Command::new(program).arg(option).env("LD_LIBRARY_PATH", libraries()).output();
        told.map_or(String::new(), |told| {
            String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned()
        })
    };
    let number = |text: String| {
        let words = text.split([' ', '/', '\n', '\t', ',', 'v']).map(str::to_owned).collect::<Vec<_>>();
        words.into_iter().find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
    };
    match kind {
        Kind::Peer(Peer::Wrk) => number(ask("-v")),
        Kind::Peer(Peer::Ab) => number(ask("-V")),
        // Neither tells its version: what was installed does.
        Kind::Peer(Peer::Hey) => packaged("hey"),
        Kind::Peer(Peer::Vegeta) | Kind::Bombardier => module(program),
        _ => number(ask("--version")),
    }
    .unwrap_or_else(|| "of unknown version".into())
}

/// The version of a Debian package, installed or unpacked.
fn packaged(name: &str) -> Option<String> {
    let told = Command::new("dpkg-query").args(["-W", "-f", "${Version}", name]).output().ok()?;
    let text = String::from_utf8(told.stdout).ok().filter(|text| !text.is_empty());
    text.or_else(|| std::fs::read_to_string(tools().join(format!("{name}.version"))).ok())
        .map(|v| v.trim().to_owned())
}

/// The version of the module that a program in Go was built of.
fn module(program: &Path) -> Option<String> {
    let told = Command::new("go").args(["version", "-m"]).arg(program).output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("mod\t"))?;
    line.split('\t').nth(1).map(|version| version.trim_start_matches('v').to_owned())
}

fn of_peer(peer: Peer, text: &str) -> Option<Told> {
    let told = peer.read(text).ok()?;
    let (p99, longest) = times(peer, text).unwrap_or_default();
    Some(Told { answered: told.total(), failed: told.unanswered, p99, longest, by_time: false })
}

/// p99 and the longest time, in seconds.
fn times(peer: Peer, text: &str) -> Option<(Option<f64>, Option<f64>)> {
    let line =
        |beginning: &str| text.lines().find_map(|line| line.trim().strip_prefix(beginning)).map(str::trim);
    let first = |text: &str| text.split_whitespace().next().map(str::to_owned);
    let milliseconds = |text: &str| first(text)?.parse::<f64>().ok().map(|ms| ms / 1000.0);
    let plain = |text: &str| first(text)?.parse::<f64>().ok();
    Some(match peer {
        Peer::Wrk => {
            let longest =
                line("Latency  ").and_then(|rest| rest.split_whitespace().nth(2).and_then(with_unit));
            (line("99%").and_then(with_unit), longest)
        }
        Peer::Oha => {
            let told: Value = serde_json::from_str(text).ok()?;
            (told["latencyPercentiles"]["p99"].as_f64(), told["summary"]["slowest"].as_f64())
        }
        Peer::Hey => (line("99% in").and_then(plain), line("Slowest:").and_then(plain)),
        Peer::Ab => (line("99%").and_then(milliseconds), line("100%").and_then(milliseconds)),
        Peer::H2load => {
            let longest =
                line("time for request:").and_then(|rest| rest.split_whitespace().nth(1).and_then(with_unit));
            (None, longest)
        }
        Peer::Vegeta => {
            let told: Value = serde_json::from_str(text).ok()?;
            let seconds = |name: &str| told["latencies"][name].as_f64().map(|ns| ns / 1e9);
            (seconds("99th"), seconds("max"))
        }
    })
}

fn with_unit(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|number| number * scale)
}

fn of_bombardier(text: &str) -> Option<Told> {
    let told: Value = serde_json::from_str(text).ok()?;
    let result = &told["result"];
    let classes = ["req1xx", "req2xx", "req3xx", "req4xx", "req5xx"];
    let seconds = |value: &Value| value.as_f64().map(|us| us / 1e6);
    Some(Told {
        answered: classes.iter().filter_map(|class| result[class].as_u64()).sum(),
        failed: result["others"].as_u64()?,
        p99: seconds(&result["latency"]["percentiles"]["99"]),
        longest: seconds(&result["latency"]["max"]),
        by_time: false,
    })
}

fn of_siege(text: &str) -> Option<Told> {
    let told: Value = serde_json::from_str(&text[text.find('{')?..]).ok()?;
    // Only 500s are no transactions to it, and failed ones.
    Some(Told {
        answered: told["transactions"].as_u64()?,
        failed: told["failed_transactions"].as_u64()?,
        p99: None,
        longest: told["longest_transaction"].as_f64(),
        by_time: false,
    })
}

fn of_sre(text: &str) -> Option<Told> {
    let summary: LoadSummary = serde_json::from_str(text).ok()?;
    let times = &summary.total.times.since_due;
    Some(Told {
        answered: summary.total.statuses.values().sum(),
        failed: summary.total.unknown,
        p99: Some(times.p99 / 1000.0),
        longest: Some(times.max / 1000.0),
        by_time: false,
    })
}
