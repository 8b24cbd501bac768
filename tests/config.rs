//! Scenario and stack files, as they come with `sre` and as people get them wrong.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use sre::catalog::{Catalog, parse_scenario, shipped_files};
use sre::config::{Document, Refusal};
use sre::scenario::Scenario;
use sre::stack::Stack;

/// A folder to work in, with files written to it.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Lab {
        Lab(tempfile::tempdir().expect("a folder"))
    }

    fn file(self, path: &str, text: &str) -> Lab {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    /// Runs `sre` here: its exit code, stdout and stderr.
    fn sre(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::cargo_bin("sre")
            .expect("the program")
            .args(arguments)
            .env_remove("SRE_TARGET")
            .env_remove("SRE_YES")
            .current_dir(self.0.path())
            .output()
            .expect("a run");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
    }

    /// What `sre validate` shows of a file, with its exit code.
    fn screen(&self, file: &str) -> String {
        let (code, stdout, stderr) = self.sre(&["validate", file]);
        format!("{stdout}{stderr}exit {code}\n")
    }
}

const SOUND: &str = "\
name: mine
load:
  arrival-rate:
    phases:
      - {rate: 10/s, duration: 20s}
requests:
  list:
    path: /api/users
";

/// The screen of a scenario that is `SOUND` but for one change.
fn changed(from: &str, to: &str) -> String {
    assert!(SOUND.contains(from), "{from}");
    Lab::new().file("scenarios/mine.yaml", &SOUND.replace(from, to)).screen("scenarios/mine.yaml")
}

/// The screen of a scenario that is `SOUND` with more keys at its end.
fn with(more: &str) -> String {
    Lab::new().file("scenarios/mine.yaml", &format!("{SOUND}{more}")).screen("scenarios/mine.yaml")
}

#[test]
fn a_sound_file_is_one_line() {
    assert_eq!(with(""), "✔ scenarios/mine.yaml  scenario mine\nexit 0\n");
}

#[test]
fn what_is_no_scenario_at_all() {
    let screens = [
        ("empty", ""),
        ("comments", "# nothing yet\n"),
        ("a list", "- name: mine\n"),
        ("a tab", "name: mine\nload:\n\tusers: 3\n"),
        ("unclosed", "name: [mine\n"),
        ("two documents", "name: mine\n---\nname: other\n"),
        ("no YAML", "just words\nand more: words: here\n"),
    ]
    .map(|(name, text)| format!("## {name}\n{}", Lab::new().file("mine.yaml", text).screen("mine.yaml")));
    insta::assert_snapshot!(screens.join("\n"));
}

#[test]
fn line_ends_and_a_byte_order_mark_of_windows_do_no_harm() {
    let text = format!("\u{feff}{SOUND}").replace('\n', "\r\n");
    assert_eq!(
        Lab::new().file("mine.yaml", &text).screen("mine.yaml"),
        "✔ mine.yaml  scenario mine\nexit 0\n"
    );
    let screen = Lab::new().file("mine.yaml", &text.replace("path:", "pth:")).screen("mine.yaml");
    assert!(screen.contains("mine.yaml:8:5"), "{screen}");
}

#[test]
fn bombs_are_refused() {
    let nested = format!("name: {}\n", "[".repeat(100_000));
    let anchors = (1..30).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1)).collect::<String>();
    for text in
        [nested, format!("a0: &a0 lol\n{anchors}"), "? {a: [b, c]}\n: d\n".into(), "name: &a [*a]\n".into()]
    {
        let screen = Lab::new().file("mine.yaml", &text).screen("mine.yaml");
        assert!(
            screen.starts_with('✘') && screen.ends_with("exit 2\n"),
            "{}",
            &screen[..screen.len().min(500)]
        );
    }
}

