//! Gets a chart once: from its repository, a registry or a mirror into the cache, where helm and the check of its values
//! read it. What is read is held against the digest that is pinned, and against the mirror's list.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::digest::{self, hex};
use crate::error::{Error, Result};
use crate::mirror::Mirror;
use crate::target::kubernetes::helm::Helm;
use crate::target::kubernetes::plan::Release;
use crate::tools::{Cache, blocking};

/// Puts the chart's file in place of the name by which it is got. A chart that is a folder or a file stays as it is.
///
/// # Errors
/// Usage (exit 2) where its path leads nowhere, a prerequisite (5) where it cannot be got or is another than is pinned.
pub async fn fetch(release: &Release, helm: &Helm, cache: &Cache) -> Result<Release> {
    let mirror = Mirror::of_environment()?;
    let of_mirror = mirror.as_ref().and_then(|mirror| Some((mirror, mirror.inside(&release.chart)?)));
    let file = match of_mirror {
        Some((mirror, name)) => from_mirror(release, mirror, &name, helm, cache).await?,
        None if Path::new(&release.chart).exists() => return Ok(release.clone()),
        None => from_repository(release, helm, cache).await?,
    };
    let (held, pinned, chart) = (file.clone(), release.sha256.clone(), named(release));
    blocking(move || hold(&held, pinned.as_deref(), &chart)).await??;
    Ok(Release { chart: file.display().to_string(), repository: None, ..release.clone() })
}

async fn from_mirror(
    release: &Release,
    mirror: &Mirror,
    name: &str,
    helm: &Helm,
    cache: &Cache,
) -> Result<PathBuf> {
    let missing = || {
        Error::usage(format!("release {}: there is no chart {}", release.name, release.chart))
            .hint("`sre mirror fill DIR` fills a mirror with what a stack needs")
    };
    let got = helm.interrupt().or(mirror.file(name)).await??.ok_or_else(missing)?;
    if got.stays() {
        return Ok(got.path().to_owned());
    }
    // One key for each content: what a mirror had before is not taken for what it has now.
    let sum = mirror.sum(name).await?.unwrap_or_default();
    let key = format!("{}-{}", key(release), &sum[..sum.len().min(16)]);
    let (from, file) = (got.path().to_owned(), name.rsplit('/').next().unwrap_or_default().to_owned());
    let fill = |new: PathBuf| async move {
        std::fs::copy(&from, new.join(file)).map(drop).map_err(|e| cache.unwritable(e))
    };
    let folder = cache.insert(&key, helm.interrupt(), || (), fill).await?;
    whole(cache, &key, &folder).await
}

async fn from_repository(release: &Release, helm: &Helm, cache: &Cache) -> Result<PathBuf> {
    if release.repository.is_none() && !release.chart.contains("://") {
        return Err(Error::usage(format!("release {}: there is no chart {}", release.name, release.chart))
            .hint("name a folder with a Chart.yaml, a .tgz, or a chart of a `repository`"));
    }
    let key = key(release);
    let fill = async |new: PathBuf| {
        helm.pull(release, &new).await?;
        let got = archive(&new).ok_or_else(|| Error::prerequisite("helm pulled no chart"))?;
        // A chart that is another one does not come into the cache.
        hold(&got, release.sha256.as_deref(), &named(release))
    };
    let folder = cache.insert(&key, helm.interrupt(), || (), fill).await?;
    whole(cache, &key, &folder).await
}

/// The chart of an entry of the cache, if it is the one that was put there.
async fn whole(cache: &Cache, key: &str, folder: &Path) -> Result<PathBuf> {
    let (cache, key, folder) = (cache.clone(), key.to_owned(), folder.to_owned());
    blocking(move || {
        let wrong = |why: &str| {
            Error::prerequisite(format!("{} {why}", folder.display()))
                .hint(format!("remove it, and it is got again: rm -r {}", folder.display()))
        };
        let file = archive(&folder).ok_or_else(|| wrong("holds no chart"))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        cache.file(&key, &name).map_err(|why| wrong(&why)).map(|_| file)
    })
    .await?
}

/// Holds a chart's archive against the digest that is pinned for it.
fn hold(file: &Path, pinned: Option<&str>, chart: &str) -> Result<()> {
    let Some(pinned) = pinned else { return Ok(()) };
    let found = digest::of_file(file)
        .map_err(|e| Error::prerequisite(format!("{} cannot be read", file.display())).because(e))?;
    if found == pinned {
        return Ok(());
    }
    Err(Error::prerequisite(format!("the chart {chart} is not the one that is pinned: it was refused"))
        .because_of(format!("the SHA-256 of {} is {found}, pinned is {pinned}", file.display()))
        .hint("get it again; if it stays so, somebody has changed it: do not use it"))
}

fn named(release: &Release) -> String {
    let name = release.chart.rsplit('/').next().unwrap_or_default().trim_end_matches(".tgz");
    match &release.version {
        Some(version) if !name.ends_with(version.as_str()) => format!("{name} {version}"),
        _ => name.to_owned(),
    }
}

/// Where a release's chart is, if nothing must be got for it.
///
/// # Errors
/// A prerequisite (exit 5): it is another than the mirror's list or the pinned digest says.
pub fn at_hand(release: &Release, cache: &Cache) -> Result<Option<PathBuf>> {
    let mirror = Mirror::of_environment()?;
    let path = Path::new(&release.chart);
    if let Some((mirror, name)) = mirror.as_ref().and_then(|m| Some((m, m.inside(&release.chart)?))) {
        let Some(file) = mirror.file_here(&name)? else { return Ok(None) };
        hold(&file, release.sha256.as_deref(), &named(release))?;
        return Ok(Some(file));
    }
    if path.exists() {
        return Ok(Some(path.to_owned()));
    }
    let key = key(release);
    let Some(file) = archive(&cache.entry(&key)) else { return Ok(None) };
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(cache.file(&key, &name).ok().flatten())
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
            sha256: None,
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

    #[test]
    fn a_chart_that_is_not_the_pinned_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("loki-1.2.3.tgz");
        std::fs::write(&file, "a chart").expect("a file");
        let sum = digest::of_file(&file).expect("its sum");
        assert!(hold(&file, Some(&sum), "loki 1.2.3").is_ok() && hold(&file, None, "loki 1.2.3").is_ok());
        std::fs::write(&file, "a charT").expect("a file");
        let error = hold(&file, Some(&sum), "loki 1.2.3").expect_err("it was changed");
        assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
        assert!(error.to_string().contains(&format!("pinned is {sum}")), "{error}");
    }
}
