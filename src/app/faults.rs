//! The fault switch: what the demo service does wrong on purpose, and until when.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::chance::{Chance, Purpose};
use super::failure::Failure;
use super::labels::ErrorType;

/// The longest latency that can be added.
const LONGEST_LATENCY: Duration = Duration::from_secs(10 * 60);

/// The longest time after which faults can be asked to end by themselves.
const LONGEST_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What the demo service does wrong on purpose: the body of `PUT /faults`, and the answer of `GET /faults`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every request takes this many milliseconds longer; 10 minutes at the most.
    pub latency_ms: u64,
    /// This share of requests, 0 to 1, is answered with 500 and counted as `injected_error`.
    pub error_rate: f64,
    /// In this share of requests, 0 to 1, the handler panics.
    pub exception_rate: f64,
    /// `/health/readiness` answers 503.
    pub unready: bool,
    /// All of this ends by itself after so many milliseconds (a day at the most); stays, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

impl Faults {
    /// Tells what is wrong with these values, if something is.
    pub fn validate(&self) -> Result<(), String> {
        for (key, share) in [("error_rate", self.error_rate), ("exception_rate", self.exception_rate)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("`{key}` is a share from 0 to 1, not {share}"));
            }
        }
        if u128::from(self.latency_ms) > LONGEST_LATENCY.as_millis() {
            return Err(format!("`latency_ms` is {} at the most", LONGEST_LATENCY.as_millis()));
        }
        match self.for_ms {
            Some(0) => Err("`for_ms` is 1 at the least; DELETE /faults ends faults now".into()),
            Some(ms) if u128::from(ms) > LONGEST_FOR.as_millis() => {
                Err(format!("`for_ms` is {} at the most", LONGEST_FOR.as_millis()))
            }
            _ => Ok(()),
        }
    }

    /// What becomes of a request by the error and exception rates. Waits for nothing.
    ///
    /// # Panics
    /// As the exception rate asks for: with `InjectedException`, and without calling the panic hook.
    pub fn strike(&self, chance: Chance, id: &str) -> Result<(), Failure> {
        if chance.hits(Purpose::InjectedException, id, self.exception_rate) {
            std::panic::resume_unwind(Box::new(InjectedException));
        }
        if chance.hits(Purpose::InjectedError, id, self.error_rate) {
            return Err(Failure::new(ErrorType::InjectedError, "the fault switch made this an error"));
        }
        Ok(())
    }
}

/// The payload of a panic that the fault switch asked for.
#[derive(Debug)]
pub struct InjectedException;

/// Holds the faults that are on.
#[derive(Debug, Default)]
pub struct Switch {
    on: RwLock<(Faults, Option<Instant>)>,
}

impl Switch {
    /// Exactly these faults are on from now on.
    pub fn set(&self, faults: Faults) {
        self.set_at(faults, Instant::now());
    }

    /// The faults that are on now; `for_ms` is what is left of it.
    pub fn get(&self) -> Faults {
        self.get_at(Instant::now())
    }

    fn set_at(&self, faults: Faults, now: Instant) {
        let end = faults.for_ms.and_then(|ms| now.checked_add(Duration::from_millis(ms)));
        *self.on.write().unwrap_or_else(PoisonError::into_inner) = (faults, end);
    }

    fn get_at(&self, now: Instant) -> Faults {
        match *self.on.read().unwrap_or_else(PoisonError::into_inner) {
            (_, Some(end)) if end <= now => Faults::default(),
            (faults, Some(end)) => {
                // Rounded up: faults that are on have time left.
                let left = (end - now).as_nanos().div_ceil(1_000_000) as u64;
                Faults { for_ms: Some(left), ..faults }
            }
            (faults, None) => faults,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_end_by_themselves_after_their_time() {
        let (switch, now) = (Switch::default(), Instant::now());
        let faults = Faults { latency_ms: 5, for_ms: Some(1_000), ..Faults::default() };
        switch.set_at(faults, now);
        let at = |ms| switch.get_at(now + Duration::from_millis(ms));
        assert_eq!(at(0), faults);
        assert_eq!(at(400), Faults { for_ms: Some(600), ..faults });
        assert_eq!(at(1_000), Faults::default());
        switch.set_at(Faults { for_ms: None, ..faults }, now);
        assert_eq!(at(100_000_000), Faults { for_ms: None, ..faults });
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let none = Faults::default();
        assert_eq!(none.validate(), Ok(()));
        assert_eq!(Faults { error_rate: 1.0, exception_rate: 1.0, ..none }.validate(), Ok(()));
        for wrong in [
            Faults { error_rate: -0.1, ..none },
            Faults { error_rate: f64::NAN, ..none },
            Faults { exception_rate: 1.1, ..none },
            Faults { latency_ms: 600_001, ..none },
            Faults { for_ms: Some(0), ..none },
            Faults { for_ms: Some(u64::MAX), ..none },
        ] {
            assert!(wrong.validate().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_same_request_is_struck_on_any_replica() {
        let faults = Faults { error_rate: 0.3, ..Faults::default() };
        let struck = |seed: u64| {
            (0..1_000).map(|i| faults.strike(Chance::new(seed), &i.to_string()).is_err()).collect::<Vec<_>>()
        };
        assert_eq!(struck(42), struck(42));
        assert_ne!(struck(42), struck(43));
        let share = struck(42).iter().filter(|struck| **struck).count();
        assert!((250..350).contains(&share), "{share}");
    }

    #[test]
    fn an_injected_exception_is_a_panic_that_can_be_told_apart() {
        let faults = Faults { exception_rate: 1.0, ..Faults::default() };
        let panic = std::panic::catch_unwind(|| faults.strike(Chance::new(42), "r-1")).unwrap_err();
        assert!(panic.is::<InjectedException>());
    }
}
