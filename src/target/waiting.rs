//! Tells what is waited for, and how long it may take: a spinner on a terminal, else a line now and then.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::foreign;
use crate::terminal::Terminal;

/// Without a terminal, a wait is told of this often.
const EVERY: Duration = Duration::from_secs(10);

/// A wait that is told of until it is dropped.
pub struct Waiting {
    terminal: Terminal,
    spinner: Option<ProgressBar>,
    bound: Duration,
    start: Instant,
    told: Instant,
}

impl Waiting {
    /// A wait of at most `bound`.
    pub fn new(terminal: &Terminal, bound: Duration) -> Waiting {
        let now = Instant::now();
        Waiting { terminal: terminal.clone(), spinner: terminal.spinner(), bound, start: now, told: now }
    }

    /// Tells what is waited for now.
    pub fn tell(&mut self, what: &str) {
        let line = format!(
            "waiting for {what} ({} s of {} s)",
            self.start.elapsed().as_secs(),
            self.bound.as_secs()
        );
        match &self.spinner {
            Some(spinner) => spinner.set_message(foreign::one_line(&line).into_owned()),
            None if self.told.elapsed() >= EVERY => {
                self.told = Instant::now();
                self.terminal.say(line);
            }
            None => {}
        }
    }

    /// How long it has lasted.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether its time is over.
    pub fn is_over(&self) -> bool {
        self.start.elapsed() >= self.bound
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
