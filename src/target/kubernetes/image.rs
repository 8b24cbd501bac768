//! The image of `sre` itself: assembled from the static binary, without Docker, and loaded into a cluster.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use tar::{Builder, EntryType};

use super::archive::{self, file, header};
use super::minikube::Minikube;
use super::program::{LONG, Program};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// The media type of the image's manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The user that the image's processes run as: nobody in particular, and not root.
const USER: u32 = 65532;

/// How an image archive comes onto a cluster's nodes.
#[derive(Debug, Clone)]
pub enum Loader {
    /// By `minikube image load`.
    Minikube(Minikube),
    /// By a command of the user's: a shell line in which `{archive}` and `{image}` are replaced.
    Command(String),
}

/// Whether an image is one that `sre up` puts onto the nodes: no registry has it.
pub fn is_loaded(image: &str) -> bool {
    image.strip_prefix("docker.io/library/sre").is_some_and(|rest| rest.starts_with([':', '@']))
}

/// Whoever holds the name in a registry is not asked for what a node has lost.
pub fn pull_policy(image: &str) -> &'static str {
    if is_loaded(image) { "Never" } else { "IfNotPresent" }
}

impl Loader {
    /// The command that [`Loader::load`] runs, for people to run by hand.
    pub fn command(&self, archive: &Path, image: &str) -> String {
        match self {
            Loader::Minikube(minikube) => {
                format!("minikube --profile {} image load {}", minikube.profile_name(), archive.display())
            }
            Loader::Command(line) => {
                line.replace("{archive}", &archive.display().to_string()).replace("{image}", image)
            }
        }
    }

    /// Loads an archive that holds `image`, by its full name.
    pub async fn load(&self, archive: &Path, image: &str, interrupt: &Interrupt) -> Result<()> {
        match self {
            Loader::Minikube(minikube) => minikube.load(archive, image).await,
            Loader::Command(line) => {
                // As the shell's own arguments they need no quoting, whatever is in them.
                let script = line.replace("{archive}", "\"$1\"").replace("{image}", "\"$2\"");
                let archive = archive.display().to_string();
                let finished = Program::new("sh", ["-c", &script, "sre", &archive, image])
                    .within(LONG)
                    .run(interrupt, |_| ())
                    .await?;
                if finished.success() {
                    return Ok(());
                }
                Err(Error::target(format!("image {image} could not be loaded by `{line}`"))
                    .because_of(finished.stderr.trim())
                    .hint("--image-loader names the command; {archive} and {image} are replaced in it"))
            }
        }
    }
}

/// An image's full name, as the kubelet asks for it: `sre:0.1.0` is `docker.io/library/sre:0.1.0`.
pub fn full_name(image: &str) -> String {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let has_registry = first.contains(['.', ':']) || first == "localhost";
    let named = match (has_registry, first) {
        (true, _) => image.to_owned(),
        (false, "") => format!("docker.io/library/{rest}"),
        (false, _) => format!("docker.io/{image}"),
    };
    if has_no_tag(&named) { format!("{named}:latest") } else { named }
}

/// Whether an image's name has neither a tag nor a digest.
pub fn has_no_tag(image: &str) -> bool {
    !image.rsplit('/').next().unwrap_or_default().contains([':', '@'])
}

/// The program that the image will hold: `named` (by `SRE_IMAGE_BINARY`), else this very one. It must be static,
/// because nothing else is in the image.
pub fn program(named: Option<PathBuf>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path,
        None => crate::own_program::running()?,
    };
    let is_static = is_static(&path)
        .map_err(|e| Error::prerequisite(format!("{} can't be read", path.display())).because(e))?;
    if is_static {
        return Ok(path);
    }
    Err(Error::prerequisite(format!(
        "{} is not a static program; an image of it would not run",
        path.display()
    ))
    .hint("build one, in a clone of sre: packaging/static.sh FILE, and name it by SRE_IMAGE_BINARY"))
}

