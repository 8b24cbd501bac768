//! Loki's HTTP API, as far as verdicts need it: every line of a query, however many there are.
//!
//! Loki gives so many lines at once and no more (`max_entries_limit_per_query`, 5,000 unless configured), and its parts
//! hand each other so many bytes and no more. What is more is read in pages along time. Lines may share a time to the nanosecond, also at the border of two
//! pages: the last time of a full page may have more lines than the page shows, so that time is left to the
//! next page as a whole.
//!
//! Every time is in nanoseconds since 1970, as Loki has it: that of the line, not that of its arrival.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use super::{HttpClient, Labels};
use crate::error::{Error, Result};
use crate::target::Endpoint;

/// Lines at once. An answer of more than 4 MiB (`grpc_server_max_recv_msg_size`) never comes: Loki's parts hand it to each
/// other again and again until whoever asked gives up. A pod's line, with what a collector knows of the pod, is 1 KiB.
const PAGE: usize = 1_000;

/// Pages at the most: more lines than any load that is judged line by line.
const MOST_PAGES: usize = 10_000;

/// Bytes that the lines of one question may have together.
const MOST_BYTES: usize = 256 << 20;

/// What is asked, in messages: Loki, or the store of `sre` itself, which answers as Loki does.
const STORE: &str = "the log store";

/// A client of one Loki.
#[derive(Debug, Clone)]
pub struct Loki {
    http: HttpClient,
    /// How many lines it gives at once; lowered where it refuses.
    page: Arc<AtomicUsize>,
}

/// A line as Loki has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its time, in nanoseconds since 1970.
    pub time: i64,
    /// Labels of its stream, its structured metadata, and what the query took from the line.
    pub labels: Arc<Labels>,
    /// Its text.
    pub line: String,
}

/// Along time, or against it.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Forward,
    Backward,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Backward => "backward",
        }
    }
}

impl Loki {
    /// A client of the Loki behind this endpoint.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where its credentials are not in the environment.
    pub fn new(endpoint: &Endpoint) -> Result<Loki> {
        Ok(Loki { http: HttpClient::new(STORE, endpoint)?, page: Arc::new(AtomicUsize::new(PAGE)) })
    }

    /// One that asks once: for those who ask again by themselves.
    pub fn once_only(self) -> Loki {
        Loki { http: self.http.once_only(), page: self.page }
    }

    /// Whether anybody answers at its address, whatever it says.
    pub async fn answers(&self) -> bool {
        self.http.answers().await
    }

