//! The step that applies objects, and waits for the workloads among them.

use std::time::{Duration, Instant};

use kube::core::DynamicObject;

use super::{Execution, changes};
use crate::error::{Error, Result};
use crate::target::kubernetes::apply::{Change, Mode, apply};
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call_opt;
use crate::target::kubernetes::object::ObjectRef;
use crate::target::kubernetes::plan::{Step, fill_random, fill_replicas, names_replicas, wants_random};
use crate::target::kubernetes::reach::{instances_of, pods};
use crate::target::kubernetes::record::Done;

/// The group of the Prometheus operator's kinds.
pub(in crate::target::kubernetes) const OPERATOR: &str = "monitoring.coreos.com";

/// Kinds that are waited for once they are applied.
pub(in crate::target::kubernetes) const WORKLOADS: [&str; 6] =
    ["Deployment", "StatefulSet", "DaemonSet", "Job", "Prometheus", "Alertmanager"];

/// How often the cluster is asked for a kind that a chart has yet to bring.
const KIND_POLL: Duration = Duration::from_millis(300);

impl Execution<'_> {
    pub(super) async fn apply(&self, step: &Step, objects: &[DynamicObject]) -> Result<String> {
        self.namespace(self.namespace).await?;
        let mut applied = Vec::new();
        for object in objects {
            self.kind_is_there(step, &ObjectRef::of(object)).await?;
            let object = &self.filled(object).await?;
            let reference = locate(self.cluster, object, self.namespace).await?;
            self.progress.tell(&step.name, &format!("applying {reference}"));
            self.book.note(match reference.kind.as_str() {
                // It goes last, whatever else is in it.
                "Namespace" => Done::Namespace(reference.name),
                _ => Done::Object(reference),
            })?;
            let one = apply(self.cluster, self.namespace, std::slice::from_ref(object), Mode::Write).await?;
            let changed =
                one.iter().any(|done| matches!(done.change, Change::Created | Change::Changed { .. }));
            if changed && ObjectRef::of(object).group() == OPERATOR {
                self.note_configured();
            }
            applied.extend(one);
        }
        let workloads: Vec<ObjectRef> = applied
            .iter()
            .map(|applied| applied.object.clone())
            .filter(|object| WORKLOADS.contains(&object.kind.as_str()))
            .filter(|object| {
                !step.left.iter().any(|(kind, name)| *kind == object.kind && *name == object.name)
            })
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

    /// An object as it is applied: with the replicas' addresses of now, where it names them, and with what was drawn for
    /// it, where it wants that.
    pub(in crate::target::kubernetes) async fn filled(
        &self,
        object: &DynamicObject,
    ) -> Result<DynamicObject> {
        let mut object = object.clone();
        if wants_random(&object) {
            let known = known(self.cluster, &object, self.namespace).await?;
            fill_random(&mut object, known.as_ref());
        }
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
}

/// An object as it is on the cluster, if it is there.
pub async fn known(
    cluster: &Cluster,
    object: &DynamicObject,
    namespace: &str,
) -> Result<Option<DynamicObject>> {
    let reference = ObjectRef::of(object);
    let Some((api, _)) = cluster.api(&reference, namespace).await? else { return Ok(None) };
    call_opt(|| format!("{reference} could not be read"), || api.get(&reference.name)).await
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
