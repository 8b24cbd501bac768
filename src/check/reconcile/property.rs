//! Any history, looked at at any time: `run` and every later `verify` say the same, and no pass is given where the
//! service counted wrong, whatever was late, lost, lagging or shared.
//!
//! `SRE_HISTORIES` is the number of histories, `SRE_SEED` the seed of the first; a failure names its own. What nobody could
//! see is left out: see `no_look_at_any_history_…`, and docs/checks.md.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::fetch::Counters;
use super::judge::Judgement;
use super::world::{Known, World};
use crate::check::Verdict;
use crate::stack::Counter;

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
        let (right, right_in_all) = (world.is_counted_right(), world.is_right_in_all());
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
            !right_in_all || !told_of || *first != Verdict::Fail,
            "SRE_SEED={seed}: a false fail, {told}: {:#?}",
            world.in_short()
        );
    }
    // A judge that never passes nor fails anything would hold, too.
    assert!(histories < 500 || found.values().all(|count| *count > histories / 20), "{found:?}");
    assert!(histories < 500 || found.len() == 3, "{found:?}");
}
