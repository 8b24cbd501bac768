//! The stack file and the scenario file of a service that was looked at: pure.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::look::Found;
use super::propose::Proposal;
use crate::observe::is_bare;
use crate::stack::{MethodAs, StatusAs};
use crate::target::{Credentials, Endpoint};

/// The addresses that a stack file names.
#[derive(Debug, Clone)]
pub struct Addresses<'a> {
    /// The service's base URLs; never empty.
    pub services: &'a [Url],
    /// Prometheus.
    pub prometheus: &'a Endpoint,
    /// Alertmanager.
    pub alertmanager: Option<&'a Url>,
    /// The receiver of notifications.
    pub receiver: Option<&'a Url>,
    /// Loki.
    pub loki: Option<&'a Url>,
}

/// A stack file for the service, with comments on what may have to be changed.
pub fn stack_file(name: &str, found: &Found, addresses: &Addresses<'_>) -> String {
    let best = found.best();
    let services: Vec<&str> = addresses.services.iter().map(Url::as_str).collect();
    let told = format!("{}, watched by {}", services.join(", "), addresses.prometheus.url);
    let mut text = format!(
        "# A service of your own: `sre` starts and stops nothing here.\n\
         name: {name}\n\
         description: {told}\n\n\
         # Each request must raise exactly one series of this counter, by one.\n\
         counter:\n  metric: {metric}\n  job: {job}\n",
        told = quoted(&told),
        metric = bare(&best.metric),
        job = quoted(&found.job),
    );
    text += &labels(found);
    for other in found.proposals.iter().skip(1).take(4) {
        let labels: Vec<&str> =
            [&other.path, &other.method, &other.status].into_iter().flatten().map(String::as_str).collect();
        text += &format!("  # or: {} ({})\n", other.metric, labels.join(", "));
    }
    let quoted_all =
        |values: &[&str]| values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ");
    text += &format!("\nexternal:\n  service: [{}]\n", quoted_all(&services));
    text += "  # Each of these must be scraped, or nothing is said of the counts. Leave the key out where replicas\n";
    text += "  # come and go.\n";
    let instances: Vec<&str> = found.instances.iter().map(String::as_str).collect();
    text += &format!("  instances: [{}]\n", quoted_all(&instances));
    text += &endpoint("prometheus", addresses.prometheus);
    for (key, url) in
        [("alertmanager", addresses.alertmanager), ("receiver", addresses.receiver), ("loki", addresses.loki)]
    {
        match url {
            Some(url) => text += &endpoint(key, &Endpoint::new(url.clone())),
            None => text += &format!("  # {key}: {{url: \"http://…\"}}\n"),
        }
    }
    text += "  # Credentials are named by the environment variables that hold them:\n";
    text += "  #   credentials: {bearer: PROMETHEUS_TOKEN}\n";
    text += "  #   credentials: {basic: {user: PROMETHEUS_USER, password: PROMETHEUS_PASSWORD}}\n";
    text
}

/// The labels of the counter, and what does not count.
fn labels(found: &Found) -> String {
    let best = found.best();
    let mut text = String::new();
    match (found.path_label(), best.path.as_ref().or(best.handler.as_ref())) {
        (Some(label), _) => text += &format!("  path: {}\n", bare(label)),
        (None, Some(label)) => {
            let values = best.values(|seen| seen.path.as_deref());
            text += &format!(
                "  # path: {label}  # its values ({}) are no paths: with it, each request names its own by `labels`\n",
                some(&values)
            );
        }
        (None, None) => text += "  # path: the label that holds the path; none was found\n",
    }
    match &best.method {
        Some(label) => text += &format!("  method: {}\n", bare(label)),
        None => text += "  # method: the label that holds the method; none was found\n",
    }
    if best.method_as == MethodAs::Lower {
        text += "  method_as: lower\n";
    }
    match &best.status {
        Some(label) => text += &format!("  status: {}\n", bare(label)),
        None => text += "  # status: the label that holds the status; none was found\n",
    }
    if best.status_as == StatusAs::Class {
        text += "  status_as: class\n";
    }
    if let Some((label, values)) = found.scrapes() {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        text += "  # What others send does not count: Prometheus' scrapes here; add the paths of health probes.\n";
        text += &format!("  except: {{{}: [{}]}}\n", bare(label), values.join(", "));
    }
    text
}