/// Whether a file is a 64-bit ELF program that asks for no interpreter (`PT_INTERP`), the dynamic loader.
fn is_static(path: &Path) -> io::Result<bool> {
    const PT_INTERP: u32 = 3;
    let mut head = Vec::new();
    File::open(path)?.take(64 * 1024).read_to_end(&mut head)?;
    if head.len() < 64 || !head.starts_with(b"\x7fELF\x02\x01") {
        return Ok(false);
    }
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let mut wide = [0; 8];
        wide[..bytes].copy_from_slice(head.get(at..at + bytes)?);
        Some(u64::from_le_bytes(wide))
    };
    let table = number(32, 8).and_then(|at| usize::try_from(at).ok());
    let (size, count) = (number(54, 2), number(56, 2));
    let (Some(table), Some(size), Some(count)) = (table, size, count) else { return Ok(false) };
    let mut kinds = (0..count as usize).map(|i| number(table + i * size as usize, 4));
    Ok(count > 0 && kinds.all(|kind| kind.is_some_and(|kind| kind != u64::from(PT_INTERP))))
}

/// What OCI calls the processors that a program is for; what is no program is taken to be for those of this machine.
fn architecture(program: &Path) -> io::Result<&'static str> {
    let mut head = Vec::new();
    File::open(program)?.take(20).read_to_end(&mut head)?;
    // The field e_machine of ELF.
    Ok(match (head.starts_with(b"\x7fELF"), head.get(18..20)) {
        (true, Some([62, 0])) => "amd64",
        (true, Some([183, 0])) => "arm64",
        _ => match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
    })
}

/// The tag of an image that holds this program: equal programs have equal tags, different ones do not.
pub fn tag(program: &Path) -> Result<String> {
    let (digest, _) = archive::digest(program)
        .map_err(|e| Error::prerequisite(format!("{} can't be read", program.display())).because(e))?;
    Ok(format!("{}-{}", env!("CARGO_PKG_VERSION"), &digest[..12]))
}

/// Writes an archive of an image that holds one program as `/bin/sre`. The archive is an OCI layout that `docker
/// load`, containerd and CRI-O read alike; equal programs make equal archives.
pub fn write_archive(program: &Path, image: &str, archive: &Path) -> Result<()> {
    write_dated_archive(program, image, None, archive)
}

/// The same, for an image that says when it was made.
pub fn write_dated_archive(
    program: &Path,
    image: &str,
    created: Option<Timestamp>,
    archive: &Path,
) -> Result<()> {
    assemble(program, &full_name(image), created, archive).map_err(|e| {
        Error::target(format!("the image archive {} could not be written", archive.display())).because(e)
    })
}

fn assemble(program: &Path, image: &str, created: Option<Timestamp>, path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut layer = tempfile::NamedTempFile::new_in(folder)?;
    write_layer(program, layer.as_file_mut())?;
    let (layer_digest, layer_size) = archive::digest(layer.path())?;
    let architecture = architecture(program)?;
    let mut config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Entrypoint": ["/bin/sre"],
            "Env": ["PATH=/bin", "HOME=/tmp"],
            "WorkingDir": "/",
            "Labels": {"org.opencontainers.image.title": "sre",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION")},
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        "history": [{"created_by": "sre", "comment": "the program, and nothing else"}],
    });
    if let Some(created) = created {
        config["created"] = json!(created.to_string());
    }
    let config = config.to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{}", archive::sha256(config.as_bytes())), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": format!("sha256:{layer_digest}"), "size": layer_size}],
    })
    .to_string();
    let whole = archive::Whole {
        image,
        manifest: manifest.as_bytes(),
        media_type: MANIFEST,
        config: config.as_bytes(),
        architecture,
        layers: &[(layer_digest, layer.path().to_owned())],
    };
    archive::write(&whole, path)
}

