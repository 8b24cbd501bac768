//! What `helm uninstall` leaves behind, told from what a chart would install. Pure.

use kube::core::DynamicObject;
use serde_json::Value;

use super::object::ObjectRef;

/// The names of the definitions of kinds that a chart brings.
pub fn definitions(objects: &[DynamicObject]) -> Vec<String> {
    objects
        .iter()
        .filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "CustomResourceDefinition"))
        .filter_map(|object| object.metadata.name.clone())
        .collect()
}

/// The definition of this name.
pub fn definition(name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "apiextensions.k8s.io/v1".into(),
        kind: "CustomResourceDefinition".into(),
        namespace: None,
        name: name.into(),
    }
}

/// Objects that a chart's operator makes outside of the release: the Prometheus operator's Service of all
/// kubelets, which its argument `--kubelet-service=NAMESPACE/NAME` names.
pub fn of_operators(objects: &[DynamicObject]) -> Vec<ObjectRef> {
    let mut found = Vec::new();
    for object in objects {
        arguments(&object.data, &mut |argument| {
            let place = argument.strip_prefix("--kubelet-service=").and_then(|place| place.split_once('/'));
            found.extend(place.map(|(namespace, name)| ObjectRef {
                api_version: "v1".into(),
                kind: "Service".into(),
                namespace: Some(namespace.into()),
                name: name.into(),
            }));
        });
    }
    found
}

fn arguments(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| arguments(item, each)),
        Value::Object(fields) => fields.values().for_each(|field| arguments(field, each)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::kubernetes::object::read_objects;

    #[test]
    fn definitions_and_the_operators_service_are_left() {
        let chart = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: probes.monitoring.coreos.com}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: operator}
spec: {template: {spec: {containers: [{args: [--kubelet-service=kube-system/f-kubelet, --log=info]}]}}}
";
        let objects = read_objects("chart", chart).expect("objects");
        assert_eq!(definitions(&objects), ["probes.monitoring.coreos.com"]);
        let left: Vec<String> = of_operators(&objects).iter().map(ObjectRef::to_string).collect();
        assert_eq!(left, ["Service kube-system/f-kubelet"]);
    }
}
