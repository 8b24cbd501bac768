//! What was seen of a system: figures, what they warn of, and what could not be had.

use serde::Serialize;

use super::quantile::Latency;
use super::redis::Redis;
use super::spread::Spread;
use super::window::Window;
use crate::error::Error;
use crate::exit::Exit;

/// The version of what `-o json` prints.
pub const SCHEMA: &str = "sre.inspect/v1";

/// A system, as it was seen. Parts that were not asked for are left out.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// `sre.inspect/v1`.
    pub schema: &'static str,
    /// The namespace that was looked at.
    pub namespace: String,
    /// The cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Part<ClusterFacts>>,
    /// The Prometheus that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Part<PrometheusFacts>>,
    /// What ingress controllers served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Part<Vec<Ingress>>>,
    /// What whereami served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whereami: Option<Part<Traffic>>,
    /// The namespace's pods on nodes and in zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Part<Spread>>,
    /// The namespace's Redis instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Part<Vec<Redis>>>,
    /// What must be known beside the parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Something that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Part<T> {
    /// It was had.
    Had(T),
    /// It could not be had.
    Missing(Missing),
}

/// Why something could not be had.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missing {
    /// Why, in a sentence or a line for each cause.
    #[serde(rename = "missing")]
    pub why: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A figure beyond a limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Warning {
    /// What was seen, with the limit that it crossed.
    pub what: String,
    /// What it means.
    pub means: String,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterFacts {
    /// Its name, as the kubeconfig has it.
    pub name: String,
    /// The kubeconfig context.
    pub context: String,
    /// The API server's version.
    pub version: String,
    /// Its nodes; `None` where they may not be listed.
    pub nodes: Option<NodeCount>,
}

/// How many nodes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NodeCount {
    /// All.
    pub total: usize,
    /// Those that are ready.
    pub ready: usize,
    /// The zones that they are in.
    pub zones: usize,
}

/// A Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrometheusFacts {
    /// Where it is: a URL, or `namespace/service:port`.
    pub place: String,
    /// How it was reached, as the end of a sentence.
    pub way: String,
    /// Its version.
    pub version: String,
}

/// An ingress controller.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ingress {
    /// `ingress-nginx` or `traefik`.
    pub controller: &'static str,
    /// Its namespaces, as far as its metrics tell.
    pub namespaces: Vec<String>,
    /// All that it served, and the part of the namespace that was looked at, where its metrics tell them apart.
    pub traffic: Vec<Traffic>,
}

/// Requests that were served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Traffic {
    /// Whose: `all`, or a namespace, or a service.
    pub of: String,
    /// How long they took.
    pub latency: Part<Latencies>,
    /// How many there were, and how they ended.
    pub rates: Part<Rates>,
    /// What to look into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Quantiles of a latency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latencies {
    /// The window.
    pub window: Window,
    /// How many requests they rest on.
    pub requests: f64,
    /// The quantiles; empty where there was no request.
    pub quantiles: Vec<AtQuantile>,
}

/// One quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AtQuantile {
    /// Which: 0.5 is the median.
    pub q: f64,
    /// The latency.
    #[serde(flatten)]
    pub latency: Latency,
}

/// How requests ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// The window.
    pub window: Window,
    /// Requests a second.
    pub per_second: f64,
    /// The part that was no server error, from 0 to 1; `None` where there was no request.
    pub non_5xx: Option<f64>,
    /// The part that succeeded (2xx), from 0 to 1; `None` where there was no request.
    pub ok_2xx: Option<f64>,
}

impl<T> Part<T> {
    /// What was had.
    pub fn had(&self) -> Option<&T> {
        match self {
            Part::Had(had) => Some(had),
            Part::Missing(_) => None,
        }
    }

    fn is_missing(&self) -> bool {
        self.had().is_none()
    }
}

impl<T> From<Result<T, Missing>> for Part<T> {
    fn from(result: Result<T, Missing>) -> Part<T> {
        match result {
            Ok(had) => Part::Had(had),
            Err(missing) => Part::Missing(missing),
        }
    }
}

impl Missing {
    /// Why, and what to do next.
    pub fn new(why: impl Into<String>, next: impl Into<String>) -> Missing {
        Missing { why: why.into(), next: Some(next.into()) }
    }

