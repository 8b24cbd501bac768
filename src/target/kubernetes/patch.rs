//! Patches, onto any object: what they change is computed by the server before it is written.

use kube::api::{Api, ListParams, Patch};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::apply::{ATTEMPTS, Applied, Change, Mode, compare, content};
use super::client::Cluster;
use super::failure::{call, call_opt, explain, failed, retry, status};
use super::object::{MANAGER, ObjectRef};
use super::operations::remaining;
use super::plan::PatchBody;
use super::values;
use crate::error::{Error, Result};
use crate::stack::PatchTarget;

/// Patches all objects that match, and tells what it changed in each. What is as the patch wants it is not
/// written. Nothing that matches is an error, but in a dry run, where it may not be there yet.
pub async fn patch(
    cluster: &Cluster,
    target: &PatchTarget,
    body: &PatchBody,
    mode: Mode,
) -> Result<Vec<Applied>> {
    let Some((api, objects)) = select(cluster, target).await? else {
        return nothing(target, mode, "this cluster serves no such kind");
    };
    if objects.is_empty() {
        return nothing(target, mode, "no object matches");
    }
    let mut patched = Vec::with_capacity(objects.len());
    for object in objects {
        let reference = ObjectRef::of(&object);
        let change = patch_one(&api, &reference, object, body, mode).await?;
        patched.push(Applied { object: reference, change });
    }
    Ok(patched)
}

fn nothing(target: &PatchTarget, mode: Mode, why: &str) -> Result<Vec<Applied>> {
    match mode {
        Mode::DryRun => Ok(Vec::new()),
        Mode::Write => Err(Error::target(format!("nothing to patch: {}", describe(target)))
            .because_of(why)
            .hint("check the patch's `target`, and that the step which brings the object is in its `needs`")),
    }
}

/// A target in words: `Deployment ingress-nginx/ingress-nginx-controller`.
pub fn describe(target: &PatchTarget) -> String {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let name = target.name.as_deref().unwrap_or("*");
    match &target.label_selector {
        Some(labels) => format!("{} {namespace}/{name} with {labels}", target.kind),
        None => format!("{} {namespace}/{name}", target.kind),
    }
}

/// The objects that match now; `None` if the cluster does not serve the kind.
pub async fn select(
    cluster: &Cluster,
    target: &PatchTarget,
) -> Result<Option<(Api<DynamicObject>, Vec<DynamicObject>)>> {
    let group = target.group.as_deref().unwrap_or_default();
    let version = target.version.as_deref().unwrap_or_default();
    let Some(kind) = cluster.kind(group, version, &target.kind).await? else { return Ok(None) };
    let api = cluster.api_of(&kind, target.namespace.as_deref().unwrap_or("default"));
    let what = || format!("{} could not be read", describe(target));
    let mut params = ListParams::default();
    if let Some(labels) = &target.label_selector {
        params = params.labels(labels);
    }
    if let Some(name) = &target.name {
        params = params.fields(&format!("metadata.name={name}"));
    }
    let mut objects = call(what, || api.list(&params)).await?.items;
    for object in &mut objects {
        // Items of a list come without their kind.
        object.types.get_or_insert_with(|| kube::core::TypeMeta {
            api_version: kind.resource.api_version.clone(),
            kind: kind.resource.kind.clone(),
        });
    }
    Ok(Some((api, objects)))
}

async fn patch_one(
    api: &Api<DynamicObject>,
    reference: &ObjectRef,
    object: DynamicObject,
    body: &PatchBody,
    mode: Mode,
) -> Result<Change> {
    let what = || format!("{reference} could not be patched");
    let mut object = object;
    for attempt in 1.. {
        let Some(patch) = request(&object, body)? else { return Ok(Change::Unchanged) };
        let written = match send(api, &reference.name, &patch, Mode::DryRun).await {
            Ok(after) => match compare(&object, &after) {
                Change::Changed { .. } if mode == Mode::Write => {
                    send(api, &reference.name, &patch, Mode::Write).await
                }
                _ => Ok(after),
            },
            Err(error) => Err(error),
        };
        match written {
            Ok(after) => return Ok(compare(&object, &after)),
            Err(error) => {
                let fresh = call_opt(what, || api.get(&reference.name)).await?;
                let moved = |fresh: &DynamicObject| {
                    fresh.metadata.resource_version != object.metadata.resource_version
                };
                match fresh {
                    Some(fresh) if attempt < ATTEMPTS && moved(&fresh) => object = fresh,
                    _ => return Err(failed(what(), &error)),
                }
            }
        }
    }
    unreachable!("the last attempt returns")
}

