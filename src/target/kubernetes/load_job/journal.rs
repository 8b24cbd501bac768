//! Jobs of loads, written down before they are made: `.sre/jobs/`, one small file each. Its `sre` holds a lock on
//! it, which the system drops however that ends: a file that can be locked was left behind.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::target::Folder;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call_opt;
use crate::target::kubernetes::reach::identity;
use crate::terminal::Terminal;

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
    _lock: File,
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
        std::fs::create_dir_all(&jobs).map_err(failed)?;
        let text = serde_json::to_vec_pretty(self).map_err(|e| failed(e.into()))?;
        let mut file = tempfile::Builder::new().prefix("new-").tempfile_in(&jobs).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.as_file().lock().map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let lock = file.persist(&path).map_err(|e| failed(e.error))?;
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

/// Removes the Jobs of loads that a killed `sre` left behind, and says so: every command that knows of a lab begins
/// with it. Cheap where there are none. What cannot be removed is a warning, and is tried again by the next command;
/// the cluster removes it by itself meanwhile.
pub async fn recover(folder: &Folder, terminal: &Terminal) {
    let Ok(files) = std::fs::read_dir(folder.root().join("jobs")) else { return };
    for file in files.flatten() {
        let path = file.path();
        let Some((entry, held)) = orphan(&path) else { continue };
        match clear(&entry).await {
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
fn orphan(path: &Path) -> Option<(Entry, Held)> {
    let file = File::open(path).ok()?;
    if let Err(TryLockError::WouldBlock | TryLockError::Error(_)) = file.try_lock() {
        return None;
    }
    match serde_json::from_reader::<_, Entry>(&file) {
        Ok(entry) => Some((entry, Held { path: path.to_owned(), _lock: file })),
        Err(_) => {
            // Half written: nothing was made.
            let _ = std::fs::remove_file(path);
            None
        }
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
        assert!(orphan(&path).is_none(), "it has an owner");
        drop(held);
        let (found, held) = orphan(&path).expect("its owner is gone");
        assert_eq!(found, entry);
        held.forget();
        assert!(!path.exists());
        std::fs::write(&path, "{").expect("written");
        assert!(orphan(&path).is_none() && !path.exists(), "half written is nothing");
    }
}
