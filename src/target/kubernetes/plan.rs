//! A stack as steps: everything that `up` will do on a cluster, read and checked before anything is done.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use kube::core::DynamicObject;
use serde_json::Value;

use super::{object, values};
use crate::config::{self, nearest, unknown};
use crate::error::{Error, Result};
use crate::scenario::Duration;
use crate::stack::{self, ClusterStack, Image, Manifests, Patch, PatchTarget, RuleObjects};
use crate::tools::versions::Chart;

/// Everything that `up` will do, in an order in which it could be done one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The steps; each needs only earlier ones.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name, which no other step has.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// The steps that must be done first, by their place in the plan.
    pub needs: Vec<usize>,
    /// How long what it brings may take to be ready.
    pub wait: Duration,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Labels nodes that are in no zone with these, in turn.
    Zones(Vec<String>),
    /// Builds an image and loads it into the cluster.
    Image(Image),
    /// Installs or upgrades a release.
    Chart(Release),
    /// Applies objects, in this order.
    Apply(Vec<DynamicObject>),
    /// Changes objects.
    Patch {
        /// Which; its namespace is filled in.
        target: PatchTarget,
        /// How.
        body: PatchBody,
    },
}

/// A release of a Helm chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// A name in `repository`, an `oci://` reference, or a path.
    pub chart: String,
    /// The repository's URL.
    pub repository: Option<String>,
    /// The exact version.
    pub version: Option<String>,
    /// All values together: a mapping.
    pub values: Value,
}

/// How a patch changes an object.
#[derive(Debug, Clone, PartialEq)]
pub enum PatchBody {
    /// Strategic merge: a mapping laid over the object; lists are merged by their keys.
    Merge(Value),
    /// JSON patch (RFC 6902).
    Json(json_patch::Patch),
}

/// Where a plan reads its files from, and what fills their `${…}`.
pub struct Sources<'a> {
    /// Reads a file that the stack names.
    pub read: &'a dyn Fn(&str) -> Result<String>,
    /// Parameters; `${key}` in a file is replaced where `key` is one of them.
    pub parameters: &'a IndexMap<String, String>,
    /// The stack's rule files; taken as they are.
    pub rules: &'a [String],
    /// Where charts are found instead of in their repositories, as `charts/NAME-VERSION.tgz`: a folder or a URL.
    pub mirror: Option<&'a str>,
    /// Further files of values by the chart that they are for; they win over those of the stack.
    pub values: &'a IndexMap<String, Vec<PathBuf>>,
}

impl Sources<'_> {
    fn text(&self, file: &str) -> Result<String> {
        Ok(fill(&(self.read)(file)?, self.parameters))
    }
}

/// Replaces `${key}` by the parameter of that name. Other text with `${`, a shell's for example, stays.
pub fn fill(text: &str, parameters: &IndexMap<String, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let known = after.split_once('}').and_then(|(key, tail)| Some((parameters.get(key)?, tail)));
        rest = match known {
            Some((value, tail)) => {
                filled.push_str(value);
                tail
            }
            None => {
                filled.push_str("${");
                after
            }
        };
    }
    filled.push_str(rest);
    filled
}

impl Plan {
    /// The plan of a stack whose own `${…}` are filled in. Reads every file; changes nothing.
    pub fn new(stack: &ClusterStack, sources: &Sources<'_>) -> Result<Plan> {
        if let Some(name) = sources.values.keys().find(|name| !stack.charts.contains_key(*name)) {
            return Err(Error::usage(format!("--values {name}=…: the stack has no chart `{name}`"))
                .hint(unknown(name, stack.charts.keys().map(String::as_str))));
        }
        let mut steps = Vec::new();
        if !stack.zones.is_empty() {
            steps.push(Draft::new("zones", &[], Duration::from_secs(60), Action::Zones(stack.zones.clone())));
        }
        for (name, image) in &stack.images {
            steps.push(Draft::new(
                name,
                &image.needs,
                Duration::from_secs(120),
                Action::Image(image.clone()),
            ));
        }
        for (name, chart) in &stack.charts {
            let release = release(name, chart, &stack.namespace, sources)?;
            steps.push(Draft::new(name, &chart.needs, chart.wait, Action::Chart(release)));
        }
        for (name, manifests) in &stack.manifests {
            let objects = objects(manifests, sources)?;
            steps.push(Draft::new(name, &manifests.needs, manifests.wait, Action::Apply(objects)));
        }
        if let Some(rules) = &stack.rules {
            let objects = rule_objects(rules, sources)?;
            steps.push(Draft::new("rules", &rules.needs, Duration::from_secs(60), Action::Apply(objects)));
        }
        for (name, patch) in &stack.patches {
            let action = Action::Patch {
                target: PatchTarget {
                    namespace: patch.target.namespace.clone().or_else(|| Some(stack.namespace.clone())),
                    ..patch.target.clone()
                },
                body: patch_body(name, patch, sources.parameters)?,
            };
            steps.push(Draft::new(name, &patch.needs, patch.wait, action));
        }
        order(steps)
    }

