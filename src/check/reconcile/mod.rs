//! Reconcile: requests that the client sent against the server's counters, exactly.

mod baseline;

pub use baseline::{Baseline, BaselineSeries, BaselineTarget};
