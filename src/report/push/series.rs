//! From the seconds of a load to series. Pure.

use std::collections::BTreeMap;

use crate::load::{CLASSES, Fate, Row, Sample, Second};
use crate::observe::remote_write::{Label, Point, STALE, TimeSeries};

/// The quantiles of each second's times that are pushed.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Names and values of labels, sorted by name.
type Labels = Vec<(&'static str, String)>;

/// The series of one run.
pub(super) struct SeriesOfRun {
    /// `run` and `scenario`.
    common: Labels,
    /// Request names, in the scenario's order.
    requests: Vec<String>,
    /// What only rises, so far.
    counters: BTreeMap<(&'static str, Labels), f64>,
    /// What has a value now.
    gauges: BTreeMap<(&'static str, Labels), f64>,
    /// The end of the last second: the load's seconds, and milliseconds since 1970.
    last: (f64, i64),
    samples: Vec<TimeSeries>,
}

impl SeriesOfRun {
    /// Of a run, by its id.
    pub(super) fn new(run: &str, scenario: &str) -> SeriesOfRun {
        SeriesOfRun {
            common: vec![("run", run.to_owned()), ("scenario", scenario.to_owned())],
            requests: Vec::new(),
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            last: (0.0, i64::MIN),
            samples: Vec::new(),
        }
    }

    /// The names of its requests, in the scenario's order.
    pub(super) fn requests(&mut self, names: &[String]) {
        self.requests = names.to_vec();
    }

    /// The samples of a second that was over at this time, in milliseconds since 1970.
    pub(super) fn second(&mut self, sample: &Sample, time: i64) -> Vec<TimeSeries> {
        let lasted = (sample.second - self.last.0).max(f64::EPSILON);
        // A clock that is set back does not turn samples over: Prometheus takes them in their order only.
        let time = time.max(self.last.1.saturating_add(1));
        // What is seen for the first time was nought before, so that its first step is seen as one, too.
        let before =
            (time - (lasted * 1000.0).round() as i64).max(self.last.1.saturating_add(1)).min(time - 1);
        if let Some(second) = sample.whole.as_deref() {
            for (number, row) in second.requests.iter().enumerate() {
                self.row(number, row, before);
            }
            self.quantiles(second, time);
        }
        self.count("sre_load_errors_total", Vec::new(), sample.errors as f64, before);
        self.gauge("sre_load_reached_rate", Vec::new(), Some(sample.sent as f64 / lasted), time);
        self.gauge("sre_load_asked_rate", Vec::new(), sample.asked_rate, time);
        self.gauge("sre_load_in_flight", Vec::new(), Some(sample.in_flight as f64), time);
        for ((name, labels), value) in &self.counters {
            self.samples.push(series(name, &self.common, labels, *value, time));
        }
        self.last = (sample.second, time);
        std::mem::take(&mut self.samples)
    }

    /// Ends every series.
    pub(super) fn end(&mut self, time: i64) -> Vec<TimeSeries> {
        let time = time.max(self.last.1.saturating_add(1));
        let all = self.counters.keys().chain(self.gauges.keys());
        let ends = all.map(|(name, labels)| series(name, &self.common, labels, STALE, time)).collect();
        self.counters.clear();
        self.gauges.clear();
        ends
    }

    /// The requests of one name.
    fn row(&mut self, number: usize, row: &Row, before: i64) {
        let Some(name) = self.requests.get(number).cloned() else { return };
        for (fate, times) in &row.fates {
            let mut labels = fate_labels(*fate);
            labels.push(("request", name.clone()));
            self.count("sre_load_requests_total", labels, *times as f64, before);
        }
        let answered: u64 = row.classes.iter().sum();
        let known = ("sre_load_request_duration_seconds_count", vec![("request", name.clone())]);
        if answered == 0 && !self.counters.contains_key(&known) {
            return;
        }
        // `1.0`, as OpenMetrics has it and so the demo service.
        let bounds = CLASSES.iter().map(|bound| format!("{:?}", *bound as f64 / 1e6)).chain(["+Inf".into()]);
        let mut sum = 0;
        for (bound, times) in bounds.zip(row.classes) {
            sum += times;
            let labels = vec![("le", bound), ("request", name.clone())];
            self.count("sre_load_request_duration_seconds_bucket", labels, sum as f64, before);
        }
        let labels = || vec![("request", name.clone())];
        self.count("sre_load_request_duration_seconds_count", labels(), answered as f64, before);
        self.count("sre_load_request_duration_seconds_sum", labels(), row.micros as f64 / 1e6, before);
    }

    /// The quantiles of all requests together: exact to three digits, which those of the classes are not.
    fn quantiles(&mut self, second: &Second, time: i64) {
        for quantile in QUANTILES {
            let micros = (!second.since_due.is_empty()).then(|| second.since_due.value_at_quantile(quantile));
            let labels = vec![("quantile", quantile.to_string())];
            self.gauge("sre_load_latency_seconds", labels, micros.map(|micros| micros as f64 / 1e6), time);
        }
    }

    fn count(&mut self, name: &'static str, labels: Labels, more: f64, before: i64) {
        let (common, samples) = (&self.common, &mut self.samples);
        let value = self.counters.entry((name, labels)).or_insert_with_key(|(name, labels)| {
            samples.push(series(name, common, labels, 0.0, before));
            0.0
        });
        *value += more;
    }

    /// A value now; without one, the series ends until there is one again.
    fn gauge(&mut self, name: &'static str, labels: Labels, value: Option<f64>, time: i64) {
        let key = (name, labels);
        if value.is_some() || self.gauges.contains_key(&key) {
            self.samples.push(series(name, &self.common, &key.1, value.unwrap_or(STALE), time));
        }
        match value {
            Some(value) => self.gauges.insert(key, value),
            None => self.gauges.remove(&key),
        };
    }
}

/// How a request ended, as labels: its status, or why it has none.
fn fate_labels(fate: Fate) -> Labels {
    match fate {
        Fate::Answered(status) => vec![("fate", "answered".into()), ("status", status.to_string())],
        Fate::NotSent(why) => vec![("fate", "not-sent".into()), ("reason", word(why))],
        Fate::Unknown(why) => vec![("fate", "unknown".into()), ("reason", word(why))],
    }
}

/// A reason as the run's folder spells it: `connect-timeout`.
fn word(reason: impl serde::Serialize) -> String {
    let word = serde_json::to_value(reason);
    word.ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn series(name: &str, common: &Labels, labels: &Labels, value: f64, timestamp: i64) -> TimeSeries {
    let label = |(name, value): &(&str, String)| Label { name: (*name).to_owned(), value: value.clone() };
    let mut all: Vec<Label> = common.iter().chain(labels).map(label).collect();
    all.push(Label { name: "__name__".into(), value: name.to_owned() });
    all.sort_by(|one, other| one.name.cmp(&other.name));
    TimeSeries { labels: all, samples: vec![Point { value, timestamp }] }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::load::{NotSent, Unknown};

    fn sample(second: f64, sent: u64, fates: &[(Fate, u64)]) -> Sample {
        let mut row = Row { fates: fates.to_vec(), ..Row::default() };
        let mut whole = Second::default();
        for (fate, times) in fates {
            if matches!(fate, Fate::Answered(_)) {
                row.classes[1] += times;
                row.micros += times * 800;
                whole.since_due.record_n(800, *times).expect("it grows");
            }
        }
        whole.requests = vec![Row::default(), row];
        Sample {
            second,
            phase: "steady".into(),
            asked_rate: Some(5.0),
            sent,
            answered: whole.since_due.len(),
            errors: 1,
            in_flight: 2,
            p50: 0.8,
            p99: 0.8,
            whole: Some(Arc::new(whole)),
        }
    }

    /// `name{label="value",…}`, without `run` and `scenario`, and its samples.
    fn told(samples: &[TimeSeries]) -> BTreeMap<String, Vec<(i64, String)>> {
        let mut all: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
        for series in samples {
            assert!(series.labels.is_sorted_by(|one, other| one.name < other.name), "{series:?}");
            let value = |name: &str| {
                series.labels.iter().find(|label| label.name == name).expect("it is there").value.clone()
            };
            assert_eq!((value("run"), value("scenario")), ("a-run".into(), "errors".into()));
            let others: Vec<String> = series
                .labels
                .iter()
                .filter(|label| !["__name__", "run", "scenario"].contains(&label.name.as_str()))
                .map(|label| format!("{}={}", label.name, label.value))
                .collect();
            let known = all.entry(format!("{}{{{}}}", value("__name__"), others.join(","))).or_default();
            for point in &series.samples {
                assert!(known.last().is_none_or(|(time, _)| *time < point.timestamp), "in their order");
                let stale = point.value.to_bits() == STALE.to_bits();
                known.push((point.timestamp, if stale { "end".into() } else { point.value.to_string() }));
            }
        }
        all
    }

    fn run() -> SeriesOfRun {
        let mut series = SeriesOfRun::new("a-run", "errors");
        series.requests(&["list".into(), "echo".into()]);
        series
    }

    #[test]
    fn counters_begin_at_nought_rise_and_end() {
        let mut series = run();
        let mut samples = series.second(&sample(1.0, 4, &[(Fate::Answered(200), 4)]), 11_000);
        let second = [(Fate::Answered(200), 3), (Fate::Unknown(Unknown::Timeout), 1)];
        samples.extend(series.second(&sample(2.0, 4, &second), 12_000));
        samples.extend(series.end(12_300));
        let told = told(&samples);
        let of = |name: &str| {
            let told = told.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", told.keys()));
            told.iter().map(|(time, value)| (*time, value.as_str())).collect::<Vec<_>>()
        };
        assert_eq!(
            of("sre_load_requests_total{fate=answered,request=echo,status=200}"),
            [(10_000, "0"), (11_000, "4"), (12_000, "7"), (12_300, "end")]
        );
        assert_eq!(
            of("sre_load_requests_total{fate=unknown,reason=timeout,request=echo}"),
            [(11_001, "0"), (12_000, "1"), (12_300, "end")],
            "not before the last second's end: its samples are sent already"
        );
        assert_eq!(of("sre_load_errors_total{}")[2], (12_000, "2"));
        assert_eq!(of("sre_load_request_duration_seconds_bucket{le=0.0005,request=echo}")[2], (12_000, "0"));
        for bound in ["0.001", "1.0", "+Inf"] {
            let name = format!("sre_load_request_duration_seconds_bucket{{le={bound},request=echo}}");
            assert_eq!(of(&name)[2], (12_000, "7"));
        }
        assert_eq!(of("sre_load_request_duration_seconds_sum{request=echo}")[1], (11_000, "0.0032"));
        assert_eq!(of("sre_load_latency_seconds{quantile=0.99}")[0], (11_000, "0.0008"));
        assert_eq!(of("sre_load_reached_rate{}")[..2], [(11_000, "4"), (12_000, "4")]);
        assert!(!told.keys().any(|name| name.contains("request=list")), "nothing is known of it");
    }

    #[test]
    fn a_second_without_answers_has_no_latency() {
        let mut series = run();
        let mut samples = series.second(&sample(1.0, 4, &[(Fate::Answered(200), 4)]), 11_000);
        let refused = [(Fate::NotSent(NotSent::ConnectTimeout), 5)];
        samples.extend(series.second(&sample(1.5, 0, &refused), 11_500));
        samples.extend(series.second(&sample(2.5, 0, &refused), 12_500));
        let told = told(&samples);
        assert_eq!(
            told["sre_load_latency_seconds{quantile=0.5}"],
            [(11_000, "0.0008".to_owned()), (11_500, "end".to_owned())]
        );
        assert_eq!(
            told["sre_load_requests_total{fate=not-sent,reason=connect-timeout,request=echo}"].last(),
            Some(&(12_500, "10".to_owned()))
        );
    }

    #[test]
    fn a_clock_that_is_set_back_turns_nothing_over() {
        let mut series = run();
        let mut samples = series.second(&sample(1.0, 4, &[(Fate::Answered(200), 4)]), 11_000);
        samples.extend(series.second(&sample(2.0, 4, &[(Fate::Answered(500), 4)]), 3_000));
        samples.extend(series.end(3_100));
        told(&samples);
    }
}
