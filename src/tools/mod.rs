//! The programs that `sre` runs: where they are, and how they are got where they are missing.

mod apt;
mod cache;
mod find;
mod obtain;
mod release;
mod tool;
mod version;
pub mod versions;

pub use cache::Cache;
pub use find::{Origin, Program, find};
pub use obtain::{Plan, obtain, plan, require};
pub use release::{mirror, place, save};
pub use tool::Tool;
pub use version::version;