    /// Why.
    pub fn because(why: impl Into<String>) -> Missing {
        Missing { why: why.into(), next: None }
    }
}

impl From<Error> for Missing {
    fn from(error: Error) -> Missing {
        let why = std::iter::once(error.what()).chain(error.causes().iter().map(String::as_str));
        Missing { why: why.collect::<Vec<_>>().join(": "), next: error.next_step().map(str::to_owned) }
    }
}

impl Warning {
    /// What was seen, with the limit that it crossed, and what it means.
    pub fn new(what: impl Into<String>, means: impl Into<String>) -> Warning {
        Warning { what: what.into(), means: means.into() }
    }
}

impl Traffic {
    fn is_whole(&self) -> bool {
        !self.latency.is_missing() && !self.rates.is_missing()
    }
}

impl Inspection {
    /// How the process ends: 0 where all that was asked for was had, 6 where the cluster could not be reached,
    /// 3 where anything else could not be had. Warnings change nothing.
    pub fn exit(&self) -> Exit {
        let whole = |had: bool| if had { Exit::Pass } else { Exit::NoData };
        let cluster =
            self.cluster.as_ref().map(|part| if part.is_missing() { Exit::Target } else { Exit::Pass });
        let prometheus = self.prometheus.as_ref().map(|part| whole(!part.is_missing()));
        let ingress = self.ingress.as_ref().map(|part| {
            whole(
                part.had().is_some_and(|all| all.iter().flat_map(|one| &one.traffic).all(Traffic::is_whole)),
            )
        });
        let whereami = self.whereami.as_ref().map(|part| whole(part.had().is_some_and(Traffic::is_whole)));
        let pods = self.pods.as_ref().map(|part| whole(!part.is_missing()));
        let redis = self
            .redis
            .as_ref()
            .map(|part| whole(part.had().is_some_and(|all| all.iter().all(Redis::is_whole))));
        Exit::of_all([cluster, prometheus, ingress, whereami, pods, redis].into_iter().flatten())
    }

    /// What to look into, in all parts.
    pub fn warnings(&self) -> usize {
        let had = |part: &Option<Part<Traffic>>| part.as_ref().and_then(|part| part.had().cloned());
        let ingress = self.ingress.iter().filter_map(Part::had).flatten().flat_map(|one| &one.traffic);
        let traffic: usize = ingress.map(|traffic| traffic.warnings.len()).sum();
        let whereami = had(&self.whereami).map_or(0, |traffic| traffic.warnings.len());
        let pods = self.pods.iter().filter_map(Part::had).map(|spread| spread.warnings.len()).sum::<usize>();
        let redis =
            self.redis.iter().filter_map(Part::had).flatten().map(|one| one.warnings.len()).sum::<usize>();
        traffic + whereami + pods + redis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspection() -> Inspection {
        Inspection {
            schema: SCHEMA,
            namespace: "default".into(),
            cluster: None,
            prometheus: None,
            ingress: None,
            whereami: None,
            pods: None,
            redis: None,
            notes: Vec::new(),
        }
    }

    fn missing<T>() -> Option<Part<T>> {
        Some(Part::Missing(Missing::because("gone")))
    }

    #[test]
    fn what_was_asked_for_and_not_had_is_never_a_pass() {
        assert_eq!(inspection().exit(), Exit::NoData, "nothing was looked at");
        let had = || Inspection { redis: Some(Part::Had(Vec::new())), ..inspection() };
        assert_eq!(had().exit(), Exit::Pass);
        assert_eq!(Inspection { pods: missing(), ..had() }.exit(), Exit::NoData);
        assert_eq!(Inspection { prometheus: missing(), ..had() }.exit(), Exit::NoData);
        assert_eq!(Inspection { cluster: missing(), pods: missing(), ..had() }.exit(), Exit::Target);
        let half = Traffic {
            of: "all".into(),
            latency: Part::Missing(Missing::because("no buckets")),
            rates: Part::Missing(Missing::because("gone")),
            warnings: Vec::new(),
        };
        assert_eq!(Inspection { whereami: Some(Part::Had(half)), ..had() }.exit(), Exit::NoData);
    }
}
