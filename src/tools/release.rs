//! An official release: downloaded, held against its pinned checksum, unpacked into the cache.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::read::{DeflateDecoder, GzDecoder};
use url::Url;

use super::cache::blocking;
use super::download::{bound, download, verify};
use super::progress::Bars;
use super::versions::{Archive, Form, Release};
use super::{Cache, Tool};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Where a release's archive for a platform is.
pub fn address(release: &Release, platform: &str, mirror: Option<&Url>) -> String {
    let base = match mirror {
        Some(mirror) => format!("{}/tools", mirror.as_str().trim_end_matches('/')),
        None => release.base.to_owned(),
    };
    format!("{base}/{}", release.file(platform))
}

/// Downloads a release from `address` and unpacks its tools into the cache, unless they are there.
///
/// # Errors
/// A prerequisite (exit 5): it cannot be downloaded or written, or is not what is pinned. Those of an interruption.
pub async fn install(
    release: &Release,
    archive: &Archive,
    address: &str,
    cache: &Cache,
    bars: &Bars,
    interrupt: &Interrupt,
) -> Result<()> {
    let name = format!("{} {}", release.name, release.version);
    let waits = || bars.say(format!("another sre is getting {name}: waiting for it"));
    let fill = async |new: PathBuf| {
        let mut file = tempfile::tempfile_in(&new).map_err(|e| cache.unwritable(e))?;
        {
            let bar = bars.start(name.as_str(), Some(archive.size));
            let tell = |bytes| bar.came(bytes);
            interrupt.or(download(address, bound(archive.size), &mut file, &tell)).await??;
        }
        let (sha256, address) = (archive.sha256, address.to_owned());
        let program = format!("{}-{}", release.name, archive.platform);
        let (tools, form) = (release.tools, release.form);
        // It is not left before its end: what is removed afterwards must not be written to.
        blocking(move || {
            verify(&mut file, sha256, &address)?;
            match form {
                Form::Folder => unpack(file, tools, 2, &new, &address),
                Form::Flat => unpack(file, tools, 1, &new, &address),
                Form::Zip => unzip(file, tools, &program, &new, &address),
            }
        })
        .await??;
        interrupt.check()
    };
    // Waiting for another one can be given up; work that has begun ends by itself, and cleans up.
    let key = release.stem(archive.platform);
    cache.insert(&key, interrupt, waits, fill).await.map(drop)
}

/// Gets a release's archive, as it is, from its project's own place into a file, unless it is there; whether it was.
///
/// # Errors
/// A prerequisite (exit 5): it cannot be downloaded or written, or is not what is pinned.
pub async fn save(release: &Release, archive: &Archive, path: &Path) -> Result<bool> {
    let failed =
        |e: std::io::Error| Error::prerequisite(format!("{} cannot be written", path.display())).because(e);
    let address = address(release, archive.platform, None);
    if let Ok(mut there) = File::open(path) {
        verify(&mut there, archive.sha256, &path.display().to_string())?;
        return Ok(true);
    }
    let mut file =
        tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    download(&address, bound(archive.size), file.as_file_mut(), &|_| ()).await?;
    verify(file.as_file_mut(), archive.sha256, &address)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(false)
}

/// Takes the tools, and what their licences ask for, out of an archive, where they are so many names deep.
fn unpack(file: File, tools: &[Tool], depth: usize, folder: &Path, address: &str) -> Result<()> {
    let failed = || Error::prerequisite(format!("what came from {address} cannot be unpacked"));
    let wanted: Vec<&str> = tools.iter().flat_map(|tool| tool.programs()).copied().collect();
    let mut archive = tar::Archive::new(GzDecoder::new(std::io::BufReader::new(file)));
    let mut unpacked = Vec::new();
    for entry in archive.entries().map_err(|e| failed().because(e))? {
        let mut entry = entry.map_err(|e| failed().because(e))?;
        let path = entry.path().map_err(|e| failed().because(e))?.into_owned();
        let (Some(name), true) =
            (path.file_name().and_then(|name| name.to_str()), entry.header().entry_type().is_file())
        else {
            continue;
        };
        if path.components().count() != depth
            || !(wanted.contains(&name) || matches!(name, "LICENSE" | "NOTICE"))
        {
            continue;
        }
        entry.unpack(folder.join(name)).map_err(|e| failed().because(e))?;
        unpacked.push(name.to_owned());
    }
    let there = |tool: &&Tool| tool.programs().iter().any(|name| unpacked.iter().any(|there| there == name));
    match tools.iter().find(|tool| !there(tool)) {
        Some(missing) => Err(failed().because_of(format!("it has no {missing}"))),
        None => Ok(()),
    }
}

