//! Another Prometheus operator, and the definitions of its kinds: two operators pull at the same objects.

use kube::core::DynamicObject;
use serde_json::Value;

use super::rendered::Planned;
use crate::inspect::Finding;

/// The group of the operator's kinds.
const GROUP: &str = "monitoring.coreos.com";

/// The annotation of a definition that names the operator's version that it is of.
const VERSION: &str = "operator.prometheus.io/version";

/// An operator that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// `Deployment monitoring/operator`.
    pub name: String,
    /// The namespaces that it looks after; all, if it names none.
    pub namespaces: Vec<String>,
}

/// The Prometheus operators among Deployments of all namespaces. Pure.
pub fn operators(deployments: &[DynamicObject]) -> Vec<Operator> {
    let of = |deployment: &DynamicObject| {
        let containers = deployment.data["spec"]["template"]["spec"]["containers"].as_array()?;
        let container = containers.iter().find(|container| {
            let image = container["image"].as_str().unwrap_or_default();
            let name = image.rsplit('/').next().unwrap_or_default();
            name.split([':', '@']).next() == Some("prometheus-operator")
        })?;
        let (namespace, name) =
            (deployment.metadata.namespace.as_deref()?, deployment.metadata.name.as_deref()?);
        Some(Operator { name: format!("{namespace}/{name}"), namespaces: watched(container) })
    };
    deployments.iter().filter_map(of).collect()
}

/// The namespaces that an operator's arguments name.
fn watched(container: &Value) -> Vec<String> {
    let arguments =
        ["args", "command"].into_iter().flat_map(|key| container[key].as_array().into_iter().flatten());
    arguments
        .filter_map(Value::as_str)
        .filter_map(|argument| argument.trim_start_matches('-').strip_prefix("namespaces="))
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The finding. `there`: the definitions of the operator's kinds on the cluster, `planned` those of the plan, `ours` the
/// namespaces of the lab. Pure.
pub fn finding(
    there: &[DynamicObject],
    running: &[Operator],
    planned: &[Planned],
    ours: &[String],
) -> Option<Finding> {
    const NAME: &str = "operator";
    let brought: Vec<&Planned> = planned
        .iter()
        .filter(|planned| planned.kind() == "CustomResourceDefinition" && planned.spec()["group"] == GROUP)
        .collect();
    let used = planned.iter().any(|planned| planned.group() == GROUP);
    if brought.is_empty() && !used {
        return None;
    }
    let is_ours = |operator: &&Operator| {
        operator.name.split_once('/').is_some_and(|(namespace, _)| ours.iter().any(|own| own == namespace))
    };
    let sees_ours = |operator: &&Operator| {
        operator.namespaces.is_empty() || operator.namespaces.iter().any(|name| ours.contains(name))
    };
    let installs = planned.iter().any(|planned| {
        planned.kind() == "Deployment" && !operators(std::slice::from_ref(&planned.object)).is_empty()
    });
    let other = running.iter().find(|operator| !is_ours(operator) && sees_ours(operator));
    if let Some(other) = other.filter(|_| installs) {
        let (namespace, name) = other.name.split_once('/').unwrap_or_default();
        return Some(Finding::warning(
            NAME,
            format!(
                "Deployment {} is another Prometheus operator that looks after the\nlab's namespaces: both would change its objects",
                other.name
            ),
            format!(
                "keep it out by its argument --deny-namespaces={}, or end it:\nkubectl -n {namespace} scale deployment {name} --replicas=0",
                ours.join(",")
            ),
        ));
    }
    if there.is_empty() {
        return Some(if brought.is_empty() {
            Finding::error(
                NAME,
                "the stack has objects of the Prometheus operator, and nothing brings it",
                "add kube-prometheus-stack to the stack's charts",
            )
        } else {
            Finding::ok(NAME, format!("none here; the stack brings it, with {} definitions", brought.len()))
        });
    }
    let version = |object: &DynamicObject| {
        object.metadata.annotations.as_ref().and_then(|all| all.get(VERSION)).cloned()
    };
    let outdated = brought.iter().find_map(|planned| {
        let has = there.iter().find(|there| there.metadata.name == planned.object.metadata.name)?;
        let (has, brings) = (version(has)?, version(&planned.object)?);
        (has != brings).then_some((planned.name(), has, brings))
    });
    if let Some((name, has, brings)) = outdated {
        return Some(Finding::warning(
            NAME,
            format!(
                "{name} is of {has}, the stack's chart is of {brings}: helm changes no definition that is there"
            ),
            format!(
                "if nobody else needs {has}: helm show crds CHART | kubectl apply --server-side --force-conflicts -f -"
            ),
        ));
    }
    Some(Finding::ok(NAME, format!("{} definitions are here already, of the same version", there.len())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rendered::from_yaml;
    use super::*;
    use crate::inspect::Level;

    fn deployment(namespace: &str, arguments: &[&str]) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "operator", "namespace": namespace},
            "spec": {"template": {"spec": {"containers": [
                {"image": "quay.io/prometheus-operator/prometheus-operator:v0.93.1", "args": arguments}]}}}}))
        .expect("a deployment")
    }

    fn definition(version: &str) -> String {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
             metadata: {{name: probes.monitoring.coreos.com, annotations: {{operator.prometheus.io/version: {version}}}}}\n\
             spec: {{group: monitoring.coreos.com}}\n"
        )
    }

    fn plan() -> Vec<Planned> {
        let operator = serde_json::to_string(&deployment("lab-monitoring", &[])).expect("JSON");
        from_yaml("lab-monitoring", &format!("{}---\n{operator}\n", definition("0.93.1")))
    }

    fn there(version: &str) -> Vec<DynamicObject> {
        from_yaml("", &definition(version)).into_iter().map(|planned| planned.object).collect()
    }

    fn level(there: &[DynamicObject], deployments: &[DynamicObject]) -> Option<Level> {
        let ours = ["lab".to_owned(), "lab-monitoring".to_owned()];
        finding(there, &operators(deployments), &plan(), &ours).map(|finding| finding.level)
    }

    #[test]
    fn another_operator_that_sees_the_lab_is_told() {
        assert_eq!(level(&there("0.93.1"), &[deployment("theirs", &[])]), Some(Level::Warning));
        assert_eq!(
            level(&there("0.93.1"), &[deployment("theirs", &["--namespaces=theirs,shop"])]),
            Some(Level::Ok)
        );
        assert_eq!(
            level(&there("0.93.1"), &[deployment("theirs", &["--namespaces=lab"])]),
            Some(Level::Warning)
        );
        assert_eq!(
            level(&there("0.93.1"), &[deployment("lab-monitoring", &[])]),
            Some(Level::Ok),
            "the lab's own"
        );
    }

    #[test]
    fn definitions_of_another_version_are_told() {
        assert_eq!(level(&[], &[]), Some(Level::Ok));
        assert_eq!(level(&there("0.80.0"), &[]), Some(Level::Warning));
        assert_eq!(finding(&[], &[], &[], &[]), None, "a stack without an operator");
        let rule = from_yaml(
            "lab",
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: r}\n",
        );
        assert_eq!(finding(&[], &[], &rule, &[]).map(|finding| finding.level), Some(Level::Error));
        assert_eq!(finding(&there("0.93.1"), &[], &rule, &[]).map(|finding| finding.level), Some(Level::Ok));
    }
}
