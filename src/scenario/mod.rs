//! Scenarios: load + faults + what must be seen.

mod model;
mod threshold;
mod units;

pub use model::*;
pub use threshold::{Metric, Threshold};
pub use units::{Comparison, Duration, DurationRange, Expect, Operator, Rate, Ratio};
