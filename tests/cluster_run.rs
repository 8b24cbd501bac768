//! The main job on a real cluster, from the built program: up, `run errors`, up again, discovery in each way, down.
//!
//! Any cluster, named by `SRE_TEST_KUBECONFIG`, whose nodes' ports can be reached from here. `SRE_TEST_STATIC` is a
//! static build of `sre`, for the image of the service, `SRE_TEST_IMAGE_LOADER` the command that loads it onto the nodes
//! (`--image-loader`), and helm is on PATH. `SRE_TEST_PROGRAM` is the `sre` that is tested, if not the one of this build. The monitoring is a chart of the tests' own that runs the real
//! operator, Prometheus and Alertmanager; Loki and the collector likewise. `SRE_TEST_MONITORING_CHART`, `SRE_TEST_LOKI_CHART`
//! and `SRE_TEST_COLLECTOR_CHART` name others, such as folders of the real charts, and `SRE_TEST_VALUES` values for them
//! (`monitoring=FILE loki=FILE`): `tests/charts/real/` has those for clusters that lack the images.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::{connect, kubeconfig};
use serde_json::Value;
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::object::ObjectRef;

/// A folder of its own with a lab in a namespace of its own, which is taken down at the end, also of a failed test.
struct Place {
    folder: tempfile::TempDir,
    program: PathBuf,
    image_binary: PathBuf,
    kubeconfig: PathBuf,
    context: String,
    namespace: String,
}

