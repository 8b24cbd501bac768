//! `sre verify --from`: what another load generator printed, held against the server's counters.

use std::path::Path;
use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::Context;
use super::reach::reach;
use super::turn::Turn;
use super::up::{as_it_is_up, what_is_up};
use crate::check::reconcile::{PeerRun, check_peer};
use crate::check::{Group, Kind, Outcome};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::figures::{count, duration};
use crate::observe::{Prometheus, ensure_credentials};
use crate::peers::{Peer, Told};
use crate::report::{check_lines, dotted};
use crate::run;
use crate::scenario::Duration;
use crate::target::Folder;
use crate::target::busy::Work;
use crate::target::kubernetes::reach::Way;

/// The version of the JSON that is printed.
const SCHEMA: &str = "sre.peer/v1";

/// By so much a run may be longer than the time that it is said to be in: it begins and ends with processes.
const SLACK: f64 = 1.0;

/// Which generator, and when it ran.
#[derive(Debug, Args)]
pub struct From {
    /// Judges what this generator printed: docs/counting.md tells what can be judged of each.
    #[arg(long = "from", value_name = "TOOL", requires = "run")]
    pub peer: Option<Peer>,
    /// Not later than its first request: a time (2026-11-28T22:35:00Z), or how long ago (2m) [default: as the file tells].
    #[arg(long, value_name = "WHEN", requires = "peer")]
    since: Option<When>,
    /// Not earlier than its last answer, in the same way [default: as the file tells, else now].
    #[arg(long, value_name = "WHEN", requires = "peer")]
    until: Option<When>,
    /// The path under which the server counts its requests [default: as the file tells, else all paths].
    #[arg(long, value_name = "PATH", requires = "peer")]
    path: Option<String>,
}

/// An instant, as people say it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    At(Timestamp),
    Ago(Duration),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<When, String> {
        let at = text.parse().map(When::At);
        at.or_else(|_| text.parse().map(When::Ago)).map_err(|_: String| {
            format!("`{text}` is neither a time (2026-11-28T22:35:00Z) nor how long ago (2m)")
        })
    }
}

impl When {
    /// In seconds since 1970.
    fn seconds(self, now: f64) -> f64 {
        match self {
            When::At(time) => time.as_millisecond() as f64 / 1000.0,
            When::Ago(ago) => now - ago.as_secs_f64(),
        }
    }
}

/// What is printed for machines.
#[derive(Serialize)]
struct Verdict<'a> {
    schema: &'static str,
    file: &'a str,
    stack: &'a str,
    told: &'a Told,
    path: Option<&'a str>,
    since: Timestamp,
    until: Timestamp,
    verdict: String,
    checks: &'a [Outcome],
}

impl From {
    /// Judges what a file tells.
    ///
    /// # Errors
    /// Usage (exit 2) where the file is no output of the generator, or the times do not fit it; no data (3) where nothing is up
    /// here, or the output leaves out what was sent; and as for `sre verify`.
    pub async fn run(&self, peer: Peer, file: Option<&str>, context: &Context) -> Result<Exit> {
        let file = file.unwrap_or_default();
        let told = peer.read(&text_of(Path::new(file))?).map_err(|error| error.within(file.to_owned()))?;
        let now = Timestamp::now().as_millisecond() as f64 / 1000.0;
        let (since, until) = self.window(&told, file, now)?;
        let state = Folder::here()?;
        let lab = what_is_up(&state, context)?.ok_or_else(|| {
            Error::no_data("nothing is up here: nobody knows the server's counts").hint("sre up")
        })?;
        let _busy = Turn::default().begin(&state, Work::Judge, "sre verify", context).await?;
        let stack = as_it_is_up(&lab, &[])?.stack;
        let reached = reach(&lab, &Way::Unneeded, context).await?;
        let endpoints = &reached.lab.endpoints;
        ensure_credentials(endpoints)?;
        let told_path = told.path.as_deref().and_then(|path| path.split('?').next());
        let path = self.path.as_deref().or(told_path).filter(|_| stack.counter.path.is_some());
        let others = run::sent_between(state.root(), instant(since)?, instant(until)?);
        let outcomes = match (others.as_slice(), &endpoints.prometheus) {
            ([], Some(endpoint)) => {
                let spinner = context.terminal.spinner();
                let waiting = |message: &str| {
                    if let Some(spinner) = &spinner {
                        spinner.set_message(message.to_owned());
                    }
                };
                let run = PeerRun { told: &told, path, since, until, stack: &stack, endpoints };
                check_peer(&Prometheus::new(endpoint)?, run, &context.interrupt, &waiting).await?
            }
            ([], None) => return Err(crate::check::missing("Prometheus")),
            (others, _) => vec![
                Outcome::no_data(Kind::Reconcile, Group::Counts, "no run of sre sent load at the same time")
                    .noted(format!(
                        "{} did: what was counted then is not {}'s alone.",
                        others.join(", "),
                        peer.name()
                    ))
                    .hinted("Run one after the other."),
            ],
        };
        let exit = Exit::of_all(outcomes.iter().map(|outcome| Exit::from(outcome.verdict)));
        let word = match exit {
            Exit::Pass => "pass",
            Exit::CheckFailed => "fail",
            _ => "no-data",
        };
        let verdict = Verdict {
            schema: SCHEMA,
            file,
            stack: &stack.name,
            told: &told,
            path,
            since: instant(since)?,
            until: instant(until)?,
            verdict: word.into(),
            checks: &outcomes,
        };
        context.terminal.print(&verdict, screen)?;
        Ok(exit)
    }

