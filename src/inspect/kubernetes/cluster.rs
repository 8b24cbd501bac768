//! Whether the target `cluster` can work: reached first, then looked at; nothing is changed.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;

use super::access::{self, Resource};
use super::images::{self, Way};
use super::rendered::{self, Planned};
use super::{capacity, operators, services};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inspect::{Finding, machine};
use crate::interrupt::Interrupt;
use crate::target::Lab;
use crate::target::kubernetes::chart;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call;
use crate::target::kubernetes::helm::Helm;
use crate::target::kubernetes::nodes;
use crate::target::kubernetes::object::ObjectRef;
use crate::target::kubernetes::parts::endpoints;
use crate::target::kubernetes::plan::{Action, Plan};
use crate::target::kubernetes::record::ClusterLab;
use crate::target::kubernetes::single_writer;
use crate::target::kubernetes::up::{Request, namespaces};

/// The oldest Kubernetes that works: what it serves is asked for in one document from 1.27 on.
const OLDEST: u32 = 27;
/// The newest that was tried.
const NEWEST: u32 = 35;

/// Looks at all that `up` needs on a cluster; changes nothing.
///
/// # Errors
/// Usage (2) where the stack cannot run on a cluster or its files are wrong.
pub async fn cluster(request: &Request<'_>, interrupt: &Interrupt) -> Result<Vec<Finding>> {
    let before = before(request);
    let context = request.context.clone().or_else(|| before.as_ref().map(|before| before.context.clone()));
    let mut findings = machine(request.folder);
    findings.extend(on(request, context.as_deref(), None, interrupt).await?);
    Ok(findings)
}

/// Where the lab is that is up here, if its file can be read.
fn before(request: &Request<'_>) -> Option<ClusterLab> {
    Lab::load(request.folder.root()).ok().flatten()?.cluster
}

/// Looks at the cluster of a context; `minikube` is the profile behind it.
pub(super) async fn on(
    request: &Request<'_>,
    context: Option<&str>,
    minikube: Option<&str>,
    interrupt: &Interrupt,
) -> Result<Vec<Finding>> {
    let stack = request.cluster_stack()?;
    let before = before(request);
    let mut plan = request.steps(&request.values(before.as_ref()))?;
    let kubeconfig =
        request.kubeconfig.clone().or_else(|| before.as_ref().and_then(|before| before.kubeconfig.clone()));
    let cluster = match interrupt.or(Cluster::connect(kubeconfig.as_deref(), context)).await? {
        Ok(cluster) => cluster,
        Err(error) => {
            let name = if error.exit() == Exit::Usage { "context" } else { "API server" };
            let unreached = of_error(name, &error, "kubectl config get-contexts");
            return Ok(match Helm::version_of("helm", interrupt).await {
                _ if !plan.has_charts() => vec![unreached],
                Ok(version) => vec![unreached, Finding::ok("helm", version)],
                Err(error) => vec![unreached, of_error("helm", &error, INSTALL_HELM)],
            });
        }
    };
    let mut findings = vec![Finding::ok("context", cluster.context()), version(cluster.version())];
    let mut helm = if plan.has_charts() {
        match Helm::find("helm", &cluster, interrupt).await {
            Ok(helm) => {
                findings.push(Finding::ok("helm", helm.version()));
                Some(helm)
            }
            Err(error) => {
                findings.push(of_error("helm", &error, INSTALL_HELM));
                None
            }
        }
    } else {
        None
    };
    // Charts that are pinned are got into the cache, as `up --dry-run` does.
    let unsettled = match &helm {
        Some(found) => interrupt.or(chart::settle(&mut plan, found, &|_| ())).await?.err(),
        None => None,
    };
    if unsettled.is_some() {
        helm = None;
    }
    let look = Look { request, cluster: &cluster, plan: &plan, before: before.as_ref(), minikube };
    let (planned, failed) = interrupt.or(rendered::objects(&plan, &stack.namespace, helm.as_ref())).await?;
    findings.extend(failed.iter().chain(&unsettled).map(|error| {
        of_error("chart", error, "name one that is here: --set monitoring_chart=FOLDER, or set SRE_MIRROR")
    }));
    let risks = single_writer::risks(planned.iter().map(|one| (one.namespace.as_str(), &one.object)));
    findings.extend(risks.into_iter().map(|risk| Finding::warning("rollouts", risk, single_writer::MENDS)));
    findings.extend(images::builder(stack, minikube, interrupt).await);
    let whole = failed.is_empty() && (helm.is_some() || !plan.has_charts());
    for found in [
        interrupt.or(look.nodes(&planned)).await?,
        interrupt.or(look.metrics_api(&planned)).await?,
        interrupt.or(look.operator(&planned)).await?,
        interrupt.or(look.storage(&planned)).await?,
        interrupt.or(look.permissions(&planned, whole)).await?,
    ] {
        match found {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(of_error("cluster", &error, "sre doctor -v")),
        }
    }
    Ok(findings)
}

