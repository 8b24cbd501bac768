//! For any history of evaluations, restarts and looks a verdict does not depend on when one looks, and nothing that was
//! not yet to be seen gives a pass. `SRE_HISTORIES` says how many histories are tried.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::episode::{Evidence, Expectation};
use super::rule::tests::{labels, rule};
use super::verdict::{Seen, fired, resolved};
use super::world::{self, World};
use crate::check::Verdict;
use crate::observe::{Labels, Sample, Series};
use crate::scenario::AlertCheck;

const HISTORIES: u64 = 300;
const LOOKBACK: f64 = 300.0;
/// The load's start.
const FROM: f64 = 1_000.0;
/// Nothing is simulated later; long after every bound.
const END: f64 = 2_700.0;

/// One evaluation of the rule.
#[derive(Debug, Clone)]
struct Evaluation {
    /// When it was due.
    due: f64,
    /// When it began, and when it was over.
    began: f64,
    over: f64,
    /// Whether it tells what is active: it did not fail, and the state was restored.
    tells: bool,
    /// What each alert is.
    states: Vec<State>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Inactive,
    Pending(f64),
    /// Since when it has been firing, and when its expression last held.
    Firing(f64),
}

/// A sample or a marker of one series.
#[derive(Debug, Clone)]
struct Entry {
    alert: usize,
    firing: bool,
    time: f64,
    written: f64,
    marker: bool,
}

#[derive(Debug)]
struct History {
    interval: f64,
    offset: f64,
    lasts: f64,
    /// When Prometheus went away, and when it was there again.
    away: Vec<(f64, f64)>,
    evaluations: Vec<Evaluation>,
    entries: Vec<Entry>,
    alerts: Vec<Labels>,
    expectation: Expectation,
    ended: f64,
    asked: AlertCheck,
}

fn pick(random: &mut StdRng, of: &[f64]) -> f64 {
    of[random.random_range(0..of.len())]
}

impl History {
    fn new(random: &mut StdRng) -> History {
        let interval = pick(random, &[1.0, 1.0, 2.0, 5.0, 15.0, 60.0]);
        let offset = pick(random, &[0.0, 0.0, 0.0, 2.0, 10.0, 60.0]);
        let lasts = pick(random, &[0.0, 0.0, 2.0, 10.0, 60.0]);
        let keeps = pick(random, &[0.0, 0.0, 0.0, 10.0]);
        let ended = FROM + random.random_range(5.0..120.0);
        let (fires, resolves) = (random.random_range(2.0..120.0), random.random_range(2.0..180.0));
        let asked = json!({"name": "A", "fires": "1s", "resolves": "1s", "notified": false});
        let mut history = History {
            interval,
            offset,
            lasts,
            away: away(random, ended),
            evaluations: Vec::new(),
            entries: Vec::new(),
            alerts: alerts(random),
            expectation: Expectation {
                labels: labels(&[("team", "shop")]),
                instances: Vec::new(),
                from: FROM,
                fires_by: FROM + fires,
                until: ended,
                resolves_by: ended + resolves,
                known_by: ended + pick(random, &[0.0, 2.0, 10.0, 30.0]),
            },
            ended,
            asked: serde_json::from_value(asked).expect("a check"),
        };
        let holds: Vec<Vec<(f64, f64)>> = history.alerts.iter().map(|_| holds(random, ended)).collect();
        history.evaluate(random, &holds, keeps);
        history
    }