impl Place {
    /// `None`, said loudly, where something is missing that the test needs.
    async fn new() -> Option<(Place, Cluster)> {
        let kubeconfig = kubeconfig()?;
        let Some(image_binary) = std::env::var_os("SRE_TEST_STATIC").map(PathBuf::from) else {
            eprintln!("SKIPPED: SRE_TEST_STATIC names no static build of sre");
            return None;
        };
        let cluster = connect().await?;
        let program = std::env::var_os("SRE_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_sre").into());
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
            program: program.into(),
            image_binary,
            kubeconfig,
            context: cluster.context().to_owned(),
            namespace: format!("sre-test-run-{}", &uuid::Uuid::new_v4().to_string()[..6]),
        };
        Some((place, cluster))
    }

    fn sre(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("SRE_IMAGE_BINARY", &self.image_binary);
        if let Some(loader) = std::env::var_os("SRE_TEST_IMAGE_LOADER") {
            command.env("SRE_IMAGE_LOADER", loader);
        }
        for other in ["SRE_TARGET", "SRE_YES", "SRE_MIRROR"] {
            command.env_remove(other);
        }
        command.output().unwrap()
    }

    /// Runs it, and expects an exit code.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.sre(arguments);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "sre {arguments:?}\n{stdout}\n{stderr}");
        match code {
            0 => stdout.into_owned(),
            _ => stderr.into_owned(),
        }
    }

    fn up(&self, more: &[&str]) -> String {
        let arguments = self.up_arguments();
        let base: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.expect(0, &[&base[..], more].concat())
    }

    /// With the tests' own charts, or those that `SRE_TEST_…_CHART` name, with the values of `SRE_TEST_VALUES`.
    fn up_arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["up", "--target", "cluster", "--context", &self.context].map(String::from).into();
        arguments.extend(["--set".into(), format!("namespace={}", self.namespace)]);
        for chart in ["monitoring", "loki", "collector"] {
            let path = std::env::var(format!("SRE_TEST_{}_CHART", chart.to_uppercase()))
                .unwrap_or_else(|_| format!("{}/tests/charts/{chart}", env!("CARGO_MANIFEST_DIR")));
            arguments.extend(["--set".into(), format!("{chart}_chart={path}")]);
        }
        for values in std::env::var("SRE_TEST_VALUES").iter().flat_map(|all| all.split_whitespace()) {
            arguments.extend(["--values".into(), values.into()]);
        }
        arguments
    }

    fn lab(&self) -> Value {
        let text = std::fs::read_to_string(self.folder.path().join(".sre/lab.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.folder.path().join(".sre/lab.json").exists() {
            let output = self.sre(&["down", "--yes"]);
            eprintln!("cleaned up: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

async fn is_there(cluster: &Cluster, object: &ObjectRef) -> bool {
    let Some((api, _)) = cluster.api(object, "default").await.unwrap() else { return false };
    api.get_opt(&object.name).await.unwrap().is_some()
}

fn named(kind: &str, api_version: &str, namespace: Option<&str>, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: namespace.map(str::to_owned),
        name: name.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_pass_on_three_replicas_and_nothing_is_left() {
    let Some((place, cluster)) = Place::new().await else { return };
    let definition = named(
        "CustomResourceDefinition",
        "apiextensions.k8s.io/v1",
        None,
        "prometheuses.monitoring.coreos.com",
    );
    let had_definition = is_there(&cluster, &definition).await;
    let namespace = named("Namespace", "v1", None, &place.namespace);

    // A context is never guessed, never changed without consent, and a preview changes nothing.
    let refused = place.expect(2, &["up", "--target", "cluster"]);
    assert!(refused.contains(&place.context), "{refused}");
    let unasked = place.expect(5, &["up", "--target", "cluster", "--context", &place.context]);
    assert!(unasked.contains("consent was not given"), "{unasked}");
    let preview = place.up(&["--dry-run"]);
    assert!(preview.contains("kind: ServiceMonitor") && preview.contains("kind: Alertmanager"), "{preview}");
    assert!(!is_there(&cluster, &namespace).await);

    place.up(&["--yes"]);
    let first = place.lab();
    assert_eq!(first["complete"], true);

    // No consent is needed for what is up here already.
    let again = Instant::now();
    place.expect(0, &["up"]);
    assert!(again.elapsed() < Duration::from_secs(15), "a second up took {:?}", again.elapsed());
    assert_eq!(place.lab(), first, "a second up changes nothing");

    let other = place.expect(2, &["up", "--target", "local"]);
    assert!(other.contains("the target cluster is up here"), "{other}");

    let result: Value =
        serde_json::from_str(&place.expect(0, &["run", "errors", "--duration", "20s", "-o", "json"]))
            .unwrap();
    assert_eq!(result["verdict"], "pass");
    assert_eq!(result["target"], "cluster");
    assert_eq!(result["requests"]["sent"], 4000);
    assert_eq!(result["requests"]["counted"], 4000);
    let reconciled = result["checks"].as_array().unwrap().iter().filter(|c| c["kind"] == "reconcile");
    assert!(
        reconciled.clone().count() >= 3 && reconciled.clone().all(|c| c["verdict"] == "pass"),
        "{result}"
    );

    for way in ["annotations", "servicemonitor"] {
        place.expect(0, &["up", "--set", &format!("discovery={way}")]);
        let result = place.expect(0, &["run", "baseline", "--duration", "3s", "-o", "json"]);
        assert!(result.contains("\"verdict\": \"pass\""), "{way}: {result}");
    }

    place.expect(0, &["down", "--yes"]);
    assert!(!place.folder.path().join(".sre/lab.json").exists());
    assert!(!is_there(&cluster, &namespace).await);
    let monitoring = format!("{}-monitoring", place.namespace);
    assert!(!is_there(&cluster, &named("Namespace", "v1", None, &monitoring)).await);
    let kubelet = named("Service", "v1", Some("kube-system"), &format!("{monitoring}-kubelet"));
    assert!(!is_there(&cluster, &kubelet).await);
    assert_eq!(is_there(&cluster, &definition).await, had_definition);
    place.expect(0, &["down", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_told_before_anything_is_changed() {
    let Some((place, _)) = Place::new().await else { return };
    let unknown = place.expect(2, &["up", "--target", "cluster", "--context", "nowhere"]);
    assert!(unknown.contains("no context `nowhere`"), "{unknown}");
    let dynamic = Path::new("/bin/true").display().to_string();
    let arguments =
        ["up", "--target", "cluster", "--context", &place.context, "--yes", "--image-binary", &dynamic];
    let refused = place.expect(5, &arguments);
    assert!(refused.contains("not a static program"), "{refused}");
    assert!(!place.folder.path().join(".sre/lab.json").exists());
}
