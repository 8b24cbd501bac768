//! From evaluations of expressions to verdicts: detected, and recovered. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::window::Window;
use crate::check::{Group, Kind, Outcome, Verdict};
use crate::figures::duration;
use crate::observe::Series;

/// Seconds between two evaluations.
pub const STEP: f64 = 1.0;

/// A scrape's samples bear the time of its beginning and come at its end: for so many seconds at least what was evaluated
/// may change.
pub const LATE: f64 = 3.0;

/// What is over for so many seconds is no flicker.
const FLICKER: f64 = 3.0;

/// What evaluations show over time.
#[derive(Debug, Clone, Default)]
pub struct Evaluations(Vec<(f64, bool)>);

impl Evaluations {
    /// Of series: at each time, whether one of them holds.
    pub fn of(series: &[Series], holds: impl Fn(f64) -> bool) -> Evaluations {
        let mut all: BTreeMap<i64, bool> = BTreeMap::new();
        for sample in series.iter().flat_map(|series| &series.samples).filter(|sample| !sample.value.is_nan())
        {
            *all.entry((sample.time * 1000.0).round() as i64).or_default() |= holds(sample.value);
        }
        Evaluations(all.into_iter().map(|(time, holds)| (time as f64 / 1000.0, holds)).collect())
    }

    /// The opposite: over is what is shown no longer.
    pub fn negated(&self) -> Evaluations {
        Evaluations(self.0.iter().map(|(time, holds)| (*time, !holds)).collect())
    }

    fn within(&self, from: f64, to: f64) -> &[(f64, bool)] {
        let at = |bound: f64| self.0.partition_point(|(time, _)| *time < bound);
        let (first, last) = (at(from), at(to));
        &self.0[first..last.max(first)]
    }

    /// When it first holds from `from` on, and goes on to hold until what `stays` makes of that time.
    fn holding(&self, from: f64, to: f64, stays: impl Fn(f64) -> f64) -> Option<f64> {
        let within = self.within(from, to);
        let goes_on = |at: f64| {
            let end = stays(at);
            !within.iter().any(|(time, holds)| !holds && *time >= at && *time <= end)
        };
        within.iter().find(|(time, holds)| *holds && goes_on(*time)).map(|(time, _)| *time)
    }
}

/// Whether it was shown before its injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was not.
    Not,
    /// It was: then it tells of something else.
    Shown,
    /// There was no value: nobody knows.
    Unknown,
}

/// What the evaluations show of a fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Before its injection.
    pub before: Before,
    /// When it was first shown.
    pub detected: Option<f64>,
    /// From when on it was over.
    pub recovered: Option<f64>,
    /// Whether there was a value while it had to be detected.
    pub looked: bool,
    /// Whether there was a value at the end of the time in which it had to be over.
    pub looked_after: bool,
}

/// What the evaluations show of a fault until `now`.
pub fn seen(shown: &Evaluations, over: &Evaluations, window: &Window, now: f64) -> Seen {
    let (injected, healed) = (window.fault.injected, window.fault.healed);
    let after = window.next.unwrap_or(f64::MAX);
    // What is shown once the next fault is there may be that one's.
    let while_alone = shown.within(injected, after.min(window.shown_by));
    let detected = while_alone.iter().find(|(_, holds)| *holds).map(|(time, _)| *time);
    let start = healed.max(detected.unwrap_or(healed));
    let end = window.over_by.min(now) + STEP;
    let recovered = over.holding(start, end, |at| stays(at, window));
    Seen {
        before: before(shown, window),
        detected,
        recovered,
        looked: !shown.within(injected, after.min(window.detected_by.max(healed))).is_empty(),
        looked_after: !over.within(end - STEP - 5.0, end).is_empty(),
    }
}

/// Until when what is over has to stay so: a single value may be a flicker, and what comes with the next fault is that
/// one's.
fn stays(at: f64, window: &Window) -> f64 {
    let short = match window.next {
        Some(next) if at < next => (at + FLICKER).min(next - 0.001),
        _ => at + FLICKER,
    };
    let long = window.next.map_or(window.stays, |next| window.stays.min(next - 0.001));
    short.max(long)
}

