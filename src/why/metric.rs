//! Why a series is not stored: target, page, relabelling, store, labels.

use futures::future::join_all;
use serde_json::Value;

use super::Place;
use super::chain::{Walk, reason};
use super::exposition::Exposed;
use super::look::{self, job, some};
use super::name::{Name, is_match};
use super::page::page;
use super::relabel::{Relabelled, relabel, scraped};
use crate::check::Subject;
use crate::check::reconcile::display_labels;
use crate::config::nearest;
use crate::error::Result;
use crate::figures::{ago, counted, plural};
use crate::observe::{Health, Labels, LoadedRule, Prometheus, QueryResult, ScrapedTarget, Series, selected};

/// How far back an ended series is looked for, in seconds.
const LOOK_BACK: f64 = 3600.0;
/// Pages of more targets are not asked for.
const MOST_PAGES: usize = 20;

/// A target and its page.
pub struct Page {
    /// The target.
    pub scraped: ScrapedTarget,
    /// What it exposes, or why it could not be asked.
    pub exposed: Result<Vec<Exposed>>,
}

/// What is known of a metric.
pub struct Facts {
    /// What was asked about.
    pub name: Name,
    /// Its series now, whatever their labels.
    pub series: Vec<Labels>,
    /// Those of the last hour, where there are none now.
    pub ended: Vec<Series>,
    /// The rule that records it, if one does, and whether its expression gives something now.
    pub recorded: Option<(LoadedRule, Result<bool>)>,
    /// The targets that may expose it: of the job or the instance that was named, else all that are active.
    pub targets: Result<Option<Vec<ScrapedTarget>>>,
    /// The job and the instance that were named.
    pub asked: Option<String>,
    /// The pages of those that are up.
    pub pages: Vec<Page>,
    /// The configuration that is loaded.
    pub config: Result<Value>,
    /// Names of metrics that are stored.
    pub names: Vec<String>,
    /// Prometheus' time.
    pub now: f64,
}

/// Walks from the target to the series.
pub async fn walk(place: &Place<'_>, name: &str, walk: &mut Walk) -> Result<()> {
    let name = Name::read(name)?;
    let Some(prometheus) = look::prometheus(place, walk).await? else { return Ok(()) };
    let asked = prometheus.query(&name.selector(), None).await;
    let series = match asked {
        Ok(QueryResult::Vector(series)) => series.into_iter().map(|(labels, _)| labels).collect(),
        Ok(QueryResult::Scalar(_)) => Vec::new(),
        Err(error) => {
            walk.untold("its series are stored", &error);
            return Ok(());
        }
    };
    let facts = look_for(place, &prometheus, name, series).await;
    judge(&facts, walk);
    Ok(())
}

/// Asks for what tells why it is not there.
async fn look_for(place: &Place<'_>, prometheus: &Prometheus, name: Name, series: Vec<Labels>) -> Facts {
    let now = prometheus.time().await.unwrap_or_default();
    let ended = match series.is_empty() {
        true => prometheus.samples(&name.selector(), now - LOOK_BACK, now).await.unwrap_or_default(),
        false => Vec::new(),
    };
    let recorded = recorded(prometheus, &name).await;
    // The counter of a stack is its service's.
    let of_stack = place.stack.filter(|stack| stack.counter.metric == name.name);
    let of_stack = of_stack.and_then(|stack| stack.counter.job.as_deref());
    let job = name.value("job").or(of_stack).map(str::to_owned);
    let instance = name.value("instance").map(str::to_owned);
    let targets = prometheus.discovery().await.map(|discovery| {
        discovery.map(|discovery| {
            let meant = |scraped: &ScrapedTarget| {
                let of_series = series.is_empty() || series.iter().any(|labels| is_of(labels, scraped));
                job.as_deref().is_none_or(|job| job == scraped.target.job())
                    && instance.as_deref().is_none_or(|instance| instance == scraped.target.instance())
                    && (of_series || job.is_some() || instance.is_some())
            };
            discovery.active.into_iter().filter(meant).collect::<Vec<ScrapedTarget>>()
        })
    });
    let mut pages = Vec::new();
    if series.is_empty() && recorded.is_none() {
        let all = targets.iter().flatten().flatten();
        let up: Vec<ScrapedTarget> =
            all.filter(|scraped| scraped.target.health == Health::Up).take(MOST_PAGES).cloned().collect();
        let asked = join_all(up.iter().map(|scraped| page(place, &scraped.target.scrape_url))).await;
        pages = up.into_iter().zip(asked).map(|(scraped, exposed)| Page { scraped, exposed }).collect();
    }
    let names = match series.is_empty() {
        true => prometheus
            .label_values("__name__", "{__name__!=\"\"}", now - 300.0, now)
            .await
            .unwrap_or_default(),
        false => Vec::new(),
    };
    Facts {
        name,
        series,
        ended,
        recorded,
        targets,
        asked: instance.or(job),
        pages,
        config: look::config(prometheus).await,
        names,
        now,
    }
}

