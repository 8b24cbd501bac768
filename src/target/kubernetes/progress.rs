//! Tells how steps that run at the same time get on: one spinner on a terminal, else a line now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressStyle};

use crate::foreign;
use crate::terminal::{Terminal, spinner_style};

/// Without a terminal, a step's wait is told of this often.
const EVERY: Duration = Duration::from_secs(10);

/// Errors of image pulls are a screen long; the whole of it stands in the error, if it comes to that.
const LONGEST: usize = 240;

/// A step that counts.
fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {bar:20.green} {wide_msg}")
        .expect("the template is a constant")
        .progress_chars("━╸─")
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
        Progress { terminal: terminal.clone(), spinner: terminal.spinner(), waits: Mutex::default() }
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
                spinner.set_message(foreign::one_line(&lines.join(" · ")).into_owned());
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
            bar.set_style(bar_style());
            bar.set_length(total);
            bar.set_position(current);
        }
        self.tell(step, &format!("{line} (step {current} of {total})"));
    }

    /// Tells that a step is done.
    pub fn done(&self, step: &str, line: &str) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).shift_remove(step);
        if let Some(spinner) = &self.spinner {
            spinner.set_style(spinner_style());
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
