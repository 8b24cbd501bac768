//! For any course of Prometheus' clock and this machine's, each of which may be set, drift, and sleep: a fault that was
//! seen too late never passes, the wait for it ends in its time, and where no clock was disturbed the verdict is the
//! honest one. `SRE_CLOCKS` says how many courses are tried, `SRE_SEED` repeats one.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::judge::{Evaluations, LATE, Told as Sentence, seen, settled};
use super::window::{Load, Times, Window};
use crate::check::context::Faults;
use crate::check::pace::{CLOCK_MOVED, During, Told, doubt};
use crate::check::{Outcome, Verdict};
use crate::observe::{Labels, Sample, Series};
use crate::run::FaultEvent;
use crate::scenario::DetectedCheck;

/// What a second is made of.
const TICK: f64 = 0.05;
/// A clock that moved by less is not noticed, so that a verdict may be off by that much during the load and again after it,
/// and by what answers, looks and scrapes take.
const BLUR: f64 = 2.0 * CLOCK_MOVED + 5.0;

/// What is true, in seconds on the clock that nobody sets.
#[derive(Debug)]
struct Truth {
    load: (f64, f64),
    fault: (f64, f64),
    /// When it is shown, if it is; and when no longer.
    shown: Option<(f64, f64)>,
    /// How many times a clock is disturbed, and by how much at the most.
    disturbed: u32,
}

/// Prometheus' clock over the steady one: by how much it is ahead, from when on.
struct Course {
    offset: f64,
    drift: f64,
    next: Vec<(f64, f64)>,
}

impl Course {
    fn new(random: &mut StdRng, truth: &Truth) -> Course {
        let mut next: Vec<(f64, f64)> = (0..truth.disturbed)
            .map(|_| {
                let size = [3.0, 20.0, 600.0, 90_000.0][random.random_range(0..4)];
                (random.random_range(0.0..200.0), random.random_range(-size..size))
            })
            .collect();
        // What is set is often set back.
        if next.len() == 2 && random.random_bool(0.5) {
            next[1].1 = -next[0].1;
        }
        next.sort_by(|one, other| one.0.total_cmp(&other.0));
        let drift = if truth.disturbed > 0 {
            random.random_range(-0.02..0.02)
        } else {
            random.random_range(-2e-4..2e-4)
        };
        Course { offset: 1.8e9, drift, next }
    }

    /// Prometheus' time at a moment; moments only ever grow.
    fn at(&mut self, steady: f64) -> f64 {
        while let Some((_, by)) = self.next.first().copied().filter(|(when, _)| *when <= steady) {
            self.offset += by;
            self.next.remove(0);
        }
        self.offset + steady * (1.0 + self.drift)
    }
}

/// All that is known when the checks begin, and what is asked then.
struct World<'a> {
    random: &'a mut StdRng,
    truth: &'a Truth,
    course: Course,
    start: Instant,
    steady: f64,
    /// Prometheus takes no sample that is older than the newest.
    samples: Vec<Sample>,
    scraped: f64,
}

impl World<'_> {
    fn go_on(&mut self, until: f64) {
        while self.steady < until {
            self.steady += TICK;
            let time = self.course.at(self.steady);
            if self.steady - self.scraped >= 1.0 {
                self.scraped = self.steady;
                let on = self.truth.shown.is_some_and(|(from, to)| (from..to).contains(&self.steady));
                if self.samples.last().is_none_or(|last| last.time < time) {
                    self.samples.push(Sample { time, value: f64::from(u8::from(on)) });
                }
            }
        }
    }

    fn told(&mut self) -> Told {
        let asked = self.steady;
        let (before, after) = (self.random.random_range(0.0..0.3), self.random.random_range(0.0..0.3));
        self.go_on(asked + before);
        let time = self.course.at(self.steady);
        self.go_on(self.steady + after);
        let at = |seconds: f64| self.start + Duration::from_secs_f64(seconds);
        Told { time, asked: at(asked), answered: at(self.steady) }
    }

    /// What evaluations each second give: the newest sample of the last five minutes.
    fn evaluations(&self, from: f64, to: f64) -> Evaluations {
        let at = |time: f64| {
            let upto = self.samples.partition_point(|sample| sample.time <= time);
            let newest = self.samples[..upto].last().filter(|sample| sample.time > time - 300.0)?;
            Some(Sample { time, value: newest.value })
        };
        // No more than is looked at: a clock that is a day off asks for a day.
        let steps = ((to - from).max(0.0) as usize).min(2_000);
        let samples = (0..=steps).filter_map(|step| at(from + step as f64)).collect();
        Evaluations::of(&[Series { labels: Labels::new(), samples }], |value| value > 0.0)
    }
}

fn event(time: f64) -> FaultEvent {
    FaultEvent {
        id: "f".into(),
        number: 1,
        description: "a fault".into(),
        instances: Vec::new(),
        prometheus_time: Some(time),
        sign: None,
    }
}

