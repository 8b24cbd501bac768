//! `up` on a cluster: does what the stack's plan says, and waits until Prometheus sees all of it.

mod provision;
mod prune;
mod request;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use kube::core::DynamicObject;
use tokio::sync::watch;

use super::client::Cluster;
use super::execute::{Execution, OPERATOR};
use super::helm::Helm;
use super::image::Loader;
use super::minikube::Minikube;
use super::object::ObjectRef;
use super::plan::{Action, Plan};
use super::progress::Progress;
use super::reach::identity;
use super::record::{Book, ClusterLab};
use super::settle::{Expected, settle};
use super::{chart, mirrored, schedule};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::mirror::Mirror;
use crate::stack::ClusterStack;
use crate::target::{Lab, Lock, TargetKind};
use crate::terminal::Terminal;

use provision::provision;
use prune::prune;
use request::{not_changed_meanwhile, same_place};

pub use request::Request;

/// How long Prometheus may take to see all of the lab, unless another bound is asked for.
pub const BOUND: Duration = Duration::from_secs(180);

/// How long another `sre` that changes this lab is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(120);

/// Brings the stack up on a cluster, or mends it. What was up and is not in the stack any more is taken down.
///
/// # Errors
/// 2 where no context is named or another lab is up here, 5 where a tool or consent is missing, 6 where it
/// does not come up; what was done by then is written down, and the next `up` or `down` takes it from there.
pub async fn up(request: &Request<'_>, terminal: &Terminal, interrupt: &Interrupt) -> Result<Lab> {
    let stack = request.cluster_stack()?;
    same_place(request, request.here)?;
    let before = request.here.and_then(|lab| lab.cluster.clone());
    let kubeconfig = match &request.kubeconfig {
        Some(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        None => before.as_ref().and_then(|before| before.kubeconfig.clone()),
    };
    let connect = |context: Option<String>| {
        let kubeconfig = kubeconfig.clone();
        async move { Cluster::connect(kubeconfig.as_deref(), context.as_deref()).await }
    };
    let named = match request.target {
        TargetKind::Minikube => None,
        _ => {
            let context = request.context.clone().or_else(|| before.as_ref().map(|lab| lab.context.clone()));
            Some(interrupt.or(connect(context)).await??)
        }
    };
    let values = request.values(before.as_ref());
    let (mut plan, program) = request.plan(&values)?;
    request.folder.prepare()?;
    let _lock = Lock::take(request.folder, "sre up", LOCK_BOUND, terminal, interrupt).await?;
    // Whoever held the lock may have changed the lab; what it is now is what is gone on from.
    let previous = Lab::load(request.folder.root())?;
    not_changed_meanwhile(request, previous.as_ref())?;
    same_place(request, previous.as_ref())?;
    let before = previous.as_ref().and_then(|lab| lab.cluster.clone());
    let progress = Progress::new(terminal);
    let (cluster, made) = match named {
        Some(cluster) => (cluster, None),
        None => {
            let made = provision(request, stack, before.as_ref(), &progress, terminal, interrupt).await?;
            (interrupt.or(connect(Some(made.profile.clone()))).await??, Some(made))
        }
    };
    let helm = match plan.has_charts() {
        true => Some(Helm::find("helm", &cluster, interrupt).await?),
        false => None,
    };
    let identity = identity(&cluster).await?;
    // A minikube that was deleted behind our back comes back as another cluster, with nothing on it.
    let before = before.filter(|before| before.identity == identity || made.is_none());
    if let Some(before) = before.as_ref().filter(|before| before.identity != identity) {
        return Err(super::reach::connect(before).await.err().unwrap_or_else(|| {
            Error::target(format!("context `{}` leads to another cluster now", before.context))
        }));
    }
    let created = made.as_ref().is_some_and(|made| made.created);
    if before.is_none() && !created {
        let namespaces = namespaces(&plan, stack).join(", ");
        let question = format!(
            "{} will be installed on the cluster of context `{}` ({}): namespaces {namespaces}, {} steps; \
             --dry-run shows them",
            request.stack.name,
            cluster.context(),
            cluster.version(),
            plan.steps.len()
        );
        terminal.consent(&question, interrupt).await?;
    }
    if let Some(helm) = &helm {
        chart::settle(&mut plan, helm, &|line| progress.say(line)).await?;
    }

    let place = ClusterLab {
        context: cluster.context().into(),
        kubeconfig,
        identity,
        namespace: stack.namespace.clone(),
        endpoints: stack.endpoints.clone(),
        image_loader: request
            .image_loader
            .clone()
            .or_else(|| before.as_ref().and_then(|before| before.image_loader.clone())),
        values,
        images: before.as_ref().map(|before| before.images.clone()).unwrap_or_default(),
        minikube: made,
        done: before.map(|before| before.done).unwrap_or_default(),
    };
    let lab = Lab {
        complete: previous.as_ref().is_some_and(|lab| lab.complete),
        versions: previous.as_ref().map(|lab| lab.versions.clone()).unwrap_or_default(),
        ..request.lab(place.clone())
    };
    if previous.as_ref() != Some(&lab) {
        // What was asked for differs, and is not there yet.
        Lab { complete: false, ..lab.clone() }.save(request.folder.root())?;
    }
    let book = Book::new(lab, request.folder);
    let loader = match (&place.minikube, &place.image_loader) {
        (_, Some(line)) => Some(Loader::Command(line.clone())),
        (Some(made), None) => Some(Loader::Minikube(Minikube::new(&made.profile, interrupt))),
        (None, None) => None,
    };
    let execution = Execution {
        cluster: &cluster,
        helm,
        namespace: &stack.namespace,
        service: stack.endpoints.service.as_ref(),
        book: &book,
        loader,
        program,
        progress: &progress,
        interrupt,
        configured: Mutex::default(),
        charts: watch::Sender::new(plan.charts()),
    };
    if let Some(mirror) = Mirror::of_environment()? {
        mirrored::load(&execution, &plan, &mirror).await?;
    }
    schedule::run(&plan.needs(), |step| execution.step(&plan.steps[step])).await?;
    prune(&plan, &execution, terminal).await?;

    if previous.as_ref().is_some_and(|lab| !lab.complete) {
        // What an `up` that was broken off changed is not known, but may be on its way still.
        execution.note_configured();
    }
    let objects = applied(&plan, &execution).await?;
    let expected = Expected {
        endpoints: &stack.endpoints,
        namespace: &stack.namespace,
        job: request.stack.counter.job.as_deref(),
        rules: request.rules,
        objects: &objects,
        changed: *execution.configured.lock().unwrap_or_else(PoisonError::into_inner),
        bound: request.bound,
    };
    let version = settle(&cluster, &expected, &progress, interrupt).await?;
    let mut versions =
        IndexMap::from([("kubernetes".to_owned(), cluster.version().trim_start_matches('v').to_owned())]);
    versions.extend(version.map(|version| ("prometheus".to_owned(), version)));
    book.change(|lab| {
        lab.versions = versions;
        lab.complete = true;
    })?;
    Ok(book.lab())
}

/// The namespaces that a plan touches.
pub fn namespaces(plan: &Plan, stack: &ClusterStack) -> Vec<String> {
    let mut names = vec![stack.namespace.clone()];
    for step in &plan.steps {
        match &step.action {
            Action::Chart(release) => names.push(release.namespace.clone()),
            Action::Apply(objects) => {
                names.extend(objects.iter().filter_map(|object| object.metadata.namespace.clone()));
            }
            Action::Patch { target, .. } => names.extend(target.namespace.clone()),
            Action::Zones(_) | Action::Image(_) => {}
        }
    }
    names.sort();
    names.dedup();
    names
}

/// The objects of the Prometheus operator's kinds as they were applied, with their namespaces.
async fn applied(plan: &Plan, execution: &Execution<'_>) -> Result<Vec<DynamicObject>> {
    let mut applied = Vec::new();
    for step in &plan.steps {
        let Action::Apply(objects) = &step.action else { continue };
        for object in objects.iter().filter(|object| ObjectRef::of(object).group() == OPERATOR) {
            let mut object = execution.filled(object).await?;
            object.metadata.namespace.get_or_insert_with(|| execution.namespace.to_owned());
            applied.push(object);
        }
    }
    Ok(applied)
}
