//! Waits until Prometheus sees a new lab as it is: every replica once, every rule, Alertmanager.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{DynamicObject, Selector};
use serde_json::{Value, json};

use super::client::Cluster;
use super::failure::{call, retry};
use super::forward::Forward;
use super::loaded::{difference, lacking, misrouted};
use super::progress::Progress;
use super::reach::{instances_of, pods};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::observe::{Alertmanager, Health, Prometheus, Target};
use crate::stack::{ClusterEndpoint, ClusterEndpoints};
use crate::target::Endpoint;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often the kubelet is nudged. By itself it copies changed ConfigMaps and Secrets into pods every 60–90 s.
const NUDGE_EVERY: Duration = Duration::from_secs(2);

/// After how long what a pod was given is written anew, and how often. The reloader beside a Prometheus that is only starting
/// misses what comes before it begins to watch its files, and looks again by itself after three minutes.
const STIR_EVERY: Duration = Duration::from_secs(10);

/// How many times in a row, and with which pause.
const STIRS: usize = 6;
const BETWEEN_STIRS: Duration = Duration::from_millis(150);

/// How long after a change the operator may take to write a configuration of it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// What differs from the operator's configuration for longer than this differs for ever: Prometheus or Alertmanager
/// writes it in another way, and what it means is the same.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// The keys of the configurations in the operator's Secrets.
const OF_PROMETHEUS: &str = "prometheus.yaml.gz";
const OF_ALERTMANAGER: &str = "alertmanager.yaml.gz";

/// The annotation that is changed to have the kubelet look at a pod now.
const NUDGE: &str = "sre.dev/nudged";

/// What is added to the operator's Secrets to have the kubelet write their files anew, and taken away by the operator.
const STIRRED: &str = "sre.dev-stirred";

/// What Prometheus must see.
pub struct Expected<'a> {
    /// Where the parts answer.
    pub endpoints: &'a ClusterEndpoints,
    /// The namespace of endpoints that name none.
    pub namespace: &'a str,
    /// The `job` label of the replicas.
    pub job: Option<&'a str>,
    /// The names of the alert rules.
    pub rules: &'a [String],
    /// The objects that were applied; those of the Prometheus operator must be loaded as they are written.
    pub objects: &'a [DynamicObject],
    /// When what Prometheus and Alertmanager are configured by was last changed, if it was.
    pub changed: Option<Instant>,
    /// How long it may take.
    pub bound: Duration,
}

/// Waits until all of it is seen; Prometheus' version. A stack without Prometheus has nothing to wait for.
///
/// # Errors
/// What is not seen, after the bound (exit 6).
pub async fn settle(
    cluster: &Cluster,
    expected: &Expected<'_>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Option<String>> {
    let Some(place) = &expected.endpoints.prometheus else { return Ok(None) };
    let started = Instant::now();
    // Its pod may be on its way out, or not be there yet.
    let mut way: Option<(Forward, Prometheus)> = None;
    let mut nudged: Option<Instant> = None;
    let mut stirred = started;
    let mut lacked = None;
    loop {
        let look = async {
            let (_, prometheus) = match &mut way {
                Some(way) => way,
                None => way.insert(open(cluster, place, expected.namespace).await?),
            };
            Ok::<_, Error>(match missing(cluster, expected, prometheus, started, progress).await? {
                None => Seen::All(prometheus.version().await.ok()),
                Some(missing) => Seen::Lacks(missing),
            })
        };
        let missing = match interrupt.or(look).await? {
            Ok(Seen::All(version)) => return Ok(version),
            Ok(Seen::Lacks(missing)) => {
                lacked = Some(missing.clone());
                missing
            }
            Err(error) => error.causes().last().cloned().unwrap_or_else(|| error.what().to_owned()),
        };
        if started.elapsed() >= expected.bound {
            let error = Error::target(format!(
                "Prometheus does not see all of the lab after {} s",
                expected.bound.as_secs()
            ))
            .hint("kubectl logs and kubectl describe of that part tell more");
            // What was lacking when it last answered says more than an answer that failed.
            let lacked = lacked.filter(|lacked| *lacked != missing);
            return Err(match lacked {
                Some(lacked) => error.because_of(lacked).because_of(missing),
                None => error.because_of(missing),
            });
        }
        let operated = [
            Some((place, OF_PROMETHEUS)),
            expected.endpoints.alertmanager.as_ref().map(|it| (it, OF_ALERTMANAGER)),
        ];
        if stirred.elapsed() >= STIR_EVERY {
            stirred = Instant::now();
            for (place, key) in operated.into_iter().flatten() {
                stir(cluster, place, expected.namespace, key).await?;
            }
        }
        if nudged.is_none_or(|at| at.elapsed() >= NUDGE_EVERY) {
            nudged = Some(Instant::now());
            for (place, _) in operated.into_iter().flatten() {
                nudge(cluster, place, expected.namespace).await?;
            }
        }
        progress.tell(
            "monitoring",
            &format!("{missing} ({} s of {} s)", started.elapsed().as_secs(), expected.bound.as_secs()),
        );
        interrupt.or(tokio::time::sleep(LOOK_EVERY)).await?;
    }
}

