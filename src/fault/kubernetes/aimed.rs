//! A fault of a timeline that is on an object of a cluster.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;

use super::guard::{self, Wanted};
use super::node::is_plain;
use super::plan::{Plan, Request, plan};
use super::survey::survey;
use super::{Blast, Effect, Place, Record, enforced};
use crate::error::{Error, Result};
use crate::fault::{Switches, Touched};
use crate::scenario::{Aim, AimKind, FaultKind, FaultStep};
use crate::target::Lab;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call;
use crate::target::kubernetes::forward::Forward;
use crate::target::kubernetes::image::{full_name, is_loaded};
use crate::target::kubernetes::object::ObjectRef;
use crate::target::kubernetes::record::{ClusterLab, Done};

/// A guard is there for so long after a fault should have ended that was never injected.
const SLACK: Duration = Duration::from_secs(300);

/// How many seconds the cluster's clock may be from this machine's.
const APART: i64 = 5;

/// What faults on a cluster are injected with.
#[derive(Clone)]
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// How it is found again.
    pub place: Place,
    /// The namespace of what is aimed at.
    pub namespace: String,
    /// What a fault without an aim is on, and its namespace.
    pub service: Option<(Aim, String)>,
    /// The image of `sre` that the nodes have, for guards and helper pods.
    pub image: Option<String>,
    /// Whether each fault has a guard.
    pub expiry: bool,
    /// Commands that stop and start a node; `{node}` is replaced.
    pub node: Option<(String, String)>,
}

impl Scene {
    /// The scene of a lab that is up on a cluster.
    ///
    /// # Errors
    /// As for connecting to its cluster.
    pub async fn of(lab: &Lab) -> Result<Option<Scene>> {
        let Some(place) = &lab.cluster else { return Ok(None) };
        let cluster = crate::target::kubernetes::reach::connect(place).await?;
        let profile = place.minikube.as_ref().filter(|made| is_plain(&made.profile));
        let minikube = profile.map(|made| {
            let command = |verb: &str| format!("minikube --profile {} node {verb} {{node}}", made.profile);
            (command("stop"), command("start"))
        });
        let image = image_of(&cluster, place).await?;
        Ok(Some(Scene {
            place: Place::of(&cluster).await?,
            cluster,
            namespace: place.namespace.clone(),
            service: place.endpoints.service.as_ref().map(|service| {
                let labels = service.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                (Aim::Labels(labels), service.namespace.as_ref().unwrap_or(&place.namespace).clone())
            }),
            image,
            expiry: true,
            node: node_commands().or(minikube),
        }))
    }
}

/// The commands that the environment names for stopping and starting a node.
pub fn node_commands() -> Option<(String, String)> {
    Some((std::env::var("SRE_NODE_STOP").ok()?, std::env::var("SRE_NODE_START").ok()?))
}

/// The helm release that an object says it belongs to.
fn release_of(object: &DynamicObject) -> Option<(String, String)> {
    let annotations = object.metadata.annotations.as_ref()?;
    let of = |key: &str| annotations.get(key).cloned();
    Some((of("meta.helm.sh/release-namespace")?, of("meta.helm.sh/release-name")?))
}

/// Refuses pods that have no fault switches before anything is done to them.
async fn has_switches(cluster: &Cluster, plan: &Plan) -> Result<()> {
    for effect in &plan.effects {
        let Effect::Switches { pods, port, .. } = effect else { continue };
        for pod in pods {
            let forward = Forward::to_pod(cluster, &pod.namespace, &pod.name, *port).await?;
            if !Switches::are_at(&forward.url()).await {
                return Err(Error::usage(format!("Pod {}/{} has no fault switches", pod.namespace, pod.name))
                    .because_of(format!("nothing there answers for them on port {port}"))
                    .hint("only the demo service (`sre app --admin 127.0.0.1:9090`) has fault switches; sre fault list has others"));
            }
        }
    }
    Ok(())
}

/// Refuses a cluster whose clock is far from this machine's: its guard and other machines would undo a fault too early,
/// or too late.
async fn same_time(cluster: &Cluster) -> Result<()> {
    let before = Timestamp::now();
    let Some(theirs) = cluster.time().await? else { return Ok(()) };
    // A header tells whole seconds.
    let behind = before.duration_since(theirs).as_secs() - 1;
    let ahead = theirs.duration_since(Timestamp::now()).as_secs();
    let apart = behind.max(ahead);
    if apart <= APART {
        return Ok(());
    }
    let whose = if behind > ahead { "behind" } else { "ahead of" };
    Err(Error::prerequisite("the cluster's clock is too far from this machine's for a fault")
        .because_of(format!(
            "the API server's is {apart} s {whose} ours: others would undo the fault at another time"
        ))
        .hint("set both by NTP: timedatectl, chronyc tracking"))
}

