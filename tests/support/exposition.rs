//! Reads what a service exposes to Prometheus.

use std::collections::BTreeMap;

/// One line of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name, with its suffix.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// One scrape.
#[derive(Debug, Clone)]
pub struct Exposition {
    /// All lines but comments.
    pub samples: Vec<Sample>,
}

impl Exposition {
    /// Reads OpenMetrics text whose label values hold neither quotes nor commas.
    pub fn parse(text: &str) -> Exposition {
        assert!(text.ends_with("# EOF\n"), "the exposition is cut short: {text}");
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        Exposition { samples }
    }

    /// The samples of this name that have all of these labels.
    pub fn of<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        })
    }

    /// The sum of the samples of this name that have all of these labels; 0 without any.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.trim_end_matches('}')),
        None => (series, ""),
    };
    let labels = labels
        .split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').expect("a label has a value");
            (key.to_owned(), value.trim_matches('"').to_owned())
        })
        .collect();
    Sample { name: name.to_owned(), labels, value: value.parse().expect("a sample's value is a number") }
}
