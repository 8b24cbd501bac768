//! The configurations of Loki and of the OpenTelemetry Collector that ships lines to it. Pure.

use std::path::PathBuf;

use serde_json::{Value, json};
use url::Url;

use super::config::write;
use crate::error::Result;

/// What Loki is told: one process, its data in one folder, ready as soon as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LokiConfig {
    /// Where it answers.
    pub address: String,
    /// Where its parts speak with each other.
    pub grpc: String,
    /// Its data.
    pub data: PathBuf,
}

impl LokiConfig {
    /// `loki.yml`.
    pub fn to_yaml(&self) -> Result<String> {
        let (http_address, http_port) = split(&self.address);
        let (grpc_address, grpc_port) = split(&self.grpc);
        let folder = |name: &str| self.data.join(name);
        write(&json!({
            "auth_enabled": false,
            // It would tell its makers.
            "analytics": {"reporting_enabled": false},
            "server": {
                "http_listen_address": http_address, "http_listen_port": http_port,
                "grpc_listen_address": grpc_address, "grpc_listen_port": grpc_port,
                "log_level": "warn",
            },
            "common": {
                "instance_addr": "127.0.0.1",
                "path_prefix": self.data,
                "replication_factor": 1,
                "ring": {"kvstore": {"store": "inmemory"}},
                "storage": {"filesystem": {
                    "chunks_directory": folder("chunks"), "rules_directory": folder("rules"),
                }},
            },
            "schema_config": {"configs": [{
                "from": "2024-04-01", "store": "tsdb", "object_store": "filesystem", "schema": "v13",
                "index": {"prefix": "index_", "period": "24h"},
            }]},
            // Alone, it has nobody to wait for.
            "ingester": {"lifecycler": {"min_ready_duration": "0s"}},
            // Otherwise its parts find each other by looking every ten seconds.
            "frontend_worker": {"frontend_address": self.grpc},
            "compactor": {"retention_enabled": true, "delete_request_store": "filesystem"},
            "limits_config": {
                "retention_period": "168h",
                // A request's line is at most some hundred bytes, but a load may have thousands a second.
                "ingestion_rate_mb": 64, "ingestion_burst_size_mb": 128,
                "per_stream_rate_limit": "64MB", "per_stream_rate_limit_burst": "128MB",
                "discover_log_levels": false,
            },
        }))
    }
}

/// What the collector is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorConfig {
    /// The service's name, which is a label of all its lines: `service_name`.
    pub service: String,
    /// The replicas' names, which are a label of theirs (`service_instance_id`), and their logs.
    pub logs: Vec<(String, PathBuf)>,
    /// Where Loki takes OTLP.
    pub loki: Url,
    /// Where it tells that it runs.
    pub health: String,
}

impl CollectorConfig {
    /// `collector.yml`.
    pub fn to_yaml(&self) -> Result<String> {
        let receivers: serde_json::Map<String, Value> = self
            .logs
            .iter()
            .map(|(name, log)| (format!("file_log/{name}"), self.receiver(name, log)))
            .collect();
        let names: Vec<&String> = receivers.keys().collect();
        write(&json!({
            "receivers": receivers,
            "processors": {
                "batch": {"timeout": "200ms"},
                // Started anew, it reads the logs from their beginning. Lines that differ in nothing are one and the
                // same for Loki; the time at which a line was read would make them two.
                "transform": {"log_statements": [{"context": "log", "statements": [
                    "set(log.observed_time_unix_nano, 0) where log.time_unix_nano > 0",
                ]}]},
            },
            "exporters": {"otlp_http": {
                "endpoint": self.loki.as_str(),
                // For as long as Loki is away: nothing is given up.
                "retry_on_failure": {
                    "initial_interval": "200ms", "max_interval": "2s", "max_elapsed_time": "0s",
                },
            }},
            "extensions": {"health_check": {"endpoint": self.health}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
                "pipelines": {"logs": {
                    "receivers": names, "processors": ["transform", "batch"], "exporters": ["otlp_http"],
                }},
            },
        }))
    }

