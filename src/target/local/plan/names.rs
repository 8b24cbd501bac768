//! The names of a lab's processes, and of the ports that they need.

use crate::stack::{LocalStack, LogKeeping};

/// The process names that are not replicas.
pub const PROMETHEUS: &str = "prometheus";
/// Alertmanager's.
pub const ALERTMANAGER: &str = "alertmanager";
/// The node exporter's.
pub const NODE_EXPORTER: &str = "node-exporter";
/// The receiver's.
pub const RECEIVER: &str = "receiver";
/// Loki's.
pub const LOKI: &str = "loki";
/// The OpenTelemetry Collector's.
pub const COLLECTOR: &str = "collector";
/// The name of `sre`'s own log store, where there is no Loki.
pub const LOGSTORE: &str = "logstore";
/// The name of `sre`'s own log shipper, where there is no collector.
pub const LOGSHIPPER: &str = "logshipper";

/// What follows a replica's name in that of its admin port.
pub(super) const ADMIN: &str = "-admin";
/// What follows Loki's name in that of its second port.
pub(super) const GRPC: &str = "-grpc";

/// The names that ports are needed for.
pub fn port_names(local: &LocalStack) -> Vec<String> {
    let mut names = vec![RECEIVER.to_owned(), ALERTMANAGER.to_owned(), PROMETHEUS.to_owned()];
    if local.node_exporter {
        names.push(NODE_EXPORTER.into());
    }
    if local.logs != LogKeeping::Nothing {
        names.extend([LOKI.to_owned(), format!("{LOKI}{GRPC}"), COLLECTOR.to_owned()]);
        names.extend([LOGSTORE.to_owned(), LOGSHIPPER.to_owned()]);
    }
    for number in 0..local.service.replicas {
        let name = replica_name(local, number);
        if has_admin(local) {
            names.push(format!("{name}{ADMIN}"));
        }
        names.push(name);
    }
    names
}

/// The process that a port's name belongs to.
pub fn port_owner(name: &str) -> &str {
    name.strip_suffix(ADMIN).or_else(|| name.strip_suffix(GRPC)).unwrap_or(name)
}

/// The name of a replica, by its number.
pub(super) fn replica_name(local: &LocalStack, number: usize) -> String {
    format!("{}-{number}", local.service.name)
}

/// Whether the service has an admin port.
pub(super) fn has_admin(local: &LocalStack) -> bool {
    local
        .service
        .command
        .iter()
        .chain(local.service.environment.values())
        .any(|text| text.contains("{admin}"))
}
