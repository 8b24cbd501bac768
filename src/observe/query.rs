//! What a query's answer holds, as verdicts may rest on it: each series once, its samples in the order of their times, each
//! time once, each value a number that can be. Pure.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::Error as _;

use super::Labels;
use crate::error::{Error, Result};

/// Every whole number up to here has a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value, and when it was sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds since 1970, on Prometheus' clock.
    pub time: f64,
    /// The value.
    pub value: f64,
}

/// A series with its samples, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// The result of an instant query.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryResult {
    /// Series, each with one sample.
    Vector(Vec<(Labels, f64)>),
    /// A number without series.
    Scalar(f64),
}

/// What was asked, and whom.
pub(super) struct Asked<'a> {
    pub whom: String,
    pub expression: &'a str,
}

impl Asked<'_> {
    fn senseless(&self, why: impl Into<String>) -> Error {
        Error::no_data(format!("{} gave an answer that makes no sense", self.whom))
            .because_of(why)
            .because_of(format!("asked for `{}`", self.expression))
    }

    /// No series is there twice: nobody knows which of the two is meant.
    fn once_each<'l>(&self, all: impl Iterator<Item = &'l Labels>) -> Result<()> {
        let mut known = HashSet::new();
        for labels in all {
            if !known.insert(labels) {
                return Err(self.senseless(format!("it has this series twice: {labels:?}")));
            }
        }
        Ok(())
    }

    /// The samples of a series in the order of their times, each time once.
    fn ordered(&self, series: MatrixSeries, window: &RangeInclusive<f64>) -> Result<Series> {
        let mut samples: Vec<Sample> = series
            .values
            .iter()
            .map(|point| Sample { time: point.time, value: point.value })
            .filter(|sample| window.contains(&sample.time))
            .collect();
        samples.sort_by(|a, b| a.time.total_cmp(&b.time));
        samples.dedup_by(|a, b| a.time == b.time && a.value.to_bits() == b.value.to_bits());
        match samples.windows(2).find(|pair| pair[0].time == pair[1].time) {
            None => Ok(Series { labels: series.metric, samples }),
            Some(pair) => {
                let (labels, one, other) = (&series.metric, pair[0].value, pair[1].value);
                Err(self.senseless(format!("{labels:?} is {one} and {other} at the same time")))
            }
        }
    }
}

/// The result of an instant query.
pub(super) fn instant(data: Data, asked: &Asked<'_>) -> Result<QueryResult> {
    match data {
        Data::Vector(series) => {
            asked.once_each(series.iter().map(|series| &series.metric))?;
            Ok(QueryResult::Vector(series.into_iter().map(|s| (s.metric, s.value.value)).collect()))
        }
        Data::Scalar(point) => Ok(QueryResult::Scalar(point.value)),
        Data::Matrix(_) | Data::String(_) => {
            Err(Error::no_data(format!("`{}` gives neither series nor a number", asked.expression)))
        }
    }
}

/// The samples of a range within a window.
pub(super) fn range(data: Data, window: RangeInclusive<f64>, asked: &Asked<'_>) -> Result<Vec<Series>> {
    let Data::Matrix(series) = data else {
        return Err(Error::no_data(format!("`{}` selects no series", asked.expression)));
    };
    asked.once_each(series.iter().map(|series| &series.metric))?;
    let all = series.into_iter().map(|series| asked.ordered(series, &window));
    let all = all.collect::<Result<Vec<Series>>>()?;
    Ok(all.into_iter().filter(|series| !series.samples.is_empty()).collect())
}

/// Samples as they were scraped: without stale markers, and each a number that a count can be.
pub(super) fn raw(mut all: Vec<Series>, asked: &Asked<'_>) -> Result<Vec<Series>> {
    for series in &mut all {
        series.samples.retain(|sample| !sample.value.is_nan());
        if let Some(sample) = series.samples.iter().find(|sample| sample.value.abs() > EXACT) {
            let (labels, value) = (&series.labels, sample.value);
            return Err(asked.senseless(format!("{labels:?} has the value {value}, which no count can be")));
        }
    }
    all.retain(|series| !series.samples.is_empty());
    Ok(all)
}

/// The data of a query's answer.
#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Data {
    Vector(Vec<VectorSeries>),
    Matrix(Vec<MatrixSeries>),
    Scalar(Point),
    // Its content is of no use to a verdict; a text never compares.
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
pub(super) struct VectorSeries {
    metric: Labels,
    value: Point,
}

#[derive(Deserialize)]
pub(super) struct MatrixSeries {
    metric: Labels,
    #[serde(default)]
    values: Vec<Point>,
}

/// A value at a time, in seconds.
pub(super) struct Point {
    time: f64,
    value: f64,
}

impl<'de> Deserialize<'de> for Point {
    /// Prometheus writes `NaN`, `+Inf` and `-Inf` as Rust reads them.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Point, D::Error> {
        let (time, value) = <(f64, std::borrow::Cow<'de, str>)>::deserialize(deserializer)?;
        let value =
            value.parse().map_err(|_| D::Error::custom(format!("`{value}` is not the value of a sample")))?;
        Ok(Point { time, value })
    }
}

