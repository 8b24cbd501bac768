//! Which images a plan's pods ask for.

use serde_json::Value;

use crate::error::Result;
use crate::target::kubernetes::helm::Helm;
use crate::target::kubernetes::image::{full_name, named_in};
use crate::target::kubernetes::object::read_objects;
use crate::target::kubernetes::plan::{Action, Plan};

/// The images of a plan's charts and manifests by their full names, in order, each once; those that the plan builds
/// itself are not among them.
///
/// # Errors
/// A chart cannot be rendered (6).
pub async fn of_plan(plan: &Plan, helm: Option<&Helm>) -> Result<Vec<String>> {
    let mut images = Vec::new();
    let mut own = Vec::new();
    for step in &plan.steps {
        match (&step.action, helm) {
            (Action::Chart(release), Some(helm)) => {
                let text = helm.template(release).await?;
                for object in read_objects(&format!("release {}", release.name), &text)? {
                    images.extend(of_objects(&object.data));
                }
            }
            (Action::Apply(objects), _) => {
                images.extend(objects.iter().flat_map(|object| of_objects(&object.data)));
            }
            (Action::Image(image), _) => own.push(full_name(&image.image)),
            _ => {}
        }
    }
    images.retain(|image| !own.contains(image));
    images.sort();
    images.dedup();
    Ok(images)
}

/// The images that an object asks for: those of its containers, and those that an operator is told to use.
pub fn of_objects(object: &Value) -> Vec<String> {
    let mut images = named_in(object);
    arguments(object, &mut images);
    images
}

/// The Prometheus operator's `--prometheus-config-reloader=IMAGE` is the image of a container in every pod it makes.
fn arguments(value: &Value, images: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| arguments(value, images)),
        Value::Array(items) => items.iter().for_each(|item| arguments(item, images)),
        Value::String(text) => {
            let image =
                text.strip_prefix("--prometheus-config-reloader=").filter(|image| image.contains('/'));
            images.extend(image.map(full_name));
        }
        _ => {}
    }
}

/// The file of an image in a mirror's `images/`: `quay.io_prometheus_prometheus_v3.15.0.tar`.
pub fn file_name(image: &str) -> String {
    let name: String = full_name(image)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
        .collect();
    format!("{name}.tar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_of_containers_and_of_what_operators_start_are_found() {
        let object = serde_json::json!({"spec": {"template": {"spec": {"containers": [{
            "image": "quay.io/prometheus-operator/prometheus-operator:v1",
            "args": ["--kubelet-service=kube-system/x", "--prometheus-config-reloader=quay.io/x/reloader:v1",
                "--thanos-default-base-image=quay.io/thanos/thanos:v1"],
        }]}}}});
        assert_eq!(
            of_objects(&object),
            ["quay.io/prometheus-operator/prometheus-operator:v1", "quay.io/x/reloader:v1"]
        );
    }

    #[test]
    fn the_file_of_an_image_follows_from_its_full_name() {
        assert_eq!(file_name("busybox"), "docker.io_library_busybox_latest.tar");
        assert_eq!(file_name("127.0.0.1:5000/a/b@sha256:00"), "127.0.0.1_5000_a_b_sha256_00.tar");
    }
}
