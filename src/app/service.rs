//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::chance::Chance;
use super::faults::Switch;
use super::log::Log;
use super::metrics::Metrics;

/// What all requests share.
#[derive(Debug)]
pub struct Service {
    /// Decides what is random.
    pub chance: Chance,
    /// The median time of the simulated query.
    pub query: Duration,
    /// The faults that are on.
    pub faults: Switch,
    /// What is counted.
    pub metrics: Metrics,
    /// What is logged.
    pub log: Log,
    /// Set once the service was asked to stop.
    pub stopping: AtomicBool,
}

#[cfg(test)]
impl Service {
    /// A service for tests that never waits and logs to nowhere.
    pub fn quiet() -> Service {
        let metrics = Metrics::new();
        let log = Log::to(std::io::sink(), super::log::Level::Error, String::new(), metrics.lost_log_lines());
        Service {
            chance: Chance::new(42),
            query: Duration::ZERO,
            faults: Switch::default(),
            metrics,
            log: log.expect("a thread can be started"),
            stopping: false.into(),
        }
    }
}

impl Service {
    /// Why no further requests should be sent here, if so.
    pub fn unready(&self) -> Option<&'static str> {
        if self.stopping.load(Ordering::Relaxed) {
            Some("the service is stopping")
        } else if self.faults.get().unready {
            Some("the fault switch is on")
        } else {
            None
        }
    }
}