/// The patch for this very state of the object; `None` if it has nothing to change. It names the version, so
/// that what others change meanwhile is neither overwritten nor taken for the patch's work.
fn request(object: &DynamicObject, body: &PatchBody) -> Result<Option<Patch<Value>>> {
    let version = json!(object.metadata.resource_version);
    match body {
        PatchBody::Merge(over) => {
            let mut over = over.clone();
            values::set(&mut over, "metadata.resourceVersion", version)?;
            Ok(Some(Patch::Strategic(over)))
        }
        PatchBody::Json(operations) => {
            let mut operations = remaining(&content(object), operations).map_err(|why| {
                Error::target(format!("{} can't be patched", ObjectRef::of(object))).because_of(why)
            })?;
            if operations.0.is_empty() {
                return Ok(None);
            }
            let test = json!([{"op": "test", "path": "/metadata/resourceVersion", "value": version}]);
            let test: json_patch::Patch = serde_json::from_value(test).expect("it is written by RFC 6902");
            operations.0.splice(0..0, test.0);
            Ok(Some(Patch::Json(operations)))
        }
    }
}

/// Custom resources know no strategic merge (415); for them a merge patch does what can be done.
async fn send(
    api: &Api<DynamicObject>,
    name: &str,
    patch: &Patch<Value>,
    mode: Mode,
) -> kube::Result<DynamicObject> {
    let params = mode.params();
    match (retry(|| api.patch(name, &params, patch)).await, patch) {
        (Err(error), Patch::Strategic(over)) if status(&error) == Some(415) => {
            let merge = Patch::Merge(over);
            retry(|| api.patch(name, &params, &merge)).await
        }
        (result, _) => result,
    }
}

/// How a patched object is brought back to what it was.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Undo {
    /// The object.
    pub object: ObjectRef,
    /// What the patch changed, as it was (a merge patch: `null` was not there, lists are whole).
    pub before: Value,
    /// The same places, as the patch left them.
    pub after: Value,
}

impl Undo {
    /// How to undo a change; `None` if nothing was changed.
    pub fn of(applied: &Applied) -> Option<Undo> {
        let Change::Changed { before, after } = &applied.change else { return None };
        Some(Undo {
            object: applied.object.clone(),
            before: difference(after, before),
            after: difference(before, after),
        })
    }

    /// Brings the object back, if what the patch changed is still as the patch left it; `false` if it is gone or
    /// was changed again since.
    pub async fn run(&self, cluster: &Cluster) -> Result<bool> {
        let what = || format!("{} could not be brought back", self.object);
        let Some((api, _)) = cluster.api(&self.object, "default").await? else { return Ok(false) };
        let Some(found) = call_opt(what, || api.get(&self.object.name)).await? else { return Ok(false) };
        if !holds(&content(&found), &self.after) {
            return Ok(false);
        }
        let params = Mode::Write.params();
        let patch = Patch::Merge(&self.before);
        retry(|| api.patch(&self.object.name, &params, &patch))
            .await
            .map(|_| true)
            .map_err(|error| Error::target(what()).because_of(explain(&error)))
    }
}

/// The merge patch (RFC 7386) that makes `to` of `from`.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else { return to.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(value)).map(|(key, value)| {
        let was = old.get(key).unwrap_or(&Value::Null);
        (key.clone(), difference(was, value))
    });
    Value::Object(gone.chain(changed).collect())
}

/// Whether a merge patch would change nothing.
fn holds(value: &Value, patch: &Value) -> bool {
    match patch {
        Value::Object(patch) => patch.iter().all(|(key, patch)| match value.get(key) {
            Some(value) => holds(value, patch),
            None => patch.is_null(),
        }),
        patch => value == patch,
    }
}

/// What a change does to an object, as a unified diff of YAML; empty if nothing.
pub fn diff(applied: &Applied) -> Result<String> {
    let Change::Changed { before, after } = &applied.change else { return Ok(String::new()) };
    let yaml = |value: &Value| {
        serde_saphyr::to_string(value)
            .map_err(|e| Error::target(format!("{} cannot be written as YAML", applied.object)).because(e))
    };
    let (before, after) = (yaml(before)?, yaml(after)?);
    Ok(similar::TextDiff::from_lines(&before, &after)
        .unified_diff()
        .header(&applied.object.to_string(), &format!("{} (patched by {MANAGER})", applied.object))
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(before: Value, after: Value) -> Applied {
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: Some("lab".into()),
            name: "app".into(),
        };
        Applied { object, change: Change::Changed { before, after } }
    }

    #[test]
    fn an_undo_touches_only_what_was_changed() {
        let undo = Undo::of(&applied(
            json!({"spec": {"replicas": 1, "args": ["a"]}}),
            json!({"spec": {"replicas": 1, "args": ["a", "b"]}, "metadata": {"labels": {"x": "y"}}}),
        ))
        .unwrap();
        assert_eq!(undo.before, json!({"metadata": null, "spec": {"args": ["a"]}}));
        assert!(holds(
            &json!({"spec": {"replicas": 7, "args": ["a", "b"]}, "metadata": {"labels": {"x": "y"}}}),
            &undo.after
        ));
        assert!(!holds(&json!({"spec": {"args": ["a"]}, "metadata": {"labels": {"x": "y"}}}), &undo.after));
    }

    #[test]
    fn a_diff_shows_the_lines_that_change() {
        let applied = applied(json!({"spec": {"replicas": 1}}), json!({"spec": {"replicas": 2}}));
        let diff = diff(&applied).unwrap();
        assert!(diff.contains("-  replicas: 1\n+  replicas: 2\n"), "{diff}");
    }
}
