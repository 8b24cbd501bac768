//! The files of a chart, from its folder or its `.tgz`, those of its subcharts among them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};

/// Files that are larger are no values and no templates: they are left out.
const LARGEST: u64 = 16 << 20;

/// How many bytes all files of a chart may have.
const WHOLE: u64 = 128 << 20;

/// What an entry counts besides its bytes.
const ENTRY: u64 = 512;

/// How deeply folders may be nested, and charts in charts.
pub(super) const DEEPEST: usize = 32;

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

    /// The files of a `.tgz`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn unpacked(archive: &[u8]) -> io::Result<Content> {
        Ok(Content { files: of_archive(archive)? })
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

/// What is left of what may be read: a chart is small, and an archive may pretend to be.
struct Budget(u64);

impl Budget {
    fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.0 = self
            .0
            .checked_sub(bytes)
            .ok_or_else(|| io::Error::other(format!("its files have more than {} MiB", WHOLE >> 20)))?;
        Ok(())
    }
}

fn of_folder(root: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut budget = Budget(WHOLE);
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // Links are followed, as helm does; two that lead to their own folder have no end.
            let found = path.metadata()?;
            if found.is_dir() {
                if depth == DEEPEST {
                    return Err(io::Error::other(format!("{} is nested too deeply", path.display())));
                }
                budget.take(ENTRY)?;
                folders.push((path, depth + 1));
            } else if found.is_file() && found.len() <= LARGEST {
                budget.take(ENTRY + found.len())?;
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
    let mut budget = Budget(WHOLE);
    // An archive may be several compressed ones after each other; the bound holds for what is skipped, too.
    let bounded = MultiGzDecoder::new(archive).take(WHOLE * 4);
    for entry in tar::Archive::new(bounded).entries()? {
        let mut entry = entry?;
        budget.take(ENTRY)?;
        if !entry.header().entry_type().is_file() || entry.size() > LARGEST {
            continue;
        }
        budget.take(entry.size())?;
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
    fn a_chart_has_an_end() {
        let root = tempfile::tempdir().unwrap();
        chart(root.path(), "outer");
        for name in ["a", "b"] {
            std::os::unix::fs::symlink(".", root.path().join(name)).unwrap();
        }
        let error = Content::read(root.path()).unwrap_err();
        assert!(error.to_string().contains("can't be read"), "{error}");

        let bomb = root.path().join("bomb.tgz");
        let gzip = flate2::write::GzEncoder::new(File::create(&bomb).unwrap(), flate2::Compression::best());
        let mut builder = tar::Builder::new(gzip);
        for number in 0..12 {
            let mut header = tar::Header::new_gnu();
            header.set_size(LARGEST);
            header.set_cksum();
            builder.append_data(&mut header, format!("x/{number}"), io::repeat(0).take(LARGEST)).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        let error = Content::read(&bomb).unwrap_err();
        assert!(error.to_string().contains("more than 128 MiB"), "{error}");
    }

    #[test]
    fn an_archive_in_two_parts_is_read_whole() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("outer");
        chart(&folder, "outer");
        let whole = pack(&folder, "outer");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(whole.as_slice()).read_to_end(&mut plain).unwrap();
        let file = root.path().join("outer.tgz");
        let mut parts = Vec::new();
        for part in [&plain[..512], &plain[512..]] {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut gzip, part).unwrap();
            parts.extend(gzip.finish().unwrap());
        }
        fs::write(&file, parts).unwrap();
        assert_eq!(Content::read(&file).unwrap(), Content::read(&folder).unwrap());
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
