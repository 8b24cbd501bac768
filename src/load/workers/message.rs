//! What a worker is told and what it tells: one JSON document a line.

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedSender;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::load::execute::{LoadResult, Part};
use crate::load::histograms::Histograms;
use crate::load::recorder::Second;
use crate::load::watch::Observed;
use crate::load::{LoadSummary, Share};
use crate::scenario::Scenario;
use crate::secret::Secrets;
use crate::target::Replica;

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// The first: what it will send.
    Prepare(Box<Assignment>),
    /// What its clock says; asked as often as the leader likes before the start.
    Clock {
        /// Comes back with the answer.
        question: u32,
    },
    /// When it begins.
    Start {
        /// When the first request of the whole load is due, in microseconds of this worker's own clock.
        at: u64,
    },
    /// Nothing more may leave.
    Stop,
}

/// What a worker will send.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment {
    /// The version of `sre` that gives it: another one might split the schedule in another way.
    pub version: String,
    /// The whole load.
    pub scenario: Scenario,
    /// Where to.
    pub replicas: Vec<Replica>,
    /// Sets this run's request ids apart from other runs'.
    pub salt: String,
    /// Which part of it.
    pub share: Share,
    /// What the variables hold that the scenario names: a worker need not have them.
    #[serde(default)]
    pub secrets: Secrets,
}

/// What a worker tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Told {
    /// It has prepared everything, and waits for the start.
    Ready,
    /// What its clock says: microseconds since a moment of its own.
    Clock {
        /// The question that this answers.
        question: u32,
        /// Microseconds.
        now: u64,
    },
    /// What happened in a second.
    Second {
        /// Seconds since the start.
        second: f64,
        /// What happened in the last of them.
        what: Second,
    },
    /// The last: everything it knows.
    Done(Box<Done>),
    /// The last: it cannot go on.
    Failed {
        /// The exit code of its error.
        exit: u8,
        /// What failed.
        what: String,
        /// Why.
        causes: Vec<String>,
        /// What to do next.
        hint: Option<String>,
    },
}

/// Everything that a worker knows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    summary: LoadSummary,
    /// An HdrHistogram V2 log, as it is in a run's folder.
    histograms: String,
    observed: Option<Observed>,
}

impl Done {
    /// Of a worker's part.
    pub(super) fn new(part: Part) -> Result<Done> {
        let LoadResult { summary, histograms } = part.result;
        let mut log = Vec::new();
        histograms.write(&summary, &mut log)?;
        let histograms = String::from_utf8(log)
            .map_err(|e| Error::target("the histograms cannot be told").because(e.utf8_error()))?;
        Ok(Done { summary, histograms, observed: part.observed })
    }

    /// The worker's part.
    pub(super) fn part(self) -> Result<Part> {
        let histograms = Histograms::read(self.histograms.as_bytes())?;
        Ok(Part { result: LoadResult { summary: self.summary, histograms }, observed: self.observed })
    }
}

impl Told {
    /// A worker's error.
    pub(super) fn failed(error: &Error) -> Told {
        Told::Failed {
            exit: error.exit().code(),
            what: error.what().to_owned(),
            causes: error.causes().to_vec(),
            hint: error.next_step().map(str::to_owned),
        }
    }
}

/// The error that a worker told.
pub(super) fn error(exit: u8, what: String, causes: Vec<String>, hint: Option<String>) -> Error {
    let error = Error::new(Exit::from_code(exit).unwrap_or(Exit::Target), what);
    let error = causes.into_iter().fold(error, Error::because_of);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Sends an order to a worker. One that is gone already is heard of where its answers are read.
pub(super) fn order(to: &UnboundedSender<String>, order: &Order) -> Result<()> {
    let line = serde_json::to_string(order)
        .map_err(|e| Error::target("an order to a worker cannot be written").because(e))?;
    let _ = to.send(line);
    Ok(())
}

/// Writes a message and a line end.
pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> Result<()> {
    let failed = || Error::target("a message between a worker and its leader cannot be sent");
    let mut line = serde_json::to_vec(message).map_err(|e| failed().because(e))?;
    line.push(b'\n');
    to.write_all(&line).await.map_err(|e| failed().because(e))?;
    to.flush().await.map_err(|e| failed().because(e))
}