    /// Its version; asking for it proves that it answers.
    ///
    /// # Errors
    /// No data (exit 3), as for every question below.
    pub async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Build {
            version: String,
        }
        let build: Build = self.http.get("loki/api/v1/status/buildinfo", &[]).await?;
        Ok(build.version)
    }

    /// Every line of a query from one time on, before another; oldest first.
    pub async fn lines(&self, query: &str, from: i64, to: i64) -> Result<Vec<LogLine>> {
        let mut lines = Vec::new();
        let mut from = from;
        let mut bytes = 0;
        for _ in 0..MOST_PAGES {
            let (page, limit) = self.page(query, from, to).await?;
            bytes += page.iter().map(|line| line.line.len() + size_of::<LogLine>()).sum::<usize>();
            if bytes > MOST_BYTES {
                break;
            }
            match split(page, limit) {
                Split::Last(page) => {
                    lines.extend(page);
                    return Ok(lines);
                }
                Split::More(page, next) => {
                    lines.extend(page);
                    from = next;
                }
                Split::Stuck(time) => {
                    return Err(Error::no_data(
                        "the log store has more lines of one time than it gives at once",
                    )
                    .because_of(format!("{limit} lines or more at {time} ns"))
                    .hint(if limit < PAGE {
                        "raise max_entries_limit_per_query in Loki's limits_config"
                    } else {
                        "have lines carry finer times"
                    }));
                }
            }
        }
        Err(Error::no_data(format!(
            "the log store has more than {} lines, or {} MiB of them",
            lines.len(),
            MOST_BYTES >> 20
        ))
        .because_of(format!("asked for {query}"))
        .hint("select fewer by `logs` in the stack file, or send fewer requests that have lines"))
    }

    /// The newest line of a query from one time on, before another.
    pub async fn newest(&self, query: &str, from: i64, to: i64) -> Result<Option<LogLine>> {
        Ok(self.ask(query, from, to, 1, Direction::Backward).await?.pop())
    }

    /// The values that a label of its streams has.
    pub async fn label_values(&self, label: &str, from: i64, to: i64) -> Result<Vec<String>> {
        let times = [("start", from.to_string()), ("end", to.to_string())];
        let values = self.http.told(&format!("loki/api/v1/label/{label}/values"), &times).await?;
        Ok(values.data.unwrap_or_default())
    }

    /// A page, and how many lines it can have at the most.
    async fn page(&self, query: &str, from: i64, to: i64) -> Result<(Vec<LogLine>, usize)> {
        loop {
            let limit = self.page.load(Ordering::Relaxed);
            match self.ask(query, from, to, limit, Direction::Forward).await {
                Ok(lines) => return Ok((lines, limit)),
                Err(error) => match lower_limit(&error, limit) {
                    Some(lower) => self.page.store(lower, Ordering::Relaxed),
                    None => return Err(error),
                },
            }
        }
    }

    /// Lines in the order of their times.
    async fn ask(
        &self,
        query: &str,
        from: i64,
        to: i64,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<LogLine>> {
        let parameters = [
            ("query", query.to_owned()),
            ("start", from.to_string()),
            ("end", to.to_string()),
            ("limit", limit.to_string()),
            ("direction", direction.name().to_owned()),
        ];
        let answer = self.http.told("loki/api/v1/query_range", &parameters).await?;
        let data = answer.data.ok_or_else(|| Error::no_data("the log store gave an answer without data"))?;
        lines(data, query, from, to)
    }
}

/// The lines in an answer, in the order of their times.
fn lines(data: Data, query: &str, from: i64, to: i64) -> Result<Vec<LogLine>> {
    let Data::Streams(streams) = data else {
        return Err(Error::no_data(format!("`{query}` gives numbers, not lines")));
    };
    let mut lines = Vec::new();
    for Stream { stream, values } in streams {
        let labels = Arc::new(stream);
        for Entry(time, line, _) in values {
            let time = time.parse().map_err(|e| {
                Error::no_data(format!("the log store gave a time that is none: `{time}`")).because(e)
            })?;
            lines.push(LogLine { time, labels: labels.clone(), line });
        }
    }
    // Whatever else it gives was not asked for.
    lines.retain(|line| (from..to).contains(&line.time));
    lines.sort_by_key(|line| line.time);
    Ok(lines)
}

/// The lines in the body of an answer, and what the page of so many leaves to be asked for.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_lines(body: &[u8], from: i64, to: i64, limit: usize) -> Result<(Vec<LogLine>, bool)> {
    let told = super::answer::read_told("Loki", body)?;
    let all = lines(told.data.ok_or_else(|| Error::no_data("no data"))?, "x", from, to)?;
    Ok(match split(all, limit) {
        Split::Last(lines) => (lines, false),
        Split::More(lines, next) => {
            assert!(lines.iter().all(|line| line.time < next));
            (lines, true)
        }
        Split::Stuck(_) => (Vec::new(), true),
    })
}

/// What is to be done with a page.
#[derive(Debug, PartialEq)]
enum Split {
    /// It is the last.
    Last(Vec<LogLine>),
    /// These lines are whole; the next page begins at this time.
    More(Vec<LogLine>, i64),
    /// All of it is of one time, which may have more.
    Stuck(i64),
}

