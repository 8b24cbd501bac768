//! Requests that are noted one by one, because a check asks for each of them by its id.

use serde::{Deserialize, Serialize};

use super::Fate;
use super::requests::prefix;
use crate::scenario::{Expect, Scenario};

/// Which requests are noted: those that a check `logs` asks for, and those that it may find.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// By request: whether its line is looked for at all.
    logged: Vec<bool>,
    /// The statuses that checks ask for.
    statuses: Vec<Expect>,
}

impl Notes {
    /// What a scenario's checks ask for.
    pub fn of(scenario: &Scenario) -> Notes {
        Notes {
            logged: scenario.requests.values().map(crate::scenario::Request::is_logged).collect(),
            statuses: scenario.logs_checks().map(|check| check.status.clone()).collect(),
        }
    }

    /// Whether a request that ended like this is noted.
    pub fn wants(&self, request: usize, fate: Fate) -> bool {
        if self.statuses.is_empty() || !self.logged.get(request).copied().unwrap_or_default() {
            return false;
        }
        match fate {
            Fate::Answered(status) => self.statuses.iter().any(|asked| asked.allows(status)),
            // Its line may be there, with any status.
            Fate::Unknown(_) => true,
            Fate::NotSent(_) => false,
        }
    }
}

/// A request that was noted by whoever sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noted {
    /// What sets its id apart from others of the same run.
    pub number: String,
    /// Its number among the scenario's requests.
    pub request: usize,
    /// The number of its replica.
    pub replica: usize,
    /// The answer's status; `None` where its fate is unknown.
    pub status: Option<u16>,
    /// When its fate was known, in seconds after the load's start.
    pub end: f64,
}

/// A request that was noted, as it stands in a run's folder: `requests.ndjson`, one a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotedRequest {
    /// The id that it was sent with.
    pub id: String,
    /// Its name in the scenario.
    pub request: String,
    /// The number of its replica among the endpoints' replicas.
    pub replica: usize,
    /// The answer's status; `None` where its fate is unknown.
    pub status: Option<u16>,
    /// When its fate was known, in seconds after the load's start.
    pub end: f64,
}

impl Noted {
    /// With its id and name spelt out; `salt` is that of the load.
    pub fn spell(&self, scenario: &Scenario, salt: &str) -> NotedRequest {
        NotedRequest {
            id: format!("{}{}", prefix(scenario.seed, salt), self.number),
            request: scenario
                .requests
                .get_index(self.request)
                .map_or_else(String::new, |(name, _)| name.clone()),
            replica: self.replica,
            status: self.status,
            end: self.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{NotSent, Unknown};

    fn scenario(checks: serde_json::Value) -> Scenario {
        serde_json::from_value(serde_json::json!({
            "name": "s", "load": {"users": {"users": 1, "duration": "1s"}},
            "requests": {"a": {"path": "/"}, "probe": {"path": "/health", "counted": false}},
            "checks": checks,
        }))
        .expect("a scenario")
    }

    #[test]
    fn what_a_check_asks_for_is_noted_and_what_it_may_find() {
        let notes = Notes::of(&scenario(serde_json::json!([{"logs": {"status": ["404", "5xx"]}}])));
        assert!(notes.wants(0, Fate::Answered(503)) && notes.wants(0, Fate::Answered(404)));
        assert!(!notes.wants(0, Fate::Answered(200)) && !notes.wants(0, Fate::NotSent(NotSent::Refused)));
        assert!(notes.wants(0, Fate::Unknown(Unknown::Timeout)));
        assert!(!notes.wants(1, Fate::Answered(500)), "the service does not log its probes");
    }

    #[test]
    fn nothing_is_noted_where_no_check_asks() {
        let notes = Notes::of(&scenario(serde_json::json!([{"reconcile": {}}])));
        assert!(!notes.wants(0, Fate::Answered(500)) && !notes.wants(0, Fate::Unknown(Unknown::Reset)));
    }
}
