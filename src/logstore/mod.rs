//! A log store of `sre`'s own: takes lines by OTLP, keeps them in files, and answers what `sre` asks Loki.
//!
//! `otlp`, `entry`, `frame` and `logql` are pure; `segment` and `store` are files, `api` is HTTP. `ship` follows the
//! files that programs write, and sends their lines.

mod api;
pub(crate) mod entry;
pub(crate) mod frame;
pub(crate) mod logql;
pub mod otlp;
mod segment;
pub mod ship;
mod store;

pub use api::{Options, serve};
pub use store::Limits;