/// Takes from a page, ordered by time, what is whole.
fn split(mut page: Vec<LogLine>, limit: usize) -> Split {
    let Some(last) = page.last().map(|line| line.time).filter(|_| page.len() >= limit) else {
        return Split::Last(page);
    };
    page.truncate(page.partition_point(|line| line.time < last));
    if page.is_empty() { Split::Stuck(last) } else { Split::More(page, last) }
}

/// The limit that Loki allows, where it refused a higher one: `… limit > max_entries_limit_per_query (5000 > 1000)`.
fn lower_limit(error: &Error, limit: usize) -> Option<usize> {
    let text = error.causes().iter().find(|cause| cause.contains("max_entries_limit"))?;
    let (_, allowed) = text.rsplit_once(" > ")?;
    let digits: String = allowed.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|allowed| (1..limit).contains(allowed))
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Streams(Vec<Stream>),
    #[serde(alias = "vector", alias = "scalar")]
    Matrix(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Stream {
    stream: Labels,
    values: Vec<Entry>,
}

/// Time, line, and what further versions may add.
#[derive(Deserialize)]
struct Entry(
    String,
    String,
    #[serde(default)]
    #[expect(dead_code, reason = "it is there, or not, and means nothing here")]
    Option<serde::de::IgnoredAny>,
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(time: i64, text: usize) -> LogLine {
        LogLine { time, labels: Arc::default(), line: text.to_string() }
    }

    proptest! {
        /// Times collide often here, as they do where a clock is coarse.
        #[test]
        fn pages_neither_lose_nor_double_lines_of_one_time(
            times in prop::collection::vec(0i64..40, 0..200), limit in 1usize..30,
        ) {
            let mut all: Vec<LogLine> = times.iter().enumerate().map(|(i, time)| line(*time, i)).collect();
            all.sort_by_key(|line| line.time);
            let most = (0..40).map(|t| times.iter().filter(|time| **time == t).count()).max().unwrap_or(0);
            let mut read = Vec::new();
            let mut from = 0;
            let stuck = loop {
                let page = all.iter().filter(|line| line.time >= from).take(limit).cloned().collect();
                match split(page, limit) {
                    Split::Last(page) => { read.extend(page); break false }
                    Split::More(page, next) => { read.extend(page); prop_assert!(next > from || !read.is_empty()); from = next }
                    Split::Stuck(_) => break true,
                }
            };
            // Where Loki cannot show all lines of one time at once, it is told, and nothing is made up.
            prop_assert!(!stuck || most >= limit);
            if !stuck {
                prop_assert_eq!(read, all);
            }
        }
    }

    #[test]
    fn a_limit_that_loki_refuses_is_lowered_to_the_one_that_it_names() {
        let refusal =
            |text: &str| Error::no_data("Loki did not give what was asked").because_of(text.to_owned());
        let limit = "status 400 Bad Request for /loki/api/v1/query_range: max entries limit per query exceeded, \
                     limit > max_entries_limit_per_query (5000 > 1000)";
        assert_eq!(lower_limit(&refusal(limit), 5000), Some(1000));
        assert_eq!(lower_limit(&refusal(limit), 1000), None, "it would go round in circles");
        assert_eq!(lower_limit(&refusal("status 400: parse error"), 5000), None);
    }

    #[test]
    fn an_answer_is_read_whether_or_not_it_has_metadata() {
        let read = |text: &str| -> Data {
            let told = crate::observe::answer::read_told("Loki", text.as_bytes()).expect("an answer");
            told.data.expect("data")
        };
        let lines = read(
            r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{"a":"b"},
                "values":[["1","x"],["2","y",{"structuredMetadata":{"c":"d"}}]]}],"stats":{}}}"#,
        );
        let Data::Streams(streams) = lines else { panic!("streams") };
        assert_eq!(streams[0].values.len(), 2);
        let numbers = read(
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}"#,
        );
        assert!(matches!(numbers, Data::Matrix(_)));
    }
}
