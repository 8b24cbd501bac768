//! `down` on a cluster: removes what `up` brought, in the reverse order, and what helm leaves behind.

use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams};

use super::apply::{delete, is_ours};
use super::claims::{Claims, is_of_release};
use super::client::Cluster;
use super::failure::{call, call_opt};
use super::gone::{found, gone};
use super::helm::Helm;
use super::leftover;
use super::minikube::Minikube;
use super::minikube_output::State;
use super::object::ObjectRef;
use super::progress::Progress;
use super::reach;
use super::record::{Book, ClusterLab, Done};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::target::{Folder, Lab, Lock};
use crate::terminal::Terminal;

/// How long another `sre` that changes this lab is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(120);

/// Removes a lab from its cluster, and forgets it; what was removed, in words. `keep_cluster` leaves a minikube
/// profile that `up` made.
///
/// # Errors
/// 5 where consent is not given to lose data, 6 where something could not be removed: the next `down` goes on.
pub async fn down(
    folder: &Folder,
    keep_cluster: bool,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Vec<String>> {
    let _lock = Lock::take(folder, "sre down", LOCK_BOUND, terminal, interrupt).await?;
    let Some(lab) = Lab::load(folder.root())? else { return Ok(Vec::new()) };
    let Some(place) = lab.cluster.clone() else {
        Lab::remove(folder.root())?;
        return Ok(Vec::new());
    };
    let progress = Progress::new(terminal);
    let removed = match &place.minikube {
        Some(made) => {
            let program = Minikube::new(&made.profile, interrupt);
            match (program.state().await?, made.created && !keep_cluster) {
                (State::Absent, _) => Vec::new(),
                (_, true) => {
                    let question = format!(
                        "minikube's profile `{}` will be deleted, with all that it holds",
                        made.profile
                    );
                    terminal.consent(&question, interrupt).await?;
                    progress.tell("minikube", &format!("deleting profile `{}`", made.profile));
                    program.delete(&mut |_| ()).await?;
                    vec![format!("minikube profile {}", made.profile)]
                }
                _ => clear(folder, lab, &place, &progress, terminal, interrupt).await?,
            }
        }
        None => clear(folder, lab, &place, &progress, terminal, interrupt).await?,
    };
    Lab::remove(folder.root())?;
    Ok(removed)
}

async fn clear(
    folder: &Folder,
    lab: Lab,
    place: &ClusterLab,
    progress: &Progress,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Vec<String>> {
    let cluster = interrupt.or(reach::connect(place)).await??;
    let claims = Claims::of(&cluster, &place.done).await?;
    let mut losses = claims.losses();
    losses.extend(others(&cluster, &place.done).await?);
    if !losses.is_empty() {
        let question = format!("data will be lost on context `{}`:\n{}", place.context, losses.join("\n"));
        terminal.consent(&question, interrupt).await?;
    }
    let charts = place.done.iter().any(|done| matches!(done, Done::Release { .. }));
    let helm = if charts { Some(Helm::find("helm", &cluster, interrupt).await?) } else { None };
    let book = Book::new(lab, folder);
    let mut removed = Vec::new();
    for done in in_reverse(&place.done) {
        interrupt.check()?;
        progress.tell("down", &describe(&done));
        if undo(&cluster, helm.as_ref(), &done).await? {
            progress.done("removed", &describe(&done));
            removed.push(describe(&done));
        }
        book.forget(&done)?;
    }
    if let Some(told) = claims.told() {
        progress.say(&told);
    }
    Ok(removed)
}

/// The reverse order; but namespaces and definitions go last, when nothing of them is used any more.
fn in_reverse(done: &[Done]) -> Vec<Done> {
    let rank = |done: &Done| match done {
        Done::Object(_) | Done::Patch(_) | Done::Release { .. } => 0,
        Done::Leftover(_) => 1,
        Done::Namespace(_) => 2,
        Done::Definition(_) => 3,
    };
    let mut reversed: Vec<Done> = done.iter().rev().cloned().collect();
    reversed.sort_by_key(rank);
    reversed
}

/// Undoes one thing; `false` if there was nothing to undo any more.
pub(super) async fn undo(cluster: &Cluster, helm: Option<&Helm>, done: &Done) -> Result<bool> {
    match done {
        Done::Object(object) => delete(cluster, object).await,
        Done::Patch(undo) => undo.run(cluster).await,
        Done::Release { namespace, name } => {
            let helm = helm.ok_or_else(|| Error::prerequisite("helm is missing"))?;
            helm.uninstall(namespace, name).await?;
            Ok(true)
        }
        Done::Leftover(object) => remove(cluster, object).await,
        Done::Definition(name) => {
            let object = leftover::definition(name);
            let there = remove(cluster, &object).await?;
            gone(cluster, &object).await?;
            Ok(there)
        }
        Done::Namespace(name) => {
            let object = ObjectRef::of_namespace(name);
            let there = match found(cluster, &object).await? {
                Some(found) if is_ours(&found) => remove(cluster, &object).await?,
                _ => return Ok(false),
            };
            gone(cluster, &object).await?;
            Ok(there)
        }
    }
}

/// What was done, as `down` names it.
pub fn describe(done: &Done) -> String {
    match done {
        Done::Namespace(name) => format!("Namespace {name}"),
        Done::Definition(name) => format!("CustomResourceDefinition {name}"),
        Done::Leftover(object) | Done::Object(object) => object.to_string(),
        Done::Release { namespace, name } => format!("release {namespace}/{name}"),
        Done::Patch(undo) => format!("patch of {}", undo.object),
    }
}

/// What would be lost for good, but for claims: other people's objects of kinds that go.
async fn others(cluster: &Cluster, all_done: &[Done]) -> Result<Vec<String>> {
    let mut losses = Vec::new();
    let ours: Vec<&String> = all_done
        .iter()
        .filter_map(|done| match done {
            Done::Namespace(name) => Some(name),
            _ => None,
        })
        .collect();
    for done in all_done {
        let Done::Definition(definition) = done else { continue };
        let object = leftover::definition(definition);
        let Some(found) = found(cluster, &object).await? else { continue };
        let text =
            |path: &str| found.data.pointer(path).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        let Some(kind) = cluster.kind(&text("/spec/group"), "", &text("/spec/names/kind")).await? else {
            continue;
        };
        let api: Api<kube::core::DynamicObject> = Api::all_with(cluster.client(), &kind.resource);
        let what = || format!("the objects of {definition} could not be listed");
        let all = ListParams::default();
        let others = call(what, || api.list(&all)).await?;
        losses.extend(
            others
                .items
                .iter()
                .filter(|other| !other.metadata.namespace.as_ref().is_some_and(|name| ours.contains(&name)))
                .filter(|other| !is_of_release(&other.metadata, all_done))
                .map(|other| {
                    let reference = ObjectRef {
                        api_version: kind.resource.api_version.clone(),
                        kind: kind.resource.kind.clone(),
                        namespace: other.metadata.namespace.clone(),
                        name: other.metadata.name.clone().unwrap_or_default(),
                    };
                    (is_ours(other), reference)
                })
                // What `up` applied is no loss: the next one applies it again.
                .filter(|(is_ours, other)| {
                    let made = |done: &Done| matches!(done, Done::Object(made) if made.is_same(other));
                    !(*is_ours && all_done.iter().any(made))
                })
                .map(|(_, other)| format!("  {other}")),
        );
    }
    Ok(losses)
}

/// Deletes an object, whoever made it; `false` if it was gone already.
async fn remove(cluster: &Cluster, object: &ObjectRef) -> Result<bool> {
    let Some((api, _)) = cluster.api(object, "default").await? else { return Ok(false) };
    let params = DeleteParams::background();
    let what = || format!("{object} could not be deleted");
    Ok(call_opt(what, || api.delete(&object.name, &params)).await?.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::target::kubernetes::fake::Fake;
    use crate::target::kubernetes::object::{MANAGED_BY, MANAGER};

    #[tokio::test]
    async fn what_up_applied_is_no_loss_and_what_others_made_is() {
        let rule = |namespace: &str, name: &str, more: Value| {
            let mut metadata = json!({"namespace": namespace, "name": name});
            metadata.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
            json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata})
        };
        let ours = json!({"labels": {MANAGED_BY: MANAGER}});
        let release = json!({"annotations": {"meta.helm.sh/release-namespace": "monitoring",
            "meta.helm.sh/release-name": "kps"}});
        let fake = Fake::new(&[
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "prometheusrules.monitoring.coreos.com"},
                "spec": {"group": "monitoring.coreos.com", "names": {"kind": "PrometheusRule"}}}),
            rule("default", "redis", ours.clone()),
            rule("default", "of-another-lab", ours),
            rule("default", "taken-over", json!({})),
            rule("kube-system", "of-the-chart", release),
            rule("monitoring", "in-a-namespace-that-goes", json!({})),
            rule("shop", "theirs", json!({})),
        ])
        .await;
        let applied = |name: &str| {
            Done::Object(ObjectRef {
                api_version: "monitoring.coreos.com/v1".into(),
                kind: "PrometheusRule".into(),
                namespace: Some("default".into()),
                name: name.into(),
            })
        };
        let done = [
            Done::Namespace("monitoring".into()),
            Done::Release { namespace: "monitoring".into(), name: "kps".into() },
            Done::Definition("prometheusrules.monitoring.coreos.com".into()),
            applied("redis"),
            applied("taken-over"),
        ];
        let losses = others(&fake.cluster, &done).await.expect("it answers");
        let lost = ["default/of-another-lab", "default/taken-over", "shop/theirs"];
        assert_eq!(losses, lost.map(|name| format!("  PrometheusRule {name}")));
    }

    #[test]
    fn objects_go_backwards_then_namespaces_then_definitions() {
        let release = Done::Release { namespace: "m".into(), name: "monitoring".into() };
        let done = [
            Done::Namespace("m".into()),
            Done::Definition("d".into()),
            Done::Leftover(ObjectRef::of_namespace("left")),
            release.clone(),
            Done::Object(ObjectRef::of_namespace("o")),
        ];
        let order: Vec<String> = in_reverse(&done).iter().map(describe).collect();
        assert_eq!(
            order,
            [
                "Namespace o",
                "release m/monitoring",
                "Namespace left",
                "Namespace m",
                "CustomResourceDefinition d"
            ]
        );
    }
}