    /// Evaluates the rule at each tick, as Prometheus does.
    fn evaluate(&mut self, random: &mut StdRng, holds: &[Vec<(f64, f64)>], keeps: f64) {
        let (late, fails, misses) =
            (pick(random, &[0.0, 0.1, 0.9]), pick(random, &[0.0, 0.0, 0.1]), pick(random, &[0.0, 0.0, 0.1]));
        let phase = random.random_range(0.0..self.interval);
        let (mut states, mut held) = (vec![State::Inactive; holds.len()], vec![f64::MIN; holds.len()]);
        let mut previous: BTreeSet<(usize, bool)> = BTreeSet::new();
        let (mut unrestored, mut free) = (0, f64::MIN);
        let mut due = FROM - 300.0 + phase;
        while due < END {
            let (at, began) = (due, (due + random.random_range(0.0..=0.2 * late) * self.interval).max(free));
            due += self.interval;
            if let Some((_, back)) = self.away.iter().find(|(gone, back)| (*gone..*back).contains(&began)) {
                // It starts anew, knows of no alert, and tells nothing before two evaluations are over.
                (states, previous, unrestored) = (vec![State::Inactive; holds.len()], BTreeSet::new(), 2);
                free = *back;
                continue;
            }
            if began >= at + self.interval || random.random_bool(misses) {
                continue;
            }
            let over = began + random.random_range(0.0..=late) * self.interval;
            if self.away.iter().any(|(gone, _)| (began..over).contains(gone)) {
                continue;
            }
            free = over;
            let tells = !random.random_bool(fails) && unrestored == 0;
            unrestored = (unrestored - 1_i32).max(0);
            let asked = at - self.offset;
            for (alert, state) in states.iter_mut().enumerate().filter(|_| tells || unrestored > 0) {
                if holds[alert].iter().any(|(from, to)| (*from..*to).contains(&asked)) {
                    held[alert] = at;
                    let since = match *state {
                        State::Inactive => at,
                        State::Pending(since) | State::Firing(since) => since,
                    };
                    let fires = at - since >= self.lasts || matches!(state, State::Firing(_));
                    *state = if fires { State::Firing(since) } else { State::Pending(since) };
                } else if !matches!(state, State::Firing(_)) || at - held[alert] >= keeps {
                    *state = State::Inactive;
                }
            }
            if tells {
                let now: BTreeSet<(usize, bool)> = states
                    .iter()
                    .enumerate()
                    .filter(|(_, state)| **state != State::Inactive)
                    .map(|(alert, state)| (alert, matches!(state, State::Firing(_))))
                    .collect();
                let entry = |(alert, firing): (usize, bool), marker| Entry {
                    alert,
                    firing,
                    time: asked,
                    written: over,
                    marker,
                };
                self.entries.extend(now.iter().map(|of| entry(*of, false)));
                self.entries.extend(previous.difference(&now).map(|of| entry(*of, true)));
                previous = now;
            }
            self.evaluations.push(Evaluation { due: at, began, over, tells, states: states.clone() });
        }
    }

    fn is_away(&self, at: f64) -> bool {
        self.away.iter().any(|(gone, back)| (*gone..*back).contains(&at))
    }

    fn gaps(&self, at: f64) -> Vec<(f64, f64)> {
        let before = self.away.iter().filter(|(gone, _)| *gone < at);
        before.map(|(gone, back)| (*gone, back + 5.0)).collect()
    }

    /// When the process that runs then started.
    fn started(&self, at: f64) -> f64 {
        self.away.iter().map(|(_, back)| *back).filter(|back| *back <= at).fold(0.0, f64::max)
    }

