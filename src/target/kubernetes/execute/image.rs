//! The step that has every node have an image: looked for, made or built, loaded, and looked for again.

use std::collections::BTreeMap;
use std::path::Path;

use super::Execution;
use crate::error::{Error, Result};
use crate::stack::Image;
use crate::target::kubernetes::build::{self, Builder, Built};
use crate::target::kubernetes::image::{full_name, write_archive};
use crate::target::kubernetes::node_image::{self, Presence};
use crate::target::kubernetes::nodes;
use crate::target::kubernetes::record::Done;

impl Execution<'_> {
    /// Makes sure that every node has an image. Its name has its tag.
    pub(super) async fn image(&self, step: &str, wanted: &Image) -> Result<String> {
        let image = full_name(&wanted.image);
        let told = |missing: &[String]| format!("looking for {image} on {}", missing.join(", "));
        let mut known = node_image::listed(self.cluster, self.namespace, &image).await?;
        let missing = missing_of(&known);
        if !missing.is_empty() {
            self.progress.tell(step, &told(&missing));
            known.extend(self.look(&missing, &image).await?);
        }
        let missing = missing_of(&known);
        let archive = self.book.folder().root().join(format!("{step}.tar"));
        if missing.is_empty() {
            // One that was kept to be loaded by hand.
            let _ = std::fs::remove_file(&archive);
            self.known(wanted, &image, &known)?;
            return Ok("on every node".into());
        }
        let lacking =
            |nodes: &[String]| Error::prerequisite(format!("image {image} is not on {}", nodes.join(", ")));
        let made = self.archive(step, wanted, &image, &archive).await?;
        if made == Built::Archive {
            let Some(loader) = &self.loader else {
                return Err(lacking(&missing).hint(format!(
                    "name the command that loads an archive onto the nodes, such as --image-loader 'kind load \
                     image-archive {{archive}}'; or load {} onto them by hand",
                    archive.display()
                )));
            };
            self.progress.tell(step, &format!("loading {image}"));
            loader.load(&archive, &image, self.interrupt).await?;
        }
        // A loader may reach some nodes only, and say that it succeeded.
        self.progress.tell(step, &told(&missing));
        known.extend(self.look(&missing, &image).await?);
        let still = missing_of(&known);
        if !still.is_empty() {
            let error =
                lacking(&still).because_of("what loads it succeeded, and their kubelets do not find it");
            return Err(match &self.loader {
                Some(loader) => error.hint(format!(
                    "make it load them, too, and try it by hand: {}",
                    loader.command(&archive, &image)
                )),
                None => error,
            });
        }
        let _ = std::fs::remove_file(&archive);
        self.known(wanted, &image, &known)?;
        Ok(format!("loaded {image}"))
    }

    /// Has nodes look for an image. The pods that do are written down as long as they are there.
    async fn look(&self, nodes: &[String], image: &str) -> Result<BTreeMap<String, Presence>> {
        self.namespace(self.namespace).await?;
        let pods: Vec<Done> =
            nodes.iter().map(|node| Done::Object(node_image::looker(self.namespace, node, image))).collect();
        pods.iter().try_for_each(|pod| self.book.note(pod.clone()))?;
        let found = node_image::look(self.cluster, self.namespace, nodes, image).await?;
        pods.iter().try_for_each(|pod| self.book.forget(pod))?;
        Ok(found)
    }

    /// Says of which nodes it is not known whether they have an image, and writes down those that have it where it is
    /// one of `sre`: load workers and guards are run from it.
    fn known(&self, wanted: &Image, image: &str, known: &BTreeMap<String, Presence>) -> Result<()> {
        let mut nodes = Vec::new();
        for (node, presence) in known {
            match presence {
                Presence::Unknown(why) => {
                    self.progress.say(&format!("! whether {node} has image {image} cannot be told: {why}"))
                }
                Presence::There => nodes.push(node.clone()),
                Presence::Missing => {}
            }
        }
        if wanted.dockerfile.is_some() {
            return Ok(());
        }
        self.book.change(|lab| {
            if let Some(cluster) = &mut lab.cluster {
                cluster.note_image(image, nodes);
            }
        })
    }

    /// Makes an image of this program, or builds it from its Dockerfile.
    async fn archive(&self, step: &str, wanted: &Image, image: &str, archive: &Path) -> Result<Built> {
        match (&wanted.dockerfile, &self.program) {
            (Some(folder), _) => {
                let folder = build::folder(&wanted.image, folder)?;
                let builder = Builder::find("docker", self.loader.as_ref(), self.interrupt).await?;
                self.progress.tell(step, &format!("building {image}"));
                builder.build(&folder, image, archive, self.interrupt).await
            }
            (None, Some(program)) => {
                self.progress.tell(step, "writing the archive");
                write_archive(program, image, archive)?;
                Ok(Built::Archive)
            }
            (None, None) => Err(Error::prerequisite("the program that the image holds is not known")),
        }
    }

    /// The nodes and the images that each says it has.
    pub(in crate::target::kubernetes) async fn nodes(&self) -> Result<Vec<(String, Vec<String>)>> {
        let nodes = nodes::list(self.cluster).await?;
        Ok(nodes
            .into_iter()
            .map(|node| {
                let name = nodes::name(&node);
                let images = node.status.and_then(|status| status.images).unwrap_or_default();
                let names = images.into_iter().flat_map(|image| image.names.unwrap_or_default()).collect();
                (name, names)
            })
            .collect())
    }
}

fn missing_of(known: &BTreeMap<String, Presence>) -> Vec<String> {
    let missing = known.iter().filter(|(_, presence)| **presence == Presence::Missing);
    missing.map(|(node, _)| node.clone()).collect()
}
