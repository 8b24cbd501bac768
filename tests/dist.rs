//! What `just dist` makes: packaging/dist.sh, with the program of this build, and a small static one in its image.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "support/needs.rs"]
mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use clap::CommandFactory as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sre::cli::Cli;

const EPOCH: u64 = 1_700_000_000;

/// What was made: the folder of a release, and its archive unpacked beside it.
struct Made {
    folder: tempfile::TempDir,
    name: String,
}

impl Made {
    fn file(&self, ending: &str) -> PathBuf {
        self.folder.path().join(format!("dist/{}.{ending}", self.name))
    }

    fn unpacked(&self, path: &str) -> PathBuf {
        self.folder.path().join(&self.name).join(path)
    }
}

/// Made once for all tests; `None`, said loudly, where something is missing for it.
fn made() -> Option<&'static Made> {
    static MADE: OnceLock<Option<Made>> = OnceLock::new();
    MADE.get_or_init(make).as_ref()
}

fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        needs::skipped("dist", &format!("{program} is not here"));
    }
    there
}

fn make() -> Option<Made> {
    if !["jq", "strip", "git", "tar"].into_iter().all(has) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("main.rs"), folder.path().join("static"));
    fs::write(&source, "fn main() {}").unwrap();
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    said(Command::new(&rustc).args(["-C", "target-feature=+crt-static", "-o"]).arg(&program).arg(&source));
    let told = said(Command::new(&rustc).arg("-vV"));
    let triple = told.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    dist(&folder.path().join("dist"), triple, &program);
    let name = format!("sre-{}-{triple}", env!("CARGO_PKG_VERSION"));
    let made = Made { folder, name };
    said(Command::new("tar").arg("-xzf").arg(made.file("tar.gz")).current_dir(made.folder.path()));
    Some(made)
}

fn dist(folder: &Path, triple: &str, in_image: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/dist.sh");
    said(
        Command::new(script)
            .arg(folder)
            .arg(format!("{triple}={}", env!("CARGO_BIN_EXE_sre")))
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .env("SRE_IMAGE_BINARY", in_image),
    );
}

/// What a command that must succeed says.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Path, mode and content of each entry of a tar.
fn entries(tar: impl std::io::Read) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let header = entry.header().clone();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0), "{path}");
        let is_plain = header.entry_type().is_file() || header.entry_type().is_dir();
        assert!(is_plain, "{path} is neither a file nor a folder");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, (header.mode().unwrap() & 0o7777, content))
    });
    entries.collect()
}

#[test]
fn the_archive_has_one_folder_with_all_that_is_promised() {
    let Some(made) = made() else { return };
    let entries = entries(flate2::read::GzDecoder::new(File::open(made.file("tar.gz")).unwrap()));
    let top = format!("{}/", made.name);
    for (path, (mode, content)) in &entries {
        let below = path.strip_prefix(&top).unwrap_or_else(|| panic!("{path} is outside of {top}"));
        assert!(!below.split('/').any(|part| part == ".."), "{path}");
        let is_program = below == "sre" || below.ends_with(".sh");
        let wanted = if path.ends_with('/') || is_program { 0o755 } else { 0o644 };
        assert_eq!(*mode, wanted, "{path}");
        assert!(path.ends_with('/') || !content.is_empty(), "{path} is empty");
    }
    for name in [
        "sre",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "THIRD-PARTY",
        "docs/local.md",
        "findings/README.md",
        "completions/sre.bash",
        "completions/_sre",
        "completions/sre.fish",
        "man/man1/sre.1",
    ] {
        assert!(entries.contains_key(&format!("{top}{name}")), "{name} is missing");
    }
    let (_, notices) = &entries[&format!("{top}THIRD-PARTY")];
    let notices = String::from_utf8_lossy(notices);
    for part in ["tokio ", "GNU C Library", "Apache License", "Permission is hereby granted, free of charge"]
    {
        assert!(notices.contains(part), "THIRD-PARTY says nothing of {part}");
    }
}

#[test]
fn every_link_of_the_archive_s_documents_leads_to_something_in_it() {
    let Some(made) = made() else { return };
    let mut files = vec![made.unpacked("README.md"), made.unpacked("findings/README.md")];
    files.extend(fs::read_dir(made.unpacked("docs")).unwrap().map(|entry| entry.unwrap().path()));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for path in links.filter_map(|link| link.split('#').next()) {
            let is_here = !path.is_empty() && !path.contains("://");
            assert!(
                !is_here || file.parent().unwrap().join(path).exists(),
                "{} links to {path}",
                file.display()
            );
        }
    }
}