/// What a look at Prometheus gave.
enum Seen {
    /// All of the lab; its version.
    All(Option<String>),
    /// Not all yet; what is missing.
    Lacks(String),
}

/// A way to Prometheus, for as long as the forward is kept.
async fn open(cluster: &Cluster, place: &ClusterEndpoint, namespace: &str) -> Result<(Forward, Prometheus)> {
    let forward = Forward::open(cluster, place, namespace).await?;
    let prometheus = Prometheus::new(&Endpoint::new(forward.url()))?.once_only();
    Ok((forward, prometheus))
}

/// What is not as it should be yet; `started` is when it was looked at first.
async fn missing(
    cluster: &Cluster,
    expected: &Expected<'_>,
    prometheus: &Prometheus,
    started: Instant,
    progress: &Progress,
) -> Result<Option<String>> {
    let replicas = match &expected.endpoints.service {
        Some(service) => instances_of(&pods(cluster, service, expected.namespace).await?),
        None => Vec::new(),
    };
    if expected.endpoints.service.is_some() && replicas.is_empty() {
        return Ok(Some("no replica of the service is ready".into()));
    }
    if let Some(missing) = not_scraped(&replicas, expected.job, &prometheus.targets().await?) {
        return Ok(Some(missing));
    }
    let loaded = prometheus.rules().await?;
    if let Some(rule) = expected.rules.iter().find(|rule| !loaded.iter().any(|known| known.name == **rule)) {
        return Ok(Some(format!("Prometheus has not loaded the rule {rule}")));
    }
    let config = configuration(&prometheus.config().await?);
    let groups = prometheus.groups().await?;
    if let Some(lacking) = expected.objects.iter().find_map(|object| lacking(object, &config, &groups)) {
        return Ok(Some(format!("Prometheus has not loaded {lacking}")));
    }
    if expected.endpoints.alertmanager.is_some() && !prometheus.has_alertmanager().await? {
        return Ok(Some("Prometheus knows no Alertmanager".into()));
    }
    // The rest is the charts'.
    let (Some(changed), Some(place)) = (expected.changed, &expected.endpoints.prometheus) else {
        return Ok(None);
    };
    if changed.elapsed() < WRITTEN_WITHIN {
        return Ok(Some("Prometheus' operator may still be writing its configuration".into()));
    }
    let generated = generated(cluster, place, expected.namespace, OF_PROMETHEUS).await;
    let of_prometheus = generated.and_then(|generated| difference(&generated, &config));
    let of_alertmanager = not_read_by_alertmanager(cluster, expected).await;
    for (program, difference) in [("Prometheus", of_prometheus), ("Alertmanager", of_alertmanager)] {
        let Some(difference) = difference else { continue };
        if started.elapsed() < READ_WITHIN {
            return Ok(Some(format!("{program} has not read its new configuration: {difference}")));
        }
        progress.say(&format!("! {program}'s configuration is not as its operator wrote it: {difference}"));
    }
    Ok(None)
}

/// What Alertmanager does not do yet as its operator wrote it, or why it does not tell. Nothing, where no operator looks
/// after it.
async fn not_read_by_alertmanager(cluster: &Cluster, expected: &Expected<'_>) -> Option<String> {
    let place = expected.endpoints.alertmanager.as_ref()?;
    let generated = generated(cluster, place, expected.namespace, OF_ALERTMANAGER).await?;
    let loaded = async {
        let forward = Forward::open(cluster, place, expected.namespace).await?;
        Alertmanager::new(&Endpoint::new(forward.url()))?.config().await
    };
    match loaded.await {
        Ok(loaded) => misrouted(&generated, &configuration(&loaded)),
        Err(error) => Some(error.causes().last().cloned().unwrap_or_else(|| error.what().to_owned())),
    }
}

