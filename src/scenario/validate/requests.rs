//! Requests: names, methods, paths, headers, bodies, and what they raise.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use indexmap::IndexMap;
use promql_parser::label::MatchOp;

use super::load::unfit_name;
use super::promql::{is_label_name, selector};
use super::traps::traps;
use crate::config::{Path, Problem};
use crate::scenario::{Http, Raises, Request};
use crate::secret;

/// Every name is a row of every report and a histogram for each replica.
const MAX_NAMES: usize = 200;

pub(super) fn requests(
    requests: &IndexMap<String, Request>,
    http: &Http,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    if requests.is_empty() {
        problems.push(Problem::error(path, "there must be at least one request"));
    } else if requests.values().all(|request| request.weight == 0) {
        problems.push(Problem::error(path, "every weight is 0: no request would ever be sent"));
    }
    if requests.len() > MAX_NAMES {
        let message = format!("{} request names, of at most {MAX_NAMES}", requests.len());
        problems.push(Problem::error(path, message));
    }
    for (name, request) in requests {
        let path = path.key(name);
        if let Some(why) = unfit_name(name) {
            problems.push(Problem::key_error(&path, format!("the name of a request {why}")));
        }
        if request.weight > 1_000_000 {
            problems.push(Problem::error(&path.key("weight"), "a weight is at most 1000000"));
        }
        method(&request.method, &path.key("method"), problems);
        target(&request.path, &path.key("path"), problems);
        for (header, value) in &request.headers {
            self::header(header, value, &path.key("headers").key(header), problems);
        }
        traps(request, http, &path, problems);
        secrets(request, &path, problems);
        if request.body.is_some() && request.json.is_some() {
            problems.push(Problem::key_error(&path.key("json"), "a request has either `body` or `json`"));
        }
        for label in request.labels.keys().filter(|label| !is_label_name(label)) {
            let path = path.key("labels").key(label);
            problems.push(Problem::key_error(&path, format!("`{label}` is not the name of a label")));
        }
        if !request.counted && !request.labels.is_empty() {
            problems
                .push(Problem::warning(&path.key("labels"), "labels mean nothing where `counted` is false"));
        }
        for (i, raised) in request.raises.iter().enumerate() {
            raises(raised, &path.key("raises").index(i), problems);
        }
    }
}

/// Secrets stand in no file: a placeholder names the variable that holds one.
fn secrets(request: &Request, path: &Path, problems: &mut Vec<Problem>) {
    let json = request.json.as_ref().map(serde_json::Value::to_string);
    let bodies = [("body", request.body.as_ref()), ("json", json.as_ref())];
    let bodies = bodies.into_iter().filter_map(|(key, text)| Some((path.key(key), text?)));
    let headers = path.key("headers");
    let texts = request.headers.iter().map(|(name, value)| (headers.key(name), value)).chain(bodies);
    problems.extend(
        texts.filter_map(|(path, text)| secret::names(text).err().map(|why| Problem::error(&path, why))),
    );
    if request.path.contains("${env:") {
        let problem =
            Problem::error(&path.key("path"), "a path is told in every report, and holds no secret");
        problems.push(problem.help("a header or a body does: `${env:NAME}`"));
    }
    for (name, value) in &request.headers {
        if ["authorization", "proxy-authorization"].contains(&name.to_ascii_lowercase().as_str())
            && !secret::names_any(value)
        {
            let message = "this stands in the file, and in the folder of each run";
            let problem = Problem::warning(&headers.key(name), message);
            problems.push(problem.help("write `${env:SRE_SECRET_NAME}` in place of the secret"));
        }
    }
}

fn method(method: &str, path: &Path, problems: &mut Vec<Problem>) {
    const STANDARD: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    let upper = method.to_ascii_uppercase();
    if http::Method::from_bytes(method.as_bytes()).is_err() {
        problems.push(Problem::error(path, format!("`{method}` is not an HTTP method")));
    } else if upper == "CONNECT" {
        problems.push(Problem::error(path, "CONNECT opens a tunnel, which is no request to a service"));
    } else if method != upper && STANDARD.contains(&upper.as_str()) {
        // A service counts `get` as a method that it does not know.
        let problem = Problem::error(path, "HTTP methods are told apart by their case");
        problems.push(problem.help(format!("write `{upper}`")));
    }
}

fn target(target: &str, path: &Path, problems: &mut Vec<Problem>) {
    let problem = if !target.starts_with('/') {
        Some(("a path starts with `/`", "the service's address comes from the stack"))
    } else if target.starts_with("//") {
        Some(("a path that starts with `//` would be read as the name of a host", "write one `/`"))
    } else if target.contains('#') {
        Some(("what follows `#` is never sent", "write `%23` for a `#` in the path"))
    } else if target.parse::<PathAndQuery>().is_err() {
        Some(("this is not a valid path", "percent-encode what is special: `%20` for a space"))
    } else {
        None
    };
    problems.extend(problem.map(|(message, help)| Problem::error(path, message).help(help)));
}

fn header(name: &str, value: &str, path: &Path, problems: &mut Vec<Problem>) {
    match HeaderName::from_bytes(name.as_bytes()) {
        Err(_) => {
            let problem = Problem::key_error(path, format!("`{name}` is not the name of a header"));
            problems.push(match pseudo(name, value) {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
        Ok(name) if [CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) => {
            problems.push(Problem::key_error(path, format!("`{name}` follows from the body")));
        }
        Ok(_) => {}
    }
    if HeaderValue::from_str(value).is_err() {
        problems.push(Problem::error(path, "a header holds no line breaks and no control characters"));
    }
}

/// What stands for one of HTTP/2's pseudo-headers, as a browser shows them.
fn pseudo(name: &str, value: &str) -> Option<String> {
    Some(match name {
        ":authority" => format!(
            "leave it out; to ask for another host than that of the service's address, write `host: {value}`"
        ),
        ":method" => format!("leave it out, and write `method: {value}` beside `path`"),
        ":path" => format!("leave it out, and write `path: {value}`"),
        ":scheme" => "leave it out: the service's address says it".into(),
        _ if name.starts_with(':') => "leave it out: it belongs to an answer".into(),
        _ => return None,
    })
}

fn raises(raises: &Raises, path: &Path, problems: &mut Vec<Problem>) {
    let series = path.key("series");
    match selector(&raises.series) {
        Err(why) => problems.push(Problem::error(&series, why)),
        Ok(selector) => {
            let exact = selector.matchers.or_matchers.is_empty()
                && selector.matchers.matchers.iter().all(|matcher| matches!(matcher.op, MatchOp::Equal));
            if !exact {
                problems.push(Problem::error(&series, "a series that is raised is named by `=` alone").help(
                    "which series is raised must be known before: give each status a `raises` of its own",
                ));
            }
        }
    }
    if raises.status.is_some_and(|status| !(100..=599).contains(&status)) {
        problems.push(Problem::error(&path.key("status"), "a status is from 100 to 599"));
    }
}
