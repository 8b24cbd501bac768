//! Any history, looked at at any time: `run` and every later `verify` say the same, and no pass is given where the
//! service counted wrong, whatever was late, lost, lagging or shared.
//!
//! `SRE_HISTORIES` is the number of histories, `SRE_SEED` the seed of the first; a failure names its own. What nobody could
//! see is left out: see `no_look_at_any_history_…`, and docs/checks.md.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::baseline::Baseline;
use super::fetch::{Counters, Samples, assemble, baseline_of, graft_all, orphaned};
use super::judge::{Case, Judgement};
use super::lag::AnsweredSecond;
use super::ledger::{Group, Key, Ledger};
use super::reading::Question;
use crate::check::Verdict;
use crate::observe::{Labels, Sample, Series};
use crate::stack::Counter;

/// When the run begins, on Prometheus' clock.
const BEGIN: f64 = 1000.0;

/// How counters reach Prometheus.
#[derive(Debug, Clone, Copy)]
enum Export {
    /// As they are.
    AtOnce,
    /// As they were so long ago.
    Delayed(f64),
    /// As they were at the last of these ticks: every so many seconds, from this second on.
    Ticks(f64, f64),
}

/// How the service counts.
#[derive(Debug, Clone, Copy)]
enum Counting {
    Exact,
    Drops(usize),
    Doubles(usize),
}

#[derive(Debug, Clone, Copy)]
struct Request {
    at: f64,
    target: usize,
    code: &'static str,
    /// Complete answers; else its fate is unknown.
    answered: bool,
    /// How often it was counted.
    times: u64,
    /// Whether this run sent it.
    ours: bool,
}

