//! Why a target is not scraped: process or Service, job, discovery, relabelling, scrape, series.

use serde_json::Value;

use super::chain::Walk;
use super::look::{self, job, list, some};
use super::relabel::{Relabelled, relabel};
use super::{Place, kubernetes};
use crate::check::seconds_of;
use crate::config::unknown;
use crate::error::Result;
use crate::figures::{ago, counted, duration};
use crate::observe::{Discovery, DroppedTarget, Health, QueryResult, ScrapedTarget, matcher, selector};
use crate::target::local::process::{self, State};
use crate::target::local::tail::last_lines;

/// A scrape may be late by so many seconds.
const LATE: f64 = 10.0;

/// What of Prometheus' targets is meant.
#[derive(Debug, Clone, Default)]
pub struct Meant {
    /// A job, an instance, or both as `job/instance`.
    pub name: String,
    /// The instance that a replica's name stands for.
    pub instance: Option<String>,
    /// The jobs that an operator makes of the monitors of a Service or of pods.
    pub pools: Vec<String>,
}

impl Meant {
    /// What a name stands for in a lab.
    pub fn of(place: &Place<'_>, name: &str) -> Meant {
        let scraped = place.lab.endpoints.scraped();
        let instance = scraped.into_iter().find(|(replica, _)| replica == name).map(|(_, instance)| instance);
        Meant { name: name.to_owned(), instance, pools: Vec::new() }
    }

    fn is_pool(&self, pool: &str) -> bool {
        self.pools.iter().any(|own| own == pool)
    }

    fn is_active(&self, scraped: &ScrapedTarget) -> bool {
        let (job, instance) = (scraped.target.job(), scraped.target.instance());
        if !self.pools.is_empty() {
            return self.is_pool(&scraped.scrape_pool);
        }
        let both = || self.name.strip_prefix(job).and_then(|rest| rest.strip_prefix('/')) == Some(instance);
        [job, instance, &scraped.scrape_pool].contains(&self.name.as_str())
            || self.instance.as_deref() == Some(instance)
            || both()
    }

    fn is_dropped(&self, dropped: &DroppedTarget) -> bool {
        let label = |name: &str| dropped.discovered_labels.get(name).map_or("", String::as_str);
        let pool = if dropped.scrape_pool.is_empty() { label("job") } else { &dropped.scrape_pool };
        if !self.pools.is_empty() {
            return self.is_pool(pool);
        }
        [pool, label("__address__")].contains(&self.name.as_str())
            || self.instance.as_deref().is_some_and(|instance| instance == label("__address__"))
    }
}

/// What Prometheus tells of its targets.
pub struct Facts {
    /// What is meant.
    pub meant: Meant,
    /// The configuration that is loaded.
    pub config: Result<Value>,
    /// What it discovered.
    pub discovery: Result<Option<Discovery>>,
    /// Its time.
    pub now: f64,
}

/// Walks from the process or the Service to the series `up`.
pub async fn walk(place: &Place<'_>, name: &str, walk: &mut Walk) -> Result<()> {
    let mut meant = Meant::of(place, name);
    processes(place, name, walk);
    if let Some(cluster) = place.cluster {
        meant.pools = kubernetes::walk(place, cluster, name, walk).await;
    }
    if walk.is_over() {
        return Ok(());
    }
    let Some(prometheus) = look::prometheus(place, walk).await? else { return Ok(()) };
    let facts = Facts {
        meant,
        config: look::config(&prometheus).await,
        discovery: prometheus.discovery().await,
        now: prometheus.time().await.unwrap_or_default(),
    };
    let scraped = judge(&facts, walk);
    if walk.is_over() || scraped.is_empty() {
        return Ok(());
    }
    const STORED: &str = "its series `up` is stored";
    let labels = &scraped[0].target;
    let up = selector(
        "up",
        [("job", labels.job()), ("instance", labels.instance())]
            .map(|(name, value)| matcher(name, "=", value)),
    );
    match prometheus.query(&up, None).await {
        Ok(QueryResult::Vector(series)) if series.is_empty() => walk.broken(
            STORED,
            format!("{up} gives nothing."),
            "Is `up` dropped, or are its labels changed on the way to where it is asked?",
        ),
        Ok(_) => walk.ok(STORED, ""),
        Err(error) => walk.untold(STORED, &error),
    }
    Ok(())
}

