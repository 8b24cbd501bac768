//! Requests against lines, one by one. Pure.

use std::collections::{HashMap, HashSet};

use crate::load::NotedRequest;

/// A line that tells of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine {
    /// The request's id.
    pub id: String,
    /// The status that the line tells.
    pub status: Option<u16>,
    /// Which replica's line it is, where its stream tells.
    pub source: Option<String>,
    /// Its time, in nanoseconds since 1970.
    pub time: i64,
    /// Its text.
    pub text: String,
}

/// A request with more than its one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Doubled<'a> {
    /// The request.
    pub id: &'a str,
    /// How many lines it has.
    pub lines: usize,
    /// Whether they are the same word for word: then it was written once, and shipped more than once.
    pub same: bool,
}

/// What the lines tell of the requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison<'a> {
    /// Requests that must have a line.
    pub due: Vec<&'a NotedRequest>,
    /// Of these, those that have none.
    pub missing: Vec<&'a NotedRequest>,
    /// Requests that have more than one.
    pub doubled: Vec<Doubled<'a>>,
    /// Requests whose line tells another status than the answer had.
    pub different: Vec<(&'a NotedRequest, Option<u16>)>,
    /// Lines of requests that were not answered so, or were never sent.
    pub unexpected: Vec<&'a RequestLine>,
    /// Requests of unknown fate: each may have a line or not.
    pub unknown: usize,
    /// Of these, those that have one.
    pub unknown_found: usize,
    /// Lines in all.
    pub lines: usize,
    /// By replica: when the newest request was answered that has a line.
    pub newest: HashMap<usize, f64>,
    /// The same by the source of lines.
    pub newest_of_source: HashMap<&'a str, f64>,
}

impl<'a> Comparison<'a> {
    /// Holds requests against lines.
    pub fn new(requests: &'a [NotedRequest], lines: &'a [RequestLine]) -> Comparison<'a> {
        let mut by_id: HashMap<&str, Vec<&RequestLine>> = HashMap::new();
        for line in lines {
            by_id.entry(&line.id).or_default().push(line);
        }
        let known: HashSet<&str> = requests.iter().map(|request| request.id.as_str()).collect();
        let mut comparison = Comparison {
            due: requests.iter().filter(|request| request.status.is_some()).collect(),
            missing: Vec::new(),
            doubled: Vec::new(),
            different: Vec::new(),
            unexpected: lines.iter().filter(|line| !known.contains(line.id.as_str())).collect(),
            unknown: requests.iter().filter(|request| request.status.is_none()).count(),
            unknown_found: 0,
            lines: lines.len(),
            newest: HashMap::new(),
            newest_of_source: HashMap::new(),
        };
        for request in requests {
            let found = by_id.get(request.id.as_str()).map_or(&[][..], Vec::as_slice);
            comparison.hold(request, found);
        }
        comparison
    }

    fn hold(&mut self, request: &'a NotedRequest, found: &[&'a RequestLine]) {
        let Some(first) = found.first() else {
            if request.status.is_some() {
                self.missing.push(request);
            }
            return;
        };
        if found.len() > 1 {
            let same = found.iter().all(|line| line.text == first.text);
            self.doubled.push(Doubled { id: &request.id, lines: found.len(), same });
        }
        if request.status.is_none() {
            self.unknown_found += 1;
            return;
        }
        if let Some(other) = found.iter().find(|line| line.status != request.status) {
            self.different.push((request, other.status));
        }
        let newer = |newest: &mut f64| *newest = newest.max(request.end);
        newer(self.newest.entry(request.replica).or_insert(request.end));
        for source in found.iter().filter_map(|line| line.source.as_deref()) {
            newer(self.newest_of_source.entry(source).or_insert(request.end));
        }
    }

    /// Requests that must have a line and have one.
    pub fn logged(&self) -> usize {
        self.due.len() - self.missing.len()
    }

    /// Whether something is wrong that time cannot mend.
    pub fn is_wrong(&self) -> bool {
        !(self.doubled.is_empty() && self.different.is_empty() && self.unexpected.is_empty())
    }
}
