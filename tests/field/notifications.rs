//! Notifications that are inhibited, silenced, rerouted, relabelled or large.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use axum::body::Body;
use axum::http::{Response, Uri};
use serde_json::{Value, json};

use crate::lab::{Lab, Verdict, until, verdict};
use crate::liar::{Liar, Lie};
use crate::serve::{Served, serve};

const LOAD: &str = "phases: [{duration: 6s, rate: 20/s}]";
const RULES: &str = "groups: [{name: g, interval: 1s, rules: [\
    {alert: Alarm, expr: alarm == 1, labels: {severity: ticket}}, \
    {alert: Broken, expr: alarm == 1, labels: {severity: page}}]}]\n";
const CHECKS: &str = "[{alert: {name: Alarm, labels: {severity: ticket}, fires: 10s, resolves: 20s, delivered: 4s, \
    along: [Broken]}}]";
const ROUTE: &str = "route: {receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s}\n";
const RECEIVERS: &str = "receivers: [{name: hook, webhook_configs: [{url: \"http://RECEIVER/alerts\", send_resolved: true}]}, {name: nobody}]\n";

/// A run in which the alarm is raised and ended.
fn run(lab: &Lab, liar: &Liar) -> Verdict {
    judged_by(lab, liar, CHECKS)
}

/// The same with other checks.
fn judged_by(lab: &Lab, liar: &Liar, checks: &str) -> Verdict {
    lab.scenario(LOAD, checks);
    raised(lab, liar)
}

/// The same of the scenario that is there.
fn raised(lab: &Lab, liar: &Liar) -> Verdict {
    let before = liar.requests();
    let mut run = lab.run();
    let ended = |run: &mut Child| run.try_wait().is_ok_and(|ended| ended.is_some());
    until("the load", || liar.requests() >= before + 5 || ended(&mut run));
    liar.alarm(true);
    until("most of the load", || liar.requests() >= before + 90 || ended(&mut run));
    liar.alarm(false);
    verdict(run)
}

#[test]
fn an_alert_that_another_one_inhibits_is_told_with_that_one() {
    let liar = Liar::start(Lie::None);
    let inhibit = "inhibit_rules: [{source_matchers: [severity=page], target_matchers: [severity=ticket], equal: [instance]}]\n";
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{ROUTE}{RECEIVERS}{inhibit}"))
        .with_rules(RULES)
        .start(None);
    run(&lab, &liar).is(1, "fail", "inhibits it because of Broken");
    assert_eq!(lab.sre(&["verify"]), Some(1), "a later look gives another verdict");
}

#[test]
fn an_alert_that_a_colleague_has_silenced_is_no_fault_of_its_rule() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{ROUTE}{RECEIVERS}"))
        .with_rules(RULES)
        .start(None);
    let now = jiff::Timestamp::now();
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "Alarm", "isRegex": false}],
        "startsAt": now.to_string(), "endsAt": (now + jiff::SignedDuration::from_mins(10)).to_string(),
        "createdBy": "ann", "comment": "moving house",
    });
    let alertmanager = lab.alertmanager().expect("an Alertmanager");
    let (status, _) = post(&format!("http://{alertmanager}/api/v2/silences"), silence.to_string());
    assert_eq!(status, 200);
    run(&lab, &liar).is(3, "no-data", "moving house");
    assert_eq!(lab.sre(&["verify"]), Some(3), "a later look gives another verdict");
}

#[test]
fn an_alert_that_ended_within_a_silence_is_not_told_again_at_once_and_that_is_said() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{ROUTE}{RECEIVERS}"))
        .with_rules(RULES)
        .start(None);
    let alertmanager = lab.alertmanager().expect("an Alertmanager");
    let held =
        || ask(&format!("http://{alertmanager}/api/v2/alerts?filter=alertname%3DAlarm")).contains("Alarm");
    liar.alarm(true);
    let receiver = lab.receiver().expect("a receiver");
    until("the notification", || ask(&format!("http://{receiver}/notifications")).contains("\"Alarm\""));
    let now = jiff::Timestamp::now();
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "Al.rm", "isRegex": true}],
        "startsAt": now.to_string(), "endsAt": (now + jiff::SignedDuration::from_mins(10)).to_string(),
        "createdBy": "ann", "comment": "moving house",
    });
    let (status, told) = post(&format!("http://{alertmanager}/api/v2/silences"), silence.to_string());
    assert_eq!(status, 200, "{told}");
    let id: Value = serde_json::from_str(&told).expect("its id");
    liar.alarm(false);
    until("its end", || !held());
    // Its group is left by what is over at the next tick of a second.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let id = id["silenceID"].as_str().expect("an id");
    blocking(async {
        let expired =
            reqwest::Client::new().delete(format!("http://{alertmanager}/api/v2/silence/{id}")).send().await;
        assert!(expired.expect("an answer").status().is_success());
    });
    run(&lab, &liar).is(3, "no-data", "moving house");
    crate::commands::sre(lab.folder.path(), &["verify"]).ends(3, "repeat_interval");
}