/// The processes of a local lab behind a name.
fn processes(place: &Place<'_>, name: &str, walk: &mut Walk) {
    let lab = place.lab;
    let of_service = place.stack.and_then(|stack| stack.counter.job.as_deref()) == Some(name);
    let is_meant = |replica: &&crate::target::Replica| {
        of_service || replica.name == name || replica.instance.as_deref() == Some(name)
    };
    let replicas = lab.endpoints.replicas.iter().filter(is_meant).map(|replica| replica.name.as_str());
    let names: Vec<&str> = replicas.chain([name]).collect();
    let meant: Vec<_> =
        lab.processes.iter().filter(|process| names.contains(&process.name.as_str())).collect();
    if meant.is_empty() {
        return;
    }
    const RUNS: &str = "its processes run";
    let ill = meant.iter().map(|process| (process, process::state(process)));
    match ill.into_iter().find(|(_, state)| *state != State::Running) {
        None => walk.ok(RUNS, some(meant.iter().map(|process| process.name.as_str()))),
        Some((process, state)) => {
            let wrote = last_lines(&process.log, 3).join("\n");
            let wrote = if wrote.is_empty() { String::new() } else { format!(" It wrote last:\n{wrote}") };
            walk.broken(
                RUNS,
                format!("{} is {state}.{wrote}", process.name),
                format!("`sre up` brings it back; `sre logs {}` shows more.", process.name),
            );
        }
    }
}

/// The links from the job to the scrape; what is scraped, where they are whole. Pure.
pub fn judge<'a>(facts: &'a Facts, walk: &mut Walk) -> Vec<&'a ScrapedTarget> {
    const CONFIGURED: &str = "Prometheus has a job for it";
    const KEPT: &str = "relabelling keeps it";
    let discovery = match &facts.discovery {
        Ok(Some(discovery)) => discovery,
        Ok(None) => {
            walk.unknown(CONFIGURED, "This product has no list of targets: others write its series.");
            return Vec::new();
        }
        Err(error) => {
            walk.untold(CONFIGURED, error);
            return Vec::new();
        }
    };
    let meant = &facts.meant;
    let active: Vec<&ScrapedTarget> =
        discovery.active.iter().filter(|target| meant.is_active(target)).collect();
    let dropped: Vec<&DroppedTarget> =
        discovery.dropped.iter().filter(|target| meant.is_dropped(target)).collect();
    if active.is_empty() && dropped.is_empty() {
        not_there(facts, discovery, walk);
        return Vec::new();
    }
    let jobs: Vec<&str> = active.iter().map(|target| target.scrape_pool.as_str()).collect();
    let mut known: Vec<&str> = jobs.into_iter().chain(dropped.iter().map(|target| pool_of(target))).collect();
    known.dedup();
    known.retain(|job| !job.is_empty());
    walk.ok(CONFIGURED, some(known));
    walk.ok("it is discovered", counted((active.len() + dropped.len()) as u64, "target"));
    match (active.is_empty(), dropped.first()) {
        (true, Some(first)) => relabelled(facts, first, walk),
        _ if dropped.is_empty() => walk.ok(KEPT, ""),
        _ => walk.ok(KEPT, format!("{} of {}", active.len(), active.len() + dropped.len())),
    }
    if !walk.is_over() {
        scraped(&active, facts.now, walk);
    }
    active
}

fn pool_of(dropped: &DroppedTarget) -> &str {
    match dropped.scrape_pool.as_str() {
        "" => dropped.discovered_labels.get("job").map_or("", String::as_str),
        pool => pool,
    }
}

