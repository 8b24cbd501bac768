//! The demo service, `sre app`: the API of the labs. `docs/app.md` tells what it promises.

mod admin;
mod answer;
mod body;
mod chance;
mod failure;
mod faults;
mod labels;
mod log;
mod metrics;
mod observe;
mod pending;
mod process;
mod request_id;
mod rotated;
mod routes;
mod server;
mod service;
mod users;

pub use chance::{Chance, Purpose};
pub use faults::Faults;
pub use labels::{Endpoint, ErrorType, ExceptionType, Method};
pub use log::Level;
pub use routes::DATABASE_ERRORS;
pub use server::{Config, serve};
