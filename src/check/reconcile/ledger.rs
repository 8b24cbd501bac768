//! The client's half: how often each series must have been raised, as intervals where fates are unknown.

use std::collections::BTreeMap;

use crate::load::{Fate, Hop, Tally};
use crate::scenario::{Raises, Request};
use crate::stack::Counter;

/// Values of the labels that tell requests apart: `{endpoint: /api/users, http_status: "200", method: GET}`.
pub type Key = BTreeMap<String, String>;

/// What the server's counters must show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    /// Requests that the request counter must count, by kind.
    pub groups: Vec<Group>,
    /// Further series that must have been raised.
    pub raised: Vec<Raised>,
    /// Requests of redirects that led to more different paths than are told apart: nobody knows where they are counted.
    pub unbooked: u64,
}

/// Requests whose keys differ in the status only. A request of unknown fate may have raised any one of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// Path and method, as the counter's labels have them.
    pub base: Key,
    /// Complete answers by key (the base and the status).
    pub answered: BTreeMap<Key, u64>,
    /// Requests of unknown fate.
    pub unknown: u64,
}

/// A further series, and how often it must have been raised.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// The series, as the scenario names it.
    pub series: String,
    /// Answers that raise it.
    pub answered: u64,
    /// Requests of unknown fate, each of which may have raised it.
    pub unknown: u64,
}

impl Ledger {
    /// Adds up what the client knows. Requests that raise the same series are added up; each hop of a redirect is a
    /// request of its own, under its own path and method.
    pub fn new<'a>(
        counter: &Counter,
        requests: impl IntoIterator<Item = (&'a str, &'a Request)>,
        tallies: &[Tally],
    ) -> Ledger {
        let requests: Vec<(&str, &Request)> = requests.into_iter().collect();
        let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
        let mut raised: BTreeMap<String, Raised> = BTreeMap::new();
        let mut unbooked = 0;
        for (name, request) in &requests {
            for tally in tallies.iter().filter(|tally| tally.request == *name) {
                for raises in &request.raises {
                    raise(&mut raised, raises, tally);
                }
                let base = match &tally.hop {
                    None => request.counted.then(|| base_key(counter, request)),
                    Some(hop) if hop.path.is_none() => {
                        unbooked += tally.count;
                        None
                    }
                    Some(hop) => hop_key(counter, request, hop, &requests),
                };
                if let Some(base) = base {
                    book(&mut groups, counter, &base, tally);
                }
            }
        }
        groups.retain(|_, group| !group.answered.is_empty() || group.unknown > 0);
        Ledger { groups: groups.into_values().collect(), raised: raised.into_values().collect(), unbooked }
    }

    /// Complete answers.
    pub fn answered(&self) -> u64 {
        self.groups.iter().flat_map(|group| group.answered.values()).sum()
    }

    /// Requests of unknown fate.
    pub fn unknown(&self) -> u64 {
        self.groups.iter().map(|group| group.unknown).sum()
    }
}

fn book(groups: &mut BTreeMap<Key, Group>, counter: &Counter, base: &Key, tally: &Tally) {
    let group =
        groups.entry(base.clone()).or_insert_with(|| Group { base: base.clone(), ..Group::default() });
    match tally.fate {
        Fate::Answered(status) => {
            *group.answered.entry(with_status(counter, base, status)).or_default() += tally.count;
        }
        Fate::Unknown(_) => group.unknown += tally.count,
        Fate::NotSent(_) => {}
    }
}

fn raise(raised: &mut BTreeMap<String, Raised>, raises: &Raises, tally: &Tally) {
    let entry = raised.entry(raises.series.clone()).or_insert_with(|| Raised {
        series: raises.series.clone(),
        answered: 0,
        unknown: 0,
    });
    match tally.fate {
        Fate::Answered(status) if raises.status.is_none_or(|wanted| wanted == status) => {
            entry.answered += tally.count;
        }
        Fate::Unknown(_) => entry.unknown += tally.count,
        Fate::Answered(_) | Fate::NotSent(_) => {}
    }
}

/// Path and method of a request as the counter's labels have them, with the scenario's `labels` on top.
fn base_key(counter: &Counter, request: &Request) -> Key {
    let mut key = path_and_method(counter, &request.path, &request.method);
    key.extend(request.labels.iter().map(|(label, value)| (label.clone(), value.clone())));
    key
}

/// Path and method of a hop as the counter's labels have them; `None` where the counter does not count it. Where the
/// scenario has a request of that path and method, it is booked as that one is; else it keeps those of its own request's
/// `labels` that are no path, method or status.
fn hop_key(counter: &Counter, request: &Request, hop: &Hop, requests: &[(&str, &Request)]) -> Option<Key> {
    let path = hop.path.as_deref()?;
    let same =
        |other: &&(&str, &Request)| without_query(&other.1.path) == path && other.1.method == hop.method;
    if let Some((_, other)) = requests.iter().find(same) {
        return other.counted.then(|| base_key(counter, other));
    }
    if !request.counted {
        return None;
    }
    let own = [&counter.path, &counter.method, &counter.status];
    let mut key = path_and_method(counter, path, &hop.method);
    let others =
        request.labels.iter().filter(|(label, _)| !own.iter().any(|own| own.as_ref() == Some(*label)));
    key.extend(others.map(|(label, value)| (label.clone(), value.clone())));
    Some(key)
}