fn is_of(labels: &Labels, scraped: &ScrapedTarget) -> bool {
    ["job", "instance"].iter().all(|name| labels.get(*name) == scraped.target.labels.get(*name))
}

async fn recorded(prometheus: &Prometheus, name: &Name) -> Option<(LoadedRule, Result<bool>)> {
    let groups = prometheus.groups().await.ok()?;
    let is_meant = |rule: &LoadedRule| rule.name == name.name && rule.r#type == "recording";
    let rule = groups.into_iter().flat_map(|group| group.rules).find(is_meant)?;
    let gives = prometheus.query(&rule.query, None).await;
    let gives = gives.map(|result| !matches!(result, QueryResult::Vector(series) if series.is_empty()));
    Some((rule, gives))
}

/// The links of a metric. Pure.
pub fn judge(facts: &Facts, walk: &mut Walk) {
    if let Some((rule, gives)) = &facts.recorded {
        recording(rule, gives, walk);
    } else {
        targets(facts, walk);
        if facts.series.is_empty() && !walk.is_over() {
            exposed(facts, walk);
        }
    }
    stored(facts, walk);
    if !facts.series.is_empty() {
        labelled(facts, walk);
    }
}

fn recording(rule: &LoadedRule, gives: &Result<bool>, walk: &mut Walk) {
    const RECORDED: &str = "a rule records it";
    const GIVES: &str = "the rule's expression gives something";
    if rule.health == "err" {
        return walk.broken(
            RECORDED,
            format!("Its rule cannot be evaluated: {}", rule.last_error),
            "Mend its expression.",
        );
    }
    walk.ok(RECORDED, "");
    match gives {
        Ok(true) => walk.ok(GIVES, ""),
        Ok(false) => walk.broken(GIVES, format!("{} gives nothing now.", rule.query), of_parts(&rule.query)),
        Err(error) => walk.untold(GIVES, error),
    }
}

/// Which command tells more of an expression's parts.
pub fn of_parts(expression: &str) -> String {
    match selected(expression).first() {
        Some(first) => {
            format!("Are its series there? `{}`", Subject::Metric(first.selector.clone()).command())
        }
        None => "Ask Prometheus the parts of it.".into(),
    }
}

fn targets(facts: &Facts, walk: &mut Walk) {
    const SCRAPED: &str = "its target is scraped";
    let about = facts.asked.as_deref();
    let targets = match &facts.targets {
        Ok(Some(targets)) => targets,
        // What others write has no target here; its series prove themselves.
        Ok(None) if !facts.series.is_empty() => return,
        Ok(None) => {
            return walk.unknown(SCRAPED, "This product has no list of targets: others write its series.");
        }
        Err(error) => return walk.untold(SCRAPED, error),
    };
    let ill: Vec<&ScrapedTarget> = targets.iter().filter(|one| one.target.health != Health::Up).collect();
    let up = targets.len() - ill.len();
    match (targets.as_slice(), ill.first()) {
        // Recorded elsewhere, or written from elsewhere.
        ([], _) if !facts.series.is_empty() => {}
        ([], _) => walk.broken(
            SCRAPED,
            about.map_or("Prometheus has no target at all.".into(), |name| {
                format!("Prometheus has no target of {name}.")
            }),
            about.map_or("Give it a job: `scrape_configs`.".into(), |name| {
                format!("`{}` names the broken link.", Subject::Target(name.to_owned()).command())
            }),
        ),
        (_, Some(first)) if up == 0 => walk.broken(
            SCRAPED,
            format!(
                "{up} of {} up; {}: {}",
                targets.len(),
                first.target.instance(),
                if first.target.last_error.is_empty() { "not scraped yet" } else { &first.target.last_error }
            ),
            format!(
                "`{}` tells what it means.",
                Subject::Target(first.target.instance().to_owned()).command()
            ),
        ),
        _ => walk.ok(SCRAPED, format!("{up} of {} up", targets.len())),
    }
}

