//! How far downloads are: a bar for each, where stderr is a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::foreign;
use crate::terminal::Terminal;

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
        let (bar, template) = match bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "  {msg:28!} {bar:20} {bytes:>10} of {total_bytes:<10} {bytes_per_sec:>12} {eta:>4} left",
            ),
            None => (ProgressBar::no_length(), "  {msg:28!} {spinner} {bytes:>10} {bytes_per_sec:>12}"),
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
