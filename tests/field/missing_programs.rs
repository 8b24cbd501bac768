//! Machines on which programs are missing, and what can go wrong while they are got. With the real apt and dpkg, where a
//! machine has them; what apt reads is a repository in a folder, because the real one is neither broken nor always there.
//! The programs in it are doubles that only tell their versions: `up` gets them, starts them, and ends with 6.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sre::digest;
use sre::tools::Tool;
use sre::tools::versions::{Release, platform};

use crate::needs;

/// Nothing here takes longer.
const BOUND: Duration = Duration::from_secs(60);

const STACK: &str = "name: probe
counter: {metric: requests_total, job: probe}
local:
  service: {name: probe, replicas: 1, command: [/bin/false, '{listen}'], ready: /}
  scrape_interval: 1s
  evaluation_interval: 1s
  group_wait: 100ms
  group_interval: 1s
  node_exporter: true
";

/// What the programs tell, each under the name that Debian gives it, and its package.
const DOUBLES: [(&str, &str, &str); 3] = [
    ("prometheus", "prometheus", "prometheus, version 2.99.0 (branch: x)"),
    ("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager, version 0.99.0 (branch: x)"),
    ("prometheus-node-exporter", "prometheus-node-exporter", "node_exporter, version 1.99.0 (branch: x)"),
];

/// A machine that has no programs and no package lists: a folder for each of its parts.
struct Machine {
    place: tempfile::TempDir,
    /// Where releases come from.
    mirror: String,
    /// What apt may use.
    sources: String,
    system: bool,
}

impl Machine {
    fn new() -> Machine {
        let place = tempfile::tempdir().unwrap();
        for part in ["stacks/probe", "bin", "mirror", "system/partial"] {
            fs::create_dir_all(place.path().join(part)).unwrap();
        }
        fs::write(place.path().join("stacks/probe/stack.yaml"), STACK).unwrap();
        let mirror = format!("file://{}", place.path().join("mirror").display());
        Machine { place, mirror, sources: String::new(), system: true }
    }

    fn path(&self, part: &str) -> PathBuf {
        self.place.path().join(part)
    }

    fn cache(&self) -> PathBuf {
        self.path("cache/sre/tools")
    }

    /// Without apt and dpkg.
    fn without_system(mut self) -> Machine {
        self.system = false;
        self
    }

