//! `up` on a cluster: does what the stack's plan says, and waits until Prometheus sees all of it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use kube::core::DynamicObject;
use tokio::sync::watch;

use super::client::Cluster;
use super::execute::{Execution, OPERATOR, locate};
use super::helm::Helm;
use super::image::{self, Loader};
use super::minikube::Minikube;
use super::minikube_output::{Event, State};
use super::object::ObjectRef;
use super::plan::{Action, Plan, Sources};
use super::progress::Progress;
use super::reach::identity;
use super::record::{Book, ClusterLab, Done, MinikubeLab};
use super::settle::{Expected, settle};
use super::{build, chart, down, minikube, mirrored, schedule};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::mirror::Mirror;
use crate::stack::{ClusterStack, Stack};
use crate::target::{Endpoints, Folder, LAB_SCHEMA, Lab, Lock, TargetKind};
use crate::terminal::Terminal;
use crate::tools;

/// How long Prometheus may take to see all of the lab, unless another bound is asked for.
pub const BOUND: Duration = Duration::from_secs(180);

/// How long another `sre` that changes this lab is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(120);

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
            Error::usage(format!("the stack {} cannot run on the target {}", self.stack.name, self.target))
                .because_of("it has no `cluster`")
        })
    }

    /// A lab of this stack in a place, of which nothing is up yet.
    fn lab(&self, place: ClusterLab) -> Lab {
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
            rules: &self.stack.rules,
            mirror: mirror.as_deref(),
        };
        Plan::new(self.cluster_stack()?, &sources)
    }

    /// The plan, images by their full names; and the program that an image of `sre` holds, if one is needed.
    pub(super) fn plan(&self, values: &IndexMap<String, Vec<PathBuf>>) -> Result<(Plan, Option<PathBuf>)> {
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
    prune(&plan, &execution).await?;

    if previous.as_ref().is_some_and(|lab| !lab.complete) {
        // What an `up` that was broken off changed is not known, but may be on its way still.
        execution.note_configured(Instant::now());
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

/// What was asked for was chosen by the lab that was up here: its parameters are kept. Another one by now would be
/// set back to those of the old one.
fn not_changed_meanwhile(request: &Request<'_>, now: Option<&Lab>) -> Result<()> {
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
fn same_place(request: &Request<'_>, previous: Option<&Lab>) -> Result<()> {
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
            let mut object = execution.with_replicas(object).await?;
            object.metadata.namespace.get_or_insert_with(|| execution.namespace.to_owned());
            applied.push(object);
        }
    }
    Ok(applied)
}

/// Takes down what an earlier `up` brought and the plan does not have any more.
async fn prune(plan: &Plan, execution: &Execution<'_>) -> Result<()> {
    let mut wanted = Vec::new();
    for step in &plan.steps {
        match &step.action {
            Action::Apply(objects) => {
                for object in objects {
                    wanted.push(Done::Object(locate(execution.cluster, object, execution.namespace).await?));
                }
            }
            Action::Chart(release) => wanted
                .push(Done::Release { namespace: release.namespace.clone(), name: release.name.clone() }),
            _ => {}
        }
    }
    let done = execution.book.done();
    let stale = done
        .iter()
        .rev()
        .filter(|done| matches!(done, Done::Object(_) | Done::Release { .. }) && !wanted.contains(done));
    for done in stale {
        execution.note_configured(Instant::now());
        down::undo(execution.cluster, execution.helm.as_ref(), done).await?;
        execution.book.forget(done)?;
        execution.progress.say(&format!("✔ removed         {}", down::describe(done)));
    }
    Ok(())
}

/// Creates, starts or takes the profile as it is.
async fn provision(
    request: &Request<'_>,
    stack: &ClusterStack,
    before: Option<&ClusterLab>,
    progress: &Progress,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<MinikubeLab> {
    let wanted = &stack.minikube;
    let program = Minikube::new(&wanted.profile, interrupt);
    let version = program.version().await?;
    let ours = before.and_then(|before| before.minikube.as_ref()).is_some_and(|made| made.created);
    let mut state = program.state().await?;
    let tell = |event: &Event| match event {
        // The last one says that all is done: there is nothing to wait for.
        Event::Step { current, total, message } if current < total => {
            progress.step("minikube", u64::from(*current), u64::from(*total), message);
        }
        Event::Download { artifact, progress: share } => {
            progress.tell("minikube", &format!("downloading {artifact}: {:.0} %", share * 100.0));
        }
        Event::Warning(what) => terminal.detail(format!("minikube: {what}")),
        Event::Step { .. } | Event::Failure(_) | Event::Info(_) => {}
    };
    if request.fresh && state != State::Absent {
        let question =
            format!("minikube's profile `{}` will be deleted, with all that it holds", wanted.profile);
        terminal.consent(&question, interrupt).await?;
        program.delete(&mut |event| tell(event)).await?;
        state = State::Absent;
    }
    // A start enables what is lacking by itself.
    let lacking = match state {
        State::Absent => Vec::new(),
        _ => program.lacking(&wanted.addons).await?,
    };
    if state != State::Absent {
        if let Some(profile) = program.profile().await? {
            for difference in minikube::differences(&profile, wanted) {
                terminal.warn(format!("profile `{}`: {difference} (--fresh replaces it)", wanted.profile));
            }
        }
        if !ours {
            let addons = match lacking.as_slice() {
                [] => String::new(),
                lacking => format!(", with addons enabled that stay: {}", lacking.join(", ")),
            };
            let question = format!(
                "minikube's profile `{}` is there already and will be used for {}{addons}",
                wanted.profile, request.stack.name
            );
            terminal.consent(&question, interrupt).await?;
        }
    }
    let created = ours || state == State::Absent;
    if state == State::Absent {
        // Before it is made: whatever happens now, `down` knows whose it is.
        let place = ClusterLab {
            context: wanted.profile.clone(),
            kubeconfig: request.kubeconfig.clone(),
            identity: String::new(),
            namespace: stack.namespace.clone(),
            endpoints: stack.endpoints.clone(),
            image_loader: request.image_loader.clone(),
            values: request.values.clone(),
            images: IndexMap::new(),
            minikube: Some(MinikubeLab { profile: wanted.profile.clone(), created }),
            done: Vec::new(),
        };
        request.lab(place).save(request.folder.root())?;
    }
    if state != State::Running {
        let started = Instant::now();
        progress.say(&format!("minikube {version}: starting profile `{}`", wanted.profile));
        program.start(wanted, &mut |event| tell(event)).await?;
        progress.done(
            "minikube",
            &format!("profile `{}` started · {:.1} s", wanted.profile, started.elapsed().as_secs_f64()),
        );
        return Ok(MinikubeLab { profile: wanted.profile.clone(), created });
    }
    for addon in lacking {
        progress.tell("minikube", &format!("enabling addon {addon}"));
        program.enable(addon).await?;
        progress.done("minikube", &format!("addon {addon} enabled"));
    }
    Ok(MinikubeLab { profile: wanted.profile.clone(), created })
}