/// Neither a job nor a target is what was named.
fn not_there(facts: &Facts, discovery: &Discovery, walk: &mut Walk) {
    const CONFIGURED: &str = "Prometheus has a job for it";
    let config = match &facts.config {
        Ok(config) => config,
        Err(error) => return walk.untold(CONFIGURED, error),
    };
    let jobs: Vec<&str> = list(config, "scrape_configs").filter_map(|job| job["job_name"].as_str()).collect();
    let meant = &facts.meant;
    let named: Vec<&str> = meant.pools.iter().map(String::as_str).chain([meant.name.as_str()]).collect();
    let Some(found) = named.iter().find_map(|name| job(config, name)) else {
        if let Some(pool) = meant.pools.first() {
            return walk.broken(
                CONFIGURED,
                format!("The configuration that is loaded has no job {pool}."),
                "The operator writes it, and a reloader has Prometheus read it: a minute may pass. Else the operator's log \
                 tells why it refuses the monitor.",
            );
        }
        let instances = discovery.active.iter().map(|target| target.target.instance());
        let mut known: Vec<&str> = jobs.iter().copied().chain(instances).collect();
        known.sort_unstable();
        known.dedup();
        let address = meant.instance.as_deref().map(|instance| format!(" ({instance})")).unwrap_or_default();
        return walk.broken(
            CONFIGURED,
            format!("No job and no target of its configuration is {}{address}.", meant.name),
            match known.len() {
                0..=20 => unknown(&meant.name, known),
                _ => match crate::config::nearest(&meant.name, known.iter().copied()) {
                    Some(nearest) => format!("Did you mean `{nearest}`?"),
                    None => format!("There are: {}.", some(known)),
                },
            },
        );
    };
    let name = found["job_name"].as_str().unwrap_or_default();
    walk.ok(CONFIGURED, name);
    let keys = found.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let ways: Vec<&str> =
        keys.filter(|key| key.ends_with("_sd_configs") || *key == "static_configs").collect();
    let (what, hint) = match ways.as_slice() {
        [] => (
            format!("The job {name} says nowhere where its targets are."),
            "Name them: `static_configs: [{targets: [HOST:PORT]}]`.",
        ),
        ways => (
            format!("The job {name} has no target, by {}.", ways.join(", ")),
            "Does what it selects (namespaces, roles, files, names) fit what is there, and may Prometheus list it?",
        ),
    };
    walk.broken("it is discovered", what, hint);
}

/// All of them are dropped: by which rule the first one is.
fn relabelled(facts: &Facts, dropped: &DroppedTarget, walk: &mut Walk) {
    const KEPT: &str = "relabelling keeps it";
    let address = dropped.discovered_labels.get("__address__").map_or("", String::as_str);
    let of_job = facts.config.as_ref().ok().and_then(|config| job(config, pool_of(dropped)));
    let by = match of_job
        .map(|job| relabel(dropped.discovered_labels.clone(), &job["relabel_configs"], "relabel_configs"))
    {
        Some(Relabelled::Dropped(rule)) => format!("{address} is dropped by {rule}."),
        Some(Relabelled::NotFollowed(rule)) => format!("{address} is dropped, perhaps by {rule}."),
        Some(Relabelled::Kept(labels)) if labels.get("__address__").is_none_or(String::is_empty) => {
            format!("{address} is dropped: relabelling takes its address away.")
        }
        _ => format!("{address} is dropped; by which rule is not known."),
    };
    walk.broken(
        KEPT,
        by,
        format!(
            "Change that rule of the job {}, or give the target the label that it wants.",
            pool_of(dropped)
        ),
    );
}

