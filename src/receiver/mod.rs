//! The receiver of Alertmanager's notifications, `sre receiver`: it keeps each one, and gives them back.

mod notification;
mod server;
mod store;

pub use notification::{Notification, Payload, PayloadAlert};
pub use server::serve;
