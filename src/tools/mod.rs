//! The programs that `sre` runs: where they are, and how they are got where they are missing.

mod apt;
mod cache;
mod command;
mod download;
mod find;
mod mirror;
mod obtain;
mod progress;
mod release;
mod tool;
mod version;
pub mod versions;

pub use cache::{Cache, blocking};
pub use download::{download, verify};
pub use find::{Origin, Program, Search, find};
pub use mirror::{mirror, place};
pub use obtain::{Plan, plan, require, search};
pub use release::save;
pub use tool::Tool;
pub use version::version;
