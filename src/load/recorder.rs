//! The recorder: what became of each request, kept by one thread, merged exactly at the end.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::histograms::{Histograms, Key, Timing, as_text, empty, record};
use super::{Fate, Hop, MOST_HOPS, Noted, Reason, RequestSummary, Tally, Unexpected};

/// A request that came to its end.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// The number of its phase.
    pub phase: usize,
    /// The number of its request among the scenario's.
    pub request: usize,
    /// The number of its replica.
    pub replica: usize,
    /// Where a redirect had led it, as [`Recorder::hop`] numbers it; 0 for the scenario's own request.
    pub hop: usize,
    /// How it ended.
    pub fate: Fate,
    /// Why status or body were not expected, where they were not.
    pub unexpected: Option<Unexpected>,
    /// When it was due.
    pub due: Instant,
    /// When it was written.
    pub sent: Instant,
    /// When its fate was known: the answer's last byte.
    pub end: Instant,
}

/// The requests of one name in one phase.
#[derive(Debug, Clone)]
struct Cell {
    /// By replica; few fates each, so a list is faster than a map.
    fates: Vec<Vec<((usize, Fate), u64)>>,
    unexpected: Vec<(Unexpected, u64)>,
    times: [Histogram<u64>; 3],
}

/// What became of each request. Bounded: one cell a phase and name, whatever the load.
#[derive(Debug, Clone)]
pub struct Recorder {
    cells: Vec<Cell>,
    requests: usize,
    /// Where redirects led; the first ones, a bounded number.
    hops: Vec<Hop>,
    second: Second,
}

/// What happened since the last look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Requests that left.
    pub sent: u64,
    /// Complete answers.
    pub answered: u64,
    /// Unexpected answers and requests without an answer.
    pub errors: u64,
    /// Requests on their way at its end.
    pub in_flight: u64,
    /// Times since due.
    #[serde(with = "as_text")]
    pub since_due: Histogram<u64>,
    /// What became of the requests of each name, by their number among the scenario's.
    #[serde(default)]
    pub requests: Vec<Row>,
    /// Requests that are noted one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noted: Vec<Noted>,
}

/// Upper bounds of the classes that a second's times since due fall into, in microseconds; all longer ones come
/// on top. The powers of ten with their halves and quarters, and those of the demo service's own histogram.
pub const CLASSES: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000,
];

/// What became of the requests of one name in a second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Each fate, and how many had it.
    pub fates: Vec<(Fate, u64)>,
    /// How many complete answers fell into each of the [`CLASSES`], and how many took longer.
    pub classes: [u64; CLASSES.len() + 1],
    /// Their times since due, added up, in microseconds.
    pub micros: u64,
}

impl Row {
    fn answered(&mut self, since_due: Duration) {
        let micros = u64::try_from(since_due.as_micros()).unwrap_or(u64::MAX);
        self.classes[CLASSES.partition_point(|bound| *bound < micros)] += 1;
        self.micros = self.micros.saturating_add(micros);
    }

    fn merge(&mut self, other: &Row) {
        for (fate, times) in &other.fates {
            count(&mut self.fates, *fate, *times);
        }
        for (class, more) in self.classes.iter_mut().zip(&other.classes) {
            *class += more;
        }
        self.micros = self.micros.saturating_add(other.micros);
    }
}

impl Default for Second {
    fn default() -> Second {
        Second::new(0)
    }
}

impl Second {
    /// Nothing yet, of so many request names.
    fn new(requests: usize) -> Second {
        Second {
            sent: 0,
            answered: 0,
            errors: 0,
            in_flight: 0,
            since_due: empty(),
            requests: vec![Row::default(); requests],
            noted: Vec::new(),
        }
    }

    /// Adds what happened elsewhere in the same second.
    pub fn merge(&mut self, other: &Second) {
        let rows = self.requests.len().max(other.requests.len());
        self.requests.resize_with(rows, Row::default);
        for (row, more) in self.requests.iter_mut().zip(&other.requests) {
            row.merge(more);
        }
        self.sent += other.sent;
        self.answered += other.answered;
        self.errors += other.errors;
        self.in_flight += other.in_flight;
        self.noted.extend_from_slice(&other.noted);
        self.since_due.add(&other.since_due).expect("histograms grow as they must");
    }
}

impl Recorder {
    /// For so many phases, request names and replicas.
    pub fn new(phases: usize, requests: usize, replicas: usize) -> Recorder {
        let cell = Cell {
            fates: vec![Vec::new(); replicas],
            unexpected: Vec::new(),
            times: std::array::from_fn(|_| empty()),
        };
        let second = Second::new(requests);
        Recorder { cells: vec![cell; phases * requests], requests, hops: Vec::new(), second }
    }

    /// The number of a hop. The hops beyond the first [`MOST_HOPS`] share one.
    pub fn hop(&mut self, method: &str, path: &str) -> usize {
        let same = |hop: &Hop| hop.method == method && hop.path.as_deref() == Some(path);
        match self.hops.iter().position(same) {
            Some(known) => known + 1,
            None => self.number(Hop { method: method.to_owned(), path: Some(path.to_owned()) }),
        }
    }

