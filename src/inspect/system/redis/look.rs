//! Which Redis instances a namespace has, and what their metrics say of each.

use futures::future::join_all;

use super::judge::{LOOKUPS, Seen, judge};
use super::{Figure, Redis};
use crate::figures::{counted, duration};
use crate::inspect::system::eyes::{Eyes, exactly};
use crate::inspect::system::model::{Missing, Part, Warning};
use crate::inspect::system::scope;
use crate::observe::Labels;

/// The labels that tell one target from another. A target may carry its pod's labels as well, `role` among them, and
/// `redis_instance_info` has a `role` of its own in its place.
const IDENTITY: [&str; 8] = [
    "job",
    "instance",
    "pod",
    "service",
    "namespace",
    "exported_namespace",
    "kubernetes_namespace",
    "k8s_namespace_name",
];

/// How often a metric must have moved for its window to be long enough.
const COMMANDS: f64 = 400.0;
/// Rejections are rare: one is enough to be shown, and until then all the data there is.
const REJECTIONS: f64 = 1.0;
const CHANGES: f64 = 10.0;

/// The Redis instances of a namespace.
pub async fn look(eyes: &Eyes, namespace: &str) -> Result<Vec<Redis>, Missing> {
    let mut all: Vec<Labels> = eyes.vector("redis_up").await?.into_iter().map(|(labels, _)| labels).collect();
    // A Redis that hangs has its exporter wait, and the scrape gives up: then there is no `redis_up`.
    let silent = eyes.silent("redis_up").await?;
    all.extend(silent.iter().map(|(labels, _)| labels.clone()));
    if all.is_empty()
        && let Some(since) = eyes.targets("redis_up").await?.since
    {
        return Err(Missing::new(
            format!("redis_up was last told {} ago, and its target is gone", duration(since)),
            "are its pods there? --parts pods",
        ));
    }
    let mut here = instances(&all, namespace)?;
    here.sort_by_key(|labels| name(labels));
    let each =
        here.into_iter().map(async |target| match silent.iter().find(|(labels, _)| labels == target) {
            Some((_, up)) => Ok(unseen(name(target), *up, eyes.newest(target).await?)),
            None => instance(eyes, target).await,
        });
    let mut found: Vec<Redis> = join_all(each).await.into_iter().collect::<Result<_, _>>()?;
    let followers = found.iter().filter(|redis| redis.role.as_deref() == Some("slave")).count();
    for redis in &mut found {
        redis.warnings.extend(unwatched(redis.followers, followers));
    }
    Ok(found)
}

/// An instance that nothing is known of now: `up` is what Prometheus says of its exporter, `since` for how long it has told
/// nothing.
fn unseen(name: String, up: f64, since: Option<f64>) -> Redis {
    let since = since.map_or("a while".to_owned(), duration);
    let (why, means) = if up > 0.0 {
        (
            format!("its exporter is scraped, and has not told redis_up for {since}"),
            "the exporter runs and knows nothing of Redis: its log tells why",
        )
    } else {
        (
            format!("its exporter could not be scraped for {since}"),
            "a Redis that hangs has its exporter wait until the scrape gives up: what needs it fails, unless only the exporter \
             is gone",
        )
    };
    let warning = Warning::new(format!("whether it answers is not known: {why}"), means);
    let status = Figure { name: "status", value: Part::Missing(Missing::because(why)), warns: true };
    Redis { name, role: None, version: None, followers: None, figures: vec![status], warnings: vec![warning] }
}

/// Followers that a master tells of and that are not seen.
fn unwatched(told: Option<f64>, seen: usize) -> Option<Warning> {
    let told = told.filter(|told| *told > seen as f64)?;
    Some(Warning::new(
        format!("it has {}, of which {seen} are seen here", counted(told as u64, "follower")),
        "what reads from the others is watched by nobody: each needs an exporter of its own",
    ))
}

/// Those of a namespace, of all that are scraped: by the label that tells it, or all of those that tell none.
fn instances<'a>(all: &'a [Labels], namespace: &str) -> Result<Vec<&'a Labels>, Missing> {
    if all.is_empty() {
        return Err(Missing::new(
            "Prometheus has no metric redis_up",
            "is redis_exporter scraped? its port is 9121",
        ));
    }
    let of = |labels: &&Labels| scope::namespace(labels).map(|(_, namespace)| namespace.to_owned());
    let here: Vec<&Labels> = all.iter().filter(|labels| of(labels).as_deref() == Some(namespace)).collect();
    let untold: Vec<&Labels> = all.iter().filter(|labels| of(labels).is_none()).collect();
    if !here.is_empty() {
        return Ok(here);
    }
    if !untold.is_empty() {
        return Ok(untold);
    }
    let mut elsewhere: Vec<String> = all.iter().filter_map(|labels| of(&labels)).collect();
    elsewhere.sort();
    elsewhere.dedup();
    Err(Missing::new(
        format!("no Redis of {namespace} is scraped; there are some of {}", elsewhere.join(", ")),
        "is redis_exporter of this namespace scraped? its port is 9121",
    ))
}

