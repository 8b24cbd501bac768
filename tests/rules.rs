//! The shipped alert rules, checked and tested by the real promtool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sre::interrupt::Interrupt;
use sre::terminal::Terminal;
use sre::tools::{Cache, Tool, require};

/// The promtool that `sre` itself would run: `SRE_PROMTOOL`, PATH, the cache, else the distribution's package.
fn promtool() -> &'static Path {
    static PROMTOOL: OnceLock<PathBuf> = OnceLock::new();
    PROMTOOL.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let cache = Cache::of_user().expect("a cache");
        let (terminal, interrupt) = (Terminal::silent(true), Interrupt::default());
        let found = runtime.block_on(require(&[Tool::Promtool], &[], &cache, &terminal, &interrupt));
        found.expect("promtool").remove(0).path
    })
}

fn run(arguments: &[&str], folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "nothing to check in {}", folder.display());
    let output = Command::new(promtool()).args(arguments).args(&files).output().expect("promtool");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    run(&["check", "rules"], "stacks/users-api/rules");
    run(&["check", "rules"], "stacks/guestbook/rules");
}

#[test]
fn alerts_fire_and_resolve_when_they_should() {
    run(&["test", "rules"], "tests/rules");
}

/// The values of this key, in the order of the file, with surrounding quotes taken off.
fn values_of<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let values = text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix(key));
    values.map(|value| value.trim().trim_matches(['"', '\''])).collect()
}

/// promtool passes a test whose rule file matches nothing, and one of an alert that no rule has: where nothing fires,
/// nothing is what was expected. So each alert must have a test in which it fires.
#[test]
fn each_alert_has_a_test_of_its_file_in_which_it_fires() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let mut fired: BTreeSet<(PathBuf, String)> = BTreeSet::new();
    for test in entries(&root.join("tests/rules")) {
        let text = read(&test);
        let named = text.lines().filter_map(|line| line.trim().strip_prefix("- ../"));
        let rules: Vec<PathBuf> = named.map(|file| root.join("tests").join(file)).collect();
        assert!(!rules.is_empty(), "{} names no rule file", test.display());
        let firing = text.split("alertname:").skip(1).filter(|test| !test.contains("exp_alerts: []"));
        for name in firing.filter_map(|test| test.lines().next()) {
            for rule in &rules {
                let path = rule.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", rule.display()));
                fired.insert((path, name.trim().to_owned()));
            }
        }
    }
    for stack in ["users-api", "guestbook"] {
        for file in entries(&root.join("stacks").join(stack).join("rules")) {
            for alert in values_of(&read(&file), "alert:") {
                let key = (file.canonicalize().expect("a path"), alert.to_owned());
                assert!(
                    fired.contains(&key),
                    "no test in tests/rules has {alert} of {} fire",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn both_profiles_have_the_same_alerts_each_with_a_page_on_what_to_do() {
    let alerts = |profile: &str| {
        let set = [("profile".to_owned(), profile.to_owned())];
        let catalog = sre::catalog::Catalog::at(env!("CARGO_MANIFEST_DIR"));
        let stack = catalog.stack("users-api", &set).expect("the stack");
        stack.alerts.into_iter().map(|alert| (alert.name, alert.severity)).collect::<Vec<_>>()
    };
    let lab = alerts("lab");
    assert_eq!(lab, alerts("production"));
    let pages =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.md")).expect("docs");
    for (name, severity) in lab {
        assert!(pages.contains(&format!("\n## {name}\n")), "docs/alerts.md says nothing of {name}");
        assert!(severity.is_some(), "{name} has no severity");
    }
}
