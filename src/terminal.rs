//! What goes to stdout, to stderr, and how: stdout is data, stderr is progress.

use std::io::Write;

use serde::Serialize;

use crate::cli::{Global, Output, When};
use crate::error::{Error, Result};

/// Decides what goes to stdout and to stderr.
#[derive(Debug, Clone)]
pub struct Terminal {
    output: Output,
    quiet: bool,
    verbose: u8,
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
        Terminal { output: global.output, quiet: global.quiet, verbose: global.verbose }
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
            let _ = writeln!(anstream::stderr(), "{}", line.as_ref());
        }
    }

    /// A line of progress that only `-v` shows, on stderr.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.verbose > 0 {
            self.say(line);
        }
    }

    /// Something that is wrong but ends nothing, on stderr, `-q` or not.
    pub fn warn(&self, line: impl AsRef<str>) {
        let _ = writeln!(anstream::stderr(), "warning: {}", line.as_ref());
    }

    /// Data, on stdout: `table` is called for people, `data` is serialised for machines.
    pub fn print<T: Serialize>(&self, data: &T, table: impl FnOnce(&T) -> String) -> Result<()> {
        let text = match self.output {
            Output::Table => table(data),
            Output::Json => serde_json::to_string_pretty(data)
                .map_err(|e| Error::target("the result cannot be written as JSON").because(e))?,
            Output::Yaml => serde_saphyr::to_string(data)
                .map_err(|e| Error::target("the result cannot be written as YAML").because(e))?,
        };
        let mut stdout = anstream::stdout();
        // A reader that went away (`sre … | head`) is no error.
        let _ = writeln!(stdout, "{}", text.trim_end_matches('\n'));
        Ok(())
    }
}