fn before(shown: &Evaluations, window: &Window) -> Before {
    let injected = window.fault.injected;
    let mut earlier = shown.within(window.before, injected);
    if earlier.is_empty() {
        // One fault right after another: the newest value counts.
        let all = shown.within(window.before - 5.0 * STEP, injected);
        earlier = &all[all.len().saturating_sub(1)..];
    }
    if earlier.is_empty() {
        return Before::Unknown;
    }
    if window.after_another {
        // What the one before has shown may last a while, but must be over.
        let over = earlier.iter().position(|(_, holds)| !holds).unwrap_or(earlier.len().saturating_sub(1));
        earlier = &earlier[over..];
    }
    if earlier.iter().any(|(_, holds)| *holds) { Before::Shown } else { Before::Not }
}

/// Whether looking again later would change nothing.
pub fn settled(seen: &Seen, window: &Window, now: f64) -> bool {
    match (seen.detected, seen.recovered) {
        (None, _) => now > window.detected_by.max(window.fault.healed) + window.late,
        (Some(_), Some(at)) => now > stays(at, window).min(window.over_by) + window.late,
        (Some(_), None) => now > window.over_by + window.late,
    }
}

/// What is told of a fault, and what is evaluated.
#[derive(Debug, Clone)]
pub struct Told {
    /// What is seen, as a sentence.
    pub sentence: String,
    /// The fault and its expressions, for machines.
    pub evidence: Value,
}

impl Told {
    /// Detected, and recovered: an outcome each.
    pub fn judge(&self, window: &Window, seen: &Seen, now: f64) -> Vec<Outcome> {
        let (injected, healed) = (window.fault.injected, window.fault.healed);
        let allowed =
            |took: f64, may: f64| format!("after {} ({} allowed)", duration(took.max(0.0)), duration(may));
        let may = window.detected_by - injected;
        let (verdict, message, note) = match (seen.detected, seen.before) {
            (_, Before::Shown) => (Verdict::Fail, "it was shown before the injection".into(), None),
            (None, _) if !seen.looked => {
                (Verdict::NoData, "no data".into(), Some("There was no value after the injection."))
            }
            (None, _) => (Verdict::Fail, format!("not within {}", duration(may)), None),
            (Some(_), Before::Unknown) => (
                Verdict::NoData,
                "no data".into(),
                Some(
                    "There was no value before the injection: nobody knows that it was not shown then, too.",
                ),
            ),
            (Some(at), Before::Not) if at <= window.detected_by => {
                (Verdict::Pass, allowed(at - injected, may), None)
            }
            (Some(at), Before::Not) => (Verdict::Fail, allowed(at - injected, may), None),
        };
        let times = json!({
            "injected": injected, "detected": seen.detected,
            "after_seconds": seen.detected.map(|at| at - injected), "allowed_seconds": may,
        });
        let detected = self.outcome("detected", verdict, message, note, times);
        let may = window.over_by - healed;
        let (verdict, message, note) = match (seen.detected, seen.recovered) {
            (None, _) => (Verdict::NoData, NEVER.into(), None),
            (_, Some(at)) if at <= window.over_by => (Verdict::Pass, allowed(at - healed, may), None),
            (_, Some(at)) => (Verdict::Fail, allowed(at - healed, may), None),
            (_, None) if !seen.looked_after => (
                Verdict::NoData,
                "no data".into(),
                Some("There was no value that would tell that it is over."),
            ),
            (_, None) => (Verdict::Fail, format!("not within {}", duration((now - healed).min(may))), None),
        };
        let times = json!({
            "healed": healed, "recovered": seen.recovered,
            "after_seconds": seen.recovered.map(|at| at - healed), "allowed_seconds": may,
        });
        vec![detected, self.outcome("recovered", verdict, message, note, times)]
    }

    /// Nothing could be seen.
    pub fn blind(&self, reason: &str) -> Vec<Outcome> {
        vec![
            self.outcome("detected", Verdict::NoData, "no data".into(), Some(reason), Value::Null),
            self.outcome("recovered", Verdict::NoData, NEVER.into(), None, Value::Null),
        ]
    }

    fn outcome(
        &self,
        done: &str,
        verdict: Verdict,
        message: String,
        note: Option<&str>,
        times: Value,
    ) -> Outcome {
        let name = format!("{}: {done}", self.sentence);
        let mut outcome = Outcome::new(Kind::Detected, Group::Faults, name, verdict, message)
            .hinted("Graph the expression over the run.");
        outcome.notes.extend(note.map(str::to_owned));
        outcome.evidence = self.evidence.clone();
        if let (Value::Object(evidence), Value::Object(times)) = (&mut outcome.evidence, times) {
            evidence.extend(times);
        }
        outcome
    }
}

const NEVER: &str = "no data: it was never detected";