    fn receiver(&self, name: &str, log: &PathBuf) -> Value {
        json!({
            "include": [log],
            "start_at": "beginning",
            "poll_interval": "100ms",
            "resource": {"service.name": self.service, "service.instance.id": name},
            "operators": [
                {
                    "type": "json_parser",
                    // A line without a time of its own has that of its reading.
                    "if": r#"body matches "^\\{.*\"timestamp\":\"""#,
                    "parse_to": "attributes.parsed",
                    "on_error": "send_quiet",
                    "timestamp": {
                        "parse_from": "attributes.parsed.timestamp",
                        "layout_type": "gotime", "layout": "2006-01-02T15:04:05Z07:00",
                    },
                },
                {"type": "remove", "if": "attributes.parsed != nil", "field": "attributes.parsed"},
            ],
        })
    }
}

fn split(address: &str) -> (&str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (host, port.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loki_listens_on_loopback_alone_and_tells_nobody() {
        let config = LokiConfig {
            address: "127.0.0.1:15001".into(),
            grpc: "127.0.0.1:15002".into(),
            data: "/lab/.sre/local/loki".into(),
        };
        insta::assert_snapshot!(config.to_yaml().expect("YAML"), @r#"
        # Written by `sre up`; changes are lost.
        auth_enabled: false
        analytics:
          reporting_enabled: false
        server:
          http_listen_address: "127.0.0.1"
          http_listen_port: 15001
          grpc_listen_address: "127.0.0.1"
          grpc_listen_port: 15002
          log_level: warn
        common:
          instance_addr: "127.0.0.1"
          path_prefix: /lab/.sre/local/loki
          replication_factor: 1
          ring:
            kvstore:
              store: inmemory
          storage:
            filesystem:
              chunks_directory: /lab/.sre/local/loki/chunks
              rules_directory: /lab/.sre/local/loki/rules
        schema_config:
          configs:
          - from: "2024-04-01"
            store: tsdb
            object_store: filesystem
            schema: v13
            index:
              prefix: index_
              period: 24h
        ingester:
          lifecycler:
            min_ready_duration: 0s
        frontend_worker:
          frontend_address: 127.0.0.1:15002
        compactor:
          retention_enabled: true
          delete_request_store: filesystem
        limits_config:
          retention_period: 168h
          ingestion_rate_mb: 64
          ingestion_burst_size_mb: 128
          per_stream_rate_limit: 64MB
          per_stream_rate_limit_burst: 128MB
          discover_log_levels: false
        "#);
    }

    #[test]
    fn the_collector_reads_every_replica_s_log_from_its_beginning() {
        let config = CollectorConfig {
            service: "users-api".into(),
            logs: vec![("users-api-0".into(), "/lab/.sre/local/logs/users-api-0.log".into())],
            loki: "http://127.0.0.1:15001/otlp".parse().expect("a URL"),
            health: "127.0.0.1:15003".into(),
        };
        insta::assert_snapshot!(config.to_yaml().expect("YAML"), @r#"
        # Written by `sre up`; changes are lost.
        receivers:
          file_log/users-api-0:
            include:
            - /lab/.sre/local/logs/users-api-0.log
            start_at: beginning
            poll_interval: 100ms
            resource:
              service.name: users-api
              service.instance.id: users-api-0
            operators:
            - type: json_parser
              if: body matches "^\\{.*\"timestamp\":\""
              parse_to: attributes.parsed
              on_error: send_quiet
              timestamp:
                parse_from: attributes.parsed.timestamp
                layout_type: gotime
                layout: 2006-01-02T15:04:05Z07:00
            - type: remove
              if: attributes.parsed != nil
              field: attributes.parsed
        processors:
          batch:
            timeout: 200ms
          transform:
            log_statements:
            - context: log
              statements:
              - set(log.observed_time_unix_nano, 0) where log.time_unix_nano > 0
        exporters:
          otlp_http:
            endpoint: http://127.0.0.1:15001/otlp
            retry_on_failure:
              initial_interval: 200ms
              max_interval: 2s
              max_elapsed_time: 0s
        extensions:
          health_check:
            endpoint: 127.0.0.1:15003
        service:
          extensions:
          - health_check
          telemetry:
            metrics:
              level: none
            logs:
              level: warn
          pipelines:
            logs:
              receivers:
              - file_log/users-api-0
              processors:
              - transform
              - batch
              exporters:
              - otlp_http
        "#);
    }
}
