//! Jobs of loads, written down before they are made: `.sre/jobs/`, one small file each. Its `sre` holds a lock on
//! it, which the system drops however that ends: a file that can be locked was left behind.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::locked_file::LockedFile;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call_opt;
use crate::target::kubernetes::reach::identity;
use crate::target::{Folder, own_files, seal};
use crate::terminal::Terminal;

/// How long its cluster may take to answer a command that has something else to do.
const BOUND: Duration = Duration::from_secs(5);
/// Nobody writes one file for longer.
const HALF_WRITTEN: Duration = Duration::from_secs(60);

/// Where a Job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The kubeconfig context.
    pub context: String,
    /// The kubeconfig, where one was named.
    pub kubeconfig: Option<PathBuf>,
    /// The cluster itself.
    pub identity: String,
    /// The Job's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An entry with its owner's lock on it.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    _lock: LockedFile,
}

impl Entry {
    /// Writes it down; on disk when this comes back.
    ///
    /// # Errors
    /// A prerequisite (5) where the disk does not take it.
    pub fn write(&self, folder: &Folder) -> Result<Held> {
        let jobs = folder.root().join("jobs");
        let path = jobs.join(format!("{}.json", self.name));
        let failed = |e: io::Error| {
            Error::prerequisite(format!("{} cannot be written", path.display()))
                .because(e)
                .hint("no load is started on a cluster unless it is written down: make room")
        };
        own_files::make(&jobs).map_err(failed)?;
        let text = seal::sealed(&path, self)?;
        let mut file = tempfile::Builder::new().prefix("new-").tempfile_in(&jobs).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().lock().map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let file = file.persist(&path).map_err(|e| failed(e.error))?;
        let lock = LockedFile::lock(file).map_err(failed)?;
        File::open(&jobs).and_then(|jobs| jobs.sync_all()).map_err(failed)?;
        Ok(Held { path, _lock: lock })
    }

    /// Removes the Job and its pods from the cluster; `false` if it was gone already.
    ///
    /// # Errors
    /// The cluster did not answer, or refused (6).
    pub async fn remove(&self, cluster: &Cluster) -> Result<bool> {
        let api: Api<Job> = Api::namespaced(cluster.client(), &self.namespace);
        let what = || format!("Job {}/{} could not be deleted", self.namespace, self.name);
        let params = DeleteParams::background();
        Ok(call_opt(what, || api.delete(&self.name, &params)).await?.is_some())
    }
}

impl Held {
    /// Forgets a Job that is removed.
    pub fn forget(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes the Jobs of loads that a killed `sre` left behind, and says so: every command that changes a lab or puts
/// load on it begins with it. Cheap where there are none. What cannot be removed is a warning, and is tried again by the next command;
/// the cluster removes it by itself meanwhile.
pub async fn recover(folder: &Folder, terminal: &Terminal, interrupt: &Interrupt) {
    let Ok(files) = std::fs::read_dir(folder.root().join("jobs")) else { return };
    for file in files.flatten() {
        let path = file.path();
        let (entry, held) = match orphan(&path) {
            Ok(Some(orphan)) => orphan,
            Ok(None) => continue,
            Err(error) => {
                terminal.warn(error.to_string());
                continue;
            }
        };
        let bounded = async {
            let late = |_| Error::target("its cluster does not answer").hint("the next command tries again");
            tokio::time::timeout(BOUND, clear(&entry)).await.map_err(late)?
        };
        match interrupt.or(bounded).await.and_then(|cleared| cleared) {
            Ok(true) => {
                terminal.say(format!(
                    "removed Job {}/{}, left behind by a killed sre",
                    entry.namespace, entry.name
                ));
                held.forget();
            }
            Ok(false) => held.forget(),
            Err(error) => {
                terminal.warn(
                    error
                        .within(format!(
                            "Job {}/{}, left behind by a killed sre, could not be removed",
                            entry.namespace, entry.name
                        ))
                        .to_string(),
                );
            }
        }
    }
}

async fn clear(entry: &Entry) -> Result<bool> {
    let cluster = Cluster::connect(entry.kubeconfig.as_deref(), Some(&entry.context)).await?;
    // Another cluster has nothing of ours.
    if identity(&cluster).await? == entry.identity { entry.remove(&cluster).await } else { Ok(false) }
}

/// An entry whose owner is gone, locked.
///
/// # Errors
/// A prerequisite (exit 5) where this user has not written it here: the cluster that it names is not connected to.
fn orphan(path: &Path) -> Result<Option<(Entry, Held)>> {
    if path.extension().is_none_or(|extension| extension != "json") {
        sweep(path);
        return Ok(None);
    }
    // Its owner may remove it just now.
    let Ok(file) = own_files::open(path) else { return Ok(None) };
    let Ok(Some(file)) = LockedFile::try_lock(file) else { return Ok(None) };
    if !own_files::is_at(&file, path) {
        return Ok(None);
    }
    let Ok(text) = io::read_to_string(&*file) else { return Ok(None) };
    seal::verify(path, &text)?;
    let failed = |e| Error::target(format!("{} cannot be read", path.display())).because(e);
    let entry = serde_json::from_str::<Entry>(&text).map_err(failed)?;
    Ok(Some((entry, Held { path: path.to_owned(), _lock: file })))
}

/// Removes a file that a killed `sre` had half written, once nobody can be writing it any more.
fn sweep(path: &Path) {
    let age = std::fs::symlink_metadata(path).and_then(|seen| seen.modified()).map(|at| at.elapsed());
    if age.is_ok_and(|age| age.is_ok_and(|age| age > HALF_WRITTEN)) {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_left_behind_once_its_sre_is_gone() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(place.path());
        let entry = Entry {
            context: "lab".into(),
            kubeconfig: None,
            identity: "1".into(),
            namespace: "users-api".into(),
            name: "sre-load-1".into(),
        };
        let held = entry.write(&folder).expect("written");
        let path = held.path.clone();
        assert!(orphan(&path).expect("it is ours").is_none(), "it has an owner");
        drop(held);
        let (found, held) = orphan(&path).expect("it is ours").expect("its owner is gone");
        assert_eq!(found, entry);
        held.forget();
        assert!(!path.exists());
    }

    #[test]
    fn one_that_is_being_written_is_left_alone_and_a_planted_one_is_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let (new, planted) = (place.path().join("new-x7f"), place.path().join("a.json"));
        std::fs::write(&new, "{").expect("written");
        assert!(orphan(&new).expect("no entry").is_none() && new.exists());
        let long_ago = std::time::SystemTime::now() - 2 * HALF_WRITTEN;
        File::options().write(true).open(&new).and_then(|file| file.set_modified(long_ago)).expect("aged");
        assert!(orphan(&new).expect("no entry").is_none() && !new.exists());
        let entry = r#"{"context": "c", "kubeconfig": "k", "identity": "", "namespace": "d", "name": "n"}"#;
        std::fs::write(&planted, entry).expect("written");
        assert_eq!(orphan(&planted).expect_err("it is not ours").exit(), crate::exit::Exit::Prerequisite);
        assert!(planted.exists());
    }
}