/// The raw samples in an answer.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_matrix(body: &[u8], window: RangeInclusive<f64>) -> Result<Vec<Series>> {
    let asked = Asked { whom: "Prometheus".into(), expression: "x" };
    let told = super::answer::read_told::<Data>("Prometheus", body)?;
    let data = told.data.ok_or_else(|| Error::no_data("no data"))?;
    raw(range(data, window, &asked)?, &asked)
}

/// The values in an answer.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_instant(body: &[u8]) -> Result<QueryResult> {
    let asked = Asked { whom: "Prometheus".into(), expression: "x" };
    let told = super::answer::read_told::<Data>("Prometheus", body)?;
    instant(told.data.ok_or_else(|| Error::no_data("no data"))?, &asked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_body(body: &[u8]) -> Result<Vec<Series>> {
        read_matrix(body, 0.0..=100.0)
    }

    /// An answer as Prometheus gives it.
    const RECORDED: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"requests_total","code":"200","instance":"10.0.0.1:80"},"values":[[10.5,"3"],[11.5,"4"],[12.5,"9"]]},{"metric":{"__name__":"requests_total","code":"500","instance":"10.0.0.1:80"},"values":[[10.5,"0"],[11.5,"0"],[12.5,"1"]]}]}}"#;

    /// What may stand in an answer that is not as it should be.
    const PIECES: [&str; 14] = [
        "NaN",
        "+Inf",
        "1e309",
        "-0",
        "null",
        "[",
        "]",
        "{}",
        "\"",
        ",",
        "253402300799",
        "-62135596800",
        "[12.5,\"8\"],",
        "\"warnings\":[\"w\"],",
    ];

    proptest! {
        /// `PROPTEST_CASES` asks for more.
        #[test]
        fn whatever_comes_is_refused_or_makes_sense(
            edits in prop::collection::vec((0.0..1.0f64, 0usize..20, 0usize..=PIECES.len()), 1..6),
        ) {
            let mut body = RECORDED.as_bytes().to_vec();
            for (place, taken, piece) in edits {
                let from = (place * body.len() as f64) as usize;
                let to = (from + taken).min(body.len());
                body.splice(from..to, PIECES.get(piece).unwrap_or(&"").bytes());
            }
            if let Ok(all) = read_body(&body) {
                let labels: HashSet<&Labels> = all.iter().map(|series| &series.labels).collect();
                prop_assert_eq!(labels.len(), all.len());
                for series in &all {
                    prop_assert!(!series.samples.is_empty());
                    prop_assert!(series.samples.windows(2).all(|pair| pair[0].time < pair[1].time));
                    let sound = |s: &Sample| (0.0..=100.0).contains(&s.time) && s.value.abs() <= EXACT;
                    prop_assert!(series.samples.iter().all(sound));
                }
            }
        }
    }

    fn read(result: &str) -> Result<Vec<Series>> {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":{result}}}}}"#);
        read_body(body.as_bytes())
    }

    fn times(result: &str) -> Vec<f64> {
        let series = read(result).expect(result);
        series.iter().flat_map(|series| &series.samples).map(|sample| sample.time).collect()
    }

    fn refused(result: &str) -> String {
        read(result).expect_err(result).to_string()
    }

    #[test]
    fn samples_are_in_order_and_those_that_are_none_are_left_out() {
        assert_eq!(
            times(r#"[{"metric":{"a":"b"},"values":[[3,"3"],[1,"1"],[2,"NaN"],[1,"1"]]}]"#),
            [1.0, 3.0]
        );
        assert_eq!(times(r#"[{"metric":{"a":"b"},"values":[[-5,"3"],[1,"1"],[9999999999999,"4"]]}]"#), [1.0]);
        assert_eq!(read(r#"[{"metric":{"a":"b"},"values":[[1,"NaN"]]}]"#).expect("none"), []);
    }

    #[test]
    fn what_makes_no_sense_is_no_data() {
        let one = r#"{"metric":{"a":"b"},"values":[[1,"1"]]}"#;
        assert!(refused(&format!("[{one},{one}]")).contains("twice"));
        assert!(
            refused(r#"[{"metric":{},"values":[[1,"1"],[1,"2"]]}]"#).contains("1 and 2 at the same time")
        );
        for value in ["+Inf", "-Inf", "1e309", "9007199254740994"] {
            let text = refused(&format!(r#"[{{"metric":{{}},"values":[[1,"{value}"]]}}]"#));
            assert!(text.contains("no count can be"), "{text}");
        }
        assert!(refused(r#"[{"metric":{},"values":[[1,"many"]]}]"#).contains("`many`"));
        assert!(refused(r#"[{"metric":{},"values":[[1]]}]"#).contains("not understood"));
    }
}
