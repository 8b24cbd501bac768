//! The built program in a folder of its own, against a real cluster.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use sre::target::kubernetes::client::Cluster;
use sre::target::kubernetes::object::ObjectRef;

use super::{connect, kubeconfig, needs};

/// A folder of its own with a lab in a namespace of its own, which is taken down at the end, also of a failed test.
pub struct Place {
    pub folder: tempfile::TempDir,
    program: PathBuf,
    image_binary: PathBuf,
    kubeconfig: PathBuf,
    pub context: String,
    pub namespace: String,
    /// Folders that come first on PATH.
    path: Vec<PathBuf>,
}

impl Place {
    /// `None`, said loudly, where something is missing that the test needs.
    pub async fn new() -> Option<(Place, Cluster)> {
        let kubeconfig = kubeconfig()?;
        let image_binary = needs::variable("cluster", "SRE_TEST_STATIC", "static build of sre")?.into();
        let cluster = connect().await?;
        let program = std::env::var_os("SRE_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_sre").into());
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
            program: program.into(),
            image_binary,
            kubeconfig,
            context: cluster.context().to_owned(),
            namespace: format!("sre-test-run-{}", &uuid::Uuid::new_v4().to_string()[..6]),
            path: Vec::new(),
        };
        Some((place, cluster))
    }

    /// The program with these arguments, in this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
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
        if !self.path.is_empty() {
            let usual = std::env::var_os("PATH").unwrap_or_default();
            let all = self.path.iter().cloned().chain(std::env::split_paths(&usual));
            command.env("PATH", std::env::join_paths(all).unwrap());
        }
        command
    }

    fn sre(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Has `helm` be another program from now on, `helm3`; `false` where it is not on PATH.
    pub fn helm_is(&mut self, program: &str) -> bool {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|folder| folder.join(program))
            .find(|path| path.is_file());
        let Some(found) = found else { return false };
        let folder = self.folder.path().join(format!("bin-{program}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(found, folder.join("helm")).unwrap();
        self.path = vec![folder];
        true
    }

    /// Runs it, and expects an exit code; its stdout if that is 0, else its stderr.
    pub fn expect(&self, code: i32, arguments: &[&str]) -> String {
        Self::judged(code, &arguments.join(" "), &self.sre(arguments))
    }

    /// Runs it: its exit code, stdout and stderr.
    pub fn told(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.sre(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn judged(code: i32, what: &str, output: &Output) -> String {
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "sre {what}\n{stdout}\n{stderr}");
        match code {
            0 => stdout.into_owned(),
            _ => stderr.into_owned(),
        }
    }

    /// `sre up` of users-api in the place's namespace, as it is asked for the first time: with the tests' own charts,
    /// or those that `SRE_TEST_…_CHART` name, with the values of `SRE_TEST_VALUES`.
    pub fn up_command(&self, more: &[&str]) -> Command {
        let mut command = self.command(&["up", "--target", "cluster", "--context", &self.context]);
        command.args(["--set", &format!("namespace={}", self.namespace)]);
        for chart in ["monitoring", "loki", "collector"] {
            let path = std::env::var(format!("SRE_TEST_{}_CHART", chart.to_uppercase()))
                .unwrap_or_else(|_| format!("{}/tests/charts/{chart}", env!("CARGO_MANIFEST_DIR")));
            command.args(["--set", &format!("{chart}_chart={path}")]);
        }
        for values in std::env::var("SRE_TEST_VALUES").iter().flat_map(|all| all.split_whitespace()) {
            command.args(["--values", values]);
        }
        command.args(more);
        command
    }

    /// Runs it, and expects that it succeeds.
    pub fn up(&self, more: &[&str]) -> String {
        Self::judged(0, "up", &self.up_command(more).output().unwrap())
    }

    /// The folders of a scenario's runs, oldest first.
    pub fn runs(&self, scenario: &str) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.folder.path().join(".sre/runs")).into_iter().flatten().flatten();
        let ours = all.filter(|run| run.file_name().to_string_lossy().ends_with(&format!("-{scenario}")));
        let mut runs: Vec<PathBuf> = ours.map(|run| run.path()).collect();
        runs.sort();
        runs
    }

    /// How many seconds of load have passed in the newest run of a scenario.
    pub fn seconds_of_load(&self, scenario: &str) -> usize {
        let newest = self.runs(scenario).pop();
        let events = newest.and_then(|run| std::fs::read_to_string(run.join("events.ndjson")).ok());
        events.map_or(0, |events| events.matches("\"load-progress\"").count())
    }

    pub fn lab(&self) -> Value {
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

pub async fn is_there(cluster: &Cluster, object: &ObjectRef) -> bool {
    let Some((api, _)) = cluster.api(object, "default").await.unwrap() else { return false };
    api.get_opt(&object.name).await.unwrap().is_some()
}

pub fn named(kind: &str, api_version: &str, namespace: Option<&str>, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: namespace.map(str::to_owned),
        name: name.into(),
    }
}
