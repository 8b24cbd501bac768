//! Limits on what the load tool measures, in k6's manner: `p95 < 500ms`, `error rate < 5% for list-users`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::{Operator, from_scalar, quantity};
use super::{Duration, Rate, Ratio};

/// A limit on a figure that the load tool measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// Which figure.
    pub metric: Metric,
    /// How it is compared.
    pub operator: Operator,
    /// With what: milliseconds, a share from 0 to 1, or requests a second.
    pub limit: f64,
    /// Only for the request of this name (`for NAME`).
    pub request: Option<String>,
    /// Only in the phase of this name (`in NAME`).
    pub phase: Option<String>,
}

/// A figure that the load tool measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// A percentile of the time from when a request was due to its complete answer, in milliseconds.
    Percentile(f64),
    /// The mean of the same times.
    Mean,
    /// The longest of the same times.
    Max,
    /// Answers with an unexpected status, and requests without an answer, as a share of all.
    ErrorRate,
    /// Complete answers a second.
    Rate,
}

quantity!(
    Threshold,
    "p95 < 500ms",
    r"^(p[0-9.]+|mean|max|error rate|rate)\s*(<|<=|>|>=|==|!=)\s*\S+(\s+for\s+\S+)?(\s+in\s+\S+)?$"
);

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Threshold, String> {
        let problem = |why: &str| {
            format!(
                "`{text}` is not a threshold: {why}; write for example `p95 < 500ms` or `error rate < 5% for list-users`"
            )
        };
        let at = text.find(['<', '>', '=', '!']).ok_or_else(|| problem("it compares nothing"))?;
        let metric = metric(text[..at].trim()).ok_or_else(|| {
            problem("the figures are p50, p95 and the like, mean, max, error rate and rate")
        })?;
        let (operator, rest) = Operator::split(&text[at..])
            .ok_or_else(|| problem("the comparisons are <, <=, >, >=, == and !="))?;
        let mut words = rest.split_whitespace();
        let value = words.next().ok_or_else(|| problem("it names no limit"))?;
        let limit = match metric {
            Metric::Percentile(_) | Metric::Mean | Metric::Max => {
                value.parse::<Duration>()?.as_secs_f64() * 1000.0
            }
            Metric::ErrorRate => value.parse::<Ratio>()?.get(),
            Metric::Rate => value.parse::<Rate>()?.get(),
        };
        let (mut request, mut phase) = (None, None);
        while let Some(word) = words.next() {
            let name = words.next().map(str::to_owned);
            match (word, name) {
                ("for", Some(name)) if request.is_none() => request = Some(name),
                ("in", Some(name)) if phase.is_none() => phase = Some(name),
                _ => return Err(problem("after the limit comes `for REQUEST` or `in PHASE`")),
            }
        }
        Ok(Threshold { metric, operator, limit, request, phase })
    }
}

fn metric(text: &str) -> Option<Metric> {
    match text {
        "mean" | "avg" => Some(Metric::Mean),
        "max" => Some(Metric::Max),
        "rate" => Some(Metric::Rate),
        _ if text.split_whitespace().eq(["error", "rate"]) => Some(Metric::ErrorRate),
        _ => {
            let percentile: f64 = text.strip_prefix('p')?.parse().ok()?;
            (0.0..=100.0).contains(&percentile).then_some(Metric::Percentile(percentile))
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::Percentile(percentile) => write!(f, "p{percentile}"),
            Metric::Mean => f.write_str("mean"),
            Metric::Max => f.write_str("max"),
            Metric::ErrorRate => f.write_str("error rate"),
            Metric::Rate => f.write_str("rate"),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.metric, self.operator)?;
        match self.metric {
            Metric::Percentile(_) | Metric::Mean | Metric::Max => {
                match std::time::Duration::try_from_secs_f64(self.limit / 1000.0) {
                    Ok(limit) => write!(f, "{}", Duration::from(limit))?,
                    Err(_) => write!(f, "{}ms", self.limit)?,
                }
            }
            Metric::ErrorRate => write!(f, "{}%", (self.limit * 1e10).round() / 1e8)?,
            Metric::Rate => write!(f, "{}/s", self.limit)?,
        }
        if let Some(request) = &self.request {
            write!(f, " for {request}")?;
        }
        if let Some(phase) = &self.phase {
            write!(f, " in {phase}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in [
            "p95 < 500ms",
            "p99.9 <= 2s for list-users",
            "error rate < 5%",
            "rate >= 190/s in steady",
            "max < 1s500ms for echo in spike",
        ] {
            let threshold: Threshold = text.parse().expect(text);
            assert_eq!(threshold.to_string(), text);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("p95", "compares nothing"),
            ("p101 < 1s", "the figures are"),
            ("p95 < 5", "not a duration"),
            ("error rate < 5% of list-users", "after the limit comes"),
        ] {
            let error = text.parse::<Threshold>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
