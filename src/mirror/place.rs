//! What a mirror has, each file held against the mirror's list of checksums.

use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;
use url::Url;

use super::file_name;
use super::sums::{self, Sums};
use crate::digest;
use crate::error::{Error, Result};
use crate::tools::{self, Cache, blocking, download, verify};

/// The largest file of a mirror on the web, in bytes: no image of a program is larger, and an answer without an end is
/// ended here.
const LARGEST: u64 = 16_000_000_000;

/// How old what is in the cache may be at the longest: it is read at once.
const LEFT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// The largest list of checksums, in bytes.
const LARGEST_LIST: u64 = 4_000_000;

/// A mirror that is read from.
#[derive(Debug, Clone)]
pub struct Mirror {
    place: Url,
    sums: OnceCell<Sums>,
}

/// A file of a mirror on this machine; one that was downloaded is removed with this.
#[derive(Debug)]
pub struct Mirrored {
    path: PathBuf,
    folder: Option<tempfile::TempDir>,
}

impl Mirrored {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is in the mirror's own folder, and stays there.
    pub fn stays(&self) -> bool {
        self.folder.is_none()
    }
}

impl Mirror {
    /// The one that `SRE_MIRROR` names, if it names any.
    ///
    /// # Errors
    /// Usage (exit 2) where that is no `file://` and no `https://`.
    pub fn of_environment() -> Result<Option<Mirror>> {
        Ok(tools::mirror()?.map(Mirror::at))
    }

    /// The one at this place.
    pub fn at(place: Url) -> Mirror {
        Mirror { place, sums: OnceCell::new() }
    }

    /// What a path or an address is called in this mirror, if it is below it: `charts/loki-18.11.0.tgz`.
    pub fn inside(&self, path: &str) -> Option<String> {
        let place = tools::place(self.place.clone());
        let name = path.strip_prefix(place.trim_end_matches('/'))?.strip_prefix('/')?;
        sums::FOLDERS.iter().any(|folder| name.starts_with(&format!("{folder}/"))).then(|| name.to_owned())
    }

    /// The archive of an image; `None` where the mirror does not have it.
    ///
    /// # Errors
    /// The mirror cannot be reached or read, or the file is not what its list says (5).
    pub async fn image(&self, image: &str) -> Result<Option<Mirrored>> {
        self.file(&format!("images/{}", file_name(image))).await
    }

    /// A file by its path in the mirror; `None` where the mirror does not have it.
    ///
    /// # Errors
    /// The mirror cannot be reached or read, or the file is not what its list says (5).
    pub async fn file(&self, name: &str) -> Result<Option<Mirrored>> {
        if self.place.scheme() == "file" {
            let (mirror, name) = (self.clone(), name.to_owned());
            let found = blocking(move || mirror.file_here(&name)).await??;
            return Ok(found.map(|path| Mirrored { path, folder: None }));
        }
        let Some(sum) = self.sum(name).await? else { return Ok(None) };
        let address = self.address(name);
        let (folder, path, mut file) = room(name.rsplit('/').next().unwrap_or(name))?;
        download(&address, LARGEST, &mut file, &|_| ()).await?;
        blocking(move || verify(&mut file, &sum, &address)).await??;
        Ok(Some(Mirrored { path, folder: Some(folder) }))
    }

    /// A file of a mirror that is a folder of this machine, held against its list; `None` for what it does not have, and
    /// for a mirror on the web.
    ///
    /// # Errors
    /// The mirror is not there, the file is not listed, or is not what the list says (5).
    pub fn file_here(&self, name: &str) -> Result<Option<PathBuf>> {
        let Ok(root) = self.place.to_file_path() else { return Ok(None) };
        if !root.is_dir() {
            return Err(Error::prerequisite(format!("the mirror {} is not there", root.display()))
                .hint("SRE_MIRROR names it; `sre mirror fill DIR` makes one"));
        }
        let path = root.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let place = path.display().to_string();
        let sums = Sums::of_folder(&root)?.unwrap_or_default();
        let listed = sums.get(name).ok_or_else(|| sums::unlisted(&place))?;
        let found = digest::of_file(&path)
            .map_err(|e| Error::prerequisite(format!("{place} cannot be read")).because(e))?;
        if found == listed { Ok(Some(path)) } else { Err(sums::changed(&place, listed, &found)) }
    }

    /// What the list of a mirror on the web says of a file; `None` where it does not have it.
    ///
    /// # Errors
    /// The mirror cannot be reached, or has no list (5).
    pub async fn sum(&self, name: &str) -> Result<Option<String>> {
        let sums = self.sums.get_or_try_init(|| self.fetch_sums()).await?;
        Ok(sums.get(name).map(str::to_owned))
    }

    async fn fetch_sums(&self) -> Result<Sums> {
        let address = self.address(sums::FILE);
        let (_folder, path, mut file) = room(sums::FILE)?;
        download(&address, LARGEST_LIST, &mut file, &|_| ())
            .await
            .map_err(|error| error.hint("`sre mirror fill DIR` writes it; serve it beside the rest"))?;
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::prerequisite(format!("{address} is no text")).because(e))?;
        Sums::parse(&text, &address)
    }

    fn address(&self, name: &str) -> String {
        format!("{}/{name}", self.place.as_str().trim_end_matches('/'))
    }
}

/// An empty file in the cache, in a folder of its own: the system's folder for temporary files is often in memory.
fn room(name: &str) -> Result<(tempfile::TempDir, PathBuf, std::fs::File)> {
    let cache = Cache::of_user_for("mirror")?;
    cache.prepare()?;
    sweep(cache.root());
    let folder = tempfile::TempDir::new_in(cache.root()).map_err(|e| cache.unwritable(e))?;
    let path = folder.path().join(name);
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path);
    Ok((folder, path, file.map_err(|e| cache.unwritable(e))?))
}

/// Removes what a killed `sre` left: nothing is needed for a day.
fn sweep(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|told| told.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > LEFT) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_mirror_must_be_listed_and_be_what_the_list_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let mirror = Mirror::at(Url::from_directory_path(folder.path()).expect("a path"));
        let name = "charts/loki-1.2.3.tgz";
        assert_eq!(mirror.file_here(name).expect("there is none"), None);
        std::fs::create_dir(folder.path().join("charts")).expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, "a chart").expect("a file");
        let error = mirror.file_here(name).expect_err("it is not listed").to_string();
        assert!(error.contains("SHA256SUMS does not list it"), "{error}");

        Sums::write(folder.path()).expect("a list");
        assert_eq!(mirror.file_here(name).expect("it is listed"), Some(path.clone()));
        assert_eq!(mirror.inside(&path.display().to_string()).as_deref(), Some(name));
        assert_eq!(mirror.inside("/elsewhere/charts/loki-1.2.3.tgz"), None);

        // One byte.
        std::fs::write(&path, "a charT").expect("a file");
        let error = mirror.file_here(name).expect_err("it was changed");
        assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
        assert!(error.to_string().contains("is not what the mirror's SHA256SUMS lists"), "{error}");
    }
}
