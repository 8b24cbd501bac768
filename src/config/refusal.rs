//! Why a file cannot be used.

use super::document::Document;
use super::problem::{Problem, Severity};
use crate::error::Error;

/// Why a file cannot be used; as an [`Error`] it ends a command with exit 2.
#[derive(Debug)]
pub enum Refusal {
    /// What is in the file is wrong.
    Problems {
        /// The file.
        document: Box<Document>,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// It cannot be read, or what was asked of it is wrong.
    Other(Error),
}

impl Refusal {
    /// What is in the file is wrong.
    pub fn new(document: Document, problems: Vec<Problem>) -> Refusal {
        Refusal::Problems { document: Box::new(document), problems }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Other(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let (document, problems) = match refusal {
            Refusal::Problems { document, problems } => (document, problems),
            Refusal::Other(error) => return error,
        };
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let count = if errors == 1 { "1 problem".into() } else { format!("{errors} problems") };
        let error = Error::usage(format!("{} is not a valid {}: {count}", document.name(), document.kind()));
        problems.iter().fold(error, |error, problem| error.detail(document.render(problem)))
    }
}
