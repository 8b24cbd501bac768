//! A fault of a timeline that is on an object of a cluster.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::guard::{self, Wanted};
use super::plan::{Plan, Request, plan};
use super::survey::survey;
use super::{Blast, Place, Record, enforced};
use crate::error::{Error, Result};
use crate::fault::Touched;
use crate::scenario::{Aim, AimKind, FaultKind, FaultStep};
use crate::target::Lab;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call;
use crate::target::kubernetes::image::full_name;
use crate::target::kubernetes::object::ObjectRef;
use crate::target::kubernetes::record::ClusterLab;

/// A guard is there for so long after a fault should have ended that was never injected.
const SLACK: Duration = Duration::from_secs(300);

/// What faults on a cluster are injected with.
#[derive(Clone)]
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// How it is found again.
    pub place: Place,
    /// The namespace of what is aimed at.
    pub namespace: String,
    /// What a fault without an aim is on.
    pub service: Option<Aim>,
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
        let minikube = place.minikube.as_ref().map(|made| {
            let command = |verb: &str| format!("minikube --profile {} node {verb} {{node}}", made.profile);
            (command("stop"), command("start"))
        });
        let image = match place.images.keys().find(|image| is_sre(image)) {
            Some(image) => Some(image.clone()),
            None => image_that_runs(&cluster, place).await?,
        };
        Ok(Some(Scene {
            place: Place::of(&cluster).await?,
            cluster,
            namespace: place.namespace.clone(),
            service: place.endpoints.service.as_ref().map(|service| {
                Aim::Labels(service.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
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

/// The image of `sre` that one of the lab's own pods runs from: the nodes had it before.
async fn image_that_runs(cluster: &Cluster, place: &ClusterLab) -> Result<Option<String>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &place.namespace);
    let what = || format!("the pods of {} could not be listed", place.namespace);
    let all = ListParams::default();
    let found = call(what, || pods.list(&all)).await?;
    let containers =
        found.items.into_iter().filter_map(|pod| pod.spec).flat_map(|spec| spec.containers.into_iter());
    Ok(containers
        .filter_map(|container| container.image)
        .map(|image| full_name(&image))
        .find(|name| is_sre(name)))
}

fn is_sre(image: &str) -> bool {
    image.strip_prefix("docker.io/library/sre").is_some_and(|rest| rest.starts_with([':', '@']))
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
        let aim = step.on.clone().or_else(|| scene.service.clone()).ok_or_else(|| {
            Error::usage(format!("nobody says what {} is to be on", step.fault))
                .hint("--on KIND/NAME or --selector KEY=VALUE; in a scenario `on: deployment/NAME`")
        })?;
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
        let aim = match plan.on.kind.as_str() {
            // A node that was found by its pods stays the one that is meant, wherever they are later.
            "Node" => Aim::Object { kind: AimKind::Node, name: plan.on.name.clone() },
            _ => aim,
        };
        let lasts = step.lasts.get();
        Ok(Aimed { scene: scene.clone(), aim, request, id, lasts, plan, guard: None })
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

    /// Makes its guard, and tries out what has to be known before: `starts` from now at the latest.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where the guard has no image, or the cluster cannot have this fault; the target (exit
    /// 6) where the guard does not run.
    pub async fn prepare(&mut self, starts: Duration) -> Result<()> {
        if self.scene.expiry {
            let image = self.request.image.as_deref().ok_or_else(|| {
                Error::prerequisite("there is no image of sre on this cluster for the guard of the fault")
                    .because_of("a Job undoes the fault when nobody else can any more")
                    .hint("--image IMAGE names one that the nodes have, --image-loader COMMAND has one loaded; --no-expiry does without the guard")
            })?;
            let until = Timestamp::now() + starts + self.lasts + SLACK;
            let wanted =
                Wanted { id: &self.id, plan: &self.plan, namespace: &self.scene.namespace, image, until };
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
            Some(job) => guard::dismiss(&self.scene.cluster, job, &self.plan.on).await,
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
    use crate::target::kubernetes::fake::Fake;
    use crate::terminal::Terminal;

    fn pod(name: &str, node: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "web", "controller": true},
            ]},
            "spec": {"nodeName": node, "containers": [{"name": "web"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    fn node(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}})
    }

    fn job(id: &str) -> Value {
        let job = guard::reference(id, "shop");
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job.name, "namespace": "shop"}})
    }

    /// A workload of three pods on two nodes.
    async fn shop() -> Fake {
        let web = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}}, "status": {"readyReplicas": 3},
        });
        let pods = [pod("web-0", "first"), pod("web-1", "second"), pod("web-2", "second")];
        Fake::new(&[&[web, node("first"), node("second")], &pods[..]].concat()).await
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
        let fake = shop().await;
        let step = json!({"fault": "pod-delete", "on": "statefulset/web", "at": "0s", "for": "5s"});
        let mut timeline = aimed(step, &fake).await.expect("a timeline");
        let fault::On::Object(fault) = &mut timeline.faults[0].on else { panic!("it is on an object") };
        fault.guard = Some(guard::reference(fault.id(), "shop"));
        let (id, until) = (fault.id().to_owned(), Timestamp::now());
        fake.put(job(&id));
        let (_folder, journal) = journal();
        let lock = journal.lock().await.expect("locked");
        let entry = Entry {
            schema: "sre.fault/v1".into(),
            id: id.clone(),
            description: "pod-delete".into(),
            state: State::Failed,
            owner: std::process::id(),
            until,
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
        let fake = shop().await;
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
        let fake = shop().await;
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
        let fake = shop().await;
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

    /// Gives up preparing a fault once something of this kind is there: no pod runs there, so that it is waited for.
    async fn given_up(fault: &str, on: &str, expiry: bool, made: impl Fn(&Fake) -> bool) -> Fake {
        let fake = shop().await;
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
