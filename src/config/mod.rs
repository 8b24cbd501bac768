//! YAML files that people write: read, parsed into types, and every problem shown at its line and column.

mod budget;
mod document;
mod parse;
mod path;
mod placeholder;
mod problem;
mod read;
mod refusal;
mod render;
mod suggest;

pub use budget::large;
pub use document::Document;
pub use path::Path;
pub use placeholder::{Values, substitute};
pub use problem::{Located, Problem, Severity};
pub use read::read;
pub use refusal::Refusal;
pub use suggest::{nearest, unknown};