    fn written(&self, at: f64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.written <= at)
    }

    /// Until when evaluations are over, as the rules' page tells at a time.
    fn evaluated_until(&self, at: f64) -> (f64, f64) {
        let last = self
            .evaluations
            .iter()
            .rfind(|evaluation| evaluation.over <= at && evaluation.began >= self.started(at));
        last.map_or((0.0, 0.0), |last| (last.began, last.over - last.began))
    }

    fn series(&self, at: f64, since: f64) -> Vec<Series> {
        let mut all: BTreeMap<(usize, bool), Vec<Sample>> = BTreeMap::new();
        for entry in self.written(at).filter(|entry| !entry.marker && (since..=at).contains(&entry.time)) {
            let sample = Sample { time: entry.time, value: 1.0 };
            all.entry((entry.alert, entry.firing)).or_default().push(sample);
        }
        let named = |(alert, firing): (usize, bool)| {
            let mut labels = self.alerts[alert].clone();
            labels.insert("alertstate".into(), if firing { "firing" } else { "pending" }.into());
            labels
        };
        all.into_iter().map(|(of, samples)| Series { labels: named(of), samples }).collect()
    }

    /// Whether an instant query shows a series.
    fn shows(&self, at: f64, (alert, firing): (usize, bool), instant: f64) -> bool {
        let mut entries = self.entries.iter().rev();
        let last =
            entries.find(|e| (e.alert, e.firing) == (alert, firing) && e.time <= instant && e.written <= at);
        last.is_some_and(|entry| !entry.marker && instant - entry.time < LOOKBACK)
    }

    fn evidence(&self, at: f64, starts: &[f64]) -> Evidence {
        let alerts = self.series(at, FROM - 0.5);
        let step = self.interval / 2.0;
        let (mut active, mut firing) = (BTreeSet::new(), BTreeSet::new());
        let times = || alerts.iter().flat_map(|series| &series.samples).map(|sample| sample.time);
        let first = times().fold(f64::MAX, f64::min);
        let last =
            self.expectation.resolves_by.max(self.expectation.known_by + self.interval).min(at) + 2.0 * step;
        let mut instant = (first / step).ceil();
        while instant * step <= last {
            let meant = self.alerts.iter().enumerate().filter(|(_, own)| self.expectation.is_meant(own));
            for (alert, _) in meant {
                let fires = self.shows(at, (alert, true), instant * step);
                if fires {
                    firing.insert(instant as i64);
                }
                if fires || self.shows(at, (alert, false), instant * step) {
                    active.insert(instant as i64);
                }
            }
            instant += 1.0;
        }
        let (began, took) = self.evaluated_until(at);
        Evidence {
            alerts,
            active,
            firing,
            step,
            lookback: LOOKBACK,
            interval: self.interval,
            offset: self.offset,
            evaluated_until: (began - took).min(at),
            starts: starts.to_vec(),
            gaps: self.gaps(at),
        }
    }

    fn seen(&self, at: f64, starts: &[f64]) -> Seen {
        let evidence = self.evidence(at, starts);
        let expectation = self.expectation.clone();
        let last =
            expectation.fires_by.max(expectation.resolves_by).max(expectation.known_by + self.interval);
        Seen {
            episode: expectation.episode(&evidence),
            siblings: Vec::new(),
            alerts: Vec::new(),
            now: at,
            past: false,
            patience: starts.iter().copied().fold(last, f64::max) + self.offset + 3.0 * self.interval + 10.0,
            offset: self.offset,
            interval: self.interval,
            blind: None,
            expectation,
        }
    }

    fn world(&self, at: f64, starts: &[f64]) -> World {
        let (began, took) = self.evaluated_until(at);
        let millisecond =
            |seconds: f64| jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).expect("a time");
        let mut own = rule("A", &[]);
        own.last_evaluation = millisecond(began);
        (own.interval, own.group_took, own.duration) = (self.interval, took, self.lasts);
        let mut world = World {
            rules: vec![own],
            alerts: self.series(at, FROM),
            since: FROM,
            known_by: self.expectation.known_by,
            offset: self.offset,
            starts: starts.to_vec(),
            gaps: self.gaps(at),
            pending: BTreeMap::new(),
            step: self.interval / 2.0,
            lookback: LOOKBACK,
            now: at,
            past: false,
        };
        let Some((from, to)) = world.asked() else { return world };
        for (alert, labels) in self.alerts.iter().enumerate() {
            let instants = (from / world.step).ceil() as i64..=(to / world.step).floor() as i64;
            let shown =
                instants.filter(|instant| self.shows(at, (alert, false), *instant as f64 * world.step));
            world.pending.insert(labels.clone(), shown.collect());
        }
        world
    }

    /// Looks as `run` does, until nothing more is waited for: when that was, what it found, and which starts it knows.
    fn run<T>(
        &self,
        random: &mut StdRng,
        (mut at, mut starts): (f64, Vec<f64>),
        look: impl Fn(f64, &[f64]) -> Option<T>,
    ) -> (f64, T, Vec<f64>) {
        loop {
            assert!(at < END, "it is waited for ever: {self:#?}");
            if !self.is_away(at) {
                let started = self.started(at);
                if !starts.contains(&started) {
                    starts.push(started);
                }
                if let Some(found) = look(at, &starts) {
                    return (at, found, starts);
                }
            }
            at += random.random_range(0.1..1.5) * self.interval.min(5.0);
        }
    }

    /// When it is looked again.
    fn later(&self, random: &mut StdRng, after: f64) -> f64 {
        if random.random_bool(0.3) { END - 300.0 } else { random.random_range(after..END - 299.0) }
    }

    fn verdicts(&self, seen: &Seen) -> [Verdict; 2] {
        [fired(&self.asked, seen).verdict, resolved(&self.asked, seen).verdict]
    }

    /// What is really so, of all evaluations: whether any said, after the last that fires, that none is active.
    fn is_over(&self) -> bool {
        let meant = |evaluation: &Evaluation, is: fn(&State) -> bool| {
            let mut states = evaluation.states.iter().zip(&self.alerts);
            states.any(|(state, labels)| self.expectation.is_meant(labels) && is(state))
        };
        let until =
            self.expectation.known_by.max(self.expectation.resolves_by - self.offset) + 2.0 * self.interval;
        let telling =
            || self.evaluations.iter().filter(|e| e.tells && (FROM..until).contains(&(e.due - self.offset)));
        let fires = |e: &Evaluation| meant(e, |state| matches!(state, State::Firing(_)));
        let first = telling().position(fires);
        first.is_some_and(|first| {
            telling().skip(first).any(|e| {
                e.due - self.offset >= self.expectation.known_by - self.interval
                    && !meant(e, |state| *state != State::Inactive)
            })
        })
    }

    /// Whether one fired until it had to be known, or was pending then and fired for it.
    fn any_fires(&self) -> bool {
        let by = self.expectation.known_by + self.interval;
        (0..self.alerts.len()).any(|alert| {
            let told = || self.evaluations.iter().filter(|e| e.tells && e.due - self.offset >= FROM);
            let fires = |e: &&Evaluation| matches!(e.states[alert], State::Firing(_));
            let mut later = told().skip_while(|e| e.due - self.offset <= by);
            let pending = told().rfind(|e| e.due - self.offset <= by);
            told().take_while(|e| e.due - self.offset <= by).any(|e| fires(&e))
                || pending.is_some_and(|e| matches!(e.states[alert], State::Pending(_)))
                    && later
                        .find(|e| !matches!(e.states[alert], State::Pending(_)))
                        .is_some_and(|e| fires(&e))
        })
    }
}

