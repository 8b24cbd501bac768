//! What tests against a real cluster share.
#![allow(clippy::unwrap_used, clippy::print_stderr, dead_code)]

#[path = "../support/needs.rs"]
pub mod needs;
pub mod place;
pub mod shop;
pub mod standin;

use std::path::PathBuf;

use kube::config::Kubeconfig;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use sre::target::kubernetes::apply::{Mode, content, delete, ensure_namespace};
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::object::ObjectRef;

/// The kubeconfig that tests may use; says loudly that a test is skipped where there is none.
pub fn kubeconfig() -> Option<PathBuf> {
    needs::variable("cluster", "SRE_TEST_KUBECONFIG", "cluster").map(PathBuf::from)
}

pub fn image() -> String {
    std::env::var("SRE_TEST_IMAGE").unwrap_or_else(|_| "lab.local/busybox:lab".into())
}

pub async fn connect() -> Option<Cluster> {
    let path = kubeconfig()?;
    let context = Kubeconfig::read_from(&path).unwrap().current_context.unwrap();
    Some(Cluster::connect(Some(&path), Some(&context)).await.unwrap())
}

/// What faults could have changed of an object: without what the server and the controllers keep.
pub async fn disturbable(cluster: &Cluster, object: &ObjectRef) -> Value {
    let (api, _) = cluster.api(object, "default").await.unwrap().unwrap();
    let mut value = content(&api.get(&object.name).await.unwrap());
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        // The controller's own count of rollouts.
        annotations.shift_remove("deployment.kubernetes.io/revision");
    }
    value
}

/// How often something is to be killed, where `SRE_SOAK` says nothing else, and the moments; `SRE_SEED` repeats those of an
/// earlier run.
pub fn kills(usually: u64) -> (u64, StdRng) {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let times = read("SRE_SOAK").unwrap_or(usually);
    let seed = read("SRE_SEED").unwrap_or(rand::random());
    eprintln!("SRE_SEED={seed} SRE_SOAK={times}");
    (times, StdRng::seed_from_u64(seed))
}

/// Runs a test in a namespace of its own, which is deleted at the end, also of a failed test.
pub async fn in_namespace<F: Future<Output = ()> + Send + 'static>(
    test: &str,
    body: impl FnOnce(Cluster, String) -> F,
) {
    let Some(cluster) = connect().await else { return };
    let namespace = format!("sre-test-{test}-{}", &uuid::Uuid::new_v4().to_string()[..6]);
    assert!(ensure_namespace(&cluster, &namespace, Mode::Write).await.unwrap(), "the namespace is new");
    let result = tokio::spawn(body(cluster.clone(), namespace.clone())).await;
    assert!(
        delete(&cluster, &ObjectRef::of_namespace(&namespace)).await.unwrap(),
        "the namespace was there still"
    );
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}
