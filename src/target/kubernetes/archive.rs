//! An image as an archive: an OCI layout that `docker load`, containerd and CRI-O read alike.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::digest::hex;

/// An image of which everything is at hand.
#[derive(Debug)]
pub struct Whole<'a> {
    /// Its full name, as the kubelet asks for it.
    pub image: &'a str,
    /// Its manifest, to the byte.
    pub manifest: &'a [u8],
    /// The manifest's media type.
    pub media_type: &'a str,
    /// Its configuration, to the byte.
    pub config: &'a [u8],
    /// The platform that it is for, as OCI names it: `amd64`.
    pub architecture: &'a str,
    /// Its layers in their order: the digest in hex, and the file that holds it.
    pub layers: &'a [(String, PathBuf)],
}

/// Writes an archive. Equal images make equal archives; nobody sees half of one.
pub fn write(image: &Whole<'_>, archive: &Path) -> io::Result<()> {
    let folder = archive.parent().unwrap_or(Path::new("."));
    let manifest_digest = sha256(image.manifest);
    let config_digest = sha256(image.config);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": image.media_type,
            "digest": format!("sha256:{manifest_digest}"), "size": image.manifest.len(),
            "platform": {"architecture": image.architecture, "os": "linux"},
            "annotations": {"io.containerd.image.name": image.image,
                "org.opencontainers.image.ref.name": image.image.rsplit(':').next()}}],
    });
    // Docker's own older form, over the same blobs.
    let layers: Vec<String> =
        image.layers.iter().map(|(digest, _)| format!("blobs/sha256/{digest}")).collect();
    let docker = json!([{"Config": format!("blobs/sha256/{config_digest}"), "RepoTags": [image.image],
        "Layers": layers}]);

    let mut whole = tempfile::NamedTempFile::new_in(folder)?;
    let mut tar = Builder::new(io::BufWriter::new(whole.as_file_mut()));
    file(&mut tar, "oci-layout", json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes())?;
    file(&mut tar, "index.json", index.to_string().as_bytes())?;
    file(&mut tar, "manifest.json", docker.to_string().as_bytes())?;
    file(&mut tar, &format!("blobs/sha256/{config_digest}"), image.config)?;
    file(&mut tar, &format!("blobs/sha256/{manifest_digest}"), image.manifest)?;
    let mut written: Vec<&str> = Vec::new();
    for (digest, path) in image.layers {
        // An image may have the same layer twice, the empty one for example.
        if !written.contains(&digest.as_str()) {
            let source = File::open(path)?;
            let mut header = header(EntryType::Regular, 0o644, source.metadata()?.len());
            tar.append_data(&mut header, format!("blobs/sha256/{digest}"), source)?;
            written.push(digest);
        }
    }
    tar.into_inner()?.flush()?;
    whole.persist(archive)?;
    Ok(())
}

/// Appends a small file.
pub fn file(tar: &mut Builder<impl Write>, path: &str, content: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(EntryType::Regular, 0o644, content.len() as u64), path, content)
}

/// A header that says nothing of when and where the archive was made.
pub fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A file's SHA-256 in hex, and its size.
pub fn digest(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex(hash.finalize()), size));
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
}

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}