fn exposed(facts: &Facts, walk: &mut Walk) {
    const EXPOSED: &str = "its target exposes it";
    let name = &facts.name.name;
    let of_page = |page: &Page| {
        let samples = page.exposed.as_ref().ok()?;
        let sample = samples.iter().find(|sample| sample.name() == name)?;
        Some((page.scraped.clone(), sample.labels.clone()))
    };
    if let Some((target, labels)) = facts.pages.iter().find_map(of_page) {
        walk.ok(EXPOSED, target.target.instance());
        return kept(facts, &target, &labels, walk);
    }
    let failed = facts.pages.iter().find_map(|page| page.exposed.as_ref().err());
    let read: Vec<&Page> = facts.pages.iter().filter(|page| page.exposed.is_ok()).collect();
    if let Some(error) = failed {
        return walk.unknown(EXPOSED, reason(error));
    }
    let (Some(first), Ok(Some(targets))) = (read.first(), &facts.targets) else { return };
    let up = targets.iter().filter(|scraped| scraped.target.health == Health::Up).count();
    if up > read.len() {
        return walk.unknown(
            EXPOSED,
            format!("{} pages were read, of {up}; name the job: '{name}{{job=\"…\"}}'.", read.len()),
        );
    }
    let exposed: Vec<&str> =
        read.iter().flat_map(|page| page.exposed.iter().flatten()).map(Exposed::name).collect();
    let mut names = exposed.clone();
    names.sort_unstable();
    names.dedup();
    let whose = match read.as_slice() {
        [_] => first.scraped.target.instance().to_owned(),
        pages => plural(pages.len() as u64, "target", "targets"),
    };
    let hint = match similar(name, names.iter().copied().chain(facts.names.iter().map(String::as_str))) {
        Some(other) => format!("Did you mean `{other}`?"),
        None => "In many libraries a metric appears with the first thing that it counts: send a request, and ask again. \
                 Else: is the path of the page right, and does this version of the service have it?"
            .into(),
    };
    walk.broken(
        EXPOSED,
        format!("{whose} exposed {}, none of this name.", counted(names.len() as u64, "metric")),
        hint,
    );
}

/// The link of what is done to samples between page and store.
fn kept(facts: &Facts, target: &ScrapedTarget, exposed: &Labels, walk: &mut Walk) {
    const KEPT: &str = "relabelling keeps it";
    let config = match &facts.config {
        Ok(config) => config,
        Err(error) => return walk.untold(KEPT, error),
    };
    let Some(job) = job(config, &target.scrape_pool) else {
        return walk.unknown(KEPT, format!("The configuration has no job {}.", target.scrape_pool));
    };
    let name = &facts.name.name;
    let labels = scraped(exposed, &target.target.labels, job["honor_labels"] == true);
    let change = format!("Change that rule of the job {}.", target.scrape_pool);
    match relabel(labels, &job["metric_relabel_configs"], "metric_relabel_configs") {
        Relabelled::Dropped(rule) => walk.broken(KEPT, format!("It is dropped by {rule}."), change),
        Relabelled::NotFollowed(rule) => walk.unknown(KEPT, format!("{rule} cannot be followed here.")),
        Relabelled::Kept(labels) => match labels.get("__name__") {
            Some(stored) if stored == name => walk.ok(KEPT, ""),
            Some(other) => walk.broken(
                KEPT,
                format!("metric_relabel_configs of the job {} stores it as {other}.", target.scrape_pool),
                format!("Ask for {other}, or change the rule."),
            ),
            None => walk.broken(KEPT, "metric_relabel_configs takes its name away.", change),
        },
    }
}

