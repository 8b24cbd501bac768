//! The guard of a fault: a Job, made and running before the fault is injected, that undoes it from the annotation
//! when nobody else has. It may change that object and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::bodies::{labels, name, pod_spec};
use super::own;
use super::ownership;
use super::plan::Plan;
use super::record::{ANNOTATION, Effect, LABEL};
use super::survey::find;
use crate::error::{Error, Result};
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::{call, call_opt, failed, retry, status};
use crate::target::kubernetes::object::{MANAGED_BY, MANAGER, ObjectRef};

/// A guard undoes a fault this much later than its owner should have.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long the guard's pod may take to run.
const START: Duration = Duration::from_secs(60);

/// How long a guard may try.
const TRIES: u64 = 600;

/// What holds the rights of a node's guard, in the order in which it is removed.
const RIGHTS: [&str; 2] = ["ClusterRoleBinding", "ClusterRole"];

/// How long a Deployment's controller may take to make a ReplicaSet.
const MADE: Duration = Duration::from_secs(10);

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// How often a guard looks at the object.
const POLL: Duration = Duration::from_secs(2);

/// What a guard's objects are made of. Pure.
pub struct Guard<'a> {
    /// The fault's id.
    pub id: &'a str,
    /// The namespace of the Job.
    pub namespace: &'a str,
    /// The object that the fault is on, and the plural of its kind.
    pub on: (&'a ObjectRef, String),
    /// Helper objects that the fault will make, each with the plural of its kind.
    pub helpers: Vec<(ObjectRef, String)>,
    /// The ReplicaSets of a Deployment, by name: its controller copies annotations to them.
    pub sets: Vec<String>,
    /// The image of `sre`.
    pub image: &'a str,
    /// How long the fault lasts.
    pub lasts: Duration,
    /// How long from now until it is over at the latest.
    pub patience: Duration,
}

impl Guard<'_> {
    fn job(&self) -> Value {
        let on = serde_json::to_string(self.on.0).unwrap_or_default();
        let seconds = |time: Duration| format!("{:.0}", time.as_secs_f64().ceil());
        let (lasts, patience) = (seconds(self.lasts), seconds(self.patience));
        let arguments =
            json!(["fault", "expire", "--id", self.id, "--on", on, "--lasts", lasts, "--patience", patience]);
        let deadline = self.patience.as_secs() + GRACE.as_secs() + TRIES;
        let mut spec = pod_spec(self.image, &arguments, deadline);
        spec["restartPolicy"] = json!("OnFailure");
        spec["automountServiceAccountToken"] = json!(true);
        spec["serviceAccountName"] = json!(name(self.id));
        if self.on.0.kind == "Node" {
            // Not on the node that is about to go.
            let elsewhere = json!({"key": "metadata.name", "operator": "NotIn", "values": [self.on.0.name]});
            spec["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchFields": [elsewhere]}]}}});
        }
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": self.metadata(),
            "spec": {
                "backoffLimit": 20, "activeDeadlineSeconds": deadline, "ttlSecondsAfterFinished": 60,
                "template": {"metadata": {"labels": labels(self.id)}, "spec": spec},
            },
        })
    }

    fn metadata(&self) -> Value {
        json!({"name": name(self.id), "namespace": self.namespace, "labels": labels(self.id)})
    }

    fn rules(&self) -> Value {
        let (on, plural) = &self.on;
        let group = "rbac.authorization.k8s.io";
        let own = [name(self.id)];
        let mut rules = vec![rule(on.group(), plural, &["get", "patch"], std::slice::from_ref(&on.name))];
        for (helper, plural) in &self.helpers {
            rules.push(rule(helper.group(), plural, &["get", "delete"], std::slice::from_ref(&helper.name)));
        }
        if on.kind == "Deployment" {
            // Which those are stands in its Role: it may list none, and one more may come with the fault.
            rules.push(rule(group, "roles", &["get"], &own));
            rules.extend((!self.sets.is_empty()).then(|| sets_rule(&self.sets)));
        }
        if on.kind == "Node" {
            for plural in ["clusterroles", "clusterrolebindings"] {
                rules.push(rule(group, plural, &["get", "delete"], &own));
            }
        }
        Value::Array(rules)
    }

    /// The Job first, which owns the others: what it is finished with goes with it. A node's guard has rights that
    /// no namespace holds, and removes them itself.
    fn objects(&self) -> Vec<Value> {
        let cluster = if self.on.0.kind == "Node" { "Cluster" } else { "" };
        let rbac = "rbac.authorization.k8s.io/v1";
        let mut metadata = self.metadata();
        if !cluster.is_empty()
            && let Some(fields) = metadata.as_object_mut()
        {
            fields.shift_remove("namespace");
        }
        let subject = json!({"kind": "ServiceAccount", "name": name(self.id), "namespace": self.namespace});
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": format!("{cluster}Role"), "name": name(self.id)});
        vec![
            self.job(),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self.metadata()}),
            json!({"apiVersion": rbac, "kind": format!("{cluster}Role"), "metadata": metadata, "rules": self.rules()}),
            json!({"apiVersion": rbac, "kind": format!("{cluster}RoleBinding"), "metadata": metadata, "roleRef": role, "subjects": [subject]}),
        ]
    }
}