    /// A program on PATH that prints this when it is asked for its version.
    fn program(&self, folder: &str, name: &str, told: &str) -> PathBuf {
        let path = self.path(folder).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\necho '{told}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// All but the node exporter are on PATH.
    fn with_all_but_one(&self) {
        for (name, _, told) in &DOUBLES[..2] {
            self.program("bin", name, told);
        }
    }

    fn up(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        self.prepare(&mut command);
        command.args(["up", "probe", "--target", "local", "--wait", "1s"]).args(more);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(self.place.path()).stdin(Stdio::null()).env("SRE_MIRROR", &self.mirror);
        for other in ["TARGET", "YES", "PROMETHEUS", "ALERTMANAGER", "NODE_EXPORTER", "LOKI", "OTELCOL"] {
            command.env_remove(format!("SRE_{other}"));
        }
        let bin = self.path("bin").display().to_string();
        // Programs that are installed here must not be found.
        let tools = self.path("system-bin");
        fs::create_dir_all(&tools).unwrap();
        if self.system {
            for name in ["apt-get", "apt-cache", "dpkg", "dpkg-deb", "tar", "sh", "rm"] {
                let _ = std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), tools.join(name));
            }
        }
        command.env("PATH", format!("{bin}:{}", tools.display())).env("XDG_CACHE_HOME", self.path("cache"));
        // The system's own lists are empty, its sources are these.
        fs::write(self.path("sources.list"), &self.sources).unwrap();
        let configuration = format!(
            "Dir::State::lists \"{0}/system\";\nDir::Etc::sourcelist \"{0}/sources.list\";\nDir::Etc::sourceparts \"-\";\n",
            self.place.path().display()
        );
        fs::write(self.path("apt.conf"), configuration).unwrap();
        command.env("APT_CONFIG", self.path("apt.conf"));
    }

    /// What is in the cache, but for locks.
    fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.cache()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> =
            names.filter(|name| !name.starts_with(".lock") && name != ".apt").collect();
        names.sort();
        names
    }

    /// A repository of the doubles' packages in a folder, which apt may use by these options.
    fn repository(&mut self, options: &str) {
        let folder = self.path("repository");
        fs::create_dir_all(&folder).unwrap();
        let architecture = said(Command::new("dpkg").arg("--print-architecture"));
        let mut packages = String::new();
        for (package, program, told) in DOUBLES {
            let tree = self.path(&format!("packages/{package}"));
            self.program(&format!("packages/{package}/usr/bin"), program, told);
            fs::create_dir_all(tree.join("DEBIAN")).unwrap();
            let control = format!(
                "Package: {package}\nVersion: 1\nArchitecture: {}\nMaintainer: nobody <nobody@localhost>\nDescription: a double\n",
                architecture.trim()
            );
            fs::write(tree.join("DEBIAN/control"), &control).unwrap();
            let file = folder.join(format!("{package}.deb"));
            said(
                Command::new("dpkg-deb")
                    .args(["--root-owner-group", "-Znone", "--build"])
                    .arg(&tree)
                    .arg(&file),
            );
            let (size, sum) = (fs::metadata(&file).unwrap().len(), digest::of_file(&file).unwrap());
            packages += &format!("{control}Filename: ./{package}.deb\nSize: {size}\nSHA256: {sum}\n\n");
        }
        fs::write(folder.join("Packages"), &packages).unwrap();
        let (size, sum) = (packages.len(), digest::of_file(&folder.join("Packages")).unwrap());
        let release = format!("Date: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n {sum} {size} Packages\n");
        fs::write(folder.join("Release"), release).unwrap();
        self.sources = format!("deb {options} file:{} ./\n", folder.display());
    }
}

/// What a command that must succeed says.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    text(&output)
}

/// Whether apt and dpkg are here; said loudly if not.
fn has_apt() -> bool {
    let there = ["apt-get", "dpkg-deb"].iter().all(|name| Path::new("/usr/bin").join(name).exists());
    if !there {
        needs::skipped("apt", "apt-get and dpkg-deb are not here");
    }
    there
}

/// A server that answers each connection, one after another, by this; its address.
fn server(answer: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            answer(&mut stream);
        }
    });
    address
}

/// A server that promises a body, sends its beginning and then nothing.
fn stalled() -> String {
    let kept = std::sync::Mutex::new(Vec::new());
    server(move |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbeginning");
        kept.lock().unwrap().extend(stream.try_clone());
    })
}

/// Starts a command, whose stderr goes to a file, and waits until it has said something.
fn started(machine: &Machine, mut command: Command, until: &str) -> Child {
    let file = machine.path("stderr");
    let child = command.stdout(Stdio::null()).stderr(fs::File::create(&file).unwrap()).spawn().unwrap();
    wait(&format!("\"{until}\""), || fs::read_to_string(&file).unwrap_or_default().contains(until));
    child
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Interrupts a command, which must end with 130.
fn interrupt(machine: &Machine, mut child: Child) {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130), "{}", fs::read_to_string(machine.path("stderr")).unwrap());
}

fn archive() -> String {
    Release::of(Tool::NodeExporter).unwrap().file(&platform())
}

