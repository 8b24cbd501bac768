//! The live screen: each section as it is finished, and what one waits for meanwhile.

use std::io::Write;

use jiff::Timestamp;

use super::layout::{marked, notice, paragraph, section};
use super::progress::Progress;
use super::redact;
use super::text;
use super::{Report, State};
use crate::check::{Group, Verdict};
use crate::cli::Output;
use crate::error::Result;
use crate::figures::duration;
use crate::foreign;
use crate::run::{Event, EventKind, Reporter};
use crate::terminal::Terminal;

/// Shows a run while it goes on.
///
/// Finished sections are data: they go to stdout, or, where stdout holds one document for machines, to
/// stderr. Bars and spinners go to stderr and leave nothing behind.
pub struct Live {
    screen: Box<dyn Write + Send>,
    progress: Progress,
    quiet: bool,
    /// What happened so far, without the seconds of the load.
    events: Vec<Event>,
    load_started: Option<Timestamp>,
    group: Option<Group>,
}

impl Live {
    /// The screen of this terminal, as the command line asks for.
    pub fn new(terminal: &Terminal) -> Live {
        let screen: Box<dyn Write + Send> = match terminal.output() {
            Output::Table => Box::new(anstream::stdout()),
            Output::Json | Output::Yaml | Output::Markdown => Box::new(anstream::stderr()),
        };
        Live::on(screen, Progress::on_stderr(), terminal.quiet())
    }

    /// The same where something else goes to stdout.
    pub fn on_stderr(terminal: &Terminal) -> Live {
        Live::on(Box::new(anstream::stderr()), Progress::on_stderr(), terminal.quiet())
    }

    /// A screen without a terminal: finished sections into `screen`, plain lines of progress into `progress`.
    pub fn plain(
        screen: impl Write + Send + 'static,
        progress: impl Write + Send + 'static,
        quiet: bool,
    ) -> Live {
        let screen: Box<dyn Write + Send> = Box::new(screen);
        Live::on(Box::new(anstream::StripStream::new(screen)), Progress::lines(progress), quiet)
    }

    fn on(screen: Box<dyn Write + Send>, progress: Progress, quiet: bool) -> Live {
        let progress = if quiet { Progress::silent() } else { progress };
        Live { screen, progress, quiet, events: Vec::new(), load_started: None, group: None }
    }

    /// Goes on after these events of the same run, without showing them: `sre verify` repeats only the verdict.
    pub fn after(mut self, events: &[Event]) -> Live {
        for event in events {
            self.note(event);
        }
        self
    }

    fn note(&mut self, event: &Event) {
        match event.kind {
            EventKind::LoadProgress(_) => return,
            EventKind::LoadStarted(_) => self.load_started = Some(event.time),
            EventKind::VerifyStarted => self.group = None,
            _ => {}
        }
        self.events.push(event.clone());
    }

    /// The lines that an event adds to the screen.
    fn lines(&mut self, event: &Event) -> Result<Vec<String>> {
        let report = Report::from_events(&self.events)?;
        Ok(match &event.kind {
            EventKind::CheckFinished(_) => {
                let Some(outcome) = report.checks.last() else { return Ok(Vec::new()) };
                if self.quiet && outcome.verdict == Verdict::Pass {
                    return Ok(Vec::new());
                }
                let heading = text::heading(&mut self.group, outcome.group).filter(|_| !self.quiet);
                heading.into_iter().chain(text::check(outcome)).collect()
            }
            // An error is printed once, by whoever ends the process with it.
            EventKind::VerifyFinished { .. } | EventKind::RunFailed { .. } => {
                let mut lines = text::verdict(&report);
                if self.quiet && report.state == State::Finished && report.notes.is_empty() {
                    lines.remove(0);
                }
                lines
            }
            EventKind::FaultFailed { fault, error } => {
                let mut lines = vec![marked(2, Verdict::Fail, &redact(&fault.description), "failed")];
                lines.extend(paragraph(6, &redact(error)));
                lines
            }
            _ if self.quiet => Vec::new(),
            EventKind::RunStarted(_) => text::head(&report),
            EventKind::LoadStarted(_) => vec![String::new(), text::plan(&report)],
            EventKind::LoadFinished(_) => report.load.as_ref().map(text::load_result).unwrap_or_default(),
            EventKind::FaultInjected(fault) => {
                vec![notice(2, &fault.description, &self.when("injected", event.time))]
            }
            EventKind::FaultHealed(fault) => {
                vec![marked(2, Verdict::Pass, &fault.description, &self.when("undone", event.time))]
            }
            EventKind::VerifyStarted => section("verify").into(),
            _ => Vec::new(),
        })
    }

    fn when(&self, what: &str, time: Timestamp) -> String {
        match self.load_started {
            Some(started) => format!("{what} after {}", duration(time.duration_since(started).as_secs_f64())),
            None => what.into(),
        }
    }
}

impl Reporter for Live {
    fn event(&mut self, event: &Event) -> Result<()> {
        self.note(event);
        self.progress.event(event);
        if matches!(event.kind, EventKind::LoadProgress(_)) {
            return Ok(());
        }
        let lines = self.lines(event)?;
        let screen = &mut self.screen;
        self.progress.suspend(|| {
            for line in lines {
                // A reader that went away (`sre … | head`) is no error.
                let _ = writeln!(screen, "{}", foreign::screen(&line));
            }
            let _ = screen.flush();
        });
        Ok(())
    }
}