fn path_and_method(counter: &Counter, path: &str, method: &str) -> Key {
    let mut key = Key::new();
    if let Some(label) = &counter.path {
        key.insert(label.clone(), without_query(path).to_owned());
    }
    if let Some(label) = &counter.method {
        key.insert(label.clone(), counter.method_as.spell(method));
    }
    key
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or(path)
}

fn with_status(counter: &Counter, base: &Key, status: u16) -> Key {
    let mut key = base.clone();
    if let Some(label) = &counter.status {
        // A label that the scenario gives (`labels: {code: other}`) stands.
        key.entry(label.clone()).or_insert_with(|| counter.status_as.spell(status));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{NotSent, Unknown};

    fn counter() -> Counter {
        serde_json::from_value(serde_json::json!({
            "metric": "requests_total", "path": "path", "method": "method", "status": "code"
        }))
        .expect("a counter")
    }

    fn request(json: serde_json::Value) -> Request {
        serde_json::from_value(json).expect("a request")
    }

    fn tally(request: &str, fate: Fate, count: u64) -> Tally {
        Tally { request: request.into(), replica: 0, hop: None, fate, count }
    }

    #[test]
    fn requests_that_share_a_series_are_added_up() {
        let one = request(serde_json::json!({"path": "/a?x=1"}));
        let two = request(serde_json::json!({"path": "/a?x=2"}));
        let tallies = [tally("one", Fate::Answered(200), 3), tally("two", Fate::Answered(200), 4)];
        let ledger = Ledger::new(&counter(), [("one", &one), ("two", &two)], &tallies);
        assert_eq!(ledger.groups.len(), 1);
        assert_eq!(ledger.groups[0].answered.values().copied().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn what_never_reached_the_server_is_not_expected_and_what_is_unknown_is_an_interval() {
        let one = request(serde_json::json!({
            "path": "/a", "raises": [{"series": "errors_total", "status": 500}]
        }));
        let tallies = [
            tally("one", Fate::Answered(500), 2),
            tally("one", Fate::NotSent(NotSent::Refused), 9),
            tally("one", Fate::Unknown(Unknown::Timeout), 1),
        ];
        let ledger = Ledger::new(&counter(), [("one", &one)], &tallies);
        assert_eq!((ledger.answered(), ledger.unknown()), (2, 1));
        assert_eq!((ledger.raised[0].answered, ledger.raised[0].unknown), (2, 1));
    }

    #[test]
    fn methods_and_statuses_are_spelt_as_the_counter_s_labels_spell_them() {
        let counter: Counter = serde_json::from_value(serde_json::json!({
            "metric": "requests_total", "method": "method", "method_as": "lower", "status": "code",
            "status_as": "class"
        }))
        .expect("a counter");
        let one = request(serde_json::json!({"path": "/a"}));
        let tallies = [tally("one", Fate::Answered(200), 3), tally("one", Fate::Answered(503), 1)];
        let ledger = Ledger::new(&counter, [("one", &one)], &tallies);
        let told: Vec<_> = ledger.groups[0].answered.iter().map(|(key, n)| (&*key["code"], *n)).collect();
        assert_eq!(told, [("2xx", 3), ("5xx", 1)]);
        assert_eq!(ledger.groups[0].base["method"], "get");
    }

    #[test]
    fn each_hop_is_booked_under_its_own_path_and_method() {
        let form =
            request(serde_json::json!({"path": "/form?a=1", "method": "POST", "labels": {"tenant": "lab"}}));
        let done = request(serde_json::json!({"path": "/end", "labels": {"path": "finished"}}));
        let hop = |method: &str, path: Option<&str>, count| Tally {
            hop: Some(Hop { method: method.into(), path: path.map(str::to_owned) }),
            ..tally("form", Fate::Answered(200), count)
        };
        let tallies = [
            tally("form", Fate::Answered(303), 7),
            hop("GET", Some("/done"), 5),
            hop("GET", Some("/end"), 2),
            hop("", None, 3),
        ];
        let ledger = Ledger::new(&counter(), [("form", &form), ("done", &done)], &tallies);
        let told: Vec<_> = ledger
            .groups
            .iter()
            .flat_map(|group| &group.answered)
            .map(|(key, count)| (key.values().map(String::as_str).collect::<Vec<_>>().join(" "), *count))
            .collect();
        let expected = [("200 GET /done lab", 5), ("200 GET finished", 2), ("303 POST /form lab", 7)];
        assert_eq!(told, expected.map(|(text, count)| (text.to_owned(), count)));
        assert_eq!(ledger.unbooked, 3);
    }

    #[test]
    fn the_scenario_s_labels_stand_for_path_and_method() {
        let one = request(serde_json::json!({
            "path": "/no/such", "method": "BREW", "labels": {"path": "unmatched", "method": "other"}
        }));
        let ledger = Ledger::new(&counter(), [("one", &one)], &[tally("one", Fate::Answered(404), 1)]);
        let key = ledger.groups[0].answered.keys().next().expect("one key");
        assert_eq!(key.values().collect::<Vec<_>>(), ["404", "other", "unmatched"]);
    }
}
