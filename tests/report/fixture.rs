//! Runs that never ran: their events, made up call by call.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sre::check::{Group, Kind, Outcome, Table, Verdict};
use sre::load::{Fate, Latency, LoadSummary, Overload, PhaseSummary, RequestSummary, Sample, Tally, Times};
use sre::report::Report;
use sre::run::{
    Event, EventKind, EventLog, FaultEvent, LoadFinished, LoadPlan, Reporter, RunFolder, RunStarted, SCHEMA,
};
use sre::target::TargetKind;

/// The events of a run, and the time of the next.
#[derive(Clone)]
pub struct Run {
    pub events: Vec<Event>,
    now: Timestamp,
}

impl Run {
    /// A run of `errors` has started.
    pub fn errors() -> Run {
        Run::started("20261121-064012-errors")
    }

    pub fn started(run: &str) -> Run {
        let versions = [("sre", "0.1.0"), ("prometheus", "3.15.0"), ("alertmanager", "0.31.1")];
        let start = "2026-11-21T06:40:12Z".parse().expect("a time");
        Run { events: Vec::new(), now: start }.event(EventKind::RunStarted(Box::new(RunStarted {
            endpoints: sre::target::Endpoints::default(),
            rules: Vec::new(),
            offsets: indexmap::IndexMap::new(),
            schema: SCHEMA.into(),
            run: run.into(),
            scenario: "errors".into(),
            stack: "users-api".into(),
            target: TargetKind::Local,
            seed: 42,
            replicas: 3,
            versions: versions.map(|(name, version)| (name.into(), version.into())).into_iter().collect(),
        })))
    }

    /// A run of which only these events are known.
    pub fn errors_of(events: &[Event]) -> Run {
        Run { events: events.to_vec(), now: events[events.len() - 1].time }
    }

    /// Something happens now.
    pub fn event(mut self, kind: EventKind) -> Run {
        self.events.push(Event { time: self.now, kind });
        self
    }

    /// Time goes by.
    pub fn wait(mut self, seconds: f64) -> Run {
        self.now += SignedDuration::from_secs_f64(seconds);
        self
    }

    /// The load begins.
    pub fn load_started(self) -> Run {
        self.event(EventKind::LoadStarted(LoadPlan {
            executor: "arrival-rate".into(),
            shape: "200/s for 60 s".into(),
            seconds: 60.0,
            asked: Some(12_000),
            requests: load().requests.keys().cloned().collect(),
        }))
    }

    /// So many seconds of the load go by.
    pub fn seconds(mut self, seconds: u32) -> Run {
        for second in 1..=seconds {
            self = self.wait(1.0).event(EventKind::LoadProgress(Sample {
                second: second.into(),
                phase: "phase-1".into(),
                asked_rate: Some(200.0),
                sent: if second == 10 { 198 } else { 200 },
                answered: 199,
                errors: u64::from(second % 2),
                in_flight: 4,
                p50: 1.2,
                p99: 8.4,
                whole: None,
            }));
        }
        self
    }

    /// The load ends.
    pub fn load_finished(self, summary: LoadSummary) -> Run {
        self.event(EventKind::LoadFinished(Box::new(LoadFinished {
            clock_moved: None,
            pods: None,
            summary,
            prometheus_started: None,
            prometheus_ended: None,
        })))
    }

    /// A whole load.
    pub fn loaded(self, summary: LoadSummary) -> Run {
        self.load_started().seconds(60).load_finished(summary)
    }

    /// Checks with these outcomes, and the exit code of their verdict.
    pub fn verified(self, outcomes: impl IntoIterator<Item = Outcome>, exit: u8) -> Run {
        self.wait(0.2).event(EventKind::VerifyStarted).judged(outcomes, exit)
    }

    /// As `verified`, after the checks have begun.
    pub fn judged(self, outcomes: impl IntoIterator<Item = Outcome>, exit: u8) -> Run {
        let mut run = self;
        for outcome in outcomes {
            let name = outcome.name.clone();
            run = run.event(EventKind::CheckStarted { name }).wait(outcome.seconds);
            run = run.event(EventKind::CheckFinished(Box::new(outcome)));
        }
        let seconds = run.now.duration_since(run.events[0].time).as_secs_f64();
        run.event(EventKind::VerifyFinished { seconds, exit })
    }

