//! Whether a summary fits itself: what was kept of a load may have been changed since. Pure.

use std::collections::BTreeMap;

use super::{Fate, Histograms, Latency, LoadSummary, Reason, RequestSummary, Times};

/// No load counts further: whatever is added up of counts below this fits into 64 bits.
pub const MOST: u64 = 1 << 53;

/// No load lasts longer, in seconds: some thirty years.
pub const LONGEST: f64 = 1e9;

/// Counts added up so that no sum can overflow: by what they count.
type Sums = BTreeMap<String, u128>;

impl LoadSummary {
    /// Holds totals, request names, phases and tallies against each other.
    ///
    /// # Errors
    /// What does not fit, as half a sentence.
    pub fn consistent(&self, replicas: usize) -> Result<(), String> {
        lasts("the load", self.seconds)?;
        self.total.consistent("the total")?;
        for (name, request) in &self.requests {
            request.consistent(&format!("request `{name}`"))?;
        }
        for phase in &self.phases {
            let told = format!("phase `{}`", phase.name);
            lasts(&told, phase.seconds)?;
            phase.total.consistent(&told)?;
            for (name, request) in &phase.requests {
                request.consistent(&format!("request `{name}` in {told}"))?;
            }
            fits(&told, &sums([&phase.total]), "its requests", &sums(phase.requests.values()))?;
        }
        let total = sums([&self.total]);
        fits("the total", &total, "the requests", &sums(self.requests.values()))?;
        fits("the total", &total, "the phases", &sums(self.phases.iter().map(|phase| &phase.total)))?;
        for (name, request) in &self.requests {
            let in_phases = self.phases.iter().filter_map(|phase| phase.requests.get(name));
            fits(&format!("request `{name}`"), &sums([request]), "the phases", &sums(in_phases))?;
        }
        self.tallies_fit(replicas)?;
        self.asked_fits()
    }

    /// Holds that these are the times of as many answers as there were, in each phase and of each request.
    ///
    /// # Errors
    /// What does not fit, as half a sentence.
    pub fn fits_times(&self, histograms: &Histograms) -> Result<(), String> {
        for phase in &self.phases {
            for (name, request) in &phase.requests {
                let (request, times) = (&request.times, histograms.times(Some(name), Some(&phase.name)));
                let counts =
                    |of: &Times| [of.since_due, of.service, of.since_due_success].map(|one| one.count);
                let (told, kept) = (counts(request), counts(&times));
                if let Some((told, kept)) = told.into_iter().zip(kept).find(|(told, kept)| told != kept) {
                    let name = format!("request `{name}` in phase `{}`", phase.name);
                    return Err(format!("it has {kept} times of {name}, and the event log {told}"));
                }
            }
        }
        Ok(())
    }

    fn tallies_fit(&self, replicas: usize) -> Result<(), String> {
        let mut tallied: BTreeMap<&str, Sums> = BTreeMap::new();
        for tally in &self.tallies {
            if tally.replica >= replicas {
                return Err(format!("a tally is of replica {}, and there were {replicas}", tally.replica));
            }
            let by_reason = self.requests.get(&tally.request).is_some_and(|one| !one.reasons.is_empty());
            let of_name = tallied.entry(&tally.request).or_default();
            *of_name.entry(fate(tally.fate, by_reason)).or_default() += u128::from(tally.count);
        }
        for (name, request) in &self.requests {
            let of_name = tallied.remove(name.as_str()).unwrap_or_default();
            fits(&format!("request `{name}`"), &fates(request), "its tallies", &nonzero(of_name))?;
        }
        match tallied.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("a tally is of request `{name}`, which is no request of the load")),
        }
    }

    /// In the open model each request that was asked for has one fate; hops of redirects come on top.
    fn asked_fits(&self) -> Result<(), String> {
        let Some(asked) = self.asked.filter(|_| !self.interrupted) else { return Ok(()) };
        let in_phases: u128 = self.phases.iter().filter_map(|phase| phase.asked).map(u128::from).sum();
        let own = self.tallies.iter().filter(|tally| tally.hop.is_none());
        let ended: u128 = own.map(|tally| u128::from(tally.count)).sum();
        match u128::from(asked) {
            asked if asked != in_phases => {
                Err(format!("{asked} requests were asked for, in the phases {in_phases}"))
            }
            asked if ended > asked || (self.lost.is_empty() && ended != asked) => {
                Err(format!("{asked} requests were asked for, and {ended} came to an end"))
            }
            _ => Ok(()),
        }
    }
}