fn stored(facts: &Facts, walk: &mut Walk) {
    const STORED: &str = "its series are stored";
    if !facts.series.is_empty() {
        return walk.ok(STORED, format!("{} series", facts.series.len()));
    }
    let last = facts.ended.iter().filter_map(|series| Some((series, series.samples.last()?.time)));
    match last.max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((series, time)) => walk.broken(
            STORED,
            format!(
                "None now; the newest ended {}: {}{}.",
                ago(facts.now - time),
                facts.name.name,
                display_labels(&series.labels, &["__name__"])
            ),
            "Its target is gone, or does not expose it any more.",
        ),
        None => {
            let hint = match similar(&facts.name.name, facts.names.iter().map(String::as_str)) {
                Some(other) => format!("Did you mean `{other}`?"),
                None => "If its target was just started: wait for the next scrape.".into(),
            };
            walk.broken(STORED, "None now, and none in the last hour.", hint);
        }
    }
}

/// The name that was probably meant: what libraries add or leave out comes first.
fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.filter(|known| *known != name).collect();
    let bare = |name: &str| {
        let name = name.strip_suffix("_total").unwrap_or(name);
        ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| name.strip_suffix(*end))
            .unwrap_or(name)
            .replace('.', "_")
    };
    let spelled = known.iter().copied().find(|known| bare(known) == bare(name));
    spelled.or_else(|| nearest(name, known))
}

