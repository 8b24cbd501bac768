//! The formats for machines, and the contract that scripts rely on.

use serde_json::Value;
use sre::report::junit::junit;
use sre::report::markdown::markdown;

use crate::fixture::*;

/// The keys of the contract, with the types of their values; more keys are welcome.
fn assert_contract(report: &Value) {
    assert_eq!(report["schema"], "sre.run/v1");
    for key in ["run", "scenario", "stack", "target"] {
        assert!(report[key].is_string(), "{key}");
    }
    let verdict = report["verdict"].as_str().expect("a verdict");
    assert!(["pass", "fail", "no-data", "overloaded"].contains(&verdict), "{verdict}");
    for key in ["sent", "counted", "unknown"] {
        let value = report["requests"].get(key).unwrap_or_else(|| panic!("{key} is missing"));
        assert!(value.is_u64() || value.is_null(), "{key}");
    }
    for key in ["p50", "p90", "p99", "max"] {
        let value = report["latency_ms"].get(key).unwrap_or_else(|| panic!("{key} is missing"));
        assert!(value.is_f64() || value.is_null(), "{key}");
    }
    for check in report["checks"].as_array().expect("checks") {
        for key in ["name", "kind", "verdict", "message"] {
            assert!(check[key].is_string(), "{key}");
        }
        assert!(check["seconds"].is_f64());
    }
}

#[test]
fn json_keeps_the_contract_in_every_state() {
    let runs = [
        (pass(), "pass"),
        (fail(), "fail"),
        (Run::errors(), "no-data"),
        (Run::errors().failed("gone", 6), "no-data"),
        (Run::errors().loaded(overloaded_load()).verified([skipped(), counted()], 4), "overloaded"),
    ];
    for (run, verdict) in runs {
        let report = serde_json::to_value(run.report()).expect("JSON");
        assert_contract(&report);
        assert_eq!(report["verdict"], verdict);
    }
}

#[test]
fn json_of_a_pass_and_a_fail() {
    insta::assert_json_snapshot!("json_pass", pass().report());
    insta::assert_json_snapshot!("json_fail", fail().report());
}

#[test]
fn what_is_not_known_is_null_and_not_nought() {
    let report = serde_json::to_value(Run::errors().report()).expect("JSON");
    for key in ["sent", "counted", "unknown"] {
        assert!(report["requests"][key].is_null(), "{key}");
    }
    assert!(report["latency_ms"]["p50"].is_null());
}

#[test]
fn yaml_holds_what_json_holds() {
    let report = fail().report();
    let yaml = sre::terminal::yaml(&report).expect("YAML");
    let read: Value = serde_saphyr::from_str(&yaml).expect("YAML that can be read");
    assert_eq!(read, serde_json::to_value(&report).expect("JSON"));
}

#[test]
fn junit_of_a_fail() {
    insta::assert_snapshot!(junit(&fail().report()).expect("XML"));
}

#[test]
fn junit_is_never_green_where_the_run_did_not_pass() {
    let runs = [
        Run::errors(),
        Run::errors().loaded(load()).verified([counted()], 0).failed("interrupted", 130),
        Run::errors().loaded(overloaded_load()).verified([counted()], 0),
        Run::errors().loaded(load()).verified([], 0),
        Run::errors().loaded(overloaded_load()).judged([skipped(), counted()], 4).failed("interrupted", 130),
    ];
    for run in runs {
        let xml = junit(&run.report()).expect("XML");
        assert!(xml.contains("<error"), "{xml}");
    }
    let xml = junit(&pass().report()).expect("XML");
    assert!(xml.contains(r#"tests="3" skipped="0" failures="0" errors="0""#), "{xml}");
}

#[test]
fn junit_of_an_overloaded_and_of_an_interrupted_run() {
    let overloaded = Run::errors().loaded(overloaded_load()).verified([skipped(), counted()], 4);
    insta::assert_snapshot!("junit_overloaded", junit(&overloaded.report()).expect("XML"));
    let interrupted = Run::errors().load_started().failed("interrupted (Ctrl-C), after cleaning up", 130);
    insta::assert_snapshot!("junit_interrupted", junit(&interrupted.report()).expect("XML"));
}

#[test]
fn markdown_of_a_pass_and_a_fail() {
    insta::assert_snapshot!("markdown_pass", markdown(&pass().report()));
    insta::assert_snapshot!("markdown_fail", markdown(&fail().report()));
}

#[test]
fn markdown_cells_cannot_be_broken_out_of() {
    let mut outcome = short_count();
    outcome.name = "a|b\n<script>".into();
    outcome.notes = vec!["```\n# heading".into()];
    let text = markdown(&Run::errors().verified([outcome], 1).report());
    assert!(text.contains(r"a\|b\\n&lt;script>"), "{text}");
    assert!(text.contains("````text"), "{text}");
}
