//! What `up` would do on a cluster, without doing it: `--dry-run`.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde::Serialize;

use super::apply::{Applied, Change, Mode, apply};
use super::chart;
use super::client::Cluster;
use super::execute::known;
use super::helm::Helm;
use super::minikube::start_arguments;
use super::object::{ObjectRef, read_objects};
use super::patch::{describe, diff, patch};
use super::plan::{Action, PatchBody, Step, fill_random, fill_replicas, names_replicas, wants_random};
use super::reach::{instances_of, pods};
use super::up::Request;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::stack::ClusterStack;
use crate::target::TargetKind;

/// What `up` would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The stack's name.
    pub stack: String,
    /// Where: `context lab (v1.35.4)`, or the command that would provision it.
    pub place: String,
    /// The steps, in an order in which they could be done.
    pub steps: Vec<PreviewStep>,
}

/// A step that would be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewStep {
    /// Its name.
    pub name: String,
    /// What it would do, in a line.
    pub what: String,
    /// The steps that come first.
    pub needs: Vec<String>,
    /// Manifests that would be applied, and changes to what is there: YAML and unified diffs.
    pub details: Vec<String>,
    /// What a chart would install, by kinds; all of it stands in `details`.
    #[serde(skip)]
    pub in_short: Option<String>,
}

/// What `up` would do now; changes nothing. Where the cluster is not there yet, manifests are shown as they are
/// written.
///
/// # Errors
/// 2 where no context is named, 5 where helm is missing, 6 where the cluster does not answer.
pub async fn preview(request: &Request<'_>, interrupt: &Interrupt) -> Result<Preview> {
    let stack = request.cluster_stack()?;
    let before = request.here.and_then(|lab| lab.cluster.clone());
    let context = request.context.clone().or_else(|| before.as_ref().map(|before| before.context.clone()));
    let values = request.values(before.as_ref());
    let kubeconfig = request.kubeconfig.clone().or_else(|| before.and_then(|before| before.kubeconfig));
    let (place, cluster) = match request.target {
        TargetKind::Minikube => {
            let profile = &stack.minikube.profile;
            let command = start_arguments(&stack.minikube).join(" ");
            // The profile may not be there yet; then nothing can be compared.
            let cluster = Cluster::connect(kubeconfig.as_deref(), Some(profile)).await.ok();
            (format!("minikube {command} --profile {profile}"), cluster)
        }
        _ => {
            let cluster = interrupt.or(Cluster::connect(kubeconfig.as_deref(), context.as_deref())).await??;
            (format!("context {} ({})", cluster.context(), cluster.version()), Some(cluster))
        }
    };
    let (mut plan, _) = request.plan(&values)?;
    let helm = match &cluster {
        Some(cluster) if plan.has_charts() => Some(Helm::find("helm", cluster, interrupt).await?),
        _ => None,
    };
    if let Some(helm) = &helm {
        chart::settle(&mut plan, helm, &|_| ()).await?;
    }
    let mut steps = Vec::new();
    for step in &plan.steps {
        let (what, details) = look(step, stack, cluster.as_ref(), helm.as_ref(), interrupt).await?;
        let needs = step.needs.iter().map(|need| plan.steps[*need].name.clone()).collect();
        let in_short = match &step.action {
            Action::Chart(_) => kinds(&details)?,
            _ => None,
        };
        steps.push(PreviewStep { name: step.name.clone(), what, needs, details, in_short });
    }
    Ok(Preview { stack: request.stack.name.clone(), place, steps })
}