/// Takes the one program out of a zip file, under its tool's own name. Its bytes are those that are pinned: it is the
/// first entry, deflated, and that ends by itself.
fn unzip(file: File, tools: &[Tool], program: &str, folder: &Path, address: &str) -> Result<()> {
    const HEADER: usize = 30;
    const DEFLATED: u16 = 8;
    let failed = || Error::prerequisite(format!("what came from {address} cannot be unpacked"));
    let mut zip = std::io::BufReader::new(file);
    let mut header = [0; HEADER];
    zip.read_exact(&mut header).map_err(|e| failed().because(e))?;
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let mut name = vec![0; number(26).into()];
    zip.read_exact(&mut name).map_err(|e| failed().because(e))?;
    let extra = u64::from(number(28));
    std::io::copy(&mut zip.by_ref().take(extra), &mut std::io::sink()).map_err(|e| failed().because(e))?;
    if !header.starts_with(b"PK\x03\x04") || number(8) != DEFLATED || name != program.as_bytes() {
        return Err(failed().because_of(format!("its first entry is no deflated {program}")));
    }
    let mut inflated = DeflateDecoder::new(zip);
    for tool in tools {
        let mut unpacked = File::options()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(folder.join(tool.name()))
            .map_err(|e| failed().because(e))?;
        std::io::copy(&mut inflated, &mut unpacked).map_err(|e| failed().because(e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::digest::hex;
    use crate::terminal::Terminal;

    /// A release of a program that prints its version, in a mirror of its own.
    fn mirror_with(folder: &Path, program: &str) -> (Url, String) {
        let tools = folder.join("tools");
        std::fs::create_dir_all(&tools).expect("a folder");
        let mut builder =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for name in ["alertmanager", "amtool", "LICENSE"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(program.len() as u64);
            header.set_mode(0o755);
            builder
                .append_data(
                    &mut header,
                    format!("alertmanager-0.33.1.linux-amd64/{name}"),
                    program.as_bytes(),
                )
                .expect("an entry");
        }
        let bytes = builder.into_inner().and_then(|gzip| gzip.finish()).expect("an archive");
        std::fs::write(tools.join("alertmanager-0.33.1.linux-amd64.tar.gz"), &bytes).expect("a file");
        let sha256 = hex(Sha256::digest(&bytes));
        (Url::from_directory_path(folder).expect("an absolute path"), sha256)
    }

    async fn install_from(mirror: &Url, sha256: &str, cache: &Cache) -> Result<()> {
        install_tool(Tool::Alertmanager, mirror, sha256, cache).await
    }

    async fn install_tool(tool: Tool, mirror: &Url, sha256: &str, cache: &Cache) -> Result<()> {
        install_at_most(10_000, tool, mirror, sha256, cache).await
    }

    async fn install_at_most(size: u64, tool: Tool, mirror: &Url, sha256: &str, cache: &Cache) -> Result<()> {
        let release = Release::of(tool).expect("a release");
        let sha256: &'static str = sha256.to_owned().leak();
        let archive = Archive { platform: "linux-amd64", sha256, size };
        let address = address(release, "linux-amd64", Some(mirror));
        let bars = Bars::new(&Terminal::silent(true));
        install(release, &archive, &address, cache, &bars, &Interrupt::default()).await
    }

    #[tokio::test]
    async fn a_release_is_taken_from_a_mirror_if_its_checksum_is_right() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        let (mirror, sha256) = mirror_with(folder.path(), "#!/bin/sh\necho alertmanager, version 0.33.1\n");
        install_from(&mirror, &sha256, &cache).await.expect("it is what it should be");
        let entry = cache.entry("alertmanager-0.33.1.linux-amd64");
        assert_eq!(super::super::version(&entry.join("alertmanager")).await.ok().as_deref(), Some("0.33.1"));
        assert!(!entry.join("amtool").exists(), "only what is asked for");
    }

    /// What a mirror has under a release's own file name.
    fn put(folder: &Path, tool: Tool, bytes: &[u8]) -> (Url, String) {
        let tools = folder.join("tools");
        std::fs::create_dir_all(&tools).expect("a folder");
        let file = Release::of(tool).expect("a release").file("linux-amd64");
        std::fs::write(tools.join(file), bytes).expect("a file");
        let sha256 = hex(Sha256::digest(bytes));
        (Url::from_directory_path(folder).expect("an absolute path"), sha256)
    }

    #[tokio::test]
    async fn a_program_that_is_zipped_has_its_own_name_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        let name = b"loki-linux-amd64";
        let mut bytes = vec![0; 30];
        bytes[..4].copy_from_slice(b"PK\x03\x04");
        (bytes[8], bytes[26], bytes[28]) = (8, name.len() as u8, 3);
        bytes.extend([name.as_slice(), b"xyz"].concat());
        let mut deflated = flate2::write::DeflateEncoder::new(bytes, flate2::Compression::fast());
        deflated.write_all(b"#!/bin/sh\necho loki, version 3.7.8\n").expect("written");
        let bytes = deflated.finish().expect("an archive");
        let (mirror, sha256) = put(folder.path(), Tool::Loki, &bytes);
        install_tool(Tool::Loki, &mirror, &sha256, &cache).await.expect("it is what it should be");
        let program = cache.entry("loki-3.7.8.linux-amd64").join("loki");
        assert_eq!(super::super::version(&program).await.ok().as_deref(), Some("3.7.8"));
    }

    #[tokio::test]
    async fn a_program_at_the_root_of_its_archive_is_taken_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gzip);
        let program = b"#!/bin/sh\necho otelcol-contrib version 0.160.0\n";
        for name in ["README.md", "otelcol-contrib"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(program.len() as u64);
            header.set_mode(0o755);
            builder.append_data(&mut header, name, program.as_slice()).expect("an entry");
        }
        let bytes = builder.into_inner().and_then(|gzip| gzip.finish()).expect("an archive");
        let (mirror, sha256) = put(folder.path(), Tool::Collector, &bytes);
        install_tool(Tool::Collector, &mirror, &sha256, &cache).await.expect("it is what it should be");
        let entry = cache.entry("otelcol-contrib-0.160.0.linux-amd64");
        let version = super::super::version(&entry.join("otelcol-contrib")).await;
        assert_eq!(version.ok().as_deref(), Some("0.160.0"));
        assert!(!entry.join("README.md").exists(), "only what is asked for");
    }

    #[tokio::test]
    async fn a_wrong_checksum_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        let (mirror, _) = mirror_with(folder.path(), "evil");
        let pinned = Release::of(Tool::Alertmanager).expect("a release").archives[0].sha256;
        let error = install_from(&mirror, pinned, &cache).await.expect_err("it must be refused");
        assert!(error.to_string().contains(pinned), "{error}");
        assert!(!cache.entry("alertmanager-0.33.1.linux-amd64").exists());
    }

    #[tokio::test]
    async fn an_archive_that_is_too_large_is_refused_before_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        let (mirror, sha256) = mirror_with(folder.path(), "x");
        let refused = install_at_most(10, Tool::Alertmanager, &mirror, &sha256, &cache).await;
        let error = refused.expect_err("it is larger than 15 bytes").to_string();
        assert!(error.contains("larger than 15 bytes"), "{error}");
        assert!(!cache.entry("alertmanager-0.33.1.linux-amd64").exists());
    }
}
