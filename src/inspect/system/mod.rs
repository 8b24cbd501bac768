//! What `sre inspect` looks at: a system that runs, by its cluster and its Prometheus.
//!
//! Windows, quantiles, spread and limits are pure; `eyes` asks Prometheus, `pods` and `source` the cluster.

mod candidates;
mod eyes;
mod ingress;
mod look;
mod model;
mod pods;
mod probe;
mod quantile;
mod redis;
mod scope;
mod source;
mod spread;
mod traffic;
mod whereami;
mod window;

pub use look::{PartName, Question, look};
pub use model::{
    AtQuantile, ClusterFacts, Ingress, Inspection, Latencies, Missing, NodeCount, Part, PrometheusFacts,
    Rates, SCHEMA, Traffic, Warning,
};
pub use quantile::{Latency, SHOWN};
pub use redis::{Figure, Redis, Value};
pub use source::Named;
pub use spread::{Loss, OnNode, Spread, Verdict, Workload};
pub use window::{Because, Window};
