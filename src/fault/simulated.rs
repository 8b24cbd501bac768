//! For any clocks a fault of the demo service is on exactly while it is meant to be, and where its owner is killed, off
//! soon after: by the clock that nobody sets, whatever becomes of the one that people read. `SRE_CLOCKS` says how many
//! histories are tried, `SRE_SEED` repeats one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use url::Url;

use super::entry::SCHEMA;
use super::moment::{Now, Steady};
use super::plan::{Moment, On};
use super::touch::{LAST_RESORT, wanted};
use super::{Entry, Planned, State, Switches, Timeline, Touched};
use crate::scenario::FaultKind;

/// A moment is late by no more than that.
const LATE: f64 = 0.2;

/// This machine's clocks.
struct Clocks {
    steady: f64,
    wall: f64,
    /// By how much the one that people read is faster.
    drift: f64,
}

impl Clocks {
    fn now(&self) -> Now {
        let wall = Timestamp::UNIX_EPOCH + SignedDuration::from_secs_f64(self.wall);
        Now { wall, steady: Some(Steady { boot: "this".into(), seconds: self.steady }) }
    }

    fn go_on(&mut self, seconds: f64) {
        self.steady += seconds;
        self.wall += seconds * self.drift;
    }

    /// Set, or asleep: both is a jump of the clock that people read.
    fn disturb(&mut self, random: &mut StdRng) {
        match random.random_range(0..6) {
            0 => self.wall += random.random_range(1.0..90_000.0),
            1 => self.wall = (self.wall - random.random_range(1.0..90_000.0)).max(0.0),
            2 => self.wall += random.random_range(0.1..5.0),
            3 => self.drift = random.random_range(0.9..1.1),
            _ => {}
        }
    }
}

/// A replica as the demo service is: what it was last told, and until when by its own steady clock.
#[derive(Default)]
struct Service {
    told: Option<(Switches, f64)>,
}

impl Service {
    fn set(&mut self, wanted: Option<(Switches, Duration)>, clocks: &Clocks) {
        self.told = wanted.map(|(all, left)| (all, clocks.steady + (left + LAST_RESORT).as_secs_f64()));
    }

    fn on(&self, clocks: &Clocks) -> Option<Switches> {
        self.told.filter(|(_, end)| *end > clocks.steady).map(|(switches, _)| switches)
    }
}

fn admin() -> Url {
    "http://127.0.0.1:9".parse().expect("a URL")
}

fn timeline(random: &mut StdRng) -> Timeline {
    let count = random.random_range(1..5);
    let mut planned = |number: usize| {
        let at = random.random_range(0..60_000);
        Planned {
            id: format!("f{number}"),
            number,
            kind: FaultKind::Unready,
            at: Duration::from_millis(at),
            until: Duration::from_millis(at + random.random_range(1..60_000)),
            on: On::Replicas(Vec::new()),
        }
    };
    Timeline { faults: (1..=count).map(&mut planned).collect() }
}

fn switches(number: usize) -> Switches {
    Switches { latency_ms: 1 << number, ..Switches::default() }
}

fn entry(fault: &Planned, end: Now) -> Entry {
    let touched = Touched::Switches {
        replica: "shop-0".into(),
        admin: admin(),
        process: None,
        switches: switches(fault.number),
    };
    Entry {
        schema: SCHEMA.into(),
        id: fault.id.clone(),
        description: fault.id.clone(),
        state: State::Injected,
        owner: 1,
        until: end.wall,
        ends: end.steady,
        touched: vec![touched],
        error: None,
    }
}

/// Plays a timeline as its owner does, who is killed after so many moments; looks at the service all the while.
fn play(random: &mut StdRng) {
    let timeline = timeline(random);
    let moments = timeline.moments();
    let killed_after = random.random_bool(0.4).then(|| random.random_range(1..=moments.len()));
    let mut clocks = Clocks { steady: random.random_range(0.0..1e6), wall: 1.8e9, drift: 1.0 };
    let start = clocks.steady;
    let (mut journal, mut service): (Vec<Entry>, Service) = (Vec::new(), Service::default());
    let wanted = |journal: &[Entry], clocks: &Clocks| {
        wanted(&journal.iter().collect::<Vec<_>>(), &admin(), &clocks.now())
    };
    for (at, moment) in moments.iter().take(killed_after.unwrap_or(usize::MAX)) {
        let due = start + at.as_secs_f64() + random.random_range(0.0..LATE);
        while clocks.steady < due {
            let step = random.random_range(0.01..20.0_f64).min(due - clocks.steady);
            clocks.go_on(step);
            clocks.disturb(random);
            let meant = wanted(&journal, &clocks).map(|(switches, _)| switches);
            assert_eq!(service.on(&clocks), meant, "{} s after the start", clocks.steady - start);
        }
        match *moment {
            Moment::Inject(number) => {
                let fault = &timeline.faults[number];
                let left = start + fault.until.as_secs_f64() - clocks.steady;
                let end = clocks.now().after(Duration::from_secs_f64(left.max(0.0)));
                clocks.disturb(random);
                journal.push(entry(fault, end));
            }
            Moment::Heal(number) => journal.retain(|entry| entry.id != timeline.faults[number].id),
        }
        service.set(wanted(&journal, &clocks), &clocks);
    }
    let on = |fault: &&Planned| journal.iter().any(|entry| entry.id == fault.id);
    let last = timeline.faults.iter().filter(on).map(|fault| fault.until).max().unwrap_or_default();
    let bound = start + (last + LAST_RESORT).as_secs_f64() + LATE;
    clocks.go_on((bound - clocks.steady).max(0.0));
    assert_eq!(service.on(&clocks), None, "killed after {killed_after:?} of {} moments", moments.len());
}

#[test]
fn no_clock_makes_a_fault_longer_or_shorter() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let histories = number("SRE_CLOCKS").unwrap_or(2_000);
    let first = number("SRE_SEED").unwrap_or(1);
    for seed in first..first + histories {
        let mut random = StdRng::seed_from_u64(seed);
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut random)));
        if let Err(failed) = played {
            let what = failed.downcast_ref::<String>().cloned().unwrap_or_default();
            panic!("SRE_SEED={seed} SRE_CLOCKS=1 shows it again: {what}");
        }
    }
}
