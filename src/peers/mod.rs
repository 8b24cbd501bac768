//! What other load generators tell of their runs, read from their own output. Pure.
//!
//! Each tells less than the server knows, and each something else: `docs/counting.md` has the runs that this rests on.

mod ab;
mod h2load;
mod hey;
mod lines;
mod oha;
mod vegeta;
mod wrk;

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::{Error, Result};

/// A load generator whose output is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// What it prints.
    Wrk,
    /// What it prints with `--output-format json`.
    Oha,
    /// What it prints, but for `-o csv`.
    Hey,
    /// `vegeta report -type=json`, or results by `vegeta encode`.
    Vegeta,
    /// What it prints (ApacheBench).
    Ab,
    /// What it prints.
    #[value(name = "h2load")]
    H2load,
}

/// How far statuses are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// Each status.
    Codes,
    /// Its first digit.
    Classes,
    /// Not at all, or in a way that may be wrong.
    Totals,
}

/// What a run's output tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Who tells it.
    pub peer: Peer,
    /// How far statuses are told apart.
    pub detail: Detail,
    /// Complete answers: by status, class, or all under an empty name.
    pub answered: BTreeMap<String, u64>,
    /// Requests without a complete answer: the server may have counted each or not.
    pub unanswered: u64,
    /// Of those that were in flight when the run ended, at most so many are told of nowhere.
    pub dropped: u64,
    /// The path that was asked for, where it is told.
    pub path: Option<String>,
    /// Seconds that the run took, where that is told.
    pub seconds: Option<f64>,
    /// The run's first and last instant on the generator's clock, where they are told, in seconds since 1970.
    pub times: Option<(f64, f64)>,
}

impl Peer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Wrk => "wrk",
            Peer::Oha => "oha",
            Peer::Hey => "hey",
            Peer::Vegeta => "vegeta",
            Peer::Ab => "ab",
            Peer::H2load => "h2load",
        }
    }

    /// The version whose runs docs/counting.md rests on.
    pub fn version(self) -> &'static str {
        match self {
            Peer::Wrk => "4.1.0",
            Peer::Oha => "1.16.0",
            Peer::Hey => "0.1.4",
            Peer::Vegeta => "12.13.0",
            Peer::Ab => "2.3",
            Peer::H2load => "1.52.0",
        }
    }

    /// Whether it follows redirects, or did in another version, and tells of the last answer alone.
    pub fn may_follow_redirects(self) -> bool {
        matches!(self, Peer::Hey | Peer::Vegeta | Peer::Oha)
    }

    /// Why its total may be wrong although the server counted well.
    pub fn caveat(self) -> &'static str {
        match self {
            Peer::Wrk => "wrk takes each 1xx for an answer of its own.",
            Peer::Oha => "oha follows redirects in some versions, and counts a whole chain once.",
            Peer::Hey => "hey follows redirects, and counts a whole chain once.",
            Peer::Vegeta => "vegeta follows redirects, and counts a whole chain once.",
            Peer::Ab => "ab takes a connection that was closed for a complete answer.",
            Peer::H2load => "h2load stops at a connection that was closed, and counts what it did not send.",
        }
    }

    /// Reads its output.
    ///
    /// # Errors
    /// Usage (exit 2) where that is no output of it, not a whole one, or more than one; no data (exit 3) where it leaves
    /// out requests that it sent.
    pub fn read(self, text: &str) -> Result<Told> {
        let told = match self {
            Peer::Wrk => wrk::read(text),
            Peer::Oha => oha::read(text),
            Peer::Hey => hey::read(text),
            Peer::Vegeta => vegeta::read(text),
            Peer::Ab => ab::read(text),
            Peer::H2load => h2load::read(text),
        };
        told.map_err(|unread| {
            let what = format!("this is not what {} tells of a run", self.name());
            match unread {
                Unread::Senseless(why) => Error::usage(what).because_of(why).hint(self.hint()),
                Unread::Partial(why) => {
                    Error::no_data(format!("the output of {} does not tell all that it sent", self.name()))
                        .because_of(why)
                }
            }
        })
    }

    fn hint(self) -> &'static str {
        match self {
            Peer::Wrk => "wrk … URL > FILE",
            Peer::Oha => "oha --no-tui --output-format json … URL > FILE",
            Peer::Hey => "hey … URL > FILE",
            Peer::Vegeta => "vegeta report -type=json RESULTS > FILE",
            Peer::Ab => "ab … URL > FILE",
            Peer::H2load => "h2load … URL > FILE",
        }
    }
}

