//! The target `local`: real Prometheus, Alertmanager and node exporter, and the service's replicas,
//! as processes on this machine, on free loopback ports.

pub mod ports;
pub mod process;