    /// The run cannot go on.
    pub fn failed(self, error: &str, exit: u8) -> Run {
        self.event(EventKind::RunFailed { error: error.into(), exit })
    }

    /// A fault from now on, for so many seconds.
    pub fn fault(self, id: &str, description: &str, seconds: f64) -> Run {
        let fault = fault(id, description);
        self.event(EventKind::FaultInjected(fault.clone())).wait(seconds).event(EventKind::FaultHealed(fault))
    }

    pub fn report(&self) -> Report {
        Report::from_events(&self.events).expect("a report")
    }

    /// Writes the run into a folder, as a run would.
    pub fn write(&self, state: &std::path::Path) -> RunFolder {
        let EventKind::RunStarted(head) = &self.events[0].kind else { panic!("no run-started") };
        let path = state.join("runs").join(&head.run);
        std::fs::create_dir_all(&path).expect("a folder");
        let mut log = EventLog::append(&path.join("events.ndjson")).expect("a log");
        for event in &self.events {
            log.event(event).expect("a line");
        }
        RunFolder::open(state, Some(&head.run)).expect("the folder")
    }
}

pub fn fault(id: &str, description: &str) -> FaultEvent {
    FaultEvent {
        id: id.into(),
        number: 1,
        description: description.into(),
        instances: vec!["127.0.0.1:41005".into()],
        prometheus_time: None,
        sign: None,
    }
}

fn latency(count: u64, p50: f64, p90: f64, p99: f64, max: f64) -> Times {
    let times = Latency { count, min: p50 / 2.0, mean: p50, p50, p90, p95: (p90 + p99) / 2.0, p99, max };
    Times { since_due: times, service: times, since_due_success: times }
}

/// A request name's summary; its times are these, in milliseconds.
pub fn request(statuses: &[(u16, u64)], [p50, p90, p99, max]: [f64; 4]) -> RequestSummary {
    let sent = statuses.iter().map(|(_, count)| count).sum();
    RequestSummary {
        sent,
        statuses: statuses.iter().copied().collect(),
        times: latency(sent, p50, p90, p99, max),
        ..RequestSummary::default()
    }
}

/// 12,000 requests of six names, all as asked.
pub fn load() -> LoadSummary {
    let requests: IndexMap<String, RequestSummary> = [
        ("list-users", request(&[(200, 5_880), (500, 120)], [1.2, 2.0, 8.4, 31.0])),
        ("echo", request(&[(200, 1_000)], [0.8, 1.1, 2.9, 9.0])),
        ("client-error", request(&[(400, 1_500)], [0.7, 1.0, 2.2, 8.0])),
        ("server-error", request(&[(500, 1_980)], [0.9, 1.3, 3.1, 12.0])),
        ("unknown-route", request(&[(404, 1_020)], [0.04, 0.9, 2.0, 7.0])),
        ("wrong-method", request(&[(405, 500)], [0.6, 0.9, 1.9, 6.0])),
    ]
    .into_iter()
    .map(|(name, request)| (name.to_owned(), request))
    .collect();
    let mut statuses = BTreeMap::new();
    for (status, count) in requests.values().flat_map(|request| &request.statuses) {
        *statuses.entry(*status).or_default() += count;
    }
    let tallies = requests.iter().flat_map(|(name, request)| {
        request.statuses.iter().map(|(status, count)| Tally {
            request: name.clone(),
            replica: 0,
            hop: None,
            fate: Fate::Answered(*status),
            count: *count,
        })
    });
    let total = RequestSummary {
        sent: 12_000,
        statuses,
        times: latency(12_000, 1.0, 1.8, 7.9, 31.0),
        ..RequestSummary::default()
    };
    let phase = PhaseSummary {
        name: "phase-1".into(),
        seconds: 60.0,
        asked: Some(12_000),
        requests: requests.clone(),
        total: total.clone(),
    };
    LoadSummary {
        started: "2026-11-21T06:40:12Z".parse().expect("a time"),
        seconds: 60.01,
        asked: Some(12_000),
        tallies: tallies.collect(),
        total,
        requests,
        phases: vec![phase],
        overload: None,
        interrupted: false,
        lost: Vec::new(),
    }
}