/// A history: everything that happened, and when it can be seen.
#[derive(Debug, Clone)]
struct World {
    interval: f64,
    targets: usize,
    requests: Vec<Request>,
    export: Export,
    /// Two processes answer behind each target.
    workers: bool,
    /// Processes tell when they started.
    starts: bool,
    /// Both series are there from the start, at 0.
    zeroed: bool,
    /// The first target's process is started again.
    restart: Option<f64>,
    /// Scrapes of the first target fail between these times.
    failing: Option<(f64, f64)>,
    /// The first target shows a page of something else.
    html: bool,
    /// Series of the counter lose the label `instance`.
    label_dropped: bool,
    /// Samples of counters can be seen so long after the scrape.
    visible_after: f64,
    wait: f64,
    lag: f64,
    baseline_at: f64,
    ended: f64,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let random = &mut random;
        let interval = [1.0, 2.0, 5.0][random.random_range(0..3)];
        let targets = random.random_range(1..=3);
        let export = match random.random_range(0..8) {
            0 => Export::Delayed(random.random_range(1.0..40.0)),
            1 | 2 => Export::Ticks(random.random_range(2.0..61.0), random.random_range(0.0..61.0)),
            _ => Export::AtOnce,
        };
        let at_once = matches!(export, Export::AtOnce);
        let counting = match random.random_range(0..6) {
            0 => Counting::Drops(random.random_range(2..30)),
            1 => Counting::Doubles(random.random_range(1..30)),
            2 => Counting::Drops(2),
            _ => Counting::Exact,
        };
        let wait = [5.0, 30.0, 90.0][random.random_range(0..3)];
        let lag = if wait > 30.0 { wait } else { 0.0 };
        let mut world = World {
            interval,
            targets,
            requests: Vec::new(),
            export,
            workers: at_once && random.random_bool(0.15),
            starts: random.random_bool(0.5),
            zeroed: random.random_bool(0.5),
            restart: None,
            failing: None,
            html: targets > 1 && random.random_bool(0.05),
            label_dropped: random.random_bool(0.08),
            visible_after: if random.random_bool(0.2) { random.random_range(0.0..interval) } else { 0.0 },
            wait,
            lag,
            baseline_at: 0.0,
            ended: 0.0,
            seed,
        };
        // The first moment at which every target had a scrape that is newer than the run's start.
        world.baseline_at = BEGIN + lag + interval + world.visible_after + 0.2;
        let (start, seconds) = (world.baseline_at + 0.3, random.random_range(2.0..40.0));
        world.ended = start + seconds + 0.1;
        if at_once && random.random_bool(0.15) {
            world.restart = Some(start + seconds * random.random_range(0.1..0.9));
        }
        if random.random_bool(0.15) {
            let from = start + seconds * random.random_range(0.0..1.2);
            world.failing = Some((from, from + random.random_range(0.5..20.0)));
        }
        world.send(random, start, seconds, counting);
        world
    }

    /// Requests of this run, and of others before it.
    fn send(&mut self, random: &mut StdRng, start: f64, seconds: f64, counting: Counting) {
        let sent = random.random_range(1..120usize);
        let unknown = if random.random_bool(0.3) { 0.05 } else { 0.0 };
        for number in 0..sent {
            // The last one ends the load.
            let share = if sent == 1 { 1.0 } else { number as f64 / (sent - 1) as f64 };
            let times = match counting {
                Counting::Drops(one_in) if number % one_in == one_in - 1 => 0,
                Counting::Doubles(one_in) if number % one_in == one_in - 1 => 2,
                _ => 1,
            };
            let answered = !random.random_bool(unknown);
            let times = if answered { times } else { times * u64::from(random.random_bool(0.5)) };
            let code = if random.random_bool(0.2) { "500" } else { "200" };
            let target = random.random_range(0..self.targets);
            self.requests.push(Request {
                at: start + seconds * share,
                target,
                code,
                answered,
                times,
                ours: true,
            });
        }
        if random.random_bool(0.5) {
            // Where nothing is waited before the load, only a load that is long and dense shows by itself that counters
            // are behind, by more than some scrapes. Before any other one, others were quiet for as long as that.
            let behind = match self.export {
                Export::AtOnce => 0.0,
                Export::Delayed(by) => by,
                Export::Ticks(every, _) => every,
            };
            let shows =
                behind > 3.0 * self.interval && seconds > 1.5 * behind + 10.0 && sent as f64 > 2.0 * seconds;
            let quiet = if self.lag > 0.0 || shows { 0.5 } else { behind + 0.5 };
            for _ in 0..random.random_range(1..80) {
                let at = BEGIN - quiet - random.random_range(0.0..80.0);
                let target = random.random_range(0..self.targets);
                self.requests.push(Request {
                    at,
                    target,
                    code: "200",
                    answered: true,
                    times: 1,
                    ours: false,
                });
            }
        }
        if random.random_bool(0.05) {
            let at = start + seconds * random.random_range(0.0..1.0);
            self.requests.push(Request { at, target: 0, code: "200", answered: true, times: 1, ours: false });
        }
        self.requests.sort_by(|a, b| a.at.total_cmp(&b.at));
    }

    /// Whether the service's own counts, of this run's requests and of whoever came in between, are what the client
    /// knows: each status at least as often as it was answered, and no more on top than there are unknown fates.
    fn is_counted_right(&self) -> bool {
        let sums = |code: &str| {
            let of_code = || self.requests.iter().filter(move |request| request.code == code);
            let counted: u64 = of_code()
                .filter(|request| request.ours || request.at > BEGIN)
                .map(|request| request.times)
                .sum();
            let answered = of_code().filter(|request| request.ours && request.answered).count() as u64;
            counted.checked_sub(answered)
        };
        let unknown = self.requests.iter().filter(|request| request.ours && !request.answered).count() as u64;
        sums("200").zip(sums("500")).is_some_and(|(more, other)| more + other <= unknown)
    }

    /// Whether a rare export falls into a load that is shorter than the time between two: what was counted after it shows only
    /// in the next, and nothing before tells that there will be one.
    fn is_cut_by_an_export(&self) -> bool {
        let Export::Ticks(every, from) = self.export else { return false };
        let last = ((self.ended - from) / every).floor() * every + from;
        let start = self.baseline_at + 0.3;
        self.lag == 0.0 && last > start && self.ended - start < every
    }

    /// Whether scrapes from the baseline to the bound were answered by both processes of each target.
    fn shows_both_workers(&self) -> bool {
        let deadline = self.ended + self.wait.max(self.lag + self.round());
        (0..self.targets).all(|target| {
            let scrapes = self.scrapes(target, deadline).into_iter();
            let since = scrapes
                .filter(|(time, ok)| *ok && *time > self.baseline_at - self.interval - self.visible_after);
            let mut seen: Vec<usize> = since.map(|(time, _)| self.process(target, time).0).collect();
            seen.sort_unstable();
            seen.dedup();
            seen.len() > 1
        })
    }

    /// Without its requests.
    fn in_short(&self) -> World {
        World { requests: Vec::new(), ..self.clone() }
    }

    fn ledger(&self) -> Ledger {
        let mut group = Group::default();
        for request in self.requests.iter().filter(|request| request.ours) {
            let key = Key::from([("code".to_owned(), request.code.to_owned())]);
            match request.answered {
                true => *group.answered.entry(key).or_default() += 1,
                false => group.unknown += 1,
            }
        }
        Ledger { groups: vec![group], ..Ledger::default() }
    }

    fn scrapes(&self, target: usize, until: f64) -> Vec<(f64, bool)> {
        let first = BEGIN - 200.0 + self.interval * (target as f64 + 1.0) / (self.targets as f64 + 1.0);
        let all = (0..).map(|number| first + self.interval * f64::from(number));
        let fails =
            |time: f64| self.failing.is_some_and(|(from, to)| target == 0 && (from..to).contains(&time));
        all.take_while(|time| *time <= until).map(|time| (time, !fails(time))).collect()
    }

    /// Which process answered a scrape, and when it started.
    fn process(&self, target: usize, scrape: f64) -> (usize, f64) {
        let worker = match self.workers {
            // Not in turn, but the same whenever it is looked at.
            true => (StdRng::seed_from_u64(self.seed ^ scrape.to_bits()).random_range(0..2u32)) as usize,
            false => 0,
        };
        let born = self.restart.filter(|at| target == 0 && *at <= scrape).unwrap_or(100.0);
        (worker, born + 3.0 * worker as f64)
    }

    /// A counter's value in a scrape; `None` where it is not there.
    fn value(&self, target: usize, code: &str, scrape: f64) -> Option<f64> {
        if self.html && target == 0 {
            return None;
        }
        let seen_until = match self.export {
            Export::AtOnce => scrape,
            Export::Delayed(by) => scrape - by,
            Export::Ticks(every, from) => ((scrape - from) / every).floor() * every + from,
        };
        let (worker, _) = self.process(target, scrape);
        let born = self.restart.filter(|at| target == 0 && *at <= scrape).unwrap_or(f64::MIN);
        let value: u64 = self
            .requests
            .iter()
            .enumerate()
            .filter(|(number, request)| {
                request.target == target
                    && request.code == code
                    && request.at <= seen_until
                    && request.at >= born
                    && (!self.workers || number % 2 == worker)
            })
            .map(|(_, request)| request.times)
            .sum();
        (self.zeroed || value > 0).then_some(value as f64)
    }

    fn labels(target: usize, more: &[(&str, &str)]) -> Labels {
        let own = [("job", "j".to_owned()), ("instance", format!("i{target}"))];
        let mut labels: Labels = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        labels.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        labels
    }

    /// All samples that there ever are.
    fn samples(&self) -> Samples {
        let end = self.ended + 200.0;
        let mut samples = Samples::default();
        for target in 0..self.targets {
            let scrapes = self.scrapes(target, end);
            let up = scrapes.iter().map(|(time, ok)| Sample { time: *time, value: f64::from(*ok) }).collect();
            samples.up.push(Series { labels: Self::labels(target, &[("__name__", "up")]), samples: up });
            let good: Vec<f64> = scrapes.iter().filter(|(_, ok)| *ok).map(|(time, _)| *time).collect();
            if self.starts {
                let told = |time: &f64| Sample { time: *time, value: self.process(target, *time).1 };
                let labels = Self::labels(target, &[("__name__", "process_start_time_seconds")]);
                samples.started.push(Series { labels, samples: good.iter().map(told).collect() });
            }
            for code in ["200", "500"] {
                let mut labels = Self::labels(target, &[("__name__", "m"), ("code", code)]);
                if self.label_dropped {
                    labels.remove("instance");
                }
                let told = |time: &f64| Some(Sample { time: *time, value: self.value(target, code, *time)? });
                let told: Vec<Sample> = good.iter().filter_map(told).collect();
                // Series that lost what tells them apart are one.
                match samples.counters.iter_mut().find(|known| known.labels == labels) {
                    Some(known) => known.samples.extend(told),
                    None => samples.counters.push(Series { labels, samples: told }),
                }
            }
        }
        samples
    }

    /// Those that can be seen at a time, from one time to another.
    fn visible(&self, all: &Samples, from: f64, to: f64, now: f64) -> Samples {
        let between = |series: &Series, to: f64| Series {
            labels: series.labels.clone(),
            samples: series.samples.iter().copied().filter(|s| (from..=to).contains(&s.time)).collect(),
        };
        let some = |all: &[Series], to: f64| -> Vec<Series> {
            all.iter().map(|series| between(series, to)).filter(|series| !series.samples.is_empty()).collect()
        };
        Samples {
            up: some(&all.up, to),
            started: some(&all.started, to),
            created: Vec::new(),
            counters: some(&all.counters, to.min(now - self.visible_after)),
        }
    }

    fn round(&self) -> f64 {
        (2.0 * self.interval + 0.9).max(3.0)
    }

    fn baseline(&self, counters: &Counters<'_>, all: &Samples) -> Baseline {
        let at = self.baseline_at;
        let seen = assemble(self.visible(all, at - 300.0, at, at), counters, &[]);
        Baseline { settled: self.lag, ..baseline_of(&seen.histories, at, self.round()) }
    }

    /// What a look at a time says.
    fn look(&self, known: &Known<'_>, now: f64) -> Judgement {
        let Known { counters, all, baseline, ledger } = known;
        let round = self.round();
        let deadline = self.ended + self.wait.max(self.lag + round);
        let from = baseline.targets.iter().map(|target| target.scraped).fold(baseline.at, f64::min);
        let until = now.min(deadline);
        let mut seen = assemble(self.visible(all, from, until, now), counters, &[]);
        let doubts = orphaned(&seen, "m").into_iter().collect();
        seen.histories = graft_all(seen.histories, baseline);
        let answered = self.requests.iter().filter(|request| request.ours && request.answered);
        let case = Case {
            question: Question { counter: counters.counter, ledger, tolerance: 0 },
            histories: seen.histories,
            duplicates: Vec::new(),
            replicas: Vec::new(),
            replaced: Vec::new(),
            doubts,
            instead: None,
            answered: answered
                .map(|request| AnsweredSecond { from: request.at - 1.0, to: request.at + 0.5 })
                .collect(),
            round,
            lag: self.lag,
            settled: baseline.settled,
            ended: self.ended,
            deadline,
            now,
            clock_moved: None,
        };
        case.judge()
    }
}