fn endpoint(key: &str, endpoint: &Endpoint) -> String {
    let credentials = match &endpoint.credentials {
        None => String::new(),
        Some(Credentials::Bearer(token)) => format!(", credentials: {{bearer: {token}}}"),
        Some(Credentials::Basic { user, password }) => {
            format!(", credentials: {{basic: {{user: {user}, password: {password}}}}}")
        }
    };
    let headers = match endpoint.headers.is_empty() {
        true => String::new(),
        // JSON is YAML.
        false => format!(", headers: {}", serde_json::to_string(&endpoint.headers).unwrap_or_default()),
    };
    format!("  {key}: {{url: {}{credentials}{headers}}}\n", quoted(endpoint.url.as_str()))
}

/// A scenario to begin with: the paths that were answered well, gently.
pub fn scenario_file(name: &str, found: &Found) -> String {
    let mut text = format!(
        "# A gentle load to begin with. Every key is told in docs/scenarios.md.\n\
         name: {name}\n\
         description: A few requests a second, each counted\n\
         stack: {name}\n\n\
         load:\n  arrival-rate:\n    phases:\n      - {{duration: 20s, rate: 5/s}}\n\n\
         # Paths that Prometheus has seen. They are requested as they stand here: is each of them harmless?\n\
         requests:\n"
    );
    let mut paths: Vec<(String, BTreeSet<String>)> = found.paths().into_iter().take(5).collect();
    if paths.is_empty() {
        paths.push(("/".into(), BTreeSet::new()));
    }
    let mut names = BTreeSet::new();
    for (path, statuses) in &paths {
        let name = request_name(path, &mut names);
        let expect = match statuses.is_empty() {
            true => "2xx, 3xx".to_owned(),
            false => statuses.iter().cloned().collect::<Vec<_>>().join(", "),
        };
        text += &format!("  {name}:\n    path: {}\n    expect: [{expect}]\n", quoted(path));
    }
    let templates = found.best().values(|seen| seen.path.as_deref().filter(|path| is_template(path)));
    if let (Some(label), false) = (found.path_label(), templates.is_empty()) {
        text += "  # A template stands for many paths: name one, and the label's value that counts it.\n";
        for template in templates.iter().take(3) {
            let path = example(template);
            let name = request_name(&path, &mut names);
            let labels = format!("{{{}: {}}}", bare(label), quoted(template));
            text += &format!("  # {name}: {{path: {}, labels: {labels}}}\n", quoted(&path));
        }
    }
    text += &format!("\nchecks:\n  - targets: {{jobs: [{}]}}\n  - reconcile: {{}}\n", quoted(&found.job));
    text
}

impl Found {
    /// The counter to begin with.
    pub fn best(&self) -> &Proposal {
        &self.proposals[0]
    }

    /// The label that tells paths apart, where any path that can be requested was seen under it.
    pub fn path_label(&self) -> Option<&str> {
        self.best().path.as_deref().filter(|_| !self.paths().is_empty())
    }

    /// The label and its values by which Prometheus' own scrapes are counted, or may be: a scrape is counted
    /// only in the next one.
    pub fn scrapes(&self) -> Option<(&str, Vec<String>)> {
        let best = self.best();
        let label = best.path.as_deref().or(best.handler.as_deref())?;
        let mut values = best.values(|seen| seen.path.as_deref().filter(|path| self.is_scraped(path)));
        if best.path.is_some() && values.is_empty() {
            values.clone_from(&self.scraped_paths);
        }
        (!values.is_empty()).then_some((label, values))
    }

