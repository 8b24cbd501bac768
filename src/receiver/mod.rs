//! The receiver of Alertmanager's notifications, `sre receiver`: it keeps each one, and gives them back.

mod payload;
mod server;
mod store;

pub use server::serve;
