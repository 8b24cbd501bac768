//! What a mirror has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::StatusCode;
use url::Url;

use super::file_name;
use crate::error::{Error, Result};
use crate::http_client;
use crate::tools;

/// A mirror that is read from.
#[derive(Debug, Clone)]
pub struct Mirror {
    place: Url,
}

/// A file of a mirror on this machine; one that was downloaded is removed with this.
#[derive(Debug)]
pub struct Mirrored {
    path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Mirrored {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
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
        Mirror { place }
    }

    /// The archive of an image; `None` where the mirror does not have it.
    ///
    /// # Errors
    /// The mirror cannot be reached or read (5).
    pub async fn image(&self, image: &str) -> Result<Option<Mirrored>> {
        let name = file_name(image);
        if let Ok(root) = self.place.to_file_path() {
            if !root.is_dir() {
                return Err(Error::prerequisite(format!("the mirror {} is not there", root.display()))
                    .hint("SRE_MIRROR names it; `sre mirror fill DIR` makes one"));
            }
            let path = root.join("images").join(name);
            return Ok(path.is_file().then_some(Mirrored { path, _folder: None }));
        }
        let address = format!("{}/images/{name}", self.place.as_str().trim_end_matches('/'));
        let failed = || Error::prerequisite(format!("{address} cannot be downloaded"));
        let client = http_client::downloader_for(&self.place)
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(30))
            .build()
            .map_err(|e| failed().because(e))?;
        let answer = client.get(&address).send().await.map_err(|e| failed().because(e.without_url()))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.error_for_status().map_err(|e| failed().because(e.without_url()))?;
        let folder = tempfile::tempdir().map_err(|e| failed().because(e))?;
        let path = folder.path().join(name);
        let mut file = tokio::fs::File::create(&path).await.map_err(|e| failed().because(e))?;
        let mut body = answer.bytes_stream();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|e| failed().because(e.without_url()))?;
            tokio::io::AsyncWriteExt::write_all(&mut file, &bytes).await.map_err(|e| failed().because(e))?;
        }
        tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(|e| failed().because(e))?;
        Ok(Some(Mirrored { path, _folder: Some(folder) }))
    }
}
