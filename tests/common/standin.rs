//! Images of the tests' stand-in (`tests/standin/program.rs`) under the names of images that cannot be had everywhere.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};
use sre::interrupt::Interrupt;
use sre::target::kubernetes::image::Loader;

use super::needs;

/// Loads the stand-in under each of these names, by the command of `SRE_TEST_IMAGE_LOADER`; `false`, said loudly, where it
/// names none.
pub async fn load(names: &[&str]) -> bool {
    let Some(loader) = needs::variable("cluster", "SRE_TEST_IMAGE_LOADER", "command") else { return false };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("standin");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/standin/program.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let flags = ["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "opt-level=2"];
    let status = Command::new(rustc).args(flags).arg("-o").arg(&program).arg(source).status();
    assert!(status.unwrap().success());
    for (number, name) in names.iter().enumerate() {
        let archive = folder.path().join(format!("{number}.tar"));
        write_archive(&program, name, &archive);
        Loader::Command(loader.clone()).load(&archive, name, &Interrupt::default()).await.unwrap();
    }
    true
}

/// An archive as `docker save` writes it: one layer, one program, run as root, because upstream's listen on port 80.
fn write_archive(program: &Path, image: &str, archive: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    layer.append_path_with_name(program, "bin/standin").unwrap();
    let layer = layer.into_inner().unwrap();
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Entrypoint": ["/bin/standin"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]);
    let mut tar = tar::Builder::new(std::fs::File::create(archive).unwrap());
    for (name, content) in [
        ("config.json", config.to_string().as_bytes()),
        ("layer.tar", &layer),
        ("manifest.json", manifest.to_string().as_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    tar.finish().unwrap();
}