#[test]
fn the_checksums_are_those_of_all_files() {
    let Some(made) = made() else { return };
    let dist = made.folder.path().join("dist");
    let sums = fs::read_to_string(dist.join("SHA256SUMS")).unwrap();
    let listed: BTreeSet<(String, String)> =
        sums.lines().map(|line| line.split_once("  ").unwrap()).map(|(s, n)| (n.into(), s.into())).collect();
    let names = fs::read_dir(&dist).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let here: BTreeSet<(String, String)> = names
        .filter(|name| name != "SHA256SUMS")
        .map(|name| (name.clone(), hex(&fs::read(dist.join(name)).unwrap())))
        .collect();
    assert_eq!(listed, here);
    assert_eq!(here.len(), 3, "an archive, an image, a bill of materials");
}

#[test]
fn what_is_made_again_is_equal() {
    let Some(made) = made() else { return };
    let again = made.folder.path().join("again");
    let triple = made.name.strip_prefix(&format!("sre-{}-", env!("CARGO_PKG_VERSION"))).unwrap();
    dist(&again, triple, &made.folder.path().join("static"));
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&again), sums(&made.folder.path().join("dist")));
}

/// Every visible command with its full name, `sre-fault-inject`.
fn commands(command: &clap::Command, found: &mut Vec<clap::Command>) {
    found.push(command.clone());
    for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        commands(below, found);
    }
}

#[test]
fn every_command_and_option_has_its_place_in_the_manual() {
    let Some(made) = made() else { return };
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let mut all = Vec::new();
    commands(&cli, &mut all);
    assert!(all.len() > 30, "only {} commands", all.len());
    let name = |command: &clap::Command| command.get_display_name().unwrap_or(command.get_name()).to_owned();
    // Hyphens and backslashes are escaped in roff.
    let read = |name: &str| {
        let page = fs::read_to_string(made.unpacked(&format!("man/man1/{name}.1")));
        page.unwrap_or_else(|e| panic!("{name}: {e}")).replace("\\-", "-").replace("\\\\", "\\")
    };
    for command in &all {
        let page = read(&name(command));
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let shown = match (argument.get_long(), argument.get_short()) {
                (Some(long), _) => format!("--{long}"),
                (None, Some(short)) => format!("-{short}"),
                (None, None) => argument.get_value_names().unwrap()[0].to_string(),
            };
            assert!(page.contains(&shown), "{} is silent about {shown}", name(command));
        }
        for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(page.contains(&format!("{}(1)", name(below))), "{} is linked nowhere", name(below));
            assert!(read(&name(below)).contains(&name(command)), "{} does not lead back", name(below));
        }
    }
    let pages = fs::read_dir(made.unpacked("man/man1")).unwrap().count();
    assert_eq!(pages, all.len(), "a page without a command");
    for exit in sre::exit::Exit::ALL {
        assert!(read("sre").contains(exit.meaning()), "{exit:?}");
    }
    if has("mandoc") {
        let pages = fs::read_dir(made.unpacked("man/man1")).unwrap().map(|entry| entry.unwrap().path());
        said(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).args(pages));
    }
}

#[test]
fn completions_load_and_complete() {
    let Some(made) = made() else { return };
    let completions = made.unpacked("completions");
    let in_shell = |shell: &str, arguments: &[&str]| {
        let mut command = Command::new(shell);
        said(command.args(arguments).current_dir(&completions).env("HOME", made.folder.path()))
    };
    if has("bash") {
        let script =
            "source ./sre.bash; COMP_WORDS=(sre re); COMP_CWORD=1; _sre sre re sre; echo ${COMPREPLY[@]}";
        assert_eq!(in_shell("bash", &["--norc", "-c", script]).trim(), "report receiver");
    }
    if has("zsh") {
        let script =
            "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; autoload +X _sre; echo $_comps[sre]";
        assert_eq!(in_shell("zsh", &["-f", "-c", script]).trim(), "_sre");
    }
    if has("fish") {
        let script = "source ./sre.fish; complete --do-complete 'sre re'";
        let told = in_shell("fish", &["--no-config", "-c", script]);
        let names: Vec<&str> = told.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["receiver", "report"], "{told}");
    }
}