pub(super) const INSTALL_HELM: &str = "install helm 3 or 4: https://helm.sh/docs/intro/install/";

/// An error as a finding; its own next step, or else this one.
pub(super) fn of_error(name: &str, error: &Error, hint: &str) -> Finding {
    let causes = error.causes().iter().map(|cause| format!("\n{cause}"));
    let message = error.what().to_owned() + &causes.collect::<String>();
    Finding::error(
        name,
        message,
        error.next_step().filter(|step| !step.contains("sre doctor")).unwrap_or(hint),
    )
}

/// The server's version against those that are known to work. Pure.
fn version(version: &str) -> Finding {
    const NAME: &str = "Kubernetes";
    match minor(version) {
        Some(minor) if minor < OLDEST => Finding::error(
            NAME,
            format!("{version}; 1.{OLDEST} is the oldest that works"),
            "upgrade the cluster",
        ),
        Some(minor) if minor > NEWEST => Finding::warning(
            NAME,
            format!("{version} is newer than what was tried, 1.{NEWEST}"),
            "sre up --dry-run renders everything and has the API server look at it",
        ),
        Some(_) => Finding::ok(NAME, version),
        None => Finding::warning(NAME, format!("`{version}` is no known version"), "kubectl version"),
    }
}

/// `35` of `v1.35.4`.
fn minor(version: &str) -> Option<u32> {
    let digits = version.split('.').nth(1)?;
    digits.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

/// A cluster that is looked at.
struct Look<'a> {
    request: &'a Request<'a>,
    cluster: &'a Cluster,
    plan: &'a Plan,
    before: Option<&'a ClusterLab>,
    minikube: Option<&'a str>,
}