    fn is_scraped(&self, path: &str) -> bool {
        let bare = |path: &str| path.trim_matches('/').to_owned();
        self.scraped_paths.iter().any(|scraped| bare(scraped) == bare(path))
    }

    /// Paths that were got with success, and the statuses that they were answered with.
    fn paths(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut paths: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let best = self.best();
        for seen in best.seen.iter().filter(|seen| seen.raised && best.path.is_some()) {
            let got = seen.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case("GET"));
            let well = seen.status.as_ref().is_none_or(|status| status.starts_with(['2', '3']));
            let Some(path) = seen.path.as_ref().filter(|_| got && well) else { continue };
            if path.starts_with('/') && !is_template(path) && !self.is_scraped(path) {
                paths.entry(path.clone()).or_default().extend(seen.status.clone());
            }
        }
        paths
    }
}

impl Proposal {
    /// Values that were seen, each once.
    pub fn values<'a>(&'a self, of: impl Fn(&'a super::Seen) -> Option<&'a str>) -> Vec<String> {
        let values: BTreeSet<&str> =
            self.seen.iter().filter_map(of).filter(|value| !value.is_empty()).collect();
        values.into_iter().map(str::to_owned).collect()
    }
}

/// Up to four of them, as a list in words.
pub fn some(values: &[String]) -> String {
    let mut shown: Vec<&str> = values.iter().take(4).map(String::as_str).collect();
    if values.len() > shown.len() {
        shown.push("…");
    }
    shown.join(", ")
}

/// A name for requests of a path, unlike those before it: `api-users` for `/api/users`.
fn request_name(path: &str, names: &mut BTreeSet<String>) -> String {
    let words: Vec<&str> =
        path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let plain = match words.join("-").to_ascii_lowercase() {
        name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => name,
        name if name.is_empty() => "root".to_owned(),
        name => format!("path-{name}"),
    };
    let mut name = plain.clone();
    for number in 2.. {
        if names.insert(name.clone()) {
            break;
        }
        name = format!("{plain}-{number}");
    }
    name
}

/// `/users/{id}`, `/users/:id`, `/users/<id>`, `/files/*path`, `/a/$b`: no path that can be requested.
fn is_template(path: &str) -> bool {
    path.contains(['{', ':', '<', '*', '$', '(', '[', ' '])
}

