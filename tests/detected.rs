//! The check `detected`, from the built binary, on the target `local` with the real Prometheus.

#[path = "support/lab.rs"]
mod lab;

use lab::TestLab;
use serde_json::Value;

/// Two replicas of the demo service.
fn lab() -> TestLab {
    let lab = TestLab::new();
    let command = ["{sre}", "app", "--listen", "{listen}", "--admin", "{admin}"];
    lab.stack("app", &command, "/health/readiness");
    lab
}

fn scenario(lab: &TestLab, seconds: u64, faults: &str, checks: &str) {
    let text = format!(
        "name: broken
stack: app
load: {{arrival-rate: {{phases: [{{rate: 40/s, duration: {seconds}s}}]}}}}
requests: {{list: {{path: /api/users, expect: [200, 500], counted: false}}}}
faults: {faults}
checks: {checks}
"
    );
    std::fs::write(lab.path().join("broken.yaml"), text).expect("written");
}

/// The outcomes of a run by name: verdict, message, and seconds from the fault.
fn outcomes(report: &Value) -> Vec<(String, String, String, Option<f64>)> {
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().expect("checks").iter();
    checks
        .filter(|check| check["kind"] == "detected")
        .map(|check| {
            let seconds = check["evidence"]["after_seconds"].as_f64();
            (text(check, "name"), text(check, "verdict"), text(check, "message"), seconds)
        })
        .collect()
}

#[test]
fn each_fault_is_seen_in_its_own_time_and_what_proves_nothing_is_no_pass() {
    let lab = lab();
    // Two at the same time, on different replicas; and one twice.
    let faults = "[
        {fault: {latency: 800ms}, at: 4s, for: 3s, replicas: [0]},
        {fault: kill, at: 4s, for: 3s, replicas: [1]},
        {fault: kill, at: 14s, for: 3s, replicas: [1]}]";
    let checks = "[
        {detected: {}},
        {detected: {name: always, fault: 1, expr: 'up{job=\"app\"}', is: '>= 0', within: 2s, recovers: 2s}},
        {detected: {name: nowhere, fault: 1, expr: no_such_metric, within: 2s, recovers: 2s}},
        {detected: {name: never, fault: 3, expr: 'count(up{job=\"app\"})', is: '< 2', within: 2s, recovers: 2s}}]";
    scenario(&lab, 24, faults, checks);
    let ran = lab.sre(&["run", "broken.yaml", "--target", "local", "-o", "json"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let found = outcomes(&report);
    let told: Vec<(&str, &str)> = found.iter().map(|(name, verdict, ..)| (&**name, &**verdict)).collect();
    assert_eq!(
        told,
        [
            ("latency 800ms on app-0: detected", "pass"),
            ("latency 800ms on app-0: recovered", "pass"),
            ("kill on app-1 (fault 2): detected", "pass"),
            ("kill on app-1 (fault 2): recovered", "pass"),
            ("kill on app-1 (fault 3): detected", "pass"),
            ("kill on app-1 (fault 3): recovered", "pass"),
            ("always: detected", "fail"),
            ("always: recovered", "fail"),
            ("nowhere: detected", "no-data"),
            ("nowhere: recovered", "no-data"),
            ("never: detected", "fail"),
            ("never: recovered", "no-data"),
        ],
        "{found:?}"
    );
    for (name, _, message, seconds) in &found[..6] {
        let seconds = seconds.unwrap_or_else(|| panic!("{name} has no time"));
        // A scrape a second, and a rate over 15 s.
        assert!((0.0..20.0).contains(&seconds), "{name}: {seconds}");
        assert_eq!(message.split(' ').nth(1), Some(&*format!("{seconds:.1}")), "{name}: {message}");
    }
    assert!(found[6].2.contains("before the injection"), "{found:?}");
    assert!(found[10].2.contains("not within 2.0 s"), "{found:?}");

    // The times stand in every format, and a verdict that is made again is the same.
    let junit = lab.sre(&["report", "--format", "junit"]).stdout;
    assert!(junit.contains(&format!("<system-out>{}</system-out>", found[0].2)), "{junit}");
    let again = lab.sre(&["verify", "-o", "json"]);
    assert_eq!(outcomes(&serde_json::from_str(&again.stdout).expect("JSON")), found, "{}", again.stderr);

    // What nothing shows here is refused before anything is done.
    scenario(&lab, 8, "[{fault: unready, at: 1s, for: 2s}]", "[{detected: {}}]");
    let ran = lab.sre(&["run", "broken.yaml"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("on the target local nothing shows unready"), "{}", ran.stderr);
    assert_eq!(lab.sre(&["down"]).code, 0);
}
