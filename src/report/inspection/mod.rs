//! What `sre inspect` saw: for people, and as Markdown.

mod cells;
mod markdown;
mod text;

pub use markdown::markdown;
pub use text::text;
