//! The files of a chart, from its folder or its `.tgz`, those of its subcharts among them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;

use crate::error::{Error, Result};

/// Files that are larger are no values and no templates: they are left out.
const LARGEST: u64 = 16 << 20;

/// The files of a chart by their paths in it: `values.yaml`, `templates/web.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Content {
    /// Reads a chart's folder or `.tgz`.
    ///
    /// # Errors
    /// Usage (exit 2) where it can't be read, or has no `Chart.yaml`.
    pub fn read(chart: &Path) -> Result<Content> {
        let unread = || Error::usage(format!("the chart {} can't be read", chart.display()));
        let files = if chart.is_dir() { of_folder(chart) } else { File::open(chart).and_then(of_archive) };
        let content = Content { files: files.map_err(|e| unread().because(e))? };
        if content.text("Chart.yaml").is_none() {
            return Err(unread().because_of("it has no Chart.yaml").hint(
                "name the folder that holds the chart's Chart.yaml, or a .tgz that `helm package` made",
            ));
        }
        Ok(content)
    }

    /// The text of a file; `None` where there is no such file, or where it is no text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(Path::new(path)).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The texts of all files below a folder.
    pub fn below(&self, folder: &str) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .filter(move |(path, _)| path.starts_with(folder))
            .filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok())
    }

    /// Its subcharts, which are folders or `.tgz` in `charts/`. One that can't be read is left out: helm will say so.
    pub fn subcharts(&self) -> Vec<Content> {
        let mut folders: BTreeMap<PathBuf, Content> = BTreeMap::new();
        let mut archives = Vec::new();
        for (path, bytes) in &self.files {
            let Ok(inner) = path.strip_prefix("charts") else { continue };
            let mut parts = inner.components();
            let Some(Component::Normal(first)) = parts.next() else { continue };
            let rest = parts.as_path();
            if rest.as_os_str().is_empty() {
                archives.extend(of_archive(bytes.as_slice()).map(|files| Content { files }));
            } else {
                folders.entry(first.into()).or_default().files.insert(rest.to_owned(), bytes.clone());
            }
        }
        folders.into_values().chain(archives).filter(|sub| sub.text("Chart.yaml").is_some()).collect()
    }
}

fn of_folder(root: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.metadata()?.len() <= LARGEST {
                let inner = path.strip_prefix(root).unwrap_or(&path).to_owned();
                files.insert(inner, fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

/// The files of a `.tgz`, without the folder that all of them are in.
fn of_archive(archive: impl Read) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() || entry.size() > LARGEST {
            continue;
        }
        let path = entry.path()?.components().skip(1).collect();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(path, bytes);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(folder: &Path, name: &str) {
        fs::create_dir_all(folder.join("templates")).unwrap();
        fs::write(folder.join("Chart.yaml"), format!("name: {name}\n")).unwrap();
        fs::write(folder.join("values.yaml"), format!("of: {name}\n")).unwrap();
        fs::write(folder.join("templates/a.yaml"), "kind: ConfigMap\n").unwrap();
    }

    fn pack(folder: &Path, name: &str) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gzip);
        builder.append_dir_all(name, folder).unwrap();
        builder.into_inner().and_then(|gzip| gzip.finish()).unwrap()
    }

    #[test]
    fn a_folder_and_its_archive_are_alike() {
        let root = tempfile::tempdir().unwrap();
        let (outer, inner) = (root.path().join("outer"), root.path().join("inner"));
        chart(&outer, "outer");
        chart(&outer.join("charts/unpacked"), "unpacked");
        chart(&inner, "inner");
        fs::write(outer.join("charts/inner-1.0.0.tgz"), pack(&inner, "inner")).unwrap();
        let archive = root.path().join("outer.tgz");
        fs::write(&archive, pack(&outer, "outer")).unwrap();

        let of_folder = Content::read(&outer).unwrap();
        assert_eq!(Content::read(&archive).unwrap(), of_folder);
        assert_eq!(of_folder.text("values.yaml"), Some("of: outer\n"));
        assert_eq!(of_folder.below("templates").count(), 1);
        let of: Vec<String> =
            of_folder.subcharts().iter().map(|sub| sub.text("values.yaml").unwrap().to_owned()).collect();
        assert_eq!(of, ["of: unpacked\n", "of: inner\n"]);
    }

    #[test]
    fn what_is_no_chart_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = Content::read(root.path()).unwrap_err();
        assert!(error.to_string().contains("no Chart.yaml"), "{error}");
        let file = root.path().join("x.tgz");
        fs::write(&file, "not gzip").unwrap();
        assert_eq!(Content::read(&file).unwrap_err().exit(), crate::exit::Exit::Usage);
        assert!(Content::read(&root.path().join("nowhere")).is_err());
    }
}
