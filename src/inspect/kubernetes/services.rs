//! What a stack may ask of a cluster beside its nodes: figures of use, volumes.

use kube::core::DynamicObject;
use serde_json::Value;

use super::rendered::Planned;
use crate::inspect::Finding;
use crate::target::kubernetes::readiness::{Readiness, readiness};

/// The annotation of the StorageClass that claims get which name none.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Whether the API of figures of use (`kubectl top`, autoscaling) is there. Pure.
pub fn metrics_api(service: Option<&DynamicObject>, planned: &[Planned], minikube: Option<&str>) -> Finding {
    const NAME: &str = "metrics API";
    let message = match service.map(|service| readiness("APIService", service)) {
        Some(Readiness::Ready) => return Finding::ok(NAME, "available"),
        Some(Readiness::Waiting(why) | Readiness::Failed(why)) => why,
        None => "not there: kubectl top and autoscaling do not work".into(),
    };
    let hint = match minikube {
        Some(profile) => format!("minikube --profile {profile} addons enable metrics-server"),
        None => {
            "kubectl apply -f https://github.com/kubernetes-sigs/metrics-server/releases/latest/download/\
                 components.yaml"
                .into()
        }
    };
    // Only what scales by it cannot do without.
    if planned.iter().any(|planned| planned.kind() == "HorizontalPodAutoscaler") {
        return Finding::error(NAME, message, hint);
    }
    Finding::warning(NAME, message, hint)
}

/// The classes that a plan's claims name; `None` stands for the default one.
fn claimed(planned: &[Planned]) -> Vec<Option<&str>> {
    fn class(claim: &Value) -> Option<&str> {
        claim["storageClassName"].as_str()
    }
    let mut classes = Vec::new();
    for planned in planned {
        let spec = planned.spec();
        match planned.kind() {
            "PersistentVolumeClaim" => classes.push(class(spec)),
            "StatefulSet" => {
                let templates = spec["volumeClaimTemplates"].as_array();
                classes.extend(templates.into_iter().flatten().map(|template| class(&template["spec"])));
            }
            "Prometheus" | "Alertmanager" => {
                let template = &spec["storage"]["volumeClaimTemplate"];
                if template.is_object() {
                    classes.push(class(&template["spec"]));
                }
            }
            _ => {}
        }
    }
    // An empty name asks for a volume that is there, of no class.
    classes.retain(|class| *class != Some(""));
    classes
}

/// Whether the claims of a plan find a class. `classes`: the cluster's. Pure.
pub fn storage(classes: &[DynamicObject], planned: &[Planned]) -> Finding {
    const NAME: &str = "StorageClass";
    let name = |class: &DynamicObject| class.metadata.name.clone().unwrap_or_default();
    let is_default = |class: &&DynamicObject| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(DEFAULT_CLASS)).is_some_and(|value| value == "true")
    };
    let defaults: Vec<String> = classes.iter().filter(is_default).map(name).collect();
    let names: Vec<String> = classes.iter().map(name).collect();
    let claimed = claimed(planned);
    let unknown = claimed.iter().flatten().find(|claimed| !names.iter().any(|name| name == *claimed));
    if let Some(unknown) = unknown {
        return Finding::error(
            NAME,
            format!(
                "`{unknown}` is asked for; there are: {}",
                if names.is_empty() { "none".into() } else { names.join(", ") }
            ),
            "name one that is there in the stack's values",
        );
    }
    let mend = match names.first() {
        Some(name) => format!(
            "kubectl patch storageclass {name} -p '{{\"metadata\":{{\"annotations\":{{\"{DEFAULT_CLASS}\":\"true\"}}}}}}'"
        ),
        None => "install one, such as https://github.com/rancher/local-path-provisioner".into(),
    };
    match (defaults.as_slice(), claimed.contains(&None)) {
        ([default], _) => Finding::ok(NAME, format!("{default} is the default")),
        ([], true) => {
            Finding::error(NAME, "none is the default, and the stack has claims that name none", mend)
        }
        ([], false) => Finding::ok(NAME, "none is the default; the stack needs none"),
        (several, _) => Finding::warning(
            NAME,
            format!("{} are defaults; claims get the newest", several.join(", ")),
            "leave one: kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class-",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rendered::from_yaml;
    use super::*;
    use crate::inspect::Level;

    fn class(name: &str, default: bool) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": name, "annotations": {DEFAULT_CLASS: default.to_string()}}}))
        .expect("a class")
    }

    fn prometheus(claim: &str) -> Vec<Planned> {
        let text = format!(
            "apiVersion: monitoring.coreos.com/v1\nkind: Prometheus\nmetadata: {{name: p}}\n\
             spec: {{storage: {{volumeClaimTemplate: {{spec: {claim}}}}}}}\n"
        );
        from_yaml("lab", &text)
    }

    #[test]
    fn a_default_class_is_needed_by_claims_that_name_none() {
        let level = |classes: &[DynamicObject], claim| storage(classes, &prometheus(claim)).level;
        assert_eq!(level(&[class("a", true)], "{}"), Level::Ok);
        assert_eq!(level(&[class("a", false)], "{}"), Level::Error);
        assert_eq!(level(&[class("a", false)], "{storageClassName: a}"), Level::Ok);
        assert_eq!(level(&[class("a", true)], "{storageClassName: fast}"), Level::Error);
        assert_eq!(level(&[class("a", true), class("b", true)], "{}"), Level::Warning);
        assert_eq!(storage(&[], &[]).level, Level::Ok);
    }

    #[test]
    fn the_metrics_api_is_needed_by_what_scales() {
        let scaler = from_yaml(
            "lab",
            "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\n",
        );
        assert_eq!(metrics_api(None, &scaler, None).level, Level::Error);
        let finding = metrics_api(None, &[], Some("sre"));
        assert_eq!(finding.level, Level::Warning);
        assert_eq!(finding.hint.as_deref(), Some("minikube --profile sre addons enable metrics-server"));
    }
}
