//! The target `local`, from the built binary, with the real Prometheus, Alertmanager and node exporter.

#[path = "support/lab.rs"]
mod lab;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use lab::{TestLab, prometheus_3, run, until};
use serde_json::Value;
use sre::observe::Loki;
use sre::target::Endpoint;
use sre::target::local::process::{self, State};

const NAMES: [&str; 6] = ["receiver", "alertmanager", "node-exporter", "probe-0", "probe-1", "prometheus"];

fn pids(lab: &Value) -> Vec<(String, u64)> {
    let processes = lab["processes"].as_array().expect("processes");
    processes
        .iter()
        .map(|process| {
            (process["name"].as_str().unwrap_or_default().to_owned(), process["pid"].as_u64().unwrap_or(0))
        })
        .collect()
}

/// Up, up again, broken, mended, down: each as it should be, notifications included.
fn lives_and_is_mended(lab: &TestLab, version: &str) {
    let up = lab.json(&["up", "probe"]);
    assert_eq!(pids(&up).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), NAMES);
    assert!(
        up["versions"]["prometheus"].as_str().is_some_and(|found| found.starts_with(version)),
        "{}",
        up["versions"]
    );

    let status = lab.json(&["status"]);
    assert_eq!(
        (&status["healthy"], &status["targets"]["healthy"], &status["targets"]["total"]),
        (&true.into(), &5.into(), &5.into())
    );

    let again = lab.sre(&["up", "-o", "json"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(
        serde_json::from_str::<Value>(&again.stdout).ok().as_ref(),
        Some(&up),
        "a second up changes nothing"
    );
    assert!(again.took < Duration::from_secs(10), "a second up takes {:?}", again.took);

    // A replica is killed: status shows it, the alert is notified.
    process::kill(&lab.process("probe-1")).expect("killed");
    until("its death", || !process::is_alive(&lab.process("probe-1")));
    let status = lab.sre(&["status"]);
    assert_eq!(status.code, 6);
    assert!(status.stdout.contains("probe-1 is dead; it wrote last:"), "{}", status.stdout);
    let why = lab.sre(&["why", "target", "probe-1"]);
    assert_eq!(why.code, 1, "{}", why.stdout);
    assert!(why.stdout.contains("Broken: its processes run."), "{}", why.stdout);
    let notified = |what: &str| {
        std::fs::read_to_string(lab.path().join(".sre/local/notifications.ndjson"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .any(|notification| notification["alerts"][0]["status"] == what)
    };
    until("the notification", || notified("firing"));

    // `up` mends just that.
    let mended = lab.json(&["up"]);
    let changed: Vec<String> = pids(&up)
        .into_iter()
        .zip(pids(&mended))
        .filter(|(before, after)| before != after)
        .map(|(_, (name, _))| name)
        .collect();
    assert_eq!(changed, ["probe-1"]);
    assert_eq!(mended["endpoints"], up["endpoints"], "ports stay");
    until("the resolution", || notified("resolved"));

    // Another parameter changes what must change.
    let more = lab.json(&["up", "--replicas", "3"]);
    assert_eq!(more["parameters"]["replicas"], "3");
    assert!(pids(&mended).iter().all(|known| pids(&more).contains(known)), "what is well is left alone");
    assert_eq!(lab.json(&["status"])["targets"]["total"], 6);
    assert_eq!(lab.json(&["up"])["parameters"]["replicas"], "3", "parameters stay");
    let fewer = lab.json(&["up", "--set", "replicas=1"]);
    assert_eq!(fewer["endpoints"]["replicas"].as_array().map(Vec::len), Some(1));
    assert_eq!(lab.json(&["status"])["targets"]["total"], 4);

    let down = lab.json(&["down"]);
    assert_eq!(down["stopped"].as_array().map(Vec::len), Some(5));
    assert!(lab.marked().is_empty());
    assert_eq!(lab.sre(&["down"]).code, 0);
    assert_eq!(lab.sre(&["status"]).code, 3);
    assert!(lab.path().join(".sre/local/data").exists(), "data stay");
    assert_eq!(lab.sre(&["down", "--purge"]).code, 5, "nobody said yes");
    assert_eq!(lab.sre(&["down", "--purge", "--yes"]).code, 0);
    assert!(!lab.path().join(".sre/local").exists());
}

#[test]
fn the_distribution_s_prometheus_lives_and_is_mended() {
    lives_and_is_mended(&TestLab::new(), "2.");
}

#[test]
fn prometheus_3_lives_and_is_mended() {
    if let Some(program) = prometheus_3() {
        lives_and_is_mended(&TestLab::with_prometheus(program), "3.");
    }
}

#[test]
fn two_labs_in_two_folders_do_not_collide() {
    let (one, other) = (TestLab::new(), TestLab::new());
    let mut first = one.spawn(&["up", "probe"]);
    let second = other.json(&["up", "probe"]);
    assert!(first.wait().expect("it ends").success());
    let ports = |lab: &TestLab| NAMES.map(|name| lab.port(name)).into_iter().collect::<BTreeSet<u16>>();
    assert!(ports(&one).is_disjoint(&ports(&other)));
    assert_eq!(one.sre(&["down"]).code, 0);
    assert!(one.marked().is_empty());
    assert_eq!(pids(&other.json(&["status"])), pids(&second));
    assert_eq!(other.sre(&["down"]).code, 0);
}

#[test]
fn two_ups_at_once_bring_up_one_lab() {
    let lab = TestLab::new();
    let mut first = lab.spawn(&["up", "probe"]);
    let second = lab.json(&["up", "probe"]);
    assert!(first.wait().expect("it ends").success());
    assert_eq!(lab.marked().len(), NAMES.len());
    assert_eq!(pids(&lab.recorded()), pids(&second));
    assert_eq!(lab.sre(&["down"]).code, 0);
}

#[test]
fn an_up_that_was_killed_is_mended_by_up_and_taken_down_by_down() {
    let lab = TestLab::new();
    // Later and later in its life, from before the first process to the wait for the targets.
    for (round, delay) in [5, 20, 40, 80, 150, 300, 800].into_iter().enumerate() {
        let mut up = lab.spawn(&["up", "probe"]);
        std::thread::sleep(Duration::from_millis(delay));
        let _ = up.kill();
        let _ = up.wait();
        if round % 2 == 0 {
            assert_eq!(lab.sre(&["down"]).code, 0, "after {delay} ms");
            assert!(lab.marked().is_empty(), "after {delay} ms: {:?}", lab.marked());
        } else {
            let mended = lab.sre(&["up", "probe"]);
            assert_eq!(mended.code, 0, "after {delay} ms: {}", mended.stderr);
            assert_eq!(lab.marked().len(), NAMES.len(), "after {delay} ms");
            assert_eq!(lab.json(&["status"])["healthy"], true, "after {delay} ms");
            let mut down = lab.spawn(&["down"]);
            std::thread::sleep(Duration::from_millis(delay));
            let _ = down.kill();
            let _ = down.wait();
        }
    }
    assert_eq!(lab.sre(&["down"]).code, 0);
    assert!(lab.marked().is_empty());
}

#[test]
fn an_interrupted_up_leaves_nothing() {
    let lab = TestLab::new();
    let mut up = lab.spawn(&["up", "probe"]);
    until("a process", || !lab.marked().is_empty());
    let pid = rustix::process::Pid::from_child(&up);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupted");
    assert_eq!(up.wait().expect("it ends").code(), Some(130));
    assert!(lab.marked().is_empty());
    assert_eq!(lab.sre(&["status"]).code, 3);
}

#[test]
fn a_port_that_was_taken_in_between_is_replaced() {
    let lab = TestLab::new();
    lab.json(&["up", "probe"]);
    let had = lab.port("probe-0");
    assert_eq!(lab.sre(&["down"]).code, 0);
    let _taken = TcpListener::bind(("127.0.0.1", had)).expect("it is free");
    lab.json(&["up", "probe"]);
    assert_ne!(lab.port("probe-0"), had);
    assert_eq!(lab.json(&["status"])["healthy"], true);
    assert_eq!(lab.sre(&["down"]).code, 0);
}

#[test]
fn a_paused_process_goes_on_and_is_stopped() {
    let lab = TestLab::new();
    lab.json(&["up", "probe"]);
    process::pause(&lab.process("probe-0")).expect("paused");
    until("the pause", || process::state(&lab.process("probe-0")) == State::Paused);
    assert_eq!(lab.sre(&["status"]).code, 6);
    lab.json(&["up"]);
    assert_eq!(lab.json(&["status"])["healthy"], true);
    process::pause(&lab.process("prometheus")).expect("paused");
    assert_eq!(lab.sre(&["down"]).code, 0);
    assert!(lab.marked().is_empty());
}

#[test]
fn a_target_that_is_not_healthy_is_named_and_nothing_is_left() {
    let lab = TestLab::new();
    // It answers, but has no metrics.
    lab.stack("mute", &["{sre}", "receiver", "--listen={listen}", "--store=mute-{replica}"], "/healthz");
    let up = lab.sre(&["up", "mute", "--wait", "9s"]);
    assert_eq!(up.code, 6, "{}", up.stderr);
    assert!(up.stderr.contains("not all is well after 9 s"), "{}", up.stderr);
    assert!(
        up.stderr.contains("target mute 127.0.0.1:") && up.stderr.contains("(mute-0): "),
        "{}",
        up.stderr
    );
    assert!(up.stderr.contains("404"), "{}", up.stderr);
    assert!(lab.marked().is_empty());
}

#[test]
fn a_service_that_dies_is_shown_with_its_last_lines() {
    let lab = TestLab::new();
    lab.stack("short", &["/bin/sh", "-c", "echo no database >&2; exit 1", "{listen}"], "/");
    let up = lab.sre(&["up", "short"]);
    assert_eq!(up.code, 6, "{}", up.stderr);
    assert!(up.stderr.contains("short-0 died at its start"), "{}", up.stderr);
    assert!(up.stderr.contains("no database"), "{}", up.stderr);
    assert!(lab.marked().is_empty());
}

#[test]
fn rules_that_prometheus_refuses_are_told_and_the_lab_stays() {
    let lab = TestLab::new();
    let up = lab.json(&["up", "probe"]);
    let rules = lab.path().join("stacks/probe/rules/alerts.yaml");
    let right = std::fs::read_to_string(&rules).expect("the rules");
    let wrong = format!("{right}    annotations: {{summary: \"{{{{ $labels.\"}}\n");
    std::fs::write(&rules, wrong).expect("written");
    let refused = lab.sre(&["up"]);
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert!(refused.stderr.contains("prometheus refuses its configuration"), "{}", refused.stderr);
    assert_eq!(lab.marked().len(), NAMES.len(), "{}", refused.stderr);
    std::fs::write(&rules, right).expect("written");
    assert_eq!(pids(&lab.json(&["up"])), pids(&up));
    assert_eq!(lab.sre(&["down"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_web_page_ends_prometheus_or_reads_what_it_answers() {
    let lab = TestLab::new();
    let up = lab.json(&["up", "probe"]);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", lab.port("prometheus"));
    let page = ("origin", "https://evil.example");
    for path in ["/-/quit", "/-/reload"] {
        // What a page may send without asking for leave: no other header is needed.
        let answer = client.post(at(path)).header(page.0, page.1).body("").send().await.expect("an answer");
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
    }
    let answer = client.get(at("/api/v1/targets")).header(page.0, page.1).send().await.expect("an answer");
    assert_eq!(answer.headers().get("access-control-allow-origin"), None);
    assert_eq!(lab.json(&["status"])["healthy"], true);
    assert_eq!(pids(&lab.json(&["up"])), pids(&up));
    assert_eq!(lab.sre(&["down"]).code, 0);
}

#[test]
fn another_stack_is_refused_while_one_is_up() {
    let lab = TestLab::new();
    lab.stack("other", &["/bin/true", "{listen}"], "/");
    lab.json(&["up", "probe"]);
    let other = lab.sre(&["up", "other"]);
    assert_eq!(other.code, 2, "{}", other.stderr);
    assert!(other.stderr.contains("the stack probe is up here"), "{}", other.stderr);
    assert_eq!(lab.sre(&["up", "--target", "external"]).code, 2);
    assert_eq!(lab.sre(&["down"]).code, 0);
}

#[test]
fn a_lab_file_that_was_broken_does_not_keep_down_from_its_work() {
    let lab = TestLab::new();
    lab.json(&["up", "probe"]);
    std::fs::write(lab.path().join(".sre/lab.json"), "{\"schema\":").expect("written");
    let up = lab.sre(&["up", "probe"]);
    assert_eq!(up.code, 6);
    assert!(up.stderr.contains("sre down"), "{}", up.stderr);
    assert_eq!(lab.sre(&["down"]).code, 0);
    assert!(lab.marked().is_empty());
}

#[test]
fn missing_tools_are_told_and_not_downloaded_without_consent() {
    let lab = TestLab::new();
    let empty = tempfile::tempdir().expect("a folder");
    let mut command = lab.command(&["up", "probe"]);
    for name in ["SRE_PROMETHEUS", "SRE_ALERTMANAGER", "SRE_NODE_EXPORTER"] {
        command.env_remove(name);
    }
    // Only the distribution's own programs.
    let path =
        if std::path::Path::new("/usr/bin/prometheus").exists() { "/nonexistent" } else { "/usr/bin:/bin" };
    command.env("PATH", path).env("XDG_CACHE_HOME", empty.path());
    let up = run(command);
    assert_eq!(up.code, 5, "{}", up.stderr);
    assert!(up.stderr.contains("prometheus, alertmanager, node_exporter"), "{}", up.stderr);
    assert!(up.stderr.contains("--yes"), "{}", up.stderr);
    assert_eq!(std::fs::read_dir(empty.path()).map(Iterator::count).ok(), Some(0), "nothing was written");
    assert!(lab.marked().is_empty());
}

#[test]
fn a_folder_that_cannot_be_written_is_a_missing_prerequisite() {
    let lab = TestLab::new();
    std::fs::write(lab.path().join(".sre"), "a file").expect("written");
    let up = lab.sre(&["up", "probe"]);
    assert_eq!(up.code, 5, "{}", up.stderr);
    assert!(up.stderr.contains(".sre cannot be used"), "{}", up.stderr);
}

#[test]
fn logs_and_addresses_are_given_by_name() {
    let lab = TestLab::new();
    lab.json(&["up", "probe"]);
    let logs = lab.sre(&["logs", "prometheus", "-n", "5"]);
    assert_eq!(logs.code, 0);
    assert_eq!(logs.stdout.lines().count(), 5, "{}", logs.stdout);
    let unknown = lab.sre(&["logs", "promethues"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("did you mean `prometheus`?"), "{}", unknown.stderr);
    let open = lab.sre(&["open", "prometheus"]);
    assert_eq!(open.stdout, format!("http://127.0.0.1:{}/\n", lab.port("prometheus")));
    assert_eq!(lab.sre(&["open", "grafana"]).code, 2);
    assert_eq!(lab.sre(&["down"]).code, 0);
}

#[test]
fn a_reader_that_goes_away_ends_what_follows_a_log_without_a_word() {
    let lab = TestLab::new();
    lab.json(&["up", "probe"]);
    let mut command = lab.command(&["logs", "prometheus", "--follow", "-n", "1"]);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sre starts");
    // `| head -1`
    let mut first = String::new();
    BufReader::new(following.stdout.take().expect("its stdout")).read_line(&mut first).expect("a line");
    assert!(first.ends_with('\n'), "{first:?}");
    let log = lab.process("prometheus").log;
    let mut log = std::fs::OpenOptions::new().append(true).open(log).expect("its log");
    until("its end", || {
        writeln!(log, "one more").expect("written");
        following.try_wait().expect("it can be waited for").is_some()
    });
    let ended = following.wait_with_output().expect("its output");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
    assert_eq!(lab.sre(&["down"]).code, 0);
}

#[test]
fn a_dry_run_shows_and_starts_nothing() {
    let lab = TestLab::new();
    let preview = lab.json(&["up", "probe", "--dry-run"]);
    assert_eq!(preview["processes"].as_array().map(Vec::len), Some(NAMES.len()));
    assert!(!lab.path().join(".sre").exists());
}

/// A stack of one replica of the demo service, whose lines this keeps.
fn with_logs(lab: &TestLab, keeping: &str) {
    let sre = env!("CARGO_BIN_EXE_sre");
    let command = [sre, "app", "--listen", "{listen}", "--replica", "shop-{replica}"];
    lab.stack("shop", &command, "/health/readiness");
    let file = lab.path().join("stacks/shop/stack.yaml");
    let stack = std::fs::read_to_string(&file).expect("a stack");
    std::fs::write(&file, stack.replace("  node_exporter: true", &format!("  logs: {keeping}")))
        .expect("written");
}

#[test]
fn log_lines_are_kept_once_whatever_becomes_of_the_shipper() {
    kept_once(&TestLab::new().alone(), "true", ["logstore", "logshipper"]);
}

#[test]
fn log_lines_are_kept_once_whatever_becomes_of_the_collector() {
    if lab::needs::collector().is_some() {
        kept_once(&TestLab::new(), "embedded", ["logstore", "collector"]);
    }
}

#[test]
fn loki_keeps_log_lines_once_whatever_becomes_of_the_collector() {
    if lab::needs::loki_and_collector().is_some() {
        kept_once(&TestLab::new(), "loki", ["loki", "collector"]);
    }
}

fn kept_once(lab: &TestLab, keeping: &str, parts: [&str; 2]) {
    with_logs(lab, keeping);
    let up = lab.json(&["up", "shop"]);
    let names: Vec<String> = pids(&up).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], parts);
    assert!(up["versions"][parts[0]].is_string(), "what keeps the lines is told: {up}");
    let again = lab.sre(&["up", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&again.stdout).ok(), Some(up), "a second up changes nothing");

    let opened = lab.sre(&["open", "loki"]).stdout;
    assert_eq!(opened, format!("http://127.0.0.1:{}/\n", lab.port(parts[0])));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let endpoint = Endpoint::new(opened.trim().parse().expect("a URL"));
    let loki = Loki::new(&endpoint).expect("a client");
    let lines = |id: &str| {
        let query = format!("{{service_name=\"shop\", service_instance_id=\"shop-0\"}} |= `{id}`");
        let now = jiff::Timestamp::now().as_second() * 1_000_000_000;
        let hour = 3_600_000_000_000;
        let lines = runtime.block_on(loki.lines(&query, now - hour, now + hour));
        lines.expect("it answers").len()
    };
    let replica = format!("http://127.0.0.1:{}/api/error", lab.port("shop-0"));
    let send = |id: &str| {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        runtime.block_on(client.get(&replica).header("x-request-id", id).send()).expect("an answer");
    };
    send("first-of-all");
    until("its line", || lines("first-of-all") == 1);
    // A label for each request would be an index entry for each.
    let labels = runtime.block_on(async {
        let url = endpoint.url.join("loki/api/v1/labels").expect("a URL");
        reqwest::get(url).await.expect("an answer").json::<Value>().await.expect("JSON")
    });
    assert_eq!(labels["data"], serde_json::json!(["service_instance_id", "service_name"]));

    process::kill(&lab.process(parts[1])).expect("killed");
    until("its death", || !process::is_alive(&lab.process(parts[1])));
    send("second-of-all");
    let why = || lab.sre(&["why", "line", "second-of-all"]);
    until("the line in its file", || why().stdout.contains("by shop-0"));
    assert_eq!(why().code, 1);
    assert!(why().stdout.contains(&format!("{} is dead.", parts[1])), "{}", why().stdout);
    let status = lab.sre(&["status"]);
    assert_eq!(status.code, 6);
    assert!(
        status.stdout.lines().all(|line| line.chars().count() <= 80 || line.starts_with("  {")),
        "{}",
        status.stdout
    );
    lab.json(&["up"]);
    until("what was written meanwhile", || lines("second-of-all") == 1);
    assert_eq!(lines("first-of-all"), 1, "what was sent before is not there twice");
    assert_eq!(lab.sre(&["down"]).code, 0);
    assert!(lab.marked().is_empty());
}

#[test]
fn a_lab_without_logs_has_nothing_that_keeps_them() {
    let lab = TestLab::new().alone();
    with_logs(&lab, "false");
    let up = lab.json(&["up", "shop"]);
    assert_eq!(up["endpoints"]["loki"], Value::Null);
    assert!(
        pids(&up)
            .iter()
            .all(|(name, _)| !["loki", "logstore", "collector", "logshipper"].contains(&name.as_str()))
    );
    assert_eq!(lab.sre(&["down"]).code, 0);
}

#[test]
fn a_loki_that_is_asked_for_and_cannot_be_had_is_an_error_before_anything_runs() {
    let lab = TestLab::new().alone();
    with_logs(&lab, "loki");
    let up = lab.sre(&["up", "shop", "--yes"]);
    assert_eq!(up.code, 5, "{}", up.stderr);
    assert!(up.stderr.contains("loki"), "{}", up.stderr);
    assert!(lab.marked().is_empty());
}

#[test]
fn another_program_of_the_name_of_loki_is_passed_over() {
    let lab = TestLab::new().alone();
    with_logs(&lab, "true");
    let other = lab.path().join("nowhere/loki");
    std::fs::create_dir_all(other.parent().expect("a folder")).expect("made");
    std::fs::write(&other, "#!/bin/sh\necho 'usage: loki parameters' >&2\nexit 1\n").expect("written");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&other, executable).expect("executable");
    let up = lab.sre(&["up", "shop", "-o", "json"]);
    assert_eq!(up.code, 0, "{}", up.stderr);
    assert!(
        up.stderr.lines().any(|line| line.contains("nowhere/loki") && line.contains("passed over")),
        "{}",
        up.stderr
    );
    let told: Value = serde_json::from_str(&up.stdout).expect("JSON");
    assert_eq!(pids(&told)[0].0, "logstore");
    assert_eq!(lab.sre(&["down"]).code, 0);
}
