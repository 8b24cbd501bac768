//! The lab that is up in this folder: `.sre/lab.json`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::kubernetes::record::ClusterLab;
use super::{Endpoints, Folder, TargetKind, own_files, seal};
use crate::error::{Error, Result};

/// The version of `lab.json`.
pub const SCHEMA: &str = "sre.lab/v1";

/// What `sre up` brought up in this folder, and what `sre down` will take down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lab {
    /// `sre.lab/v1`.
    pub schema: String,
    /// The stack's name.
    pub stack: String,
    /// Where it runs.
    pub target: TargetKind,
    /// The stack's parameters as they were used.
    pub parameters: IndexMap<String, String>,
    /// Whether `up` came to its end; else the next `up` mends it.
    pub complete: bool,
    /// Where its parts answer.
    pub endpoints: Endpoints,
    /// The processes that `up` started on this machine.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// Versions of what runs: `prometheus` → `3.15.0`.
    #[serde(default)]
    pub versions: IndexMap<String, String>,
    /// The cluster that it runs on, on the targets `minikube` and `cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterLab>,
}

/// A process that `up` started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its name: `prometheus`, `users-api-0`.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, in seconds since 1970 as the system tells it: a reused id is never taken for it.
    pub started: u64,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, so that it can be started again as it was.
    pub arguments: Vec<String>,
    /// The environment variables that were set for it, the marks that it is found by among them.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// Where it was started, if not where `sre` was.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Its output.
    pub log: PathBuf,
}

impl Lab {
    /// The lab whose state is in `dir` (`.sre`); `None` where nothing is up. An error (exit 6) if
    /// its file cannot be read or is of another version; exit 5 if this user has not written it here: what it
    /// names is started, stopped and connected to.
    pub fn load(dir: &Path) -> Result<Option<Lab>> {
        let path = path(dir);
        let failed = || {
            Error::target(format!("{} cannot be read", path.display()))
                .hint("sre down takes down what runs here all the same")
        };
        not_planted(&path)?;
        let text = match own_files::read(&path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(failed().because(e)),
        };
        let lab: Lab = serde_json::from_str(&text).map_err(|e| failed().because(e))?;
        if lab.schema != SCHEMA {
            return Err(failed().because_of(format!("it is `{}`, this sre knows `{SCHEMA}`", lab.schema)));
        }
        seal::verify(&path, &text)?;
        Ok(Some(lab))
    }

    /// The lab that is up in `dir` (`.sre`). An error (exit 3) where nothing is.
    pub fn up_in(dir: &Path) -> Result<Lab> {
        Lab::load(dir)?.ok_or_else(|| Error::no_data("nothing is up here").hint("sre up"))
    }

    /// Writes it to `dir` (`.sre`), in one step, with this user's seal.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let folder = Folder::at(dir);
        let failed = |e| Error::prerequisite(format!("{} cannot be written", dir.display())).because(e);
        folder.make().map_err(failed)?;
        folder.write(&path(dir), &seal::sealed(&path(dir), self)?)
    }

    /// Forgets the lab whose state is in `dir`; it is no error if there is none.
    pub fn remove(dir: &Path) -> Result<()> {
        not_planted(&path(dir))?;
        match std::fs::remove_file(path(dir)) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::target(format!("{} cannot be removed", path(dir).display())).because(e))
            }
            _ => Ok(()),
        }
    }

    /// The process of this name.
    pub fn process(&self, name: &str) -> Option<&Process> {
        self.processes.iter().find(|process| process.name == name)
    }

    /// Where a part answers, by the name of its process, of its replica, or of what it is.
    pub fn url(&self, name: &str) -> Option<&url::Url> {
        let replica =
            self.endpoints.replicas.iter().find(|replica| replica.name == name).map(|replica| &replica.url);
        replica.or_else(|| {
            let endpoint = match name {
                "app" => return self.endpoints.replicas.first().map(|replica| &replica.url),
                "prometheus" => &self.endpoints.prometheus,
                "alertmanager" => &self.endpoints.alertmanager,
                "receiver" => &self.endpoints.receiver,
                "loki" => &self.endpoints.loki,
                _ => return None,
            };
            endpoint.as_ref().map(|endpoint| &endpoint.url)
        })
    }

    /// Records a process in the place of the one of the same name.
    pub fn record(&mut self, process: Process) {
        match self.processes.iter_mut().find(|known| known.name == process.name) {
            Some(known) => *known = process,
            None => self.processes.push(process),
        }
    }
}

/// Refuses a folder, pipe or device in the place of the file: `sre` makes none, so that it is not its to read or delete.
fn not_planted(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(seen) if !seen.is_file() => Err(Error::prerequisite(format!("{} cannot be used", path.display()))
            .because_of("it is not a file, and sre has not made it")
            .hint("look what it is, move it away or delete it, then call sre again")),
        _ => Ok(()),
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("lab.json")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn lab() -> Lab {
        Lab {
            schema: SCHEMA.into(),
            stack: "users-api".into(),
            target: TargetKind::Local,
            parameters: IndexMap::new(),
            complete: true,
            endpoints: Endpoints::default(),
            processes: Vec::new(),
            versions: IndexMap::new(),
            cluster: None,
        }
    }

    #[test]
    fn a_lab_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Lab::load(dir.path()).expect("nothing is up"), None);
        lab().save(dir.path()).expect("written");
        assert_eq!(Lab::load(dir.path()).expect("it is up"), Some(lab()));
        Lab::remove(dir.path()).expect("removed");
        Lab::remove(dir.path()).expect("and again");
        assert_eq!(Lab::load(dir.path()).expect("nothing is up"), None);
    }

    #[test]
    fn a_broken_or_newer_file_is_no_empty_lab() {
        let dir = tempfile::tempdir().expect("a folder");
        for text in [
            "",
            "{\"schema\":",
            &serde_json::to_string(&Lab { schema: "sre.lab/v9".into(), ..lab() }).expect("JSON"),
        ] {
            std::fs::write(dir.path().join("lab.json"), text).expect("written");
            let error = Lab::load(dir.path()).expect_err("it is not ours");
            assert!(error.to_string().contains("lab.json cannot be read"), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_is_named_and_left_where_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("lab.json");
        let refused = || {
            for error in [Lab::load(dir.path()).map(drop), Lab::remove(dir.path())] {
                let error = error.expect_err("it is no file");
                assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
                assert!(error.to_string().contains("lab.json") && error.next_step().is_some(), "{error}");
            }
        };
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).expect("a pipe");
        refused();
        std::fs::remove_file(&path).expect("it is there still");
        std::fs::create_dir(&path).expect("a folder");
        refused();
        assert!(path.is_dir());
    }

    #[test]
    fn one_that_somebody_else_wrote_is_refused() {
        let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        lab().save(dir.path()).expect("written");
        std::fs::copy(dir.path().join("lab.json"), other.path().join("lab.json")).expect("copied");
        let planted = serde_json::to_string(&lab()).expect("JSON");
        std::fs::write(dir.path().join("lab.json"), planted).expect("written");
        for place in [dir.path(), other.path()] {
            let error = Lab::load(place).expect_err("it is not ours");
            assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
            assert!(error.to_string().contains("sre trust"), "{error}");
        }
    }
}