/// The link of the scrapes.
fn scraped(active: &[&ScrapedTarget], now: f64, walk: &mut Walk) {
    const SCRAPED: &str = "it is scraped";
    let up = active.iter().filter(|scraped| scraped.target.health == Health::Up).count();
    let of = format!("{up} of {}", active.len());
    let age = |scraped: &ScrapedTarget| now - scraped.target.last_scrape.as_millisecond() as f64 / 1000.0;
    let interval = |scraped: &ScrapedTarget| seconds_of(&scraped.target.scrape_interval).unwrap_or(60.0);
    if let Some(ill) = active.iter().find(|scraped| scraped.target.health != Health::Up) {
        let target = &ill.target;
        let about = format!("{of} up; {} of the job {}", target.instance(), target.job());
        if target.last_error.is_empty() {
            let interval = &target.scrape_interval;
            return walk.broken(
                SCRAPED,
                format!("{about} was not scraped yet."),
                format!(
                    "Wait: its first scrape comes within {}.",
                    if interval.is_empty() { "its interval" } else { interval }
                ),
            );
        }
        return walk.broken(SCRAPED, format!("{about}: {}", target.last_error), meaning(ill));
    }
    let oldest = active.iter().copied().max_by(|a, b| age(a).total_cmp(&age(b)));
    match oldest {
        Some(oldest) if now > 0.0 && age(oldest) > 3.0 * interval(oldest) + LATE => walk.broken(
            SCRAPED,
            format!(
                "{} was scraped last {}, though it is due every {}.",
                oldest.target.instance(),
                ago(age(oldest)),
                duration(interval(oldest))
            ),
            "Does Prometheus get enough processor time? Its own log tells.",
        ),
        Some(oldest) if now > 0.0 => walk.ok(SCRAPED, format!("{of} up, last {}", ago(age(oldest)))),
        _ => walk.ok(SCRAPED, format!("{of} up")),
    }
}