    /// Writes the full names of images (values) where steps name them as the stack does (keys).
    pub fn name_images(&mut self, names: &IndexMap<String, String>) {
        for step in &mut self.steps {
            match &mut step.action {
                Action::Apply(objects) => {
                    objects.iter_mut().for_each(|object| name_images(&mut object.data, names));
                }
                Action::Image(image) => {
                    if let Some(full) = names.get(&image.image) {
                        image.image.clone_from(full);
                    }
                }
                Action::Zones(_) | Action::Chart(_) | Action::Patch { .. } => {}
            }
        }
    }

    /// Whether any step is a chart, for which helm is needed.
    pub fn has_charts(&self) -> bool {
        self.charts() > 0
    }

    /// How many steps are charts.
    pub fn charts(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.action, Action::Chart(_))).count()
    }

    /// What each step needs, for the schedule.
    pub fn needs(&self) -> Vec<Vec<usize>> {
        self.steps.iter().map(|step| step.needs.clone()).collect()
    }
}

fn release(name: &str, chart: &stack::Chart, namespace: &str, sources: &Sources<'_>) -> Result<Release> {
    let is_path = chart.chart.contains('/') || Path::new(&chart.chart).exists();
    let pin = Chart::named(&chart.chart).filter(|_| !is_path && chart.repository.is_none());
    let repository = chart.repository.as_deref().filter(|_| !is_path).or(pin.map(|pin| pin.repository));
    let version = chart.version.as_deref().or(pin.map(|pin| pin.version));
    let local = repository.is_none() && !chart.chart.starts_with("oci://");
    if version.is_none() && !local {
        return Err(Error::usage(format!("chart `{name}` has no `version`"))
            .hint("name the exact version; the newest one may differ at every `sre up`"));
    }
    let mut texts = Vec::new();
    for file in &chart.values {
        texts.push((file.clone(), (sources.read)(file)?));
    }
    for path in sources.values.get(name).into_iter().flatten() {
        texts.push((path.display().to_string(), config::read(path)?));
    }
    let mut files = Vec::new();
    for (file, text) in texts {
        let documents = object::read_documents(&file, &fill(&text, sources.parameters))?;
        if documents.len() > 1 || documents.iter().any(|document| !document.is_object()) {
            return Err(Error::usage(format!("{file} is not one mapping, as a chart's values must be")));
        }
        files.extend(documents);
    }
    let from = sources.mirror.filter(|_| !local).map(|mirror| {
        let mirror = mirror.trim_end_matches('/');
        let name = chart.chart.rsplit('/').next().unwrap_or_default();
        format!("{mirror}/charts/{name}-{}.tgz", version.unwrap_or_default())
    });
    Ok(Release {
        name: name.into(),
        namespace: chart.namespace.clone().unwrap_or_else(|| namespace.into()),
        repository: repository.filter(|_| from.is_none()).map(str::to_owned),
        version: version.map(str::to_owned),
        chart: from.unwrap_or_else(|| chart.chart.clone()),
        values: values::of_chart(files, &chart.set)?,
    })
}

fn objects(manifests: &Manifests, sources: &Sources<'_>) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for file in &manifests.files {
        objects.extend(object::read_objects(file, &sources.text(file)?)?);
    }
    for object in &mut objects {
        if object.metadata.namespace.is_none() {
            object.metadata.namespace.clone_from(&manifests.namespace);
        }
    }
    object::sort_for_apply(&mut objects);
    Ok(objects)
}

/// `rules/lab.yaml` is the `PrometheusRule` `rules-lab`.
fn rule_objects(rules: &RuleObjects, sources: &Sources<'_>) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for file in sources.rules {
        let name: String = file
            .trim_end_matches(".yaml")
            .trim_end_matches(".yml")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        for mut spec in object::read_documents(file, &(sources.read)(file)?)? {
            if let (Some(interval), Some(groups)) =
                (rules.interval, spec.get_mut("groups").and_then(Value::as_array_mut))
            {
                for group in groups {
                    group["interval"] = Value::from(interval.to_string());
                }
            }
            let object = serde_json::json!({
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "metadata": {"name": name, "labels": rules.labels},
                "spec": spec,
            });
            objects
                .push(serde_json::from_value(object).map_err(|e| {
                    Error::usage(format!("{file} does not make a PrometheusRule")).because(e)
                })?);
        }
    }
    Ok(objects)
}