proptest::proptest! {
    /// Whatever is done to a file, it is read or refused, with every problem within the file.
    #[test]
    fn no_file_is_too_strange(at in 0..1000_usize, cut in 0..40_usize, put in "[\\[\\]{}:\"'|>&*!%#\\-? \n\ta-zé0-9${}]{0,8}") {
        let sound = shipped("scenarios/errors.yaml");
        let mut text: Vec<char> = sound.chars().collect();
        let from = at.min(text.len());
        let to = (from + cut).min(text.len());
        text.splice(from..to, put.chars());
        let text: String = text.into_iter().collect();
        let lines = text.lines().count() + 1;
        let (document, problems) = match Document::parse("scenario", "errors.yaml", text) {
            Ok(document) => {
                let (_, problems) = parse_scenario(&document, Some("errors"));
                (document, problems)
            }
            Err(Refusal::Problems { document, problems }) => (*document, problems),
            Err(Refusal::Other(error)) => panic!("{error}"),
        };
        for problem in &problems {
            proptest::prop_assert!(document.located(problem).line <= lines);
            proptest::prop_assert!(document.render(problem).contains("errors.yaml:"));
        }
    }
}

#[test]
fn keys_and_types() {
    let screens = [
        changed("path:", "pth:"),
        changed("    path:", "    colour: red\n    path:"),
        changed("arrival-rate:", "arival-rate:"),
        changed("name: mine", "name: mine\nname: mine"),
        changed("name: mine\n", ""),
        changed("path: /api/users", "path: /api/users\n    weight: heavy"),
        changed("path: /api/users", "path: /api/users\n    weight: -1"),
        changed("path: /api/users", "path: /api/users\n    counted: perhaps"),
        changed("path: /api/users", "path: [/api/users]"),
        changed("path: /api/users", "path: /api/users\n    expect: 2xy"),
        changed("20s", "20"),
        changed("10/s", "10/fortnight"),
        with("thresholds: [p95 < 500]\n"),
        with("faults: [{fault: kil, at: 1s, for: 1s}]\n"),
        with("faults: [{fault: latency, at: 1s, for: 1s}]\n"),
        with("faults: [{fault: {error-rate: 120%}, at: 1s, for: 1s}]\n"),
        with("checks: [targets]\n"),
        with("checks:\n  - tragets: {}\n"),
        with("checks:\n  - targets: {wiat: 1s}\n"),
        with("checks:\n  - targets: {}\n    reconcile: {}\n"),
        with("checks:\n  - promql: {expr: up, is: 3}\n"),
    ];
    insta::assert_snapshot!(screens.join("\n"));
}