/// The image of `sre` that a lab has on the nodes, if it has one.
///
/// # Errors
/// The target (exit 6) where the cluster does not tell.
pub async fn image_of(cluster: &Cluster, place: &ClusterLab) -> Result<Option<String>> {
    match place.images.keys().find(|image| is_loaded(image)) {
        Some(image) => Ok(Some(image.clone())),
        None => image_that_runs(cluster, &place.namespace).await,
    }
}

/// The image of `sre` that a pod of a namespace runs from: the nodes had it before.
///
/// # Errors
/// The target (exit 6) where the cluster does not tell.
pub async fn image_that_runs(cluster: &Cluster, namespace: &str) -> Result<Option<String>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let what = || format!("the pods of {namespace} could not be listed");
    let all = ListParams::default();
    let found = call(what, || pods.list(&all)).await?;
    let containers =
        found.items.into_iter().filter_map(|pod| pod.spec).flat_map(|spec| spec.containers.into_iter());
    Ok(containers
        .filter_map(|container| container.image)
        .map(|image| full_name(&image))
        .find(|name| is_loaded(name)))
}

/// A fault of a timeline that is on an object of a cluster.
#[derive(Clone)]
pub struct Aimed {
    scene: Scene,
    aim: Aim,
    request: Request,
    id: String,
    lasts: Duration,
    plan: Plan,
    /// The namespace and name of the helm release that the object belongs to.
    release: Option<(String, String)>,
    guard: Option<ObjectRef>,
}

