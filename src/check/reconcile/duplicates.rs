//! One target under two jobs must never double a count.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::history::TargetHistory;
use crate::observe::{Labels, Target};

/// How long the lookup of a name may take.
const LOOKUP: Duration = Duration::from_secs(2);

/// Targets without those that are another one over again.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Each target once.
    pub kept: Vec<TargetHistory>,
    /// What was left out, each as a sentence without its full stop.
    pub named: Vec<String>,
    /// Targets of which nobody can tell whether they are one, each as a sentence without its full stop.
    pub doubts: Vec<String>,
}

/// Leaves each target once, and names what was left out.
///
/// Two targets are the same if they answer on the same address, port and path with the same query. Two paths of one
/// address are two targets where one job says so; where two jobs do, and the stack names neither, both may lead to the
/// same counters.
pub fn leave_one(
    histories: Vec<TargetHistory>,
    targets: &[Target],
    job: Option<&str>,
    addresses: &HashMap<String, IpAddr>,
) -> Sorted {
    let mut groups: BTreeMap<String, Vec<TargetHistory>> = BTreeMap::new();
    for (index, history) in histories.into_iter().enumerate() {
        let identity = history.scrape_url.as_deref().and_then(|url| identity(url, addresses));
        groups.entry(identity.unwrap_or_else(|| format!("#{index:08}"))).or_default().push(history);
    }
    let mut sorted = Sorted::default();
    for (place, mut group) in groups {
        group.sort_by_key(|history| (Some(history.job()) != job, history.job().to_owned()));
        let first = group.remove(0);
        let mut others: Vec<String> = group.iter().map(|other| other.job().to_owned()).collect();
        // Jobs that were not asked about scrape it, too: worth knowing, although nothing was doubled.
        others.extend(
            targets
                .iter()
                .filter(|target| target.labels != first.labels && target.job() != first.job())
                .filter(|target| identity(&target.scrape_url, addresses).as_deref() == Some(&place))
                .map(|target| target.job().to_owned()),
        );
        others.sort();
        others.dedup();
        if !others.is_empty() || !group.is_empty() {
            if others.is_empty() {
                others.push(first.job().to_owned());
            }
            sorted.named.push(format!(
                "{} is scraped by job {} and again by job {}",
                first.instance(),
                first.job(),
                others.join(", ")
            ));
        }
        sorted.kept.push(first);
    }
    sorted.kept.sort_by(|a, b| a.labels.cmp(&b.labels));
    if job.is_none() {
        sorted.doubts = doubts(&sorted.kept, addresses);
    }
    sorted.doubts.extend(copies(&sorted.kept, targets));
    sorted
}

/// Two targets that nobody lists, of one job and instance, scraped at the same time and told apart by one label: two
/// servers that write to one store may each have a copy of one target.
fn copies(kept: &[TargetHistory], targets: &[Target]) -> Option<String> {
    let unlisted: Vec<&TargetHistory> = kept
        .iter()
        .filter(|history| !history.series.is_empty() && !history.instance().is_empty())
        .filter(|history| targets.iter().any(|target| target.by_up && target.labels == history.labels))
        .collect();
    let places = |place: usize| unlisted[place + 1..].iter().map(move |other| (place, *other));
    let mut pairs = (0..unlisted.len()).flat_map(places).map(|(place, other)| (unlisted[place], other));
    pairs.find_map(|(one, other)| {
        let label = only_difference(&one.labels, &other.labels)?;
        let same = one.job() == other.job() && one.instance() == other.instance() && overlap(one, other);
        same.then(|| {
            let value = |of: &TargetHistory| of.labels.get(label).cloned().unwrap_or_default();
            format!(
                "{} is there twice, told apart by `{label}` alone (“{}”, “{}”): whether these are two targets, or one that \
                 two servers scrape, is not known; `counter.where: {{{label}: {}}}` takes one of them, and a label \
                 `replica` tells that they are copies",
                one.instance(),
                value(one),
                value(other),
                value(one),
            )
        })
    })
}