/// The one layer: the program, a world-writable `/tmp`, and the names of the users.
fn write_layer(program: &Path, layer: &mut File) -> io::Result<()> {
    let users = format!("root:x:0:0:root:/:/none\nsre:x:{USER}:{USER}:sre:/tmp:/none\n");
    let mut tar = Builder::new(io::BufWriter::new(layer));
    for (path, mode) in [("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777)] {
        tar.append_data(&mut header(EntryType::Directory, mode, 0), path, io::empty())?;
    }
    file(&mut tar, "etc/passwd", users.as_bytes())?;
    let source = File::open(program)?;
    let size = source.metadata()?.len();
    tar.append_data(&mut header(EntryType::Regular, 0o755, size), "bin/sre", source)?;
    tar.into_inner()?.flush()
}

/// The image names that a document of pods or workloads asks for.
pub fn named_in(document: &Value) -> Vec<String> {
    match document {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("image", Value::String(image)) => vec![full_name(image)],
                (_, value) => named_in(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(named_in).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_those_that_the_kubelet_asks_for() {
        for (image, full) in [
            ("sre", "docker.io/library/sre:latest"),
            ("sre:0.1.0", "docker.io/library/sre:0.1.0"),
            ("me/sre:1", "docker.io/me/sre:1"),
            ("ghcr.io/me/sre:1", "ghcr.io/me/sre:1"),
            ("localhost:5000/sre", "localhost:5000/sre:latest"),
        ] {
            assert_eq!(full_name(image), full);
        }
    }

    #[test]
    fn blobs_are_named_by_their_content_and_archives_are_repeatable() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, b"a program").unwrap();
        let archive_file = folder.path().join("a.tar");
        write_archive(&program, "sre:1", &archive_file).unwrap();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(File::open(&archive_file).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
        for (name, content) in files.iter().filter(|(name, _)| name.starts_with("blobs/")) {
            assert_eq!(*name, format!("blobs/sha256/{}", archive::sha256(content)));
        }
        let read = |name: &str| serde_json::from_slice::<Value>(&files[name]).unwrap();
        let index = read("index.json");
        assert_eq!(
            index["manifests"][0]["annotations"]["io.containerd.image.name"],
            "docker.io/library/sre:1"
        );
        let manifest =
            read(&index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/"));
        let layer =
            &files[&manifest["layers"][0]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/")];
        let mut layer = tar::Archive::new(&layer[..]);
        let paths: Vec<String> = layer
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(paths, ["bin/", "etc/", "tmp/", "etc/passwd", "bin/sre"]);

        let again = folder.path().join("b.tar");
        write_archive(&program, "sre:1", &again).unwrap();
        assert_eq!(archive::digest(&again).unwrap(), archive::digest(&archive_file).unwrap());
    }

    #[test]
    fn an_image_is_for_the_processors_of_its_program_and_says_when_it_was_made_where_that_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let (program, archive_file) = (folder.path().join("program"), folder.path().join("a.tar"));
        let mut elf = vec![0; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        for (machine, name) in [(62, "amd64"), (183, "arm64")] {
            elf[18] = machine;
            std::fs::write(&program, &elf).unwrap();
            let created = Timestamp::from_second(1_700_000_000).unwrap();
            write_dated_archive(&program, "sre:1", Some(created), &archive_file).unwrap();
            let config = tar::Archive::new(File::open(&archive_file).unwrap())
                .entries()
                .unwrap()
                .filter_map(|entry| serde_json::from_reader::<_, Value>(entry.unwrap()).ok())
                .find(|document| document.get("rootfs").is_some())
                .unwrap();
            assert_eq!(config["architecture"], name);
            assert_eq!(config["created"], "2023-11-14T22:13:20Z");
        }
    }

    #[test]
    fn a_dynamic_program_is_refused() {
        let error = program(Some("/bin/sh".into())).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
        assert!(error.next_step().is_some_and(|hint| hint.contains("static.sh")), "{error}");
    }

    #[tokio::test]
    async fn a_loader_s_command_gets_names_with_spaces_whole() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("an archive.tar");
        std::fs::write(&archive, "x").unwrap();
        let interrupt = Interrupt::default();
        let loader = Loader::Command("test -f {archive} && test {image} = 'a b'".into());
        loader.load(&archive, "a b", &interrupt).await.unwrap();
        let error = loader.load(&archive, "c", &interrupt).await.unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Target);
    }

    #[test]
    fn images_are_found_wherever_they_are_named() {
        let pod = json!({"spec": {"containers": [{"image": "sre:1"}], "initContainers": [{"image": "ghcr.io/x/y:2"}]}});
        assert_eq!(named_in(&pod), ["docker.io/library/sre:1", "ghcr.io/x/y:2"]);
    }
}
