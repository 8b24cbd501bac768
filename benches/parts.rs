//! What a request costs in the parts that every request goes through.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::json;
use sre::load::{Ended, Fate, Mix, Recorder, Schedule, Tickets};
use sre::scenario::{Load, Scenario};

fn schedule(phase: serde_json::Value, spacing: &str) -> Arc<Schedule> {
    let scenario: Scenario = serde_json::from_value(json!({
        "name": "bench",
        "load": {"arrival-rate": {"phases": [phase], "spacing": spacing}},
        "requests": {"a": {"path": "/a", "weight": 7}, "b": {"path": "/b", "weight": 2}, "c": {"path": "/c"}},
    }))
    .expect("a scenario");
    let Load::ArrivalRate(load) = &scenario.load else { unreachable!("it is an arrival rate") };
    Arc::new(Schedule::new(&scenario, load))
}

fn tickets(c: &mut Criterion) {
    let mut group = c.benchmark_group("1,000 tickets");
    for (name, phase, spacing) in [
        ("constant", json!({"duration": "1s", "rate": 1000}), "even"),
        ("ramp", json!({"duration": "1s", "rate": 0, "to": 2000}), "even"),
        ("sine", json!({"duration": "1s", "rate": 0, "to": 2000, "period": "300ms"}), "even"),
        ("poisson", json!({"duration": "1s", "rate": 1000}), "poisson"),
    ] {
        let schedule = schedule(phase, spacing);
        group.bench_function(name, |b| {
            b.iter(|| Tickets::all(schedule.clone()).fold(0, |sum, ticket| sum ^ ticket.due.subsec_nanos()))
        });
    }
    group.finish();
}

fn mix(c: &mut Criterion) {
    let mix = Mix::new([70, 20, 9, 1], 42);
    let mut position = 0;
    c.bench_function("a choice among 4 names", |b| {
        b.iter(|| {
            position += 1;
            mix.choose(black_box(position))
        })
    });
}

fn recorder(c: &mut Criterion) {
    let start = Instant::now();
    let ended = |micros: u64| Ended {
        phase: 0,
        request: (micros % 6) as usize,
        replica: (micros % 3) as usize,
        hop: 0,
        fate: Fate::Answered(if micros.is_multiple_of(50) { 500 } else { 200 }),
        unexpected: None,
        due: start,
        sent: start + Duration::from_micros(micros / 2),
        end: start + Duration::from_micros(micros),
    };
    let mut one = Recorder::new(1, 6, 3);
    let mut micros = 0;
    c.bench_function("a request recorded", |b| {
        b.iter(|| {
            micros = (micros + 97) % 100_000;
            one.ended(black_box(&ended(micros)));
        })
    });
    let mut full = Recorder::new(1, 6, 3);
    (1..50_000).for_each(|micros| full.ended(&ended(micros)));
    c.bench_function("two recorders merged", |b| {
        b.iter_batched_ref(|| Recorder::new(1, 6, 3), |sum| sum.merge(&full), BatchSize::LargeInput)
    });
}

criterion_group!(benches, tickets, mix, recorder);
criterion_main!(benches);
