//! Whether this user may do what `sre up`, `sre run` and `sre down` do: derived from the plan, asked of the API server.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use serde_json::Value;

use super::rendered::Planned;
use crate::error::Result;
use crate::inspect::Finding;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call;
use crate::target::kubernetes::plan::{Action, Plan};

/// How many questions are asked at the same time.
const AT_ONCE: usize = 16;

/// How many refusals a finding shows.
const SHOWN: usize = 6;

/// Something that must be allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The API group; empty for the core group. For a path of the server: empty.
    pub group: String,
    /// The resource, `pods` or `pods/log`; a path of the server, such as `/metrics`.
    pub resource: String,
    /// The namespace; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// The verb.
    pub verb: String,
}

impl Need {
    fn new(verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Need {
        Need {
            group: group.into(),
            resource: resource.into(),
            namespace: namespace.map(str::to_owned),
            verb: verb.into(),
        }
    }

    fn question(&self) -> SelfSubjectAccessReviewSpec {
        if self.resource.starts_with('/') {
            return SelfSubjectAccessReviewSpec {
                non_resource_attributes: Some(NonResourceAttributes {
                    path: Some(self.resource.clone()),
                    verb: Some(self.verb.clone()),
                }),
                resource_attributes: None,
            };
        }
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource.as_str(), None),
        };
        SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(self.group.clone()),
                resource: Some(resource.to_owned()),
                subresource,
                namespace: self.namespace.clone(),
                verb: Some(self.verb.clone()),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        }
    }
}

/// How a kind of object is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The plural: `deployments`.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// The kinds that a plan's own definitions bring, by group and kind.
pub fn defined(planned: &[Planned]) -> BTreeMap<(String, String), Resource> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let definitions = planned.iter().filter(|planned| planned.kind() == "CustomResourceDefinition");
    definitions
        .map(|planned| {
            let spec = planned.spec();
            let resource = Resource {
                plural: text(&spec["names"]["plural"]),
                namespaced: spec["scope"] == "Namespaced",
            };
            ((text(&spec["group"]), text(&spec["names"]["kind"])), resource)
        })
        .collect()
}

/// What the plan's objects need. `resource` tells how a kind is addressed; one that nobody knows needs nothing.
pub fn of_objects(planned: &[Planned], resource: impl Fn(&str, &str) -> Option<Resource>) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    for planned in planned {
        let Some(of) = resource(planned.group(), planned.kind()) else { continue };
        let namespace = of.namespaced.then_some(planned.namespace.as_str());
        // Read, written server-side, waited for, and taken away again.
        for verb in ["get", "create", "patch", "delete"] {
            needs.insert(Need::new(verb, planned.group(), &of.plural, namespace));
        }
        if matches!(planned.kind(), "Deployment" | "StatefulSet" | "DaemonSet" | "Job") {
            for verb in ["list", "watch"] {
                needs.insert(Need::new(verb, planned.group(), &of.plural, namespace));
            }
        }
    }
    needs
}

/// What the roles among the plan's objects grant: whoever may not `escalate` must have it to grant it.
pub fn granted(planned: &[Planned]) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    for role in planned.iter().filter(|planned| matches!(planned.kind(), "Role" | "ClusterRole")) {
        let namespace = (role.kind() == "Role").then_some(role.namespace.as_str());
        for rule in role.object.data["rules"].as_array().into_iter().flatten() {
            let list = |key: &str| -> Vec<&str> {
                rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
            };
            for verb in list("verbs") {
                for path in list("nonResourceURLs") {
                    needs.insert(Need::new(verb, "", path, None));
                }
                for group in list("apiGroups") {
                    for resource in list("resources") {
                        needs.insert(Need::new(verb, group, resource, namespace));
                    }
                }
            }
        }
    }
    needs
}