/// A rule about objects of these names, of which there must be one: none would mean all.
fn rule(group: &str, plural: &str, verbs: &[&str], names: &[String]) -> Value {
    json!({"apiGroups": [group], "resources": [plural], "verbs": verbs, "resourceNames": names})
}

fn sets_rule(names: &[String]) -> Value {
    rule("apps", "replicasets", &["get", "patch", "delete"], names)
}

/// The rule about ReplicaSets in a guard's Role: its place, and the names in it.
fn sets_in(role: &DynamicObject) -> Option<(usize, Vec<String>)> {
    let rules = role.data["rules"].as_array()?;
    let place = rules.iter().position(|rule| rule["resources"] == json!(["replicasets"]))?;
    serde_json::from_value(rules[place]["resourceNames"].clone()).ok().map(|names| (place, names))
}

/// What is asked of a guard.
pub struct Wanted<'a> {
    /// The fault's id.
    pub id: &'a str,
    /// What the fault will do.
    pub plan: &'a Plan,
    /// The namespace of the Job, for an object that is in none.
    pub namespace: &'a str,
    /// The image of `sre`.
    pub image: &'a str,
    /// How long the fault lasts.
    pub lasts: Duration,
    /// How long from now until it is over at the latest.
    pub patience: Duration,
}

impl Wanted<'_> {
    /// The namespace of the Job.
    pub fn namespace(&self) -> &str {
        self.plan.on.namespace.as_deref().unwrap_or(self.namespace)
    }
}

/// The guard of a fault, by name.
pub fn reference(id: &str, namespace: &str) -> ObjectRef {
    ObjectRef {
        api_version: "batch/v1".into(),
        kind: "Job".into(),
        namespace: Some(namespace.into()),
        name: name(id),
    }
}