impl RequestSummary {
    fn consistent(&self, whose: &str) -> Result<(), String> {
        let counts = [self.sent, self.unexpected, self.not_sent, self.unknown].into_iter();
        let counts = counts.chain(self.statuses.values().copied()).chain(self.reasons.values().copied());
        if let Some(count) = counts.into_iter().find(|count| *count > MOST) {
            return Err(format!("{whose} has a count of {count}, and no load counts as far"));
        }
        let answered: u128 = self.statuses.values().copied().map(u128::from).sum();
        let (sent, unknown) = (u128::from(self.sent), u128::from(self.unknown));
        if answered + unknown != sent {
            return Err(format!("{whose} has {sent} sent, but {answered} answered and {unknown} unknown"));
        }
        let Some(expected) = answered.checked_sub(u128::from(self.unexpected)) else {
            return Err(format!("{whose} has {answered} answered, and {} unexpected", self.unexpected));
        };
        let errors = [
            (
                "unexpected",
                self.unexpected,
                (|why| matches!(why, Reason::Unexpected(_))) as fn(&Reason) -> bool,
            ),
            ("not sent", self.not_sent, |why| matches!(why, Reason::NotSent(_))),
            ("unknown", self.unknown, |why| matches!(why, Reason::Unknown(_))),
        ];
        // Runs of before there were reasons have none.
        for (kind, count, is_one) in errors.into_iter().filter(|_| !self.reasons.is_empty()) {
            let told: u128 =
                self.reasons.iter().filter(|(why, _)| is_one(why)).map(|(_, count)| u128::from(*count)).sum();
            if told != u128::from(count) {
                return Err(format!("{whose} has {count} {kind}, and reasons for {told}"));
            }
        }
        let times = &self.times;
        for (figures, count) in
            [(times.since_due, answered), (times.service, answered), (times.since_due_success, expected)]
        {
            measured(whose, &figures, count)?;
        }
        Ok(())
    }
}

fn measured(whose: &str, times: &Latency, answers: u128) -> Result<(), String> {
    if u128::from(times.count) != answers {
        return Err(format!("{whose} has the times of {} answers, and {answers} answers", times.count));
    }
    let figures = [times.min, times.mean, times.p50, times.p90, times.p95, times.p99, times.max];
    figures.iter().try_for_each(|figure| lasts(whose, *figure))
}

/// Holds that a time is one at all.
pub(crate) fn lasts(whose: &str, seconds: f64) -> Result<(), String> {
    match (0.0..=LONGEST).contains(&seconds) {
        true => Ok(()),
        false => Err(format!("{whose} has a time of {seconds}")),
    }
}

/// How a request ended, in a word; runs of before there were reasons tell no more than this of them.
fn fate(fate: Fate, by_reason: bool) -> String {
    match (fate, Reason::of(fate)) {
        (_, Some(reason)) if by_reason => reason.name(),
        (Fate::Answered(status), _) => status.to_string(),
        (Fate::NotSent(_), _) => "not sent".into(),
        (Fate::Unknown(_), _) => "unknown".into(),
    }
}

/// What the tallies of a request must add up to.
fn fates(request: &RequestSummary) -> Sums {
    let mut sums = sums([request]);
    let reasons = !request.reasons.is_empty();
    sums.retain(|what, _| match what.as_str() {
        "sent" | "unexpected" => false,
        "not sent" | "unknown" => !reasons,
        _ => true,
    });
    for why in request.reasons.keys().filter(|why| matches!(why, Reason::Unexpected(_))) {
        sums.remove(&why.name());
    }
    sums
}

fn sums<'a>(all: impl IntoIterator<Item = &'a RequestSummary>) -> Sums {
    let mut sums = Sums::new();
    for one in all {
        let mut add = |what: String, count: u64| *sums.entry(what).or_default() += u128::from(count);
        add("sent".into(), one.sent);
        add("unexpected".into(), one.unexpected);
        add("not sent".into(), one.not_sent);
        add("unknown".into(), one.unknown);
        one.statuses.iter().for_each(|(status, count)| add(status.to_string(), *count));
        one.reasons.iter().for_each(|(why, count)| add(why.name(), *count));
    }
    nonzero(sums)
}

fn nonzero(mut sums: Sums) -> Sums {
    sums.retain(|_, count| *count > 0);
    sums
}