impl Look<'_> {
    async fn nodes(&self, planned: &[Planned]) -> Result<Vec<Finding>> {
        let stack = self.request.cluster_stack()?;
        let nodes = nodes::list(self.cluster).await?;
        let ready = nodes.iter().filter(|node| capacity::takes_pods(node)).count();
        let ill: Vec<&str> = nodes
            .iter()
            .filter(|node| !nodes::is_ready(node))
            .filter_map(|node| node.metadata.name.as_deref())
            .collect();
        let mut findings = vec![if !ill.is_empty() {
            Finding::warning(
                "nodes",
                format!("{ready} of {} take pods; not ready: {}", nodes.len(), ill.join(", ")),
                format!("kubectl describe node {}", ill[0]),
            )
        } else {
            Finding::ok("nodes", format!("{ready} of {} take pods", nodes.len()))
        }];
        let (pods, all): (Api<Pod>, _) = (Api::all(self.cluster.client()), ListParams::default());
        // Without the right to see other people's pods it cannot be told how much room they leave.
        match call(|| "the pods of all namespaces could not be listed".into(), || pods.list(&all)).await {
            Ok(pods) => {
                let ours = namespaces(self.plan, stack);
                let is_ours = |pod: &Pod| {
                    self.before.is_some()
                        && pod.metadata.namespace.as_ref().is_some_and(|name| ours.contains(name))
                };
                findings.push(capacity::finding(planned, capacity::rooms(&nodes, &pods.items, is_ours)));
            }
            Err(error) => findings.push(Finding::warning(
                "room",
                error.what(),
                "kubectl describe nodes shows what is asked for on each",
            )),
        }
        let way = Way {
            program: self.request.image_binary.clone(),
            loader: self
                .request
                .image_loader
                .as_deref()
                .or_else(|| self.before.and_then(|before| before.image_loader.as_deref())),
            minikube: self.minikube.is_some(),
        };
        findings.extend(images::findings(stack, &nodes, &way));
        Ok(findings)
    }

    async fn metrics_api(&self, planned: &[Planned]) -> Result<Vec<Finding>> {
        let service = ObjectRef {
            api_version: "apiregistration.k8s.io/v1".into(),
            kind: "APIService".into(),
            namespace: None,
            name: "v1beta1.metrics.k8s.io".into(),
        };
        let found = match self.cluster.api(&service, "default").await? {
            Some((api, _)) => {
                call(|| format!("{service} could not be read"), || api.get_opt(&service.name)).await?
            }
            None => None,
        };
        Ok(vec![services::metrics_api(found.as_ref(), planned, self.minikube)])
    }

    async fn operator(&self, planned: &[Planned]) -> Result<Vec<Finding>> {
        let definitions: Vec<DynamicObject> = self
            .all("apiextensions.k8s.io", "CustomResourceDefinition")
            .await?
            .into_iter()
            .filter(|definition| definition.data["spec"]["group"] == "monitoring.coreos.com")
            .collect();
        let deployments = self.all("apps", "Deployment").await?;
        let ours = namespaces(self.plan, self.request.cluster_stack()?);
        let running = operators::operators(&deployments);
        Ok(operators::finding(&definitions, &running, planned, &ours).into_iter().collect())
    }

    async fn storage(&self, planned: &[Planned]) -> Result<Vec<Finding>> {
        Ok(vec![services::storage(&self.all("storage.k8s.io", "StorageClass").await?, planned)])
    }

    /// All objects of a kind, in all namespaces.
    async fn all(&self, group: &str, kind: &str) -> Result<Vec<DynamicObject>> {
        Ok(self.cluster.all(group, kind).await?.unwrap_or_default())
    }

    async fn permissions(&self, planned: &[Planned], whole: bool) -> Result<Vec<Finding>> {
        if access::is_administrator(self.cluster).await? {
            return Ok(vec![Finding::ok("permissions", "everything is granted")]);
        }
        let stack = self.request.cluster_stack()?;
        let defined = access::defined(planned);
        let mut known: std::collections::BTreeMap<(String, String), Option<Resource>> = Default::default();
        let patches = self.plan.steps.iter().filter_map(|step| match &step.action {
            Action::Patch { target, .. } => Some(target),
            _ => None,
        });
        let patches: Vec<_> = patches.collect();
        let of_patches =
            patches.iter().map(|target| (target.group.as_deref().unwrap_or_default(), &*target.kind));
        for (group, kind) in planned.iter().map(|planned| (planned.group(), planned.kind())).chain(of_patches)
        {
            let key = (group.to_owned(), kind.to_owned());
            if known.contains_key(&key) {
                continue;
            }
            let served = self
                .cluster
                .kind(group, "", kind)
                .await?
                .map(|served| Resource { plural: served.resource.plural, namespaced: served.namespaced });
            known.insert(key.clone(), served.or_else(|| defined.get(&key).cloned()));
        }
        let resource =
            |group: &str, kind: &str| known.get(&(group.to_owned(), kind.to_owned())).cloned().flatten();

        let namespaces = namespaces(self.plan, stack);
        let mut of_endpoints: Vec<String> = endpoints(&stack.endpoints)
            .into_iter()
            .map(|(_, endpoint)| endpoint.namespace.clone().unwrap_or_else(|| stack.namespace.clone()))
            .collect();
        of_endpoints.sort();
        of_endpoints.dedup();
        let version = minor(self.cluster.version()).unwrap_or(NEWEST);
        let mut needs = access::of_steps(self.plan, &namespaces, &of_endpoints, version);
        needs.extend(access::of_objects(planned, resource));
        for target in &patches {
            let group = target.group.as_deref().unwrap_or_default();
            if let Some(resource) = resource(group, &target.kind) {
                needs.extend(access::of_patch(group, &resource, target.namespace.as_deref()));
            }
        }
        if !access::may_escalate(self.cluster).await? {
            needs.extend(access::granted(planned));
        }
        let asked = needs.len();
        let mut refused = access::refused(self.cluster, needs).await?;
        let is_enough = refused.is_empty();
        let done_without =
            access::of_diagnosis(&namespaces).into_iter().chain(access::of_lease(&stack.namespace));
        refused.extend(access::refused(self.cluster, done_without.collect()).await?);
        let user = access::user(self.cluster).await;
        let mut findings = vec![access::finding(asked, &refused, is_enough, user.as_deref())];
        if !whole {
            findings.push(Finding::warning(
                "permissions",
                "what the charts need is not known: they could not be rendered",
                "mend helm or the chart first",
            ));
        }
        Ok(findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Level;

    #[test]
    fn versions_are_held_against_what_works() {
        assert_eq!(version("v1.26.9").level, Level::Error);
        assert_eq!(version("v1.35.4").level, Level::Ok);
        assert_eq!(version("v1.31.2-gke.100").level, Level::Ok);
        assert_eq!(version("v1.37.0").level, Level::Warning);
        assert_eq!(version("unknown").level, Level::Warning);
        assert_eq!(minor("v1.30+"), Some(30));
    }
}