/// Makes a guard, and waits until it runs: an image that cannot be had is found out before the fault, not after.
///
/// # Errors
/// The target (exit 6) where it cannot be made, or does not run in time; it is removed then.
pub async fn post(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<()> {
    let namespace = wanted.namespace();
    let mut helpers = Vec::new();
    for effect in &wanted.plan.effects {
        if let Effect::Create { object, .. } = effect {
            helpers.push((object.clone(), plural(cluster, object).await?));
        }
    }
    let sets = match find(cluster, &wanted.plan.on).await?.and_then(|on| on.metadata.uid) {
        Some(uid) if wanted.plan.on.kind == "Deployment" => owned(cluster, &wanted.plan.on, &uid).await?,
        _ => Vec::new(),
    };
    let guard = Guard {
        id: wanted.id,
        namespace,
        on: (&wanted.plan.on, plural(cluster, &wanted.plan.on).await?),
        helpers,
        sets: sets.into_iter().filter_map(|set| set.metadata.name).collect(),
        image: wanted.image,
        lasts: wanted.lasts,
        patience: wanted.patience,
    };
    let job = reference(wanted.id, namespace);
    let made = async {
        make(cluster, &guard).await?;
        runs(cluster, &job, wanted.id).await
    };
    match made.await {
        Ok(()) => Ok(()),
        Err(error) => {
            // It has guarded nothing yet; what is left of it ends by itself.
            let _ = dismiss(cluster, wanted.id, namespace, &wanted.plan.on).await;
            Err(error)
        }
    }
}

async fn make(cluster: &Cluster, guard: &Guard<'_>) -> Result<()> {
    let mut owner: Option<Value> = None;
    for mut body in guard.objects() {
        let namespaced = body.pointer("/metadata/namespace").is_some();
        if let Some(owner) = owner.as_ref().filter(|_| namespaced) {
            body["metadata"]["ownerReferences"] = json!([owner]);
        }
        let object: DynamicObject = serde_json::from_value(body)
            .map_err(|e| Error::target("a guard's object could not be made").because(e))?;
        let reference = ObjectRef::of(&object);
        let Some((api, _)) = cluster.api(&reference, guard.namespace).await? else {
            return Err(Error::target(format!("{reference}: this cluster serves no such kind")));
        };
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let made = call(|| format!("{reference} could not be made"), || api.create(&params, &object)).await;
        let made = made.map_err(|e| {
            e.hint("the guard of a fault needs the right to make Jobs, Roles and ServiceAccounts; --no-expiry does without it")
        })?;
        owner.get_or_insert_with(|| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": made.metadata.name,
                "uid": made.metadata.uid, "controller": false, "blockOwnerDeletion": false})
        });
    }
    Ok(())
}