/// A server before another one, that answers some questions by itself.
fn before(
    to: std::net::SocketAddr,
    instead: impl Fn(&Uri) -> Option<Response<Body>> + Clone + Send + Sync + 'static,
) -> Served {
    serve(axum::Router::new().fallback(move |uri: Uri| {
        let instead = instead.clone();
        async move {
            if let Some(answer) = instead(&uri) {
                return answer;
            }
            let url = format!("http://{to}{}", uri.path_and_query().map_or("/", |all| all.as_str()));
            let answer = reqwest::get(url).await.expect("an answer");
            let status = answer.status();
            let body = answer.bytes().await.expect("a body");
            Response::builder().status(status).body(Body::from(body)).expect("a response")
        }
    }))
}

fn refusal(status: u16, location: &str) -> Response<Body> {
    let refusal = Response::builder().status(status).header("location", location);
    refusal.body(Body::from(r#"{"status":"error","error":"no"}"#)).expect("a response")
}

#[test]
fn what_cannot_be_asked_about_a_notification_has_not_lost_it() {
    const HONEST: u8 = 0;
    const RECEIVER_ELSEWHERE: u8 = 1;
    const PROMETHEUS_REFUSES: u8 = 2;
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{ROUTE}{RECEIVERS}"))
        .with_rules(RULES)
        .start(None);
    let (mode, alerts_told) = (Arc::new(AtomicU8::new(HONEST)), Arc::new(AtomicBool::new(false)));
    let of_receiver = mode.clone();
    let receiver = before(lab.receiver().expect("a receiver"), move |_| {
        let elsewhere = of_receiver.load(Ordering::SeqCst) == RECEIVER_ELSEWHERE;
        elsewhere.then(|| refusal(302, "https://login.example/"))
    });
    let of_prometheus = mode.clone();
    let prometheus = before(lab.prometheus, move |uri| {
        // From when the check has seen the alert on.
        let query = uri.query().unwrap_or_default();
        alerts_told.fetch_or(query.contains("ALERTS"), Ordering::SeqCst);
        let refuses = of_prometheus.load(Ordering::SeqCst) == PROMETHEUS_REFUSES
            && alerts_told.load(Ordering::SeqCst)
            && query.contains("time%28%29");
        refuses.then(|| refusal(400, "/"))
    });
    let own = lab.receiver().expect("a receiver").to_string();
    let lab = lab.asked_at(&format!("http://{}", prometheus.address));
    lab.scenario(LOAD, CHECKS);
    lab.rewrite("stacks/liar/stack.yaml", &own, &receiver.address.to_string());
    raised(&lab, &liar).is(0, "pass", "the resolution was notified");
    for (spoilt, told) in [(RECEIVER_ELSEWHERE, "https://login.example/"), (PROMETHEUS_REFUSES, "400")] {
        mode.store(spoilt, Ordering::SeqCst);
        crate::commands::sre(lab.folder.path(), &["verify"]).ends(3, told);
    }
}

#[test]
fn an_alert_that_is_routed_elsewhere_is_told_with_where() {
    let liar = Liar::start(Lie::None);
    let route = ROUTE.replace("receiver: hook", "receiver: nobody");
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{route}{RECEIVERS}"))
        .with_rules(RULES)
        .start(None);
    let verdict = run(&lab, &liar);
    verdict.is(1, "fail", "routes lead to: nobody");
    assert!(!verdict.json.to_string().contains("sre logs"), "there are no such logs on this target");
}

#[test]
fn an_alert_that_is_relabelled_on_the_way_is_told_with_its_labels_there() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{ROUTE}{RECEIVERS}"))
        .configured(
            "alerting: {alertmanagers",
            "alerting: {alert_relabel_configs: [{target_label: severity, replacement: none}], alertmanagers",
        )
        .with_rules(RULES)
        .start(None);
    run(&lab, &liar).is(3, "no-data", "labels are changed on the way");
}

#[test]
fn a_group_that_waits_for_longer_than_a_notification_may_take_is_told() {
    let liar = Liar::start(Lie::None);
    let route = ROUTE.replace("group_interval: 1s", "group_interval: 2m");
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{route}{RECEIVERS}"))
        .with_rules(RULES)
        .start(None);
    run(&lab, &liar).is(1, "fail", "Alertmanager may wait 2 min");
}

#[test]
fn a_route_that_is_muted_at_this_time_is_no_fault_of_the_alert() {
    let liar = Liar::start(Lie::None);
    let route = ROUTE.replace(
        "group_interval: 1s",
        "group_interval: 1s, routes: [{matchers: [alertname=Alarm], mute_time_intervals: [nights]}]",
    );
    let always = "time_intervals: [{name: nights, time_intervals: [{weekdays: [\"sunday:saturday\"]}]}]\n";
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{route}{RECEIVERS}{always}"))
        .with_rules(RULES)
        .start(None);
    let verdict = run(&lab, &liar);
    match tells_of_muting(&lab) {
        true => verdict.is(3, "no-data", "time interval nights"),
        // It does not say why it is silent.
        false => verdict.is(1, "fail", "routes lead to: hook"),
    }
}

/// Alertmanager tells from 0.28 on which time intervals mute an alert.
fn tells_of_muting(lab: &Lab) -> bool {
    let alertmanager = lab.alertmanager().expect("an Alertmanager");
    let status: Value =
        serde_json::from_str(&ask(&format!("http://{alertmanager}/api/v2/status"))).expect("its status");
    let version = status["versionInfo"]["version"].as_str().expect("a version");
    let minor = version.split('.').nth(1).expect("a minor version");
    minor.parse::<u32>().expect("a number") >= 28
}

/// Rules of an alert that fires for 3,000 pods at once, made of nothing but the alarm.
fn storm() -> String {
    let times = |name: &str, of: &str, label: &str, many: usize| {
        let each = |i| format!("label_replace({of}, \"{label}\", \"{i}\", \"\", \"\")");
        let all: Vec<String> = (0..many).map(each).collect();
        format!("{{record: {name}, expr: '{}'}}", all.join(" or "))
    };
    let tens = times("lab:tens", "vector(1)", "zone", 10);
    let hundreds = times("lab:hundreds", "lab:tens", "node", 10);
    let thousands = times("lab:thousands", "lab:hundreds", "pod", 30);
    let alert = "{alert: Alarm, expr: 'lab:thousands == 1 and on() (max(alarm) == 1)', for: 1s, \
                 annotations: {summary: 'The pod {{ $labels.pod }} is not ready'}}";
    format!("groups: [{{name: g, interval: 1s, rules: [{tens}, {hundreds}, {thousands}, {alert}]}}]\n")
}

#[test]
fn thousands_of_alerts_are_judged_and_told_in_few_lines() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar])
        .with_notifications_by(&format!("{ROUTE}{RECEIVERS}"))
        .with_rules(&storm())
        .start(None);
    let expected = "[{alert: {name: Alarm, fires: 15s, resolves: 25s, delivered: 15s}}]";
    judged_by(&lab, &liar, expected).is(0, "pass", "the resolution was notified");
    let unexpected = judged_by(&lab, &liar, "[{reconcile: {wait: 10s}}, {no-alerts: {}}]");
    unexpected.is(1, "fail", "3,000 fired");
    let told = unexpected.json.to_string().len() + unexpected.stderr.len();
    assert!(told < 64 << 10, "{told} bytes are told of it");
}