impl Told {
    /// All complete answers.
    pub fn total(&self) -> u64 {
        self.answered.values().sum()
    }

    /// The most that the server may have counted.
    pub fn most(&self) -> u64 {
        self.total() + self.unanswered + self.dropped
    }
}

/// Why an output cannot be used.
#[derive(Debug, Clone, PartialEq)]
enum Unread {
    /// It is no output of the tool.
    Senseless(String),
    /// It leaves out requests that were sent.
    Partial(String),
}

/// Whether the text of an error in Go tells that nothing was sent.
fn never_sent(error: &str) -> bool {
    error.contains("dial tcp") || error.contains("lookup ")
}

/// The path of a URL with its query, as the request line has it.
fn path_of(url: &str) -> Option<String> {
    let url: url::Url = url.parse().ok()?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{}{query}", url.path()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exit::Exit;

    fn pairs(told: &Told) -> Vec<(&str, u64)> {
        told.answered.iter().map(|(status, count)| (status.as_str(), *count)).collect()
    }

    fn read(peer: Peer, text: &str) -> Told {
        peer.read(text).unwrap_or_else(|error| panic!("{error}"))
    }

    macro_rules! output {
        ($name:literal) => {
            include_str!(concat!("../../tests/peers/", $name))
        };
    }

    const OUTPUTS: &[(Peer, &str)] = &[
        (Peer::Wrk, output!("wrk-time.txt")),
        (Peer::Wrk, output!("wrk-leave.txt")),
        (Peer::Hey, output!("hey-number.txt")),
        (Peer::Hey, output!("hey-reset.txt")),
        (Peer::Vegeta, output!("vegeta-report.json")),
        (Peer::Vegeta, output!("vegeta-results.json")),
        (Peer::Vegeta, output!("vegeta-cut.json")),
        (Peer::Ab, output!("ab-number.txt")),
        (Peer::Ab, output!("ab-time.txt")),
        (Peer::H2load, output!("h2load-time.txt")),
        (Peer::H2load, output!("h2load-leave.txt")),
    ];

    #[test]
    fn wrk_tells_a_total_and_drops_what_is_in_flight() {
        let told = read(Peer::Wrk, output!("wrk-time.txt"));
        assert_eq!((pairs(&told), told.unanswered, told.dropped), (vec![("", 45547)], 0, 10));
        assert_eq!((told.path.as_deref(), told.seconds), (Some("/fast"), Some(2.11)));
        // A read error for each good answer.
        let told = read(Peer::Wrk, output!("wrk-leave.txt"));
        assert_eq!((told.total(), told.unanswered, told.most()), (898, 893, 898 + 893 + 5));
        assert_eq!(read(Peer::Wrk, output!("wrk-reset.txt")).total(), 0);
        assert_eq!(read(Peer::Wrk, output!("wrk-500.txt")).total(), 26684);
    }

    #[test]
    fn ab_tells_a_total_and_not_whether_it_dropped_anything() {
        let told = read(Peer::Ab, output!("ab-time.txt"));
        assert_eq!((told.total(), told.dropped, told.path.as_deref()), (372, 10, Some("/slow")));
        assert_eq!(read(Peer::Ab, output!("ab-500.txt")).total(), 100);
        let failed = output!("ab-number.txt").replace(
            "Failed requests:        0",
            "Failed requests:        9\n   (Connect: 2, Receive: 3, Length: 4, Exceptions: 0)",
        );
        let told = read(Peer::Ab, &failed);
        assert_eq!((told.total(), told.unanswered), (93, 7));
        // 52 of these were received.
        let told = read(Peer::Ab, output!("ab-leave.txt"));
        assert_eq!((told.total(), told.most()), (4, 105));
        let none = output!("ab-number.txt")
            .replace("Total transferred:      ", "Total transferred:      0 bytes, not ");
        assert_eq!(read(Peer::Ab, &none).total(), 0);
        let other = output!("ab-number.txt").replace("Version 2.3 ", "Version 2.4 ");
        assert_eq!(Peer::Ab.read(&other).expect_err("it is not known").exit(), Exit::NoData);
    }

    #[test]
    fn oha_tells_statuses_and_whom_it_stopped() {
        let text = r#"{"summary": {"total": 2.01}, "statusCodeDistribution": {"200": 90, "500": 5},
            "errorDistribution": {"aborted due to deadline": 50, "connection closed before message completed": 3,
            "tcp connect error: Connection refused (os error 111)": 7}}"#;
        let told = read(Peer::Oha, text);
        assert_eq!((pairs(&told), told.unanswered, told.dropped), (vec![("200", 90), ("500", 5)], 3, 50));
    }

    #[test]
    fn hey_tells_statuses_and_errors() {
        assert_eq!(pairs(&read(Peer::Hey, output!("hey-number.txt"))), [("200", 98)]);
        assert_eq!(pairs(&read(Peer::Hey, output!("hey-500.txt"))), [("500", 100)]);
        let told = read(Peer::Hey, output!("hey-reset.txt"));
        assert_eq!((told.total(), told.unanswered), (0, 100));
        let refused =
            output!("hey-reset.txt").replace("EOF", "dial tcp 127.0.0.1:1: connect: connection refused");
        assert_eq!(read(Peer::Hey, &refused).most(), 0);
    }

    #[test]
    fn vegeta_tells_statuses_and_times() {
        let told = read(Peer::Vegeta, output!("vegeta-report.json"));
        assert_eq!((pairs(&told), told.unanswered), (vec![("200", 200)], 0));
        assert_eq!(told.times, Some((1_795_905_336.295, 1_795_905_337.288)));
        let told = read(Peer::Vegeta, output!("vegeta-results.json"));
        assert_eq!((pairs(&told), told.path.as_deref()), (vec![("200", 3)], Some("/fast")));
        assert_eq!(read(Peer::Vegeta, output!("vegeta-cut.json")).unanswered, 100);
        assert_eq!(read(Peer::Vegeta, output!("vegeta-reset-results.json")).unanswered, 3);
        assert_eq!(read(Peer::Vegeta, output!("vegeta-refused.json")).most(), 0);
    }

    #[test]
    fn h2load_tells_classes_and_what_it_started() {
        let told = read(Peer::H2load, output!("h2load-time.txt"));
        assert_eq!((pairs(&told), told.unanswered, told.seconds), (vec![("2xx", 160)], 5, Some(2.01)));
        let told = read(Peer::H2load, output!("h2load-leave.txt"));
        assert_eq!((told.total(), told.most()), (5, 10));
        assert_eq!(pairs(&read(Peer::H2load, output!("h2load-500.txt"))), [("5xx", 100)]);
        let warm = output!("h2load-time.txt").replace("with 0s of warm-up", "with 2s of warm-up");
        assert_eq!(Peer::H2load.read(&warm).expect_err("it is in no figure").exit(), Exit::NoData);
    }

    #[test]
    fn what_is_no_output_or_that_of_two_runs_is_refused() {
        for (peer, text) in OUTPUTS {
            for wrong in [String::new(), "hello\n".into(), "{}".into(), text[..text.len() / 8].into()] {
                let error = peer.read(&wrong).expect_err(peer.name());
                assert_eq!(error.exit(), Exit::Usage, "{error}");
                assert!(error.to_string().contains(peer.hint()), "{error}");
            }
            // Results are lines, and may be of several runs.
            if !text.starts_with("{\"attack\"") {
                assert!(peer.read(&format!("{text}\n{text}")).is_err(), "{}", peer.name());
            }
        }
    }

    proptest! {
        /// Whatever became of a file, it is read or refused.
        #[test]
        fn what_was_cut_or_spoilt_is_read_or_refused(
            which in 0..OUTPUTS.len(),
            edits in prop::collection::vec((0.0..1.0f64, 0usize..40, "[0-9a-z:\\[\\]{}., \n-]{0,4}"), 1..5),
        ) {
            let (peer, text) = OUTPUTS[which];
            let mut characters: Vec<char> = text.chars().collect();
            for (place, taken, piece) in edits {
                let from = (place * characters.len() as f64) as usize;
                let to = (from + taken).min(characters.len());
                characters.splice(from..to, piece.chars());
            }
            if let Ok(told) = peer.read(&characters.into_iter().collect::<String>()) {
                prop_assert!(told.total() <= told.most());
            }
        }
    }
}