/// One or more alerts; the last may be somebody else's.
fn alerts(random: &mut StdRng) -> Vec<Labels> {
    let number = random.random_range(1..=3);
    let team = |i: usize, random: &mut StdRng| if i > 0 && random.random_bool(0.3) { "cart" } else { "shop" };
    (0..number)
        .map(|i| {
            let team = team(i, random);
            labels(&[("alertname", "A"), ("team", team), ("instance", &i.to_string())])
        })
        .collect()
}

/// When an alert's expression holds.
fn holds(random: &mut StdRng, ended: f64) -> Vec<(f64, f64)> {
    let number = [0, 1, 1, 1, 2, 3][random.random_range(0..6)];
    (0..number)
        .map(|_| {
            let from = random.random_range(FROM - 30.0..ended + 60.0);
            let lasts = pick(random, &[1.0, 5.0, 20.0, 60.0, 200.0]);
            (from, if random.random_bool(0.1) { END } else { from + lasts * random.random_range(0.2..1.5) })
        })
        .collect()
}

/// Seldom, Prometheus is away, once or twice.
fn away(random: &mut StdRng, ended: f64) -> Vec<(f64, f64)> {
    let number = [0, 0, 0, 1, 2][random.random_range(0..5)];
    let mut away: Vec<(f64, f64)> = (0..number)
        .map(|_| {
            let gone = random.random_range(FROM - 20.0..ended + 200.0);
            (gone, gone + pick(random, &[1.0, 5.0, 30.0, 400.0]))
        })
        .collect();
    away.sort_by(|a, b| a.0.total_cmp(&b.0));
    away.dedup_by(|later, earlier| later.0 <= earlier.1 + 1.0);
    away
}

