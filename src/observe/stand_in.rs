//! Scrape targets where nobody lists them: Thanos, Mimir, Cortex, managed ones, and whatever is written to from
//! elsewhere keep of a target what it left behind, the series `up`. Pure.

use url::Url;

use super::{Health, Labels, Series, Target};

/// Why a target that is known by its series alone is down.
const NOT_TOLD: &str = "up is 0; this Prometheus does not tell why";

/// The targets behind series of `up`, each with its newest sample.
pub fn targets(up: Vec<Series>) -> Vec<Target> {
    up.into_iter().filter_map(target).collect()
}

fn target(up: Series) -> Option<Target> {
    let newest = *up.samples.last()?;
    let mut labels = up.labels;
    labels.remove("__name__");
    let health = if newest.value > 0.0 { Health::Up } else { Health::Down };
    let interval = interval(&up.samples.iter().map(|sample| sample.time).collect::<Vec<_>>());
    let instance = labels.get("instance").cloned().unwrap_or_default();
    Some(Target {
        scrape_url: address(&instance, &labels),
        labels,
        last_error: if health == Health::Up { String::new() } else { NOT_TOLD.to_owned() },
        health,
        last_scrape: jiff::Timestamp::from_millisecond((newest.time * 1000.0) as i64).ok()?,
        scrape_interval: interval
            .map_or(String::new(), |seconds| format!("{}ms", (seconds * 1000.0).round())),
        scrape_timeout: String::new(),
        by_up: true,
    })
}

/// Labels by which a pair of Prometheus servers tell their copies of one target apart.
const COPIES: [&str; 3] = ["replica", "prometheus_replica", "__replica__"];

/// What stands for the URL that is scraped, which nobody tells: it tells targets apart, and not copies of one.
fn address(instance: &str, labels: &Labels) -> String {
    let Ok(mut url) = Url::parse(&format!("http://{instance}/")) else { return String::new() };
    let own = |name: &str| !["job", "instance"].contains(&name) && !COPIES.contains(&name);
    let others: Vec<_> = labels.iter().filter(|(name, _)| own(name)).collect();
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
    url.into()
}

/// Seconds between scrapes: the middle one of the gaps, so that neither a pause nor a double sample matters.
fn interval(times: &[f64]) -> Option<f64> {
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Sample;

    #[test]
    fn a_target_is_made_of_what_it_left_behind() {
        let series = |values: &[(f64, f64)]| Series {
            labels: Labels::from([
                ("__name__".into(), "up".into()),
                ("job".into(), "shop".into()),
                ("instance".into(), "10.0.0.1:80".into()),
                ("replica".into(), "0".into()),
            ]),
            samples: values.iter().map(|(time, value)| Sample { time: *time, value: *value }).collect(),
        };
        let found = targets(vec![series(&[(1.0, 1.0), (16.0, 1.0), (31.5, 1.0), (90.0, 0.0)])]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].job(), found[0].instance()), ("shop", "10.0.0.1:80"));
        assert_eq!(found[0].labels.get("replica").map(String::as_str), Some("0"));
        assert!(!found[0].labels.contains_key("__name__"));
        assert_eq!((found[0].health, found[0].scrape_interval.as_str()), (Health::Down, "15500ms"));
        assert_eq!(found[0].last_scrape.as_second(), 90);
        assert_eq!(targets(vec![series(&[])]), []);
    }

    #[test]
    fn copies_of_a_target_have_one_address_and_other_targets_their_own() {
        let labels = |more: (&str, &str)| {
            let own = [("job", "shop"), ("instance", "10.0.0.1:80"), more];
            own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Labels>()
        };
        let address = |more| address("10.0.0.1:80", &labels(more));
        assert_eq!(address(("replica", "a")), address(("prometheus_replica", "b")));
        assert_ne!(address(("pod", "a")), address(("pod", "b")));
        assert_eq!(super::address("the shop", &labels(("pod", "a"))), "", "it is no address");
    }
}