/// The label by which alone these differ; `None` where they differ by none or by several.
fn only_difference<'a>(one: &'a Labels, other: &'a Labels) -> Option<&'a str> {
    let differs = |name: &&String| one.get(*name) != other.get(*name);
    let mut names: BTreeSet<&String> = one.keys().filter(differs).collect();
    names.extend(other.keys().filter(differs));
    match names.into_iter().collect::<Vec<_>>().as_slice() {
        [only] => Some(only.as_str()),
        _ => None,
    }
}

/// Whether both were scraped at the same time: one that took the other's place was not.
fn overlap(one: &TargetHistory, other: &TargetHistory) -> bool {
    let ends = |of: &TargetHistory| Some((of.scrapes.first()?.time, of.scrapes.last()?.time));
    ends(one).zip(ends(other)).is_some_and(|(one, other)| one.0 < other.1 && other.0 < one.1)
}

/// Targets of two jobs at one address.
fn doubts(kept: &[TargetHistory], addresses: &HashMap<String, IpAddr>) -> Vec<String> {
    let address = |history: &TargetHistory| authority(history.scrape_url.as_deref()?, addresses);
    let mut doubts = Vec::new();
    for (i, one) in kept.iter().enumerate() {
        let Some(place) = address(one) else { continue };
        let alike =
            |other: &&TargetHistory| other.job() != one.job() && address(other).as_ref() == Some(&place);
        doubts.extend(kept[i + 1..].iter().find(alike).map(|other| {
            format!(
                "{place} is scraped by job {} and, at another path, by job {}: whether both show the same counters is not known; name one of them (`counter.job`)",
                one.job(),
                other.job()
            )
        }));
    }
    doubts
}

/// Address, port, path and query of a scrape URL, the host by its address where that is known.
fn identity(scrape_url: &str, addresses: &HashMap<String, IpAddr>) -> Option<String> {
    let url = url::Url::parse(scrape_url).ok()?;
    let path = url.path().trim_end_matches('/');
    Some(format!("{}{path}?{}", authority(scrape_url, addresses)?, url.query().unwrap_or_default()))
}

/// Address and port of a scrape URL.
fn authority(scrape_url: &str, addresses: &HashMap<String, IpAddr>) -> Option<String> {
    let url = url::Url::parse(scrape_url).ok()?;
    let host = url.host_str()?;
    let host = addresses.get(host).map_or_else(|| host.to_owned(), ToString::to_string);
    Some(format!("{host}:{}", url.port_or_known_default()?))
}