/// Its pod, or what Prometheus calls the target. An exporter in a pod of its own is not the Redis that it tells of.
fn name(labels: &Labels) -> String {
    let found = ["pod", "instance"].iter().find_map(|name| labels.get(*name).cloned());
    match found {
        Some(pod) if pod.contains("exporter") => format!("the one behind {pod}"),
        Some(name) => name,
        None => "redis".into(),
    }
}

async fn instance(eyes: &Eyes, up: &Labels) -> Result<Redis, Missing> {
    let interval = eyes.interval(&exactly(up)).await?;
    let mut target = up.clone();
    target.remove("__name__");
    let identity: Labels = target
        .iter()
        .filter(|(label, _)| IDENTITY.contains(&label.as_str()))
        .map(|(label, value)| (label.clone(), value.clone()))
        .collect();
    let only = exactly(&identity);
    let within = only.trim_start_matches('{').trim_end_matches('}');
    let comma = if within.is_empty() { "" } else { "," };
    let all = eyes.vector(&format!("{{__name__=~\"redis_.+\"{comma}{within}}}")).await?;
    let mut seen = Seen::default();
    let mut redis = Redis {
        name: name(up),
        role: None,
        version: None,
        followers: None,
        figures: Vec::new(),
        warnings: Vec::new(),
    };
    for (labels, value) in &all {
        let Some(metric) = labels.get("__name__") else { continue };
        if metric == "redis_instance_info" {
            redis.role = labels.get("role").cloned();
            redis.version = labels.get("redis_version").cloned();
        }
        if *labels == with_name(&target, metric) {
            seen.now.insert(metric.clone(), *value);
        }
    }
    let counter = async |metric: &str, wanted| {
        eyes.counter(&format!("{metric}{only}"), None, interval, wanted).await.ok()
    };
    let gauge = async |metric: &str| eyes.gauge(&format!("{metric}{only}"), interval, CHANGES).await.ok();
    (seen.rejected, seen.commands, seen.clients, seen.fragmentation) = tokio::join!(
        counter("redis_rejected_connections_total", REJECTIONS),
        counter("redis_commands_processed_total", COMMANDS),
        gauge("redis_connected_clients"),
        gauge("redis_mem_fragmentation_ratio"),
    );
    // Over one window, in which both together are enough.
    let lookups = [("hits", "redis_keyspace_hits_total"), ("misses", "redis_keyspace_misses_total")];
    let lookups = lookups.map(|(name, metric)| (name, format!("{metric}{only}"))).to_vec();
    seen.lookups = eyes.counters(lookups, interval, LOOKUPS).await.ok();
    redis.followers = seen.now.get("redis_connected_slaves").copied();
    (redis.figures, redis.warnings) = judge(&seen);
    Ok(redis)
}

fn with_name(target: &Labels, name: &str) -> Labels {
    let mut labels = target.clone();
    labels.insert("__name__".into(), name.to_owned());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hangs_is_told_as_such_and_is_not_whole() {
        let hangs = unseen("redis-leader-1".into(), 0.0, Some(42.0));
        assert!(hangs.warnings[0].what.contains("could not be scraped for 42.0 s"), "{hangs:?}");
        assert!(!hangs.is_whole(), "what is not known is no pass");
        let knows_nothing = unseen("redis-leader-1".into(), 1.0, None);
        assert!(knows_nothing.warnings[0].what.contains("is scraped"), "{knows_nothing:?}");
    }

    #[test]
    fn followers_that_nobody_watches_are_told() {
        assert_eq!(unwatched(Some(2.0), 2), None);
        assert_eq!(unwatched(None, 0), None);
        let told = unwatched(Some(2.0), 0).expect("a warning");
        assert_eq!(told.what, "it has 2 followers, of which 0 are seen here");
    }

    #[test]
    fn an_exporter_is_not_the_redis_that_it_tells_of() {
        let named = |pod: &str| name(&Labels::from([("pod".to_owned(), pod.to_owned())]));
        assert_eq!(named("redis-leader-59fd-a"), "redis-leader-59fd-a");
        assert_eq!(named("redis-exporter-7c-x"), "the one behind redis-exporter-7c-x");
    }

    #[test]
    fn instances_are_the_namespace_s_or_those_that_tell_none() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let ours = labels(&[("namespace", "default"), ("pod", "redis-leader-1")]);
        let theirs = labels(&[("namespace", "shop"), ("pod", "cache-0")]);
        let bare = labels(&[("instance", "10.0.0.1:9121")]);
        assert_eq!(instances(&[ours.clone(), theirs.clone(), bare.clone()], "default"), Ok(vec![&ours]));
        assert_eq!(instances(&[theirs.clone(), bare.clone()], "default"), Ok(vec![&bare]));
        assert!(instances(&[theirs], "default").expect_err("another's").why.contains("shop"));
        assert!(instances(&[], "default").is_err());
    }
}
