//! Stacks: what is installed, where it answers, and what counts its requests.

mod model;
mod parameters;
mod rules;
mod validate;

pub use model::*;
pub use parameters::{declared, resolve};
pub use rules::{AlertRule, alert_rules};
pub use validate::validate;
