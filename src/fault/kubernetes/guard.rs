//! The guard of a fault: a Job, made and running before the fault is injected, that undoes it from the annotation
//! when nobody else has. It may change that object and nothing else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::bodies::{labels, name, pod_spec};
use super::plan::Plan;
use super::record::{Effect, LABEL};
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
    /// The image of `sre`.
    pub image: &'a str,
    /// When the fault is to be undone.
    pub until: Timestamp,
    /// For how many seconds from now.
    pub seconds: u64,
}

impl Guard<'_> {
    fn job(&self) -> Value {
        let on = serde_json::to_string(self.on.0).unwrap_or_default();
        let until = self.until.to_string();
        let arguments = json!(["fault", "expire", "--id", self.id, "--on", on, "--until", until]);
        let deadline = self.seconds + GRACE.as_secs() + TRIES;
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
        let mut rules = vec![rule(on.group(), plural, &["get", "patch"], Some(&on.name))];
        for (helper, plural) in &self.helpers {
            rules.push(rule(helper.group(), plural, &["get", "delete"], Some(&helper.name)));
        }
        if on.kind == "Deployment" {
            // The controller copies annotations to them.
            rules.push(rule("apps", "replicasets", &["list", "patch", "delete"], None));
        }
        if on.kind == "Node" {
            for plural in ["clusterroles", "clusterrolebindings"] {
                let group = "rbac.authorization.k8s.io";
                rules.push(rule(group, plural, &["delete"], Some(&name(self.id))));
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

fn rule(group: &str, plural: &str, verbs: &[&str], name: Option<&str>) -> Value {
    let mut rule = json!({"apiGroups": [group], "resources": [plural], "verbs": verbs});
    if let Some(name) = name {
        rule["resourceNames"] = json!([name]);
    }
    rule
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
    /// When the fault is to be undone.
    pub until: Timestamp,
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
    let left = wanted.until.duration_since(Timestamp::now()).as_secs();
    let guard = Guard {
        id: wanted.id,
        namespace,
        on: (&wanted.plan.on, plural(cluster, &wanted.plan.on).await?),
        helpers,
        image: wanted.image,
        until: wanted.until,
        seconds: u64::try_from(left).unwrap_or(0),
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
            let _ = dismiss(cluster, &job, &wanted.plan.on).await;
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
pub async fn dismiss(cluster: &Cluster, job: &ObjectRef, on: &ObjectRef) -> Result<()> {
    let Some((api, _)) = cluster.api(job, "default").await? else { return Ok(()) };
    let params = DeleteParams::background();
    let removed = call_opt(|| format!("{job} could not be removed"), || api.delete(&job.name, &params)).await;
    if on.kind == "Node" {
        drop_rights(cluster, &job.name).await?;
    }
    removed.map(|_| ())
}

/// Removes the rights of a node's guard, which no namespace holds.
pub(super) async fn drop_rights(cluster: &Cluster, name: &str) -> Result<()> {
    for kind in RIGHTS {
        let object = right(kind, name);
        let Some((api, _)) = cluster.api(&object, "default").await? else { continue };
        let params = DeleteParams::default();
        call_opt(|| format!("{object} could not be removed"), || api.delete(name, &params)).await?;
    }
    Ok(())
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
    let Some(rights) = names(cluster, &RIGHTS.map(|kind| right(kind, ""))).await? else { return Ok(()) };
    if rights.is_empty() {
        return Ok(());
    }
    let Some(jobs) = names(cluster, &[ObjectRef { namespace: None, ..reference("", "") }]).await? else {
        return Ok(());
    };
    for name in rights.difference(&jobs) {
        drop_rights(cluster, name).await?;
    }
    Ok(())
}

/// The names of all helper objects of these kinds; `None` where they may not be listed.
async fn names(cluster: &Cluster, kinds: &[ObjectRef]) -> Result<Option<BTreeSet<String>>> {
    let params = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER},{LABEL}"));
    let mut names = BTreeSet::new();
    for object in kinds {
        let version = object.api_version.rsplit('/').next().unwrap_or_default();
        let Some(kind) = cluster.kind(object.group(), version, &object.kind).await? else { continue };
        let api: Api<DynamicObject> = Api::all_with(cluster.client(), &kind.resource);
        match retry(|| api.list_metadata(&params)).await {
            Ok(found) => names.extend(found.items.into_iter().filter_map(|object| object.metadata.name)),
            Err(error) if status(&error) == Some(403) => return Ok(None),
            Err(error) => return Err(failed(format!("the {}s could not be listed", object.kind), &error)),
        }
    }
    Ok(Some(names))
}

/// What the guard itself does: looks whether the fault is on, and undoes it from the annotation when its time is over.
/// Without the fault it is there until `until`, and some time longer. `true` if it undid it.
///
/// # Errors
/// The target (exit 6) where it cannot be undone; Kubernetes starts it again then.
pub async fn serve(cluster: &Cluster, id: &str, on: &ObjectRef, until: Timestamp) -> Result<bool> {
    loop {
        let record = match find(cluster, on).await? {
            Some(object) => super::Record::of(&object)?.filter(|record| record.id == id),
            None => None,
        };
        let now = Timestamp::now();
        match record {
            Some(record) if now > record.until + GRACE => {
                super::heal::expire(cluster, on, &record).await?;
                if on.kind == "Node" {
                    drop_rights(cluster, &name(id)).await?;
                }
                return Ok(true);
            }
            None if now > until + GRACE => {
                if on.kind == "Node" {
                    drop_rights(cluster, &name(id)).await?;
                }
                return Ok(false);
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// Takes the annotation of a fault off the ReplicaSets of a Deployment, whose controller has copied it there, and
/// removes the ReplicaSet of a version that must not come back.
pub(super) async fn tidy(cluster: &Cluster, on: &ObjectRef, uid: &str, broken: bool) -> Result<()> {
    use k8s_openapi::api::apps::v1::ReplicaSet;
    let api: Api<ReplicaSet> =
        Api::namespaced(cluster.client(), on.namespace.as_deref().unwrap_or("default"));
    let all = ListParams::default();
    let found = call(|| format!("the ReplicaSets of {on} could not be listed"), || api.list(&all)).await?;
    for set in found.items {
        let owned = set
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|o| o.controller == Some(true) && o.uid == uid);
        let name = set.metadata.name.clone().unwrap_or_default();
        if !owned {
            continue;
        }
        let annotations = set.metadata.annotations.clone().unwrap_or_default();
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        if broken && wanted == 0 && is_broken(&set) {
            let params = DeleteParams::background();
            call_opt(|| format!("ReplicaSet {name} could not be removed"), || api.delete(&name, &params))
                .await?;
        } else if annotations.contains_key(super::record::ANNOTATION) {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {super::record::ANNOTATION: null}}}));
            let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            call_opt(
                || format!("ReplicaSet {name} could not be patched"),
                || api.patch(&name, &params, &patch),
            )
            .await?;
        }
    }
    Ok(())
}

/// Whether it is the version that `broken-readiness` made: its probe asks a port on which nobody listens.
fn is_broken(set: &k8s_openapi::api::apps::v1::ReplicaSet) -> bool {
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

    fn guard<'a>(on: &'a ObjectRef, plural: &str) -> Guard<'a> {
        Guard {
            id: "one",
            namespace: "shop",
            on: (on, plural.into()),
            helpers: Vec::new(),
            image: "sre:1",
            until: Timestamp::UNIX_EPOCH,
            seconds: 30,
        }
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