/// The addresses of the hosts in scrape URLs; names that this machine does not know are left out.
pub async fn resolve(targets: &[Target]) -> HashMap<String, IpAddr> {
    let urls = targets.iter().filter_map(|target| url::Url::parse(&target.scrape_url).ok());
    let hosts: BTreeSet<String> = urls.filter_map(|url| url.host_str().map(str::to_owned)).collect();
    // All at once: a name server that does not answer takes its time once, not once a target.
    let lookups = hosts.into_iter().map(async |host| {
        let lookup = tokio::net::lookup_host((host.as_str(), 0));
        let found = tokio::time::timeout(LOOKUP, lookup).await.ok()?.ok()?;
        let address = found.map(|address| address.ip()).min()?;
        Some((host, address))
    });
    futures::future::join_all(lookups).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Health, Sample, Series};

    fn target(job: &str, url: &str) -> Target {
        Target {
            labels: Labels::from([("job".into(), job.into()), ("instance".into(), "i".into())]),
            scrape_url: url.into(),
            last_error: String::new(),
            health: Health::Up,
            last_scrape: jiff::Timestamp::UNIX_EPOCH,
            scrape_interval: "1s".into(),
            scrape_timeout: "1s".into(),
            by_up: false,
        }
    }

    fn history(target: &Target) -> TargetHistory {
        TargetHistory {
            labels: target.labels.clone(),
            scrape_url: Some(target.scrape_url.clone()),
            ..TargetHistory::default()
        }
    }

    #[test]
    fn one_target_under_two_jobs_is_left_once_and_named() {
        let targets =
            [target("a", "http://localhost:80/metrics"), target("b", "http://127.0.0.1:80/metrics?")];
        let addresses = HashMap::from([("localhost".into(), IpAddr::from([127, 0, 0, 1]))]);
        let histories = targets.iter().map(history).collect();
        let Sorted { kept, named, .. } = leave_one(histories, &targets, Some("b"), &addresses);
        assert_eq!(kept.iter().map(TargetHistory::job).collect::<Vec<_>>(), ["b"]);
        assert_eq!(named, ["i is scraped by job b and again by job a"]);
    }

    #[test]
    fn copies_under_a_label_that_nobody_knows_are_doubtful() {
        let doubts = |labels: [&[(&str, &str)]; 2], from: f64, by_up: bool| {
            let seen: Vec<(Target, TargetHistory)> = labels
                .into_iter()
                .enumerate()
                .map(|(i, own)| {
                    let mut target = Target { by_up, ..target("shop", &format!("http://h:80/?{i}")) };
                    let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                    target.labels.extend(own);
                    let samples: Vec<Sample> = (0..10u8)
                        .map(|n| Sample { time: f64::from(n) + if i == 1 { from } else { 0.0 }, value: 1.0 })
                        .collect();
                    let series = vec![Series { labels: target.labels.clone(), samples: samples.clone() }];
                    let history = TargetHistory { scrapes: samples, series, ..history(&target) };
                    (target, history)
                })
                .collect();
            let (targets, histories): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
            leave_one(histories, &targets, Some("shop"), &HashMap::new()).doubts
        };
        let pair: [&[(&str, &str)]; 2] = [&[("cluster", "a")], &[("cluster", "b")]];
        let told = doubts(pair, 0.5, true);
        assert!(told.len() == 1 && told[0].contains("told apart by `cluster` alone"), "{told:?}");
        let one_has_none = [pair[0], &[]];
        assert_eq!(doubts(one_has_none, 0.5, true).len(), 1);
        // A list tells what each is; what took the other's place is no copy; two labels are two targets.
        assert_eq!(doubts(pair, 0.5, false), [""; 0]);
        assert_eq!(doubts(pair, 60.0, true), [""; 0]);
        assert_eq!(doubts([&[("a", "1"), ("b", "1")], &[("a", "2"), ("b", "2")]], 0.5, true), [""; 0]);
    }

    #[test]
    fn a_query_tells_targets_apart() {
        let targets = [target("a", "http://h:80/probe?target=x"), target("a", "http://h:80/probe?target=y")];
        let histories = targets.iter().map(history).collect();
        let sorted = leave_one(histories, &targets, None, &HashMap::new());
        assert_eq!((sorted.kept.len(), sorted.named.len(), sorted.doubts.len()), (2, 0, 0));
    }

    #[test]
    fn a_path_tells_targets_of_one_job_apart_and_is_doubtful_between_two() {
        let sorted = |jobs: [&str; 2], job: Option<&str>| {
            let targets = [target(jobs[0], "http://h:80/pods/a"), target(jobs[1], "http://h:80/pods/b")];
            leave_one(targets.iter().map(history).collect(), &targets, job, &HashMap::new())
        };
        let one_job = sorted(["shop", "shop"], None);
        assert_eq!((one_job.kept.len(), one_job.named.len(), one_job.doubts.len()), (2, 0, 0));
        let two_jobs = sorted(["shop", "again"], None);
        assert!(two_jobs.doubts[0].contains("h:80 is scraped by job"), "{two_jobs:?}");
        assert!(sorted(["shop", "again"], Some("shop")).doubts.is_empty());
    }
}