#[test]
fn a_machine_without_package_lists_gets_them_into_the_cache() {
    if !has_apt() {
        return;
    }
    let mut machine = Machine::new();
    machine.repository("[trusted=yes]");
    let told = run(machine.up(&["--yes"]), 6);
    assert!(told.contains("getting the distribution's package lists, into the cache"), "{told}");
    let packages =
        ["prometheus-alertmanager-package", "prometheus-node-exporter-package", "prometheus-package"];
    assert_eq!(machine.cached(), packages);
    // The system's own are untouched.
    let system: Vec<_> =
        fs::read_dir(machine.path("system")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(system, ["partial"]);

    // The next call asks nobody: the sources are gone.
    fs::remove_dir_all(machine.path("repository")).unwrap();
    let again = run(machine.up(&[]), 6);
    assert!(!again.contains("getting"), "{again}");

    // One that was changed meanwhile is passed over, and got anew.
    machine.repository("[trusted=yes]");
    machine.program("cache/sre/tools/prometheus-package/usr/bin", "prometheus", "prometheus, version 9.9.9");
    let told = run(machine.up(&["--yes"]), 6);
    assert!(
        told.contains("has changed since it was got") && told.contains("prometheus is missing"),
        "{told}"
    );
    let program = machine.cache().join("prometheus-package/usr/bin/prometheus");
    assert!(fs::read_to_string(program).unwrap().contains("2.99.0"));
}

#[test]
fn lists_that_do_not_verify_are_not_used() {
    if !has_apt() {
        return;
    }
    let mut machine = Machine::new();
    machine.repository("");
    let told = run(machine.up(&["--yes"]), 5);
    assert!(told.contains("is not signed"), "{told}");
    assert!(told.contains("are missing, and cannot be got"), "{told}");
    // Every way is told, with its reason, and what to do.
    assert!(told.contains("official release") && told.contains("No such file"), "{told}");
    assert!(told.contains("SRE_PROMETHEUS=") && told.contains("sre mirror fill"), "{told}");
    assert_eq!(machine.cached(), [""; 0]);

    // With lists that do, the next call goes on.
    machine.repository("[trusted=yes]");
    run(machine.up(&["--yes"]), 6);
    assert_eq!(machine.cached().len(), 3);
}

#[test]
fn a_package_that_is_not_what_the_lists_say_is_refused() {
    if !has_apt() {
        return;
    }
    let mut machine = Machine::new();
    machine.with_all_but_one();
    machine.repository("[trusted=yes]");
    let package = machine.path("repository/prometheus-node-exporter.deb");
    let whole = fs::read(&package).unwrap();
    fs::write(&package, &whole[..whole.len() / 2]).unwrap();
    let told = run(machine.up(&["--yes"]), 5);
    assert!(told.contains("node_exporter is missing, and cannot be got"), "{told}");
    assert_eq!(machine.cached(), [""; 0]);
    fs::write(&package, &whole).unwrap();
    run(machine.up(&["--yes"]), 6);
    assert_eq!(machine.cached(), ["prometheus-node-exporter-package"]);
}

#[test]
fn two_that_need_the_same_at_once_both_get_it() {
    if !has_apt() {
        return;
    }
    let mut machine = Machine::new();
    machine.with_all_but_one();
    machine.repository("[trusted=yes]");
    let both: Vec<Child> = (0..2)
        .map(|i| {
            // Each in a lab of its own.
            let folder = machine.path(&format!("lab{i}"));
            fs::create_dir_all(folder.join("stacks/probe")).unwrap();
            fs::write(folder.join("stacks/probe/stack.yaml"), STACK).unwrap();
            let mut up = machine.up(&["--yes"]);
            up.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut one in both {
        assert_eq!(one.wait().unwrap().code(), Some(6));
    }
    assert_eq!(machine.cached(), ["prometheus-node-exporter-package"]);
}

#[test]
fn a_program_that_is_another_one_is_passed_over_unless_it_was_named() {
    let machine = Machine::new().without_system();
    machine.with_all_but_one();
    // A node exporter that was built without its version.
    let nameless =
        machine.program("bin", "node_exporter", "node_exporter, version  (branch: , revision: unknown)");
    let told = run(machine.up(&["--yes"]), 5);
    let line = told.lines().find(|line| line.starts_with("passed over:")).unwrap_or_default();
    assert!(line.contains("bin/node_exporter is not node_exporter, or tells no version"), "{told}");
    assert!(told.contains("node_exporter is missing, and cannot be got"), "{told}");

    let right = machine.program("elsewhere", "node_exporter", DOUBLES[2].2);
    let mut named = machine.up(&[]);
    named.env("SRE_NODE_EXPORTER", &right);
    assert!(!run(named, 6).contains("passed over"));
    let mut named = machine.up(&["--yes"]);
    named.env("SRE_NODE_EXPORTER", &nameless);
    let told = run(named, 5);
    assert!(told.contains("SRE_NODE_EXPORTER=") && told.contains("tells no version"), "{told}");

    // The next one on PATH is taken.
    machine.program("system-bin", "node_exporter", DOUBLES[2].2);
    assert!(run(machine.up(&[]), 6).contains("passed over:"));
}

#[test]
fn programs_are_asked_at_the_same_time_and_each_once() {
    let machine = Machine::new().without_system();
    let logs = STACK.replace("  node_exporter: true\n", "  node_exporter: true\n  logs: true\n");
    fs::write(machine.path("stacks/probe/stack.yaml"), logs).unwrap();
    let more = [
        ("loki", "loki, version 3.99.0 (branch: x)"),
        ("otelcol-contrib", "otelcol-contrib version 0.999.0"),
    ];
    let doubles = DOUBLES.map(|(_, name, told)| (name, told)).into_iter().chain(more);
    fs::create_dir_all(machine.path("asked")).unwrap();
    for (name, told) in doubles {
        // Tells its version once all five have been asked, and never where one of them waits for another.
        let program = machine.program("bin", name, told);
        let asked = machine.path("asked").display().to_string();
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] || exit 1\necho {name} >>{asked}/{name}\nfor i in $(/usr/bin/seq 100); do\n  \
             set -- {asked}/*\n  [ $# -lt 5 ] || {{ echo '{told}'; exit; }}\n  /bin/sleep 0.1\ndone\nexit 1\n"
        );
        fs::write(program, text).unwrap();
    }
    let told = run(machine.up(&[]), 6);
    assert!(!told.contains("passed over") && !told.contains("missing"), "{told}");
    let asked: Vec<String> = (fs::read_dir(machine.path("asked")).unwrap().flatten())
        .map(|file| fs::read_to_string(file.path()).unwrap())
        .collect();
    assert_eq!(asked.len(), 5);
    assert!(asked.iter().all(|lines| lines.lines().count() == 1), "{asked:?}");
}

#[test]
fn a_download_that_is_not_the_release_is_refused_and_leaves_nothing() {
    let large = "HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n";
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<html></html>";
    let early = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nbeginning";
    let gone = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, why) in [
        (large, "is larger than"),
        (page, "is not what it should be: it was refused"),
        (early, "it ended after 9 of 1000 bytes"),
        (gone, "503"),
    ] {
        let mut machine = Machine::new().without_system();
        machine.with_all_but_one();
        machine.mirror = server(move |stream| drop(stream.write_all(answer.as_bytes())));
        let told = run(machine.up(&["--yes"]), 5);
        assert!(told.contains(why), "{why}: {told}");
        assert!(told.contains("this system has no apt-get"), "{told}");
        assert_eq!(machine.cached(), [""; 0], "{why}");
    }
}

#[test]
fn a_download_without_an_end_is_ended() {
    let mut machine = Machine::new().without_system();
    machine.with_all_but_one();
    machine.mirror = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[0; 1 << 16]).is_ok() {}
    });
    let told = run(machine.up(&["--yes"]), 5);
    assert!(told.contains("it is not what it should be") && told.contains("larger than"), "{told}");
    assert_eq!(machine.cached(), [""; 0]);
}

#[test]
fn a_full_disk_is_told_and_what_was_written_is_gone() {
    let machine = Machine::new().without_system();
    machine.with_all_but_one();
    fs::create_dir_all(machine.path("mirror/tools")).unwrap();
    fs::write(machine.path("mirror/tools").join(archive()), vec![0; 4 << 20]).unwrap();
    fs::create_dir_all(machine.path("cache")).unwrap();
    // A disk of 1 MB, in a mount namespace of its own.
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 99; shift; \"$@\"; code=$?; \
                  ls -A \"$XDG_CACHE_HOME/sre/tools\"; exit $code";
    let up = machine.up(&["--yes"]);
    let mut command = Command::new("/usr/bin/unshare");
    machine.prepare(&mut command);
    command.args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", script, "sh"]);
    command.arg(machine.path("cache")).arg(up.get_program()).args(up.get_args());
    command.env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", machine.path("bin").display()));
    // The distribution is no way out here.
    fs::write(machine.path("sources.list"), "").unwrap();
    let output = command.output().unwrap();
    if output.status.code() == Some(99) || text(&output).contains("unshare:") {
        needs::skipped("namespaces", &format!("no mount namespace can be made here: {}", text(&output)));
        return;
    }
    let told = text(&output);
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains("No space left on device") && told.contains("cannot be written"), "{told}");
    assert!(!told.contains(".new-"), "{told}");
}

#[test]
fn a_cache_that_cannot_be_written_is_told_before_anything_is_got() {
    let mut machine = Machine::new();
    machine.mirror = server(|_| panic!("nobody asks"));
    machine.with_all_but_one();
    fs::write(machine.path("cache"), "a file").unwrap();
    let told = run(machine.up(&["--yes"]), 5);
    assert!(told.contains("cache/sre/tools cannot be written"), "{told}");
    assert!(told.contains("export XDG_CACHE_HOME="), "{told}");
    assert!(!told.contains("getting"), "{told}");
}

#[test]
fn without_consent_nothing_is_asked_for_and_nothing_written() {
    let mut machine = Machine::new();
    machine.mirror = server(|_| panic!("nobody asks"));
    let told = run(machine.up(&[]), 5);
    assert!(told.contains("consent was not given") && told.contains("--yes"), "{told}");
    assert!(!machine.path("cache").exists());
}

#[test]
fn ctrl_c_while_a_release_comes_leaves_nothing_and_the_next_call_goes_on() {
    let mut machine = Machine::new();
    machine.with_all_but_one();
    machine.mirror = stalled();
    let child = started(&machine, machine.up(&["--yes"]), "getting node_exporter");
    wait("a download", || machine.cached().iter().any(|name| name.starts_with(".new-")));
    interrupt(&machine, child);
    assert_eq!(machine.cached(), [""; 0]);
    if has_apt() {
        machine.mirror = "file:///nowhere".into();
        machine.repository("[trusted=yes]");
        run(machine.up(&["--yes"]), 6);
        assert_eq!(machine.cached(), ["prometheus-node-exporter-package"]);
    }
}

#[test]
fn ctrl_c_while_another_sre_gets_it_ends_the_waiting() {
    let machine = Machine::new().without_system();
    machine.with_all_but_one();
    fs::create_dir_all(machine.cache()).unwrap();
    let key = Release::of(Tool::NodeExporter).unwrap().stem(&platform());
    let lock = fs::File::create(machine.cache().join(format!(".lock-{key}"))).unwrap();
    lock.lock().unwrap();
    let child = started(&machine, machine.up(&["--yes"]), "another sre is getting node_exporter");
    interrupt(&machine, child);
    assert_eq!(machine.cached(), [""; 0]);
}

#[test]
fn ctrl_c_while_lists_come_ends_apt_too() {
    if !has_apt() {
        return;
    }
    let mut machine = Machine::new();
    machine.with_all_but_one();
    machine.sources = format!("deb [trusted=yes] {} ./\n", stalled());
    let child = started(&machine, machine.up(&["--yes"]), "package lists, into the cache");
    let lists = machine.cache().join(".apt/lists/lock");
    wait("apt", || lists.exists());
    interrupt(&machine, child);
    // apt holds this lock as long as it runs.
    let lock = fs::File::options().append(true).open(&lists).unwrap();
    assert!(rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok());
    drop(lock);
    machine.repository("[trusted=yes]");
    run(machine.up(&["--yes"]), 6);
}
