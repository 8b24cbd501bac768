//! One reading of the server's counters at an instant, held against the ledger.

use std::collections::BTreeMap;

use super::history::{Gap, Rise, TargetCount, TargetHistory, display_series, key_of, sum_by_key};
use super::ledger::{Group, Key, Ledger};
use crate::figures::count;
use crate::stack::Counter;

/// What was asked of the counters, whatever the instant.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The request counter.
    pub counter: &'a Counter,
    /// What it must show.
    pub ledger: &'a Ledger,
    /// How many requests a series may differ by.
    pub tolerance: u64,
}

/// The counters at an instant, held against the ledger.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The request counter, by path, method and status.
    pub rows: Vec<Row>,
    /// Further series that had to be raised.
    pub raised: Vec<Row>,
    /// Series of the request counter that rose and lack a label that tells requests apart: whose requests they count
    /// is not known.
    pub unassigned: Vec<Unassigned>,
    /// The same of the further series: those that would be one of them, were the label there.
    pub unassigned_raised: Vec<Unassigned>,
    /// Series that ended although their process ran on, and when.
    pub ended: Vec<(String, f64)>,
    /// Whether any of them had risen.
    pub rose_and_ended: bool,
    /// Series that began after the load's start, and when.
    pub began: Vec<(String, f64)>,
    /// Series that were away in a scrape and came back no lower, and when.
    pub returned: Vec<(String, f64)>,
    /// Series that had to be raised by whole requests and were not, and by how much they were; or that are so large
    /// that whole numbers are no longer exact.
    pub broken: Vec<(String, f64)>,
    /// Requests of which none was answered completely: any count of them would agree. With how many there were.
    pub unproven: Vec<(Key, u64)>,
    /// The last of the scrapes that were read.
    pub until: f64,
    /// How the sum of all rows compares.
    pub total: State,
    /// Whether the request counter has any series at all.
    pub any_series: bool,
    /// Each target's count, in the order of the histories.
    pub targets: Vec<TargetCount>,
}

/// A series, how often it must have been raised, and how often it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The labels that tell it apart; for a further series, its text under `series`.
    pub key: Key,
    /// At least so often: complete answers.
    pub least: u64,
    /// At most so often: requests of unknown fate on top.
    pub most: u64,
    /// So often it was.
    pub counted: u64,
    /// How it compares.
    pub state: State,
}

/// A series that rose without a label that tells requests apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Unassigned {
    /// The series.
    pub series: String,
    /// The label that it lacks.
    pub lacks: String,
    /// How far it rose.
    pub by: f64,
}

impl Unassigned {
    /// As a sentence without its full stop.
    pub fn in_words(&self) -> String {
        let Unassigned { series, lacks, by } = self;
        format!(
            "{series} rose by {} without the label {lacks}: which requests it counts is not known",
            count(whole(*by))
        )
    }
}

/// How counts compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Within what the client knows.
    #[default]
    Agrees,
    /// Fewer than were answered. A later scrape may mend it.
    Short,
    /// More than were sent. No later scrape mends that.
    Over,
}

