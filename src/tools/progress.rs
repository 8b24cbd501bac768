//! How far downloads are: a bar for each, where stderr is a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use terminal_size::{Width, terminal_size_of};

use crate::foreign;
use crate::terminal::Terminal;

/// Columns below which there is no room for a bar beside its figures.
const NARROW: u16 = 76;

/// The bars of downloads that go on at the same time.
#[derive(Debug, Clone)]
pub struct Bars {
    terminal: Terminal,
    shown: Option<MultiProgress>,
}

/// The bar of one download; it is gone with this.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bars {
    /// Bars, if this terminal shows any.
    pub fn new(terminal: &Terminal) -> Bars {
        Bars { terminal: terminal.clone(), shown: terminal.shows_bars().then(MultiProgress::new) }
    }

    /// A line of progress, above the bars.
    pub fn say(&self, line: impl AsRef<str>) {
        match &self.shown {
            Some(bars) => bars.suspend(|| self.terminal.say(line)),
            None => self.terminal.say(line),
        }
    }

    /// A bar for a download of so many bytes; one without an end where nobody knows how many.
    pub fn start(&self, what: impl Into<String>, bytes: Option<u64>) -> Bar {
        let Some(bars) = &self.shown else { return Bar(ProgressBar::hidden()) };
        let is_narrow = terminal_size_of(std::io::stderr()).is_some_and(|(Width(width), _)| width < NARROW);
        let (bar, template) = match (bytes, is_narrow) {
            (Some(bytes), false) => (
                ProgressBar::new(bytes),
                "{msg:24!} {wide_bar} {decimal_bytes:>9} of {decimal_total_bytes:<9} {decimal_bytes_per_sec:>11} {eta:>3} left",
            ),
            (Some(bytes), true) => (
                ProgressBar::new(bytes),
                "{msg:24!} {decimal_bytes:>9} {percent:>3}% {decimal_bytes_per_sec:>11} {eta:>3} left",
            ),
            (None, _) => (
                ProgressBar::no_length(),
                "{msg:24!} {spinner} {decimal_bytes:>9} {decimal_bytes_per_sec:>11}",
            ),
        };
        let style = ProgressStyle::with_template(template).expect("the template is a constant");
        Bar(bars.add(bar.with_style(style).with_message(foreign::one_line(&what.into()).into_owned())))
    }
}

impl Bar {
    /// So many bytes came.
    pub fn came(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// So many bytes are here in all.
    pub fn is_at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