    fn number(&mut self, hop: Hop) -> usize {
        if let Some(known) = self.hops.iter().position(|known| *known == hop) {
            return known + 1;
        }
        if hop.path.is_some() && self.hops.len() >= MOST_HOPS {
            return self.number(Hop { method: String::new(), path: None });
        }
        self.hops.push(hop);
        self.hops.len()
    }

    /// A request left.
    pub fn sent(&mut self) {
        self.second.sent += 1;
    }

    /// A request was handed back: it had not left.
    pub fn unsent(&mut self) {
        self.second.sent = self.second.sent.saturating_sub(1);
    }

    /// A request came to its end.
    pub fn ended(&mut self, ended: &Ended) {
        let cell = &mut self.cells[ended.phase * self.requests + ended.request];
        count(&mut cell.fates[ended.replica], (ended.hop, ended.fate), 1);
        let row = &mut self.second.requests[ended.request];
        count(&mut row.fates, ended.fate, 1);
        if !matches!(ended.fate, Fate::Answered(_)) {
            self.second.errors += 1;
            return;
        }
        let since_due = ended.end.saturating_duration_since(ended.due);
        let [all, service, success] = &mut cell.times;
        record(all, since_due);
        record(service, ended.end.saturating_duration_since(ended.sent));
        record(&mut self.second.since_due, since_due);
        row.answered(since_due);
        self.second.answered += 1;
        match ended.unexpected {
            None => record(success, since_due),
            Some(why) => {
                count(&mut cell.unexpected, why, 1);
                self.second.errors += 1;
            }
        }
    }

    /// A request is noted one by one.
    pub fn note(&mut self, noted: Noted) {
        self.second.noted.push(noted);
    }

    /// What happened since the last look, with so many requests on their way.
    pub fn look(&mut self, in_flight: u64) -> Second {
        self.second.in_flight = in_flight;
        std::mem::replace(&mut self.second, Second::new(self.requests))
    }

    /// Adds what another recorder of the same load kept.
    pub fn merge(&mut self, other: &Recorder) {
        let hops: Vec<usize> =
            std::iter::once(0).chain(other.hops.iter().map(|hop| self.number(hop.clone()))).collect();
        for (cell, more) in self.cells.iter_mut().zip(&other.cells) {
            for (fates, more) in cell.fates.iter_mut().zip(&more.fates) {
                for ((hop, fate), times) in more {
                    count(fates, (hops[*hop], *fate), *times);
                }
            }
            for (why, times) in &more.unexpected {
                count(&mut cell.unexpected, *why, *times);
            }
            for (times, more) in cell.times.iter_mut().zip(&more.times) {
                times.add(more).expect("histograms grow as they must");
            }
        }
    }

    /// Every request's fate, counted; by request, replica, hop and fate.
    pub fn tallies(&self, names: &[String]) -> Vec<Tally> {
        let mut sums = std::collections::BTreeMap::new();
        for (number, cell) in self.cells.iter().enumerate() {
            for (replica, fates) in cell.fates.iter().enumerate() {
                for ((hop, fate), count) in fates {
                    let hop = hop.checked_sub(1).map(|hop| &self.hops[hop]);
                    *sums.entry((number % self.requests, replica, hop, *fate)).or_insert(0) += count;
                }
            }
        }
        sums.into_iter()
            .map(|((request, replica, hop, fate), count)| Tally {
                request: names[request].clone(),
                replica,
                hop: hop.cloned(),
                fate,
                count,
            })
            .collect()
    }

    /// What became of one name's requests in one phase, without their times.
    pub fn counts(&self, phase: usize, request: usize) -> RequestSummary {
        let cell = &self.cells[phase * self.requests + request];
        let mut summary = RequestSummary::default();
        for (why, count) in &cell.unexpected {
            summary.unexpected += count;
            summary.reasons.insert(Reason::Unexpected(*why), *count);
        }
        for ((_, fate), count) in cell.fates.iter().flatten() {
            if let Some(reason) = Reason::of(*fate) {
                *summary.reasons.entry(reason).or_insert(0) += count;
            }
            match fate {
                Fate::Answered(status) => *summary.statuses.entry(*status).or_insert(0) += count,
                Fate::NotSent(_) => summary.not_sent += count,
                Fate::Unknown(_) => summary.unknown += count,
            }
        }
        summary.sent = summary.unknown + summary.statuses.values().sum::<u64>();
        summary
    }

    /// Requests that left.
    pub fn sent_in_all(&self) -> u64 {
        let fates = self.cells.iter().flat_map(|cell| cell.fates.iter().flatten());
        fates.filter(|((_, fate), _)| !matches!(fate, Fate::NotSent(_))).map(|(_, count)| count).sum()
    }

    /// All times, by phase and request name.
    pub fn histograms(&self, phases: &[String], names: &[String]) -> Histograms {
        let timings = [Timing::SinceDue, Timing::Service, Timing::SinceDueSuccess];
        let mut all = Histograms::default();
        for (number, cell) in self.cells.iter().enumerate() {
            for (timing, times) in timings.into_iter().zip(&cell.times) {
                let key = Key {
                    phase: phases[number / self.requests].clone(),
                    request: names[number % self.requests].clone(),
                    timing,
                };
                all.add(key, times).expect("histograms grow as they must");
            }
        }
        all
    }
}