#[test]
fn everything_that_makes_no_sense_is_told_at_once() {
    let text = r#"
name: other
load:
  arrival-rate:
    connections: 0
    http: {timeout: 0s, retries: 100}
    phases:
      - {name: same, rate: 10/s, duration: 0s}
      - {name: same, rate: 9999999/s, steps: 3, duration: 10s}
      - {name: "a b", rate: 10/s, to: 20/s, steps: 2, period: 1m, duration: 10s}
requests:
  "white space":
    method: get
    path: api/users
    headers: {"bad header": x, content-length: "3", x-ok: "line\nbreak"}
    body: a
    json: {a: 1}
    labels: {a=1: a}
  raising:
    method: G ET
    path: /a b
    raises:
      - {series: 'errors_total{type=~"a|b"}'}
      - {series: 'rate(errors_total[5m])', status: 700}
      - {series: '{type="a"}'}
  anchor: {path: "/a#b", counted: false, labels: {endpoint: /a}}
  host: {path: //evil.example/a}
thresholds:
  - p95 < 1s for rising
  - p95 < 1s in sane
faults:
  - {fault: {latency: 0s}, at: 5s, for: 0s, replicas: []}
  - {fault: kill, at: 5s, for: 1h, replicas: [1, 1]}
  - {fault: pause, at: 6s, for: 1s, replicas: [1]}
checks:
  - reconcile: {wait: 0s}
  - reconcile: {}
  - series: {series: 'up{', labels: [a=b]}
  - promql: {expr: 'sum(rate(a[5m])', is: '> 0'}
  - promql: {expr: 'a[5m]', is: '> 0'}
  - promql: {expr: 'sume(a)', is: '> 0'}
  - alert: {name: InstanceDown, fires: 0s, resolves: 10s}
  - no-alerts: {}
"#;
    let lab = Lab::new().file("scenarios/mine.yaml", text);
    insta::assert_snapshot!(lab.screen("scenarios/mine.yaml"));
}

#[test]
fn a_fault_that_is_to_be_detected_is_there() {
    let with = |faults: &str, checks: &str| {
        let text = format!("{SOUND}faults: {faults}\nchecks: {checks}\n");
        Lab::new().file("mine.yaml", &text).screen("mine.yaml")
    };
    let two = "[{fault: kill, at: 1s, for: 1s}, {fault: pause, at: 3s, for: 1s}]";
    let screens = [
        with("[]", "[{detected: {}}]"),
        with(two, "[{detected: {fault: 3}}, {detected: {fault: 1, is: '> 0', within: 0s}}]"),
        with(two, "[{detected: {fault: 1}}, {detected: {fault: 2, expr: 'sum(rate(a[5m]))', is: '> 1'}}]"),
    ];
    insta::assert_snapshot!(screens.join("\n"));
}

#[test]
fn a_scenario_must_fit_its_stack() {
    let text = format!(
        "{SOUND}faults: [{{fault: kill, at: 1s, for: 2s, replicas: [3]}}]\n\
         checks:\n  - alert: {{name: InstanceDwon, fires: 9s, resolves: 9s, along: [Nothing]}}\n"
    );
    let warned = Lab::new().file("mine.yaml", &text).screen("mine.yaml");
    let refused =
        Lab::new().file("mine.yaml", &text.replace("load:", "stack: user-api\nload:")).screen("mine.yaml");
    insta::assert_snapshot!([warned, refused].join("\n"));
}

#[test]
fn what_is_wrong_with_a_stack() {
    let stack = |text: &str| {
        Lab::new()
            .file("stacks/mine/stack.yaml", text)
            .file("stacks/mine/rules/good.yaml", RULES)
            .file("stacks/mine/values/monitoring.yaml", "{}")
            .file("stacks/mine/values/loki.yaml", "{}")
            .file("stacks/mine/values/collector.yaml", "{}")
            .screen("stacks/mine")
    };
    let sound = shipped("stacks/users-api/stack.yaml")
        .replace("name: users-api\ndescription", "name: mine\ndescription")
        .replace("rules/${profile}.yaml", "rules/good.yaml");
    let change = |from: &str, to: &str| {
        assert!(sound.contains(from), "{from}");
        stack(&sound.replace(from, to))
    };
    let screens = [
        stack(&sound),
        change("rules/good.yaml", "rules/${profile}.yaml"),
        change("rules/good.yaml", "../good.yaml"),
        change("${replicas}\n    command", "${replica}\n    command"),
        change("name: mine", "name: yours"),
        change("metric: app_request_count_total", "metric: app=requests"),
        change("      - \"{listen}\"\n", ""),
        change("ready: /health", "ready: health"),
        change("default: 3", "default: [3]"),
        change("default: lab\n", "default: labs\n"),
        change("default: 3", "default: 0"),
        change("\"{admin}\"", "\"{amdin}\""),
        stack("name: mine\ncounter: {metric: a}\n"),
        stack(
            "name: mine\ncounter: {metric: a}\nexternal:\n  service: [ftp://a]\n  prometheus: {url: \"http://me:secret@b\"}\n",
        ),
        stack(
            "name: mine\ncounter: {metric: a}\nexternal:\n  service: [shop]\n  prometheus: {url: http://b}\n",
        ),
    ];
    insta::assert_snapshot!(screens.join("\n"));
}

#[test]
fn what_is_wrong_with_alert_rules() {
    let stack = shipped("stacks/users-api/stack.yaml").replace("rules/${profile}.yaml", "rules/mine.yaml");
    let lab = |rules: &str| {
        let lab = Lab::new().file("stacks/users-api/stack.yaml", &stack);
        lab.file("stacks/users-api/rules/mine.yaml", rules).screen("stacks/users-api")
    };
    let screens = [
        lab(&RULES.replace("== 0", "== == 0")),
        lab("groups: []\n"),
        lab("groups:\n- rules: [{alert: A}]\n"),
    ];
    insta::assert_snapshot!(screens.join("\n"));
}

const RULES: &str = "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: up == 0\n";

fn shipped(path: &str) -> String {
    let file = shipped_files().into_iter().find(|file| file.path == path).expect(path);
    file.text.to_owned()
}

#[test]
fn files_that_cannot_be_read_are_told_by_name_and_the_others_are_validated() {
    let lab = Lab::new().file("mine.yaml", SOUND).file("folder/a", "");
    fs::write(lab.0.path().join("binary.yaml"), b"\x7fELF\0\0").expect("a file");
    let (code, stdout, _) = lab.sre(&["validate", "missing.yaml", "binary.yaml", "folder", "mine.yaml"]);
    insta::assert_snapshot!(format!("{stdout}exit {code}\n"));
}

#[test]
fn validate_tells_machines_the_line_and_column() {
    let lab = Lab::new().file("mine.yaml", &SOUND.replace("path:", "pth:"));
    let (code, stdout, _) = lab.sre(&["validate", "mine.yaml", "-o", "json"]);
    let files: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(code, 2);
    assert_eq!(
        (&files[0]["problems"][0]["line"], &files[0]["problems"][0]["column"]),
        (&8.into(), &5.into())
    );
    assert_eq!((&files[0]["valid"], &files[0]["kind"]), (&false.into(), &"scenario".into()));
}

#[test]
fn unknown_names_are_suggested_and_end_with_2() {
    let lab = Lab::new();
    let screens = [
        lab.sre(&["describe", "scenario", "eror"]),
        lab.sre(&["describe", "scenario", "./eror.yaml"]),
        lab.sre(&["describe", "stack", "../stacks"]),
        lab.sre(&["describe", "stack", "users-api", "--set", "replica=3"]),
        lab.sre(&["describe", "stack", "users-api", "--set", "profile=prod"]),
        lab.sre(&["describe", "stack", "users-api", "--set", "scrape_interval=fast"]),
        lab.sre(&["describe", "stack", "users-api", "--set", "replicas=0"]),
    ]
    .map(|(code, stdout, stderr)| {
        assert_eq!((code, stdout.as_str()), (2, ""));
        stderr
    });
    insta::assert_snapshot!(screens.join("\n"));
}

#[test]
fn what_is_here_comes_before_what_is_shipped() {
    let lab = Lab::new().file("scenarios/mine.yaml", SOUND).file("scenarios/errors.yaml", "name: [\n");
    let (code, stdout, _) = lab.sre(&["list"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(stdout);
    let (code, _, stderr) = lab.sre(&["describe", "scenario", "errors"]);
    assert_eq!(code, 2, "a broken file is not passed over for the shipped one: {stderr}");
}

#[test]
fn descriptions() {
    let lab = Lab::new();
    let mut screens = vec![lab.sre(&["describe", "stack", "users-api", "--set", "profile=production"])];
    screens.extend(["baseline", "errors", "outage"].map(|name| lab.sre(&["describe", "scenario", name])));
    let screens: Vec<String> =
        screens.into_iter().map(|(_, stdout, stderr)| format!("{stdout}{stderr}")).collect();
    insta::assert_snapshot!(screens.join("\n"));
}

#[test]
fn init_writes_what_is_shipped_and_it_is_valid() {
    let lab = Lab::new();
    let (code, stdout, _) = lab.sre(&["init"]);
    assert_eq!(code, 0);
    for file in shipped_files() {
        assert!(stdout.contains(&file.path), "{stdout}");
        assert_eq!(fs::read_to_string(lab.0.path().join(&file.path)).expect("written"), file.text);
        if file.path.starts_with("scenarios/") || file.path.ends_with("stack.yaml") {
            let (code, stdout, stderr) = lab.sre(&["validate", &file.path]);
            assert_eq!((code, stdout.contains("warning")), (0, false), "{stdout}{stderr}");
        }
    }
    fs::write(lab.0.path().join("scenarios/spike.yaml"), "mine").expect("a file");
    fs::remove_file(lab.0.path().join("scenarios/errors.yaml")).expect("a file");
    let (code, _, stderr) = lab.sre(&["init"]);
    assert!(code == 5 && stderr.contains("scenarios/spike.yaml"), "{stderr}");
    assert_eq!(fs::read_to_string(lab.0.path().join("scenarios/spike.yaml")).expect("kept"), "mine");
    assert!(!lab.0.path().join("scenarios/errors.yaml").exists(), "all or nothing");
    for consent in ["--force", "--yes"] {
        assert_eq!(lab.sre(&["init", consent]).0, 0);
        assert_eq!(lab.sre(&["validate", "scenarios/spike.yaml"]).0, 0);
        fs::write(lab.0.path().join("scenarios/spike.yaml"), "mine").expect("a file");
    }
}

#[test]
fn completions_and_schemas_are_printed() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, _) = lab.sre(&["completions", shell]);
        assert!(code == 0 && stdout.contains("sre"), "{shell}");
    }
    for kind in ["scenario", "stack"] {
        let (code, stdout, _) = lab.sre(&["schema", kind]);
        let schema: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        assert!(code == 0 && schema["$schema"].is_string(), "{kind}");
    }
}

