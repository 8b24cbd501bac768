//! The shipped alert rules, checked and tested by the real promtool.

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
        let found = runtime.block_on(require(&[Tool::Promtool], &cache, &terminal, &interrupt));
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