impl Reading {
    /// Reads the targets' counters, each at its own instant.
    pub fn new(question: &Question<'_>, histories: &[(&TargetHistory, f64)]) -> Reading {
        let until = histories.iter().map(|(_, end)| *end).fold(0.0, f64::max);
        let mut reading = Reading { until, ..Reading::default() };
        let mut keyed: Vec<(Key, Rise)> = Vec::new();
        let usual = usual_labels(question.counter);
        let extra = extra_labels(question);
        let mut raised: BTreeMap<&str, f64> =
            question.ledger.raised.iter().map(|r| (r.series.as_str(), 0.0)).collect();
        let selectors: Vec<(&str, Option<Selector>)> =
            question.ledger.raised.iter().map(|r| (r.series.as_str(), Selector::parse(&r.series))).collect();
        for (history, end) in histories {
            let count = history.count(*end);
            for rise in &count.rises {
                let text = display_series(&rise.labels, &history.labels);
                let without =
                    |lacks: &str| Unassigned { series: text.clone(), lacks: lacks.to_owned(), by: rise.by };
                for (series, selector) in
                    selectors.iter().filter_map(|(series, s)| Some((series, s.as_ref()?)))
                {
                    if selector.matches(&rise.labels) {
                        *raised.entry(series).or_default() += rise.by;
                    } else if let Some(lacks) = selector.lacks(&rise.labels).filter(|_| rise.by > 0.0) {
                        reading.unassigned_raised.push(without(lacks));
                    }
                }
                if (rise.by - rise.by.round()).abs() > NOT_WHOLE || rise.highest > LARGEST {
                    reading.broken.push((text.clone(), rise.by));
                }
                reading.returned.extend(rise.returned.map(|at| (text.clone(), at)));
                if rise.labels.get("__name__") != Some(&question.counter.metric) {
                    continue;
                }
                reading.any_series = true;
                if let Some(since) = rise.ended {
                    reading.ended.push((text.clone(), since));
                    reading.rose_and_ended |= rise.by > 0.0;
                }
                if let Some(since) = rise.began {
                    reading.began.push((text.clone(), since));
                }
                let key = key_of(usual.iter().chain(&extra).copied(), &rise.labels);
                match lacking(question.ledger, &key, &usual) {
                    None => keyed.push((key, rise.clone())),
                    Some(lacks) if rise.by > 0.0 => reading.unassigned.push(without(lacks)),
                    Some(_) => {}
                }
            }
            reading.targets.push(count);
        }
        let sums = sum_by_key(keyed.iter().map(|(key, rise)| (key.clone(), rise)));
        reading.rows = rows(question, &sums);
        let (least, unknown) = (question.ledger.answered(), question.ledger.unknown());
        reading.total = compare(least, least + unknown, reading.counted(), question.tolerance);
        let unproven = |group: &&Group| group.answered.is_empty() && group.unknown > 0;
        let groups = question.ledger.groups.iter().filter(unproven);
        reading.unproven = groups.map(|group| (group.base.clone(), group.unknown)).collect();
        reading.raised = question
            .ledger
            .raised
            .iter()
            .map(|wanted| {
                let counted = whole(raised.get(wanted.series.as_str()).copied().unwrap_or_default());
                let (least, most) = (wanted.answered, wanted.answered + wanted.unknown);
                let key = Key::from([("series".into(), wanted.series.clone())]);
                let state = compare(least, most, counted, question.tolerance);
                Row { key, least, most, counted, state }
            })
            .collect();
        reading
    }

    /// Requests counted, those among them of which nobody knows which they are.
    pub fn counted(&self) -> u64 {
        let unassigned = self.unassigned.iter().map(|series| series.by).sum();
        self.rows.iter().map(|row| row.counted).sum::<u64>() + whole(unassigned)
    }

    /// The worst of all comparisons.
    pub fn state(&self) -> State {
        self.rows.iter().chain(&self.raised).map(|row| row.state).fold(self.total, State::max)
    }

    /// Restarts of all targets: which target, and the gap in which counts are lost.
    pub fn restarts(&self) -> impl Iterator<Item = (usize, Gap)> + '_ {
        let with_index = |(index, count): (usize, &TargetCount)| {
            count.restarts.iter().map(move |gap| (index, *gap)).collect::<Vec<_>>()
        };
        self.targets.iter().enumerate().flat_map(with_index)
    }
}

/// The labels of path, method and status, as far as the counter has them.
fn usual_labels(counter: &Counter) -> Vec<&String> {
    [&counter.path, &counter.method, &counter.status].into_iter().flatten().collect()
}

/// Labels beyond path, method and status that the scenario names for some requests: they tell requests apart, too.
fn extra_labels<'a>(question: &Question<'a>) -> Vec<&'a String> {
    let usual = usual_labels(question.counter);
    let mut extra: Vec<&String> = question
        .ledger
        .groups
        .iter()
        .flat_map(|group| group.base.keys())
        .filter(|label| !usual.contains(label))
        .collect();
    extra.sort();
    extra.dedup();
    extra
}

