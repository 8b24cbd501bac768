//! Text of others in every format of every command that prints it: it is shown, and does nothing.

use std::path::Path;
use std::process::Command;

use sre::check::{Group, Kind, Outcome, Table, Verdict};
use sre::foreign::{is_hostile, screen};
use sre::run::EventKind;

use crate::fixture::*;

/// What a terminal, a reader and a merge request would make something of.
const HOSTILE: &str = "\x1b]0;owned\x07\x1b[2J\x1b[8mhidden\r\u{9b}31m\u{202e}\u{7f}\0\
    |<img src=x>![x](https://evil.example/x.png) [y](http://evil.example) @team #1 !2 https://evil.example \
    www.evil.example a@evil.example ``` `code` ]]> &lt; :+1: \n# heading\n- item";

fn hostile(name: &str) -> String {
    format!("{name} {HOSTILE}")
}

/// A run in which every text is somebody else's.
fn run(id: &str, verdict: Verdict) -> Run {
    let mut outcome = Outcome::new(Kind::Promql, Group::Metrics, hostile("check"), verdict, hostile("found"));
    outcome.notes = vec![hostile("note")];
    outcome.hint = Some(hostile("hint"));
    outcome.table = Some(Table {
        columns: vec!["pod".into(), "label".into()],
        rows: vec![vec![hostile("web-0"), hostile("path")]],
    });
    outcome.evidence = serde_json::json!({ hostile("label"): [hostile("value")] });
    let mut load = load();
    load.requests = load.requests.into_iter().map(|(name, request)| (hostile(&name), request)).collect();
    load.tallies.iter_mut().for_each(|tally| tally.request = hostile(&tally.request));
    load.phases[0].requests = load.requests.clone();
    load.lost = vec![hostile("worker")];
    let mut run = Run::started(id);
    if let EventKind::RunStarted(head) = &mut run.events[0].kind {
        head.scenario = hostile("scenario");
        head.stack = hostile("stack");
        head.versions.insert(hostile("thing"), hostile("1.0"));
    }
    let run = run.loaded(load).fault("1", &hostile("latency"), 5.0);
    let failed = EventKind::FaultFailed { fault: fault("2", &hostile("kill")), error: hostile("no right") };
    let run = run.event(failed).verified([outcome], 1);
    run.failed(&hostile("gone"), 6)
}

