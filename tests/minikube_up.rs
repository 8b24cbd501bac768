//! `sre up --target minikube` and `sre down`, from the built program, with the real minikube: from nothing, again,
//! stopped, half-started by `kill -9`, deleted behind our back, `--fresh`, `--keep-cluster`, somebody else's profile.
//!
//! Runs where `SRE_TEST_MINIKUBE` names a profile that it may create and delete; `minikube` is on PATH. The main job on
//! minikube needs `SRE_TEST_STATIC`, a static build of `sre`, helm on PATH, and images of the monitoring in the archives
//! that `SRE_TEST_MINIKUBE_IMAGES` names, which are loaded once the cluster is there.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// There is one machine, so one test has it at a time.
static MACHINE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// How long one command may take, in seconds; a start takes about 20 s.
const BOUND: &str = "200";

/// A stack that needs nothing but a cluster: a ConfigMap, a zone, an addon.
const STACK: &str = r#"
name: tiny
description: A ConfigMap
counter: {metric: requests_total}
parameters:
  profile: {description: minikube's profile, default: sre}
  nodes: {description: how many, default: 1}
  driver: {description: which, default: ssh}
cluster:
  namespace: tiny
  zones: [zone-a, zone-b]
  manifests:
    settings: {files: [manifests/settings.yaml]}
  minikube:
    profile: ${profile}
    nodes: ${nodes}
    driver: ${driver}
    addons: [metrics-server]
"#;

const MANIFESTS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: \"1\"}\n";

/// A folder with the stack, on a machine without the profile; it is deleted at the end, also of a failed test.
struct Place {
    folder: tempfile::TempDir,
    profile: String,
    _machine: std::sync::MutexGuard<'static, ()>,
}

impl Place {
    fn new() -> Option<Place> {
        let Ok(profile) = std::env::var("SRE_TEST_MINIKUBE") else {
            eprintln!("SKIPPED: SRE_TEST_MINIKUBE names no profile");
            return None;
        };
        let machine = MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [("stacks/tiny/stack.yaml", STACK), ("manifests/settings.yaml", MANIFESTS)] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let place = Place { folder, profile, _machine: machine };
        place.minikube(&["delete"]);
        Some(place)
    }

    fn minikube(&self, arguments: &[&str]) -> (i32, String) {
        // First, as what follows `kubectl --` is not minikube's.
        let output =
            Command::new("minikube").args(["--profile", &self.profile]).args(arguments).output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(self.folder.path());
        for other in ["SRE_TARGET", "SRE_YES", "SRE_MIRROR", "SRE_IMAGE_LOADER"] {
            command.env_remove(other);
        }
        command
    }

    /// Runs it, and expects an exit code; what it wrote to stdout and stderr.
    fn expect(&self, code: i32, arguments: &[&str]) -> (String, String) {
        // A start that hangs is a failure, not a test that never ends.
        let plain = self.command(arguments);
        let mut bounded = Command::new("timeout");
        bounded.args(["--signal=INT", BOUND]).arg(plain.get_program()).args(plain.get_args());
        bounded.current_dir(self.folder.path());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => bounded.env(name, value),
                None => bounded.env_remove(name),
            };
        }
        let output = bounded.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "sre {arguments:?}\n{stdout}\n{stderr}");
        (stdout, stderr)
    }

    fn up_arguments<'a>(&'a self, set: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["up", "tiny", "--target", "minikube", "--set", set][..], more].concat()
    }

    /// `up` of the tiny stack on the test's profile.
    fn up(&self, code: i32, more: &[&str]) -> String {
        let set = format!("profile={}", self.profile);
        self.expect(code, &self.up_arguments(&set, more)).1
    }

    fn lab(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.folder.path().join(".sre/lab.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let all = [&["kubectl", "--"][..], arguments].concat();
        self.minikube(&all).1
    }

    fn has_profile(&self) -> bool {
        self.minikube(&["status"]).0 != 85
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.minikube(&["delete"]);
    }
}