/// `sre receiver`, with a line of its stderr for each thing that it tells.
struct Receiver {
    process: Child,
    told: std::sync::mpsc::Receiver<String>,
    url: String,
}

impl Receiver {
    fn start(mut command: Command, store: &std::path::Path) -> Receiver {
        let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        command.args(["receiver", "--listen", &address.to_string(), "--store"]).arg(store);
        let mut process = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let (send, told) = std::sync::mpsc::channel();
        let lines = BufReader::new(process.stderr.take().expect("its stderr")).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        let receiver = Receiver { process, told, url: format!("http://{address}") };
        assert!(receiver.next().contains(&format!("{}/alerts", receiver.url)), "it tells its address");
        receiver
    }

    fn next(&self) -> String {
        self.told.recv_timeout(std::time::Duration::from_secs(60)).expect("it tells something")
    }

    fn notifications(&self) -> Vec<Value> {
        let text = ask(&format!("{}/notifications", self.url));
        serde_json::from_str(&text).expect("an array")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sre() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sre"))
}

/// What Alertmanager sends for a group of so many alerts.
fn notification(alerts: usize, truncated: u64) -> String {
    let alert = |i: usize| {
        json!({
            "status": "firing", "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "labels": {"alertname": "PodNotReady", "pod": format!("shop-7d9c5b-{i:05}")},
            "annotations": {"description": "It was asked for and is not there. ".repeat(8)},
            "generatorURL": "http://prometheus.lab:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
            "fingerprint": format!("{i:016x}"),
        })
    };
    let alerts: Vec<Value> = (0..alerts).map(alert).collect();
    json!({"version": "4", "status": "firing", "truncatedAlerts": truncated, "alerts": alerts}).to_string()
}

fn blocking<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

fn post(url: &str, body: String) -> (u16, String) {
    blocking(async {
        let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    })
}

fn ask(url: &str) -> String {
    blocking(async { reqwest::get(url).await.expect("an answer").text().await.expect("a body") })
}

#[test]
fn a_notification_of_thousands_of_alerts_is_kept() {
    let place = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(sre(), &place.path().join("kept.ndjson"));
    let alerts = format!("{}/alerts", receiver.url);
    let large = notification(6_000, 7);
    assert!(large.len() > 3_000_000, "it is larger than a framework's usual bound");
    assert_eq!(post(&alerts, large).0, 200);
    let told = receiver.next();
    assert!(told.contains("6,000 alerts, and 7 more that were left out"), "{told}");
    let kept = receiver.notifications();
    assert_eq!(kept[0]["alerts"].as_array().expect("alerts").len(), 6_000);
    assert_eq!((&kept[0]["id"], &kept[0]["truncatedAlerts"]), (&json!(1), &json!(7)));
}

#[test]
fn what_is_refused_is_told_with_the_reason() {
    let place = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(sre(), &place.path().join("kept.ndjson"));
    let alerts = format!("{}/alerts", receiver.url);
    assert_eq!(post(&alerts, "{\"status\": \"firing\"}".into()).0, 422);
    let told = receiver.next();
    assert!(told.contains("refused") && told.contains("missing field `alerts`"), "{told}");
    assert_eq!(post(&alerts, " ".repeat(17 << 20)).0, 413);
    assert!(receiver.next().contains("longer than"));
    assert_eq!(receiver.notifications(), Vec::<Value>::new());
}

#[test]
fn a_full_disk_loses_no_notification_and_leaves_no_half_line() {
    let place = tempfile::tempdir().expect("a folder");
    let store = place.path().join("kept.ndjson");
    // A file may have 64 kB; the soft bound, so that it can be lifted as a disk is cleared.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 128; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_sre")]);
    let receiver = Receiver::start(limited, &store);
    let alerts = format!("{}/alerts", receiver.url);
    assert_eq!(post(&alerts, notification(50, 0)).0, 200);
    assert_eq!(post(&alerts, notification(200, 0)).0, 507, "Alertmanager sends it again");
    let text = std::fs::read_to_string(&store).expect("the file");
    assert!(text.lines().count() == 1 && text.ends_with('\n'), "half a line is left");
    assert_eq!(post(&alerts, notification(10, 0)).0, 200);
    let kept = || {
        let ids = receiver.notifications().into_iter().map(|notification| notification["id"].clone());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(kept(), [json!(1), json!(2)]);
    drop(receiver);
    let again = Receiver::start(sre(), &store);
    assert_eq!(again.notifications().len(), 2, "what was answered 200 is there after a restart");
}