/// What does not depend on when one looks.
struct Known<'a> {
    counters: &'a Counters<'a>,
    all: Samples,
    baseline: Baseline,
    ledger: Ledger,
}

/// What a run, and whoever looks later, says: the first final verdict, and that of looks at later times.
fn verdicts(world: &World) -> Vec<(f64, Verdict, String)> {
    let counter: Counter =
        serde_json::from_value(serde_json::json!({"metric": "m", "status": "code", "job": "j"}))
            .expect("a counter");
    let counters = Counters { counter: &counter, others: Vec::new() };
    let all = world.samples();
    let (baseline, ledger) = (world.baseline(&counters, &all), world.ledger());
    let known = Known { counters: &counters, all, baseline, ledger };
    let look = |now: f64| match world.look(&known, now) {
        Judgement::Wait(_) => None,
        Judgement::Final(outcomes) => {
            let of = |verdict| outcomes.iter().any(|outcome| outcome.verdict == verdict);
            let verdict = match () {
                () if of(Verdict::Fail) => Verdict::Fail,
                () if of(Verdict::NoData) => Verdict::NoData,
                () => Verdict::Pass,
            };
            let text = outcomes
                .iter()
                .flat_map(|outcome| [vec![outcome.message.clone()], outcome.notes.clone()].concat());
            Some((now, verdict, text.collect::<Vec<_>>().join("; ")))
        }
    };
    let mut random = StdRng::seed_from_u64(!world.seed);
    let (mut now, mut looks) = (world.ended, 0);
    let first = loop {
        if let Some(verdict) = look(now) {
            break verdict;
        }
        looks += 1;
        now += if looks < 8 { random.random_range(0.2..3.0) } else { random.random_range(3.0..12.0) };
        assert!(now < world.ended + 1000.0, "it never ends: {world:#?}");
    };
    let later = [first.0 + 0.7, first.0 + 3.0, first.0 + 20.0, first.0 + 400.0];
    std::iter::once(first).chain(later.into_iter().filter_map(look)).collect()
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn no_look_at_any_history_passes_what_was_counted_wrong_and_all_looks_agree() {
    let (histories, seed) = (number("SRE_HISTORIES", 500), number("SRE_SEED", 1));
    let mut found = std::collections::BTreeMap::<&str, u64>::new();
    for seed in seed..seed + histories {
        let world = World::new(seed);
        let all = verdicts(&world);
        let (_, first, told) = &all[0];
        let word = match first {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            _ => "no-data",
        };
        *found.entry(word).or_default() += 1;
        assert!(
            all.iter().all(|(_, verdict, _)| verdict == first),
            "SRE_SEED={seed}: looks differ: {all:#?} of {:#?}",
            world.in_short()
        );
        let right = world.is_counted_right();
        // What a restart loses, or an export that comes before the last answers leaves for the next one, may make up for
        // what was counted twice: nobody can see that either.
        let may_make_up =
            world.restart.is_some() || (world.workers && !world.starts) || world.is_cut_by_an_export();
        assert!(
            right || may_make_up || *first != Verdict::Pass,
            "SRE_SEED={seed}: a false pass, {told}: {:#?}",
            world.in_short()
        );
        // A restart that no process tells of, to a value that is no lower, nobody can see; nor two processes that tell
        // nothing of themselves and have counted the same, or of which one answered every scrape.
        let told_of = match (world.workers, world.starts) {
            (true, starts) => starts && world.shows_both_workers(),
            (false, starts) => starts || world.restart.is_none(),
        };
        assert!(
            !right || !told_of || *first != Verdict::Fail,
            "SRE_SEED={seed}: a false fail, {told}: {:#?}",
            world.in_short()
        );
    }
    // A judge that never passes nor fails anything would hold, too.
    assert!(histories < 500 || found.values().all(|count| *count > histories / 20), "{found:?}");
    assert!(histories < 500 || found.len() == 3, "{found:?}");
}