/// What the steps themselves and the run that follows need, whatever the objects are. `endpoints` are the namespaces
/// of the parts that are asked through port-forwards.
pub fn of_steps(plan: &Plan, namespaces: &[String], endpoints: &[String], minor: u32) -> BTreeSet<Need> {
    let mut needs = BTreeSet::from([
        Need::new("list", "", "nodes", None),
        Need::new("get", "", "namespaces", None),
        Need::new("create", "", "namespaces", None),
        Need::new("patch", "", "namespaces", None),
        Need::new("delete", "", "namespaces", None),
    ]);
    for namespace in namespaces {
        let namespace = Some(namespace.as_str());
        needs.insert(Need::new("list", "", "pods", namespace));
        needs.insert(Need::new("list", "", "persistentvolumeclaims", namespace));
    }
    for namespace in endpoints {
        let namespace = Some(namespace.as_str());
        needs.insert(Need::new("list", "", "services", namespace));
        needs.insert(Need::new("patch", "", "pods", namespace));
        // A port-forward is a WebSocket: a `get`, and from 1.35 on a `create`, too.
        needs.insert(Need::new("get", "", "pods/portforward", namespace));
        if minor >= 35 {
            needs.insert(Need::new("create", "", "pods/portforward", namespace));
        }
    }
    for step in &plan.steps {
        match &step.action {
            Action::Zones(_) => {
                needs.insert(Need::new("patch", "", "nodes", None));
            }
            Action::Chart(release) => {
                // Helm keeps its releases in Secrets.
                for verb in ["get", "list", "create", "update", "delete"] {
                    needs.insert(Need::new(verb, "", "secrets", Some(&release.namespace)));
                }
            }
            Action::Image(_) | Action::Apply(_) | Action::Patch { .. } => {}
        }
    }
    needs
}

/// What patches of objects need, each with its group, plural and namespace.
pub fn of_patch(group: &str, resource: &Resource, namespace: Option<&str>) -> BTreeSet<Need> {
    let namespace = namespace.filter(|_| resource.namespaced);
    ["get", "list", "patch"].map(|verb| Need::new(verb, group, &resource.plural, namespace)).into()
}

/// What keeps others away from the lab in a namespace while somebody works on it, and is done without.
pub fn of_lease(namespace: &str) -> BTreeSet<Need> {
    ["get", "create", "patch", "delete"]
        .map(|verb| Need::new(verb, "coordination.k8s.io", "leases", Some(namespace)))
        .into()
}

/// What tells why something failed, and is done without.
pub fn of_diagnosis(namespaces: &[String]) -> BTreeSet<Need> {
    let of = |namespace: &String| {
        [Need::new("get", "", "pods/log", Some(namespace)), Need::new("list", "", "events", Some(namespace))]
    };
    namespaces.iter().flat_map(of).collect()
}

/// Asks the API server for each; those that are refused.
///
/// # Errors
/// Where it does not answer (6).
pub async fn refused(cluster: &Cluster, needs: BTreeSet<Need>) -> Result<Vec<Need>> {
    let ask = |need: Need| async move {
        let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
        let review = SelfSubjectAccessReview { spec: need.question(), ..SelfSubjectAccessReview::default() };
        let params = PostParams::default();
        let what = || "the API server was not asked what is allowed".to_owned();
        let answer = call(what, || api.create(&params, &review)).await?;
        Ok(if answer.status.is_some_and(|status| status.allowed) { None } else { Some(need) })
    };
    let answers: Vec<Result<Option<Need>>> =
        stream::iter(needs).map(ask).buffer_unordered(AT_ONCE).collect().await;
    let mut refused: Vec<Need> =
        answers.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    refused.sort();
    Ok(refused)
}

/// Whether everything is allowed, as to an administrator.
pub async fn is_administrator(cluster: &Cluster) -> Result<bool> {
    Ok(refused(cluster, [Need::new("*", "*", "*", None)].into()).await?.is_empty())
}

/// Whether roles may be written that grant more than one has.
pub async fn may_escalate(cluster: &Cluster) -> Result<bool> {
    let group = "rbac.authorization.k8s.io";
    let needs =
        [Need::new("escalate", group, "clusterroles", None), Need::new("bind", group, "clusterroles", None)];
    Ok(refused(cluster, needs.into()).await?.is_empty())
}

/// Who this is to the API server, where it tells.
pub async fn user(cluster: &Cluster) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client());
    let answer = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
    answer.status?.user_info?.username
}

/// The finding: what is refused, grouped by resource and namespace.
pub fn finding(asked: usize, refused: &[Need], is_enough: bool, user: Option<&str>) -> Finding {
    const NAME: &str = "permissions";
    if refused.is_empty() {
        return Finding::ok(NAME, format!("all {asked} that the plan needs are granted"));
    }
    let lines = grouped(refused);
    let count = lines.len();
    let mut shown: Vec<String> = lines.into_iter().take(SHOWN).collect();
    if count > SHOWN {
        shown.push(format!("and {} more", count - SHOWN));
    }
    let user = user.unwrap_or("USER");
    let message = format!("{user} may not\n{}", shown.join("\n"));
    let hint = format!(
        "an administrator grants it, for example by:\n\
         kubectl create clusterrolebinding sre --clusterrole=cluster-admin --user={user}"
    );
    if is_enough { Finding::warning(NAME, message, hint) } else { Finding::error(NAME, message, hint) }
}