/// The label without which nobody knows whose requests a key counts: each of the usual ones, and one that the scenario
/// names for requests that the key may otherwise be of, unless it is that of others without it.
fn lacking<'a>(ledger: &'a Ledger, key: &Key, usual: &[&'a String]) -> Option<&'a String> {
    if let Some(label) = usual.iter().find(|label| !key.contains_key(**label)) {
        return Some(label);
    }
    let is_of = |group: &&Group| group.base.iter().all(|(label, value)| key.get(label) == Some(value));
    let may_be_of = |group: &&Group| {
        group.base.iter().all(|(label, value)| key.get(label).is_none_or(|known| known == value))
    };
    if ledger.groups.iter().any(|group| is_of(&group)) {
        return None;
    }
    let group = ledger.groups.iter().find(may_be_of)?;
    group.base.keys().find(|label| !key.contains_key(*label))
}

/// The rows of the request counter: every key that was answered or counted, surplus within a group's unknown
/// requests spread over its keys.
fn rows(question: &Question<'_>, sums: &BTreeMap<Key, f64>) -> Vec<Row> {
    let mut left = sums.clone();
    let mut rows = Vec::new();
    for group in &question.ledger.groups {
        let mut unknown = group.unknown;
        let mut keys: Vec<Key> = group.answered.keys().cloned().collect();
        // An unknown request may have been counted under a status that no complete answer had.
        let of_group = |key: &&Key| group.base.iter().all(|(label, value)| key.get(label) == Some(value));
        let others: Vec<Key> =
            left.keys().filter(of_group).filter(|key| !group.answered.contains_key(*key)).cloned().collect();
        let claimed = |key: &Key| question.ledger.groups.iter().any(|other| other.answered.contains_key(key));
        keys.extend(others.into_iter().filter(|key| !claimed(key)));
        for key in keys {
            let least = group.answered.get(&key).copied().unwrap_or_default();
            let counted = whole(left.remove(&key).unwrap_or_default());
            if least == 0 && counted == 0 {
                continue;
            }
            let used = counted.saturating_sub(least).min(unknown);
            let state = compare(least, least + unknown, counted, question.tolerance);
            unknown -= used;
            rows.push(Row { key, least, most: least + used, counted, state });
        }
    }
    // What nobody here sent.
    for (key, sum) in left {
        let counted = whole(sum);
        if counted > 0 {
            let state = compare(0, 0, counted, question.tolerance);
            rows.push(Row { key, least: 0, most: 0, counted, state });
        }
    }
    rows
}

fn compare(least: u64, most: u64, counted: u64, tolerance: u64) -> State {
    if counted + tolerance < least {
        State::Short
    } else if counted > most + tolerance {
        State::Over
    } else {
        State::Agrees
    }
}

/// Sums of whole numbers are whole, but for what adding costs.
const NOT_WHOLE: f64 = 1e-6;

/// 2^53: above it not every whole number can be told in a sample, and one more may be none more.
pub(super) const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Counters are numbers with a point in the exposition; requests are whole.
fn whole(rise: f64) -> u64 {
    rise.round().max(0.0) as u64
}

/// A series named by its metric and equal labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    name: String,
    labels: Vec<(String, String)>,
}

impl Selector {
    /// Reads `name{label="value",…}`, or `{"name", …}`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Selector> {
        let promql_parser::parser::Expr::VectorSelector(selector) =
            crate::scenario::parse_promql(text).ok()?
        else {
            return None;
        };
        let name = crate::scenario::metric_of(&selector)?.to_owned();
        let labels = selector
            .matchers
            .matchers
            .iter()
            .filter(|matcher| matcher.name != "__name__")
            .map(|matcher| {
                let equal = matches!(matcher.op, promql_parser::label::MatchOp::Equal);
                equal.then(|| (matcher.name.clone(), matcher.value.clone()))
            })
            .collect::<Option<_>>()?;
        Some(Selector { name, labels })
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first label without which a series of the name is none of those that are meant, though it contradicts nothing.
    fn lacks(&self, labels: &crate::observe::Labels) -> Option<&str> {
        let value = |name: &str| labels.get(name).filter(|value| !value.is_empty());
        let fits = |(name, wanted): &(String, String)| value(name).is_none_or(|value| value == wanted);
        let of_name = labels.get("__name__") == Some(&self.name) && self.labels.iter().all(fits);
        let missing = self.labels.iter().find(|(name, wanted)| value(name).is_none() && !wanted.is_empty());
        missing.filter(|_| of_name).map(|(name, _)| name.as_str())
    }

    fn matches(&self, labels: &crate::observe::Labels) -> bool {
        labels.get("__name__") == Some(&self.name)
            && self.labels.iter().all(|(name, value)| labels.get(name).map_or("", String::as_str) == value)
    }
}
