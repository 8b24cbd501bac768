//! What makes a stack sound, beyond its types. Pure: a stack in, problems out.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderName,
    HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use url::Url;

use super::{Counter, ExternalEndpoint, ExternalStack, LocalService, LocalStack, LogFormat, LogLines, Stack};
use crate::config::{Path, Problem, unknown};
use crate::scenario::{Check, Duration, checks, is_label_name, is_metric_name, stream_selector};
use crate::secret;

/// What stands in a local service's command for something that is known only when it starts.
const COMMAND_PLACEHOLDERS: [&str; 4] = ["sre", "listen", "admin", "replica"];
const MAX_REPLICAS: usize = 50;

/// Everything that is wrong with a stack, in the order of its keys; its files are not looked at.
pub fn validate(stack: &Stack) -> Vec<Problem> {
    let root = Path::root();
    let mut problems = Vec::new();
    counter(&stack.counter, &root.key("counter"), &mut problems);
    if let Some(lines) = &stack.logs {
        log_lines(lines, &root.key("logs"), &mut problems);
    }
    if stack.local.is_none() && stack.external.is_none() && stack.cluster.is_none() {
        let problem = Problem::error(&root, "this stack runs nowhere");
        problems.push(
            problem.help("say how it runs by `local` or `cluster`, or where it runs already by `external`"),
        );
    }
    if let Some(local) = &stack.local {
        self::local(local, &root.key("local"), &mut problems);
    }
    if let Some(external) = &stack.external {
        self::external(external, &root.key("external"), &mut problems);
    }
    checks(&stack.steady, &root.key("steady"), &mut problems);
    for (i, check) in stack.steady.iter().enumerate() {
        let (key, why) = match check {
            Check::Reconcile(_) => ("reconcile", "there is no load before `up` is finished"),
            Check::Alert(_) => ("alert", "nothing is broken before `up` is finished"),
            Check::Detected(_) => ("detected", "nothing is broken before `up` is finished"),
            Check::Logs(_) => ("logs", "there is no load before `up` is finished"),
            _ => continue,
        };
        let path = root.key("steady").index(i).key(key);
        problems.push(Problem::key_error(&path, format!("`{key}` is no steady state: {why}")));
    }
    problems
}

fn counter(counter: &Counter, path: &Path, problems: &mut Vec<Problem>) {
    if !is_metric_name(&counter.metric) {
        let message = format!("`{}` is not the name of a metric", counter.metric);
        problems.push(Problem::error(&path.key("metric"), message));
    }
    let labels = [("path", &counter.path), ("method", &counter.method), ("status", &counter.status)];
    for (key, label) in labels {
        if let Some(label) = label.as_ref().filter(|label| !is_label_name(label)) {
            problems.push(Problem::error(&path.key(key), format!("`{label}` is not the name of a label")));
        }
    }
    for label in counter.matching.keys().filter(|label| !is_label_name(label)) {
        let message = format!("`{label}` is not the name of a label");
        problems.push(Problem::key_error(&path.key("where").key(label), message));
    }
    for label in counter.except.keys().filter(|label| !is_label_name(label)) {
        let message = format!("`{label}` is not the name of a label");
        problems.push(Problem::key_error(&path.key("except").key(label), message));
    }
}

fn log_lines(lines: &LogLines, path: &Path, problems: &mut Vec<Problem>) {
    if let Err(why) = stream_selector(&lines.selector) {
        problems.push(Problem::error(&path.key("selector"), why));
    }
    for (key, field) in [("request_id", &lines.request_id), ("status", &lines.status)] {
        let named = match lines.format {
            LogFormat::Metadata => is_label_name(field),
            LogFormat::Json | LogFormat::Logfmt => !field.is_empty(),
        };
        if !named {
            problems.push(Problem::error(&path.key(key), format!("`{field}` is not the name of a field")));
        }
    }
    if let Some(lost) = lines.lost.as_ref().filter(|lost| !is_metric_name(lost)) {
        problems.push(Problem::error(&path.key("lost"), format!("`{lost}` is not the name of a metric")));
    }
}

fn local(local: &LocalStack, path: &Path, problems: &mut Vec<Problem>) {
    service(&local.service, &path.key("service"), problems);
    // Alertmanager takes a group_wait of 0, but no group_interval of 0.
    let times = [
        ("scrape_interval", local.scrape_interval),
        ("evaluation_interval", local.evaluation_interval),
        ("group_interval", local.group_interval),
    ];
    for (key, time) in times.into_iter().filter(|(_, time)| *time == Duration::default()) {
        problems.push(Problem::error(&path.key(key), format!("`{key}` must be longer than {time}")));
    }
}

