//! Looks at a system's parts, all at the same time; one that cannot be had does not stop the rest.

use std::time::Duration;

use indexmap::IndexMap;

use super::eyes::Eyes;
use super::model::{ClusterFacts, Inspection, Missing, Part, PrometheusFacts, SCHEMA};
use super::source::{Named, Source};
use super::spread::Node;
use super::{ingress, pods, redis, whereami};
use crate::target::kubernetes::client::Cluster;
use crate::target::{Credentials, Endpoint};

/// How long one part may take, with all that is asked again.
const PART: Duration = Duration::from_secs(45);

/// A part of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PartName {
    /// The cluster's name, version and nodes.
    Cluster,
    /// What ingress controllers served.
    Ingress,
    /// What whereami served.
    Whereami,
    /// The namespace's pods on nodes and in zones.
    Pods,
    /// The namespace's Redis instances.
    Redis,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The namespace to look at.
    pub namespace: String,
    /// The parts to look at.
    pub parts: Vec<PartName>,
    /// The namespace of the ingress controller; any, if left out.
    pub ingress_namespace: Option<String>,
    /// The window, in seconds; each metric's own, if left out.
    pub range: Option<u32>,
    /// The Prometheus to ask; the one that labels tell, if left out.
    pub prometheus: Option<Named>,
    /// Its credentials, where it was named by a URL.
    pub credentials: Option<Credentials>,
    /// Headers for it, where it was named by a URL.
    pub headers: IndexMap<String, String>,
}

/// Looks at a system.
pub async fn look(cluster: &Result<Cluster, Missing>, question: &Question) -> Inspection {
    let asked = |part| question.parts.contains(&part);
    let namespace = &question.namespace;
    let for_metrics = [PartName::Ingress, PartName::Whereami, PartName::Redis].into_iter().any(asked);
    let nodes = async {
        match cluster {
            Ok(cluster) if asked(PartName::Cluster) || asked(PartName::Pods) => {
                pods::nodes(cluster).await.ok()
            }
            _ => None,
        }
    };
    let source = async { if for_metrics { Some(source(cluster, question).await) } else { None } };
    let (nodes, source) = tokio::join!(nodes, source);
    let eyes = match &source {
        None => Err(Missing::because("Prometheus was not asked")),
        // Why, and what to do next, is told once, where it is told of Prometheus itself.
        Some(Err(_)) => Err(Missing::because("Prometheus could not be had")),
        Some(Ok(source)) => Eyes::open(source.prometheus.clone(), question.range).await,
    };
    let told: Option<&[Node]> = nodes.as_ref().map(|(nodes, _)| nodes.as_slice());
    let seen = |name| if asked(name) { Some(eyes.as_ref().map_err(Clone::clone)) } else { None };
    let (ingress, whereami, pods, redis) = tokio::join!(
        part(seen(PartName::Ingress), |eyes| {
            ingress::look(eyes, namespace, question.ingress_namespace.as_deref())
        }),
        part(seen(PartName::Whereami), |eyes| whereami::look(eyes, namespace)),
        part(asked(PartName::Pods).then_some(Ok(())), |()| {
            pods::look(cluster.as_ref().ok(), told, eyes.as_ref().ok(), namespace)
        }),
        part(seen(PartName::Redis), |eyes| redis::look(eyes, namespace)),
    );
    let facts = cluster.as_ref().map_err(Clone::clone).map(|cluster| ClusterFacts {
        name: cluster.name().to_owned(),
        context: cluster.context().to_owned(),
        version: cluster.version().to_owned(),
        nodes: nodes.as_ref().map(|(_, count)| *count),
    });
    let notes = source.as_ref().and_then(|found| found.as_ref().ok()).map(|found| found.notes.clone());
    let prometheus: Option<Part<PrometheusFacts>> =
        source.map(|found| found.map(|source| source.facts.clone()).into());
    Inspection {
        schema: SCHEMA,
        namespace: namespace.clone(),
        cluster: asked(PartName::Cluster).then(|| facts.into()),
        prometheus,
        ingress,
        whereami,
        pods,
        redis,
        notes: notes.unwrap_or_default(),
    }
}

async fn part<'a, E, T, F>(
    eyes: Option<Result<E, Missing>>,
    look: impl FnOnce(E) -> F + 'a,
) -> Option<Part<T>>
where
    F: Future<Output = Result<T, Missing>>,
{
    let eyes = match eyes? {
        Ok(eyes) => eyes,
        Err(missing) => return Some(Part::Missing(missing)),
    };
    let found = tokio::time::timeout(PART, look(eyes)).await;
    let late = || Missing::because(format!("there was no answer within {} s", PART.as_secs()));
    Some(found.unwrap_or_else(|_| Err(late())).into())
}

async fn source(cluster: &Result<Cluster, Missing>, question: &Question) -> Result<Source, Missing> {
    if let Some(Named::Url(url)) = &question.prometheus {
        let endpoint = Endpoint {
            credentials: question.credentials.clone(),
            headers: question.headers.clone(),
            ..Endpoint::new(url.clone())
        };
        return Ok(Source::at(&endpoint).await?);
    }
    let cluster = cluster.as_ref().map_err(|_| {
        Missing::new(
            "it is looked for in the cluster, which could not be reached",
            "--prometheus URL names it",
        )
    })?;
    match &question.prometheus {
        Some(Named::Service { namespace, name, port, path }) => {
            Source::named(cluster, namespace, name, *port, path).await
        }
        _ => Source::found(cluster, &question.namespace).await,
    }
}
