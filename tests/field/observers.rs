//! What stands in for Prometheus, and what stands before it. docs/prometheus.md tells the same as a table.

use serde_json::{Value, json};
use sre::observe::{Prometheus, QueryResult, one_of, selector};
use sre::target::Endpoint;

use crate::commands::{sre, sre_with};
use crate::lab::{Lab, until};
use crate::liar::{Liar, Lie};
use crate::programs::{Running, free, is_3, prometheus, prometheus_3, victoria_metrics};
use crate::serve::serve;
use crate::stand_in::{Answer, Asked, StandIn};

const LOAD: &str = "phases: [{duration: 4s, rate: 50/s}]";
const CHECKS: &str = "[{targets: {wait: 10s}}, {reconcile: {wait: 10s}}]";
const STACK: &str = "stacks/liar/stack.yaml";

/// Rules that the lab's stack names, where the lab's own Prometheus is not started.
pub fn with_rules(lab: &Lab) {
    let rules = "groups: [{name: lies, rules: [{alert: Alarm, expr: \"alarm == 1\"}]}]\n";
    std::fs::create_dir_all(lab.path("stacks/liar")).expect("a folder");
    std::fs::write(lab.path("stacks/liar/rules.yml"), rules).expect("written");
}

fn jobs(liar: &Liar) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\n\
         scrape_configs: [{{job_name: liar, static_configs: [{{targets: [\"{}\"]}}]}}]\n",
        liar.metrics
    )
}

/// A verdict on a service that counts, and one on a service that loses one in twenty.
fn both_verdicts(lab: impl Fn(&Liar) -> (Lab, Vec<Running>)) {
    for (lie, exit, word) in [(Lie::None, 0, "pass"), (Lie::Skips(20), 1, "fail")] {
        let liar = Liar::start(lie);
        let (lab, _observers) = lab(&liar);
        lab.scenario(LOAD, CHECKS);
        lab.verdict().is(exit, word, "200");
    }
}

#[test]
fn victoria_metrics_gives_the_verdicts_that_prometheus_gives() {
    let Some(program) = victoria_metrics() else { return };
    both_verdicts(|liar| {
        let lab = Lab::new(&[liar]);
        with_rules(&lab);
        let victoria = Running::victoria_metrics(&program, lab.folder.path(), free(), &jobs(liar));
        victoria.has("up", 1);
        (lab.asked_at(&victoria.url()), vec![victoria])
    });
}

#[test]
fn victoria_metrics_is_looked_at_by_init() {
    let Some(program) = victoria_metrics() else { return };
    let liar = Liar::start(Lie::None);
    liar.ask("/ok");
    let place = tempfile::tempdir().expect("a folder");
    let victoria = Running::victoria_metrics(&program, place.path(), free(), &jobs(&liar));
    victoria.has("requests_total > 0", 1);
    let service = format!("http://{}", liar.address);
    let init = ["init", "--external", &service, "--prometheus", &victoria.url(), "--job", "liar"];
    sre(place.path(), &init).ends(0, "requests_total");
    sre(place.path(), &["run", "my-service", "--target", "external", "--duration", "4s"]).ends(0, "20 = 20");
}

/// A number comes as one series without labels.
fn scalar_as_vector(mut answer: Value) -> Value {
    let data = &mut answer["data"];
    if data["resultType"] == "scalar" {
        let value = data["result"].take();
        *data = json!({"resultType": "vector", "result": [{"metric": {}, "value": value}]});
    }
    answer
}

#[test]
fn a_number_may_come_as_a_series_without_labels() {
    both_verdicts(|liar| {
        let lab = Lab::new(&[liar]).start(None);
        let stand_in = StandIn::before(lab.prometheus, |_| Answer::Changed(scalar_as_vector));
        let lab = lab.asked_at(&stand_in.url());
        std::mem::forget(stand_in);
        (lab, Vec::new())
    });
}

/// Thanos, Mimir, Cortex and managed ones.
fn lists_no_targets(asked: &Asked) -> Answer {
    match asked.path.as_str() {
        "/api/v1/targets"
        | "/api/v1/status/buildinfo"
        | "/api/v1/metadata"
        | "/api/v1/status/runtimeinfo" => Answer::text(404, "text/plain", "404 page not found\n"),
        _ => Answer::Its,
    }
}

#[test]
fn targets_that_nobody_lists_are_known_by_what_they_left_behind() {
    both_verdicts(|liar| {
        let lab = Lab::new(&[liar]).start(None);
        let stand_in = StandIn::before(lab.prometheus, lists_no_targets);
        let lab = lab.asked_at(&stand_in.url());
        std::mem::forget(stand_in);
        (lab, Vec::new())
    });
}

#[test]
fn a_target_that_nobody_lists_and_that_is_not_there_is_no_data() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    let stand_in = StandIn::before(lab.prometheus, lists_no_targets);
    let lab = lab.asked_at(&stand_in.url());
    lab.scenario(LOAD, CHECKS);
    lab.rewrite(STACK, "instances: [", "instances: [\"10.0.0.9:80\", ");
    sre(lab.folder.path(), &["up", "liar", "--target", "external"]).ends(6, "does not scrape 10.0.0.9:80");
}

/// One Prometheus that scrapes and writes on, as an agent or not.
fn sender(lab: &Lab, liar: &Liar, name: &str, label: (&str, &str), to: &str, agent: bool) -> Running {
    let (key, value) = label;
    let program = prometheus();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms, external_labels: {{{key}: \"{value}\"}}}}\n\
         scrape_configs: [{{job_name: liar, static_configs: [{{targets: [\"{}\"]}}]}}]\n\
         remote_write: [{{url: \"{to}/api/v1/write\", queue_config: {{batch_send_deadline: 200ms}}}}]\n",
        liar.metrics
    );
    let flags: &[&str] = match (agent, is_3(&program)) {
        (false, _) => &[],
        (true, true) => &["--agent"],
        (true, false) => &["--enable-feature=agent"],
    };
    Running::prometheus(&program, lab.folder.path(), name, free(), &config, flags)
}

/// One that is only written to, but for what scrapes itself.
fn receiver(lab: &Lab, own: &str) -> Running {
    let at = free();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\nscrape_configs: [{}]\n",
        own.replace("SELF", &at.to_string())
    );
    Running::prometheus(
        &prometheus(),
        lab.folder.path(),
        "receiver",
        at,
        &config,
        &["--web.enable-remote-write-receiver"],
    )
}

#[test]
fn what_an_agent_writes_on_is_as_good_as_what_is_scraped() {
    both_verdicts(|liar| {
        let lab = Lab::new(&[liar]);
        with_rules(&lab);
        let receiver = receiver(&lab, "");
        let agent = sender(&lab, liar, "agent", ("replica", "0"), &receiver.url(), true);
        receiver.has("up{job=\"liar\"}", 1);
        (lab.asked_at(&receiver.url()), vec![receiver, agent])
    });
}

#[test]
fn a_pair_of_replicas_counts_once() {
    both_verdicts(|liar| {
        let lab = Lab::new(&[liar]);
        with_rules(&lab);
        // It has a target of its own: the list of targets is not empty, and lacks the service.
        let receiver = receiver(&lab, "{job_name: own, static_configs: [{targets: [\"SELF\"]}]}");
        let first = sender(&lab, liar, "first", ("replica", "a"), &receiver.url(), false);
        let second = sender(&lab, liar, "second", ("replica", "b"), &receiver.url(), false);
        receiver.has("up{job=\"liar\"}", 2);
        let lab = lab.asked_at(&receiver.url()).with_job("liar");
        (lab, vec![receiver, first, second])
    });
}

#[test]
fn a_pair_of_replicas_under_a_label_that_nobody_knows_is_no_data_until_one_is_chosen() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]);
    with_rules(&lab);
    let receiver = receiver(&lab, "{job_name: own, static_configs: [{targets: [\"SELF\"]}]}");
    let _first = sender(&lab, &liar, "first", ("cluster", "a"), &receiver.url(), false);
    let _second = sender(&lab, &liar, "second", ("cluster", "b"), &receiver.url(), false);
    receiver.has("up{job=\"liar\"}", 2);
    let lab = lab.asked_at(&receiver.url()).with_job("liar");
    lab.scenario("phases: [{duration: 4s, rate: 50/s}]", "[{reconcile: {wait: 10s}}]");
    lab.verdict().is(3, "no-data", "told apart by `cluster` alone");
    lab.rewrite("stacks/liar/stack.yaml", "counter: {", "counter: {where: {cluster: a}, ");
    lab.verdict().is(0, "pass", "200 = 200");
}

#[test]
fn what_is_federated_is_as_good_as_what_is_scraped() {
    both_verdicts(|liar| {
        let lab = Lab::new(&[liar]).start(None);
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\n\
             scrape_configs: [{{job_name: federate, honor_labels: true, metrics_path: /federate, \
             params: {{\"match[]\": ['{{job=\"liar\"}}']}}, static_configs: [{{targets: [\"{}\"]}}]}}]\n",
            lab.prometheus
        );
        let above = Running::prometheus(&prometheus(), lab.folder.path(), "above", free(), &config, &[]);
        above.has("up{job=\"liar\"}", 1);
        let lab = lab.asked_at(&above.url()).with_job("liar");
        (lab, vec![above])
    });
}

#[test]
fn an_agent_says_that_it_answers_no_query() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]);
    with_rules(&lab);
    let agent = sender(&lab, &liar, "agent", ("replica", "0"), "http://127.0.0.1:9", true);
    until("the agent", || std::net::TcpStream::connect(agent.address).is_ok());
    let lab = lab.asked_at(&agent.url());
    lab.scenario(LOAD, CHECKS);
    let up = sre(lab.folder.path(), &["up", "liar", "--target", "external"]);
    up.ends(6, "An agent answers no query");
}

#[test]
fn a_tenant_is_named_by_a_header() {
    let liar = Liar::start(Lie::None);
    liar.ask("/ok");
    let lab = Lab::new(&[&liar]).start(None);
    let stand_in = StandIn::before(lab.prometheus, |asked| match asked.headers.get("x-scope-orgid") {
        Some(tenant) if tenant == "lab" => lists_no_targets(asked),
        _ => Answer::text(401, "text/plain", "no org id\n"),
    });
    let lab = lab.asked_at(&stand_in.url());
    lab.scenario(LOAD, CHECKS);
    let up = ["up", "liar", "--target", "external"];
    sre(lab.folder.path(), &up).ends(6, "no org id").ends(6, "X-Scope-OrgID");
    let url = format!("{{url: \"{}\"}}", stand_in.url());
    let with_tenant = format!("{{url: \"{}\", headers: {{X-Scope-OrgID: lab}}}}", stand_in.url());
    lab.rewrite(STACK, &url, &with_tenant);
    lab.verdict().is(0, "pass", "200 = 200");

    let service = format!("http://{}", liar.address);
    let init = ["init", "--external", &service, "--prometheus", &stand_in.url(), "--job", "liar"];
    sre(lab.folder.path(), &init).ends(3, "--prometheus-header");
    let init = [&init[..], &["--prometheus-header", "X-Scope-OrgID=lab"]].concat();
    sre(lab.folder.path(), &init).ends(0, "created");
    sre(lab.folder.path(), &["validate", "stacks/my-service"]).ends(0, "");
    let stack = std::fs::read_to_string(lab.path("stacks/my-service/stack.yaml")).expect("a stack");
    assert!(stack.contains("headers: {\"X-Scope-OrgID\":\"lab\"}"), "{stack}");
    let secret = [&init[..init.len() - 1], &["Authorization=Bearer s3cr3t"]].concat();
    let refused = sre(lab.folder.path(), &secret).ends(2, "no secrets in a file");
    drop(refused);
    lab.rewrite(STACK, "X-Scope-OrgID: lab", "Authorization: lab");
    sre(lab.folder.path(), &["validate", "stacks/liar"])
        .ends(2, "name environment variables by `credentials`");
}

/// A service whose names are as OpenTelemetry writes them.
fn dotted() -> (crate::serve::Served, std::net::SocketAddr) {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::sync::{Arc, Mutex};
    let counts: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let router = axum::Router::new().fallback(move |uri: axum::http::Uri| {
        let counts = Arc::clone(&counts);
        async move {
            let mut counts = counts.lock().expect("no panic");
            if uri.path() != "/metrics" {
                *counts.entry(uri.path().to_owned()).or_default() += 1;
                return ([("content-type", "text/plain".to_owned())], "ok".to_owned());
            }
            let mut page = "# TYPE \"http.server.request.duration_seconds\" histogram\n".to_owned();
            let mut other = "# TYPE \"größe\" counter\n".to_owned();
            for (path, n) in counts.iter() {
                let own = format!("\"http.route\"=\"{path}\",\"http.request.method\"=\"GET\",\"http.response.status_code\"=\"200\"");
                let name = "http.server.request.duration_seconds";
                let _ = writeln!(page, "{{\"{name}_bucket\",{own},le=\"+Inf\"}} {n}");
                let _ = writeln!(page, "{{\"{name}_sum\",{own}}} {n}");
                let _ = writeln!(page, "{{\"{name}_count\",{own}}} {n}");
                let _ = writeln!(other, "{{\"größe\",\"user id\"=\"{path}é\"}} {n}");
            }
            let kind = "text/plain; version=1.0.0; escaping=allow-utf-8; charset=utf-8";
            ([("content-type", kind.to_owned())], page + &other)
        }
    });
    let served = serve(router);
    let address = served.address;
    (served, address)
}

#[test]
fn names_with_dots_and_other_letters_are_found_and_counted() {
    let Some(program) = prometheus_3() else { return };
    let (_service, address) = dotted();
    let place = tempfile::tempdir().expect("a folder");
    let service = format!("http://{address}");
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\n\
         scrape_configs: [{{job_name: dotted, static_configs: [{{targets: [\"{address}\"]}}]}}]\n"
    );
    let prometheus = Running::prometheus(&program, place.path(), "prometheus", free(), &config, &[]);
    until("the service", || crate::programs::get_json(&format!("{service}/list"), &[]) == Value::Null);
    prometheus.has("{\"http.server.request.duration_seconds_count\"}", 1);
    let path = place.path();
    let init = ["init", "--external", &service, "--prometheus", &prometheus.url(), "--name", "dotted"];
    sre(path, &init)
        .ends(0, "http.server.request.duration_seconds_count")
        .ends(0, "http.response.status_code");
    sre(path, &["validate", "stacks/dotted", "scenarios/dotted.yaml"]).ends(0, "");
    let scenario = path.join("scenarios/dotted.yaml");
    let text = std::fs::read_to_string(&scenario).expect("a scenario");
    let raises = "raises: [{series: '{\"größe\", \"user id\"=\"/listé\"}'}]";
    assert!(text.contains("path: \"/list\"\n"), "{text}");
    let text = text.replace("path: \"/list\"\n", &format!("path: \"/list\"\n    {raises}\n"));
    let text = format!(
        "{text}  - series: {{series: '{{\"größe\", \"user id\"=~\"/list.*\"}}', labels: [user id]}}\n"
    );
    std::fs::write(&scenario, text).expect("written");
    sre(path, &["validate", "stacks/dotted", "scenarios/dotted.yaml"]).ends(0, "");
    let run = ["run", "dotted", "--target", "external", "--duration", "4s"];
    sre(path, &run).ends(0, "20 = 20").ends(0, "1 of 1 equal").ends(0, "größe");

    // What is quoted for RE2 is what is meant, letter by letter.
    let endpoint = Endpoint::new(prometheus.url().parse().expect("a URL"));
    let client = Prometheus::new(&endpoint).expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let asked = selector("größe", [one_of("user id", ["/listé", "/a.b"])]);
    let found = runtime.block_on(client.query(&asked, None)).expect("an answer");
    assert!(matches!(&found, QueryResult::Vector(series) if series.len() == 1), "{found:?}");
}

#[test]
fn a_label_with_other_letters_is_selected_on_every_prometheus() {
    let (_service, address) = {
        let router = axum::Router::new().fallback(|| async {
            (
                [("content-type", "text/plain; version=0.0.4")],
                "paths{path=\"/café\"} 1\npaths{path=\"/caf.\"} 2\n",
            )
        });
        let served = serve(router);
        let address = served.address;
        (served, address)
    };
    let place = tempfile::tempdir().expect("a folder");
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\n\
         scrape_configs: [{{job_name: paths, static_configs: [{{targets: [\"{address}\"]}}]}}]\n"
    );
    let observers = [
        Some(Running::prometheus(&prometheus(), place.path(), "prometheus", free(), &config, &[])),
        victoria_metrics().map(|program| Running::victoria_metrics(&program, place.path(), free(), &config)),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for observer in observers.into_iter().flatten() {
        observer.has("paths", 2);
        let client =
            Prometheus::new(&Endpoint::new(observer.url().parse().expect("a URL"))).expect("a client");
        for (path, value) in [("/café", 1.0), ("/caf.", 2.0)] {
            let asked = selector("paths", [one_of("path", [path, "\u{200b}日本"])]);
            let found = runtime.block_on(client.query(&asked, None)).expect(&asked);
            let QueryResult::Vector(series) = found else { panic!("{found:?}") };
            assert_eq!(series.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [value], "{asked}");
        }
    }
}

#[test]
fn a_prometheus_that_has_only_just_started_is_waited_for() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]);
    with_rules(&lab);
    let at = free();
    let lab = lab.asked_at(&format!("http://{at}")).with_job("liar");
    lab.scenario(LOAD, CHECKS);
    let prometheus = Running::prometheus(&prometheus(), lab.folder.path(), "young", at, &jobs(&liar), &[]);
    let ready = format!("{}/api/v1/status/runtimeinfo", prometheus.url());
    until("Prometheus to answer", || crate::programs::get_json(&ready, &[])["status"] == "success");
    let path = lab.folder.path();
    sre(path, &["up", "liar", "--target", "external"]).ends(0, "only just started");
}

#[test]
fn status_sends_the_credentials_and_looks_at_the_service_alone() {
    let (liar, other) = (Liar::start(Lie::Unavailable { after: 1 }), free());
    let jobs: [(&str, &[std::net::SocketAddr]); 2] = [("liar", &[liar.metrics]), ("other", &[other])];
    let lab = Lab::with_jobs(&[&liar], &jobs).start(None);
    let stand_in = StandIn::before(lab.prometheus, |asked| match asked.headers.get("authorization") {
        Some(token) if token == "Bearer s3cr3t" => Answer::Its,
        _ => Answer::text(401, "text/plain", "who is it?"),
    });
    let url = stand_in.url();
    let lab = lab.asked_at(&url).with_job("liar");
    lab.scenario(LOAD, "[{reconcile: {}}]");
    lab.rewrite(
        STACK,
        &format!("{{url: \"{url}\"}}"),
        &format!("{{url: \"{url}\", credentials: {{bearer: SRE_SECRET_TOKEN}}}}"),
    );
    let path = lab.folder.path();
    let set = [("SRE_SECRET_TOKEN", "s3cr3t")];
    sre_with(path, &["up", "liar", "--target", "external"], &set).ends(0, "liar");
    sre_with(path, &["status"], &set).ends(0, "targets: 1 of 1 healthy");
    sre(path, &["status"]).ends(5, "SRE_SECRET_TOKEN is not set");
    liar.ask("/ok");
    until("the service to be gone", || {
        let status = sre_with(path, &["status"], &set);
        assert!(!status.stdout.contains("sre up mends it"), "{status:#?}");
        status.exit == 6 && status.stdout.contains("sre starts nothing on the target external")
    });
}