fn histories(mut hold: impl FnMut(&mut StdRng, &History)) {
    let number = std::env::var("SRE_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(HISTORIES);
    let first = std::env::var("SRE_SEED").ok().and_then(|text| text.parse().ok());
    let first = first.unwrap_or_else(|| if number == HISTORIES { 0 } else { rand::random::<u64>() >> 1 });
    for seed in first..first + number {
        let mut random = StdRng::seed_from_u64(seed);
        let history = History::new(&mut random);
        let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hold(&mut random, &history)));
        if let Err(failed) = shown {
            panic_at(seed, failed);
        }
    }
}

fn panic_at(seed: u64, failed: Box<dyn std::any::Any + Send>) -> ! {
    let what = failed.downcast_ref::<String>().cloned().unwrap_or_default();
    panic!("SRE_SEED={seed} SRE_HISTORIES=1 shows it again: {what}")
}

#[test]
fn an_alert_s_verdict_does_not_depend_on_when_one_looks() {
    let mut passed = [0, 0];
    histories(|random, history| {
        let settled = |at: f64, starts: &[f64]| Some(history.seen(at, starts)).filter(Seen::settled);
        let (at, seen, starts) = history.run(random, (history.ended, Vec::new()), settled);
        let verdicts = history.verdicts(&seen);
        for (passed, verdict) in passed.iter_mut().zip(verdicts) {
            *passed += u64::from(verdict == Verdict::Pass);
        }
        if verdicts[1] == Verdict::Pass {
            assert!(history.is_over(), "{at}: it is not over: {seen:#?}\n{history:#?}");
        }
        // What was given up is not settled: a later look may find it.
        let given_up = seen.now > seen.patience;
        for _ in 0..3 {
            let later = history.later(random, at);
            let (later, again, _) = history.run(random, (later, starts.clone()), settled);
            for (now, then) in verdicts.into_iter().zip(history.verdicts(&again)) {
                if given_up && now == Verdict::NoData {
                    continue;
                }
                assert_eq!(now, then, "at {at} {seen:#?}\nat {later} {again:#?}\n{history:#?}");
            }
        }
    });
    assert!(passed.iter().all(|passed| *passed > 0 || std::env::var("SRE_HISTORIES").is_ok()), "{passed:?}");
}

#[test]
fn that_no_alert_fired_does_not_depend_on_when_one_looks() {
    let verdict = |seen: &world::Seen| match (seen.fired.as_slice(), seen.hidden.as_slice()) {
        ([], []) => Verdict::Pass,
        ([], _) => Verdict::NoData,
        _ => Verdict::Fail,
    };
    let mut passed = 0;
    histories(|random, history| {
        let settled = |at: f64, starts: &[f64]| {
            let seen = history.world(at, starts).judge();
            let waits = seen.awaited.is_some() && seen.fired.is_empty() && seen.hidden.is_empty();
            (!waits).then_some(seen)
        };
        let (at, seen, starts) = history.run(random, (history.ended, Vec::new()), settled);
        let now = verdict(&seen);
        passed += u64::from(now == Verdict::Pass);
        if now == Verdict::Pass {
            assert!(!history.any_fires(), "{at}: one fires: {seen:#?}\n{history:#?}");
        }
        for _ in 0..3 {
            let later = history.later(random, at);
            let (later, again, _) = history.run(random, (later, starts.clone()), settled);
            // What was given up, or was not yet to be seen, a later look may find.
            if now != Verdict::NoData {
                assert_eq!(now, verdict(&again), "at {at} {seen:#?}\nat {later} {again:#?}\n{history:#?}");
            }
        }
    });
    assert!(passed > 0 || std::env::var("SRE_HISTORIES").is_ok());
}