/// What the error of a scrape means, and what mends it.
fn meaning(scraped: &ScrapedTarget) -> String {
    let target = &scraped.target;
    let (error, url) = (target.last_error.to_ascii_lowercase(), target.scrape_url.as_str());
    let has = |text: &str| error.contains(text);
    let status = error.split_once("http status ").map(|(_, rest)| rest.get(..3).unwrap_or_default());
    match status {
        Some("404") => return format!("There is no such page: is `metrics_path` right? {url}"),
        Some("401" | "403") => return "It wants a login: `authorization` or `basic_auth` of the job.".into(),
        Some(code) => return format!("The service itself answers {code} to {url}: its log tells why."),
        None => {}
    }
    if has("connection refused") {
        format!("Nobody listens there: does the service run, and is the port right? {url}")
    } else if has("no such host") || has("server misbehaving") {
        format!("Its name leads nowhere: is it right, and does Prometheus' own resolver know it? {url}")
    } else if has("deadline exceeded") || has("timeout") {
        let allowed = if target.scrape_timeout.is_empty() { "its time-out" } else { &target.scrape_timeout };
        format!(
            "It took longer than {allowed}: the page is slow, or nothing comes back from there. Raise `scrape_timeout`, or mend the service."
        )
    } else if has("content-type") {
        format!(
            "It does not say that its page holds metrics. Is {url} the right path? If so: `fallback_scrape_protocol: PrometheusText0.0.4` in the job."
        )
    } else if has("sample limit") || has("sample_limit") || has("label_limit") || has("label_name_length") {
        "It exposes more than the job allows: raise `sample_limit` (or the limit that is named), or expose less.".into()
    } else if has("body size limit") {
        "Its page is larger than `body_size_limit` of the job: raise it, or expose less.".into()
    } else if has("reset") || has("eof") {
        "It closes the connection: does it crash, or is something between that cuts it?".into()
    } else if has("start token") || has("invalid") || has("unexpected") || has("expected") {
        format!("What it answers is no page of metrics: is {url} the right path? A login page is one, too.")
    } else if has("x509") || has("tls") || has("certificate") {
        "Its certificate is not accepted: `tls_config` of the job.".into()
    } else if has("http response to https") || has("malformed http") {
        "It speaks plain HTTP, or HTTPS where HTTP was tried: `scheme` of the job.".into()
    } else {
        format!("Ask it as Prometheus does: curl -v {url}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::why::chain::State as Link;

    fn facts(name: &str, health: &str, error: &str) -> Facts {
        let discovery = json!({
            "activeTargets": [{
                "discoveredLabels": {"__address__": "a:1", "job": "shop"}, "labels": {"job": "shop", "instance": "a:1"},
                "scrapePool": "shop", "scrapeUrl": "http://a:1/metrics", "lastError": error, "health": health,
                "lastScrape": "1970-01-01T00:16:39Z", "scrapeInterval": "5s", "scrapeTimeout": "1s",
            }],
            "droppedTargets": [{"discoveredLabels": {"__address__": "b:1", "job": "other", "env": "test"}}],
        });
        Facts {
            meant: Meant { name: name.into(), ..Meant::default() },
            config: Ok(json!({"scrape_configs": [
                {"job_name": "shop", "static_configs": []},
                {"job_name": "other", "relabel_configs": [{"action": "keep", "source_labels": ["env"], "regex": "prod"}]},
                {"job_name": "empty", "kubernetes_sd_configs": [{"role": "pod"}]},
            ]})),
            discovery: Ok(Some(serde_json::from_value(discovery).expect("targets"))),
            now: 1000.0,
        }
    }

    /// The last link, and all that is told of it.
    fn last(facts: &Facts) -> (String, Link, String) {
        let mut walk = Walk::default();
        judge(facts, &mut walk);
        let link = walk.chain("", "").links.pop().expect("a link");
        (link.link, link.state, format!("{} {}", link.found, link.hint.unwrap_or_default()))
    }

    #[test]
    fn the_first_broken_link_of_a_target_is_named() {
        for (name, health, error, link, state, told) in [
            ("shop", "up", "", "it is scraped", Link::Ok, "1 of 1 up, last 1 s ago"),
            ("a:1", "up", "", "it is scraped", Link::Ok, "1 of 1"),
            ("shop/a:1", "up", "", "it is scraped", Link::Ok, "1 of 1"),
            ("shopp", "up", "", "Prometheus has a job for it", Link::Broken, "did you mean `shop`?"),
            ("empty", "up", "", "it is discovered", Link::Broken, "by kubernetes_sd_configs"),
            (
                "other",
                "up",
                "",
                "relabelling keeps it",
                Link::Broken,
                "relabel_configs[0] (keep where env matches `prod`; it is `test`)",
            ),
            ("b:1", "up", "", "relabelling keeps it", Link::Broken, "b:1 is dropped"),
            ("shop", "unknown", "", "it is scraped", Link::Broken, "within 5s"),
            (
                "shop",
                "down",
                "Get \"http://a:1\": connect: connection refused",
                "it is scraped",
                Link::Broken,
                "Nobody listens there",
            ),
            (
                "shop",
                "down",
                "server returned HTTP status 404 Not Found",
                "it is scraped",
                Link::Broken,
                "metrics_path",
            ),
            ("shop", "down", "context deadline exceeded", "it is scraped", Link::Broken, "longer than 1s"),
            (
                "shop",
                "down",
                "received unsupported Content-Type \"text/html\"",
                "it is scraped",
                Link::Broken,
                "fallback_scrape_protocol",
            ),
            (
                "shop",
                "down",
                "Get \"http://a:1\": unexpected EOF",
                "it is scraped",
                Link::Broken,
                "It closes the connection",
            ),
            ("shop", "down", "sample limit exceeded", "it is scraped", Link::Broken, "`sample_limit`"),
            ("shop", "down", "body size limit exceeded", "it is scraped", Link::Broken, "`body_size_limit`"),
            (
                "shop",
                "down",
                "expected a valid start token, got \"<\"",
                "it is scraped",
                Link::Broken,
                "no page of metrics",
            ),
        ] {
            let (at, is, text) = last(&facts(name, health, error));
            assert_eq!((at.as_str(), is), (link, state), "{name} {error}: {text}");
            assert!(text.contains(told), "{name} {error}: {text}");
        }
    }

    #[test]
    fn what_is_scraped_no_more_and_what_is_not_told_are_told() {
        let late = Facts { now: 1100.0, ..facts("shop", "up", "") };
        assert_eq!(last(&late).1, Link::Broken);
        let untold = Facts { discovery: Ok(None), ..facts("shop", "up", "") };
        assert_eq!(last(&untold).1, Link::Unknown);
    }
}
