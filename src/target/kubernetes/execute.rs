//! Does one step of a plan, and writes down what it will do before it does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use serde_json::json;
use tokio::sync::watch;

use super::apply::{Change, Mode, apply, ensure_namespace};
use super::build::{self, Builder, Built};
use super::client::Cluster;
use super::failure::{call, call_opt};
use super::gone::{gone, is_going};
use super::helm::{Helm, Installed, is_workload};
use super::image::{Loader, full_name, write_archive};
use super::leftover;
use super::node_image::{self, Presence};
use super::object::{ObjectRef, read_objects};
use super::patch::{Undo, patch};
use super::plan::{Action, Release, Step, fill_replicas, names_replicas};
use super::progress::Progress;
use super::reach::{instances_of, pods};
use super::record::{Book, Done};
use super::wait;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::stack::{ClusterEndpoint, Image, PatchTarget};

/// The label that holds a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Kinds that are waited for once they are applied.
pub(super) const WORKLOADS: [&str; 6] =
    ["Deployment", "StatefulSet", "DaemonSet", "Job", "Prometheus", "Alertmanager"];

/// How many objects of a release are looked at at the same time.
const AT_ONCE: usize = 8;

/// How often the cluster is asked for a kind that a chart has yet to bring.
const KIND_POLL: Duration = Duration::from_millis(300);

/// What steps are done with.
pub struct Execution<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Helm, where the plan has charts.
    pub helm: Option<Helm>,
    /// The namespace of what names none.
    pub namespace: &'a str,
    /// The service, whose pods are the replicas.
    pub service: Option<&'a ClusterEndpoint>,
    /// Where it is written down.
    pub book: &'a Book<'a>,
    /// How images come onto the nodes.
    pub loader: Option<Loader>,
    /// The program that an image of `sre` holds.
    pub program: Option<PathBuf>,
    /// Where progress goes.
    pub progress: &'a Progress,
    /// Ends every wait.
    pub interrupt: &'a Interrupt,
    /// When what Prometheus is configured by was last changed.
    pub configured: Mutex<Option<Instant>>,
    /// How many charts are still to be installed.
    pub charts: watch::Sender<usize>,
}

/// The group of the Prometheus operator's kinds.
pub(super) const OPERATOR: &str = "monitoring.coreos.com";

