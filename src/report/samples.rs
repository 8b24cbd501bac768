//! The seconds of a load as NDJSON, each written when it is over.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::load::Sample;
use crate::run::{Event, EventKind, Reporter};

/// Writes each second of a load as a line of JSON.
pub struct Samples {
    out: Box<dyn Write + Send>,
    name: String,
}

/// A line: the second, and when it was over on this machine's clock.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    #[serde(flatten)]
    sample: &'a Sample,
}

impl Samples {
    /// Into a file, made anew; into stdout where it is `-`.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where the file cannot be made.
    pub fn create(file: &Path) -> Result<Samples> {
        if file == Path::new("-") {
            return Ok(Samples::to(std::io::stdout(), "stdout"));
        }
        let name = file.display().to_string();
        let made = std::fs::File::create(file)
            .map_err(|e| Error::prerequisite(format!("{name} cannot be written")).because(e))?;
        Ok(Samples::to(made, &name))
    }

    /// Into a writer; `name` tells of it in errors.
    pub fn to(out: impl Write + Send + 'static, name: &str) -> Samples {
        Samples { out: Box::new(out), name: name.into() }
    }
}

impl Reporter for Samples {
    fn event(&mut self, event: &Event) -> Result<()> {
        let EventKind::LoadProgress(sample) = &event.kind else { return Ok(()) };
        let failed = || Error::prerequisite(format!("the samples cannot be written to {}", self.name));
        let mut line =
            serde_json::to_vec(&Line { time: event.time, sample }).map_err(|e| failed().because(e))?;
        line.push(b'\n');
        let written = self.out.write_all(&line).and_then(|()| self.out.flush());
        written.map_err(|e| failed().because(e).hint("Without --out the run's folder has them, too."))
    }
}
