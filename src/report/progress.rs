//! What is shown while one waits, on stderr: a bar and a spinner on a terminal, else a line now and then.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::redact;
use crate::figures::{self, count, latency};
use crate::foreign;
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
    untold: Untold,
}

/// Seconds of the load that no line has told of yet: one second in five would hide what happened in the others.
#[derive(Default)]
struct Untold {
    /// How many seconds.
    seconds: u64,
    /// Requests that left, and those that were asked for.
    sent: u64,
    asked: Option<f64>,
    /// Unexpected answers and requests without an answer: in these seconds, and since the load's start.
    errors: u64,
    errors_in_all: u64,
    /// The last median, and the longest 99th percentile; `None` without an answer.
    times: Option<(f64, f64)>,
    in_flight: u64,
    second: f64,
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
        Progress { shown: Shown::Nothing, plan: None, last_line: None, untold: Untold::default() }
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
                self.untold = Untold::default();
                self.replace(|| load_bar(plan));
            }
            EventKind::LoadProgress(sample) => {
                self.untold.add(sample);
                if let Shown::Bar(bar) = &self.shown {
                    bar.set_position(sample.second.round() as u64);
                    bar.set_message(rates(sample));
                } else if self.is_due(event.time) {
                    self.tell_of_load(event.time);
                }
            }
            EventKind::CheckWaiting { message, .. } => {
                let message = foreign::one_line(&redact(message)).into_owned();
                match &self.shown {
                    Shown::Bar(bar) if bar.is_hidden() || bar.length().is_some() => {
                        self.replace(|| spinner().with_message(message));
                    }
                    Shown::Bar(bar) => bar.set_message(message),
                    Shown::Nothing | Shown::Lines(_) => self.line(event.time, &message),
                }
            }
            EventKind::LoadFinished(_) => {
                if self.untold.seconds > 0 && self.untold.errors > 0 {
                    self.tell_of_load(event.time);
                }
                self.replace(ProgressBar::hidden);
            }
            EventKind::CheckFinished(_) | EventKind::RunFailed { .. } | EventKind::VerifyFinished { .. } => {
                self.replace(ProgressBar::hidden)
            }
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

    fn is_due(&self, now: Timestamp) -> bool {
        self.last_line.is_none_or(|last| now.duration_since(last).as_secs_f64() >= EVERY - 0.05)
    }

    /// A line, unless the last one was written a moment ago.
    fn line(&mut self, now: Timestamp, text: &str) {
        if self.is_due(now) {
            self.write(now, text);
        }
    }

    fn tell_of_load(&mut self, now: Timestamp) {
        let all = self.plan.as_ref().map_or(self.untold.second, |plan| plan.seconds);
        let text = format!("{:.0}/{all:.0} s · {}", self.untold.second, self.untold.in_words());
        self.untold = Untold { errors_in_all: self.untold.errors_in_all, ..Untold::default() };
        self.write(now, &text);
    }

    fn write(&mut self, now: Timestamp, text: &str) {
        if let Shown::Lines(writer) = &mut self.shown {
            self.last_line = Some(now);
            // A reader that went away is no error.
            let _ = writeln!(writer, "  {}", foreign::one_line(text));
        }
    }
}

impl Untold {
    fn add(&mut self, sample: &Sample) {
        self.seconds += 1;
        self.second = sample.second;
        self.sent += sample.sent;
        if let Some(rate) = sample.asked_rate {
            *self.asked.get_or_insert(0.0) += rate;
        }
        self.errors += sample.errors;
        self.errors_in_all += sample.errors;
        if sample.answered > 0 {
            let worst = self.times.map_or(0.0, |(_, worst)| worst);
            self.times = Some((sample.p50, sample.p99.max(worst)));
        }
        self.in_flight = sample.in_flight;
    }

    /// `198 of 200/s · p50 1.2 ms · p99 8.4 ms · 3 errors, 27 so far`; the 99th percentile is the worst second's.
    fn in_words(&self) -> String {
        let seconds = self.seconds.max(1) as f64;
        let sent = (self.sent as f64 / seconds).round() as u64;
        let asked = self.asked.map(|asked| (asked / seconds).round() as u64).filter(|asked| *asked != sent);
        let asked = asked.map_or(String::new(), |asked| format!(" of {}", count(asked)));
        let times = match self.times {
            Some((p50, p99)) => format!("p50 {} · p99 {}", latency(p50), latency(p99)),
            None => "no answers".into(),
        };
        let errors = figures::counted(self.errors, "error");
        let last = match self.errors_in_all > self.errors {
            true => format!("{errors}, {} so far", count(self.errors_in_all)),
            false => format!("{errors} · {} in flight", count(self.in_flight)),
        };
        format!("{}{asked}/s · {times} · {last}", count(sent))
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
