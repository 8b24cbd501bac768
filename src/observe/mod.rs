//! Clients of what observes: Prometheus, Alertmanager, Loki, the receiver of notifications.