fn program() -> PathBuf {
    std::env::var_os("SRE_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_sre").into()).into()
}

#[test]
fn a_profile_comes_from_nothing_stays_and_is_mended() {
    let Some(place) = Place::new() else { return };
    // Shown, not done.
    let set = format!("profile={}", place.profile);
    let more = ["--dry-run", "--set", "nodes=3", "--set", "driver=docker"];
    let preview = place.expect(0, &place.up_arguments(&set, &more)).0;
    for part in ["--nodes=3", "--driver=docker", "--addons=metrics-server", "kind: ConfigMap"] {
        assert!(preview.contains(part), "{part}: {preview}");
    }
    assert!(!place.has_profile());
    // minikube's own reason, and what it advises.
    let refused = place.up(5, &["--set", "driver=nosuch"]);
    assert!(refused.contains("DRV_UNSUPPORTED_OS"), "{refused}");
    place.expect(0, &["down", "--yes"]);

    // From nothing, without a question: it is `sre`'s own.
    place.up(0, &[]);
    let first = place.lab().unwrap();
    assert_eq!(first["cluster"]["minikube"]["created"], true);
    assert!(
        place.kubectl(&["get", "configmap", "settings", "-n", "tiny", "-o", "name"]).contains("settings")
    );
    let zones = place.kubectl(&["get", "nodes", "-L", "topology.kubernetes.io/zone"]);
    assert!(zones.contains("zone-a"), "{zones}");
    let addons: Value = serde_json::from_str(&place.minikube(&["addons", "list", "-o", "json"]).1).unwrap();
    assert_eq!(addons["metrics-server"]["Status"], "enabled");

    // Again: nothing changes, and it takes seconds.
    let started = Instant::now();
    place.up(0, &[]);
    assert!(started.elapsed() < Duration::from_secs(15), "a second up took {:?}", started.elapsed());
    assert_eq!(place.lab().unwrap(), first);
    let other = place.expect(2, &["up", "tiny", "--set", "profile=another"]).1;
    assert!(other.contains("the lab here is on minikube's profile"), "{other}");

    // Deleted behind our back: told at once, and made again.
    place.minikube(&["delete"]);
    let gone = place.expect(6, &["status"]).1;
    assert!(gone.contains("is not there any more"), "{gone}");
    place.up(0, &[]);
    let second = place.lab().unwrap();
    assert_ne!(second["cluster"]["identity"], first["cluster"]["identity"]);
    assert!(
        place.kubectl(&["get", "configmap", "settings", "-n", "tiny", "-o", "name"]).contains("settings")
    );

    // Replaced, with consent only.
    let unasked = place.up(5, &["--fresh"]);
    assert!(unasked.contains("will be deleted"), "{unasked}");
    place.up(0, &["--fresh", "--yes"]);
    assert_ne!(place.lab().unwrap()["cluster"]["identity"], second["cluster"]["identity"]);

    // Taken down: first what is on it, then the profile.
    place.expect(0, &["down", "--keep-cluster", "--yes"]);
    assert!(place.has_profile() && place.lab().is_none());
    let left = place.kubectl(&["get", "namespaces", "-o", "name"]);
    assert!(!left.contains("tiny"), "{left}");

    // What is there now is not `sre`'s: it asks, and leaves it.
    let unasked = place.up(5, &[]);
    assert!(unasked.contains("is there already"), "{unasked}");
    place.up(0, &["--yes"]);
    assert_eq!(place.lab().unwrap()["cluster"]["minikube"]["created"], false);
    place.expect(0, &["down", "--yes"]);
    assert!(place.has_profile());
    assert!(!place.kubectl(&["get", "nodes", "-o", "yaml"]).contains("zone-a"), "the labels are gone");
    place.expect(0, &["down", "--yes"]);
}

