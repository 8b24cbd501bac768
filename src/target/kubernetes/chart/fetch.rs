//! Gets a chart once: from its repository, a registry or a mirror into the cache, where helm and the check of its values
//! read it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::error::{Error, Result};
use crate::target::kubernetes::helm::Helm;
use crate::target::kubernetes::plan::Release;
use crate::tools::Cache;

/// Puts the chart's file in place of the name by which it is got. A chart that is a folder or a file stays as it is.
///
/// # Errors
/// Usage (exit 2) where its path leads nowhere, a prerequisite (5) where it cannot be got.
pub async fn fetch(release: &Release, helm: &Helm, cache: &Cache) -> Result<Release> {
    if Path::new(&release.chart).exists() {
        return Ok(release.clone());
    }
    let missing = || Error::usage(format!("release {}: there is no chart {}", release.name, release.chart));
    if release.repository.is_none() && !release.chart.contains("://") {
        return Err(match release.chart.contains("/charts/") && release.version.is_some() {
            true => missing().hint("`sre mirror fill DIR` fills a mirror with what a stack needs"),
            false => missing().hint("name a folder with a Chart.yaml, a .tgz, or a chart of a `repository`"),
        });
    }
    let folder = cache.insert(&key(release), async |new| helm.pull(release, &new).await).await?;
    let file = archive(&folder).ok_or_else(|| {
        Error::prerequisite(format!("{} holds no chart", folder.display()))
            .hint(format!("remove it, and it is got again: rm -r {}", folder.display()))
    })?;
    Ok(Release { chart: file.display().to_string(), repository: None, ..release.clone() })
}

/// Where a release's chart is, if nothing must be got for it.
pub fn at_hand(release: &Release, cache: &Cache) -> Option<PathBuf> {
    let path = Path::new(&release.chart);
    if path.exists() { Some(path.to_owned()) } else { archive(&cache.entry(&key(release))) }
}

/// The only `.tgz` of a folder.
fn archive(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "tgz"))
}

/// The name of its folder in the cache, which tells equal names of different repositories apart.
fn key(release: &Release) -> String {
    let from = format!("{} {}", release.repository.as_deref().unwrap_or_default(), release.chart);
    let hash = hex(&Sha256::digest(from)[..4]);
    let name = release.chart.rsplit('/').next().unwrap_or_default().trim_end_matches(".tgz");
    let version = release.version.as_deref().unwrap_or("0");
    // They come from a stack file, and become the name of a folder.
    let plain = |text: &str| text.replace(|c: char| !(c.is_ascii_alphanumeric() || "-_+.".contains(c)), "_");
    format!("{}-{}-{hash}", plain(name).trim_start_matches('.'), plain(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(chart: &str, repository: Option<&str>) -> Release {
        Release {
            name: "logs".into(),
            namespace: "lab".into(),
            chart: chart.into(),
            repository: repository.map(str::to_owned),
            version: Some("1.2.3".into()),
            values: serde_json::Value::Null,
        }
    }

    #[test]
    fn charts_of_one_name_and_two_repositories_are_two() {
        let one = key(&release("loki", Some("https://a.example")));
        let two = key(&release("loki", Some("https://b.example")));
        assert!(one.starts_with("loki-1.2.3-") && one != two, "{one} {two}");
        let strange = Release { version: Some("../../x".into()), ..release("..", None) };
        assert!(!key(&strange).contains('/') && !key(&strange).starts_with('.'), "{}", key(&strange));
        assert!(key(&release("oci://ghcr.io/x/loki", None)).starts_with("loki-1.2.3-"));
    }
}