async fn runs(cluster: &Cluster, job: &ObjectRef, id: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), job.namespace.as_deref().unwrap_or("default"));
    let params =
        ListParams::default().labels(&format!("{LABEL}={id},batch.kubernetes.io/job-name={}", job.name));
    let started = Instant::now();
    loop {
        let found = call(|| format!("the pods of {job} could not be listed"), || pods.list(&params)).await?;
        let phase = |pod: &Pod| pod.status.as_ref()?.phase.clone();
        if found.items.iter().any(|pod| phase(pod).as_deref() == Some("Running")) {
            return Ok(());
        }
        if started.elapsed() > START {
            let why = found.items.first().and_then(|pod| {
                let object: DynamicObject =
                    serde_json::to_value(pod).and_then(serde_json::from_value).ok()?;
                crate::target::kubernetes::readiness::trouble(&object)
            });
            return Err(Error::target(format!("the guard of the fault, {job}, does not run"))
                .because_of(why.unwrap_or_else(|| "its pod was not made or not scheduled".into()))
                .hint(
                    "--image names an image of sre that the nodes have; --no-expiry does without the guard",
                ));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn plural(cluster: &Cluster, object: &ObjectRef) -> Result<String> {
    let version = object.api_version.rsplit('/').next().unwrap_or_default();
    let kind = cluster.kind(object.group(), version, &object.kind).await?;
    kind.map(|kind| kind.resource.plural)
        .ok_or_else(|| Error::target(format!("this cluster serves no {}", object.kind)))
}

/// Removes a guard that is not needed any more; it is no error if it is gone.
///
/// # Errors
/// The target (exit 6) where the cluster refuses.
pub async fn dismiss(cluster: &Cluster, id: &str, namespace: &str, on: &ObjectRef) -> Result<()> {
    let removed = own::remove(cluster, &reference(id, namespace), id, |job| guards(job, on)).await;
    if on.kind == "Node" {
        drop_rights(cluster, id, on).await?;
    }
    removed
}

/// Whether a Job is the guard of a fault on this object: it is told so by its arguments.
fn guards(job: &DynamicObject, on: &ObjectRef) -> bool {
    let arguments = job.data.pointer("/spec/template/spec/containers/0/args").and_then(Value::as_array);
    let told = arguments.into_iter().flatten().skip_while(|argument| *argument != "--on").nth(1);
    told.and_then(Value::as_str)
        .and_then(|text| serde_json::from_str::<ObjectRef>(text).ok())
        .is_some_and(|told| told == *on)
}

/// Removes the rights of a node's guard, which no namespace holds; those that are about another node stay.
async fn drop_rights(cluster: &Cluster, id: &str, on: &ObjectRef) -> Result<()> {
    let [binding, role] = RIGHTS.map(|kind| right(kind, &name(id)));
    // Both are read first: a guard may read nothing any more once the first is gone.
    let (bound, allowed) = (own::look(cluster, &binding, id).await?, own::look(cluster, &role, id).await?);
    if allowed.as_ref().is_some_and(|role| !is_about(role, on)) {
        return Ok(());
    }
    for (object, found) in [(binding, bound), (role, allowed)] {
        if let Some(found) = found {
            own::delete(cluster, &object, &found).await?;
        }
    }
    Ok(())
}

/// Whether a role is about this node.
fn is_about(role: &DynamicObject, on: &ObjectRef) -> bool {
    let rules = role.data["rules"].as_array();
    rules
        .into_iter()
        .flatten()
        .any(|rule| rule["resources"] == json!(["nodes"]) && rule["resourceNames"] == json!([on.name]))
}

fn right(kind: &str, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "rbac.authorization.k8s.io/v1".into(),
        kind: kind.into(),
        namespace: None,
        name: name.into(),
    }
}

/// Removes the rights of nodes' guards that are gone: a Job that never ran could not do it. It is made before its
/// rights, so that rights without it are nobody's. Who may not list them has none to remove.
///
/// # Errors
/// The target (exit 6) where the cluster does not answer, or refuses to remove them.
pub(super) async fn sweep(cluster: &Cluster) -> Result<()> {
    let Some(rights) = ids(cluster, &RIGHTS.map(|kind| right(kind, ""))).await? else { return Ok(()) };
    if rights.is_empty() {
        return Ok(());
    }
    let Some(jobs) = ids(cluster, &[ObjectRef { namespace: None, ..reference("", "") }]).await? else {
        return Ok(());
    };
    for id in rights.difference(&jobs) {
        for kind in RIGHTS {
            own::remove(cluster, &right(kind, &name(id)), id, |_| true).await?;
        }
    }
    Ok(())
}

/// The faults that have helper objects of these kinds; `None` where they may not be listed.
async fn ids(cluster: &Cluster, kinds: &[ObjectRef]) -> Result<Option<BTreeSet<String>>> {
    let params = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER},{LABEL}"));
    let mut ids = BTreeSet::new();
    for object in kinds {
        let version = object.api_version.rsplit('/').next().unwrap_or_default();
        let Some(kind) = cluster.kind(object.group(), version, &object.kind).await? else { continue };
        let api: Api<DynamicObject> = Api::all_with(cluster.client(), &kind.resource);
        match retry(|| api.list_metadata(&params)).await {
            Ok(found) => {
                let id = |labels: BTreeMap<String, String>| labels.get(LABEL).cloned();
                ids.extend(found.items.into_iter().filter_map(|object| object.metadata.labels.and_then(id)));
            }
            Err(error) if status(&error) == Some(403) => return Ok(None),
            Err(error) => return Err(failed(format!("the {}s could not be listed", object.kind), &error)),
        }
    }
    Ok(Some(ids))
}

/// What the guard itself does: looks whether the fault is on, and undoes it from the annotation when its time is over.
/// Where the fault never comes, or somebody else undoes it, it ends after its `patience`. `true` if it undid it.
///
/// It counts by itself from when it first sees the fault, because no two machines' clocks agree, and any may be set. The
/// time that the record tells only makes it sooner, such as for a guard that was started again: it is compared with
/// the API server's, once, when the fault is first seen.
///
/// # Errors
/// The target (exit 6) where it cannot be undone; Kubernetes starts it again then.
pub async fn serve(
    cluster: &Cluster,
    id: &str,
    on: &ObjectRef,
    lasts: Duration,
    patience: Duration,
) -> Result<bool> {
    watch(cluster, id, on, Counted { lasts, patience, grace: GRACE }).await
}

