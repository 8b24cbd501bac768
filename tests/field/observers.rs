//! What stands in for Prometheus, and how it is reached.
