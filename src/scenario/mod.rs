//! Scenarios: load + faults + what must be seen.

mod aim;
mod model;
mod named;
mod overrides;
mod shape;
mod threshold;
mod units;
mod validate;

pub use aim::{Aim, AimKind};
pub use model::*;
pub(crate) use named::list as named_list;
pub use threshold::{Metric, Threshold};
pub use units::{Comparison, Duration, DurationRange, Expect, Operator, Rate, Ratio};
pub use validate::validate;
pub(crate) use validate::{
    Flaw, checks, expression, is_label_name, is_metric_name, metric_of, parse_promql, stream_selector,
};
