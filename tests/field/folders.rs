//! A folder that came from somewhere else: a clone, an archive, a colleague, with a `.sre` in it that this user never
//! wrote. Nothing in it is run, connected to, or written through.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sre::target::{Folder, Lab};

/// A folder with a `.sre` that would have `sre` run, call and delete things, in each way that there is.
struct Hostile {
    place: tempfile::TempDir,
    trap: TcpListener,
}

impl Hostile {
    fn new() -> Hostile {
        let place = tempfile::tempdir().expect("a folder");
        let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
        trap.set_nonblocking(true).expect("it is asked, not waited for");
        let hostile = Hostile { place, trap };
        for folder in ["work/.sre/journal", "work/.sre/jobs", "work/.sre/runs", "state"] {
            std::fs::create_dir_all(hostile.path(folder)).expect("a folder");
        }
        hostile.plant();
        hostile
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn write(&self, name: &str, value: &Value) {
        std::fs::write(self.path("work/.sre").join(name), value.to_string()).expect("written");
    }

    /// Four ways to a program, and one to a request, as a stranger would plant them.
    fn plant(&self) {
        let trap = format!("http://{}/", self.trap.local_addr().expect("an address"));
        let process = json!({
            "name": "p", "pid": 4_194_303, "started": 1, "program": "/usr/bin/touch",
            "arguments": [self.path("RAN-PROGRAM")], "log": self.path("p.log"),
        });
        self.write(
            "lab.json",
            &json!({
                "schema": "sre.lab/v1", "stack": "users-api", "target": "local", "parameters": {}, "complete": true,
                "endpoints": {"replicas": [], "prometheus": {"url": trap}}, "processes": [process],
            }),
        );
        let entry = |id: &str, touched: Value| {
            json!({
                "schema": "sre.fault/v1", "id": id, "description": "d", "state": "injected", "owner": 1,
                "until": "1970-01-01T00:00:00Z", "touched": [touched],
            })
        };
        let cluster = json!({"context": "c", "kubeconfig": ".sre/kubeconfig", "identity": ""});
        let node = json!({"api_version": "v1", "kind": "Node", "namespace": null, "name": "n"});
        let start = format!("touch {}", self.path("RAN-NODE").display());
        let record = json!({
            "schema": "sre.fault/v1", "id": "node", "fault": "f", "by": {"host": "h", "pid": 1},
            "until": "1970-01-01T00:00:00Z",
            "effects": [{"do": "node", "node": "n", "stop": "true", "start": start}],
        });
        let touched = [
            ("killed", json!({"kind": "killed", "process": process, "url": trap})),
            (
                "switches",
                json!({
                    "kind": "switches", "replica": "p", "admin": trap, "process": null, "switches": {"latency_ms": 1},
                }),
            ),
            ("node", json!({"kind": "object", "cluster": cluster, "on": node, "record": record})),
        ];
        for (id, touched) in touched {
            self.write(&format!("journal/{id}.json"), &entry(id, touched));
        }
        self.write(
            "jobs/a.json",
            &json!({"context": "c", "kubeconfig": ".sre/kubeconfig", "identity": "", "namespace": "d", "name": "n"}),
        );
        let run = self.path("RAN-PLUGIN");
        self.write(
            "kubeconfig",
            &json!({
                "apiVersion": "v1", "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": trap}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {"exec": {
                    "apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [run],
                    "interactiveMode": "Never",
                }}}],
            }),
        );
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path("work")).stdin(Stdio::null());
        for name in ["SRE_TARGET", "SRE_YES", "SRE_MIRROR", "KUBECONFIG"] {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", self.path("state"));
        command
    }

    /// Its exit code, and what it wrote to stderr.
    fn sre(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(env!("CARGO_BIN_EXE_sre"), arguments).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), stderr)
    }

    /// Nothing that was planted had an effect.
    #[track_caller]
    fn assert_harmless(&self, what: &str) {
        for ran in ["RAN-PROGRAM", "RAN-NODE", "RAN-PLUGIN", "p.log"] {
            assert!(!self.path(ran).exists(), "{what}: {ran}");
        }
        assert!(self.trap.accept().is_err(), "{what}: it connected to what was planted");
    }

    /// Every file below the working folder, with its content.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(folder: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                match entry.path() {
                    path if path.is_dir() => walk(&path, into),
                    path => into.push((path.clone(), std::fs::read(path).unwrap_or_default())),
                }
            }
        }
        let mut files = Vec::new();
        walk(self.place.path(), &mut files);
        files.sort();
        files
    }
}

