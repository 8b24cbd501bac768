//! Images from a Dockerfile: built by Docker where it runs, else by minikube on its nodes.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::image::Loader;
use super::minikube::Minikube;
use super::program::{Finished, LONG, Program};
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// How many of the last lines of a failed build are told.
const LINES: usize = 15;

/// What builds images.
#[derive(Debug, Clone)]
pub enum Builder {
    /// The program of this name, `docker`; its daemon answers.
    Docker(String),
    /// `minikube image build`, which leaves the image on the nodes.
    Minikube(Minikube),
}

/// What a build left.
#[derive(Debug, PartialEq, Eq)]
pub enum Built {
    /// An archive, which nodes have yet to get.
    Archive,
    /// The image is on every node.
    OnNodes,
}

impl Builder {
    /// What can build here: Docker, if its daemon answers, else minikube, if that is how images come onto the nodes.
    ///
    /// # Errors
    /// A prerequisite (5) where there is neither.
    pub async fn find(docker: &str, loader: Option<&Loader>, interrupt: &Interrupt) -> Result<Builder> {
        let asked = Program::new(docker, ["version", "--format", "{{.Server.Version}}"]);
        let why = match asked.run(interrupt, |_| ()).await {
            Ok(finished) if finished.success() => return Ok(Builder::Docker(docker.to_owned())),
            Ok(finished) => last_words(&finished),
            Err(error) => error.causes().last().cloned().unwrap_or_else(|| error.what().to_owned()),
        };
        interrupt.check()?;
        if let Some(Loader::Minikube(minikube)) = loader {
            return Ok(Builder::Minikube(minikube.clone()));
        }
        Err(Error::prerequisite("nothing here builds an image from a Dockerfile")
            .because_of(format!("docker: {why}"))
            .because_of("minikube image build: only on the target minikube")
            .hint("start Docker, or: sre up --target minikube"))
    }

    /// Builds `image`, by its full name, from a folder with a Dockerfile; Docker's goes into `archive`.
    ///
    /// # Errors
    /// Where the build fails (6), with its last lines.
    pub async fn build(
        &self,
        folder: &Path,
        image: &str,
        archive: &Path,
        interrupt: &Interrupt,
    ) -> Result<Built> {
        let docker = match self {
            Builder::Docker(docker) => docker,
            Builder::Minikube(minikube) => {
                return minikube.build(folder, image).await.map(|()| Built::OnNodes);
            }
        };
        let (folder, archive) = (folder.display().to_string(), archive.display().to_string());
        let steps: [(&str, &[&str]); 2] = [
            ("built", &["build", "--tag", image, &folder]),
            ("saved", &["save", "--output", &archive, image]),
        ];
        for (done, arguments) in steps {
            let finished = Program::new(docker, arguments).within(LONG).run(interrupt, |_| ()).await?;
            if !finished.success() {
                return Err(Error::target(format!("image {image} could not be {done} from {folder}"))
                    .because_of(last_words(&finished))
                    .hint(format!("docker {}", arguments.join(" "))));
            }
        }
        Ok(Built::Archive)
    }
}

/// The folder of a Dockerfile.
///
/// # Errors
/// Usage (2) where there is no Dockerfile.
pub fn folder(image: &str, folder: &str) -> Result<PathBuf> {
    let path = PathBuf::from(folder);
    if path.join("Dockerfile").is_file() {
        return Ok(path);
    }
    Err(Error::usage(format!("image {image}: there is no Dockerfile in {}", path.display()))
        .hint("`dockerfile` of an image names the folder that it is in, seen from where sre is run"))
}

/// A tag that follows from all that a folder holds, but for what git keeps: equal folders have equal tags.
///
/// # Errors
/// A prerequisite (5) where it cannot be read.
pub fn tag(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    add(folder, Path::new(""), &mut hash)
        .map_err(|e| Error::prerequisite(format!("{} can't be read", folder.display())).because(e))?;
    Ok(hex(&hash.finalize()[..6]))
}

