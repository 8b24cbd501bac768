//! The limits that a Redis instance may cross: figures and warnings, from what its metrics say. Pure.

use std::collections::BTreeMap;

use super::{Figure, Value};
use crate::figures::{bytes, count, duration, percent, rate};
use crate::inspect::system::model::{Missing, Part, Warning};
use crate::inspect::system::probe::Moved;

/// Limits, each with the reason for it where it is told.
const USAGE: f64 = 0.8;
const HIT_RATIO: f64 = 0.8;
const FRAGMENTATION: f64 = 1.5;
/// Below this much data the fragmentation ratio is that of the program, not of the data; Redis' own MEMORY DOCTOR
/// calls such an instance empty.
const NEARLY_EMPTY: f64 = 5_000_000.0;
/// An instance that started less than so many seconds ago has lost what it had, unless it is persisted.
const YOUNG: f64 = 600.0;
/// Below so many lookups the hit ratio is that of a few keys.
pub(super) const LOOKUPS: f64 = 400.0;

/// What metrics say of one instance.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Values now, by the metric's name.
    pub now: BTreeMap<String, f64>,
    pub rejected: Option<Moved>,
    pub commands: Option<Moved>,
    /// `hits` and `misses`.
    pub lookups: Option<Moved>,
    pub clients: Option<Moved>,
    pub fragmentation: Option<Moved>,
}

/// Figures and warnings, by what was seen.
pub(super) fn judge(seen: &Seen) -> (Vec<Figure>, Vec<Warning>) {
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
    use crate::inspect::system::window::{Because, Window};

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
}