/// Commands that only look, and what they end with in such a folder.
const LOOKING: [(&[&str], i32); 14] = [
    (&["list"], 0),
    (&["describe", "stack", "users-api"], 0),
    (&["describe", "scenario", "baseline"], 0),
    (&["validate", "baseline.yaml"], 0),
    (&["schema", "stack"], 0),
    (&["fault", "list"], 0),
    (&["runs"], 0),
    (&["report"], 3),
    (&["compare", "a", "b"], 3),
    (&["status"], 5),
    (&["logs", "p"], 5),
    (&["open", "prometheus"], 5),
    (&["verify"], 5),
    (&["fault", "describe", "pause"], 0),
];

/// A scenario to be validated.
const SCENARIO: &str = include_str!("../../scenarios/baseline.yaml");

#[test]
fn who_only_looks_runs_nothing_connects_to_nothing_and_writes_nothing() {
    let hostile = Hostile::new();
    std::fs::write(hostile.path("work/baseline.yaml"), SCENARIO).expect("written");
    let before = hostile.files();
    for (arguments, code) in LOOKING {
        let (ended, stderr) = hostile.sre(arguments);
        assert_eq!(ended, code, "{arguments:?}: {stderr}");
        if arguments[0] != "schema" {
            assert!(stderr.contains("sre trust"), "{arguments:?} does not tell what was found: {stderr}");
        }
        hostile.assert_harmless(&format!("{arguments:?}"));
        assert!(hostile.files() == before, "{arguments:?} wrote something");
    }
    // It looks for programs, and asks each for its version: none of these is planted.
    hostile.sre(&["doctor", "--target", "local"]);
    hostile.assert_harmless("doctor");
    assert!(hostile.files() == before, "doctor wrote something");
}

