//! `--rate`, `--users` and `--duration`: the same shape of load, higher, wider or longer.

use super::{Duration, Load, Rate, Scenario, validate};
use crate::config::Severity;
use crate::error::{Error, Result};

impl Scenario {
    /// This scenario with another load. The shape stays as it is:
    ///
    /// - `rate` becomes the highest rate of all phases; the other rates keep their proportion to it.
    /// - `users` replaces the number of users.
    /// - `duration` becomes the length of the whole load; phases, periods and the users' ramp are stretched with it.
    ///
    /// Requests, thresholds, faults and checks stay as they are. What does not fit the scenario's executor, and
    /// a fault that would end after the load, is a usage error.
    pub fn override_with(
        &self,
        rate: Option<Rate>,
        users: Option<usize>,
        duration: Option<Duration>,
    ) -> Result<Scenario> {
        let mut scenario = self.clone();
        let other_executor = |flag: &str, needs: &str| {
            let has = self.load.executor();
            Error::usage(format!("{flag} does not fit the scenario {}", self.name))
                .because_of(format!("its executor is `{has}`; {flag} needs `{needs}`"))
        };
        match (&mut scenario.load, rate, users) {
            (Load::Users(_), Some(_), _) => return Err(other_executor("--rate", "arrival-rate")),
            (Load::ArrivalRate(_), _, Some(_)) => return Err(other_executor("--users", "users")),
            (Load::Users(load), None, Some(users)) => load.users = users,
            (Load::ArrivalRate(load), Some(rate), None) => {
                let rates = load.phases.iter().flat_map(|phase| [Some(phase.rate), phase.to]).flatten();
                let highest = rates.map(Rate::get).fold(0.0, f64::max);
                let scaled = |old: Rate| Rate::per_second(old.get() / highest * rate.get()).unwrap_or(old);
                for phase in &mut load.phases {
                    phase.rate = scaled(phase.rate);
                    phase.to = phase.to.map(scaled);
                }
            }
            (_, None, None) => {}
        }
        if let Some(duration) = duration {
            scenario.load.stretch(duration);
        }
        scenario.still_sound()
    }

    fn still_sound(self) -> Result<Scenario> {
        let problems = validate(&self);
        let errors: Vec<_> = problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
        if errors.is_empty() {
            return Ok(self);
        }
        let error = Error::usage(format!("the scenario {} is not sound with these options", self.name));
        Err(errors.into_iter().fold(error, |error, problem| error.because_of(&problem.message)))
    }
}

impl Load {
    /// Makes the load last this long; all times in it keep their proportion.
    fn stretch(&mut self, duration: Duration) {
        let (old, new) = (self.duration(), duration);
        // To whole milliseconds, which people can read.
        let stretched = |time: Duration| -> Duration {
            let share = |time: Duration| time.get().as_nanos();
            let millis = (share(time) * share(new) / share(old).max(1) + 500_000) / 1_000_000;
            std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).into()
        };
        match self {
            Load::ArrivalRate(load) => {
                // The ends are stretched, so that no rounding adds up, and the last one is the load's.
                let (mut before, mut begins) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
                let last = load.phases.len().saturating_sub(1);
                for (i, phase) in load.phases.iter_mut().enumerate() {
                    before += phase.duration.get();
                    let ends = if i == last { new } else { stretched(before.into()) };
                    phase.duration = ends.get().saturating_sub(begins).into();
                    begins = ends.get();
                    phase.period = phase.period.map(stretched);
                }
            }
            Load::Users(load) => {
                load.ramp = load.ramp.map(stretched);
                load.duration = duration;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(load: &str, faults: &str) -> Scenario {
        let text = format!("{{name: a, load: {load}, requests: {{x: {{path: /x}}}}, faults: {faults}}}");
        serde_saphyr::from_str(&text).expect("a scenario")
    }

    fn spike() -> Scenario {
        scenario(
            "{arrival-rate: {phases: [{rate: 20/s, duration: 10s}, {rate: 20/s, to: 400/s, period: 2s, duration: 20s}]}}",
            "[{fault: kill, at: 5s, for: 10s}]",
        )
    }

    fn users() -> Scenario {
        scenario("{users: {users: 5, duration: 30s, ramp: 6s}}", "[]")
    }

    #[test]
    fn the_highest_rate_is_the_given_one() {
        let scaled = spike().override_with("100/s".parse().ok(), None, None).expect("fits");
        assert_eq!(scaled.load.in_words(), "5/s → 100/s over 30s");
    }

    #[test]
    fn all_times_are_stretched() {
        let Load::ArrivalRate(load) =
            spike().override_with(None, None, Some(Duration::from_secs(60))).expect("fits").load
        else {
            panic!("another executor")
        };
        let words: Vec<String> = load.phases.iter().map(super::super::Phase::in_words).collect();
        assert_eq!(words, ["20/s for 20s", "20/s ↔ 400/s every 4s for 40s"]);
        let scaled = users().override_with(None, Some(9), Some(Duration::from_secs(10))).expect("fits");
        assert_eq!(scaled.load.in_words(), "9 users for 10s, started over 2s");
    }

    #[test]
    fn stretched_times_are_whole_milliseconds_and_sum_up() {
        let thirds = scenario(
            "{arrival-rate: {phases: [{rate: 1/s, duration: 7s}, {rate: 2/s, duration: 7s}, {rate: 3/s, duration: 7s}]}}",
            "[]",
        );
        let Load::ArrivalRate(load) =
            thirds.override_with(None, None, Some(Duration::from_secs(20))).expect("fits").load
        else {
            panic!("another executor")
        };
        let words: Vec<String> = load.phases.iter().map(|phase| phase.duration.to_string()).collect();
        assert_eq!(words, ["6s667ms", "6s666ms", "6s667ms"]);
    }

    #[test]
    fn nothing_given_nothing_changed() {
        assert_eq!(spike().override_with(None, None, None).expect("fits"), spike());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cases = [
            (users().override_with("1/s".parse().ok(), None, None), "--rate does not fit"),
            (spike().override_with(None, Some(3), None), "--users does not fit"),
            (
                spike().override_with(None, None, Some(Duration::from_secs(6))),
                "this fault ends after 15s, the load after 6s",
            ),
            (spike().override_with("0/s".parse().ok(), None, None), "sends not a single request"),
            (users().override_with(None, Some(0), None), "`users` must be"),
            (users().override_with(None, None, Some(Duration::default())), "longer than nothing"),
        ];
        for (result, why) in cases {
            let error = result.expect_err(why);
            assert_eq!(error.exit(), crate::exit::Exit::Usage);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