#[cfg(test)]
mod tests {
    use super::super::window::Times;
    use super::*;
    use crate::observe::{Labels, Sample};

    const WINDOW: Window = Window {
        before: 90.0,
        after_another: false,
        fault: Times { injected: 100.0, healed: 120.0 },
        detected_by: 110.0,
        shown_by: 136.0,
        over_by: 140.0,
        next: None,
        stays: 140.0,
        late: LATE,
    };

    /// Values second by second from 90 on; a minus is none.
    fn evaluations(values: &str) -> Evaluations {
        let samples = values
            .chars()
            .enumerate()
            .filter_map(|(i, value)| {
                Some(Sample { time: 90.0 + i as f64, value: f64::from(value.to_digit(10)?) })
            })
            .collect();
        Evaluations::of(&[Series { labels: Labels::new(), samples }], |value| value > 0.0)
    }

    fn look(values: &str, window: &Window) -> Seen {
        let shown = evaluations(values);
        seen(&shown, &shown.negated(), window, 145.0)
    }

    fn judged(seen: &Seen, window: &Window) -> Vec<Verdict> {
        let told = Told { sentence: "x".into(), evidence: json!({}) };
        told.judge(window, seen, 145.0).iter().map(|outcome| outcome.verdict).collect()
    }

    fn verdicts(values: &str) -> Vec<Verdict> {
        judged(&look(values, &WINDOW), &WINDOW)
    }

    #[test]
    fn times_count_from_injection_and_from_healing() {
        let seen =
            look(&("0000000000".to_owned() + "0001111111" + "1111111111" + "11110000000000000000"), &WINDOW);
        assert_eq!((seen.detected, seen.recovered, seen.before), (Some(103.0), Some(124.0), Before::Not));
        assert_eq!(judged(&seen, &WINDOW), [Verdict::Pass, Verdict::Pass]);
    }

    #[test]
    fn what_comes_back_has_not_recovered() {
        let values = "0000000000".to_owned() + "0011111111" + "1111111111" + "00110000000000000000";
        assert_eq!(look(&values, &WINDOW).recovered, Some(124.0));
        let values = "0000000000".to_owned() + "0011111111" + "1111111111" + "000000000000000000001";
        assert_eq!(verdicts(&values), [Verdict::Pass, Verdict::Fail]);
    }

    #[test]
    fn silence_is_neither_a_pass_nor_a_fail() {
        let before = "0000000000".to_owned();
        let values = before.clone() + "0011111111" + "1111111111" + "11------------------";
        assert_eq!(verdicts(&values), [Verdict::Pass, Verdict::NoData]);
        let values = before + "----------" + "----------" + "00000000000000000000";
        assert_eq!(verdicts(&values), [Verdict::NoData, Verdict::NoData]);
        // Nobody knows what was before.
        let values = "----------".to_owned() + "0011111111" + "1111111111" + "00000000000000000000";
        assert_eq!(verdicts(&values), [Verdict::NoData, Verdict::Pass]);
        assert_eq!(verdicts(&"-".repeat(55)), [Verdict::NoData, Verdict::NoData]);
    }

    #[test]
    fn what_held_before_detects_nothing() {
        let values = "0000011111".to_owned() + "1111111111" + "1111111111" + "00000000000000000000";
        assert_eq!(verdicts(&values), [Verdict::Fail, Verdict::Pass]);
        assert_eq!(verdicts(&"0".repeat(50)), [Verdict::Fail, Verdict::NoData]);
        // Too late.
        let values = "0000000000".to_owned() + "0000000000" + "0111111111" + "00000000000000000000";
        assert_eq!(verdicts(&values), [Verdict::Fail, Verdict::Pass]);
    }

    #[test]
    fn what_is_shown_only_long_after_the_healing_is_not_this_fault_s() {
        let window = Window { detected_by: 160.0, shown_by: 126.0, ..WINDOW };
        let at = |values: &str| look(&("0".repeat(30) + values), &window);
        assert_eq!(at("00000011110000000000").detected, None, "126 s is too late");
        assert_eq!(judged(&at("00000011110000000000"), &window), [Verdict::Fail, Verdict::NoData]);
        // A scrape that began before the healing may end after it.
        assert_eq!(at("00000111110000000000").detected, Some(125.0));
    }