fn add(folder: &Path, within: &Path, hash: &mut Sha256) -> std::io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let (path, name) = (entry.path(), within.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if entry.file_name() != ".git" {
                add(&path, &name, hash)?;
            }
            continue;
        }
        // Lengths keep the end of one file apart from the beginning of the next.
        let mut part = |part: &[u8]| {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        };
        part(name.display().to_string().as_bytes());
        if kind.is_symlink() {
            part(std::fs::read_link(&path)?.display().to_string().as_bytes());
        } else if kind.is_file() {
            add_file(&path, hash)?;
        }
    }
    Ok(())
}

/// A file, in pieces: an image may have files that no memory holds.
fn add_file(path: &Path, hash: &mut Sha256) -> std::io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    hash.update(file.metadata()?.len().to_le_bytes());
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => hash.update(&piece[..read]),
        }
    }
}

fn last_words(finished: &Finished) -> String {
    let text = if finished.stderr.trim().is_empty() { &finished.stdout } else { &finished.stderr };
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    /// A program that stands in for docker, which does not run where this is tested: it writes down how it is called.
    fn stand_in(folder: &Path, script: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join("docker");
        std::fs::write(&path, format!("#!/bin/sh\necho \"$@\" >>{}/calls\n{script}\n", folder.display()))
            .expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        path.display().to_string()
    }

    #[tokio::test]
    async fn docker_builds_and_saves() {
        let here = tempfile::tempdir().expect("a folder");
        let docker = stand_in(here.path(), "case $1 in save) touch \"$3\";; esac");
        let interrupt = Interrupt::default();
        let builder = Builder::find(&docker, None, &interrupt).await.expect("docker");
        let archive = here.path().join("image.tar");
        let built = builder.build(Path::new("shop"), "docker.io/library/shop:1", &archive, &interrupt).await;
        assert_eq!(built.expect("built"), Built::Archive);
        assert!(archive.exists());
        let calls = std::fs::read_to_string(here.path().join("calls")).expect("calls");
        assert_eq!(
            calls.replace(&archive.display().to_string(), "ARCHIVE"),
            "version --format {{.Server.Version}}\nbuild --tag docker.io/library/shop:1 shop\n\
             save --output ARCHIVE docker.io/library/shop:1\n"
        );
    }

    #[tokio::test]
    async fn a_failed_build_tells_its_last_lines() {
        let here = tempfile::tempdir().expect("a folder");
        let docker = stand_in(here.path(), "[ $1 = version ] || { echo 'no space left' >&2; exit 1; }");
        let interrupt = Interrupt::default();
        let builder = Builder::find(&docker, None, &interrupt).await.expect("docker");
        let error = builder.build(Path::new("shop"), "shop:1", Path::new("a.tar"), &interrupt).await;
        let error = error.expect_err("it fails");
        assert!(error.exit() == Exit::Target && error.to_string().contains("no space left"), "{error}");
    }

    #[tokio::test]
    async fn without_docker_it_is_minikube_or_nothing() {
        let here = tempfile::tempdir().expect("a folder");
        let dead = stand_in(here.path(), "echo 'Cannot connect to the Docker daemon' >&2; exit 1");
        let interrupt = Interrupt::default();
        for docker in [dead.as_str(), "/nonexistent/docker"] {
            let error = Builder::find(docker, None, &interrupt).await.expect_err("nothing builds");
            assert_eq!(error.exit(), Exit::Prerequisite);
            let text = error.to_string();
            assert!(text.contains("docker: ") && text.contains("minikube image build"), "{text}");
            let loader = Loader::Minikube(Minikube::new("lab", &interrupt));
            let builder = Builder::find(docker, Some(&loader), &interrupt).await.expect("minikube");
            assert!(matches!(builder, Builder::Minikube(_)));
        }
    }

    #[test]
    fn a_tag_follows_from_the_content() {
        let here = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = here.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        assert!(folder("shop", &here.path().display().to_string()).is_err());
        write("Dockerfile", "FROM scratch");
        write("src/a", "1");
        assert!(folder("shop", &here.path().display().to_string()).is_ok());
        let first = tag(here.path()).expect("a tag");
        write(".git/HEAD", "x");
        assert_eq!(tag(here.path()).expect("a tag"), first, "what git keeps is not in the image");
        write("src/a", "2");
        assert_ne!(tag(here.path()).expect("a tag"), first);
        assert_eq!(first.len(), 12);
    }
}
