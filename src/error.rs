//! The one error that reaches a user: what failed, on what, why, and what to do next.

use std::fmt;

use crate::exit::Exit;
use crate::foreign::visible;

/// `Result` with the error that reaches a user.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, on what, why, and what to do next; carries its exit code.
#[derive(Debug, Clone)]
pub struct Error {
    exit: Exit,
    what: String,
    causes: Vec<String>,
    details: Vec<String>,
    hint: Option<String>,
    lasting: bool,
}

impl Error {
    /// An error that ends the process with `exit`. `what` names what failed, and on what.
    pub fn new(exit: Exit, what: impl Into<String>) -> Error {
        Error { exit, what: what.into(), causes: Vec::new(), details: Vec::new(), hint: None, lasting: false }
    }

    /// Arguments, a scenario file or a stack file are wrong (exit 2).
    pub fn usage(what: impl Into<String>) -> Error {
        Error::new(Exit::Usage, what)
    }

    /// Something that had to be seen could not be (exit 3).
    pub fn no_data(what: impl Into<String>) -> Error {
        Error::new(Exit::NoData, what)
    }

    /// A prerequisite is missing, or consent was not given (exit 5).
    pub fn prerequisite(what: impl Into<String>) -> Error {
        Error::new(Exit::Prerequisite, what)
    }

    /// The target could not be brought up, reached or taken down (exit 6).
    pub fn target(what: impl Into<String>) -> Error {
        Error::new(Exit::Target, what)
    }

    /// Adds the cause, with the causes behind it, each once.
    pub fn because(mut self, cause: impl std::error::Error) -> Error {
        let mut next: Option<&dyn std::error::Error> = Some(&cause);
        while let Some(error) = next {
            let text = error.to_string();
            // Many errors repeat their source in their own text.
            if !self.causes.iter().any(|known| known.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds a cause in words.
    pub fn because_of(mut self, cause: impl Into<String>) -> Error {
        self.causes.push(cause.into());
        self
    }

    /// Adds a block of text that stands for itself, such as a line of a file with what is wrong in it.
    pub fn detail(mut self, block: impl Into<String>) -> Error {
        self.details.push(block.into());
        self
    }

    /// Says what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Says that trying the same again gives the same: there is nothing to wait for.
    pub fn lasting(self) -> Error {
        Error { lasting: true, ..self }
    }

    /// This error as the cause of another one, with its exit code and its hint.
    pub fn within(self, what: impl Into<String>) -> Error {
        let causes = std::iter::once(self.what.clone()).chain(self.causes.clone()).collect();
        Error { what: what.into(), causes, ..self }
    }

    /// The exit code that this error ends the process with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether trying the same again gives the same.
    pub fn is_lasting(&self) -> bool {
        self.lasting || matches!(self.exit, Exit::Prerequisite | Exit::Usage)
    }

    /// What failed, and on what; one line.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Why, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// Blocks of text that stand for themselves.
    pub fn details(&self) -> &[String] {
        &self.details
    }

    /// What to do next.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", visible(&self.what))?;
        for cause in &self.causes {
            write!(f, "\n  because: {}", visible(cause).replace('\n', "\n    "))?;
        }
        for block in &self.details {
            write!(f, "\n\n{block}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  → {}", visible(hint).replace('\n', "\n    "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_why_and_what_to_do() {
        let cause = std::io::Error::other("connection refused");
        let error = Error::target("Prometheus did not answer on http://127.0.0.1:9090")
            .because(cause)
            .hint("sre logs prometheus");
        assert_eq!(
            error.to_string(),
            "Prometheus did not answer on http://127.0.0.1:9090\n  because: connection refused\n  → sre logs prometheus"
        );
        assert_eq!(error.exit(), Exit::Target);
    }
}