fn sre(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = Command::new(assert_cmd::cargo::cargo_bin!("sre"))
        .current_dir(folder)
        .args(arguments)
        .env_remove("SRE_TARGET")
        .output()
        .expect("sre runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr))
}

/// Holds that nothing in a text acts, the styles of `sre` itself aside.
fn assert_harmless(text: &str, of: &[&str]) {
    assert_eq!(screen(text), text, "{of:?}");
    let plain = anstream::adapter::strip_str(text).to_string();
    assert!(!is_hostile(&plain), "{of:?}: {plain:?}");
}

/// What is left of Markdown without code, in which nothing has a meaning.
fn without_code(markdown: &str) -> String {
    let (mut left, mut fence) = (String::new(), None::<String>);
    for line in markdown.lines() {
        match &fence {
            Some(open) if line.trim() == open => fence = None,
            Some(_) => {}
            None if line.starts_with("```") => fence = Some(line.trim_end_matches("text").to_owned()),
            None => left += &(spans_out(line) + "\n"),
        }
    }
    assert_eq!(fence, None, "a block has no end");
    left
}

fn spans_out(line: &str) -> String {
    let (mut left, mut rest) = (String::new(), line);
    while let Some(at) = rest.find('`') {
        left += &rest[..at];
        if left.ends_with('\\') {
            rest = &rest[at + 1..];
            continue;
        }
        let run = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let after = &rest[at + run..];
        let mut from = 0;
        let end = loop {
            let Some(found) = after[from..].find('`').map(|found| found + from) else {
                panic!("a span has no end: {line}")
            };
            let length = after[found..].len() - after[found..].trim_start_matches('`').len();
            if length == run {
                break found + length;
            }
            from = found + length;
        };
        rest = &after[end..];
    }
    left + rest
}

fn assert_markdown_is_dead(markdown: &str) {
    let left = without_code(markdown);
    for live in ["://", "www.", "@", "<img", "![", "](", ":+1:", "#1", "!2", "\n# heading", "\n- item"] {
        assert!(!left.contains(live), "{live} is alive in\n{left}");
    }
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    for table in markdown.split("\n\n").filter(|part| part.starts_with("| ")) {
        let all: Vec<usize> = table.lines().map(columns).collect();
        assert!(all.iter().all(|columns| *columns == all[0]), "a cell was broken out of:\n{table}");
    }
}

/// Characters that XML 1.0 has, and no markup but that of the report itself.
fn assert_xml(xml: &str) {
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    assert!(xml.chars().all(allowed), "{xml}");
    let known = [
        "?xml",
        "testsuites",
        "testsuite",
        "testcase",
        "properties",
        "property",
        "failure",
        "error",
        "skipped",
        "system-out",
    ];
    let mut open = Vec::new();
    for tag in xml.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("an end");
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap_or_default();
        assert!(known.contains(&name.trim_end_matches('?')) || name.starts_with("?xml"), "<{tag}>");
        match tag {
            tag if tag.starts_with('?') || tag.ends_with('/') => {}
            tag if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "{xml}"),
            _ => open.push(name),
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn no_command_that_tells_of_a_run_lets_its_texts_act() {
    let place = tempfile::tempdir().expect("a folder");
    let state = place.path().join(".sre");
    run("20261121-064012-errors", Verdict::Pass).write(&state);
    run("20261122-064012-errors", Verdict::Fail).write(&state);
    let commands: [&[&str]; 4] =
        [&["report"], &["report", "20261121"], &["runs"], &["compare", "20261121", "latest"]];
    for command in commands {
        for format in ["table", "json", "yaml"] {
            for color in ["always", "never"] {
                let arguments = [command, &["-o", format, "--color", color]].concat();
                let (stdout, stderr) = sre(place.path(), &arguments);
                assert!(!stdout.is_empty(), "{arguments:?}: {stderr}");
                assert_harmless(&stdout, &arguments);
                assert_harmless(&stderr, &arguments);
                if format == "json" {
                    serde_json::from_str::<serde_json::Value>(&stdout).expect("JSON");
                }
            }
        }
    }
    let (shown, _) = sre(place.path(), &["report"]);
    assert!(shown.contains(r"\x1b]0;owned\x07"), "it is shown, not left out: {shown}");
    let (markdown, _) = sre(place.path(), &["report", "-o", "markdown"]);
    assert_harmless(&markdown, &["markdown"]);
    assert_markdown_is_dead(&markdown);
    let (xml, _) = sre(place.path(), &["report", "--format", "junit"]);
    assert_harmless(&xml, &["junit"]);
    assert_xml(&xml);
    for format in ["text", "markdown", "junit", "json"] {
        let (_, stderr) = sre(place.path(), &["report", "--format", format, "--out", "told"]);
        assert_harmless(&stderr, &[format]);
        let told = std::fs::read_to_string(place.path().join("told")).expect("a file");
        assert!(!is_hostile(&told), "{format}");
    }
}

#[test]
fn no_file_of_a_scenario_or_a_stack_lets_its_texts_act() {
    let place = tempfile::tempdir().expect("a folder");
    let text = serde_json::Value::from(HOSTILE.replace('\0', "")).to_string();
    std::fs::create_dir_all(place.path().join("scenarios")).expect("a folder");
    std::fs::create_dir_all(place.path().join("stacks/mine")).expect("a folder");
    let scenario = format!(
        "{{name: mine, description: {text}, load: {{users: {{users: 1, duration: 1s}}}}, \
         requests: {{{text}: {{path: {text}, method: {text}, headers: {{a: {text}}}}}}}, {text}: 1}}"
    );
    std::fs::write(place.path().join("scenarios/mine.yaml"), scenario).expect("written");
    let other = format!(
        "{{name: {text}, description: {text}, load: {{users: {{users: 1, duration: 1s}}}}, requests: {{a: {{path: /}}}}}}"
    );
    std::fs::write(place.path().join("scenarios/other.yaml"), other).expect("written");
    let stack = format!("{{name: mine, description: {text}, counter: {{metric: {text}}}, {text}: 2}}");
    std::fs::write(place.path().join("stacks/mine/stack.yaml"), stack).expect("written");
    let commands: [&[&str]; 8] = [
        &["list"],
        &["list", "-o", "json"],
        &["list", "-o", "yaml"],
        &["validate"],
        &["validate", "-o", "json"],
        &["describe", "mine"],
        &["describe", "other"],
        &["run", "mine"],
    ];
    for command in commands {
        let (stdout, stderr) = sre(place.path(), command);
        assert!(!stdout.is_empty() || !stderr.is_empty(), "{command:?}");
        assert_harmless(&stdout, command);
        assert_harmless(&stderr, command);
    }
}

#[test]
fn no_server_writes_to_the_terminal() {
    let place = tempfile::tempdir().expect("a folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            use std::io::{Read as _, Write as _};
            let _ = connection.read(&mut [0; 4096]);
            let answer = format!(
                "HTTP/1.1 500 X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{HOSTILE}",
                HOSTILE.len()
            );
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    for format in ["table", "json", "yaml"] {
        let arguments = ["init", "--external", &url, "--prometheus", &url, "-o", format];
        let (stdout, stderr) = sre(place.path(), &arguments);
        assert!(stderr.contains(r"\x1b]0;owned\x07"), "{stderr}");
        assert_harmless(&stdout, &arguments);
        assert_harmless(&stderr, &arguments);
    }
}

/// Whoever writes to a terminal elsewhere would have to think of all this again.
#[test]
fn only_these_files_write_to_stdout_and_stderr() {
    /// Each passes what it writes through `sre::foreign`, or writes nothing that others said.
    const WRITERS: [&str; 12] = [
        "app/log.rs",          // JSON lines of the demo service
        "app/rotated.rs",      // the same
        "cli/logs.rs",         // escapes on a terminal
        "cli/mod.rs",          // errors
        "cli/open.rs",         // asks whether it is a terminal
        "cli/cluster_open.rs", // the same
        "cli/worker.rs",       // orders of a leader, and answers
        "report/progress.rs",
        "report/samples.rs", // figures
        "report/terminal.rs",
        "terminal.rs",
        "tools/progress.rs", // asks how wide the terminal is
    ];
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if ["stdout()", "stderr()", "println!", "print!"].iter().any(|write| {
                text.lines().any(|line| {
                    line.contains(write)
                        && !line.trim_start().starts_with("//")
                        && !line.contains("process.stdout()")
                })
            }) {
                found.push(path.display().to_string());
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&source, &mut found);
    let found: Vec<&str> = found
        .iter()
        .filter_map(|path| path.split("/src/").last())
        .filter(|path| !WRITERS.contains(path))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
