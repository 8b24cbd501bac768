//! The programs that `sre` runs.

/// A program that `sre` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tool {
    /// Prometheus.
    Prometheus,
    /// Prometheus' own checker of rules and configurations.
    Promtool,
    /// Alertmanager.
    Alertmanager,
    /// The node exporter.
    NodeExporter,
    /// Loki.
    Loki,
    /// An OpenTelemetry Collector, as the distribution for Kubernetes has it.
    Collector,
    /// Helm.
    Helm,
    /// minikube.
    Minikube,
}

impl Tool {
    /// Its own name, which is that of its program.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Prometheus => "prometheus",
            Tool::Promtool => "promtool",
            Tool::Alertmanager => "alertmanager",
            Tool::NodeExporter => "node_exporter",
            Tool::Loki => "loki",
            Tool::Collector => "otelcol-k8s",
            Tool::Helm => "helm",
            Tool::Minikube => "minikube",
        }
    }

    /// The names that its program has on PATH, its own first.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Tool::Prometheus => &["prometheus"],
            Tool::Promtool => &["promtool"],
            Tool::Alertmanager => &["alertmanager", "prometheus-alertmanager"],
            Tool::NodeExporter => &["node_exporter", "prometheus-node-exporter"],
            Tool::Loki => &["loki"],
            Tool::Collector => &["otelcol-k8s", "otelcol-contrib"],
            Tool::Helm => &["helm"],
            Tool::Minikube => &["minikube"],
        }
    }

    /// The oldest version that can do what is asked of it: major and minor.
    pub fn oldest(self) -> Option<(u64, u64)> {
        // 2.42 has the flags that a lab starts it with.
        (self == Tool::Prometheus).then_some((2, 42))
    }

    /// The environment variable that names its program, before all else is tried.
    pub fn variable(self) -> &'static str {
        match self {
            Tool::Prometheus => "SRE_PROMETHEUS",
            Tool::Promtool => "SRE_PROMTOOL",
            Tool::Alertmanager => "SRE_ALERTMANAGER",
            Tool::NodeExporter => "SRE_NODE_EXPORTER",
            Tool::Loki => "SRE_LOKI",
            Tool::Collector => "SRE_OTELCOL",
            Tool::Helm => "SRE_HELM",
            Tool::Minikube => "SRE_MINIKUBE",
        }
    }

    /// The package that has it, in Debian and what comes from it.
    pub fn package(self) -> Option<&'static str> {
        match self {
            Tool::Prometheus | Tool::Promtool => Some("prometheus"),
            Tool::Alertmanager => Some("prometheus-alertmanager"),
            Tool::NodeExporter => Some("prometheus-node-exporter"),
            Tool::Loki | Tool::Collector | Tool::Helm | Tool::Minikube => None,
        }
    }
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
