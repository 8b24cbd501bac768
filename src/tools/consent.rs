//! Asking before something is downloaded, changed or deleted.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::error::{Error, Result};

/// Whether the user said yes: for good (`--yes`), or when asked on a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Consent {
    yes: bool,
}

impl Consent {
    /// `yes` is `--yes`.
    pub fn new(yes: bool) -> Consent {
        Consent { yes }
    }

    /// Asks. `what` tells what will be done, where, and how large it is; `question` is answered by
    /// yes or no. Never waits where nobody can answer: an error (exit 5) then, as after a no.
    pub fn ask(&self, what: &str, question: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        let refused = |why: &str| {
            Error::prerequisite(what).because_of(why).hint("say yes for good: --yes, or SRE_YES=true")
        };
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(refused("nobody can be asked: this is not a terminal"));
        }
        let mut stderr = anstream::stderr();
        let _ = write!(stderr, "{what}\n{question} [y/N] ");
        let _ = stderr.flush();
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim().to_ascii_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Ok(()),
            _ => Err(refused("consent was not given")),
        }
    }
}