fn count<T: PartialEq>(counts: &mut Vec<(T, u64)>, what: T, times: u64) {
    match counts.iter_mut().find(|(known, _)| *known == what) {
        Some((_, count)) => *count += times,
        None => counts.push((what, times)),
    }
}

/// Adds up summaries of requests by name; their times are taken from the histograms.
pub(super) fn by_name(
    histograms: &Histograms,
    phase: Option<&str>,
    counts: impl Iterator<Item = (String, RequestSummary)>,
) -> (IndexMap<String, RequestSummary>, RequestSummary) {
    let mut requests: IndexMap<String, RequestSummary> = IndexMap::new();
    let mut total = RequestSummary::default();
    for (name, more) in counts {
        add(&mut total, &more);
        add(requests.entry(name).or_default(), &more);
    }
    for (name, summary) in &mut requests {
        summary.times = histograms.times(Some(name), phase);
    }
    total.times = histograms.times(None, phase);
    (requests, total)
}

fn add(sum: &mut RequestSummary, more: &RequestSummary) {
    sum.sent += more.sent;
    sum.unexpected += more.unexpected;
    sum.not_sent += more.not_sent;
    sum.unknown += more.unknown;
    for (status, count) in &more.statuses {
        *sum.statuses.entry(*status).or_insert(0) += count;
    }
    for (reason, count) in &more.reasons {
        *sum.reasons.entry(*reason).or_insert(0) += count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::{NotSent, Unknown};

    #[test]
    fn hops_are_told_apart_up_to_a_bound() {
        let mut recorder = Recorder::new(1, 1, 1);
        let numbers: Vec<usize> =
            (0..MOST_HOPS + 5).map(|number| recorder.hop("GET", &format!("/{number}"))).collect();
        assert_eq!((numbers[0], numbers[MOST_HOPS - 1]), (1, MOST_HOPS));
        assert!(numbers[MOST_HOPS..].iter().all(|number| *number == MOST_HOPS + 1));
        assert_eq!((recorder.hop("GET", "/7"), recorder.hop("POST", "/7")), (8, MOST_HOPS + 1));
        let mut merged = Recorder::new(1, 1, 1);
        merged.hop("GET", "/7");
        merged.merge(&recorder);
        assert_eq!((merged.hop("GET", "/7"), merged.hops.len()), (1, MOST_HOPS + 1));
    }

    fn ended() -> impl Strategy<Value = (usize, usize, usize, u8, bool, u64)> {
        (0usize..2, 0usize..3, 0usize..2, 0u8..5, any::<bool>(), 1u64..10_000_000)
    }

    fn recorded(all: &[(usize, usize, usize, u8, bool, u64)], start: Instant) -> Recorder {
        let mut recorder = Recorder::new(2, 3, 2);
        for (phase, request, replica, fate, expected, micros) in all {
            let fate = match fate {
                0 => Fate::Answered(200),
                1 => Fate::Answered(500),
                2 => Fate::NotSent(NotSent::Refused),
                3 => Fate::Unknown(Unknown::Timeout),
                _ => Fate::Unknown(Unknown::Reset),
            };
            let hop = match micros % 3 {
                0 => 0,
                path => recorder.hop("GET", &format!("/{path}")),
            };
            recorder.ended(&Ended {
                phase: *phase,
                request: *request,
                replica: *replica,
                hop,
                fate,
                unexpected: (!expected).then_some(Unexpected::Status),
                due: start,
                sent: start + Duration::from_micros(micros / 2),
                end: start + Duration::from_micros(*micros),
            });
        }
        recorder
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_split_merges_to_the_same(all in prop::collection::vec(ended(), 0..80), cut: prop::sample::Index) {
            let names = ["a", "b", "c"].map(String::from);
            let phases = ["one", "two"].map(String::from);
            let start = Instant::now();
            let (left, right) = all.split_at(cut.index(all.len() + 1).min(all.len()));
            let mut merged = recorded(left, start);
            merged.merge(&recorded(right, start));
            let whole = recorded(&all, start);
            prop_assert_eq!(merged.tallies(&names), whole.tallies(&names));
            prop_assert_eq!(merged.histograms(&phases, &names), whole.histograms(&phases, &names));
            let tallied: u64 = whole.tallies(&names).iter().map(|tally| tally.count).sum();
            prop_assert_eq!(tallied, all.len() as u64);
            let mut counted = 0;
            for phase in 0..2 {
                for request in 0..3 {
                    prop_assert_eq!(merged.counts(phase, request), whole.counts(phase, request));
                    let counts = whole.counts(phase, request);
                    counted += counts.sent + counts.not_sent;
                    let errors = counts.unexpected + counts.not_sent + counts.unknown;
                    prop_assert_eq!(counts.reasons.values().sum::<u64>(), errors);
                }
            }
            prop_assert_eq!(counted, all.len() as u64);
        }
    }
}