/// What a guard counts.
struct Counted {
    lasts: Duration,
    patience: Duration,
    grace: Duration,
}

impl Counted {
    /// How long a fault that is first seen now is left alone, where the API server tells its time.
    fn left(&self, until: Timestamp, now: Option<Timestamp>) -> Duration {
        let counted = self.lasts.saturating_add(self.grace);
        let Some(now) = now else { return counted };
        let grace = SignedDuration::try_from(self.grace).unwrap_or_default();
        let told = until.duration_since(now).saturating_add(grace);
        counted.min(Duration::try_from(told).unwrap_or_default())
    }
}

async fn watch(cluster: &Cluster, id: &str, on: &ObjectRef, counted: Counted) -> Result<bool> {
    let started = Instant::now();
    let mut seen: Option<(Instant, Duration)> = None;
    loop {
        let record = match find(cluster, on).await? {
            Some(object) => super::Record::of(&object)?.filter(|record| record.id == id),
            None => None,
        };
        let Some(record) = record else {
            if seen.is_some() || started.elapsed() > counted.patience + counted.grace {
                // Whoever undid it has removed the rest, or does so now.
                give_up_rights(cluster, id, on).await;
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
            continue;
        };
        let (since, left) = match seen {
            Some(seen) => seen,
            None => {
                let since = Instant::now();
                // Only the API server's clock is the same for all. One that is set later ends nothing.
                let now = cluster.time().await.ok().flatten();
                *seen.insert((since, counted.left(record.until, now)))
            }
        };
        if since.elapsed() > left {
            super::heal::expire(cluster, on, &record).await?;
            give_up_rights(cluster, id, on).await;
            return Ok(true);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Removes the guard's own rights. What it may not remove any more, the next `sre` sweeps up.
async fn give_up_rights(cluster: &Cluster, id: &str, on: &ObjectRef) {
    if on.kind == "Node" {
        let _ = drop_rights(cluster, id, on).await;
    }
}

/// The ReplicaSets of a Deployment.
async fn owned(cluster: &Cluster, on: &ObjectRef, uid: &str) -> Result<Vec<ReplicaSet>> {
    let found = call(
        || format!("the ReplicaSets of {on} could not be listed"),
        || async { sets_of(cluster, on).list(&ListParams::default()).await },
    );
    let is_owned = |set: &ReplicaSet| {
        let mut owners = set.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.controller == Some(true) && owner.uid == uid)
    };
    Ok(found.await?.items.into_iter().filter(is_owned).collect())
}

fn sets_of(cluster: &Cluster, on: &ObjectRef) -> Api<ReplicaSet> {
    Api::namespaced(cluster.client(), on.namespace.as_deref().unwrap_or("default"))
}

/// The Role of a guard that is in a namespace.
fn role(id: &str, on: &ObjectRef) -> ObjectRef {
    ObjectRef { namespace: on.namespace.clone(), ..right("Role", &name(id)) }
}

/// Waits until a Deployment's controller has made the ReplicaSet of the version that must not come back, and gives the
/// guard the right to remove that one. Where it does not come in time, whoever undoes the fault removes it.
///
/// # Errors
/// The target (exit 6) where the cluster does not tell, or refuses.
pub(super) async fn entrust(cluster: &Cluster, on: &ObjectRef, id: &str) -> Result<()> {
    let started = Instant::now();
    let Some(uid) = find(cluster, on).await?.and_then(|on| on.metadata.uid) else { return Ok(()) };
    let name = loop {
        let sets = owned(cluster, on, &uid).await?;
        if let Some(name) = sets.iter().find(|set| is_broken(set)).and_then(|set| set.metadata.name.clone()) {
            break name;
        }
        if started.elapsed() > MADE {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    };
    let reference = role(id, on);
    let Some(found) = find(cluster, &reference).await? else { return Ok(()) };
    let patch = match sets_in(&found) {
        Some((_, names)) if names.contains(&name) => return Ok(()),
        Some((place, _)) => {
            json!([{"op": "add", "path": format!("/rules/{place}/resourceNames/-"), "value": name}])
        }
        None => json!([{"op": "add", "path": "/rules/-", "value": sets_rule(&[name])}]),
    };
    let Some((api, _)) = cluster.api(&reference, "default").await? else { return Ok(()) };
    let patch = Patch::<()>::Json(serde_json::from_value(patch).unwrap_or_default());
    let what = || format!("{reference} could not be changed");
    let params = PatchParams::default();
    call(what, || api.patch(&reference.name, &params, &patch)).await.map(|_| ())
}

/// Which ReplicaSets of a Deployment are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sets<'a> {
    /// All.
    All,
    /// Those that the guard of this fault may change.
    Entrusted(&'a str),
}

/// Takes the annotation of a fault off the ReplicaSets of a Deployment, whose controller has copied it there, and
/// removes the ReplicaSet of a version that must not come back.
pub(super) async fn tidy(
    cluster: &Cluster,
    on: &ObjectRef,
    uid: &str,
    broken: bool,
    sets: Sets<'_>,
) -> Result<()> {
    let api = sets_of(cluster, on);
    let sets = match sets {
        Sets::All => owned(cluster, on, uid).await?,
        Sets::Entrusted(id) => {
            let names = find(cluster, &role(id, on)).await?.as_ref().and_then(sets_in);
            let mut sets = Vec::new();
            for name in names.into_iter().flat_map(|(_, names)| names) {
                let what = || format!("ReplicaSet {name} could not be read");
                sets.extend(call_opt(what, || api.get(&name)).await?);
            }
            sets
        }
    };
    for set in sets {
        let name = set.metadata.name.clone().unwrap_or_default();
        let annotations = set.metadata.annotations.clone().unwrap_or_default();
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        if broken && wanted == 0 && is_broken(&set) {
            let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
            call_opt(|| format!("ReplicaSet {name} could not be removed"), || api.delete(&name, &params))
                .await?;
        } else if annotations.contains_key(ANNOTATION) {
            let path = format!("/metadata/annotations/{}", ANNOTATION.replace('/', "~1"));
            let removed = json!([{"op": "remove", "path": path}]);
            let patch = Patch::<()>::Json(serde_json::from_value(removed).unwrap_or_default());
            let params =
                PatchParams { field_manager: Some(ownership::MANAGER.into()), ..PatchParams::default() };
            let what = || format!("ReplicaSet {name} could not be patched");
            match retry(|| api.patch(&name, &params, &patch)).await {
                Ok(_) => {}
                // It is gone, or its controller was faster.
                Err(error) if matches!(status(&error), Some(404)) || is_conflict(&error) => {}
                Err(error) => return Err(failed(what(), &error)),
            }
        }
    }
    Ok(())
}

/// Whether it is the version that `broken-readiness` made: its probe asks a port on which nobody listens.
fn is_broken(set: &ReplicaSet) -> bool {
    let value = serde_json::to_value(set).unwrap_or_default();
    value.pointer("/spec/template/spec/containers/0/readinessProbe/tcpSocket/port") == Some(&json!(1))
}

/// Whether an error of the API server means that somebody was faster.
pub(super) fn is_conflict(error: &kube::Error) -> bool {
    matches!(status(error), Some(409 | 422))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::kubernetes::fake::Fake;

    fn guard<'a>(on: &'a ObjectRef, plural: &str) -> Guard<'a> {
        Guard {
            id: "one",
            namespace: "shop",
            on: (on, plural.into()),
            helpers: Vec::new(),
            sets: vec!["web-5d".into()],
            image: "sre:1",
            lasts: Duration::from_secs(30),
            patience: Duration::from_secs(300),
        }
    }

    /// A Service with a fault on it, as its guard finds it.
    async fn disturbed(until: jiff::Timestamp) -> (Fake, ObjectRef) {
        let set = Effect::Set {
            path: "/spec/ports/0/targetPort".into(),
            before: Some(json!(80)),
            after: Some(json!(1)),
        };
        let record = super::super::Record::new("one", "wrong-port on Service shop/web", until, vec![set]);
        let annotations = json!({super::super::ANNOTATION: record.annotation()});
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
            "spec": {"ports": [{"port": 80, "targetPort": 1}]},
        });
        let on = ObjectRef {
            api_version: "v1".into(),
            kind: "Service".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        (Fake::new(&[service]).await, on)
    }

    fn port(fake: &Fake) -> Value {
        fake.get("namespaces/shop/services/web").expect("the Service")["spec"]["ports"][0]["targetPort"]
            .clone()
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_guard_counts_by_itself_and_no_clock_makes_it_later() {
        // By every clock the fault goes on for an hour; by its own it lasted a moment, long ago.
        let (fake, on) = disturbed(jiff::Timestamp::now() + LONG).await;
        let clock = Counted { lasts: Duration::ZERO, patience: LONG, grace: Duration::from_millis(10) };
        assert!(watch(&fake.cluster, "one", &on, clock).await.expect("it undoes it"));
        assert_eq!(port(&fake), 80);
    }

    #[tokio::test]
    async fn the_time_of_the_api_server_makes_a_guard_sooner() {
        let (fake, on) = disturbed(jiff::Timestamp::now() + LONG).await;
        fake.set_time(jiff::Timestamp::now() + LONG * 2);
        assert!(serve(&fake.cluster, "one", &on, LONG, LONG).await.expect("it undoes it"));
        assert_eq!(port(&fake), 80);
    }

    #[test]
    fn no_clock_makes_a_guard_later_than_it_counts() {
        use rand::rngs::StdRng;
        use rand::{RngExt as _, SeedableRng as _};

        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..10_000 {
            let lasts = Duration::from_secs(random.random_range(0..700_000));
            let counted = Counted { lasts, patience: LONG, grace: GRACE };
            let mut time = || match random.random_range(0..8) {
                0 => Timestamp::MIN,
                1 => Timestamp::MAX,
                _ => Timestamp::from_second(random.random_range(-100_000..4_000_000_000)).expect("a time"),
            };
            let (until, now) = (time(), time());
            let left = counted.left(until, Some(now));
            assert!(left <= lasts + GRACE, "{left:?} of {lasts:?}, until {until} at {now}");
            // What is over by the API server's clock is undone at once, what is not is left alone.
            let since = now.duration_since(until);
            assert_eq!(left.is_zero(), since >= SignedDuration::from_secs(10), "until {until} at {now}");
            assert_eq!(counted.left(until, None), lasts + GRACE);
        }
    }

    #[tokio::test]
    async fn a_guards_own_clock_tells_it_nothing() {
        // This machine thinks that it is over since an hour; the API server does not.
        let until = jiff::Timestamp::now() - LONG;
        let (fake, on) = disturbed(until).await;
        fake.set_time(until - LONG);
        let guarding = serve(&fake.cluster, "one", &on, LONG, LONG);
        let ended = tokio::time::timeout(POLL + Duration::from_secs(1), guarding).await;
        assert!(ended.is_err(), "it has to wait: {ended:?}");
        assert_eq!(port(&fake), 1);
    }

    #[tokio::test]
    async fn a_guard_ends_where_the_fault_does_not_come() {
        let (fake, on) = disturbed(jiff::Timestamp::now()).await;
        let clock = Counted { lasts: LONG, patience: Duration::ZERO, grace: Duration::from_millis(10) };
        assert!(!watch(&fake.cluster, "another", &on, clock).await.expect("it ends"));
        assert_eq!(port(&fake), 1);
    }

    #[test]
    fn a_guard_may_change_one_object() {
        let on = ObjectRef {
            api_version: "v1".into(),
            kind: "Service".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        let rules = guard(&on, "services").rules();
        assert_eq!(
            rules,
            json!([{"apiGroups": [""], "resources": ["services"], "verbs": ["get", "patch"], "resourceNames": ["web"]}])
        );
        let kinds: Vec<Value> =
            guard(&on, "services").objects().iter().map(|object| object["kind"].clone()).collect();
        assert_eq!(kinds, ["Job", "ServiceAccount", "Role", "RoleBinding"]);
    }

    /// A Deployment with a broken version on it, whose ReplicaSets have the annotation, too.
    fn broken(until: jiff::Timestamp) -> (Vec<Value>, ObjectRef) {
        let set = Effect::Set {
            path: "/spec/template/spec/containers/0/readinessProbe".into(),
            before: None,
            after: Some(super::super::plan::broken_probe()),
        };
        let record = super::super::Record::new("one", "broken", until, vec![set, Effect::NewReplicaSet]);
        let annotations = json!({ANNOTATION: record.annotation()});
        let container = |broken: bool| match broken {
            true => json!({"name": "web", "readinessProbe": super::super::plan::broken_probe()}),
            false => json!({"name": "web"}),
        };
        let replica_set = |name: &str, broken: bool| {
            json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"name": name, "namespace": "shop", "annotations": annotations, "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "uid-web", "controller": true}]},
                "spec": {"replicas": u8::from(!broken), "selector": {}, "template": {"spec": {"containers": [container(broken)]}}},
            })
        };
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "uid-web", "generation": 1, "annotations": annotations},
            "spec": {"template": {"spec": {"containers": [container(true)]}}}, "status": {"observedGeneration": 9},
        });
        let on = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        (
            vec![
                deployment,
                replica_set("web-5d", false),
                replica_set("web-6e", false),
                replica_set("web-7f", true),
            ],
            on,
        )
    }

    #[tokio::test]
    async fn a_guard_may_change_the_replica_sets_that_it_was_told_of_and_the_one_that_came() {
        let (mut objects, on) = broken(jiff::Timestamp::now());
        let late = objects.pop().expect("the broken one");
        // `web-6e` came later: the guard was not told of it.
        let role = guard(&on, "deployments").objects().swap_remove(2);
        assert_eq!(role["rules"][2]["resourceNames"], json!(["web-5d"]));
        let fake = Fake::new(&objects).await;
        fake.put(role);
        fake.put_soon(late);
        entrust(&fake.cluster, &on, "one").await.expect("it comes");
        let rules = fake.get("namespaces/shop/roles/sre-fault-one").expect("the Role")["rules"].clone();
        assert_eq!(rules[2]["resourceNames"], json!(["web-5d", "web-7f"]));

        let clock = Counted { lasts: Duration::ZERO, patience: LONG, grace: Duration::from_millis(10) };
        assert!(watch(&fake.cluster, "one", &on, clock).await.expect("it undoes it"));
        let annotated = |name: &str| {
            fake.get(&format!("namespaces/shop/replicasets/{name}"))
                .map(|set| set["metadata"]["annotations"][ANNOTATION].is_string())
        };
        assert_eq!(annotated("web-7f"), None, "the version that must not come back");
        assert_eq!(annotated("web-5d"), Some(false));
        assert_eq!(annotated("web-6e"), Some(true));
    }

    #[test]
    fn no_rule_of_a_guard_is_about_all_objects_of_a_kind() {
        let (_, deployment) = broken(jiff::Timestamp::UNIX_EPOCH);
        for (on, plural) in [(deployment, "deployments"), (ObjectRef::of_node("worker"), "nodes")] {
            for sets in [Vec::new(), vec!["web-5d".to_owned()]] {
                let rules = Guard { sets, ..guard(&on, plural) }.rules();
                for rule in rules.as_array().expect("rules") {
                    assert!(
                        rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty()),
                        "{rule}"
                    );
                    assert!(
                        !rule.to_string().contains('*') && !rule.to_string().contains("secrets"),
                        "{rule}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_nodes_guard_is_not_on_the_node_and_removes_its_rights() {
        let worker = ObjectRef::of_node("worker");
        let guard = guard(&worker, "nodes");
        assert!(guard.job().to_string().contains(r#""operator":"NotIn","values":["worker"]"#));
        let role = &guard.objects()[2];
        assert_eq!((&role["kind"], &role["metadata"]["namespace"]), (&json!("ClusterRole"), &Value::Null));
        assert!(guard.rules().to_string().contains("clusterrolebindings"));
    }
}