/// What `strace` shows of a command that is none of its own: programs that it runs, connections, and files that it
/// opens for writing; without `strace`, nothing.
fn traced(hostile: &Hostile, arguments: &[&str]) -> Option<Vec<String>> {
    let trace = hostile.path("trace");
    let options = [
        "-f",
        "-e",
        "trace=execve,execveat,connect,sendto,openat,openat2,creat,unlink,unlinkat,rename,renameat2,mkdir",
    ];
    let mut all: Vec<&str> = options.to_vec();
    let file = trace.to_string_lossy().into_owned();
    all.extend(["-o", &file, env!("CARGO_BIN_EXE_sre")]);
    all.extend(arguments);
    let ran = hostile.command("strace", &all).output().ok()?;
    assert!(ran.status.code().is_some(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = std::fs::read_to_string(&trace).ok()?;
    std::fs::remove_file(&trace).expect("removed");
    assert!(text.contains("execve("), "strace saw nothing: {text}");
    let own = format!("execve(\"{}\"", env!("CARGO_BIN_EXE_sre"));
    let opens_for_writing =
        |line: &str| ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| line.contains(flag));
    let harmless = |line: &&str| {
        let is_open = line.contains("open");
        line.contains(&own)
            || line.contains("+++ exited")
            || line.contains("--- SIG")
            || line.contains(" resumed>")
            || is_open && !opens_for_writing(line)
            || line.contains("\"/dev/")
    };
    Some(text.lines().filter(|line| !harmless(line)).map(str::to_owned).collect())
}

#[test]
fn the_system_sees_no_program_no_connection_and_no_writing_of_who_only_looks() {
    let hostile = Hostile::new();
    std::fs::write(hostile.path("work/baseline.yaml"), SCENARIO).expect("written");
    for (arguments, _) in LOOKING {
        let Some(seen) = traced(&hostile, arguments) else {
            crate::needs::skipped("strace", "strace is not on PATH");
            return;
        };
        assert_eq!(seen, Vec::<String>::new(), "{arguments:?}");
    }
}

#[test]
fn who_changes_something_refuses_what_was_planted_and_says_what_to_do() {
    let hostile = Hostile::new();
    let changing: [&[&str]; 6] = [
        &["up", "--target", "local", "--yes"],
        &["load"],
        &["run", "baseline", "--target", "local", "--yes"],
        &["fault", "inject", "pause", "--for", "1s"],
        &["down"],
        &["heal"],
    ];
    for arguments in changing {
        let (code, stderr) = hostile.sre(arguments);
        assert_eq!(code, 5, "{arguments:?}: {stderr}");
        if arguments != ["heal"] {
            assert!(stderr.contains("sre trust"), "{arguments:?}: {stderr}");
        }
        hostile.assert_harmless(&format!("{arguments:?}"));
    }
}

#[test]
fn trust_shows_what_would_be_run_and_makes_it_ones_own_only_when_it_is_told_to() {
    let hostile = Hostile::new();
    let (code, stderr) = hostile.sre(&["trust"]);
    assert_eq!(code, 5, "nobody said yes");
    for shown in ["/usr/bin/touch", "RAN-PROGRAM", "RAN-NODE", ".sre/kubeconfig", "jobs/a.json"] {
        assert!(stderr.contains(shown), "{shown} is not shown: {stderr}");
    }
    hostile.assert_harmless("trust without a yes");
    let journal = hostile.path("work/.sre/journal");
    std::fs::remove_dir_all(&journal)
        .and_then(|()| std::fs::remove_dir_all(hostile.path("work/.sre/jobs")))
        .expect("removed");
    let (code, stderr) = hostile.sre(&["trust", "--yes"]);
    assert_eq!(code, 0, "{stderr}");
    let (code, stderr) = hostile.sre(&["logs", "p"]);
    assert_eq!(code, 0, "it is trusted now: {stderr}");
    let (_, stderr) = hostile.sre(&["trust"]);
    assert!(stderr.contains("All that is in .sre is yours"), "{stderr}");
    // A copy of the folder is another folder.
    let copied = Command::new("cp").arg("-a").args([hostile.path("work"), hostile.path("copy")]).status();
    assert!(copied.expect("cp runs").success());
    let mut copy = hostile.command(env!("CARGO_BIN_EXE_sre"), &["logs", "p"]);
    assert_eq!(copy.current_dir(hostile.path("copy")).status().expect("it runs").code(), Some(5));
}

#[test]
fn a_link_in_the_state_leads_nowhere() {
    for link in
        ["lock", "lab.json", "journal/lock", "journal/x.json", "jobs/lock", "busy", "local", "runs", "."]
    {
        let place = tempfile::tempdir().expect("a folder");
        let (work, precious) = (place.path().join("work"), place.path().join("precious"));
        let root = work.join(".sre");
        std::fs::create_dir_all(root.join("journal")).expect("a folder");
        std::fs::create_dir_all(root.join("jobs")).expect("a folder");
        let target = match link {
            "busy" | "local" | "runs" | "." => precious.join("folder"),
            _ => precious.join("file"),
        };
        std::fs::create_dir_all(precious.join("folder")).expect("a folder");
        std::fs::write(precious.join("file"), "precious").expect("written");
        match link {
            "." => {
                std::fs::remove_dir_all(&root).expect("removed");
                symlink(target, &root).expect("a link");
            }
            link => symlink(target, root.join(link)).expect("a link"),
        }
        let commands: [&[&str]; 5] =
            [&["list"], &["runs"], &["heal"], &["up", "--target", "local", "--yes"], &["down"]];
        for arguments in commands {
            let output = Command::new(env!("CARGO_BIN_EXE_sre"))
                .args(arguments)
                .current_dir(&work)
                .stdin(Stdio::null())
                .env("XDG_STATE_HOME", place.path().join("state"))
                .output()
                .expect("it runs");
            let code = if arguments == ["list"] { 0 } else { 5 };
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{link}: {arguments:?}: {stderr}");
            assert_eq!(
                std::fs::read(precious.join("file")).expect("read"),
                b"precious",
                "{link}: {arguments:?}"
            );
            assert_eq!(std::fs::read_dir(precious.join("folder")).expect("read").count(), 0, "{link}");
        }
    }
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    let place = tempfile::tempdir().expect("a folder");
    let root = place.path().join(".sre");
    std::fs::create_dir(&root).expect("a folder");
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).expect("changed");
    for arguments in [&["status"][..], &["runs"], &["heal"], &["down"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_sre"))
            .args(arguments)
            .current_dir(place.path())
            .output()
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {stderr}");
        assert!(stderr.contains("chmod -R go-w"), "{stderr}");
    }
}

#[test]
fn what_sre_makes_is_its_owners_alone_whatever_the_umask() {
    let place = tempfile::tempdir().expect("a folder");
    let script = format!("umask 000; exec {} heal", env!("CARGO_BIN_EXE_sre"));
    let folder = Folder::at(&place.path().join(".sre"));
    std::fs::create_dir(folder.root()).expect("a folder");
    std::fs::set_permissions(folder.root(), std::fs::Permissions::from_mode(0o700)).expect("changed");
    let ended = Command::new("sh").args(["-c", &script]).current_dir(place.path()).status().expect("sh runs");
    assert!(ended.success());
    folder.prepare().expect("made");
    for path in [folder.root().to_path_buf(), folder.local(), folder.data()] {
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    assert!(Lab::load(folder.root()).expect("nothing is up").is_none());
}