impl std::fmt::Debug for Aimed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aimed").field("id", &self.id).field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Aimed {
    /// Plans a step on what there is now.
    ///
    /// # Errors
    /// Usage (exit 2) where it cannot be injected there; the target (exit 6) where the cluster does not tell.
    pub async fn new(step: &FaultStep, scene: &Scene, id: String) -> Result<Aimed> {
        let mut scene = scene.clone();
        let aim = match (&step.on, &scene.service) {
            (Some(aim), _) => aim.clone(),
            (None, Some((aim, namespace))) => {
                scene.namespace.clone_from(namespace);
                aim.clone()
            }
            (None, None) => {
                return Err(Error::usage(format!("nobody says what {} is to be on", step.fault))
                    .hint("--on KIND/NAME or --selector KEY=VALUE; in a scenario `on: deployment/NAME`"));
            }
        };
        let request = Request {
            kind: step.fault.clone(),
            count: step.count.unwrap_or(1),
            replicas: step.replicas.clone(),
            allow_outage: step.allow_outage,
            image: scene.image.clone(),
            seconds: step.lasts.get().as_secs_f64().ceil() as u64,
            node: scene.node.clone(),
        };
        let seen = survey(&scene.cluster, &scene.namespace, &step.fault, &aim).await?;
        if let Some(other) = Record::of(&seen.anchor)? {
            return Err(super::change::taken(&seen.on(), &other));
        }
        let plan = plan(&request, &seen, &id)?;
        has_switches(&scene.cluster, &plan).await?;
        let release = release_of(&seen.anchor);
        let aim = match plan.on.kind.as_str() {
            // A node that was found by its pods stays the one that is meant, wherever they are later.
            "Node" => Aim::Object { kind: AimKind::Node, name: plan.on.name.clone() },
            _ => aim,
        };
        let lasts = step.lasts.get();
        Ok(Aimed { scene, aim, request, id, lasts, plan, release, guard: None })
    }

    /// Its name in the journal.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The object that it is on.
    pub fn on(&self) -> &ObjectRef {
        &self.plan.on
    }

    /// How far it reaches, as it was seen when it was planned.
    pub fn blast(&self) -> &Blast {
        &self.plan.blast
    }

    /// The Job that undoes it at the latest, from when it is about to be made.
    pub fn guard(&self) -> Option<&ObjectRef> {
        self.guard.as_ref()
    }

    /// Whether it will have a guard.
    pub fn is_guarded(&self) -> bool {
        self.scene.expiry
    }

    /// Whether a Job in the cluster can undo it: none can start a node, whose command is known to this machine alone.
    pub fn is_undone_inside(&self) -> bool {
        self.is_guarded() && !matches!(self.request.kind, FaultKind::NodeStop)
    }

    /// Whether the object is one of a lab's own, which `up` brought and `down` takes away. In a namespace that others
    /// use, too, theirs are not.
    pub fn is_of(&self, lab: &ClusterLab) -> bool {
        let on = &self.plan.on;
        let Some(namespace) = &on.namespace else {
            return lab.minikube.as_ref().is_some_and(|minikube| minikube.created);
        };
        lab.done.iter().any(|done| match done {
            Done::Namespace(made) => made == namespace,
            Done::Object(made) | Done::Leftover(made) => made == on,
            Done::Release { namespace, name } => {
                self.release.as_ref().is_some_and(|(of, is)| (of, is) == (namespace, name))
            }
            Done::Definition(_) | Done::Patch(_) => false,
        })
    }

    /// Makes its guard, and tries out what has to be known before: `starts` from now at the latest.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where the guard has no image, or the cluster cannot have this fault; the target (exit
    /// 6) where the guard does not run.
    pub async fn prepare(&mut self, starts: Duration) -> Result<()> {
        same_time(&self.scene.cluster).await?;
        if self.scene.expiry {
            let image = self.request.image.as_deref().ok_or_else(|| {
                Error::prerequisite("there is no image of sre on this cluster for the guard of the fault")
                    .because_of("a Job undoes the fault when nobody else can any more")
                    .hint("--image IMAGE names one that the nodes have, --image-loader COMMAND has one loaded; --no-expiry does without the guard")
            })?;
            let wanted = Wanted {
                id: &self.id,
                plan: &self.plan,
                namespace: &self.scene.namespace,
                image,
                lasts: self.lasts,
                patience: starts.saturating_add(self.lasts).saturating_add(SLACK),
            };
            // Before it is made: whoever is interrupted in the midst of that knows what to remove.
            self.guard = Some(guard::reference(&self.id, wanted.namespace()));
            guard::post(&self.scene.cluster, &wanted).await?;
        }
        if matches!(self.request.kind, FaultKind::NetworkCut)
            && let Some(image) = &self.request.image
        {
            enforced::ensure(&self.scene.cluster, self.namespace(), &self.id, image).await?;
        }
        Ok(())
    }

    fn namespace(&self) -> &str {
        self.plan.on.namespace.as_deref().unwrap_or(&self.scene.namespace)
    }

    /// Removes its guard, if it has one still, and whatever else was made to [`prepare`](Aimed::prepare) it.
    ///
    /// # Errors
    /// The target (exit 6) where the cluster refuses.
    pub async fn dismiss(&self) -> Result<()> {
        let cleared = match self.request.kind {
            FaultKind::NetworkCut => enforced::clear(&self.scene.cluster, self.namespace(), &self.id).await,
            _ => Ok(()),
        };
        let dismissed = match &self.guard {
            Some(_) => guard::dismiss(&self.scene.cluster, &self.id, self.namespace(), &self.plan.on).await,
            None => Ok(()),
        };
        dismissed.and(cleared)
    }

    /// What it touches, planned anew on what there is now: the same object as before, which was told and is guarded.
    ///
    /// # Errors
    /// As for [`Aimed::new`]; the target (exit 6) where the aim leads to another object by now.
    pub async fn touched(&self, description: &str, until: Timestamp) -> Result<Touched> {
        let seen = survey(&self.scene.cluster, &self.scene.namespace, &self.request.kind, &self.aim).await?;
        let plan = plan(&self.request, &seen, &self.id)?;
        if plan.on != self.plan.on {
            return Err(Error::target(format!("{} is not what is meant any more", self.plan.on))
                .because_of(format!("{} means {} by now", self.aim, plan.on))
                .hint("name the object itself, such as --on deployment/NAME"));
        }
        let mut record = Record::new(&self.id, description, until, plan.effects);
        record.ready = plan.ready;
        record.guard = self.guard.clone();
        Ok(Touched::Object { cluster: self.scene.place.clone(), on: plan.on, record: Box::new(record) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fault::{self, Entry, Journal, State, Timeline};
    use crate::target::Folder;
    use crate::target::kubernetes::fake::{Fake, pod};
    use crate::terminal::Terminal;

    fn job(id: &str, on: &ObjectRef) -> Value {
        let job = guard::reference(id, "shop");
        let on = serde_json::to_string(on).expect("JSON");
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": job.name, "namespace": "shop", "labels": super::super::bodies::labels(id)},
            "spec": {"template": {"spec": {"containers": [{"args": ["fault", "expire", "--on", on]}]}}},
        })
    }

    async fn aimed(step: Value, fake: &Fake) -> Result<Timeline> {
        let scene = Scene::of(&fake.lab()).await.expect("it answers").expect("a cluster");
        let scene = Scene { image: Some("sre:1".into()), ..scene };
        fault::aim(&[serde_json::from_value(step).expect("a step")], &scene).await
    }

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::new(&Folder::at(&folder.path().join(".sre")), &Terminal::silent(true));
        (folder, journal)
    }

    #[tokio::test]
    async fn the_guard_of_what_could_not_be_undone_stays() {
        let fake = Fake::shop().await;
        let step = json!({"fault": "pod-delete", "on": "statefulset/web", "at": "0s", "for": "5s"});
        let mut timeline = aimed(step, &fake).await.expect("a timeline");
        let fault::On::Object(fault) = &mut timeline.faults[0].on else { panic!("it is on an object") };
        fault.guard = Some(guard::reference(fault.id(), "shop"));
        let (id, until) = (fault.id().to_owned(), Timestamp::now());
        let on = fault.on().clone();
        fake.put(job(&id, &on));
        let (_folder, journal) = journal();
        let lock = journal.lock().await.expect("locked");
        let entry = Entry {
            schema: "sre.fault/v1".into(),
            id: id.clone(),
            description: "pod-delete".into(),
            state: State::Failed,
            owner: std::process::id(),
            until,
            ends: None,
            touched: Vec::new(),
            error: Some("the cluster did not answer".into()),
        };
        let held = journal.write(entry).expect("written");
        timeline.dismiss(&journal).await;
        assert_eq!(fake.count("Job"), 1, "nobody else would undo it");
        journal.remove(&id).expect("removed");
        drop((held, lock));
        timeline.dismiss(&journal).await;
        assert_eq!(fake.count("Job"), 0);
    }

    #[tokio::test]
    async fn what_is_on_all_of_a_workload_tells_of_all_its_pods() {
        let fake = Fake::shop().await;
        let step = json!({"fault": "scale-to-zero", "on": "pod/web-1", "at": "0s", "for": "5s"});
        let error = aimed(step.clone(), &fake).await.expect_err("the others are lost, too");
        assert!(error.to_string().contains("no replica of StatefulSet shop/web"), "{error}");
        let mut allowed = step;
        allowed["allow-outage"] = json!(true);
        let timeline = aimed(allowed, &fake).await.expect("a timeline");
        let blast = timeline.aimed().next().expect("a fault").blast();
        assert_eq!(blast.takes.len(), 3, "{blast:?}");
        assert_eq!(blast.leaves, ["0 of 3 ready in StatefulSet shop/web"]);
    }

    #[tokio::test]
    async fn a_node_that_was_told_is_the_one_that_is_touched() {
        let fake = Fake::shop().await;
        let step = json!({"fault": "cordon", "on": "app=web", "at": "0s", "for": "5s"});
        let timeline = aimed(step, &fake).await.expect("a timeline");
        let fault = timeline.aimed().next().expect("a fault");
        assert_eq!(fault.on(), &ObjectRef::of_node("first"));
        // Its pod is made anew elsewhere.
        fake.put(pod("web-0", "second"));
        let touched = fault.touched("cordon", Timestamp::now()).await.expect("it is there");
        let Touched::Object { on, .. } = touched else { panic!("it is an object") };
        assert_eq!(on, ObjectRef::of_node("first"));
    }

    #[tokio::test]
    async fn an_aim_that_leads_elsewhere_by_now_is_refused() {
        let fake = Fake::shop().await;
        let step = json!({"fault": "pod-delete", "on": "app=web", "at": "0s", "for": "5s"});
        let timeline = aimed(step, &fake).await.expect("a timeline");
        let other = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "other", "namespace": "shop"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}}, "status": {"readyReplicas": 3},
        });
        fake.put(other);
        for name in ["web-0", "web-1", "web-2"] {
            let mut pod = pod(name, "first");
            pod["metadata"]["ownerReferences"][0]["name"] = json!("other");
            fake.put(pod);
        }
        let fault = timeline.aimed().next().expect("a fault");
        let error = fault.touched("pod-delete", Timestamp::now()).await.expect_err("it is another one");
        assert!(error.to_string().contains("app=web means StatefulSet shop/other by now"), "{error}");
    }

    #[tokio::test]
    async fn a_cluster_whose_clock_is_off_gets_no_fault() {
        let fake = Fake::shop().await;
        let step = json!({"fault": "pod-delete", "on": "statefulset/web", "at": "0s", "for": "5s"});
        for (seconds, whose) in [(-20, "behind"), (20, "ahead of")] {
            fake.set_time(Timestamp::now() + jiff::SignedDuration::from_secs(seconds));
            let mut timeline = aimed(step.clone(), &fake).await.expect("a timeline");
            let error =
                timeline.prepare(Duration::ZERO).await.expect_err("others would undo it at another time");
            assert_eq!(error.exit(), crate::exit::Exit::Prerequisite);
            assert!(error.to_string().contains(&format!("s {whose} ours")), "{error}");
            assert_eq!(fake.count("Job"), 0);
        }
    }

    #[tokio::test]
    async fn only_what_up_brought_is_the_labs_own() {
        let fake = Fake::shop().await;
        let step = json!({"fault": "pod-delete", "on": "statefulset/web", "at": "0s", "for": "5s"});
        let timeline = aimed(step, &fake).await.expect("a timeline");
        let fault = timeline.aimed().next().expect("a fault");
        let mut lab = fake.lab().cluster.expect("a cluster");
        assert!(!fault.is_of(&lab), "somebody else's in the lab's namespace");
        lab.done = vec![Done::Object(fault.on().clone())];
        assert!(fault.is_of(&lab));
        lab.done = vec![Done::Namespace("shop".into())];
        assert!(fault.is_of(&lab));
        let step = json!({"fault": "cordon", "on": "node/first", "at": "0s", "for": "5s"});
        let timeline = aimed(step, &fake).await.expect("a timeline");
        assert!(!timeline.aimed().next().expect("a fault").is_of(&lab), "a node is everybody's");
    }

    #[tokio::test]
    async fn what_has_no_aim_is_on_the_service_where_that_is() {
        let fake = Fake::shop().await;
        let mut lab = fake.lab();
        let place = lab.cluster.as_mut().expect("a cluster");
        place.namespace = "elsewhere".into();
        place.endpoints.service =
            serde_json::from_value(json!({"namespace": "shop", "labels": {"app": "web"}, "port": 80}))
                .expect("an endpoint");
        let scene = Scene::of(&lab).await.expect("it answers").expect("a cluster");
        let step = json!({"fault": "pod-delete", "at": "0s", "for": "5s"});
        let steps = [serde_json::from_value(step).expect("a step")];
        let timeline = fault::aim(&steps, &scene).await.expect("a timeline");
        let on = timeline.aimed().next().expect("a fault").on().to_string();
        assert_eq!(on, "StatefulSet shop/web");
    }

    /// Gives up preparing a fault once something of this kind is there: no pod runs there, so that it is waited for.
    async fn given_up(fault: &str, on: &str, expiry: bool, made: impl Fn(&Fake) -> bool) -> Fake {
        let fake = Fake::shop().await;
        let step = json!({"fault": fault, "on": on, "at": "0s", "for": "5s", "allow-outage": true});
        let mut timeline = aimed(step, &fake).await.expect("a timeline");
        let fault::On::Object(fault) = &mut timeline.faults[0].on else { panic!("it is on an object") };
        fault.scene.expiry = expiry;
        let there = async {
            while !made(&fake) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            prepared = timeline.prepare(Duration::ZERO) => panic!("{prepared:?}"),
            () = there => {}
        }
        let (_folder, journal) = journal();
        timeline.dismiss(&journal).await;
        fake
    }

    #[tokio::test]
    async fn a_guard_that_nobody_waits_for_any_more_is_removed() {
        let made = |fake: &Fake| fake.count("ClusterRoleBinding") == 1;
        let fake = given_up("cordon", "node/first", true, made).await;
        for kind in ["Job", "ClusterRole", "ClusterRoleBinding"] {
            assert_eq!(fake.count(kind), 0, "{kind}");
        }
    }

    #[tokio::test]
    async fn helpers_that_nobody_waits_for_any_more_are_removed() {
        let made = |fake: &Fake| fake.count("Pod") == 4;
        let fake = given_up("network-cut", "statefulset/web", false, made).await;
        assert_eq!(fake.count("Pod"), 3);
    }
}
