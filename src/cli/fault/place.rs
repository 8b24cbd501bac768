//! On what a fault is injected by hand: the lab that is up here, or any object of a cluster that is named.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::fault::kubernetes::{Place, Scene, image_of, image_that_runs, node_commands};
use crate::scenario::Aim;
use crate::target::Lab;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::image::{self, Loader};

/// On what a fault is injected.
#[derive(Debug, Args)]
pub struct Where {
    /// The object: deployment/NAME, pod/NAME, service/NAME, ingress/NAME, node/NAME [default: the lab's service].
    #[arg(long, value_name = "KIND/NAME", conflicts_with = "selector")]
    on: Option<Aim>,
    /// The pods with these labels: app=frontend.
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Aim>,
    /// The kubeconfig context of the cluster [default: that of the lab here]; never guessed.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The namespace [default: that of the lab here, else default].
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// An image of sre that the nodes have or can pull, for the guard of the fault and for helper pods [default: the
    /// lab's].
    #[arg(long, value_name = "IMAGE", env = "SRE_IMAGE", conflicts_with = "image_loader")]
    image: Option<String>,
    /// The command that loads the image of this sre onto the nodes; {archive} and {image} are replaced in it.
    #[arg(long, value_name = "COMMAND")]
    image_loader: Option<String>,
    /// The static sre that goes into that image [default: this one].
    #[arg(long, value_name = "FILE", env = "SRE_IMAGE_BINARY")]
    image_binary: Option<PathBuf>,
    /// Makes no Job that undoes the fault when nobody else can any more.
    #[arg(long)]
    no_expiry: bool,
    /// The command that stops a node; {node} is replaced [default: minikube's, for a lab there].
    #[arg(long, value_name = "COMMAND", env = "SRE_NODE_STOP", requires = "node_start")]
    node_stop: Option<String>,
    /// The command that starts a node; {node} is replaced.
    #[arg(long, value_name = "COMMAND", env = "SRE_NODE_START")]
    node_start: Option<String>,
}

impl Where {
    /// What is aimed at, if something is named.
    pub fn aim(&self) -> Option<&Aim> {
        self.on.as_ref().or(self.selector.as_ref())
    }

    /// The scene on a cluster; `None` where neither a context nor a lab on a cluster is there. `true` if the lab here
    /// is the scene: what happens in it needs no further consent.
    ///
    /// # Errors
    /// As for connecting to a cluster, and for loading an image (5, 6).
    pub async fn scene(&self, lab: Option<&Lab>, context: &Context) -> Result<Option<(Scene, bool)>> {
        let of_lab = match lab.filter(|_| self.context.is_none()) {
            Some(lab) => context.interrupt.or(Scene::of(lab)).await??,
            None => None,
        };
        let own = of_lab.is_some() && self.namespace.is_none();
        let mut scene = match of_lab {
            Some(scene) => scene,
            None if self.context.is_none() && self.aim().is_none() => return Ok(None),
            None => self.elsewhere(lab, context).await?,
        };
        if let Some(namespace) = &self.namespace {
            scene.namespace.clone_from(namespace);
            scene.service = None;
        }
        scene.expiry = !self.no_expiry;
        if let Some(image) = &self.image {
            scene.image = Some(image::full_name(image));
        } else if let Some(line) = &self.image_loader {
            scene.image = Some(self.load(line, context).await?);
        }
        if let (Some(stop), Some(start)) = (&self.node_stop, &self.node_start) {
            scene.node = Some((stop.clone(), start.clone()));
        }
        Ok(Some((scene, own)))
    }

    async fn elsewhere(&self, lab: Option<&Lab>, context: &Context) -> Result<Scene> {
        let connecting = Cluster::connect(self.kubeconfig.as_deref(), self.context.as_deref());
        let cluster = context.interrupt.or(connecting).await??;
        let place = Place::of(&cluster).await?;
        let namespace = self.namespace.as_deref().unwrap_or("default");
        // The nodes of a lab have its image, whatever namespace is named.
        let of_lab = lab.and_then(|lab| lab.cluster.as_ref()).filter(|lab| lab.identity == place.identity);
        let image = match (&self.image, &self.image_loader, of_lab) {
            (None, None, Some(lab)) => image_of(&cluster, lab).await?,
            (None, None, None) => image_that_runs(&cluster, namespace).await?,
            _ => None,
        };
        Ok(Scene {
            place,
            cluster,
            namespace: "default".into(),
            service: None,
            image,
            expiry: true,
            node: node_commands(),
        })
    }

    /// Loads the image of this very sre onto the nodes.
    async fn load(&self, line: &str, context: &Context) -> Result<String> {
        let program = image::program(self.image_binary.clone())?;
        let name = image::full_name(&format!("sre:{}", image::tag(&program)?));
        let folder = tempfile::tempdir()
            .map_err(|e| Error::prerequisite("a temporary folder cannot be made").because(e))?;
        let archive = folder.path().join("image.tar");
        context.terminal.say(format!("loading {name}"));
        image::write_archive(&program, &name, &archive)?;
        Loader::Command(line.to_owned()).load(&archive, &name, &context.interrupt).await?;
        Ok(name)
    }
}