/// The configuration that the operator wrote for an endpoint: under this key in the Secret that its pod mounts. `None`
/// where there is none, or it may not be read.
async fn generated(
    cluster: &Cluster,
    endpoint: &ClusterEndpoint,
    namespace: &str,
    key: &str,
) -> Option<Value> {
    let packed = operated(cluster, endpoint, namespace, key).await?.data?.remove(key)?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.0[..]).read_to_string(&mut text).ok()?;
    Some(configuration(&text))
}

/// The Secret with this key that an endpoint's pod mounts. `None` where there is none, or it may not be read.
async fn operated(
    cluster: &Cluster,
    endpoint: &ClusterEndpoint,
    namespace: &str,
    key: &str,
) -> Option<Secret> {
    let namespace = endpoint.namespace.as_deref().unwrap_or(namespace);
    let params = ListParams::default().labels_from(&selector(endpoint));
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let pod = retry(|| pods.list(&params)).await.ok()?.items.into_iter().next()?;
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), namespace);
    for volume in pod.spec?.volumes.unwrap_or_default() {
        let Some(name) = volume.secret.and_then(|secret| secret.secret_name) else { continue };
        let Ok(secret) = retry(|| secrets.get(&name)).await else { continue };
        if secret.data.as_ref().is_some_and(|data| data.contains_key(key)) {
            return Some(secret);
        }
    }
    None
}

/// Has the files of an endpoint's configuration written anew. What they hold stays as it is; a stir that fails costs time
/// and no more.
async fn stir(cluster: &Cluster, endpoint: &ClusterEndpoint, namespace: &str, key: &str) -> Result<()> {
    let Some(secret) = operated(cluster, endpoint, namespace, key).await else { return Ok(()) };
    let Some(name) = secret.metadata.name else { return Ok(()) };
    let secrets: Api<Secret> =
        Api::namespaced(cluster.client(), endpoint.namespace.as_deref().unwrap_or(namespace));
    for _ in 0..STIRS {
        let patch = Patch::Merge(json!({"stringData": {STIRRED: jiff::Timestamp::now().to_string()}}));
        let _ = secrets.patch(&name, &PatchParams::default(), &patch).await;
        // The operator takes it away at once, and the kubelet has to look in between.
        nudge(cluster, endpoint, namespace).await?;
        tokio::time::sleep(BETWEEN_STIRS).await;
    }
    Ok(())
}

/// A configuration as data; null, which lacks everything, if it cannot be read.
fn configuration(text: &str) -> Value {
    let options = serde_saphyr::options! { budget: crate::config::large() };
    serde_saphyr::from_str_with_options(text, options).unwrap_or_default()
}

