//! Stacks: what is installed, where it answers, and what counts its requests.

mod cluster;
mod model;
mod parameters;
mod rules;
mod validate;

pub use cluster::*;
pub use model::*;
pub use parameters::{declared, resolve};
pub use rules::{AlertRule, alert_rules};
pub use validate::{base_url, header, validate};
