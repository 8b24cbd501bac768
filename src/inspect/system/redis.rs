//! Redis instances, by the metrics of redis_exporter: figures, and the limits that they may cross.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde::Serialize;

use super::eyes::{Eyes, exactly};
use super::model::{Missing, Part, Warning};
use super::probe::Moved;
use super::scope;
use super::window::Window;
use crate::figures::{bytes, count, duration, percent, rate};
use crate::observe::Labels;

/// Limits, each with the reason for it where it is told.
const USAGE: f64 = 0.8;
const HIT_RATIO: f64 = 0.8;
const FRAGMENTATION: f64 = 1.5;
/// Below this much data the fragmentation ratio is that of the program, not of the data; Redis' own MEMORY DOCTOR
/// calls such an instance empty.
const NEARLY_EMPTY: f64 = 5_000_000.0;
/// An instance that started less than so many seconds ago has lost what it had, unless it is persisted.
const YOUNG: f64 = 600.0;

/// How often a metric must have moved for its window to be long enough.
const COMMANDS: f64 = 400.0;
const LOOKUPS: f64 = 400.0;
/// Rejections are rare: one is enough to be shown, and until then all the data there is.
const REJECTIONS: f64 = 1.0;
const CHANGES: f64 = 10.0;

/// One Redis instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Redis {
    /// Its pod, or what Prometheus calls the target.
    pub name: String,
    /// `master` or `slave`, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its version, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What was seen, in the order of the screen.
    pub figures: Vec<Figure>,
    /// What to look into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// One figure of an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is: `hit ratio`.
    pub name: &'static str,
    /// The figure.
    #[serde(flatten)]
    pub value: Part<Value>,
    /// Whether a warning tells of it.
    pub warns: bool,
}

/// A figure, for machines and for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Value {
    /// In seconds, bytes, a second, or as a part from 0 to 1; `None` where there is none: idle, or without a limit.
    pub value: Option<f64>,
    /// As it is shown.
    pub text: String,
    /// The window; `None` for what is so now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// The Redis instances of a namespace.
