//! Fills a mirror with what a stack needs.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Registry, Sums, file_name};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::target::kubernetes::plan::{Action, Plan};
use crate::terminal::Terminal;
use crate::tools::{self, versions};

/// What a mirror holds, one kind a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Helm charts.
    Charts,
    /// Images of programs.
    Images,
    /// Programs of this machine.
    Tools,
}

/// Everything that a mirror should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Charts: the name of the file, and where the chart is on this machine.
    pub charts: Vec<(String, PathBuf)>,
    /// Images by their full names.
    pub images: Vec<String>,
    /// For which platform, as Go names it: `linux-amd64`.
    pub platform: String,
    /// Whether programs are among it.
    pub tools: bool,
}

/// A file of a mirror that was filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// What it is.
    pub kind: Kind,
    /// What it holds: a chart, an image, a program, with its version.
    pub name: String,
    /// Where it is, from the mirror's folder.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it was there already.
    pub kept: bool,
}

/// The charts of a plan as a mirror names them: `plan` as it was made, `settled` once its charts are here. A chart
/// that the user has as a folder or a file is needed in no mirror.
pub fn wanted(plan: &Plan, settled: &Plan) -> Vec<(String, PathBuf)> {
    let of = |plan: &Plan| {
        let releases = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Chart(release) => Some(release.clone()),
            _ => None,
        });
        releases.collect::<Vec<_>>()
    };
    of(plan)
        .into_iter()
        .zip(of(settled))
        .filter(|(named, here)| named.chart != here.chart)
        .map(|(named, here)| {
            let name = named.chart.rsplit('/').next().unwrap_or_default();
            (format!("{name}-{}.tgz", named.version.as_deref().unwrap_or_default()), here.chart.into())
        })
        .collect()
}

/// Fills a mirror; what is there already stays. What cannot be got is told at the end, after all the rest.
///
/// # Errors
/// What cannot be got or written (5).
pub async fn fill(
    root: &Path,
    wanted: &Wanted,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Vec<Filled>> {
    let mut filled = Vec::new();
    let mut failed: Vec<Error> = Vec::new();
    for (name, chart) in &wanted.charts {
        let path = place(root, "charts", name)?;
        let kept = path.is_file();
        if !kept {
            let bytes = fs::read(chart)
                .map_err(|e| Error::prerequisite(format!("{} cannot be read", chart.display())).because(e))?;
            write_whole(&path, &bytes)?;
        }
        filled.push(told(Kind::Charts, name.trim_end_matches(".tgz"), root, &path, kept)?);
    }
    let architecture = wanted.platform.rsplit('-').next().unwrap_or_default();
    let registry = Registry::new(architecture);
    for image in &wanted.images {
        let path = place(root, "images", &file_name(image))?;
        let kept = path.is_file();
        if !kept {
            terminal.say(format!("getting image {image}"));
            let tell = |line: &str| terminal.detail(line);
            if let Err(error) = interrupt.or(registry.pull(image, &path, &tell)).await? {
                failed.push(error);
                continue;
            }
        }
        filled.push(told(Kind::Images, image, root, &path, kept)?);
    }
    for release in versions::RELEASES.iter().filter(|_| wanted.tools) {
        let Some(archive) = release.archive(&wanted.platform) else { continue };
        let name = format!("{} {}", release.name, release.version);
        let path = place(root, "tools", &release.file(&wanted.platform))?;
        if !path.is_file() {
            terminal.say(format!("getting {name}"));
        }
        match interrupt.or(tools::save(release, archive, &path)).await? {
            Ok(kept) => filled.push(told(Kind::Tools, &name, root, &path, kept)?),
            Err(error) => failed.push(error),
        }
    }
    list(root, terminal).await?;
    if let Some(first) = failed.first() {
        let told: Vec<String> = failed
            .iter()
            .map(|error| {
                let causes = error.causes().iter().map(String::as_str);
                std::iter::once(error.what()).chain(causes).collect::<Vec<_>>().join(": ")
            })
            .collect();
        let counts = format!("{} of {}", failed.len(), failed.len() + filled.len());
        let error =
            Error::prerequisite(format!("the mirror {} is not full: {counts} are missing", root.display()))
                .because_of(told.join("\n"));
        return Err(match first.next_step() {
            Some(hint) => error.hint(format!("what is there stays; try again, or {hint}")),
            None => error.hint("what is there stays; try again"),
        });
    }
    Ok(filled)
}

/// Lists all that is there, so that who reads the mirror sees whether it is still what it was.
async fn list(root: &Path, terminal: &Terminal) -> Result<()> {
    let folder = root.to_owned();
    let own = tools::blocking(move || Sums::write(&folder)).await??;
    terminal.say(format!(
        "{}/SHA256SUMS lists all that is there; its own SHA-256, to compare where the mirror is used:\n{own}",
        root.display()
    ));
    Ok(())
}

fn place(root: &Path, folder: &str, name: &str) -> Result<PathBuf> {
    let folder = root.join(folder);
    fs::create_dir_all(&folder)
        .map_err(|e| Error::prerequisite(format!("{} cannot be made", folder.display())).because(e))?;
    Ok(folder.join(name))
}

/// Nobody sees half a file, not even after a power cut: it is renamed when it is whole and on the disk.
pub(super) fn write_whole(to: &Path, bytes: &[u8]) -> Result<()> {
    let failed =
        |e: std::io::Error| Error::prerequisite(format!("{} cannot be written", to.display())).because(e);
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    readable(file.path()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(to).map_err(|e| failed(e.error))?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// A mirror is served to others: its files are not its owner's alone, as those of tempfile are.
fn readable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn told(kind: Kind, name: &str, root: &Path, path: &Path, kept: bool) -> Result<Filled> {
    let read = |e| Error::prerequisite(format!("{} cannot be read", path.display())).because(e);
    let bytes = fs::metadata(path).map_err(read)?.len();
    if !kept {
        readable(path).map_err(read)?;
    }
    let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
    Ok(Filled { kind, name: name.into(), file, bytes, kept })
}