fn fits(one: &str, of_one: &Sums, other: &str, of_other: &Sums) -> Result<(), String> {
    let count = |sums: &Sums, what: &str| sums.get(what).copied().unwrap_or_default();
    let all = of_one.keys().chain(of_other.keys());
    match all.into_iter().find(|what| count(of_one, what) != count(of_other, what)) {
        None => Ok(()),
        Some(what) => {
            let (left, right) = (count(of_one, what), count(of_other, what));
            Err(format!("{one} has {left} `{what}`, {other} {right}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Two phases: one request with an answer and a timeout, another one refused.
    fn whole() -> Value {
        let times = |count: u64| json!({"count": count, "min": 1.0, "mean": 1.0, "p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0, "max": 1.0});
        let request = |statuses: Value, answered: u64, refused: u64, timeout: u64| {
            let mut reasons = serde_json::Map::new();
            for (why, count) in [("refused", refused), ("timeout", timeout)] {
                (count > 0).then(|| reasons.insert(why.into(), count.into()));
            }
            json!({
                "sent": answered + timeout, "statuses": statuses, "unexpected": 0, "not_sent": refused,
                "unknown": timeout, "reasons": reasons,
                "times": {"since_due": times(answered), "service": times(answered), "since_due_success": times(answered)},
            })
        };
        let (one, two) = (request(json!({"200": 3}), 3, 0, 1), request(json!({}), 0, 2, 0));
        let total = request(json!({"200": 3}), 3, 2, 1);
        let nothing = request(json!({}), 0, 0, 0);
        let tally = |name: &str, fate: Value, count: u64| json!({"request": name, "replica": 0, "fate": fate, "count": count});
        json!({
            "started": "2026-11-21T06:40:12Z", "seconds": 2.5, "asked": 6,
            "tallies": [
                tally("one", json!({"answered": 200}), 3), tally("one", json!({"unknown": "timeout"}), 1),
                tally("two", json!({"not-sent": "refused"}), 2),
            ],
            "requests": {"one": one, "two": two}, "total": total,
            "phases": [
                {"name": "a", "seconds": 1.0, "asked": 4, "requests": {"one": one, "two": nothing}, "total": one},
                {"name": "b", "seconds": 1.0, "asked": 2, "requests": {"two": two}, "total": two},
            ],
            "overload": null, "interrupted": false,
        })
    }

    fn judged(summary: &Value) -> Result<(), String> {
        let summary: LoadSummary = serde_json::from_str(&summary.to_string()).expect("a summary");
        summary.consistent(1)
    }

    #[test]
    fn a_summary_that_fits_itself_is_taken_with_and_without_reasons() {
        let mut summary = whole();
        assert_eq!(judged(&summary), Ok(()));
        for at in ["/total", "/requests/one", "/requests/two", "/phases/0/total", "/phases/1/total"] {
            summary.pointer_mut(at).expect(at)["reasons"] = json!({});
        }
        for at in ["/phases/0/requests/one", "/phases/1/requests/two"] {
            summary.pointer_mut(at).expect(at)["reasons"] = json!({});
        }
        assert_eq!(judged(&summary), Ok(()), "a run of before there were reasons");
    }

    #[test]
    fn times_of_fewer_answers_do_not_fit() {
        let summary: LoadSummary = serde_json::from_str(&whole().to_string()).expect("a summary");
        assert!(summary.fits_times(&Histograms::default()).is_err());
        let nothing = LoadSummary { phases: Vec::new(), ..summary };
        assert_eq!(nothing.fits_times(&Histograms::default()), Ok(()));
    }

    #[test]
    fn whatever_is_changed_alone_does_not_fit_the_rest() {
        for (at, value) in [
            ("/total/sent", json!(1_u64 << 63)),
            ("/total/statuses", json!({"404": 3})),
            ("/total/statuses", json!({"200": u64::MAX, "404": u64::MAX})),
            ("/total/unexpected", json!(1)),
            ("/total/reasons", json!({"refused": 3})),
            ("/total/times/since_due/p99", json!(-1.0)),
            ("/total/times/since_due/count", json!(9)),
            ("/requests/two/not_sent", json!(0)),
            ("/requests/one/statuses", json!({"404": 3})),
            ("/phases", json!([])),
            ("/phases/1/seconds", json!(1e308)),
            ("/phases/0/total/sent", json!(5)),
            ("/phases/1/asked", json!(3)),
            ("/seconds", json!(-5.0)),
            ("/seconds", json!(1e308)),
            ("/asked", json!(7)),
            ("/tallies", json!([])),
            ("/tallies/0/count", json!(u64::MAX)),
            ("/tallies/0/fate", json!({"answered": 404})),
            ("/tallies/0/replica", json!(1_000_000_000)),
            ("/tallies/2/request", json!("three")),
        ] {
            let mut summary = whole();
            *summary.pointer_mut(at).expect(at) = value.clone();
            assert!(judged(&summary).is_err(), "{at} was {value}");
        }
    }
}
