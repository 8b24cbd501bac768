//! What is pushed while a load runs, in the real Prometheus: it is what `--out` tells.

#[path = "support/lab.rs"]
mod lab;

use lab::{TestLab, prometheus_3};
use serde_json::Value;

const SCENARIO: &str = "
name: calm
stack: probe
load: {arrival-rate: {phases: [{duration: 4s, rate: 25}]}}
requests:
  metrics: {path: /metrics, weight: 3}
  missing: {path: /debug/pprof/nothing, expect: 404}
";

/// The series of a query, each with its samples: milliseconds and values.
fn series(lab: &TestLab, query: &str) -> Vec<(Value, Vec<(i64, f64)>)> {
    let url = format!("http://127.0.0.1:{}/api/v1/query", lab.port("prometheus"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let answer: Value = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.get(url).query(&[("query", query)]).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    });
    let point = |point: &Value| {
        let value = point[1].as_str().and_then(|text| text.parse().ok()).expect("a number");
        ((point[0].as_f64().expect("a time") * 1000.0).round() as i64, value)
    };
    let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}"));
    result
        .iter()
        .map(|series| {
            let points = series["values"].as_array().cloned().unwrap_or(vec![series["value"].clone()]);
            (series["metric"].clone(), points.iter().map(point).collect())
        })
        .collect()
}

fn pushed_is_what_is_told(lab: &TestLab) {
    lab.json(&["up", "probe"]);
    std::fs::write(lab.path().join("calm.yaml"), SCENARIO).expect("written");
    // By itself: the lab's Prometheus takes it.
    let ran = lab.sre(&["load", "./calm.yaml", "--out", "seconds.ndjson"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let text = std::fs::read_to_string(lab.path().join("seconds.ndjson")).expect("written");
    let seconds: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(seconds.len() >= 4, "{text}");

    let requests = series(lab, "sre_load_requests_total{fate=\"answered\"}[5m]");
    let statuses: Vec<(&Value, &Value, f64)> = requests
        .iter()
        .map(|(labels, points)| (&labels["request"], &labels["status"], points.last().expect("a sample").1))
        .collect();
    assert_eq!(
        statuses,
        [(&"metrics".into(), &"200".into(), 75.0), (&"missing".into(), &"404".into(), 25.0)]
    );
    assert!(requests.iter().all(|(labels, points)| labels["scenario"] == "calm" && points[0].1 == 0.0));
    // Second by second, at the very time that the line names.
    let mut sum = 0;
    for second in &seconds {
        sum += second["answered"].as_u64().expect("a count");
        let time: jiff::Timestamp = second["time"].as_str().expect("a time").parse().expect("a time");
        let at = time.as_millisecond();
        let value =
            |points: &[(i64, f64)]| points.iter().find(|(time, _)| *time == at).map(|(_, value)| *value);
        let known: Option<f64> = requests.iter().map(|(_, points)| value(points)).sum();
        assert_eq!(known, Some(sum as f64), "at {time}: {requests:?}");
        let reached = series(lab, "sre_load_reached_rate[5m]");
        assert!(value(&reached[0].1).is_some(), "a rate at {time}: {reached:?}");
    }
    assert_eq!(sum, 100);
    let slowest = series(lab, "sre_load_request_duration_seconds_bucket{le=\"+Inf\"}[5m]");
    assert_eq!(slowest.iter().map(|(_, points)| points.last().expect("a sample").1).sum::<f64>(), 100.0);
    assert!(series(lab, "{__name__=~\"sre_load_.*\"}").is_empty(), "with the load its curves end");

    let off = lab.sre(&["load", "./calm.yaml", "--duration", "1s", "--push", "never"]);
    assert_eq!(off.code, 0, "{}", off.stderr);
    let runs = series(lab, "count by (run) (count_over_time(sre_load_in_flight[5m]))");
    assert_eq!(runs.len(), 1, "nothing of the second run: {runs:?}");
}

#[test]
fn the_distribution_s_prometheus_has_what_the_load_tells() {
    pushed_is_what_is_told(&TestLab::new());
}

#[test]
fn prometheus_3_has_what_the_load_tells() {
    let Some(program) = prometheus_3() else { return };
    pushed_is_what_is_told(&TestLab::with_prometheus(program));
}