fn service(service: &LocalService, path: &Path, problems: &mut Vec<Problem>) {
    let named = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if service.name.is_empty() || !service.name.chars().all(named) {
        let message = "the name of a service has only letters, digits, `-` and `_`";
        problems.push(Problem::error(&path.key("name"), message));
    }
    if !(1..=MAX_REPLICAS).contains(&service.replicas) {
        let message = format!("`replicas` must be from 1 to {MAX_REPLICAS}, not {}", service.replicas);
        problems.push(Problem::error(&path.key("replicas"), message));
    }
    let command = path.key("command");
    if service.command.is_empty() {
        problems.push(Problem::error(&command, "the command is empty"));
    }
    let arguments = service.command.iter().enumerate().map(|(i, text)| (command.index(i), text));
    let environment =
        service.environment.iter().map(|(name, text)| (path.key("environment").key(name), text));
    let texts: Vec<_> = arguments.chain(environment).collect();
    for (path, text) in &texts {
        for name in placeholders(text).filter(|name| !COMMAND_PLACEHOLDERS.contains(name)) {
            let message = format!("`{{{name}}}` stands for nothing, and is passed on as it is");
            problems.push(Problem::warning(path, message).help(unknown(name, COMMAND_PLACEHOLDERS)));
        }
    }
    let told = texts.iter().any(|(_, text)| text.contains("{listen}"));
    if !told && !service.command.is_empty() {
        problems.push(
            Problem::error(&command, "nothing tells the service on which address to listen")
                .help("`{listen}` in the command or in `environment` is a free loopback address, such as 127.0.0.1:40123"),
        );
    }
    for (key, value) in [("ready", &service.ready), ("metrics", &service.metrics)] {
        if !value.starts_with('/') {
            problems.push(Problem::error(&path.key(key), "a path starts with `/`"));
        }
    }
}

/// The names in braces: `{name}`.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        (!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase())).then_some(name)
    })
}

fn external(external: &ExternalStack, path: &Path, problems: &mut Vec<Problem>) {
    if external.service.is_empty() {
        problems.push(Problem::error(&path.key("service"), "there must be at least one URL of the service"));
    }
    for (i, address) in external.service.iter().enumerate() {
        url(address, &path.key("service").index(i), problems);
    }
    let endpoint = |endpoint: &ExternalEndpoint, key: &str, problems: &mut Vec<Problem>| {
        url(&endpoint.url, &path.key(key).key("url"), problems);
        for (name, value) in &endpoint.headers {
            if let Err(why) = header(name, value) {
                let problem = Problem::key_error(&path.key(key).key("headers").key(name), why);
                problems.push(match why {
                    HEADER_SECRETS => {
                        problem.help("name environment variables by `credentials`, or write ${env:NAME}")
                    }
                    _ => problem,
                });
            }
        }
        if endpoint.largest_answer_mib == Some(0) {
            let path = path.key(key).key("largest_answer_mib");
            problems.push(Problem::error(&path, "an answer has at least some bytes"));
        }
    };
    endpoint(&external.prometheus, "prometheus", problems);
    let optional = [
        ("alertmanager", &external.alertmanager),
        ("receiver", &external.receiver),
        ("loki", &external.loki),
    ];
    for (key, optional) in optional {
        if let Some(given) = optional {
            endpoint(given, key, problems);
        }
    }
}

fn url(url: &Url, path: &Path, problems: &mut Vec<Problem>) {
    let Err(message) = base_url(url) else { return };
    let problem = Problem::error(path, message);
    problems.push(match message {
        SECRETS => problem.help("name environment variables by `credentials`"),
        _ => problem,
    });
}

const SECRETS: &str = "no secrets in a file: this URL holds credentials";

const HEADER_SECRETS: &str = "no secrets in a file: this header holds credentials";

/// Whether a header can be sent to an observer with each request.
///
/// # Errors
/// Why it cannot, in words.
pub fn header(name: &str, value: &str) -> Result<(), &'static str> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "this is not the name of a header")?;
    HeaderValue::from_str(value).map_err(|_| "this cannot be the value of a header")?;
    secret::names(value).map_err(|_| "`${env:` names an environment variable, and ends with `}`")?;
    if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&name) && !secret::names_any(value) {
        return Err(HEADER_SECRETS);
    }
    if [HOST, CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, TRANSFER_ENCODING, CONNECTION].contains(&name) {
        return Err("this header belongs to the connection");
    }
    Ok(())
}

/// Whether this can be the base URL of a service or an observer.
///
/// # Errors
/// Why it cannot, in words.
pub fn base_url(url: &Url) -> Result<(), &'static str> {
    if !["http", "https"].contains(&url.scheme()) {
        return Err("a URL starts with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SECRETS);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a base URL has no `?` and no `#`");
    }
    Ok(())
}
