//! The distribution's package, unpacked into the cache: no root, nothing installed, no service, and nothing of the
//! system's apt touched. Where the system has no package lists, or they lack the package or are old, lists are got into
//! the cache, from the system's own sources and checked by its own keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::sync::OnceCell;

use super::command::{self, Ended};
use super::progress::Bars;
use super::{Cache, cache};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// A program that looks for its files at a place that only root can fill, and that place. It is told
/// another of the same length, relative to where it is started: `usr/share/prometheus` of its package.
const FIXED: (&str, &str, &str) = (
    "usr/bin/prometheus-alertmanager",
    "/usr/share/prometheus/alertmanager",
    "/proc/self/cwd//./././alertmanager",
);

/// The name of a package's folder in the cache.
pub fn key(package: &str) -> String {
    format!("{package}-package")
}

/// A package as the distribution offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its size, in bytes.
    pub size: u64,
}

/// Which package lists are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// The system's.
    System,
    /// Those in the cache.
    Own,
}

/// What packages are got by.
#[derive(Debug)]
pub struct Apt {
    folder: PathBuf,
    refreshed: OnceCell<Result<()>>,
}

/// Why this system has not the programs that packages are got by; `None` if it has.
pub async fn unusable() -> Option<String> {
    for program in ["apt-get", "apt-cache", "dpkg"] {
        if command::run(program, &["--version"], None, &Interrupt::default(), &|| ()).await.is_err() {
            return Some(format!("this system has no {program}"));
        }
    }
    None
}

/// What the system's own lists offer; `None` where they know no such package, or there are none.
pub async fn offered_here(name: &str) -> Option<Package> {
    offered(&options(Lists::System, Path::new("")), name).await
}

async fn offered(options: &[String], name: &str) -> Option<Package> {
    let arguments = [options, &["show", "--no-all-versions", name].map(str::to_owned)].concat();
    let ended = command::run("apt-cache", &arguments, None, &Interrupt::default(), &|| ()).await.ok()?;
    ended.success.then(|| parse(name, &ended.stdout)).flatten()
}

fn parse(name: &str, text: &str) -> Option<Package> {
    let field =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    Some(Package { name: name.into(), version: field("Version")?.into(), size: field("Size")?.parse().ok()? })
}

/// Options that keep apt from writing to the system's folders.
fn options(lists: Lists, folder: &Path) -> Vec<String> {
    let mut options = match lists {
        Lists::Own => vec!["-c".into(), configuration_of(folder).display().to_string()],
        Lists::System => Vec::new(),
    };
    // Its own cache of lists would be written for root; root would give what it gets to another user, who may not
    // come into the cache; and what is not signed is not taken, whatever the system allows.
    for option in [
        "Dir::Cache::pkgcache=",
        "Dir::Cache::srcpkgcache=",
        "APT::Sandbox::User=root",
        "APT::Get::AllowUnauthenticated=false",
        "Acquire::AllowInsecureRepositories=false",
        "Acquire::Retries=1",
    ] {
        options.extend(["-o".into(), option.into()]);
    }
    options
}

fn configuration_of(folder: &Path) -> PathBuf {
    folder.join("apt.conf")
}

/// Has apt keep its lists and all else that it writes in a folder of its own; `apt-get update` then runs nothing that the
/// system hangs onto it, and gets only lists of packages.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
         Dir::State \"{folder}/state\";\nDir::State::lists \"{folder}/lists\";\nDir::Cache \"{folder}/cache\";\n\
         Dir::Log \"{folder}\";\nAcquire::Languages \"none\";\nAcquire::PDiffs \"false\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n"
    )
}

impl Apt {
    /// One that keeps its lists in this cache.
    pub fn of(cache: &Cache) -> Apt {
        Apt { folder: cache.root().join(".apt"), refreshed: OnceCell::new() }
    }