/// `create, patch clusterroles.rbac.authorization.k8s.io` or `get secrets in monitoring`, one a line.
fn grouped(needs: &[Need]) -> Vec<String> {
    let mut groups: BTreeMap<(&Option<String>, &str, &str), Vec<&str>> = BTreeMap::new();
    for need in needs {
        groups.entry((&need.namespace, &need.group, &need.resource)).or_default().push(&need.verb);
    }
    groups
        .into_iter()
        .map(|((namespace, group, resource), verbs)| {
            let dot = if group.is_empty() { "" } else { "." };
            let place = namespace.as_ref().map_or(String::new(), |namespace| format!(" in {namespace}"));
            format!("{} {resource}{dot}{group}{place}", verbs.join(", "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::rendered::from_yaml;
    use super::*;
    use crate::inspect::Level;

    const OBJECTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rules.example.org}
spec: {group: example.org, scope: Namespaced, names: {kind: Rule, plural: rules}}
---
apiVersion: example.org/v1
kind: Rule
metadata: {name: r}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
  - {apiGroups: [\"\"], resources: [nodes, pods], verbs: [list]}
  - {nonResourceURLs: [/metrics], verbs: [get]}
";

    fn resource(planned: &[Planned]) -> impl Fn(&str, &str) -> Option<Resource> {
        let defined = defined(planned);
        move |group, kind| {
            let served = |plural: &str, namespaced| Some(Resource { plural: plural.into(), namespaced });
            match kind {
                "Deployment" => served("deployments", true),
                "ClusterRole" => served("clusterroles", false),
                _ => defined.get(&(group.to_owned(), kind.to_owned())).cloned(),
            }
        }
    }

    #[test]
    fn each_object_needs_its_verbs_where_it_is() {
        let planned = from_yaml("lab", OBJECTS);
        let needs = of_objects(&planned, resource(&planned));
        assert!(needs.contains(&Need::new("create", "apps", "deployments", Some("lab"))));
        assert!(needs.contains(&Need::new("watch", "apps", "deployments", Some("lab"))), "it is waited for");
        assert!(needs.contains(&Need::new("delete", "rbac.authorization.k8s.io", "clusterroles", None)));
        let own = Need::new("patch", "example.org", "rules", Some("lab"));
        assert!(needs.contains(&own), "a kind that the plan itself defines: {needs:?}");
    }

    #[test]
    fn what_a_role_grants_must_be_had() {
        let needs = granted(&from_yaml("lab", OBJECTS));
        let expected = [
            Need::new("get", "", "/metrics", None),
            Need::new("list", "", "nodes", None),
            Need::new("list", "", "pods", None),
        ];
        assert_eq!(needs, expected.into());
        let path = Need::new("get", "", "/metrics", None).question();
        assert!(path.resource_attributes.is_none() && path.non_resource_attributes.is_some());
    }

    #[test]
    fn a_subresource_is_asked_for_as_one() {
        let question = Need::new("get", "", "pods/log", Some("lab")).question().resource_attributes;
        let question = question.expect("a resource");
        assert_eq!(question.resource.as_deref(), Some("pods"));
        assert_eq!(question.subresource.as_deref(), Some("log"));
    }

    #[test]
    fn refusals_are_grouped_and_cut() {
        let needs = [
            Need::new("create", "apps", "deployments", Some("lab")),
            Need::new("patch", "apps", "deployments", Some("lab")),
            Need::new("list", "", "nodes", None),
        ];
        let finding = finding(9, &needs, false, Some("jane"));
        assert_eq!(finding.level, Level::Error);
        assert_eq!(finding.message, "jane may not\nlist nodes\ncreate, patch deployments.apps in lab");
        assert!(finding.hint.is_some_and(|hint| hint.ends_with("--user=jane")));
        assert_eq!(super::finding(9, &[], false, None).level, Level::Ok);
        assert_eq!(super::finding(9, &needs, true, None).level, Level::Warning);
    }
}