async fn look(
    step: &Step,
    stack: &ClusterStack,
    cluster: Option<&Cluster>,
    helm: Option<&Helm>,
    interrupt: &Interrupt,
) -> Result<(String, Vec<String>)> {
    Ok(match &step.action {
        Action::Zones(zones) => {
            (format!("label nodes that are in no zone: {}", zones.join(", ")), Vec::new())
        }
        Action::Image(image) => (format!("load image {} onto nodes that lack it", image.image), Vec::new()),
        Action::Chart(release) => {
            let version = release.version.as_ref().map_or(String::new(), |version| format!(" {version}"));
            let what =
                format!("chart {}{version} as release {}/{}", release.chart, release.namespace, release.name);
            let rendered = match helm {
                Some(helm) => vec![helm.template(release).await?],
                None => Vec::new(),
            };
            (what, rendered)
        }
        Action::Apply(objects) => {
            let Some(cluster) = cluster else {
                return Ok((format!("apply {}", count(objects.len())), yaml_of(objects)?));
            };
            let objects = &filled(objects, stack, cluster).await?;
            let applied = interrupt.or(apply(cluster, &stack.namespace, objects, Mode::DryRun)).await??;
            let new: Vec<DynamicObject> = objects
                .iter()
                .zip(&applied)
                .filter(|(_, applied)| applied.change == Change::Created)
                .map(|(object, _)| object.clone())
                .collect();
            let changed = diffs(&applied)?;
            let what = format!(
                "apply {}: {} to create, {} to change",
                count(objects.len()),
                new.len(),
                changed.len()
            );
            (what, yaml_of(&new)?.into_iter().chain(changed).collect())
        }
        Action::Patch { target, body } => {
            let what = format!("patch {}", describe(target));
            match cluster {
                Some(cluster) => {
                    let patched = interrupt.or(patch(cluster, target, body, Mode::DryRun)).await??;
                    match patched.is_empty() {
                        true => (format!("{what}, which is not there yet"), vec![written(body)?]),
                        false => (what, diffs(&patched)?),
                    }
                }
                None => (what, vec![written(body)?]),
            }
        }
    })
}

/// Objects with the replicas' addresses of now and what was drawn for them; as they are written where there is no replica
/// yet, and nothing drawn.
async fn filled(
    objects: &[DynamicObject],
    stack: &ClusterStack,
    cluster: &Cluster,
) -> Result<Vec<DynamicObject>> {
    let mut objects = objects.to_vec();
    for object in objects.iter_mut().filter(|object| wants_random(object)) {
        if let Some(known) = known(cluster, object, &stack.namespace).await? {
            fill_random(object, Some(&known));
        }
    }
    for object in objects.iter_mut().filter(|object| names_replicas(object)) {
        let Some(service) = &stack.endpoints.service else { continue };
        let addresses = instances_of(&pods(cluster, service, &stack.namespace).await?);
        if !addresses.is_empty() {
            fill_replicas(object, &addresses);
        }
    }
    Ok(objects)
}

/// A patch as it is written: where its object is not there yet, nothing can be compared.
fn written(body: &PatchBody) -> Result<String> {
    let yaml = match body {
        PatchBody::Merge(over) => serde_saphyr::to_string(over),
        PatchBody::Json(operations) => serde_saphyr::to_string(operations),
    };
    yaml.map_err(|e| Error::target("a patch cannot be written as YAML").because(e))
}

/// `93 objects: 10 CustomResourceDefinition, 4 ConfigMap, …`, the most frequent first.
fn kinds(rendered: &[String]) -> Result<Option<String>> {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for text in rendered {
        for object in read_objects("the chart", text)? {
            *kinds.entry(ObjectRef::of(&object).kind).or_default() += 1;
        }
    }
    if kinds.is_empty() {
        return Ok(None);
    }
    let all: usize = kinds.values().sum();
    let mut kinds: Vec<(String, usize)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    Ok(Some(format!("{}: {}", count(all), told.join(", "))))
}

fn count(objects: usize) -> String {
    if objects == 1 { "1 object".into() } else { format!("{objects} objects") }
}

fn diffs(applied: &[Applied]) -> Result<Vec<String>> {
    let all = applied.iter().map(diff).collect::<Result<Vec<_>>>()?;
    Ok(all.into_iter().filter(|diff| !diff.is_empty()).collect())
}

fn yaml_of(objects: &[DynamicObject]) -> Result<Vec<String>> {
    let yaml = |object| {
        serde_saphyr::to_string(object)
            .map_err(|e| Error::target("an object cannot be written as YAML").because(e))
    };
    objects.iter().map(yaml).collect()
}