pub async fn look(eyes: &Eyes, namespace: &str) -> Result<Vec<Redis>, Missing> {
    let all: Vec<Labels> = eyes.vector("redis_up").await?.into_iter().map(|(labels, _)| labels).collect();
    let mut here = instances(&all, namespace)?;
    here.sort_by_key(|labels| name(labels));
    join_all(here.into_iter().map(|target| instance(eyes, target))).await.into_iter().collect()
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

fn name(labels: &Labels) -> String {
    ["pod", "instance"].iter().find_map(|name| labels.get(*name).cloned()).unwrap_or_else(|| "redis".into())
}

/// What metrics say of one instance.
#[derive(Debug, Default)]
struct Seen {
    /// Values now, by the metric's name.
    now: BTreeMap<String, f64>,
    rejected: Option<Moved>,
    commands: Option<Moved>,
    /// `hits` and `misses`.
    lookups: Option<Moved>,
    clients: Option<Moved>,
    fragmentation: Option<Moved>,
}

async fn instance(eyes: &Eyes, up: &Labels) -> Result<Redis, Missing> {
    let interval = eyes.interval(&exactly(up)).await?;
    let mut target = up.clone();
    target.remove("__name__");
    let only = exactly(&target);
    let within = only.trim_start_matches('{').trim_end_matches('}');
    let comma = if within.is_empty() { "" } else { "," };
    let all = eyes.vector(&format!("{{__name__=~\"redis_.+\"{comma}{within}}}")).await?;
    let mut seen = Seen::default();
    let mut redis =
        Redis { name: name(up), role: None, version: None, figures: Vec::new(), warnings: Vec::new() };
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
    (redis.figures, redis.warnings) = judge(&seen);
    Ok(redis)
}

fn with_name(target: &Labels, name: &str) -> Labels {
    let mut labels = target.clone();
    labels.insert("__name__".into(), name.to_owned());
    labels
}

impl Redis {
    /// Whether every figure was had.
    pub fn is_whole(&self) -> bool {
        self.figures.iter().all(|figure| figure.value.had().is_some())
    }
}

/// Figures and warnings, by what was seen.
fn judge(seen: &Seen) -> (Vec<Figure>, Vec<Warning>) {
    let mut judged = Judged::default();
    let now = |names: &[&str]| names.iter().find_map(|name| seen.now.get(*name).copied());
    match now(&["redis_up"]) {
        Some(up) if up > 0.0 => judged.fine("status", now_is(up, "up".into())),
        Some(up) => judged.warned(
            "status",
            now_is(up, "down".into()),
            Warning::new(
                "Redis does not answer its exporter",
                "what needs it fails; every figure of it is old or missing",
            ),
        ),
        None => judged.missing("status", "redis_up"),
    }
    if now(&["redis_up"]) == Some(0.0) {
        return (judged.figures, judged.warnings);
    }
    match now(&["redis_uptime_in_seconds"]) {
        Some(uptime) if uptime < YOUNG => judged.warned(
            "uptime",
            now_is(uptime, duration(uptime)),
            Warning::new(
                format!("it started {} ago; the limit is {}", duration(uptime), duration(YOUNG)),
                "it was restarted: what was not persisted is lost, and the hit ratio tells of an empty cache",
            ),
        ),
        Some(uptime) => judged.fine("uptime", now_is(uptime, duration(uptime))),
        None => judged.missing("uptime", "redis_uptime_in_seconds"),
    }
    rejected(&mut judged, seen);
    connections(&mut judged, seen, now(&["redis_config_maxclients", "redis_max_clients"]));
    memory(&mut judged, now(&["redis_memory_used_bytes"]), now(&["redis_memory_max_bytes"]));
    match &seen.commands {
        Some(moved) => {
            let per_second = moved.sum() / f64::from(moved.window.filled_seconds.max(1));
            let text =
                if moved.sum() > 0.0 { format!("{} commands", rate(per_second)) } else { "idle".into() };
            judged.fine("throughput", over(moved, Some(per_second), text));
        }
        None => judged.missing("throughput", "redis_commands_processed_total"),
    }
    hit_ratio(&mut judged, seen);
    fragmentation(&mut judged, seen, now(&["redis_memory_used_bytes"]));
    (judged.figures, judged.warnings)
}

fn rejected(judged: &mut Judged, seen: &Seen) {
    let name = "rejected connections";
    let Some(moved) = &seen.rejected else {
        return judged.missing(name, "redis_rejected_connections_total");
    };
    let per_second = moved.sum() / f64::from(moved.window.filled_seconds.max(1));
    let value = over(moved, Some(per_second), small_rate(per_second));
    if moved.sum() > 0.0 {
        let what = format!("connections were rejected, {}; the limit is none", small_rate(per_second));
        judged.warned(name, value, Warning::new(what, "maxclients was reached: clients were turned away"));
    } else {
        judged.fine(name, value);
    }
}

/// A rate that may be far below one a second.
fn small_rate(per_second: f64) -> String {
    match per_second {
        0.0 => "none".into(),
        r if r < 1.0 / 60.0 => format!("{:.1} an hour", r * 3600.0),
        r if r < 1.0 => format!("{:.1} a minute", r * 60.0),
        r => rate(r),
    }
}

fn connections(judged: &mut Judged, seen: &Seen, most: Option<f64>) {
    let (available, usage) = ("available connections", "connections in use");
    let Some(peak) = &seen.clients else {
        judged.missing(available, "redis_connected_clients");
        return judged.missing(usage, "redis_connected_clients");
    };
    let connected = peak.values.get("max").copied().unwrap_or_default();
    let Some(most) = most.filter(|most| *most > 0.0) else {
        judged.missing(available, "redis_config_maxclients");
        return judged.missing(usage, "redis_config_maxclients");
    };
    let left = (most - connected).max(0.0);
    judged.fine(available, over(peak, Some(left), format!("{} of {}", whole(left), whole(most))));
    let used = connected / most;
    let value = over(peak, Some(used), format!("{} ({})", whole(connected), percent(used)));
    if used > USAGE {
        let what =
            format!("{} of the connections are in use; the limit is {}", percent(used), percent(USAGE));
        judged.warned(usage, value, Warning::new(what, "at maxclients, new clients are turned away"));
    } else {
        judged.fine(usage, value);
    }
}

fn memory(judged: &mut Judged, used: Option<f64>, most: Option<f64>) {
    let name = "memory in use";
    let Some(used) = used else { return judged.missing(name, "redis_memory_used_bytes") };
    // 0 is Redis' word for no limit.
    let Some(most) = most.filter(|most| *most > 0.0) else {
        return judged.fine(name, now_is(used, format!("{}, no maxmemory", bytes(used))));
    };
    let part = used / most;
    let value = now_is(used, format!("{} of {} ({})", bytes(used), bytes(most), percent(part)));
    if part > USAGE {
        let what = format!("{} of maxmemory is in use; the limit is {}", percent(part), percent(USAGE));
        let means = "at maxmemory keys are evicted, or writes fail, as maxmemory-policy says";
        judged.warned(name, value, Warning::new(what, means));
    } else {
        judged.fine(name, value);
    }
}

fn hit_ratio(judged: &mut Judged, seen: &Seen) {
    let name = "hit ratio";
    let of = |name: &str| seen.lookups.as_ref().and_then(|moved| moved.values.get(name).copied());
    let (Some(moved), Some(hits), Some(misses)) = (&seen.lookups, of("hits"), of("misses")) else {
        return judged.missing(name, "redis_keyspace_hits_total or redis_keyspace_misses_total");
    };
    let lookups = hits + misses;
    if lookups <= 0.0 {
        // 0 of 0 is no ratio.
        return judged.fine(name, over(moved, None, "idle".into()));
    }
    let ratio = hits / lookups;
    let value = over(moved, Some(ratio), percent(ratio));
    if ratio < HIT_RATIO && lookups >= LOOKUPS {
        let what =
            format!("{} of the lookups found their key; the limit is {}", percent(ratio), percent(HIT_RATIO));
        let means = "keys are evicted, expire too soon, or are asked for that never were";
        judged.warned(name, value, Warning::new(what, means));
    } else {
        judged.fine(name, value);
    }
}

fn fragmentation(judged: &mut Judged, seen: &Seen, used: Option<f64>) {
    let name = "memory fragmentation";
    let mean = seen.fragmentation.as_ref().and_then(|moved| Some((moved, *moved.values.get("mean")?)));
    let Some((moved, ratio)) = mean else { return judged.missing(name, "redis_mem_fragmentation_ratio") };
    if used.is_some_and(|used| used < NEARLY_EMPTY) {
        let text = format!("{ratio:.2}, of no meaning: nearly empty");
        return judged.fine(name, over(moved, Some(ratio), text));
    }
    let value = over(moved, Some(ratio), format!("{ratio:.2}"));
    if ratio > FRAGMENTATION {
        let what = format!("memory fragmentation is {ratio:.2}; the limit is {FRAGMENTATION}");
        let means = "the process holds that many times what its data needs; `MEMORY PURGE`, activedefrag or a \
                     restart gives it back";
        judged.warned(name, value, Warning::new(what, means));
    } else if ratio < 1.0 && ratio > 0.0 {
        let what = format!("memory fragmentation is {ratio:.2}; the limit is 1");
        judged.warned(
            name,
            value,
            Warning::new(what, "a part of its memory is swapped out: answers are slow"),
        );
    } else {
        judged.fine(name, value);
    }
}

#[derive(Debug, Default)]
struct Judged {
    figures: Vec<Figure>,
    warnings: Vec<Warning>,
}

impl Judged {
    fn fine(&mut self, name: &'static str, value: Value) {
        self.figures.push(Figure { name, value: Part::Had(value), warns: false });
    }

    fn warned(&mut self, name: &'static str, value: Value, warning: Warning) {
        self.figures.push(Figure { name, value: Part::Had(value), warns: true });
        self.warnings.push(warning);
    }

    fn missing(&mut self, name: &'static str, metric: &str) {
        let missing = Missing::because(format!("redis_exporter gives no {metric}"));
        self.figures.push(Figure { name, value: Part::Missing(missing), warns: false });
    }
}

fn now_is(value: f64, text: String) -> Value {
    Value { value: Some(value), text, window: None }
}

fn over(moved: &Moved, value: Option<f64>, text: String) -> Value {
    Value { value, text, window: Some(moved.window) }
}

fn whole(number: f64) -> String {
    count(number.round().max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::system::window::Because;

    fn moved(values: &[(&str, f64)]) -> Option<Moved> {
        Some(Moved {
            window: Window { seconds: 300, because: Because::Enough, filled_seconds: 300 },
            values: values.iter().map(|(name, value)| (name.to_string(), *value)).collect(),
        })
    }

    fn busy() -> Seen {
        Seen {
            now: [
                ("redis_up", 1.0),
                ("redis_uptime_in_seconds", 7_500.0),
                ("redis_config_maxclients", 10_000.0),
                ("redis_memory_used_bytes", 3e8),
                ("redis_memory_max_bytes", 0.0),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
            rejected: moved(&[("", 0.0)]),
            commands: moved(&[("", 6_000.0)]),
            lookups: moved(&[("hits", 950.0), ("misses", 50.0)]),
            clients: moved(&[("max", 40.0), ("mean", 12.0)]),
            fragmentation: moved(&[("mean", 1.1), ("max", 1.2)]),
        }
    }

    fn told(seen: &Seen) -> (String, Vec<String>) {
        let (figures, warnings) = judge(seen);
        let line = |figure: &Figure| {
            let text = match &figure.value {
                Part::Had(value) => value.text.clone(),
                Part::Missing(missing) => format!("? {}", missing.why),
            };
            format!("{}{}: {text}", if figure.warns { "! " } else { "" }, figure.name)
        };
        (
            figures.iter().map(line).collect::<Vec<_>>().join("\n"),
            warnings.into_iter().map(|warning| warning.what).collect(),
        )
    }

    #[test]
    fn what_is_fine_warns_of_nothing() {
        let (figures, warnings) = told(&busy());
        insta::assert_snapshot!(figures, @r"
        status: up
        uptime: 2 h 5 min
        rejected connections: none
        available connections: 9,960 of 10,000
        connections in use: 40 (0.40 %)
        memory in use: 286 MiB, no maxmemory
        throughput: 20.0/s commands
        hit ratio: 95.0 %
        memory fragmentation: 1.10
        ");
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn each_limit_that_is_crossed_is_told() {
        let mut seen = busy();
        seen.now.insert("redis_uptime_in_seconds".into(), 90.0);
        seen.now.insert("redis_memory_max_bytes".into(), 3.2e8);
        seen.rejected = moved(&[("", 5.0)]);
        seen.clients = moved(&[("max", 9_000.0), ("mean", 10.0)]);
        seen.lookups = moved(&[("hits", 300.0), ("misses", 300.0)]);
        seen.fragmentation = moved(&[("mean", 2.31)]);
        let (_, warnings) = told(&seen);
        insta::assert_snapshot!(warnings.join("\n"), @r"
        it started 1 min 30 s ago; the limit is 10 min
        connections were rejected, 1.0 a minute; the limit is none
        90.0 % of the connections are in use; the limit is 80.0 %
        93.8 % of maxmemory is in use; the limit is 80.0 %
        50.0 % of the lookups found their key; the limit is 80.0 %
        memory fragmentation is 2.31; the limit is 1.5
        ");
    }

    #[test]
    fn fragmentation_of_a_nearly_empty_instance_means_nothing() {
        let mut seen = busy();
        seen.fragmentation = moved(&[("mean", 9.4)]);
        seen.now.insert("redis_memory_used_bytes".into(), 900_000.0);
        let (figures, warnings) = told(&seen);
        assert!(figures.contains("memory fragmentation: 9.40, of no meaning: nearly empty"), "{figures}");
        assert_eq!(warnings, Vec::<String>::new());
        seen.fragmentation = moved(&[("mean", 0.6)]);
        seen.now.insert("redis_memory_used_bytes".into(), 3e8);
        assert!(told(&seen).1[0].contains("0.60"));
    }

    #[test]
    fn idle_is_not_0_percent() {
        let mut seen = busy();
        seen.lookups = moved(&[("hits", 0.0), ("misses", 0.0)]);
        seen.commands = moved(&[("", 0.0)]);
        let (figures, warnings) = told(&seen);
        assert!(figures.contains("hit ratio: idle") && figures.contains("throughput: idle"), "{figures}");
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn a_handful_of_misses_warns_of_nothing() {
        let mut seen = busy();
        seen.lookups = moved(&[("hits", 1.0), ("misses", 9.0)]);
        assert_eq!(told(&seen).1, Vec::<String>::new());
    }

    #[test]
    fn a_metric_that_is_not_there_is_told_by_name() {
        let seen = Seen { now: BTreeMap::from([("redis_up".into(), 1.0)]), ..Seen::default() };
        let (figures, warnings) = told(&seen);
        assert_eq!(figures.matches('?').count(), 8, "{figures}");
        assert!(
            figures.contains("hit ratio: ? redis_exporter gives no redis_keyspace_hits_total"),
            "{figures}"
        );
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn of_an_instance_that_is_down_nothing_else_is_told() {
        let mut seen = busy();
        seen.now.insert("redis_up".into(), 0.0);
        let (figures, warnings) = told(&seen);
        assert_eq!(figures, "! status: down");
        assert_eq!(warnings.len(), 1);
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
