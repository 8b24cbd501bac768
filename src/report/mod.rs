//! Reporters: they consume events, and nothing else.

pub mod compare;
mod fold;
pub mod inspection;
pub mod junit;
mod layout;
pub mod markdown;
mod model;
mod progress;
pub mod push;
mod redact;
pub mod runs;
pub mod samples;
pub mod terminal;
mod text;
pub mod why;

pub use layout::status_line;
pub(crate) use layout::{dotted, paragraph, wrap};
pub use model::{FaultReport, LatencyMs, LoadReport, Report, Requests, RunVerdict, SCHEMA, State};
pub use redact::{outcome_without_secrets, redact};
pub(crate) use text::check as check_lines;
pub use text::text;