    /// Gets lists of packages into the cache, once for all that ask, and says what they offer.
    ///
    /// # Errors
    /// A prerequisite (exit 5): there are none, they do not verify, or they lack the package. Those of an interruption.
    pub async fn refreshed(
        &self,
        name: &str,
        cache: &Cache,
        bars: &Bars,
        interrupt: &Interrupt,
    ) -> Result<Package> {
        let refreshed = self.refreshed.get_or_init(|| self.refresh(cache, bars, interrupt)).await;
        interrupt.check()?;
        // Where one of several sources failed, another may have it.
        let offered = offered(&options(Lists::Own, &self.folder), name).await;
        match (offered, refreshed) {
            (Some(package), _) => Ok(package),
            (None, Err(error)) => Err(error.clone()),
            (None, Ok(())) => {
                Err(Error::prerequisite(format!("the distribution's lists have no package {name}")))
            }
        }
    }

    async fn refresh(&self, cache: &Cache, bars: &Bars, interrupt: &Interrupt) -> Result<()> {
        let asked = SystemTime::now();
        let waits = || bars.say("another sre is getting package lists: waiting for it");
        let _lock = interrupt.or(cache.lock("apt", waits)).await??;
        let marker = self.folder.join("updated");
        // Another one got them meanwhile.
        if fs::metadata(&marker).and_then(|told| told.modified()).is_ok_and(|at| at >= asked) {
            return Ok(());
        }
        self.lay_out().map_err(|e| cache.unwritable(e))?;
        bars.say("getting the distribution's package lists, into the cache");
        let lists = self.folder.join("lists");
        let bar = bars.start("package lists", None);
        let arguments = [options(Lists::Own, &self.folder), vec!["update".into()]].concat();
        let tick = || bar.is_at(size_of(&lists));
        let ended = command::run("apt-get", &arguments, None, interrupt, &tick).await;
        let failed = || Error::prerequisite("the distribution's package lists cannot be got");
        let ended = ended.map_err(|why| failed().because_of(why))?;
        interrupt.check()?;
        match complaints(&ended) {
            None => fs::write(&marker, "").map_err(|e| cache.unwritable(e)),
            Some(why) => Err(failed().because_of(why)),
        }
    }

    fn lay_out(&self) -> std::io::Result<()> {
        let folder = self.folder.display().to_string();
        if folder.contains(['"', '\n', ';']) {
            return Err(std::io::Error::other(format!(
                "apt cannot be told of a folder of this name: {folder}"
            )));
        }
        for part in ["lists/partial", "cache/archives/partial", "state"] {
            fs::create_dir_all(self.folder.join(part))?;
        }
        fs::write(configuration_of(&self.folder), configuration(&self.folder))
    }

    /// Gets a package and unpacks it into the cache, unless it is there.
    ///
    /// # Errors
    /// A prerequisite (exit 5): it cannot be got, verified or written. Those of an interruption.
    pub async fn unpack(
        &self,
        lists: Lists,
        package: &Package,
        cache: &Cache,
        bars: &Bars,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let name = package.name.as_str();
        let waits = || bars.say(format!("another sre is getting {name}: waiting for it"));
        let fill = |new: PathBuf| async move {
            let work = tempfile::TempDir::new_in(&new).map_err(|e| cache.unwritable(e))?;
            let bar = bars.start(name, Some(package.size));
            // apt checks the package against the distribution's signed lists.
            let get = [options(lists, &self.folder), vec!["download".into(), name.into()]].concat();
            let tick = || bar.is_at(size_of(work.path()));
            checked("apt-get", &get, work.path(), interrupt, &tick).await?;
            let archive = fs::read_dir(work.path())
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
                .ok_or_else(|| Error::prerequisite(format!("`apt-get download {name}` left no package")))?;
            let unpack = ["-x".into(), archive.display().to_string(), new.display().to_string()];
            checked("dpkg", &unpack, work.path(), interrupt, &|| ()).await?;
            cache::blocking(move || relocate(&new)).await?
        };
        cache.insert(&key(name), interrupt, waits, fill).await.map(drop)
    }
}

