//! How a metric moved over each window that could be taken: one query, and what it told.

use std::collections::BTreeMap;

use super::window::{self, Held, LADDER, Window};
use crate::observe::{Labels, QueryResult};

/// The label that tells what a series of a probe's result is.
const WHAT: &str = "sre_what";
/// The label that tells the window, in seconds.
const OVER: &str = "sre_over";
/// The label that tells which of several selectors it is of.
const OF: &str = "sre_of";

/// How often is looked, in each window, whether there was data.
const LOOKS: u32 = 1440;

/// A question about a metric's past.
#[derive(Debug, Clone)]
pub struct Probe {
    selector: String,
    by: By,
    kind: Kind,
    windows: Vec<u32>,
}

/// How a counter's moves are told apart.
#[derive(Debug, Clone)]
enum By {
    Nothing,
    Label(&'static str),
    /// By selectors, each with its name. `increase` drops metrics' names: one selector for several will not do.
    Selectors(Vec<(&'static str, String)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// How a metric moved over a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The window.
    pub window: Window,
    /// By how much a counter rose, by the values of the label that was asked for (one, empty, without such);
    /// for a gauge, its mean and its largest value, by `mean` and `max`.
    pub values: BTreeMap<String, f64>,
}

impl Moved {
    /// By how much a counter rose in all.
    pub fn sum(&self) -> f64 {
        self.values.values().sum()
    }
}

impl Probe {
    /// By how much the counters of a selector rose, together; over the window that was asked for, if one was.
    pub fn counter(selector: impl Into<String>, asked: Option<u32>) -> Probe {
        Probe::new(selector.into(), Kind::Counter, asked)
    }

    /// By how much several counters rose, each told apart by its name, over one window for all of them.
    pub fn counters(selectors: Vec<(&'static str, String)>, asked: Option<u32>) -> Probe {
        let first = selectors.first().map(|(_, selector)| selector.clone()).unwrap_or_default();
        Probe { by: By::Selectors(selectors), ..Probe::new(first, Kind::Counter, asked) }
    }

    /// The mean and the largest value of a gauge.
    pub fn gauge(selector: impl Into<String>, asked: Option<u32>) -> Probe {
        Probe::new(selector.into(), Kind::Gauge, asked)
    }

    fn new(selector: String, kind: Kind, asked: Option<u32>) -> Probe {
        let windows = asked.map_or(LADDER.to_vec(), |seconds| vec![seconds]);
        Probe { selector, by: By::Nothing, kind, windows }
    }

    /// Counts are told apart by this label.
    pub fn by(self, label: &'static str) -> Probe {
        Probe { by: By::Label(label), ..self }
    }

    /// The query: every window at once.
    pub fn query(&self) -> String {
        let selector = &self.selector;
        let mut parts = Vec::new();
        for seconds in &self.windows {
            let range = window::in_promql(*seconds);
            let mut part = |what: &str, expression: String| {
                parts.push(format!(
                    r#"label_replace(label_replace({expression}, "{WHAT}", "{what}", "", ""), "{OVER}", "{seconds}", "", "")"#
                ));
            };
            part("samples", format!("max(count_over_time({selector}[{range}]))"));
            let step = seconds.div_ceil(LOOKS);
            part("present", format!("{step} * count_over_time(group({selector})[{range}:{step}s])"));
            match self.kind {
                Kind::Counter => match &self.by {
                    By::Nothing => part("moves", format!("sum (increase({selector}[{range}]))")),
                    By::Label(label) => {
                        part("moves", format!("sum by ({label}) (increase({selector}[{range}]))"));
                    }
                    By::Selectors(all) => {
                        for (name, selector) in all {
                            let sum = format!("sum (increase({selector}[{range}]))");
                            part("moves", format!(r#"label_replace({sum}, "{OF}", "{name}", "", "")"#));
                        }
                    }
                },
                Kind::Gauge => {
                    part("moves", format!("max(changes({selector}[{range}]))"));
                    part("mean", format!("avg(avg_over_time({selector}[{range}]))"));
                    part("max", format!("max(max_over_time({selector}[{range}]))"));
                }
            }
        }
        parts.join(" or ")
    }

    /// What the answer to [`Probe::query`] tells: the window in which the metric moved `wanted` times, chosen as
    /// [`window::choose`] does, and how the metric moved over it. `None` where there are no samples.
    pub fn read(&self, answer: &QueryResult, interval: f64, wanted: f64) -> Option<Moved> {
        let QueryResult::Vector(series) = answer else { return None };
        let held: Vec<Held> = self.windows.iter().map(|seconds| held(series, *seconds)).collect();
        let (i, window) = match self.windows.len() {
            1 => (0, window::asked(&held[0])?),
            _ => window::choose(&held, interval, wanted)?,
        };
        let over = of_window(series, self.windows[i]);
        let values = over.filter_map(|(what, labels, value)| {
            let name = match self.kind {
                Kind::Counter if what == "moves" => {
                    let label = match self.by {
                        By::Nothing => "",
                        By::Label(label) => label,
                        By::Selectors(_) => OF,
                    };
                    labels.get(label).cloned().unwrap_or_default()
                }
                Kind::Gauge if what == "mean" || what == "max" => what.to_owned(),
                _ => return None,
            };
            value.is_finite().then_some((name, value))
        });
        Some(Moved { window, values: values.collect() })
    }
}

fn held(series: &[(Labels, f64)], seconds: u32) -> Held {
    let mut held = Held { seconds, samples: 0.0, present: 0.0, moves: 0.0 };
    for (what, _, value) in of_window(series, seconds).filter(|(_, _, value)| value.is_finite()) {
        match what {
            "samples" => held.samples = value,
            "present" => held.present = value,
            "moves" => held.moves += value,
            _ => {}
        }
    }
    held
}

fn of_window(series: &[(Labels, f64)], seconds: u32) -> impl Iterator<Item = (&str, &Labels, f64)> {
    let over = seconds.to_string();
    series.iter().filter_map(move |(labels, value)| {
        let what = labels.get(WHAT)?;
        (labels.get(OVER) == Some(&over)).then_some((what.as_str(), labels, *value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::system::window::Because;

    fn answer(rows: &[(&str, u32, &str, f64)]) -> QueryResult {
        let labels = |what: &str, over: u32, status: &str| {
            let mut labels = Labels::from([(WHAT.into(), what.into()), (OVER.into(), over.to_string())]);
            if !status.is_empty() {
                labels.insert("status".into(), status.into());
            }
            labels
        };
        QueryResult::Vector(rows.iter().map(|row| (labels(row.0, row.1, row.2), row.3)).collect())
    }

    #[test]
    fn queries_are_promql() {
        for probe in [
            Probe::counter("requests_total{a=\"b\"}", None).by("status"),
            Probe::counter("requests_total", Some(90)),
            Probe::counters(vec![("hits", "hits_total".into()), ("misses", "misses_total".into())], None),
            Probe::gauge("clients", None),
        ] {
            promql_parser::parser::parse(&probe.query()).unwrap_or_else(|e| panic!("{e}: {}", probe.query()));
        }
        insta::assert_snapshot!(Probe::counter("x", Some(90)).by("status").query(), @r#"label_replace(label_replace(max(count_over_time(x[90s])), "sre_what", "samples", "", ""), "sre_over", "90", "", "") or label_replace(label_replace(1 * count_over_time(group(x)[90s:1s]), "sre_what", "present", "", ""), "sre_over", "90", "", "") or label_replace(label_replace(sum by (status) (increase(x[90s])), "sre_what", "moves", "", ""), "sre_over", "90", "", "")"#);
    }

    #[test]
    fn a_counter_is_told_by_its_labels_over_the_window_that_holds_enough() {
        let probe = Probe::counter("x", None).by("status");
        let moved = probe
            .read(
                &answer(&[
                    ("samples", 60, "", 4.0),
                    ("present", 60, "", 60.0),
                    ("moves", 60, "200", 9.0),
                    // Of two pods, one after another.
                    ("samples", 300, "", 10.0),
                    ("present", 300, "", 290.0),
                    ("moves", 300, "200", 90.0),
                    ("moves", 300, "500", 10.0),
                ]),
                15.0,
                100.0,
            )
            .expect("samples");
        assert_eq!((moved.window.seconds, moved.window.because), (300, Because::Enough));
        assert_eq!(moved.window.filled_seconds, 290);
        assert_eq!(moved.values, BTreeMap::from([("200".into(), 90.0), ("500".into(), 10.0)]));
        assert_eq!(moved.sum(), 100.0);
    }

    #[test]
    fn a_gauge_is_told_by_its_mean_and_its_largest_value() {
        let rows =
            [("samples", 60, "", 4.0), ("moves", 60, "", 3.0), ("mean", 60, "", 1.5), ("max", 60, "", 2.0)];
        let moved = Probe::gauge("x", Some(60)).read(&answer(&rows), 15.0, 1.0).expect("samples");
        assert_eq!(moved.values, BTreeMap::from([("max".into(), 2.0), ("mean".into(), 1.5)]));
        assert_eq!(moved.window.because, Because::Asked);
    }

    #[test]
    fn no_samples_are_no_data() {
        assert_eq!(Probe::counter("x", None).read(&answer(&[]), 15.0, 1.0), None);
        assert_eq!(Probe::counter("x", None).read(&QueryResult::Scalar(1.0), 15.0, 1.0), None);
    }
}