#[test]
fn a_scenario_that_was_read_and_written_is_the_same() {
    let catalog = Catalog::at("/nonexistent");
    for entry in catalog.entries().scenarios {
        let scenario = catalog.scenario(&entry.name).expect(&entry.name).scenario;
        let text = serde_saphyr::to_string(&scenario).expect("YAML");
        let again: Scenario = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(again, scenario);
    }
    let stack = catalog.stack("users-api", &[]).expect("the stack").stack;
    let text = serde_saphyr::to_string(&stack).expect("YAML");
    let again: Stack = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(again, stack);
}

/// Whether a YAML text keeps a schema; the reasons, if not.
fn keeps(schema: &schemars::Schema, text: &str) -> Result<(), String> {
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    compiler.add_resource("schema.json", schema.as_value().clone()).expect("a schema");
    let index = compiler.compile("schema.json", &mut schemas).expect("a sound schema");
    let value: serde_json::Value = serde_saphyr::from_str(text).expect("YAML");
    schemas.validate(&value, index).map_err(|e| e.to_string())
}

#[test]
fn the_schemas_hold_for_what_is_shipped_and_refuse_typos() {
    let (scenario, stack) = (schemars::schema_for!(Scenario), schemars::schema_for!(Stack));
    for file in shipped_files() {
        let schema = match () {
            () if file.path.starts_with("scenarios/") => &scenario,
            () if file.path.ends_with("stack.yaml") => &stack,
            () => continue,
        };
        // Placeholders are in the file, but the schema describes it as it is with them replaced.
        let mut text = file.text.to_owned();
        if let Some(name) = file.path.strip_prefix("stacks/").and_then(|path| path.split('/').next()) {
            let parameters = Catalog::at("/nonexistent").stack(name, &[]).expect(name).parameters;
            for (key, value) in parameters {
                text = text.replace(&format!("${{{key}}}"), &value);
            }
        }
        keeps(schema, &text).unwrap_or_else(|why| panic!("{}: {why}", file.path));
    }
    keeps(&scenario, SOUND).expect("sound");
    for (from, to) in [("path:", "pth:"), ("20s", "20 fortnights"), ("10/s", "fast"), ("name: mine\n", "")] {
        assert!(keeps(&scenario, &SOUND.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn every_key_is_in_the_documentation() {
    for (page, schema) in [
        ("docs/scenarios.md", schemars::schema_for!(Scenario)),
        ("docs/stacks.md", schemars::schema_for!(Stack)),
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect(page);
        let (mut keys, shared) = (Vec::new(), page == "docs/stacks.md");
        collect_keys(schema.as_value(), shared, &mut keys);
        assert!(keys.len() > 20, "{keys:?}");
        for key in keys {
            assert!(text.contains(&format!("`{key}`")), "{page} says nothing of `{key}`");
        }
    }
}

/// The keys and named values of a schema. Checks are documented with scenarios, whoever else has them.
fn collect_keys(schema: &serde_json::Value, without_checks: bool, keys: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(properties) = object.get("properties").and_then(|properties| properties.as_object()) {
                keys.extend(properties.keys().cloned());
            }
            if let Some(name) = object.get("const").and_then(|name| name.as_str()) {
                keys.push(name.to_owned());
            }
            for (name, value) in object {
                if !(without_checks && name.ends_with("Check")) {
                    collect_keys(value, without_checks, keys);
                }
            }
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|item| collect_keys(item, without_checks, keys));
        }
        _ => {}
    }
}

#[test]
fn examples_in_the_documentation_are_valid() {
    for (page, file) in
        [("docs/scenarios.md", "scenarios/mine.yaml"), ("docs/stacks.md", "stacks/mine/stack.yaml")]
    {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect(page);
        let examples: Vec<&str> = text
            .split("```yaml\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap_or_default())
            .collect();
        // Parts of a file are shown without its name.
        let whole: Vec<&&str> = examples.iter().filter(|example| example.contains("name: mine\n")).collect();
        assert!(!whole.is_empty(), "{page} has no example");
        for example in whole {
            let lab = Lab::new().file(file, example).file("stacks/mine/rules/alerts.yaml", RULES);
            let screen = lab.screen(file);
            assert!(screen.starts_with('✔') && !screen.contains("warning"), "{page}: {screen}\n{example}");
        }
        for part in examples.iter().filter(|example| !example.contains("name: mine\n")) {
            assert!(page == "docs/scenarios.md", "{page} has a part of a file");
            let screen = with(part);
            assert!(screen.starts_with('✔'), "{page}: {screen}\n{part}");
        }
    }
}

/// Every file below a folder of this repository.
fn files_below(folder: &str) -> Vec<std::path::PathBuf> {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn charts_and_tools_are_pinned_in_one_file_and_an_image_by_one_tag() {
    let digit = |value: &str| value.contains(|c: char| c.is_ascii_digit());
    let pinned = |line: &&str| {
        let line = line.trim_start_matches([' ', '-', '{']);
        ["version:", "tag:"].iter().find_map(|key| line.strip_prefix(key)).is_some_and(digit)
    };
    let mut tags = std::collections::BTreeMap::new();
    for path in files_below("stacks").into_iter().chain(files_below("manifests")) {
        let text = std::fs::read_to_string(&path).expect("a text");
        assert_eq!(text.lines().find(pinned), None, "{} pins a version", path.display());
        for image in
            text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("image: "))
        {
            // An image without a registry is one of this program, whose tag follows from its content.
            let Some((name, tag)) = image.rsplit_once(':').filter(|_| image.starts_with(char::is_alphabetic))
            else {
                continue;
            };
            let known = tags.entry(name.to_owned()).or_insert_with(|| tag.to_owned());
            assert_eq!(known, tag, "{} names another tag of {name}", path.display());
        }
    }
    assert!(tags.values().all(|tag| digit(tag)), "{tags:?}");
    for path in files_below("src").into_iter().filter(|path| !path.ends_with("tools/versions.rs")) {
        let text = std::fs::read_to_string(&path).expect("a text");
        for chart in sre::tools::versions::CHARTS {
            assert!(!text.contains(chart.version), "{} pins {}", path.display(), chart.name);
        }
    }
}

#[test]
fn a_stack_s_charts_know_the_values_that_they_are_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = folder.path().join("stacks/mine");
    std::fs::create_dir_all(&stack).expect("a folder");
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/loki");
    let text = format!(
        "name: mine\ncounter: {{metric: x_total}}\ncluster:\n  namespace: lab\n  \
         charts: {{loki: {{chart: {chart}, values: [values.yaml]}}}}\n"
    );
    std::fs::write(stack.join("stack.yaml"), text).expect("a file");
    for (values, code, said) in [
        ("singleBinary: {persistence: {enabled: false}}\n", 0, "✔"),
        ("singleBinary: {persistance: {enabled: false}}\n", 2, "did you mean `persistence`?"),
    ] {
        std::fs::write(stack.join("values.yaml"), values).expect("a file");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sre"))
            .args(["validate", "stacks/mine"])
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{shown}");
        assert!(shown.contains(said), "{shown}");
    }
}