#[test]
fn a_stopped_profile_is_told_at_once_and_started() {
    let Some(place) = Place::new() else { return };
    place.up(0, &[]);
    let first = place.lab().unwrap();
    assert_eq!(place.minikube(&["stop"]).0, 0);
    let stopped = place.expect(6, &["status"]).1;
    assert!(stopped.contains("does not run") && stopped.contains("sre up starts it"), "{stopped}");
    place.up(0, &[]);
    assert_eq!(place.minikube(&["status"]).0, 0);
    assert_eq!(place.lab().unwrap()["cluster"]["identity"], first["cluster"]["identity"], "the same cluster");
    place.expect(0, &["down", "--yes"]);
}

#[test]
fn a_killed_up_is_mended_by_the_next() {
    let Some(place) = Place::new() else { return };
    let set = format!("profile={}", place.profile);
    // While minikube starts, and later while the plan is carried out.
    for seconds in [4, 9] {
        let mut command = place.command(&place.up_arguments(&set, &["-v"]));
        let mut killed = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(killed.stderr.take().unwrap()).lines().map_while(Result::ok);
        let begun = lines.find(|line| line.contains("starting profile"));
        assert!(begun.is_some(), "minikube was not started");
        // The moment is what is tested: nothing tells that it has come.
        std::thread::sleep(Duration::from_secs(seconds));
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert!(place.lab().is_some(), "whose profile it is was written down first");
    }
    place.up(0, &[]);
    assert_eq!(place.minikube(&["status"]).0, 0);
    assert_eq!(place.lab().unwrap()["complete"], true);
    place.expect(0, &["down", "--yes"]);
    assert!(!place.has_profile());
}

#[test]
fn the_main_job_passes_on_minikube_from_a_deleted_profile() {
    let Some(place) = Place::new() else { return };
    let (Some(program), Some(images)) =
        (std::env::var_os("SRE_TEST_STATIC"), std::env::var_os("SRE_TEST_MINIKUBE_IMAGES"))
    else {
        eprintln!("SKIPPED: SRE_TEST_STATIC or SRE_TEST_MINIKUBE_IMAGES is not set");
        return;
    };
    // The shipped stack on the test's profile; images come from archives, because nothing can be pulled here.
    place.expect(0, &["init"]);
    let stack = place.folder.path().join("stacks/users-api/stack.yaml");
    let text = std::fs::read_to_string(&stack).unwrap();
    let section = "  minikube:\n";
    assert!(text.contains(section), "{text}");
    std::fs::write(&stack, text.replace(section, &format!("{section}    profile: {}\n", place.profile)))
        .unwrap();
    let chart = format!("monitoring_chart={}/tests/charts/monitoring", env!("CARGO_MANIFEST_DIR"));
    let loaded = place.folder.path().join("loaded");
    let loading = std::thread::scope(|scope| {
        let images = scope.spawn(|| {
            let started = Instant::now();
            while place.minikube(&["status"]).0 != 0 {
                assert!(started.elapsed() < Duration::from_secs(120), "the cluster did not come");
                std::thread::sleep(Duration::from_secs(1));
            }
            for archive in std::env::split_paths(&images) {
                let (code, told) = place.minikube(&["image", "load", &archive.display().to_string()]);
                assert_eq!(code, 0, "{told}");
            }
            std::fs::write(&loaded, "").unwrap();
        });
        let mut run =
            place.command(&["run", "errors", "--target", "minikube", "--duration", "20s", "-o", "json"]);
        let output = run.args(["--set", &chart]).env("SRE_IMAGE_BINARY", &program).output().unwrap();
        images.join().unwrap();
        output
    });
    let (stdout, stderr) =
        (String::from_utf8_lossy(&loading.stdout), String::from_utf8_lossy(&loading.stderr));
    assert_eq!(loading.status.code(), Some(0), "{stdout}\n{stderr}");
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(result["verdict"], "pass");
    assert_eq!(result["target"], "minikube");
    assert_eq!(result["requests"]["sent"], result["requests"]["counted"]);
    place.expect(0, &["status"]);
    place.expect(0, &["doctor"]);
    place.expect(0, &["down", "--yes"]);
    assert!(!place.has_profile());
}
