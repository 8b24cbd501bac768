//! Whether the images that a stack builds can come onto the nodes.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Node;

use super::cluster::of_error;
use crate::inspect::Finding;
use crate::interrupt::Interrupt;
use crate::stack::ClusterStack;
use crate::target::kubernetes::build::Builder;
use crate::target::kubernetes::image::{self, Loader, full_name};
use crate::target::kubernetes::minikube::Minikube;

/// How images come onto the nodes, as the command line and the lab have it.
pub struct Way<'a> {
    /// The static program that images hold.
    pub program: Option<PathBuf>,
    /// The command that loads archives, where one is named.
    pub loader: Option<&'a str>,
    /// Whether minikube loads them.
    pub minikube: bool,
}

/// The findings: of the program that images hold, and of the way onto nodes that lack them.
pub fn findings(stack: &ClusterStack, nodes: &[Node], way: &Way<'_>) -> Vec<Finding> {
    const NAME: &str = "image";
    let own: Vec<&str> = stack
        .images
        .values()
        .filter(|image| image.dockerfile.is_none())
        .map(|image| image.image.as_str())
        .collect();
    if own.is_empty() {
        return Vec::new();
    }
    let program = match image::program(way.program.clone()) {
        Ok(program) => program,
        Err(error) => return vec![Finding::error(NAME, error.what(), error.next_step().unwrap_or_default())],
    };
    let tag = match image::tag(&program) {
        Ok(tag) => tag,
        Err(error) => return vec![Finding::error(NAME, error.what(), error.next_step().unwrap_or_default())],
    };
    let names: Vec<String> = own.iter().map(|name| full_name(&format!("{name}:{tag}"))).collect();
    let lacking = lacking(nodes, &names);
    vec![if lacking.is_empty() && !nodes.is_empty() {
        Finding::ok(NAME, format!("{} is on every node", names.join(", ")))
    } else if way.minikube {
        Finding::ok(NAME, format!("{}, by minikube image load", names.join(", ")))
    } else if let Some(loader) = way.loader {
        Finding::ok(NAME, format!("{}, by {loader}", names.join(", ")))
    } else {
        Finding::error(
            NAME,
            format!("{} is not on {}, and no way there is named", names.join(", "), lacking.join(", ")),
            "name the command that loads an archive onto the nodes:\n\
             sre up --image-loader 'kind load image-archive {archive}'",
        )
    }]
}

/// Whether something builds the images that have a Dockerfile; nothing, if none has.
pub async fn builder(stack: &ClusterStack, minikube: Option<&str>, interrupt: &Interrupt) -> Option<Finding> {
    const NAME: &str = "image builder";
    let images: Vec<&str> =
        stack.images.values().filter(|image| image.dockerfile.is_some()).map(|image| &*image.image).collect();
    if images.is_empty() {
        return None;
    }
    let loader = minikube.map(|profile| Loader::Minikube(Minikube::new(profile, interrupt)));
    Some(match Builder::find("docker", loader.as_ref(), interrupt).await {
        Ok(Builder::Docker(_)) => Finding::ok(NAME, format!("docker, for {}", images.join(", "))),
        Ok(Builder::Minikube(_)) => {
            Finding::ok(NAME, format!("minikube image build, for {}", images.join(", ")))
        }
        Err(error) => of_error(NAME, &error, "start Docker"),
    })
}

/// The nodes that lack one of the images, by their own word: they name fifty at most.
fn lacking<'a>(nodes: &'a [Node], images: &[String]) -> Vec<&'a str> {
    let has = |node: &Node, image: &String| {
        let listed = node.status.iter().flat_map(|status| status.images.iter().flatten());
        listed.into_iter().any(|listed| listed.names.iter().flatten().any(|name| name == image))
    };
    nodes
        .iter()
        .filter(|node| !images.iter().all(|image| has(node, image)))
        .filter_map(|node| node.metadata.name.as_deref())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_without_an_image_are_named() {
        let node = |name: &str, images: &[&str]| -> Node {
            serde_json::from_value(
                json!({"metadata": {"name": name}, "status": {"images": [{"names": images}]}}),
            )
            .expect("a node")
        };
        let nodes = [node("n1", &["docker.io/library/sre:1"]), node("n2", &[])];
        assert_eq!(lacking(&nodes, &["docker.io/library/sre:1".into()]), ["n2"]);
    }
}