/// Runs a program of the distribution in a folder; an error if it does not succeed.
async fn checked(
    program: &str,
    arguments: &[String],
    folder: &Path,
    interrupt: &Interrupt,
    tick: &(dyn Fn() + Sync),
) -> Result<()> {
    let failed = || Error::prerequisite(format!("{program} failed"));
    let ended = command::run(program, arguments, Some(folder), interrupt, tick).await;
    interrupt.check()?;
    let ended = ended.map_err(|why| failed().because_of(why))?;
    if ended.success {
        return Ok(());
    }
    Err(failed().because_of(complaints(&ended).unwrap_or(ended.status)))
}

/// What apt said that went wrong, in at most three lines; `None` where it succeeded and complained of nothing.
fn complaints(ended: &Ended) -> Option<String> {
    let lines = |start: &str| -> Vec<String> {
        ended.stderr.lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect()
    };
    let (errors, warnings) = (lines("E: "), lines("W: "));
    // A source that cannot be reached or verified is only warned of, while its old lists stay.
    let said: Vec<String> = errors.into_iter().chain(warnings).collect();
    if !said.is_empty() {
        return Some(said[..said.len().min(3)].join("\n"));
    }
    let last = || ended.stderr.lines().last().map_or_else(|| ended.status.clone(), str::to_owned);
    (!ended.success).then(last)
}

/// How many bytes are in a folder.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(told) if told.is_dir() => size_of(&entry.path()),
            Ok(told) => told.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Debian's Alertmanager ends at once if its templates are not in `/usr/share`.
fn relocate(folder: &Path) -> Result<()> {
    let (program, from, to) = FIXED;
    let path = folder.join(program);
    let failed = |e: std::io::Error| {
        Error::prerequisite(format!("{} cannot be made ready", path.display())).because(e)
    };
    if !path.exists() {
        return Ok(());
    }
    let mut bytes = fs::read(&path).map_err(failed)?;
    replace_all(&mut bytes, from.as_bytes(), to.as_bytes());
    fs::write(&path, bytes).map_err(failed)
}

/// Replaces every occurrence of `from` by `to`, which is of the same length.
fn replace_all(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let mut start = 0;
    while let Some(found) = bytes[start..].windows(from.len()).position(|window| window == from) {
        start += found;
        bytes[start..start + to.len()].copy_from_slice(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_place_is_replaced_everywhere_and_nothing_else_moves() {
        let (_, from, to) = FIXED;
        assert_eq!(from.len(), to.len());
        let mut bytes = format!("a{from}/ui{from}b").into_bytes();
        replace_all(&mut bytes, from.as_bytes(), to.as_bytes());
        assert_eq!(String::from_utf8_lossy(&bytes), format!("a{to}/ui{to}b"));
    }

    #[test]
    fn what_the_distribution_offers_is_read_from_its_lists() {
        let text = "Package: prometheus\nSource: prometheus (1)\nVersion: 2.42.0+ds-5+b5\nInstalled-Size: 95\nSize: 19257088\n";
        let package =
            Package { name: "prometheus".into(), version: "2.42.0+ds-5+b5".into(), size: 19_257_088 };
        assert_eq!(parse("prometheus", text), Some(package));
        assert_eq!(parse("prometheus", "N: No packages found"), None);
    }

    #[test]
    fn a_warning_of_apt_is_a_complaint_and_a_success_without_one_is_none() {
        let ended = |success, stderr: &str| Ended {
            success,
            status: "exit status: 100".into(),
            stdout: String::new(),
            stderr: stderr.into(),
        };
        assert_eq!(complaints(&ended(true, "")), None);
        let unsigned = "W: GPG error: x\nE: The repository 'x' is not signed.\nN: more\n";
        assert_eq!(
            complaints(&ended(false, unsigned)).as_deref(),
            Some("The repository 'x' is not signed.\nGPG error: x")
        );
        assert_eq!(complaints(&ended(false, "")).as_deref(), Some("exit status: 100"));
    }
}