impl Execution<'_> {
    /// Does a step, and waits until what it brought is ready.
    ///
    /// # Errors
    /// What failed, on which object (exit 6), or what is missing (exit 5).
    pub async fn step(&self, step: &Step) -> Result<()> {
        let started = Instant::now();
        let what = self.interrupt.or(self.act(step)).await??;
        if matches!(step.action, Action::Chart(_)) {
            self.charts.send_modify(|left| *left -= 1);
        }
        self.progress.done(&step.name, &format!("{what} · {:.1} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    async fn act(&self, step: &Step) -> Result<String> {
        match &step.action {
            Action::Zones(zones) => self.zones(zones).await,
            Action::Image(image) => self.image(&step.name, image).await,
            Action::Chart(release) => self.chart(step, release).await,
            Action::Apply(objects) => self.apply(step, objects).await,
            Action::Patch { target, body } => {
                // Known before it is written, so that it can be undone whatever happens then.
                for planned in patch(self.cluster, target, body, Mode::DryRun).await? {
                    if let Some(undo) = Undo::of(&planned) {
                        self.book.note(Done::Patch(undo))?;
                    }
                }
                let patched = patch(self.cluster, target, body, Mode::Write).await?;
                let objects: Vec<ObjectRef> = patched.iter().map(|applied| applied.object.clone()).collect();
                self.ready(step, &objects).await?;
                Ok(changes(patched.iter().map(|applied| &applied.change)))
            }
        }
    }

    /// Labels nodes that are in no zone, in the order of their names.
    async fn zones(&self, zones: &[String]) -> Result<String> {
        let api: Api<Node> = Api::all(self.cluster.client());
        let all = ListParams::default();
        let nodes = call(|| "the nodes could not be listed".into(), || api.list(&all)).await?;
        let mut names: Vec<String> = nodes
            .items
            .into_iter()
            .filter(|node| node.metadata.labels.as_ref().is_none_or(|labels| !labels.contains_key(ZONE)))
            .filter_map(|node| node.metadata.name)
            .collect();
        names.sort();
        for (name, zone) in names.iter().zip(zones.iter().cycle()) {
            let node =
                PatchTarget { kind: "Node".into(), name: Some(name.clone()), ..PatchTarget::default() };
            let body = super::plan::PatchBody::Merge(json!({"metadata": {"labels": {ZONE: zone}}}));
            let object = ObjectRef {
                api_version: "v1".into(),
                kind: "Node".into(),
                namespace: None,
                name: name.clone(),
            };
            self.book.note(Done::Patch(Undo {
                object,
                before: json!({"metadata": {"labels": {ZONE: null}}}),
                after: json!({"metadata": {"labels": {ZONE: zone}}}),
            }))?;
            patch(self.cluster, &node, &body, Mode::Write).await?;
        }
        Ok(match names.len() {
            0 => "every node is in a zone".into(),
            count => format!("{count} nodes labelled"),
        })
    }

    /// Makes sure that every node has an image. Its name has its tag.
    async fn image(&self, step: &str, wanted: &Image) -> Result<String> {
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
            self.warn_of_unknown(&known, &image);
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
        self.warn_of_unknown(&known, &image);
        Ok(format!("loaded {image}"))
    }

    /// Has nodes look for an image. The pods that do are written down as long as they are there.
    async fn look(&self, nodes: &[String], image: &str) -> Result<BTreeMap<String, Presence>> {
        self.namespace(self.namespace).await?;
        let pods: Vec<Done> =
            nodes.iter().map(|node| Done::Object(node_image::looker(self.namespace, node))).collect();
        pods.iter().try_for_each(|pod| self.book.note(pod.clone()))?;
        let found = node_image::look(self.cluster, self.namespace, nodes, image).await?;
        pods.iter().try_for_each(|pod| self.book.forget(pod))?;
        Ok(found)
    }

    fn warn_of_unknown(&self, known: &BTreeMap<String, Presence>, image: &str) {
        for (node, presence) in known {
            if let Presence::Unknown(why) = presence {
                self.progress.say(&format!("! whether {node} has image {image} cannot be told: {why}"));
            }
        }
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
    pub(super) async fn nodes(&self) -> Result<Vec<(String, Vec<String>)>> {
        let api: Api<Node> = Api::all(self.cluster.client());
        let all = ListParams::default();
        let nodes = call(|| "the nodes could not be listed".into(), || api.list(&all)).await?;
        Ok(nodes
            .items
            .into_iter()
            .map(|node| {
                let images = node.status.and_then(|status| status.images).unwrap_or_default();
                let names = images.into_iter().flat_map(|image| image.names.unwrap_or_default()).collect();
                (node.metadata.name.unwrap_or_default(), names)
            })
            .collect())
    }

    async fn chart(&self, step: &Step, release: &Release) -> Result<String> {
        let helm = self.helm.as_ref().ok_or_else(|| Error::prerequisite("helm is missing"))?;
        self.namespace(&release.namespace).await?;
        let say = |line: &str| self.progress.say(line);
        if helm.history(release).await?.is_empty() {
            // What helm never removes must be known before it is there.
            let text = helm.template(release).await?;
            let objects = read_objects(&format!("release {}", release.name), &text)?;
            for definition in leftover::definitions(&objects) {
                let reference = leftover::definition(&definition);
                if let Some((api, _)) = self.cluster.api(&reference, "").await? {
                    let what = || format!("{reference} could not be read");
                    if call_opt(what, || api.get(&reference.name)).await?.is_none() {
                        self.book.note(Done::Definition(definition))?;
                    }
                }
            }
            for object in leftover::of_operators(&objects) {
                self.book.note(Done::Leftover(object))?;
            }
        }
        self.book.note(Done::Release { namespace: release.namespace.clone(), name: release.name.clone() })?;
        let before = Instant::now();
        let mut installed = helm.upgrade(release, &say).await?;
        let mut objects = helm.objects(&release.namespace, &release.name).await?;
        if installed == Installed::Unchanged && self.one_is_gone(&step.name, &objects).await? {
            helm.restore(release).await?;
            installed = Installed::Upgraded;
        }
        if installed != Installed::Unchanged {
            self.note_configured(before);
        }
        objects.retain(is_workload);
        self.ready(step, &objects).await?;
        Ok(match installed {
            Installed::New => "installed".into(),
            Installed::Upgraded => "upgraded".into(),
            Installed::Unchanged => "unchanged".into(),
        })
    }

    /// Notes that what Prometheus is configured by was changed, not before `at`.
    pub fn note_configured(&self, at: Instant) {
        let mut latest = self.configured.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = (*latest).max(Some(at));
    }

    /// Whether somebody deleted one of a release's objects. One that is still on its way out is waited for: helm would
    /// change it, and it would go all the same.
    async fn one_is_gone(&self, step: &str, objects: &[ObjectRef]) -> Result<bool> {
        let all = objects.iter().map(|object| async move {
            let Some((api, _)) = self.cluster.api(object, self.namespace).await? else { return Ok(true) };
            let what = || format!("{object} could not be read");
            Ok::<_, Error>(match call_opt(what, || api.get(&object.name)).await? {
                None => true,
                Some(found) if is_going(&found) => {
                    self.progress.tell(step, &format!("{object} is being deleted still"));
                    gone(self.cluster, object).await?;
                    true
                }
                Some(_) => false,
            })
        });
        let gone: Vec<bool> = stream::iter(all).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(gone.contains(&true))
    }

    async fn apply(&self, step: &Step, objects: &[DynamicObject]) -> Result<String> {
        self.namespace(self.namespace).await?;
        let mut applied = Vec::new();
        for object in objects {
            self.kind_is_there(step, &ObjectRef::of(object)).await?;
            let object = &self.with_replicas(object).await?;
            let reference = locate(self.cluster, object, self.namespace).await?;
            self.progress.tell(&step.name, &format!("applying {reference}"));
            self.book.note(match reference.kind.as_str() {
                // It goes last, whatever else is in it.
                "Namespace" => Done::Namespace(reference.name),
                _ => Done::Object(reference),
            })?;
            let before = Instant::now();
            let one = apply(self.cluster, self.namespace, std::slice::from_ref(object), Mode::Write).await?;
            let changed =
                one.iter().any(|done| matches!(done.change, Change::Created | Change::Changed { .. }));
            if changed && ObjectRef::of(object).group() == OPERATOR {
                self.note_configured(before);
            }
            applied.extend(one);
        }
        let workloads: Vec<ObjectRef> = applied
            .iter()
            .map(|applied| applied.object.clone())
            .filter(|object| WORKLOADS.contains(&object.kind.as_str()))
            .collect();
        self.ready(step, &workloads).await?;
        Ok(changes(applied.iter().map(|applied| &applied.change)))
    }

    /// Waits for an object's kind as long as a chart may yet bring it. So what the operator reads is there before the
    /// Prometheus that it makes: one that runs already hears of it only when the kubelet next looks at its files, up to a
    /// minute later.
    async fn kind_is_there(&self, step: &Step, object: &ObjectRef) -> Result<()> {
        let mut charts = self.charts.subscribe();
        let since = Instant::now();
        loop {
            let left = *charts.borrow_and_update();
            if left == 0
                || since.elapsed() > step.wait.get()
                || self.cluster.api(object, self.namespace).await?.is_some()
            {
                return Ok(());
            }
            self.progress.tell(&step.name, &format!("no chart has brought the kind {} yet", object.kind));
            let _ = tokio::time::timeout(KIND_POLL, charts.changed()).await;
        }
    }

    /// An object as it is applied: with the replicas' addresses of now, where it names them.
    pub(super) async fn with_replicas(&self, object: &DynamicObject) -> Result<DynamicObject> {
        let mut object = object.clone();
        if !names_replicas(&object) {
            return Ok(object);
        }
        let addresses = match self.service {
            Some(service) => instances_of(&pods(self.cluster, service, self.namespace).await?),
            None => Vec::new(),
        };
        if addresses.is_empty() {
            return Err(Error::target(format!(
                "{} names the replicas, and none is ready",
                ObjectRef::of(&object)
            ))
            .hint(
                "the step that brings the service belongs in its `needs`, and `endpoints.service` in the stack",
            ));
        }
        fill_replicas(&mut object, &addresses);
        Ok(object)
    }

    /// Makes a namespace that is not there; one that still ends is waited for.
    async fn namespace(&self, name: &str) -> Result<()> {
        let reference = ObjectRef {
            api_version: "v1".into(),
            kind: "Namespace".into(),
            namespace: None,
            name: name.into(),
        };
        let Some((api, _)) = self.cluster.api(&reference, name).await? else { return Ok(()) };
        let what = || format!("{reference} could not be read");
        match call_opt(what, || api.get(name)).await? {
            Some(found) if is_going(&found) => {
                self.progress.tell(&reference.to_string(), "it is being deleted still");
                gone(self.cluster, &reference).await?;
            }
            // Whoever made it may have labelled it, too.
            Some(_) => return Ok(()),
            None => {}
        }
        self.book.note(Done::Namespace(name.into()))?;
        ensure_namespace(self.cluster, name, Mode::Write).await.map(|_| ())
    }

    async fn ready(&self, step: &Step, objects: &[ObjectRef]) -> Result<()> {
        let progress = |line: &str| self.progress.tell(&step.name, line);
        wait::ready(self.cluster, objects, step.wait.get(), &progress).await
    }
}

fn missing_of(known: &BTreeMap<String, Presence>) -> Vec<String> {
    let missing = known.iter().filter(|(_, presence)| **presence == Presence::Missing);
    missing.map(|(node, _)| node.clone()).collect()
}

/// The name of an object, with the namespace that it will be in: `namespace`, if it names none and has one.
pub async fn locate(cluster: &Cluster, object: &DynamicObject, namespace: &str) -> Result<ObjectRef> {
    let mut reference = ObjectRef::of(object);
    let version = reference.api_version.rsplit('/').next().unwrap_or_default().to_owned();
    match cluster.kind(reference.group(), &version, &reference.kind).await? {
        Some(kind) if !kind.namespaced => reference.namespace = None,
        _ => {
            reference.namespace.get_or_insert_with(|| namespace.to_owned());
        }
    }
    Ok(reference)
}

/// `2 created, 1 changed` or `unchanged`.
fn changes<'a>(all: impl Iterator<Item = &'a Change>) -> String {
    let (mut created, mut changed) = (0, 0);
    for change in all {
        match change {
            Change::Created => created += 1,
            Change::Changed { .. } => changed += 1,
            Change::Unchanged | Change::Foreign => {}
        }
    }
    let words: Vec<String> = [(created, "created"), (changed, "changed")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if words.is_empty() { "unchanged".into() } else { words.join(", ") }
}