/// A path that a template may stand for.
fn example(template: &str) -> String {
    let segments = template.split('/').map(|segment| if is_template(segment) { "1" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// A name as it is, where YAML takes it for text anywhere; else quoted.
fn bare(name: &str) -> String {
    if is_bare(name) { name.to_owned() } else { quoted(name) }
}

/// As a double-quoted scalar, which YAML shares with JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::stack::Stack;
    use crate::target::external::propose;

    fn found(series: &[(&[(&str, &str)], f64)]) -> Found {
        let series: Vec<_> = series
            .iter()
            .map(|(labels, value)| {
                let own = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                (own.chain([("__name__".into(), "http_requests_total".into())]).collect(), *value)
            })
            .collect();
        Found {
            prometheus: "2.42.0".into(),
            job: "shop: 1".into(),
            instances: vec!["127.0.0.1:8080".into()],
            scraped_paths: vec!["/metrics".into()],
            proposals: propose(&series),
        }
    }

    fn files(found: &Found, prometheus: &Endpoint) -> (Stack, Scenario) {
        let services = [Url::parse("http://127.0.0.1:8080").expect("a URL")];
        let addresses =
            Addresses { services: &services, prometheus, alertmanager: None, receiver: None, loki: None };
        let stack = stack_file("my-service", found, &addresses);
        let scenario = scenario_file("my-service", found);
        (serde_saphyr::from_str(&stack).expect(&stack), serde_saphyr::from_str(&scenario).expect(&scenario))
    }

    fn prometheus() -> Endpoint {
        Endpoint::new(Url::parse("http://127.0.0.1:9090").expect("a URL"))
    }

    fn requests(scenario: &Scenario) -> Vec<(&str, String)> {
        let expect =
            |request: &crate::scenario::Request| serde_json::to_string(&request.expect).expect("JSON");
        scenario.requests.values().map(|request| (request.path.as_str(), expect(request))).collect()
    }

    #[test]
    fn what_was_seen_makes_a_stack_and_a_scenario() {
        let found = found(&[
            (&[("handler", "/metrics"), ("method", "get"), ("code", "200")], 9.0),
            (&[("handler", "/shop"), ("method", "get"), ("code", "200")], 2.0),
            (&[("handler", "/shop"), ("method", "get"), ("code", "304")], 1.0),
            (&[("handler", "/shop"), ("method", "get"), ("code", "500")], 0.0),
            (&[("handler", "/cart"), ("method", "post"), ("code", "200")], 1.0),
            (&[("handler", "/broken"), ("method", "get"), ("code", "500")], 1.0),
            (&[("handler", "/users/{id}"), ("method", "get"), ("code", "200")], 1.0),
        ]);
        let (stack, scenario) = files(&found, &prometheus());
        assert_eq!(stack.counter.job.as_deref(), Some("shop: 1"));
        assert_eq!(stack.counter.path.as_deref(), Some("handler"));
        assert_eq!(stack.counter.method_as, MethodAs::Lower);
        assert_eq!(stack.counter.except["handler"], ["/metrics"]);
        assert_eq!(stack.external.expect("external").instances, ["127.0.0.1:8080"]);
        assert_eq!(requests(&scenario), [("/shop", "[200,304]".to_owned())]);
        let text = scenario_file("my-service", &found);
        let uncommented = text.replace("  # users-1:", "  users-1:");
        assert_ne!(uncommented, text);
        let scenario: crate::scenario::Scenario = serde_saphyr::from_str(&uncommented).expect("a scenario");
        let request = scenario.requests.get("users-1").expect("the request");
        assert_eq!((request.path.as_str(), request.labels["handler"].as_str()), ("/users/1", "/users/{id}"));
    }

    #[test]
    fn requests_are_named_after_their_paths() {
        let mut names = BTreeSet::new();
        let named = ["/", "/api/Users", "/api-users", "/1"].map(|path| request_name(path, &mut names));
        assert_eq!(named, ["root", "api-users", "api-users-2", "path-1"]);
    }

    #[test]
    fn names_of_handlers_are_left_out_so_that_the_first_run_can_pass() {
        let found = found(&[
            (&[("view", "index"), ("status", "2xx")], 1.0),
            (&[("view", "metrics"), ("status", "2xx")], 1.0),
        ]);
        let (stack, scenario) = files(&found, &prometheus());
        assert_eq!((stack.counter.path, stack.counter.status_as), (None, StatusAs::Class));
        assert_eq!(stack.counter.except["view"], ["metrics"]);
        assert_eq!(scenario.requests[0].path, "/");
    }

    #[test]
    fn where_only_scrapes_were_seen_the_path_tells_nothing_yet() {
        let found = found(&[(&[("handler", "/metrics"), ("code", "200")], 1.0)]);
        let (stack, scenario) = files(&found, &prometheus());
        assert_eq!((stack.counter.path, scenario.requests[0].path.as_str()), (None, "/"));
    }

    #[test]
    fn credentials_are_named_not_written() {
        let basic = Credentials::Basic { user: "PROM_USER".into(), password: "PROM_PASSWORD".into() };
        let endpoint = Endpoint { credentials: Some(basic.clone()), ..prometheus() };
        let (stack, _) = files(&found(&[(&[("code", "200")], 1.0)]), &endpoint);
        assert_eq!(stack.external.expect("external").prometheus.credentials, Some(basic));
    }
}
