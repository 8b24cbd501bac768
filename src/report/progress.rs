//! What is shown while one waits, on stderr: a bar and a spinner on a terminal, else a line now and then.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::redact;
use crate::figures::{self, count, latency};
use crate::load::Sample;
use crate::run::{Event, EventKind, LoadPlan};
use crate::terminal::spinner;

/// Seconds between two lines where there is no bar.
const EVERY: f64 = 5.0;

/// What is shown while one waits.
pub(super) struct Progress {
    shown: Shown,
    plan: Option<LoadPlan>,
    last_line: Option<Timestamp>,
}

enum Shown {
    Nothing,
    /// The bar of the load or the spinner of a check, one at a time.
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

impl Progress {
    /// Nothing is shown.
    pub(super) fn silent() -> Progress {
        Progress { shown: Shown::Nothing, plan: None, last_line: None }
    }

    /// Bars where stderr is a terminal, else lines.
    pub(super) fn on_stderr() -> Progress {
        if std::io::stderr().is_terminal() {
            Progress { shown: Shown::Bar(ProgressBar::hidden()), ..Progress::silent() }
        } else {
            Progress::lines(anstream::stderr())
        }
    }

    /// Lines into a writer, one every few seconds at the most.
    pub(super) fn lines(writer: impl Write + Send + 'static) -> Progress {
        Progress { shown: Shown::Lines(Box::new(writer)), ..Progress::silent() }
    }

    /// Shows what an event changes.
    pub(super) fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::LoadStarted(plan) => {
                self.plan = Some(plan.clone());
                self.last_line = Some(event.time);
                self.replace(|| load_bar(plan));
            }
            EventKind::LoadProgress(sample) => {
                let message = rates(sample);
                if let Shown::Bar(bar) = &self.shown {
                    bar.set_position(sample.second.round() as u64);
                    bar.set_message(message);
                } else {
                    let all = self.plan.as_ref().map_or(sample.second, |plan| plan.seconds);
                    self.line(event.time, &format!("{:.0}/{all:.0} s · {message}", sample.second));
                }
            }
            EventKind::CheckWaiting { message, .. } => {
                let message = redact(message).into_owned();
                match &self.shown {
                    Shown::Bar(bar) if bar.is_hidden() || bar.length().is_some() => {
                        self.replace(|| spinner().with_message(message));
                    }
                    Shown::Bar(bar) => bar.set_message(message),
                    Shown::Nothing | Shown::Lines(_) => self.line(event.time, &message),
                }
            }
            EventKind::LoadFinished(_)
            | EventKind::CheckFinished(_)
            | EventKind::RunFailed { .. }
            | EventKind::VerifyFinished { .. } => self.replace(ProgressBar::hidden),
            _ => {}
        }
    }

    /// Runs what writes to the terminal, with the bar out of its way.
    pub(super) fn suspend(&self, write: impl FnOnce()) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(write),
            Shown::Nothing | Shown::Lines(_) => write(),
        }
    }

    fn replace(&mut self, next: impl FnOnce() -> ProgressBar) {
        if let Shown::Bar(bar) = &mut self.shown {
            bar.finish_and_clear();
            *bar = next();
        }
    }

    fn line(&mut self, now: Timestamp, text: &str) {
        let due = self.last_line.is_none_or(|last| now.duration_since(last).as_secs_f64() >= EVERY - 0.05);
        if let (Shown::Lines(writer), true) = (&mut self.shown, due) {
            self.last_line = Some(now);
            // A reader that went away is no error.
            let _ = writeln!(writer, "  {text}");
        }
    }
}

fn load_bar(plan: &LoadPlan) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:8} {pos}/{len} s · {wide_msg}")
        .expect("the template is a constant")
        .progress_chars("█▉▊▋▌▍▎▏ ");
    ProgressBar::new(plan.seconds.round() as u64).with_style(style)
}

/// `198 of 200/s · p50 1.2 ms · p99 8.4 ms · 0 errors · 4 in flight`; `200/s` where the rate is kept.
fn rates(sample: &Sample) -> String {
    let asked = sample.asked_rate.map(|rate| rate.round() as u64).filter(|asked| *asked != sample.sent);
    let asked = asked.map_or(String::new(), |asked| format!(" of {}", count(asked)));
    let times = if sample.answered > 0 {
        format!("p50 {} · p99 {}", latency(sample.p50), latency(sample.p99))
    } else {
        "no answers".into()
    };
    let (sent, in_flight) = (count(sample.sent), count(sample.in_flight));
    let errors = figures::counted(sample.errors, "error");
    format!("{sent}{asked}/s · {times} · {errors} · {in_flight} in flight")
}
