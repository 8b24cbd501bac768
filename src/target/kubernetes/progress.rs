//! Tells how steps that run at the same time get on: one spinner on a terminal, else a line now and then.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::Terminal;

/// Without a terminal, a step's wait is told of this often.
const EVERY: Duration = Duration::from_secs(10);

/// Errors of image pulls are a screen long; the whole of it stands in the error, if it comes to that.
const LONGEST: usize = 240;

/// What waits for something that nobody counts.
const SPINNER: &str = "{spinner} {wide_msg}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_spinner()).progress_chars("━╸─")
}

/// How the steps get on, until it is dropped.
pub struct Progress {
    terminal: Terminal,
    spinner: Option<ProgressBar>,
    waits: Mutex<IndexMap<String, Wait>>,
}

struct Wait {
    line: String,
    told: Instant,
}

impl Progress {
    /// Where nothing is told yet.
    pub fn new(terminal: &Terminal) -> Progress {
        let spinner = (!terminal.quiet() && std::io::stderr().is_terminal()).then(|| {
            let spinner = ProgressBar::new_spinner().with_style(style(SPINNER));
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        Progress { terminal: terminal.clone(), spinner, waits: Mutex::default() }
    }

    /// Tells what a step waits for now.
    pub fn tell(&self, step: &str, line: &str) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let line: String = format!("{step}: {line}").chars().take(LONGEST).collect();
        let wait = waits
            .entry(step.to_owned())
            .or_insert_with(|| Wait { line: String::new(), told: Instant::now() });
        wait.line.clone_from(&line);
        match &self.spinner {
            Some(spinner) => {
                let lines: Vec<&str> = waits.values().map(|wait| wait.line.as_str()).collect();
                spinner.set_message(lines.join(" · "));
            }
            None if wait.told.elapsed() >= EVERY => {
                wait.told = Instant::now();
                self.terminal.say(format!("waiting for {line}"));
            }
            None => {}
        }
    }

    /// Tells how far a step is that counts: `current` of `total`.
    pub fn step(&self, step: &str, current: u64, total: u64, line: &str) {
        if let Some(bar) = &self.spinner {
            bar.set_style(style("{spinner} {bar:20.green} {wide_msg}"));
            bar.set_length(total);
            bar.set_position(current);
        }
        self.tell(step, &format!("{line} (step {current} of {total})"));
    }

    /// Tells that a step is done.
    pub fn done(&self, step: &str, line: &str) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).shift_remove(step);
        if let Some(spinner) = &self.spinner {
            spinner.set_style(style(SPINNER));
        }
        self.say(&format!("✔ {step:<15} {line}"));
    }

    /// Tells a line that stays.
    pub fn say(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| self.terminal.say(line)),
            None => self.terminal.say(line),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