/// Stands, in a list of a manifest, for the address of every replica as they are when it is applied.
const REPLICAS: &str = "{replicas}";

/// Whether an object names the replicas by their addresses.
pub fn names_replicas(object: &DynamicObject) -> bool {
    fn any(value: &Value) -> bool {
        match value {
            Value::Object(fields) => fields.values().any(any),
            Value::Array(items) => items.iter().any(|item| item == REPLICAS || any(item)),
            _ => false,
        }
    }
    any(&object.data)
}

/// Writes the replicas' addresses where an object's lists have `{replicas}`.
pub fn fill_replicas(object: &mut DynamicObject, addresses: &[String]) {
    fn fill(value: &mut Value, addresses: &[String]) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(|field| fill(field, addresses)),
            Value::Array(items) => {
                if let Some(place) = items.iter().position(|item| item == REPLICAS) {
                    items.splice(place..=place, addresses.iter().cloned().map(Value::from));
                }
                items.iter_mut().for_each(|item| fill(item, addresses));
            }
            _ => {}
        }
    }
    fill(&mut object.data, addresses);
}

fn name_images(value: &mut Value, names: &IndexMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(image) if key == "image" => {
                        if let Some(full) = names.get(image) {
                            image.clone_from(full);
                        }
                    }
                    other => name_images(other, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| name_images(item, names)),
        _ => {}
    }
}

fn patch_body(name: &str, patch: &Patch, parameters: &IndexMap<String, String>) -> Result<PatchBody> {
    let file = format!("patch `{name}`");
    let mut documents = object::read_documents(&file, &fill(&patch.patch, parameters))?;
    match (documents.pop(), documents.is_empty()) {
        (Some(mapping @ Value::Object(_)), true) => Ok(PatchBody::Merge(mapping)),
        (Some(list @ Value::Array(_)), true) => serde_json::from_value(list)
            .map(PatchBody::Json)
            .map_err(|e| Error::usage(format!("{file} is not a JSON patch (RFC 6902)")).because(e)),
        _ => Err(Error::usage(format!("{file} is neither one mapping nor one list"))
            .hint("a mapping is a strategic merge patch; a list of `op`, `path`, `value` is a JSON patch")),
    }
}

/// A step whose needs are names still.
struct Draft {
    name: String,
    needs: Vec<String>,
    wait: Duration,
    action: Action,
}

impl Draft {
    fn new(name: &str, needs: &[String], wait: Duration, action: Action) -> Draft {
        Draft { name: name.into(), needs: needs.to_vec(), wait, action }
    }
}

