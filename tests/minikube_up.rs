//! `sre up --target minikube` and `sre down`, from the built program, with the real minikube: from nothing, again,
//! stopped, half-started by `kill -9`, deleted behind our back, `--fresh`, `--keep-cluster`, somebody else's profile.
//!
//! Runs where `SRE_TEST_MINIKUBE` names a profile that it may create and delete; `minikube` is on PATH. The main job on
//! minikube needs `SRE_TEST_STATIC`, a static build of `sre`, helm on PATH, and a mirror (`SRE_MIRROR`), named by
//! `SRE_TEST_MIRROR`, with the images that the charts of the tests ask for, docker.io/library/sre:test among them.
#![allow(clippy::unwrap_used)]

#[path = "support/needs.rs"]
mod needs;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// There is one machine, so one test has it at a time.
static MACHINE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// How long one command may take, in seconds; a start takes about 20 s, the main job three minutes.
const BOUND: &str = "300";

/// The stack's addon. Not metrics-server, until which is ready, a minute after a start, no namespace goes.
const ADDON: &str = "volumesnapshots";

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
    addons: [volumesnapshots]
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
        let profile = needs::variable("minikube", "SRE_TEST_MINIKUBE", "profile")?;
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
        self.in_folder(Command::new(program()), arguments)
    }

    /// A start that hangs is a failure, not a test that never ends.
    fn bounded(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=INT", BOUND]).arg(program());
        self.in_folder(command, arguments)
    }

    fn in_folder(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.folder.path());
        for other in ["SRE_TARGET", "SRE_YES", "SRE_MIRROR", "SRE_IMAGE_LOADER", "SRE_IMAGE_BINARY"] {
            command.env_remove(other);
        }
        command
    }

    /// Runs it, and expects an exit code; what it wrote to stdout and stderr.
    fn expect(&self, code: i32, arguments: &[&str]) -> (String, String) {
        judged(code, &mut self.bounded(arguments))
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

    fn has_addon(&self) -> bool {
        let addons: Value =
            serde_json::from_str(&self.minikube(&["addons", "list", "-o", "json"]).1).unwrap();
        addons[ADDON]["Status"] == "enabled"
    }

    /// Waits until minikube has noted how it reaches its machine. With the driver `ssh` one that is killed before that
    /// leaves a profile that it can neither start nor delete any more (1.38.1).
    fn wait_for_the_machine(&self) {
        let home = PathBuf::from(std::env::var_os("MINIKUBE_HOME").expect("MINIKUBE_HOME is set"));
        let file = home.join(".minikube/machines").join(&self.profile).join("config.json");
        let begun = Instant::now();
        let is_noted = || {
            let config: Option<Value> = serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok();
            config?["Driver"]["SSHKeyPath"].as_str().map(|path| !path.is_empty())
        };
        while is_noted() != Some(true) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{} does not name the key", file.display());
            std::thread::sleep(Duration::from_millis(50));
        }
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

/// Runs a command, and expects an exit code; what it wrote to stdout and stderr.
fn judged(code: i32, command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
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
    for part in ["--nodes=3", "--driver=docker", "--addons=volumesnapshots", "kind: ConfigMap"] {
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
    assert!(place.has_addon());

    // Again: nothing changes, and it takes seconds.
    let started = Instant::now();
    place.up(0, &[]);
    assert!(started.elapsed() < Duration::from_secs(15), "a second up took {:?}", started.elapsed());
    assert_eq!(place.lab().unwrap(), first);
    let other = place.expect(2, &["up", "tiny", "--set", "profile=another"]).1;
    assert!(other.contains("the lab here is on minikube's profile"), "{other}");

    // Stopped: told at once, and started.
    assert_eq!(place.minikube(&["stop"]).0, 0);
    let stopped = place.expect(6, &["status"]).1;
    assert!(stopped.contains("does not run") && stopped.contains("sre up starts it"), "{stopped}");
    place.up(0, &[]);
    assert_eq!(place.minikube(&["status"]).0, 0);
    assert_eq!(place.lab().unwrap()["cluster"]["identity"], first["cluster"]["identity"], "the same cluster");

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
    assert_eq!(place.minikube(&["addons", "disable", ADDON]).0, 0);
    let unasked = place.up(5, &[]);
    assert!(unasked.contains("is there already") && unasked.contains(ADDON), "{unasked}");
    place.up(0, &["--yes"]);
    assert_eq!(place.lab().unwrap()["cluster"]["minikube"]["created"], false);
    assert!(place.has_addon(), "it is enabled in a profile that runs, too");
    place.expect(0, &["down", "--yes"]);
    assert!(place.has_profile());
    assert!(!place.kubectl(&["get", "nodes", "-o", "yaml"]).contains("zone-a"), "the labels are gone");
    place.expect(0, &["down", "--yes"]);
}

#[test]
fn a_killed_up_is_mended_by_the_next() {
    let Some(place) = Place::new() else { return };
    let set = format!("profile={}", place.profile);
    // Early in minikube's start, and late in the start that mends it: these seconds after it has the machine.
    for seconds in [1, 6] {
        let mut command = place.command(&place.up_arguments(&set, &["-v"]));
        let mut killed = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(killed.stderr.take().unwrap()).lines().map_while(Result::ok);
        let begun = lines.find(|line| line.contains("starting profile"));
        assert!(begun.is_some(), "minikube was not started");
        place.wait_for_the_machine();
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
    let Some(program) = needs::variable("minikube", "SRE_TEST_STATIC", "static build of sre") else { return };
    let Some(mirror) = needs::variable("minikube", "SRE_TEST_MIRROR", "mirror") else { return };
    // The shipped stack on the test's profile.
    place.expect(0, &["init"]);
    let stack = place.folder.path().join("stacks/users-api/stack.yaml");
    let text = std::fs::read_to_string(&stack).unwrap();
    let section = "  minikube:\n";
    assert!(text.contains(section), "{text}");
    std::fs::write(&stack, text.replace(section, &format!("{section}    profile: {}\n", place.profile)))
        .unwrap();
    let mut run = place.bounded(&["run", "errors", "--target", "minikube", "-o", "json"]);
    for chart in ["monitoring", "loki", "collector"] {
        let path = format!("{chart}_chart={}/tests/charts/{chart}", env!("CARGO_MANIFEST_DIR"));
        run.args(["--set", &path]);
    }
    run.env("SRE_MIRROR", mirror).env("SRE_IMAGE_BINARY", &program);
    let (stdout, _) = judged(0, &mut run);
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&result["verdict"], &result["target"]), (&"pass".into(), &"minikube".into()));
    let requests = &result["requests"];
    assert_eq!((&requests["sent"], &requests["counted"]), (&12_000.into(), &12_000.into()), "{requests}");
    let checks = result["checks"].as_array().unwrap();
    let logs = checks.iter().find(|check| check["kind"] == "logs").unwrap();
    assert_eq!(logs["verdict"], "pass", "{logs}");

    place.expect(0, &["status"]);
    judged(0, place.bounded(&["doctor"]).env("SRE_IMAGE_BINARY", &program));
    assert!(place.expect(0, &["logs", "app"]).0.contains("request_id"));
    place.expect(0, &["down", "--yes"]);
    assert!(!place.has_profile());
}
