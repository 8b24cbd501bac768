//! Something is not seen, and `sre why` names the first broken link: with the real programs, one link broken at a time.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::lab::{Lab, until};
use crate::liar::{Liar, Lie, LogLie};
use crate::stand_in::{Answer, StandIn};

const LOAD: &str = "phases: [{duration: 1s, rate: 5/s}]";
const RULES: &str = "groups: [{name: g, interval: 1s, rules: [{alert: Alarm, expr: alarm == 1, labels: {severity: page}}]}]\n";

/// What `sre why` told.
#[derive(Debug)]
struct Told {
    exit: i32,
    chain: Value,
    stderr: String,
}

impl Told {
    /// The link is broken, and this is told of it.
    #[track_caller]
    fn breaks(&self, link: &str, told: &str) {
        let last = self.chain["links"].as_array().and_then(|links| links.last()).expect("a link").to_string();
        assert_eq!((self.exit, &self.chain["broken"]), (1, &json!(link)), "{self:#?} {}", self.stderr);
        assert!(last.contains(told), "`{told}` is not told: {self:#?}");
    }

    #[track_caller]
    fn is_whole(&self) {
        assert_eq!((self.exit, &self.chain["verdict"]), (0, &json!("whole")), "{self:#?}");
    }
}

fn why(lab: &Lab, kind: &str, name: &str) -> Told {
    let command = Command::new(env!("CARGO_BIN_EXE_sre"))
        .args(["why", kind, name, "-o", "json"])
        .current_dir(lab.folder.path())
        .env_remove("SRE_TARGET")
        .stdin(Stdio::null())
        .output();
    let output = command.expect("sre starts");
    Told {
        exit: output.status.code().unwrap_or(-1),
        chain: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Has the lab be up, as long as all is well.
fn up(lab: &Lab) {
    lab.scenario(LOAD, "[{reconcile: {wait: 5s}}]");
    assert_eq!(lab.sre(&["up", "liar", "--target", "external"]), Some(0), "it comes up");
}

fn has(lab: &Lab, expression: &str) -> bool {
    lab.query(expression)["data"]["result"].as_array().is_some_and(|series| !series.is_empty())
}

/// A liar that was asked something, with its lab up.
fn counting(change: impl FnOnce(Lab) -> Lab) -> (Liar, Lab) {
    let liar = Liar::start(Lie::None);
    liar.ask("/ok");
    let lab = change(Lab::new(&[&liar])).start(None);
    up(&lab);
    (liar, lab)
}

#[test]
fn a_target_that_is_down_is_told_with_what_its_error_means() {
    let liar = Liar::start(Lie::Unscraped { after: 5 });
    let lab = Lab::new(&[&liar]).start(None);
    up(&lab);
    why(&lab, "target", "liar").is_whole();
    why(&lab, "target", "lair").breaks("Prometheus has a job for it", "did you mean `liar`?");
    (0..5).for_each(|_| liar.ask("/ok"));
    until("the target to be down", || has(&lab, "up == 0"));
    why(&lab, "target", "liar").breaks("it is scraped", "It closes the connection");
    why(&lab, "metric", "zebra{job=\"liar\"}").breaks("its target is scraped", "sre why target");
}

#[test]
fn a_target_that_relabelling_drops_is_told_with_the_rule() {
    let liar = Liar::start(Lie::None);
    let dropped = "scrape_configs:\n  - {job_name: kept-out, static_configs: [{targets: [\"127.0.0.1:9\"], labels: {env: test}}], \
                   relabel_configs: [{action: keep, source_labels: [env], regex: prod}]}\n";
    let lab = Lab::new(&[&liar]).configured("scrape_configs:\n", dropped).start(None);
    up(&lab);
    why(&lab, "target", "kept-out")
        .breaks("relabelling keeps it", "relabel_configs[0] (keep where env matches `prod`; it is `test`)");
}

#[test]
fn a_metric_that_is_not_stored_is_told_with_where_it_was_lost() {
    let relabelling = "  - {job_name: liar, metric_relabel_configs: [\
        {action: drop, source_labels: [__name__], regex: alarm}, \
        {source_labels: [__name__], regex: requests_total, target_label: __name__, replacement: asked_total}], static_configs";
    let (_liar, lab) = counting(|lab| lab.configured("  - {job_name: liar, static_configs", relabelling));
    until("the counter", || has(&lab, "asked_total"));
    why(&lab, "metric", "asked_total").is_whole();
    why(&lab, "metric", "asked_total{code=\"200\"}").is_whole();
    why(&lab, "metric", "asked_total{code=\"404\"}").breaks("its labels are as asked", "it is 200, 500.");
    why(&lab, "metric", "asked").breaks("its target exposes it", "Did you mean `asked_total`?");
    why(&lab, "metric", "alarm").breaks("relabelling keeps it", "metric_relabel_configs[0] (drop");
    why(&lab, "metric", "requests_total").breaks("relabelling keeps it", "stores it as asked_total");
}

#[test]
fn a_prometheus_that_is_gone_is_a_broken_link_and_one_that_refuses_is_not_known() {
    let (_liar, mut lab) = counting(|lab| lab);
    let wall = StandIn::before(lab.prometheus, |_| Answer::text(401, "text/plain", "who are you?"));
    let stack = std::fs::read_to_string(lab.path("stacks/liar/stack.yaml")).expect("the stack");
    let own = format!("http://{}", lab.prometheus);
    std::fs::write(lab.path("stacks/liar/stack.yaml"), stack.replace(&own, &wall.url())).expect("written");
    let told = why(&lab, "metric", "requests_total");
    assert_eq!((told.exit, &told.chain["verdict"]), (3, &json!("not-known")), "{told:#?}");
    assert_eq!(told.chain["unknown"], "Prometheus answers", "{told:#?}");
    std::fs::write(lab.path("stacks/liar/stack.yaml"), stack).expect("written");
    lab.kill("prometheus");
    why(&lab, "metric", "requests_total").breaks("Prometheus answers", "external.prometheus.url");
}

#[test]
fn an_alert_that_does_not_fire_is_told_with_where_it_stays() {
    let rules = "groups: [{name: g, interval: 1s, rules: [{alert: Alarm, expr: alarm == 1, for: 10m}, \
                 {alert: Typo, expr: alrm == 1}, {alert: Broken, expr: alarm * on () alarm_b}]}]\n";
    let (liar, lab) = counting(|lab| lab.with_rules(rules));
    until("the first evaluation", || {
        !why(&lab, "alert", "Alarm").chain.to_string().contains("not evaluated yet")
    });
    why(&lab, "alert", "Alarm").breaks("its expression holds now", "alarm is 0, and the alert wants == 1");
    why(&lab, "alert", "Typo").breaks("its series are there", "sre why metric alrm");
    why(&lab, "alert", "Alrm").breaks("the rule is loaded", "Did you mean `Alarm`?");
    liar.alarm(true);
    until("it to be pending", || has(&lab, "ALERTS{alertstate=\"pending\"}"));
    why(&lab, "alert", "Alarm").breaks("its expression holds for long enough", "of 10 min");
}

#[test]
fn a_rule_that_is_not_loaded_is_told_and_what_saw_no_data_names_the_command() {
    let (_liar, lab) = counting(|lab| lab);
    why(&lab, "alert", "Alarm").breaks("the rule is loaded", "The stack's files have it");
    lab.scenario(
        LOAD,
        "[{alert: {name: Alarm, fires: 1s, resolves: 1s, notified: false}}, {series: {series: gone_total, wait: 1s}}]",
    );
    let verdict = lab.verdict();
    verdict.is(3, "no-data", "`sre why alert Alarm` names the first broken link");
    verdict.is(3, "no-data", "`sre why metric gone_total` names the first broken link");
}

fn alarmed(configuration: &str) -> (Liar, Lab) {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).with_notifications_by(configuration).with_rules(RULES).start(None);
    up(&lab);
    liar.alarm(true);
    until("it to fire", || has(&lab, "ALERTS{alertstate=\"firing\"}"));
    (liar, lab)
}

const ROUTE: &str = "route: {receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s}\n";
const RECEIVERS: &str =
    "receivers: [{name: hook, webhook_configs: [{url: \"http://RECEIVER/alerts\"}]}, {name: nobody}]\n";

#[test]
fn a_notification_is_followed_to_the_receiver_and_told_with_the_schema() {
    let (_liar, mut lab) = alarmed(&format!("{ROUTE}{RECEIVERS}"));
    until("the notification", || why(&lab, "notification", "Alarm").exit == 0);
    let whole = why(&lab, "notification", "Alarm{severity=\"page\"}");
    whole.is_whole();
    let output = Command::new(env!("CARGO_BIN_EXE_sre")).args(["schema", "why", "-o", "json"]).output();
    let schema: Value = serde_json::from_slice(&output.expect("sre starts").stdout).expect("a schema");
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("why.json", schema).expect("a schema");
    let index = compiler.compile("why.json", &mut schemas).expect("it compiles");
    schemas.validate(&whole.chain, index).expect("it is as the schema says");
    lab.kill("receiver");
    why(&lab, "notification", "Alarm").breaks("the receiver answers", "external.receiver.url");
    lab.kill("alertmanager");
    why(&lab, "alert", "Alarm").breaks("Alertmanager answers", "external.alertmanager.url");
}

#[test]
fn an_alert_that_is_silenced_or_routed_to_nobody_is_told() {
    let (_liar, lab) =
        alarmed(&format!("{}{RECEIVERS}", ROUTE.replace("receiver: hook", "receiver: nobody")));
    until("Alertmanager to have it", || why(&lab, "alert", "Alarm").exit == 0);
    why(&lab, "notification", "Alarm").breaks("its route leads to a receiver that tells", "nobody");
    let now = jiff::Timestamp::now();
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "Alarm", "isRegex": false}],
        "startsAt": now.to_string(), "endsAt": (now + jiff::SignedDuration::from_mins(10)).to_string(),
        "createdBy": "ann", "comment": "moving house",
    });
    let alertmanager = lab.alertmanager().expect("an Alertmanager");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let silences = format!("http://{alertmanager}/api/v2/silences");
        let answer = reqwest::Client::new().post(silences).json(&silence).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
    });
    until("it to be silenced", || why(&lab, "alert", "Alarm").exit == 1);
    why(&lab, "alert", "Alarm").breaks("it is not silenced, inhibited or muted", "moving house");
}

#[test]
fn a_line_that_is_not_kept_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("liar.log");
    std::fs::write(&log, "").expect("a file");
    let liar = Liar::logging(log.clone(), LogLie::None);
    let mut lab = Lab::new(&[&liar]).with_store(None, 5000).start(None);
    up(&lab);
    let line = |id: &str| {
        let now = jiff::Timestamp::now();
        let text = format!("{{\"timestamp\":\"{now:.6}\",\"request_id\":\"{id}\",\"status\":500}}\n");
        let mut file = std::fs::File::options().append(true).open(&log).expect("the log");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    };
    line("one-1");
    why(&lab, "line", "one-1").breaks("the store has lines of the service", "does anything ship");
    lab.ship("shipper", None, &log, "beginning");
    until("the line to be kept", || why(&lab, "line", "one-1").exit == 0);
    lab.kill("shipper");
    line("two-2");
    why(&lab, "line", "two-2").breaks("the store has the line", "no line with “two-2”");
    lab.kill("loki");
    why(&lab, "line", "one-1").breaks("the log store answers", "external.loki.url");
}
