//! What goes to stdout, to stderr, and how: stdout is data, stderr is progress.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};
use serde::Serialize;

use crate::cli::{Global, Output, When};
use crate::error::{Error, Result};
use crate::foreign;
use crate::interrupt::Interrupt;
use crate::report::redact;

/// Decides what goes to stdout and to stderr.
#[derive(Debug, Clone)]
pub struct Terminal {
    output: Output,
    quiet: bool,
    verbose: u8,
    yes: bool,
    /// Whether anybody may be asked.
    asks: bool,
    /// What spins now, and would wipe out a question.
    spinning: Spinning,
}

/// The spinner that is on the screen, if one is.
#[derive(Clone, Default)]
struct Spinning(Arc<Mutex<WeakProgressBar>>);

impl std::fmt::Debug for Spinning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spinning")
    }
}

impl Terminal {
    /// As the command line asks for.
    pub fn new(global: &Global) -> Terminal {
        match global.color {
            When::Auto => anstream::ColorChoice::Auto,
            When::Always => anstream::ColorChoice::Always,
            When::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Terminal {
            output: global.output,
            quiet: global.quiet,
            verbose: global.verbose,
            yes: global.yes,
            asks: true,
            spinning: Spinning::default(),
        }
    }

    /// How data is printed.
    pub fn output(&self) -> Output {
        self.output
    }

    /// Tells nothing but what is wrong, and answers every question by `yes` or no: for those who use
    /// `sre` as a library.
    pub fn silent(yes: bool) -> Terminal {
        Terminal {
            output: Output::Table,
            quiet: true,
            verbose: 0,
            yes,
            asks: false,
            spinning: Spinning::default(),
        }
    }

    /// Whether progress may be shown at all.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// How much more than usual is told.
    pub fn verbose(&self) -> u8 {
        self.verbose
    }

    /// A line of progress, on stderr.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{}", shown(line.as_ref()));
        }
    }

    /// A line of progress that only `-v` shows, on stderr.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.verbose > 0 {
            self.say(line);
        }
    }

    /// Whether bars and spinners are shown: progress may be, and stderr is a terminal.
    pub fn shows_bars(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// A spinner for what is waited for; `None` where none is shown.
    pub fn spinner(&self) -> Option<ProgressBar> {
        let spinner = self.shows_bars().then(spinner)?;
        *self.spinning.0.lock().unwrap_or_else(PoisonError::into_inner) = spinner.downgrade();
        Some(spinner)
    }

    /// Takes the spinner off the screen, if one is there, until what comes back is dropped.
    fn still(&self) -> Option<Still> {
        let spinner = self.spinning.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?;
        if spinner.is_finished() {
            return None;
        }
        spinner.disable_steady_tick();
        spinner.set_draw_target(ProgressDrawTarget::hidden());
        let _ = write!(io::stderr(), "\r\x1b[2K");
        Some(Still(spinner))
    }

    /// Something that is wrong but ends nothing, on stderr, `-q` or not.
    pub fn warn(&self, line: impl AsRef<str>) {
        let line = shown(line.as_ref());
        // A problem's own screen says so already, in colour.
        let told = anstream::adapter::strip_str(&line).to_string().starts_with("warning: ");
        let _ = writeln!(anstream::stderr(), "{}{line}", if told { "" } else { "warning: " });
    }

    /// Data, on stdout: `table` is called for people, `data` is serialised for machines.
    ///
    /// Exit 5 where stdout cannot be written.
    pub fn print<T: Serialize>(&self, data: &T, table: impl FnOnce(&T) -> String) -> Result<()> {
        match self.output {
            Output::Table | Output::Markdown => self.print_text(&table(data)),
            Output::Json | Output::Yaml => self.print_for_machines(data),
        }
    }

    /// One document for machines, on stdout; nothing where people were told by screens.
    pub fn print_for_machines<T: Serialize>(&self, data: &T) -> Result<()> {
        match self.output {
            Output::Table | Output::Markdown => Ok(()),
            Output::Json => self.print_text(&json(data)?),
            Output::Yaml => {
                let text = yaml(data)?;
                // JSON is YAML, and has a way to write what a terminal would obey.
                self.print_text(&if foreign::is_hostile(&text) { json(data)? } else { text })
            }
        }
    }

    /// Text on stdout, with a line end.
    pub fn print_text(&self, text: &str) -> Result<()> {
        let mut stdout = anstream::stdout();
        let written = writeln!(stdout, "{}", foreign::screen(text.trim_end_matches('\n')))
            .and_then(|()| stdout.flush());
        match written {
            // A reader that went away (`sre … | head`) is no error.
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|e| Error::prerequisite("stdout cannot be written").because(e)),
        }
    }

    /// Asks before something is installed, changed or deleted; `question` says what, where, how large.
    /// `--yes` answers it.
    ///
    /// Exit 5 where the answer is no, or where nobody can be asked.
    pub async fn consent(&self, question: &str, interrupt: &Interrupt) -> Result<()> {
        if self.yes {
            self.say(question);
            return Ok(());
        }
        let refused = || Error::prerequisite("consent was not given");
        if !self.asks || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(refused()
                .because_of(question)
                .hint("Say yes beforehand with --yes, or SRE_YES=true."));
        }
        let _still = self.still();
        let _ = write!(anstream::stderr(), "{}\nGo on? [y/N] ", shown(question));
        let (sender, answer) = tokio::sync::oneshot::channel();
        // Nothing waits for this thread: a read from the terminal cannot be ended by Ctrl-C.
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = io::stdin().lock().read_line(&mut line);
            let _ = sender.send(line);
        });
        let answer = interrupt.or(answer).await.map(Result::unwrap_or_default);
        // Ctrl-C and Ctrl-D leave the question's line open.
        if !answer.as_ref().is_ok_and(|line| line.ends_with('\n')) {
            let _ = writeln!(anstream::stderr());
        }
        let answer = answer?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(refused()),
        }
    }
}

/// A spinner that is not shown as long as this lives.
struct Still(ProgressBar);

impl Drop for Still {
    fn drop(&mut self) {
        self.0.set_draw_target(ProgressDrawTarget::stderr());
        self.0.enable_steady_tick(TICK);
    }
}

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(100);

/// Text for a terminal: without secrets, and without anything that a terminal obeys but the styles of `sre` itself.
pub fn shown(text: &str) -> String {
    foreign::screen(&redact(text)).into_owned()
}

/// What waits for something that nobody counts, on stderr.
pub fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_style(spinner_style());
    spinner.enable_steady_tick(TICK);
    spinner
}

/// How a spinner looks, with its words beside it.
pub fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is a constant")
}

/// Data as one JSON document.
pub fn json<T: Serialize>(data: &T) -> Result<String> {
    serde_json::to_string_pretty(data)
        .map(|text| foreign::json(&text).into_owned())
        .map_err(|e| Error::target("the result cannot be written as JSON").because(e))
}

/// Data as one YAML document.
pub fn yaml<T: Serialize>(data: &T) -> Result<String> {
    serde_saphyr::to_string(data)
        .map_err(|e| Error::target("the result cannot be written as YAML").because(e))
}