    #[test]
    fn what_the_fault_before_showed_may_last_until_it_is_over() {
        let window = Window { after_another: true, ..WINDOW };
        let tail = "1111000000".to_owned() + "0011111111" + "1111111111" + "00000000000000000000";
        assert_eq!(look(&tail, &window).before, Before::Not);
        assert_eq!(look(&tail, &WINDOW).before, Before::Shown);
        // It came back, or was never over.
        let back = "1111001100".to_owned() + "0011111111" + "1111111111" + "00000000000000000000";
        assert_eq!(look(&back, &window).before, Before::Shown);
        assert_eq!(look(&"1".repeat(50), &window).before, Before::Shown);
        // No value between the two: the newest one before counts.
        let window = Window { before: 99.8, ..window };
        assert_eq!(look(&tail, &window).before, Before::Not);
    }

    #[test]
    fn what_comes_with_the_next_fault_is_that_one_s() {
        let window = Window { next: Some(125.0), stays: 125.0, ..WINDOW };
        // Over at 122, and again at 127 by the next.
        let values = "0000000000".to_owned() + "0011111111" + "1111111111" + "11000001111111111111";
        let seen = look(&values, &window);
        assert_eq!(seen.recovered, Some(122.0));
        assert_eq!(judged(&seen, &window), [Verdict::Pass, Verdict::Pass]);
        // Nothing was shown before the next one came.
        let values = "0000000000".to_owned() + "0000000000" + "0000000000" + "00000001111111111111";
        assert_eq!(judged(&look(&values, &window), &window), [Verdict::Fail, Verdict::NoData]);
    }

    #[test]
    fn over_may_be_more_than_shown_no_longer() {
        let shown =
            evaluations(&("0000000000".to_owned() + "0011000000" + "0000000000" + "00000000000000000000"));
        let over =
            evaluations(&("1111111111".to_owned() + "1100000000" + "0000000000" + "00000111111111111111"));
        let seen = seen(&shown, &over, &WINDOW, 145.0);
        assert_eq!((seen.detected, seen.recovered), (Some(102.0), Some(125.0)));
    }

    #[test]
    fn what_is_over_stays_so_until_the_load_ends() {
        let window = Window { stays: 130.0, ..WINDOW };
        let shown = "0000000000".to_owned() + "0011111111" + "1111111111";
        // Again while the load goes on; once only after it.
        assert_eq!(look(&(shown.clone() + "00001100000000000000"), &window).recovered, Some(126.0));
        assert_eq!(look(&(shown.clone() + "00000000000000011000"), &window).recovered, Some(120.0));
        assert_eq!(look(&(shown.clone() + "00000000001111111111" + "1"), &window).recovered, None);
        // Over after the end of the load: one value is not enough.
        assert_eq!(look(&(shown + "11111111111110100000"), &window).recovered, Some(135.0));
    }

    #[test]
    fn a_verdict_that_is_made_again_is_the_same() {
        let window = Window { stays: 130.0, ..WINDOW };
        let shown = "0000000000".to_owned() + "0011111111" + "1111111111";
        for after in [
            "00001100000000000000",
            "00000000000000011000",
            "11111111111110100000",
            "00000001100000000000",
            "00000000000000000001",
        ] {
            let shown = evaluations(&(shown.clone() + after));
            let at = |now: f64| {
                let known = Evaluations(shown.within(0.0, now + 0.5).to_vec());
                seen(&known, &known.negated(), &window, now)
            };
            let first = (120..200).map(f64::from).find(|now| settled(&at(*now), &window, *now));
            let first = first.expect("an end");
            assert_eq!(at(first).recovered, at(5000.0).recovered, "{after} at {first}");
        }
    }

    #[test]
    fn a_look_is_repeated_until_nothing_can_change() {
        let window = Window { stays: 121.0, ..WINDOW };
        let seen = look(&("0000000000".to_owned() + "0011111111" + "1111111111" + "00"), &window);
        assert!(!settled(&seen, &window, 121.0), "a scrape may be on its way");
        assert!(!settled(&seen, &window, 124.0), "it may come back");
        assert!(settled(&seen, &window, 127.0));
        // The load goes on: so does the look.
        assert!(!settled(&seen, &Window { stays: 135.0, ..WINDOW }, 127.0));
        // A scrape that may take ten seconds may still tell of a second that is long over.
        let slow = Window { late: 10.0, ..window };
        assert!(!settled(&seen, &slow, 133.0) && settled(&seen, &slow, 134.5));
        let none = Seen { detected: None, ..seen };
        assert!(!settled(&none, &WINDOW, 121.0) && settled(&none, &WINDOW, 124.0));
    }
}
