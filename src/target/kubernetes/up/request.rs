//! What is asked of `up`, and whether it goes with the lab that is here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;

use crate::error::{Error, Result};
use crate::stack::{ClusterStack, Stack};
use crate::target::kubernetes::plan::{Plan, Sources};
use crate::target::kubernetes::record::ClusterLab;
use crate::target::kubernetes::{build, image};
use crate::target::{Endpoints, Folder, LAB_SCHEMA, Lab, TargetKind, where_it_runs};
use crate::tools;

/// What is to be brought up.
pub struct Request<'a> {
    /// The stack, its parameters applied.
    pub stack: &'a Stack,
    /// The parameters as they were applied.
    pub parameters: &'a IndexMap<String, String>,
    /// The lab that was up here when the parameters were chosen.
    pub here: Option<&'a Lab>,
    /// Gives the text of a file of the stack, or of `manifests/`.
    pub read: &'a dyn Fn(&str) -> Result<String>,
    /// The stack's folder, from which paths of charts are told; `None` for one that is in this program.
    pub stack_folder: Option<&'a Path>,
    /// The names of the stack's alert rules.
    pub rules: &'a [String],
    /// Where the lab's state is kept.
    pub folder: &'a Folder,
    /// `minikube` or `cluster`.
    pub target: TargetKind,
    /// The kubeconfig context; needed the first time on the target `cluster`.
    pub context: Option<String>,
    /// The kubeconfig, if not the usual one.
    pub kubeconfig: Option<PathBuf>,
    /// The command that loads an image's archive onto the nodes.
    pub image_loader: Option<String>,
    /// The static program that an image of `sre` holds; this program, if left out.
    pub image_binary: Option<PathBuf>,
    /// Further files of values by the chart that they are for; those of an earlier `up` hold for charts without.
    pub values: IndexMap<String, Vec<PathBuf>>,
    /// Whether an existing minikube profile is replaced.
    pub fresh: bool,
    /// How long Prometheus may take to see all of the lab.
    pub bound: Duration,
}

impl Request<'_> {
    /// How the stack runs on a cluster.
    ///
    /// # Errors
    /// Usage (2) where it cannot.
    pub fn cluster_stack(&self) -> Result<&ClusterStack> {
        self.stack.cluster.as_ref().ok_or_else(|| {
            let error = Error::usage(format!(
                "the stack {} cannot run on the target {}",
                self.stack.name, self.target
            ))
            .because_of("it has no `cluster`");
            match where_it_runs(self.stack) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
    }

    /// A lab of this stack in a place, of which nothing is up yet.
    pub(super) fn lab(&self, place: ClusterLab) -> Lab {
        Lab {
            schema: LAB_SCHEMA.into(),
            stack: self.stack.name.clone(),
            target: self.target,
            parameters: self.parameters.clone(),
            complete: false,
            endpoints: Endpoints::default(),
            processes: Vec::new(),
            versions: IndexMap::new(),
            cluster: Some(place),
        }
    }

    /// The plan, images by the names that the stack gives them.
    ///
    /// # Errors
    /// Usage (2) where a file of the stack is wrong.
    pub fn steps(&self, values: &IndexMap<String, Vec<PathBuf>>) -> Result<Plan> {
        let mirror = tools::mirror()?.map(tools::place);
        let sources = Sources {
            values,
            read: self.read,
            parameters: self.parameters,
            folder: self.stack_folder,
            rules: &self.stack.rules,
            mirror: mirror.as_deref(),
        };
        Plan::new(self.cluster_stack()?, &sources)
    }

    /// The plan, images by their full names; and the program that an image of `sre` holds, if one is needed.
    pub(in crate::target::kubernetes) fn plan(
        &self,
        values: &IndexMap<String, Vec<PathBuf>>,
    ) -> Result<(Plan, Option<PathBuf>)> {
        let stack = self.cluster_stack()?;
        let mut plan = self.steps(values)?;
        let own = stack.images.values().any(|image| image.dockerfile.is_none());
        let program = if own { Some(image::program(self.image_binary.clone())?) } else { None };
        let mut names = IndexMap::new();
        if let Some(program) = &program {
            let tag = image::tag(program)?;
            for image in stack.images.values().filter(|image| image.dockerfile.is_none()) {
                names.insert(image.image.clone(), image::full_name(&format!("{}:{tag}", image.image)));
            }
        }
        for image in stack.images.values() {
            let Some(folder) = &image.dockerfile else { continue };
            let folder = build::folder(&image.image, folder)?;
            if image::has_no_tag(&image.image) {
                let named = format!("{}:{}", image.image, build::tag(&folder)?);
                names.insert(image.image.clone(), image::full_name(&named));
            }
        }
        plan.name_images(&names);
        Ok((plan, program))
    }

    /// The files of values that hold now: those that are asked for, for other charts those that were.
    pub fn values(&self, before: Option<&ClusterLab>) -> IndexMap<String, Vec<PathBuf>> {
        let kept = before.map(|before| before.values.clone()).unwrap_or_default();
        kept.into_iter().chain(self.values.clone()).collect()
    }
}

/// What was asked for was chosen by the lab that was up here: its parameters are kept. Another one by now would be
/// set back to those of the old one.
pub(super) fn not_changed_meanwhile(request: &Request<'_>, now: Option<&Lab>) -> Result<()> {
    let known = |lab: &Lab| {
        let place = lab.cluster.as_ref().map(|place| (place.context.clone(), place.identity.clone()));
        (lab.parameters.clone(), place)
    };
    let (before, now) = (request.here.map(known), now.map(known));
    let as_wanted = now.as_ref().is_none_or(|(parameters, _)| parameters == request.parameters);
    if now == before || (request.here.is_none() && as_wanted) {
        return Ok(());
    }
    Err(Error::target("another `sre` changed the lab here while this one waited for it")
        .hint("the same command again goes on from what is there now"))
}

/// A folder holds one lab, and a lab is in one place.
pub(super) fn same_place(request: &Request<'_>, previous: Option<&Lab>) -> Result<()> {
    let Some(lab) = previous else { return Ok(()) };
    if lab.stack != request.stack.name || lab.target != request.target {
        return Err(Error::usage(format!("the stack {} is up here, on {}", lab.stack, lab.target))
            .because_of(format!(
                "{} on {} was asked for, and a folder holds one lab",
                request.stack.name, request.target
            ))
            .hint("sre down, or work in another folder"));
    }
    let Some(place) = &lab.cluster else { return Ok(()) };
    let profile = &request.cluster_stack()?.minikube.profile;
    match &request.context {
        _ if place.minikube.as_ref().is_some_and(|made| made.profile != *profile) => {
            Err(Error::usage(format!("the lab here is on minikube's profile `{}`", place.context))
                .because_of(format!("profile `{profile}` was asked for, and a folder holds one lab"))
                .hint("sre down, or work in another folder"))
        }
        Some(context) if *context != place.context => {
            Err(Error::usage(format!("the lab here is on context `{}`", place.context))
                .because_of(format!("context `{context}` was asked for, and a folder holds one lab"))
                .hint("sre down, or work in another folder"))
        }
        _ if place.namespace != request.cluster_stack()?.namespace => {
            Err(Error::usage(format!("the lab here is in namespace {}", place.namespace))
                .hint("sre down, then sre up, moves it"))
        }
        _ => Ok(()),
    }
}
