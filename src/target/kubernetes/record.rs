//! What `up` did to a cluster, written down before it is done, in its order: `down` undoes it backwards.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::object::ObjectRef;
use super::patch::Undo;
use crate::error::Result;
use crate::stack::ClusterEndpoints;
use crate::target::{Folder, Lab};

/// A lab's cluster, and what `up` did to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterLab {
    /// The kubeconfig context.
    pub context: String,
    /// The kubeconfig, where one was named.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// The cluster itself: the UID of its namespace `kube-system`. A context may lead elsewhere one day.
    pub identity: String,
    /// The namespace of endpoints that name none.
    pub namespace: String,
    /// Where the parts answer.
    pub endpoints: ClusterEndpoints,
    /// The command that loads images onto the nodes, where one was given.
    #[serde(default)]
    pub image_loader: Option<String>,
    /// Further files of values that were given, by the chart that they are for.
    #[serde(default)]
    pub values: IndexMap<String, Vec<PathBuf>>,
    /// The image of `sre`, images that were loaded from a mirror, and the nodes that had them then.
    #[serde(default)]
    pub images: IndexMap<String, Vec<String>>,
    /// The minikube profile behind it, on the target `minikube`.
    #[serde(default)]
    pub minikube: Option<MinikubeLab>,
    /// What was done, in its order.
    #[serde(default)]
    pub done: Vec<Done>,
}

impl ClusterLab {
    /// Notes the nodes that have an image whose tag follows from its content; other tags of it are outdated.
    pub fn note_image(&mut self, image: &str, nodes: Vec<String>) {
        let name = |image: &str| image.rsplit_once(':').map(|(name, _)| name.to_owned());
        self.images.retain(|known, _| known == image || name(known) != name(image));
        self.images.insert(image.to_owned(), nodes);
    }
}

/// A minikube profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinikubeLab {
    /// Its name, which is also the context.
    pub profile: String,
    /// Whether `up` made it; then `down` deletes it.
    pub created: bool,
}

/// One thing that `up` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// A namespace was made.
    Namespace(String),
    /// A chart brought a definition of a kind that was not there; helm never removes it.
    Definition(String),
    /// A chart's operator makes this object, and leaves it behind.
    Leftover(ObjectRef),
    /// A release was installed.
    Release {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An object was applied.
    Object(ObjectRef),
    /// An object was patched.
    Patch(Undo),
}

/// A lab that is written down as it changes; steps that run at the same time share it.
pub struct Book<'a> {
    lab: Mutex<Lab>,
    folder: &'a Folder,
}

impl<'a> Book<'a> {
    /// A book of this lab. Nothing is written yet.
    pub fn new(lab: Lab, folder: &'a Folder) -> Book<'a> {
        Book { lab: Mutex::new(lab), folder }
    }

    /// Where the lab's state is.
    pub fn folder(&self) -> &Folder {
        self.folder
    }

    /// Changes the lab, and writes it where that made a difference.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where it cannot be written.
    pub fn change(&self, change: impl FnOnce(&mut Lab)) -> Result<()> {
        let mut lab = self.lab.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lab.clone();
        change(&mut lab);
        if *lab == before { Ok(()) } else { lab.save(self.folder.root()) }
    }

    /// Writes down that something is about to be done; once, however often it is done.
    ///
    /// # Errors
    /// As for [`Book::change`].
    pub fn note(&self, done: Done) -> Result<()> {
        self.change(|lab| {
            if let Some(cluster) = &mut lab.cluster
                && !cluster.done.contains(&done)
            {
                lab.complete = false;
                cluster.done.push(done);
            }
        })
    }

    /// Forgets what was undone.
    ///
    /// # Errors
    /// As for [`Book::change`].
    pub fn forget(&self, done: &Done) -> Result<()> {
        self.change(|lab| {
            if let Some(cluster) = &mut lab.cluster {
                cluster.done.retain(|known| known != done);
            }
        })
    }

    /// The lab as it is now.
    pub fn lab(&self) -> Lab {
        self.lab.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was done, in its order.
    pub fn done(&self) -> Vec<Done> {
        self.lab().cluster.map(|cluster| cluster.done).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_tag_of_an_image_takes_the_place_of_the_old_one_and_of_nothing_else() {
        let mut lab: ClusterLab = serde_json::from_value(serde_json::json!({
            "context": "lab", "identity": "1", "namespace": "lab", "endpoints": {},
            "images": {"docker.io/library/sre:old": ["a"], "docker.io/grafana/loki:3": ["a", "b"]},
        }))
        .unwrap();
        lab.note_image("docker.io/library/sre:new", vec!["a".into()]);
        lab.note_image("docker.io/library/sre:new", vec!["a".into(), "b".into()]);
        let mut images: Vec<_> =
            lab.images.iter().map(|(image, nodes)| (image.as_str(), nodes.len())).collect();
        images.sort_unstable();
        assert_eq!(images, [("docker.io/grafana/loki:3", 2), ("docker.io/library/sre:new", 2)]);
    }
}
