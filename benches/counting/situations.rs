//! What the tools are put into, and how what came of it is told.

use std::time::Duration;

use sre::figures::{count, latency, plural};

use crate::server::Counted;
use crate::tools::Told;

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ends {
    /// After so many seconds.
    Time(u64),
    /// After so many requests; a tool that cannot do that runs for a second.
    Number(u64),
    /// The same; a tool that cannot do that has no such mode.
    NumberOnly(u64),
}

/// From when to when, since a little before the tool was started, the server reads and answers nothing.
#[derive(Debug, Clone, Copy)]
pub struct Frozen {
    pub from: Duration,
    pub until: Duration,
}

pub struct Situation {
    /// Part of the path of its requests.
    pub name: &'static str,
    pub title: &'static str,
    /// What the server does.
    pub kind: &'static str,
    pub ends: Ends,
    pub connections: u64,
    pub frozen: Option<Frozen>,
    /// What of it is told.
    telling: Telling,
}

#[derive(PartialEq)]
enum Telling {
    /// By how much the total is off.
    Difference,
    /// The same, and times.
    Times,
    /// The same, and failures.
    Failures,
    /// Answers, failures, and what was received.
    Counts,
}

/// Situations that stand side by side.
pub struct Table {
    pub title: &'static str,
    pub how: &'static str,
    pub situations: &'static [Situation],
}

const PLAIN: Situation = Situation {
    name: "",
    title: "",
    kind: "fast",
    ends: Ends::Number(100),
    connections: 5,
    frozen: None,
    telling: Telling::Counts,
};

const fn frozen(from: u64, until: u64) -> Option<Frozen> {
    Some(Frozen { from: Duration::from_millis(from), until: Duration::from_millis(until) })
}

pub const TABLES: [Table; 3] = [
    Table {
        title: "When a run ends",
        how: "The tool's total less the requests that the server read to the last byte. By time: 2 s on 50 connections; by \
              number: 1,000 on 7.",
        situations: &[
            Situation {
                name: "time",
                title: "by time, fast answers",
                ends: Ends::Time(2),
                connections: 50,
                telling: Telling::Difference,
                ..PLAIN
            },
            Situation {
                name: "slow",
                title: "by time, answers after 50 ms",
                kind: "slow",
                ends: Ends::Time(2),
                connections: 50,
                telling: Telling::Difference,
                ..PLAIN
            },
            Situation {
                name: "number",
                title: "by number",
                ends: Ends::NumberOnly(1000),
                connections: 7,
                telling: Telling::Difference,
                ..PLAIN
            },
        ],
    },
    Table {
        title: "When the server stands still",
        how: "10 connections. A freeze: the server reads and answers nothing from 1 s to 3 s of a run of 4 s; whoever comes \
              at a steady pace finds a p99 of 1.96 s and a longest wait of 2 s. Dead at the end: from 1.5 s of a run of 3 s on, \
              until 5 s; the longest wait is 1.5 s or more.",
        situations: &[
            Situation {
                name: "freeze",
                title: "a freeze of 2 s",
                ends: Ends::Time(4),
                connections: 10,
                frozen: frozen(1000, 3000),
                telling: Telling::Times,
                ..PLAIN
            },
            Situation {
                name: "dead",
                title: "dead at the end",
                ends: Ends::Time(3),
                connections: 10,
                frozen: frozen(1500, 5000),
                telling: Telling::Failures,
                ..PLAIN
            },
        ],
    },
    Table {
        title: "When the server does not behave plainly",
        how: "100 requests on 5 connections; 1 s where there is no such mode. *Answered*: complete answers that the tool tells \
              of. *Failed*: what it tells of without one; the server may have received each or not. **Bold**: not as many \
              answers as the server wrote to the last byte, or more or fewer requests than it can have read by that, but for \
              what is in flight at the end.",
        situations: &[
            Situation { name: "moved", title: "302 to a 200", kind: "moved", ..PLAIN },
            Situation { name: "error", title: "only 500s", kind: "error", ..PLAIN },
            Situation { name: "close", title: "each connection closed, announced", kind: "close", ..PLAIN },
            Situation { name: "leave", title: "closed, not announced", kind: "leave", ..PLAIN },
            Situation { name: "cut", title: "bodies cut short", kind: "cut", ..PLAIN },
            Situation { name: "early", title: "103 before the 200", kind: "early", ..PLAIN },
            Situation { name: "reset", title: "reset instead of an answer", kind: "reset", ..PLAIN },
        ],
    },
];

impl Situation {
    /// A cell of the table.
    pub fn tell(&self, told: &Told, counted: &Counted, exit: i32) -> String {
        let difference = told.total() as i64 - counted.read as i64;
        let mut text = match self.telling {
            Telling::Difference => format!("{} of {}", signed(difference), count(counted.read)),
            Telling::Times => format!("{} of {}; {}", signed(difference), count(counted.read), times(told)),
            Telling::Failures => format!(
                "{} of {}; {} failed; {}",
                signed(difference),
                count(counted.read),
                count(told.failed),
                times(told)
            ),
            Telling::Counts => {
                let line = format!(
                    "{} answered, {} failed; {} received",
                    count(told.answered),
                    count(told.failed),
                    count(counted.read)
                );
                let in_flight = match self.ends {
                    Ends::Number(_) if !told.by_time => 0,
                    _ => self.connections,
                };
                let off = |told: u64, counted: u64| told.abs_diff(counted) > in_flight;
                // What failed may have been received or not.
                let received =
                    told.answered <= counted.read + in_flight && counted.read <= told.total() + in_flight;
                match off(told.answered, counted.answered) || !received {
                    true => format!("**{line}**"),
                    false => line,
                }
            }
        };
        if exit != 0 {
            text += &format!("; exit {exit}");
        }
        if let Ends::Number(asked) | Ends::NumberOnly(asked) = self.ends
            && !told.by_time
            && told.total() != asked
            && self.kind != "moved"
        {
            text += &format!("; {} asked for", plural(asked, "request", "requests"));
        }
        text
    }
}

fn signed(difference: i64) -> String {
    match difference {
        0 => "0".into(),
        less if less < 0 => format!("−{}", count(less.unsigned_abs())),
        more => format!("+{}", count(more.unsigned_abs())),
    }
}

fn times(told: &Told) -> String {
    let p99 = told.p99.map_or("no p99".into(), |p99| format!("p99 {}", latency(p99 * 1000.0)));
    let longest =
        told.longest.map_or("no longest".into(), |longest| format!("longest {}", latency(longest * 1000.0)));
    format!("{p99}, {longest}")
}