fn selector(endpoint: &ClusterEndpoint) -> Selector {
    endpoint.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The first replica that is not scraped exactly once, or target that is not healthy. Pure.
fn not_scraped(replicas: &[String], job: Option<&str>, targets: &[Target]) -> Option<String> {
    let of_job = |target: &&Target| job.is_none_or(|job| target.job() == job);
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for target in targets.iter().filter(of_job) {
        *times.entry(target.instance()).or_default() += 1;
    }
    for replica in replicas {
        match times.get(replica.as_str()) {
            None => return Some(format!("Prometheus does not scrape {replica}")),
            Some(1) => {}
            Some(_) => return Some(format!("Prometheus scrapes {replica} more than once")),
        }
    }
    if let (Some(job), Some(gone)) = (job, times.keys().find(|known| !replicas.iter().any(|r| r == *known))) {
        return Some(format!("Prometheus still scrapes {gone} of {job}, which is not ready"));
    }
    let ill = targets.iter().find(|target| target.health != Health::Up)?;
    let why = if ill.last_error.is_empty() { "not scraped yet" } else { &ill.last_error };
    Some(format!("target {} {}: {why}", ill.job(), ill.instance()))
}

/// Has the kubelet look at an endpoint's pods now.
async fn nudge(cluster: &Cluster, endpoint: &ClusterEndpoint, namespace: &str) -> Result<()> {
    let namespace = endpoint.namespace.as_deref().unwrap_or(namespace);
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let labels = selector(endpoint);
    let params = ListParams::default().labels_from(&labels);
    let found = call(|| format!("the pods with {labels} could not be listed"), || pods.list(&params)).await?;
    let now = jiff::Timestamp::now().to_string();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {NUDGE: now}}}));
    for name in found.items.into_iter().filter_map(|pod| pod.metadata.name) {
        // It may have gone meanwhile, and a nudge that fails costs a minute and no more.
        let _ = pods.patch(&name, &PatchParams::default(), &patch).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use indexmap::IndexMap;

    use super::*;
    use crate::observe::Labels;
    use crate::target::kubernetes::client::standin;
    use crate::terminal::Terminal;

    fn target(instance: &str, health: Health) -> Target {
        Target {
            labels: Labels::from([("job".into(), "api".into()), ("instance".into(), instance.into())]),
            scrape_url: String::new(),
            last_error: String::new(),
            health,
            last_scrape: jiff::Timestamp::UNIX_EPOCH,
            scrape_interval: String::new(),
            scrape_timeout: String::new(),
            by_up: false,
        }
    }

    #[test]
    fn every_replica_is_scraped_once_and_nothing_else_of_its_job() {
        let replicas = ["a:1".to_owned(), "b:1".to_owned()];
        let said = |targets: &[Target]| not_scraped(&replicas, Some("api"), targets);
        let (a, b) = (target("a:1", Health::Up), target("b:1", Health::Up));
        assert_eq!(said(&[a.clone(), b.clone()]), None);
        assert_eq!(said(std::slice::from_ref(&a)).as_deref(), Some("Prometheus does not scrape b:1"));
        let twice = [a.clone(), b.clone(), b.clone()];
        assert_eq!(said(&twice).as_deref(), Some("Prometheus scrapes b:1 more than once"));
        let stale = [a.clone(), b, target("c:1", Health::Up)];
        assert!(said(&stale).is_some_and(|why| why.contains("c:1")));
        let ill = [a, target("b:1", Health::Unknown)];
        assert_eq!(said(&ill).as_deref(), Some("target api b:1: not scraped yet"));
    }

    fn place() -> ClusterEndpoint {
        ClusterEndpoint {
            namespace: None,
            labels: IndexMap::from([("app".to_owned(), "prometheus".to_owned())]),
            port: 9090,
            enabled: true,
            metrics: None,
        }
    }

    #[tokio::test]
    async fn a_stir_changes_the_secret_that_holds_the_configuration_and_no_other() {
        let stirred = Arc::new(AtomicUsize::new(0));
        let counted = stirred.clone();
        let cluster = standin(move |path| {
            let volumes = json!([{"name": "a", "secret": {"secretName": "web"}}, {"name": "b", "secret": {"secretName": "config"}}]);
            let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [], "volumes": volumes}});
            match path.rsplit('/').next() {
                Some("pods") => {
                    (200, json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod]}))
                }
                Some("config") => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    (200, json!({"metadata": {"name": "config"}, "data": {OF_PROMETHEUS: "eA=="}}))
                }
                Some("web") => (200, json!({"metadata": {"name": "web"}, "data": {}})),
                _ => (200, pod),
            }
        });
        stir(&cluster, &place(), "lab", OF_PROMETHEUS).await.unwrap();
        // It is read once, and written as often as it is stirred.
        assert_eq!(stirred.load(Ordering::SeqCst), 1 + STIRS);
    }

    #[tokio::test]
    async fn a_prometheus_that_is_being_replaced_is_waited_for() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let cluster = standin(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            (200, json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []}))
        });
        let place = place();
        let expected = Expected {
            endpoints: &ClusterEndpoints { prometheus: Some(place), ..ClusterEndpoints::default() },
            namespace: "lab",
            job: None,
            rules: &[],
            objects: &[],
            changed: None,
            bound: Duration::from_secs(1),
        };
        let progress = Progress::new(&Terminal::silent(true));
        let error = settle(&cluster, &expected, &progress, &Interrupt::default()).await.unwrap_err();
        assert!(error.what().contains("after 1 s"), "{error}");
        assert!(
            error.causes().iter().any(|cause| cause.contains("no pod with app=prometheus is ready")),
            "{error}"
        );
        assert!(asked.load(Ordering::SeqCst) > 2, "asked once only");
    }
}
