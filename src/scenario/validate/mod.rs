//! What makes a scenario sound, beyond its types. Pure: a scenario in, problems out.

mod checks;
mod detected;
mod faults;
mod load;
mod promql;
mod requests;
mod scenario;
mod thresholds;
mod traps;

pub(crate) use checks::checks;
use detected::detected;
pub(crate) use promql::{
    Flaw, expression, is_label_name, is_metric_name, metric_of, parse_promql, stream_selector,
};
pub use scenario::validate;