#[test]
fn the_image_s_digests_agree_and_it_is_not_run_by_root() {
    let Some(made) = made() else { return };
    let files = entries(File::open(made.file("oci.tar")).unwrap());
    for (name, (_, content)) in files.iter().filter(|(name, _)| name.starts_with("blobs/")) {
        assert_eq!(*name, format!("blobs/sha256/{}", hex(content)));
    }
    let json = |name: &str| serde_json::from_slice::<Value>(&files[name].1).unwrap();
    let blob = |descriptor: &Value| {
        let name = descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
        assert_eq!(descriptor["size"], files[&name].1.len(), "{name}");
        name
    };
    assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = json("index.json");
    let manifest = json(&blob(&index["manifests"][0]));
    let config = json(&blob(&manifest["config"]));
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"][0], "/bin/sre");
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    let layer = blob(&manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"][0], layer.replace("blobs/sha256/", "sha256:"));
    let layer = entries(&files[&layer].1[..]);
    assert_eq!(layer["bin/sre"].0, 0o755);
    assert_eq!(layer["bin/sre"].1, fs::read(made.folder.path().join("static")).unwrap());
    assert!(!layer.keys().any(|path| path.starts_with('/')));
}

#[test]
fn the_bill_of_materials_is_that_of_the_lock_file() {
    let Some(made) = made() else { return };
    let bill: Value = serde_json::from_reader(File::open(made.file("cdx.json")).unwrap()).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    let components = bill["components"].as_array().unwrap();
    assert!(components.len() > 100, "only {}", components.len());
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let mut references = BTreeSet::from([bill["metadata"]["component"]["bom-ref"].as_str().unwrap()]);
    for component in components {
        let (name, version) = (component["name"].as_str().unwrap(), component["version"].as_str().unwrap());
        assert!(references.insert(component["bom-ref"].as_str().unwrap()), "{name} is there twice");
        if component["purl"].as_str().unwrap().starts_with("pkg:cargo/") {
            let sum = component["hashes"][0]["content"].as_str().unwrap();
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            let entry =
                lock.split("\n\n").find(|part| part.contains(&entry)).unwrap_or_else(|| panic!("{name}"));
            assert!(entry.contains(sum), "{name}");
        }
        assert!(component["licenses"][0]["expression"].is_string(), "{name} has no licence");
    }
    for name in ["tokio", "glibc", "rust-std"] {
        assert!(components.iter().any(|component| component["name"] == name), "{name} is missing");
    }
    for name in ["criterion", "insta", "cc", "ring"] {
        assert!(
            !components.iter().any(|component| component["name"] == name),
            "{name} is not in the program"
        );
    }
    for dependency in bill["dependencies"].as_array().unwrap() {
        let named = dependency["dependsOn"].as_array().unwrap().iter().chain([&dependency["ref"]]);
        for reference in named {
            assert!(references.contains(reference.as_str().unwrap()), "{reference} leads nowhere");
        }
    }
}

/// A `sre` that writes down what it is told, and answers by this.
fn stub(folder: &Path, answers: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("sre");
    fs::write(
        &path,
        format!("#!/bin/sh\nprintf '[%s]' \"$@\" >>told; echo >>told\ncase \"$*\" in\n{answers}\nesac\n"),
    )
    .unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The exit code of a step of the action.
fn step(folder: &Path, step: &str) -> Option<i32> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/action.sh");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(script);
    command.arg(step).current_dir(folder).env("PATH", path).env("GITHUB_STEP_SUMMARY", "summary");
    command
        .env("SCENARIO", "my errors.yaml")
        .env("ARGUMENTS", "--set\na=$(b) c\n")
        .env("REPORT", "out/report.xml");
    command.env_remove("TARGET").output().unwrap().status.code()
}

#[test]
fn the_action_fails_with_the_run_and_has_its_report_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    stub(
        folder.path(),
        "run*) exit 1 ;;\n*junit) echo '<testsuites/>'; exit 1 ;;\n*markdown) echo '# failed'; exit 1 ;;",
    );
    assert_eq!(step(folder.path(), "get"), Some(0), "it is on PATH");
    assert_eq!(step(folder.path(), "run"), Some(1));
    let told = "[run][my errors.yaml][--target][local][--yes][--set][a=$(b) c]\n";
    assert_eq!(read("told"), told, "no word is split or run");
    assert_eq!(step(folder.path(), "report"), Some(0));
    assert_eq!(
        (read("out/report.xml").as_str(), read("summary").as_str()),
        ("<testsuites/>\n", "# failed\n")
    );
    assert!(read("told").ends_with("[down]\n"));
}

#[test]
fn the_action_leaves_no_report_where_there_was_no_run() {
    let folder = tempfile::tempdir().unwrap();
    stub(folder.path(), "report*) exit 3 ;;");
    assert_eq!(step(folder.path(), "report"), Some(3));
    assert!(!folder.path().join("out/report.xml").exists());
}

#[test]
fn the_inputs_of_the_action_are_those_of_the_documents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let action = fs::read_to_string(root.join("action.yml")).unwrap();
    let action: Value = serde_saphyr::from_str(&action).unwrap();
    let inputs = action["inputs"].as_object().unwrap();
    let documents = fs::read_to_string(root.join("docs/install.md")).unwrap();
    let rows = documents.lines().skip_while(|line| !line.starts_with("| input |")).skip(2);
    let documented: Vec<(String, String)> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            (cells[1].to_owned(), cells[2].to_owned())
        })
        .collect();
    let known: Vec<(String, String)> = inputs
        .iter()
        .map(|(name, input)| (name.clone(), input["default"].as_str().unwrap_or_default().to_owned()))
        .collect();
    assert_eq!(documented, known);
}