/// The load, then the wait of the check; its outcomes, or why there are none, and how long it waited.
fn run(random: &mut StdRng, truth: &Truth, asked: &DetectedCheck) -> (Result<Vec<Outcome>, String>, f64) {
    let course = Course::new(random, truth);
    let mut world = World {
        random,
        truth,
        course,
        start: Instant::now(),
        steady: 0.0,
        samples: Vec::new(),
        scraped: -1.0,
    };
    world.go_on(truth.load.0);
    let first = world.told();
    let mut moved = 0.0_f64;
    let mut looked = |world: &mut World<'_>| {
        let told = world.told();
        let by = told.moved_since(&first);
        moved = if by.abs() > moved.abs() { by } else { moved };
        told
    };
    let (mut injected, mut healed) = (None, None);
    while world.steady < truth.load.1 {
        looked(&mut world);
        if injected.is_none() && world.steady >= truth.fault.0 {
            injected = Some(looked(&mut world).time);
        }
        if healed.is_none() && world.steady >= truth.fault.1 {
            healed = Some(looked(&mut world).time);
        }
        world.go_on(world.steady + 0.5);
    }
    let last = looked(&mut world);
    let load = During { started: Some(first.time), ended: Some(last.time), moved: Some(moved) };
    let (injected, healed) = (injected.expect("it was"), healed.expect("it was"));
    let faults = Faults { injected: vec![event(injected)], healed: vec![event(healed)] };
    let window =
        Window::of(Times { injected, healed }, &[], Load { started: load.started, ended: load.ended }, asked);
    let began = world.steady;
    let first = world.told();
    let sentence = Sentence { sentence: "it is seen".into(), evidence: json!({}) };
    loop {
        assert!(world.steady - began < 300.0, "the wait does not end: {truth:?}");
        let told = world.told();
        if let Some(why) = doubt(&load, &faults, &first, &told) {
            return (Err(why), world.steady - began);
        }
        let now = told.time;
        let shown = world.evaluations(window.before - 5.0, now.min(window.over_by));
        let seen = seen(&shown, &shown.negated(), &window, now);
        if settled(&seen, &window, now) {
            return (Ok(sentence.judge(&window, &seen, now)), world.steady - began);
        }
        world.go_on(world.steady + 1.0);
    }
}

fn check(seed: u64) -> [u64; 3] {
    let mut random = StdRng::seed_from_u64(seed);
    let asked = DetectedCheck::default();
    let (within, recovers) = (asked.within.as_secs_f64(), asked.recovers.as_secs_f64());
    let start = random.random_range(2.0..20.0);
    let at = start + random.random_range(5.0..20.0);
    let until = at + random.random_range(20.0..50.0);
    let load = (start, until + random.random_range(5.0..20.0));
    let in_time = random.random_bool(0.6);
    let shown = match random.random_range(0..10) {
        0 => None,
        _ if in_time => Some((at + 3.0, until + random.random_range(1.0..recovers - BLUR))),
        _ => Some((at + within + random.random_range(BLUR..2.0 * BLUR), until + 40.0)),
    };
    let disturbed = random.random_range(0..4);
    let truth = Truth { load, fault: (at, until), shown, disturbed };
    let (found, waited) = run(&mut random, &truth, &asked);
    assert!(waited <= recovers + within + LATE + 2.0 * BLUR, "{waited} s were waited: {truth:?}");
    match found {
        Err(why) => {
            assert!(disturbed > 0, "no clock was disturbed, and yet {why}: {truth:?}");
            [0, 0, 1]
        }
        Ok(outcomes) => {
            let (detected, recovered) = (outcomes[0].verdict, outcomes[1].verdict);
            let honest = if shown.is_some() && in_time { Verdict::Pass } else { Verdict::Fail };
            if honest != Verdict::Pass {
                assert_ne!(detected, Verdict::Pass, "a false pass: {truth:?} {outcomes:#?}");
            }
            if disturbed == 0 {
                assert_eq!(detected, honest, "{truth:?} {outcomes:#?}");
                assert!(honest != Verdict::Pass || recovered == Verdict::Pass, "{truth:?} {outcomes:#?}");
            }
            [u64::from(detected == Verdict::Pass), u64::from(detected == Verdict::Fail), 0]
        }
    }
}

#[test]
fn no_course_of_clocks_makes_a_false_pass_or_a_wait_without_an_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (courses, first) = (number("SRE_CLOCKS").unwrap_or(300), number("SRE_SEED").unwrap_or(1));
    let mut counted = [0; 3];
    for seed in first..first + courses {
        let checked = std::panic::catch_unwind(|| check(seed));
        let checked = checked.unwrap_or_else(|failed| {
            let what = failed.downcast_ref::<String>().cloned().unwrap_or_default();
            panic!("SRE_SEED={seed} SRE_CLOCKS=1 shows it again: {what}")
        });
        counted = [0, 1, 2].map(|at| counted[at] + checked[at]);
    }
    // One that is always blind would prove nothing.
    assert!(courses < 100 || counted.iter().all(|count| *count > courses / 20), "{counted:?}");
}
