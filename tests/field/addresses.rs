//! Addresses of services as people write them: IPv6 literals, several addresses of one name, paths.

use std::net::{SocketAddr, TcpListener};

use crate::commands::{sre, sre_with};
use crate::lab::Lab;
use crate::liar::{Liar, Lie};
use crate::programs::{Running, free, get_json, prometheus};

const LOAD: &str = "phases: [{duration: 4s, rate: 50/s}]";
const CHECKS: &str = "[{targets: {wait: 10s}}, {reconcile: {wait: 10s}}]";
const STACK: &str = "stacks/liar/stack.yaml";

/// A free port on the loopback of IPv6; none where this machine has none.
fn free_6() -> Option<SocketAddr> {
    TcpListener::bind("[::1]:0").and_then(|listener| listener.local_addr()).ok()
}

#[test]
fn an_ipv6_literal_is_an_address_like_any_other() {
    let (Some(service), Some(watching)) = (free_6(), free_6()) else {
        return crate::needs::skipped("ipv6", "this machine has no [::1]");
    };
    let place = tempfile::tempdir().expect("a folder");
    let config = |targets: &str| {
        format!("global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\nscrape_configs: [{targets}]\n")
    };
    // A service that counts its requests: a Prometheus, as in docs/external.md.
    let service = Running::prometheus(&prometheus(), place.path(), "service", service, &config(""), &[]);
    let shop = format!("{{job_name: shop, static_configs: [{{targets: [\"{}\"]}}]}}", service.address);
    let watching =
        Running::prometheus(&prometheus(), place.path(), "watching", watching, &config(&shop), &[]);
    let healthy = format!("{}/-/healthy", service.url());
    crate::lab::until("a request to begin with", || {
        get_json(&healthy, &[]);
        let counted = [("query", "prometheus_http_requests_total{handler=\"/-/healthy\"}")];
        let answer = get_json(&format!("{}/api/v1/query", watching.url()), &counted);
        answer["data"]["result"].as_array().is_some_and(|series| !series.is_empty())
    });
    let path = place.path();
    sre(path, &["init", "--external", &service.url(), "--prometheus", &watching.url()]).ends(0, "[::1]:");
    sre(path, &["up", "my-service", "--target", "external"]).ends(0, "my-service");
    sre(path, &["run", "my-service", "--duration", "2s"]).ends(0, "10 = 10");
}

#[test]
fn a_prometheus_below_a_path_is_asked_there() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]);
    crate::observers::with_rules(&lab);
    let at = free();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\n\
         scrape_configs: [{{job_name: liar, static_configs: [{{targets: [\"{}\"]}}]}}]\n",
        liar.metrics
    );
    let external = format!("--web.external-url=http://{at}/watch/");
    let _below = Running::prometheus(&prometheus(), lab.folder.path(), "below", at, &config, &[&external]);
    let lab = lab.asked_at(&format!("http://{at}/watch"));
    lab.scenario(LOAD, CHECKS);
    crate::lab::until("Prometheus", || std::net::TcpStream::connect(at).is_ok());
    sre(lab.folder.path(), &["up", "liar", "--target", "external"]).ends(0, "/watch");
    lab.verdict().is(0, "pass", "200 = 200");
}

#[test]
fn addresses_stand_in_the_stack_s_file_and_nowhere_else() {
    let (first, second) = (Liar::start(Lie::None), Liar::start(Lie::None));
    let jobs: [(&str, &[SocketAddr]); 1] = [("liar", &[first.metrics, second.metrics])];
    let lab = Lab::with_jobs(&[&first], &jobs).start(None);
    lab.scenario(LOAD, CHECKS);
    let path = lab.folder.path();
    sre(path, &["up", "liar", "--target", "external"]).ends(0, "liar");
    lab.rewrite(STACK, &first.address.to_string(), &second.address.to_string());
    lab.rewrite(STACK, &first.metrics.to_string(), &second.metrics.to_string());
    let run = ["run", "lie"];
    sre(path, &run).ends(0, "200 = 200").ends(0, "were changed: looking there");
    assert_eq!((first.requests(), second.requests()), (0, 200), "the new address got the load");
    // What does not answer is told before anything is sent.
    lab.rewrite(STACK, &second.address.to_string(), "127.0.0.1:9");
    sre(path, &run).ends(6, "does not answer on http://127.0.0.1:9");
    sre(path, &["load", "lie"]).ends(6, "does not answer on http://127.0.0.1:9");
}

#[test]
fn a_proxy_of_the_environment_is_not_asked_for_loopback() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, CHECKS);
    let nobody = "http://127.0.0.1:9";
    let proxies =
        [("HTTP_PROXY", nobody), ("http_proxy", nobody), ("HTTPS_PROXY", nobody), ("ALL_PROXY", nobody)];
    sre_with(lab.folder.path(), &["run", "lie", "--target", "external"], &proxies).ends(0, "200 = 200");
}

#[test]
fn a_stack_that_is_elsewhere_says_where() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, CHECKS);
    sre(lab.folder.path(), &["run", "lie", "--target", "local"]).ends(2, "--target external");
}

#[test]
fn a_scenario_s_name_may_have_dots() {
    let liar = Liar::start(Lie::None);
    let lab = Lab::new(&[&liar]).start(None);
    lab.scenario(LOAD, CHECKS);
    lab.rewrite("scenarios/lie.yaml", "name: lie", "name: v1.2");
    std::fs::rename(lab.path("scenarios/lie.yaml"), lab.path("scenarios/v1.2.yaml")).expect("renamed");
    let path = lab.folder.path();
    sre(path, &["validate", "scenarios/v1.2.yaml"]).ends(0, "");
    sre(path, &["run", "v1.2", "--target", "external"]).ends(0, "200 = 200");
}