/// The same load with two phases, some requests lost and some refused.
pub fn rough_load() -> LoadSummary {
    let mut load = load();
    load.total.unknown = 3;
    load.total.not_sent = 7;
    load.total.unexpected = 2;
    let phase = |name: &str, seconds| PhaseSummary {
        name: name.into(),
        seconds,
        asked: Some(6_000),
        requests: IndexMap::new(),
        total: request(&[(200, 6_000)], [1.1, 1.9, 1_056.0, 2_000.0]),
    };
    load.requests["list-users"].unexpected = 2;
    load.requests["list-users"].unknown = 3;
    load.requests["wrong-method"].not_sent = 7;
    load.phases = vec![phase("steady", 30.0), phase("peak", 30.01)];
    load
}

/// A load that could not be sent as asked.
pub fn overloaded_load() -> LoadSummary {
    let reason = "1,204 of 12,000 requests left more than 100 ms late; this process used 1.9 of 2 cores";
    let overload = Overload { reason: reason.into(), late: 1_204, never: 0, reached: 180.1 };
    LoadSummary { overload: Some(overload), ..load() }
}

/// A check with this verdict.
pub fn check(kind: Kind, group: Group, name: &str, verdict: Verdict, message: &str) -> Outcome {
    Outcome { seconds: 0.4, ..Outcome::new(kind, group, name, verdict, message) }
}

/// Every target is scraped.
pub fn targets() -> Outcome {
    check(Kind::Targets, Group::Targets, "every target is scraped", Verdict::Pass, "6 of 6")
}

/// Every request is counted.
pub fn counted() -> Outcome {
    Outcome {
        evidence: json!({"sent": 12_000, "counted": 12_000, "unknown": 0}),
        ..check(Kind::Reconcile, Group::Counts, "every request is counted", Verdict::Pass, "12,000 = 12,000")
    }
}

/// 120 of 12,000 requests are not counted.
pub fn short_count() -> Outcome {
    let rows = [
        ["/api/users", "GET", "200", "5,880", "5,821", "59"],
        ["/api/error", "GET", "500", "1,980", "1,919", "61"],
    ];
    Outcome {
        verdict: Verdict::Fail,
        message: "12,000 sent, 11,880 counted".into(),
        seconds: 30.4,
        table: Some(Table {
            columns: ["endpoint", "method", "status", "sent", "counted", "missing"].map(String::from).into(),
            rows: rows.map(|row| row.map(String::from).into()).into(),
        }),
        notes: vec![
            "All three replicas were scraped 0.8 s after the last response; none restarted; 12 more scrapes within 30 s changed nothing.".into(),
        ],
        hint: Some(
            "The service counts fewer requests than it answers. Is the counter raised on every path, also when the handler fails? docs/checks.md#reconcile".into(),
        ),
        evidence: json!({"sent": 12_000, "counted": 11_880, "unknown": 0}),
        ..counted()
    }
}

/// An alert fired.
pub fn fired() -> Outcome {
    check(Kind::Alert, Group::Alerts, "HighErrorRate fired", Verdict::Pass, "after 9.2 s (30 s allowed)")
}

/// There is no such rule.
pub fn no_rule() -> Outcome {
    Outcome {
        notes: vec!["Prometheus has no rule of that name. Loaded: InstanceDown, HighLatency.".into()],
        hint: Some("sre describe stack users-api shows the rules that it expects.".into()),
        ..check(Kind::Alert, Group::Alerts, "HighErrorRate fired", Verdict::NoData, "")
    }
}

/// A threshold that means nothing when the generator is overloaded.
pub fn skipped() -> Outcome {
    check(Kind::Threshold, Group::Load, "p95 < 500ms", Verdict::Skipped, "the generator was overloaded")
}

/// Every check passes.
pub fn pass() -> Run {
    Run::errors().loaded(load()).verified([targets(), counted(), fired()], 0)
}

/// One check fails, one has no data.
pub fn fail() -> Run {
    Run::errors().loaded(load()).verified([targets(), short_count(), no_rule()], 1)
}
