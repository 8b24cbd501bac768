//! What is embedded in the program.

use include_dir::{Dir, DirEntry, include_dir};

pub(super) static STACKS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/stacks");
pub(super) static SCENARIOS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");
pub(super) static MANIFESTS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/manifests");

/// A file that is embedded in the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedFile {
    /// Where it belongs, from the folder that `sre` works in: `scenarios/errors.yaml`.
    pub path: String,
    /// Its text.
    pub text: &'static str,
}

/// Every file that is embedded in the program, by path.
pub fn shipped_files() -> Vec<ShippedFile> {
    let mut files = Vec::new();
    for (name, dir) in [("manifests", &MANIFESTS), ("scenarios", &SCENARIOS), ("stacks", &STACKS)] {
        collect(name, dir, &mut files);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(name: &str, dir: &Dir<'static>, files: &mut Vec<ShippedFile>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => collect(name, dir, files),
            DirEntry::File(file) => {
                let path = format!("{name}/{}", file.path().display());
                files.extend(file.contents_utf8().map(|text| ShippedFile { path, text }));
            }
        }
    }
}

/// The text of an embedded file, by its path in `dir`.
pub(super) fn text(dir: &'static Dir<'static>, path: &str) -> Option<&'static str> {
    dir.get_file(path)?.contents_utf8()
}