fn labelled(facts: &Facts, walk: &mut Walk) {
    const LABELLED: &str = "its labels are as asked";
    if facts.name.matchers.is_empty() {
        return;
    }
    let fit = facts.series.iter().filter(|labels| facts.name.fits(labels)).count();
    if fit > 0 {
        return walk.ok(LABELLED, format!("{fit} of {} series", facts.series.len()));
    }
    let never = facts
        .name
        .matchers
        .iter()
        .find(|matcher| !facts.series.iter().any(|labels| is_match(matcher, labels)));
    let (found, hint) = match never {
        Some(matcher) => {
            let mut values: Vec<&str> = facts
                .series
                .iter()
                .filter_map(|labels| labels.get(&matcher.name))
                .map(String::as_str)
                .collect();
            values.sort_unstable();
            values.dedup();
            let is = match values.as_slice() {
                [] => {
                    let mut names: Vec<&str> =
                        facts.series.iter().flat_map(|labels| labels.keys()).map(String::as_str).collect();
                    names.sort_unstable();
                    names.dedup();
                    names.retain(|name| *name != "__name__");
                    format!("no series has that label; they have: {}", some(names))
                }
                values => format!("it is {}", some(values.iter().copied())),
            };
            (
                format!("No series has {matcher}: {is}."),
                "Ask for a value that is there; or nothing of that kind was counted yet.",
            )
        }
        None => ("Each label is there, but no series has all of them.".to_owned(), "Ask for fewer labels."),
    };
    walk.broken(LABELLED, found, hint);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Error;
    use crate::why::chain::State;
    use crate::why::exposition;

    fn target(health: &str) -> ScrapedTarget {
        serde_json::from_value(json!({
            "labels": {"job": "shop", "instance": "a:1"}, "scrapePool": "shop", "scrapeUrl": "http://a:1/metrics",
            "lastError": "connection refused", "health": health, "lastScrape": "1970-01-01T00:16:39Z",
        }))
        .expect("a target")
    }

    fn facts(name: &str, page: &str) -> Facts {
        Facts {
            name: Name::read(name).expect("a name"),
            series: Vec::new(),
            ended: Vec::new(),
            recorded: None,
            targets: Ok(Some(vec![target("up")])),
            asked: None,
            pages: vec![Page { scraped: target("up"), exposed: Ok(exposition::read(page)) }],
            config: Ok(json!({"scrape_configs": [{"job_name": "shop", "metric_relabel_configs": [
                {"action": "drop", "source_labels": ["__name__"], "regex": "secret_.*"},
                {"source_labels": ["__name__"], "regex": "old_(.*)", "target_label": "__name__", "replacement": "new_$1"},
            ]}]})),
            names: vec!["requests_total".into()],
            now: 1000.0,
        }
    }

    fn last(facts: &Facts) -> (String, State, String) {
        let mut walk = Walk::default();
        judge(facts, &mut walk);
        let link = walk.chain("", "").links.pop().expect("a link");
        (link.link, link.state, format!("{} {}", link.found, link.hint.unwrap_or_default()))
    }

    #[test]
    fn the_first_broken_link_of_a_metric_is_named() {
        for (name, page, link, told) in [
            ("requests", "requests_total 1\n", "its target exposes it", "Did you mean `requests_total`?"),
            ("requests_totl", "b 1\n", "its target exposes it", "Did you mean `requests_total`?"),
            (
                "zebra",
                "b 1\n",
                "its target exposes it",
                "a:1 exposed 1 metric, none of this name. In many libraries",
            ),
            (
                "secret_a",
                "secret_a{x=\"1\"} 1\n",
                "relabelling keeps it",
                "metric_relabel_configs[0] (drop where __name__ matches `secret_.*`; it is `secret_a`)",
            ),
            ("old_a", "old_a 1\n", "relabelling keeps it", "stores it as new_a"),
            ("fresh", "fresh 1\n", "its series are stored", "wait for the next scrape"),
        ] {
            let (at, state, text) = last(&facts(name, page));
            assert_eq!((at.as_str(), state), (link, State::Broken), "{name}: {text}");
            assert!(text.contains(told), "{name}: {text}");
        }
    }

    #[test]
    fn a_target_that_is_down_or_not_there_comes_first() {
        let down = Facts { targets: Ok(Some(vec![target("down")])), ..facts("a", "") };
        assert!(last(&down).2.contains("sre why target a:1"));
        let none = Facts { targets: Ok(Some(Vec::new())), asked: Some("shop".into()), ..facts("a", "") };
        assert!(last(&none).2.contains("no target of shop. `sre why target shop`"));
    }

    #[test]
    fn what_cannot_be_asked_is_not_known_and_the_store_is_broken_all_the_same() {
        let page = Page {
            scraped: target("up"),
            exposed: Err(Error::no_data("http://a:1 cannot be asked from here")),
        };
        let facts = Facts { pages: vec![page], ..facts("a", "") };
        let mut walk = Walk::default();
        judge(&facts, &mut walk);
        let chain = walk.chain("", "");
        assert_eq!(chain.unknown.as_deref(), Some("its target exposes it"));
        assert_eq!(chain.broken.as_deref(), Some("its series are stored"));
    }

    #[test]
    fn series_that_are_there_are_held_against_the_labels() {
        let labels = |code: &str, path: &str| {
            let pairs = [
                ("__name__", "requests_total"),
                ("job", "shop"),
                ("instance", "a:1"),
                ("code", code),
                ("path", path),
            ];
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Labels>()
        };
        let with =
            |name: &str| Facts { series: vec![labels("200", "/a"), labels("500", "/b")], ..facts(name, "") };
        assert_eq!(last(&with("requests_total{code=\"500\"}")).1, State::Ok);
        for (name, told) in [
            ("requests_total{code=\"404\"}", "No series has code=\"404\": it is 200, 500."),
            (
                "requests_total{status=\"200\"}",
                "no series has that label; they have: code, instance, job, path",
            ),
            ("requests_total{code=\"500\",path=\"/a\"}", "no series has all of them"),
        ] {
            let (link, state, text) = last(&with(name));
            assert_eq!((link.as_str(), state), ("its labels are as asked", State::Broken), "{text}");
            assert!(text.contains(told), "{text}");
        }
    }

    #[test]
    fn what_a_rule_records_is_looked_for_at_its_rule() {
        let rule = |health: &str| {
            let rule = json!({"name": "job:a", "query": "sum(a)", "type": "recording", "health": health, "lastError": "boom"});
            serde_json::from_value::<LoadedRule>(rule).expect("a rule")
        };
        let with = |health, gives| Facts { recorded: Some((rule(health), gives)), ..facts("job:a", "") };
        assert!(last(&with("err", Ok(false))).2.contains("boom"));
        assert!(last(&with("ok", Ok(false))).2.contains("sre why metric a"));
    }

    #[test]
    fn a_series_that_ended_is_told_with_its_end() {
        let sample = crate::observe::Sample { time: 900.0, value: 1.0 };
        let ended = Series { labels: Labels::from([("job".into(), "shop".into())]), samples: vec![sample] };
        let facts = Facts { ended: vec![ended], pages: Vec::new(), ..facts("gone", "") };
        assert!(last(&facts).2.contains("ended 1 min ago: gone{job=\"shop\"}"), "{}", last(&facts).2);
    }
}