/// Puts each step after what it needs; otherwise the order of declaration stays.
fn order(drafts: Vec<Draft>) -> Result<Plan> {
    for (i, draft) in drafts.iter().enumerate() {
        if drafts[..i].iter().any(|earlier| earlier.name == draft.name) {
            return Err(Error::usage(format!("two steps of the stack are named `{}`", draft.name))
                .hint("`needs` could not tell them apart; rename one"));
        }
        for need in &draft.needs {
            if !drafts.iter().any(|other| other.name == *need) {
                let error =
                    Error::usage(format!("`{}` needs `{need}`, which is no step of the stack", draft.name));
                return Err(match nearest(need, drafts.iter().map(|d| d.name.as_str())) {
                    Some(name) => error.hint(format!("did you mean `{name}`?")),
                    None => error,
                });
            }
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut left = drafts;
    while !left.is_empty() {
        let placed = |name: &String| steps.iter().position(|step| step.name == *name);
        let next = left.iter().position(|draft| draft.needs.iter().all(|need| placed(need).is_some()));
        let Some(next) = next else {
            return Err(Error::usage(format!("steps need each other: {}", cycle(&left))));
        };
        let needs = left[next].needs.iter().filter_map(placed).collect();
        let Draft { name, wait, action, .. } = left.remove(next);
        steps.push(Step { name, action, needs, wait });
    }
    Ok(Plan { steps })
}

/// One cycle among drafts that each need another of them: `a → b → a`.
fn cycle(drafts: &[Draft]) -> String {
    let mut path: Vec<&str> = Vec::new();
    let mut at = drafts.first();
    while let Some(draft) = at {
        if let Some(start) = path.iter().position(|name| *name == draft.name) {
            path.drain(..start);
            path.push(&draft.name);
            break;
        }
        path.push(&draft.name);
        at = drafts.iter().find(|other| draft.needs.contains(&other.name));
    }
    path.join(" → ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(stack: &str) -> Result<Plan> {
        let stack: ClusterStack = serde_saphyr::from_str(stack).expect("a stack");
        let read = |file: &str| match file {
            "app.yaml" => Ok("apiVersion: v1\nkind: Pod\nmetadata: {name: app}\n".into()),
            "values.yaml" => Ok("a: {b: ${replicas}}\nshell: echo ${HOME}\n".into()),
            other => Err(Error::usage(format!("there is no {other}"))),
        };
        let parameters = IndexMap::from([("replicas".to_owned(), "3".to_owned())]);
        Plan::new(
            &stack,
            &Sources {
                read: &read,
                parameters: &parameters,
                rules: &[],
                mirror: None,
                values: &IndexMap::new(),
            },
        )
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn steps_come_after_what_they_need() {
        let plan = plan(
            "namespace: lab\n\
             charts: {monitoring: {chart: ./kps, needs: [early]}, logs: {chart: ./loki}}\n\
             manifests: {early: {files: [app.yaml]}, app: {files: [app.yaml], needs: [monitoring, logs]}}\n",
        )
        .unwrap();
        assert_eq!(names(&plan), ["logs", "early", "monitoring", "app"]);
        assert_eq!(plan.needs(), [vec![], vec![], vec![1], vec![2, 0]]);
    }

    #[test]
    fn images_have_their_full_names_in_pods_and_in_the_step_that_loads_them() {
        let mut plan = plan("namespace: lab\nimages: {image: {image: sre}}\n").unwrap();
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: sre}, {image: sre:1}]}";
        plan.steps.push(Step {
            name: "app".into(),
            action: Action::Apply(object::read_objects("p.yaml", pod).unwrap()),
            needs: vec![0],
            wait: Duration::from_secs(1),
        });
        plan.name_images(&IndexMap::from([("sre".to_owned(), "docker.io/library/sre:abc".to_owned())]));
        let Action::Image(image) = &plan.steps[0].action else { panic!("an image") };
        assert_eq!(image.image, "docker.io/library/sre:abc");
        let Action::Apply(objects) = &plan.steps[1].action else { panic!("objects") };
        let named: Vec<&Value> =
            objects[0].data["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["image"]).collect();
        assert_eq!(named, ["docker.io/library/sre:abc", "sre:1"]);
    }

    #[test]
    fn replicas_stand_in_lists_by_their_addresses() {
        let text =
            "apiVersion: v1\nkind: X\nmetadata: {name: x}\nspec: {all: [{targets: [a, '{replicas}']}]}";
        let mut object = object::read_objects("x.yaml", text).unwrap().remove(0);
        assert!(names_replicas(&object));
        fill_replicas(&mut object, &["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()]);
        assert!(!names_replicas(&object));
        let targets = serde_json::json!(["a", "10.0.0.1:80", "10.0.0.2:80"]);
        assert_eq!(object.data["spec"]["all"][0]["targets"], targets);
    }

    #[test]
    fn rule_files_are_objects_of_the_operator_and_taken_as_they_are() {
        let stack: ClusterStack =
            serde_saphyr::from_str("namespace: lab\nrules: {labels: {release: m}, interval: 2s}\n").unwrap();
        let read =
            |_: &str| Ok("groups: [{name: g, interval: 1s, rules: [{alert: A, expr: '${x}'}]}]\n".into());
        let parameters = IndexMap::from([("x".to_owned(), "filled".to_owned())]);
        let rules = ["rules/lab.yaml".to_owned()];
        let sources = Sources {
            read: &read,
            parameters: &parameters,
            rules: &rules,
            mirror: None,
            values: &IndexMap::new(),
        };
        let plan = Plan::new(&stack, &sources).unwrap();
        let Action::Apply(objects) = &plan.steps[0].action else { panic!("objects") };
        assert_eq!(objects[0].metadata.name.as_deref(), Some("rules-lab"));
        let group = &objects[0].data["spec"]["groups"][0];
        assert_eq!(group["rules"][0]["expr"], "${x}");
        assert_eq!(group["interval"], "2s");
    }

    #[test]
    fn a_mirror_stands_for_repositories() {
        let stack: ClusterStack = serde_saphyr::from_str(
            "namespace: lab\ncharts: {m: {chart: kps, repository: https://x.org, version: 1.2.3}, l: {chart: ./loki}}",
        )
        .unwrap();
        let (read, parameters) = (|_: &str| Ok(String::new()), IndexMap::new());
        let sources = Sources {
            read: &read,
            parameters: &parameters,
            rules: &[],
            mirror: Some("/srv/mirror/"),
            values: &IndexMap::new(),
        };
        let charts: Vec<String> = Plan::new(&stack, &sources)
            .unwrap()
            .steps
            .into_iter()
            .filter_map(|step| match step.action {
                Action::Chart(release) => Some(release.chart),
                _ => None,
            })
            .collect();
        assert_eq!(charts, ["/srv/mirror/charts/kps-1.2.3.tgz", "./loki"]);
    }

    #[test]
    fn a_cycle_is_named() {
        let stack = "namespace: lab\n\
            charts: {a: {chart: ./a, needs: [b]}, b: {chart: ./b, needs: [c]}, c: {chart: ./c, needs: [b]}}";
        assert_eq!(plan(stack).unwrap_err().what(), "steps need each other: b → c → b");
    }

    #[test]
    fn an_unknown_need_suggests_the_nearest() {
        let error =
            plan("namespace: lab\ncharts: {monitoring: {chart: ./a}, b: {chart: ./b, needs: [monitorin]}}");
        assert_eq!(error.unwrap_err().next_step(), Some("did you mean `monitoring`?"));
    }

    #[test]
    fn a_name_stands_for_one_step() {
        let error = plan("namespace: lab\ncharts: {a: {chart: ./a}}\nmanifests: {a: {files: [app.yaml]}}");
        assert_eq!(error.unwrap_err().what(), "two steps of the stack are named `a`");
    }

    #[test]
    fn charts_from_a_repository_are_pinned() {
        let error = plan("namespace: lab\ncharts: {a: {chart: oci://ghcr.io/x/a}}");
        assert_eq!(error.unwrap_err().what(), "chart `a` has no `version`");
    }

    #[test]
    fn a_pinned_chart_needs_no_more_than_its_name() {
        let plan = plan("namespace: lab\ncharts: {logs: {chart: loki}}").unwrap();
        let Action::Chart(release) = &plan.steps[0].action else { panic!("a chart") };
        let pin = Chart::named("loki").unwrap();
        assert_eq!(release.repository.as_deref(), Some(pin.repository));
        assert_eq!(release.version.as_deref(), Some(pin.version));
    }

    #[test]
    fn further_files_of_values_win_and_are_filled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.yaml");
        std::fs::write(&file, "a: {b: 5}\nnew: ${replicas}\n").unwrap();
        let stack: ClusterStack =
            serde_saphyr::from_str("namespace: lab\ncharts: {a: {chart: ./a, values: [v.yaml]}}").unwrap();
        let read = |_: &str| Ok("a: {b: 1, c: 2}\n".into());
        let parameters = IndexMap::from([("replicas".to_owned(), "3".to_owned())]);
        let with = |chart: &str| {
            let values = IndexMap::from([(chart.to_owned(), vec![file.clone()])]);
            let sources =
                Sources { read: &read, parameters: &parameters, rules: &[], mirror: None, values: &values };
            Plan::new(&stack, &sources)
        };
        let Action::Chart(release) = &with("a").unwrap().steps[0].action.clone() else { panic!("a chart") };
        assert_eq!(release.values, serde_json::json!({"a": {"b": 5, "c": 2}, "new": 3}));
        assert!(with("aa").unwrap_err().to_string().contains("did you mean `a`?"));
    }

    #[test]
    fn files_are_filled_and_values_may_be_set() {
        let plan = plan("namespace: lab\ncharts: {a: {chart: ./a, values: [values.yaml], set: {a.c: true}}}")
            .unwrap();
        let Action::Chart(release) = &plan.steps[0].action else { panic!("a chart") };
        assert_eq!(release.values, serde_json::json!({"a": {"b": 3, "c": true}, "shell": "echo ${HOME}"}));
    }

    #[test]
    fn patches_are_told_apart_by_their_shape() {
        let stack = |patch: &str| {
            format!("namespace: lab\npatches: {{p: {{target: {{kind: Deployment}}, patch: '{patch}'}}}}")
        };
        let body = |text: &str| match plan(&stack(text)).map(|p| p.steps[0].action.clone()) {
            Ok(Action::Patch { body, .. }) => Ok(body),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        assert!(matches!(body("spec: {replicas: 1}"), Ok(PatchBody::Merge(_))));
        assert!(matches!(body("[{op: remove, path: /spec/x}]"), Ok(PatchBody::Json(_))));
        assert!(body("[{op: nothing, path: /spec/x}]").is_err());
        assert!(body("text").is_err());
    }
}
