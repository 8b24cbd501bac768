//! A random history of a run: what was sent, how it was counted, and what can be seen of it when.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::baseline::Baseline;
use super::fetch::{Counters, Samples, assemble, baseline_of, graft_all, orphaned};
use super::judge::{Case, Judgement};
use super::lag::AnsweredSecond;
use super::ledger::{Group, Key, Ledger};
use super::reading::Question;
use crate::observe::{Labels, Sample, Series};

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

/// What becomes of the label `code` of some requests.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bare {
    No,
    /// They are counted without it, too.
    Beside,
    /// They are counted without it alone.
    Instead,
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
    bare: Bare,
    /// Whether this run sent it.
    ours: bool,
}

impl Request {
    fn is_answer(&self) -> bool {
        self.ours && self.answered
    }

    /// Whether the series of a status counts it, or with none the one without.
    fn is_counted_under(&self, code: &str) -> bool {
        match code {
            "" => self.bare != Bare::No,
            code => self.code == code && self.bare != Bare::Instead,
        }
    }
}

/// A history: everything that happened, and when it can be seen.
#[derive(Debug, Clone)]
pub(super) struct World {
    interval: f64,
    targets: usize,
    requests: Vec<Request>,
    export: Export,
    /// Two processes answer behind each target.
    pub(super) workers: bool,
    /// Processes tell when they started.
    pub(super) starts: bool,
    /// Both series are there from the start, at 0.
    zeroed: bool,
    /// The first target's process is started again.
    pub(super) restart: Option<f64>,
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
    pub(super) ended: f64,
    pub(super) seed: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
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
        let bare = match random.random_range(0..12) {
            0 => (random.random_range(1..30), Bare::Beside),
            1 => (random.random_range(1..30), Bare::Instead),
            _ => (1, Bare::No),
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
        world.send(random, (start, seconds), counting, bare);
        world
    }

    /// Requests of this run, and of others before it.
    fn send(
        &mut self,
        random: &mut StdRng,
        (start, seconds): (f64, f64),
        counting: Counting,
        bare: (usize, Bare),
    ) {
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
                bare: if number % bare.0 == bare.0 - 1 { bare.1 } else { Bare::No },
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
                    bare: Bare::No,
                    ours: false,
                });
            }
        }
        if random.random_bool(0.05) {
            let at = start + seconds * random.random_range(0.0..1.0);
            self.requests.push(Request {
                at,
                target: 0,
                code: "200",
                answered: true,
                times: 1,
                bare: Bare::No,
                ours: false,
            });
        }
        self.requests.sort_by(|a, b| a.at.total_cmp(&b.at));
    }

    /// Whether the service's own counts, of this run's requests and of whoever came in between, are what the client
    /// knows: each status at least as often as it was answered, and no more on top than there are unknown fates.
    pub(super) fn is_counted_right(&self) -> bool {
        self.is_right_in_all() && self.of_run().all(|request| request.bare == Bare::No || request.times == 0)
    }

    /// The same, were those that are counted without their status counted under it.
    pub(super) fn is_right_in_all(&self) -> bool {
        let sums = |code: &str| {
            let counted: u64 =
                self.of_run().filter(|request| request.code == code).map(|request| request.times).sum();
            let answered =
                self.of_run().filter(|request| request.is_answer() && request.code == code).count();
            counted.checked_sub(answered as u64)
        };
        let beside: u64 =
            self.of_run().filter(|request| request.bare == Bare::Beside).map(|request| request.times).sum();
        let unknown = self.requests.iter().filter(|request| request.ours && !request.answered).count() as u64;
        sums("200").zip(sums("500")).is_some_and(|(more, other)| more + other + beside <= unknown)
    }

    /// The requests that are counted in the run.
    fn of_run(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.ours || request.at > BEGIN)
    }

    /// Whether a rare export falls into a load that is shorter than the time between two: what was counted after it shows only
    /// in the next, and nothing before tells that there will be one.
    pub(super) fn is_cut_by_an_export(&self) -> bool {
        let Export::Ticks(every, from) = self.export else { return false };
        let last = ((self.ended - from) / every).floor() * every + from;
        let start = self.baseline_at + 0.3;
        self.lag == 0.0 && last > start && self.ended - start < every
    }

    /// Whether scrapes from the baseline to the bound were answered by both processes of each target.
    pub(super) fn shows_both_workers(&self) -> bool {
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
    pub(super) fn in_short(&self) -> World {
        World { requests: Vec::new(), ..self.clone() }
    }

    pub(super) fn ledger(&self) -> Ledger {
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
                    && request.is_counted_under(code)
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
    pub(super) fn samples(&self) -> Samples {
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
            for code in ["200", "500", ""] {
                let mut labels = Self::labels(target, &[("__name__", "m"), ("code", code)]);
                if code.is_empty() {
                    labels.remove("code");
                }
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

    pub(super) fn baseline(&self, counters: &Counters<'_>, all: &Samples) -> Baseline {
        let at = self.baseline_at;
        let seen = assemble(self.visible(all, at - 300.0, at, at), counters, &[]);
        Baseline { settled: self.lag, ..baseline_of(&seen.histories, at, self.round()) }
    }

    /// What a look at a time says.
    pub(super) fn look(&self, known: &Known<'_>, now: f64) -> Judgement {
        let Known { counters, all, baseline, ledger } = known;
        let round = self.round();
        let deadline = self.ended + self.wait.max(self.lag + round);
        let from = baseline.targets.iter().map(|target| target.scraped).fold(baseline.at, f64::min);
        let until = now.min(deadline);
        let mut seen = assemble(self.visible(all, from, until, now), counters, &[]);
        let doubts = orphaned(&seen).into_iter().collect();
        seen.histories = graft_all(seen.histories, baseline);
        let answered = self.requests.iter().filter(|request| request.ours && request.answered);
        let question = Question { counter: counters.counter, ledger, tolerance: 0 };
        let case = Case {
            doubts,
            answered: answered
                .map(|request| AnsweredSecond { from: request.at - 1.0, to: request.at + 0.5 })
                .collect(),
            round,
            lag: self.lag,
            settled: baseline.settled,
            ..Case::of(question, seen.histories, self.ended, deadline, now)
        };
        case.judge()
    }
}

/// What does not depend on when one looks.
pub(super) struct Known<'a> {
    pub(super) counters: &'a Counters<'a>,
    pub(super) all: Samples,
    pub(super) baseline: Baseline,
    pub(super) ledger: Ledger,
}