    /// From when to when the generator ran, in seconds since 1970.
    fn window(&self, told: &Told, file: &str, now: f64) -> Result<(f64, f64)> {
        let since = self.since.map(|since| since.seconds(now)).or(told.times.map(|(begin, _)| begin));
        let since = since.ok_or_else(|| {
            let long =
                told.seconds.map_or(String::new(), |seconds| format!("; it took {}", duration(seconds)));
            Error::usage(format!("when the run of {} began is not known", told.peer.name()))
                .because_of(format!("{file} does not tell it{long}"))
                .hint("--since 2m, or --since 2026-11-28T22:35:00Z: not later than its first request")
        })?;
        let until =
            self.until.map(|until| until.seconds(now)).or(told.times.map(|(_, end)| end)).unwrap_or(now);
        let refused = |why: String| {
            Error::usage(format!("the run of {} was not then", told.peer.name())).because_of(why)
        };
        if until > now + SLACK {
            return Err(refused("--until is in the future".into()));
        }
        if since >= until {
            return Err(refused("--since is not before --until".into()));
        }
        // How long ago is counted from now, and some time went by since the run: what just fits has begun before.
        let room = match self.since {
            Some(When::Ago(_)) => until - since - SLACK,
            _ => until - since + SLACK,
        };
        match told.seconds.filter(|seconds| *seconds > room) {
            Some(seconds) => Err(refused(format!(
                "it took {}, and from --since to --until are {}",
                duration(seconds),
                duration(until - since)
            ))
            .hint(format!(
                "make --since longer: not later than its first request, and at least {} more than the run took",
                duration(SLACK)
            ))),
            None => Ok((since, until)),
        }
    }
}

fn text_of(file: &Path) -> Result<String> {
    let unread = |error| Error::usage(format!("{} cannot be read", file.display())).because(error);
    match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()).map_err(unread),
        false => std::fs::read_to_string(file).map_err(unread),
    }
}

fn instant(seconds: f64) -> Result<Timestamp> {
    Timestamp::from_millisecond((seconds * 1000.0) as i64)
        .map_err(|error| Error::usage("--since and --until are no times").because(error))
}

fn screen(verdict: &Verdict<'_>) -> String {
    let told = verdict.told;
    let mut parts = vec![verdict.told.peer.name().to_owned()];
    parts.extend(told.seconds.map(duration));
    parts.push(format!("{} answered", count(told.total())));
    if told.unanswered > 0 {
        parts.push(format!("{} without a complete answer", count(told.unanswered)));
    }
    parts.push(match verdict.path {
        Some(path) => format!("counted under {path}"),
        None => "counted under any path".into(),
    });
    let mut lines = dotted(parts);
    lines.extend(verdict.checks.iter().flat_map(check_lines));
    lines.push(String::new());
    lines.push(verdict.verdict.to_uppercase().replace('-', " "));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn from(arguments: &[&str]) -> From {
        let all = ["sre", "verify", "--from", "wrk", "out.txt"].iter().chain(arguments);
        let cli = crate::cli::Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
        match cli.command {
            crate::cli::Command::Verify(verify) => verify.from,
            _ => panic!("it is a verify"),
        }
    }

    fn window(arguments: &[&str], times: Option<(f64, f64)>) -> std::result::Result<(f64, f64), String> {
        let told = Peer::Wrk.read(include_str!("../../tests/peers/wrk-time.txt")).expect("it is read");
        let told = Told { times, seconds: Some(10.0), ..told };
        from(arguments).window(&told, "out.txt", 1000.0).map_err(|error| error.to_string())
    }

    #[test]
    fn times_are_those_of_the_command_line_then_of_the_file_then_now() {
        assert_eq!(window(&["--since", "1m"], None), Ok((940.0, 1000.0)));
        assert_eq!(window(&["--since", "1m", "--until", "20s"], None), Ok((940.0, 980.0)));
        assert_eq!(window(&[], Some((900.0, 920.5))), Ok((900.0, 920.5)));
        assert_eq!(window(&["--since", "1970-01-01T00:15:00Z"], None), Ok((900.0, 1000.0)));
    }

    #[test]
    fn times_that_do_not_fit_the_run_are_refused() {
        let told = |arguments: &[&str]| window(arguments, None).expect_err("it is refused");
        assert!(told(&[]).contains("out.txt does not tell it; it took 10.0 s"), "{}", told(&[]));
        assert!(told(&["--since", "5s"]).contains("it took 10.0 s, and from --since to --until are 5.0 s"));
        // It fits only if nothing went by since its last answer.
        assert!(told(&["--since", "10500ms"]).contains("make --since longer"));
        assert_eq!(window(&["--since", "11s"], None), Ok((989.0, 1000.0)));
        assert_eq!(window(&["--since", "1970-01-01T00:16:30Z"], None), Ok((990.0, 1000.0)));
        assert!(told(&["--since", "5s", "--until", "20s"]).contains("--since is not before --until"));
        assert!(told(&["--since", "1m", "--until", "1970-01-01T00:20:00Z"]).contains("in the future"));
        let refused =
            crate::cli::Cli::try_parse_from(["sre", "verify", "--from", "wrk", "f", "--since", "soon"]);
        assert!(refused.expect_err("it is refused").to_string().contains("neither a time"));
    }
}
