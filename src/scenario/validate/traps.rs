//! Traps of headers and bodies: what is sent as it stands, and not as it was meant.

use crate::config::{Path, Problem};
use crate::scenario::{Http, HttpVersion, Request};

/// Codings that `contains` looks through.
const READ: [&str; 6] = ["gzip", "x-gzip", "deflate", "identity", "*", ""];

/// Headers of a connection, which HTTP/2 does not have.
const OF_CONNECTION: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "upgrade"];

/// Warns of what a request sends that was hardly meant.
pub(super) fn traps(request: &Request, http: &Http, path: &Path, problems: &mut Vec<Problem>) {
    for (name, value) in &request.headers {
        let path = path.key("headers").key(name);
        let lower = name.to_ascii_lowercase();
        if lower == "accept-encoding" && request.contains.is_some() {
            problems.extend(unread_codings(value, &path));
        }
        if http.version == HttpVersion::Http2 && OF_CONNECTION.contains(&lower.as_str()) {
            let message = format!("HTTP/2 has no header `{lower}`: it is left out");
            problems.push(Problem::warning(&path, message));
        }
    }
    let Some(body) = &request.body else { return };
    let kind = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let Some((name, kind)) = kind else { return };
    let lower = kind.to_ascii_lowercase();
    if lower.starts_with("multipart/") {
        let header = path.key("headers").key(name);
        multipart(kind, body, &header, &path.key("body"), problems);
    } else if lower.starts_with("application/x-www-form-urlencoded") && body.ends_with('\n') {
        let field = body.trim_end().rsplit('&').next().and_then(|field| field.split('=').next());
        let message =
            format!("the form ends with a line break, which becomes part of `{}`", field.unwrap_or_default());
        problems.push(Problem::warning(&path.key("body"), message).help("write `|-` in place of `|`"));
    }
}

/// What a header asks for that only a browser unpacks.
fn unread_codings(value: &str, path: &Path) -> Option<Problem> {
    let codings = value.split(',').map(|coding| coding.split(';').next().unwrap_or_default().trim());
    let unread: Vec<String> = codings
        .filter(|coding| !READ.contains(&coding.to_ascii_lowercase().as_str()))
        .map(|coding| format!("`{coding}`"))
        .collect();
    if unread.is_empty() {
        return None;
    }
    let message = format!(
        "`contains` does not look through {}: answers that are packed so count as unexpected",
        unread.join(", ")
    );
    Some(Problem::warning(path, message).help("write `gzip, deflate`, or leave the header out"))
}

/// What most servers refuse a multipart body for.
fn multipart(kind: &str, body: &str, header: &Path, path: &Path, problems: &mut Vec<Problem>) {
    let Some(boundary) = boundary(kind) else {
        let kind = kind.split(';').next().unwrap_or(kind).trim();
        problems.push(
            Problem::warning(header, format!("`{kind}` without a `boundary`: no server can read the body"))
                .help("write `; boundary=` and what separates the parts, without its two dashes"),
        );
        return;
    };
    let line = format!("--{boundary}");
    if !body.contains(&line) {
        let message = format!("the body has no line `{line}`, which begins each of its parts");
        problems.push(Problem::warning(path, message));
    } else if !body.contains(&format!("{line}--")) {
        let message = format!("the body does not end with the line `{line}--`");
        problems.push(Problem::warning(path, message));
    }
    let alone = body
        .as_bytes()
        .iter()
        .enumerate()
        .any(|(place, byte)| *byte == b'\n' && (place == 0 || body.as_bytes()[place - 1] != b'\r'));
    if alone {
        problems.push(
            Problem::warning(path, "the lines of a multipart body end with LF: most servers refuse it")
                .help("write `\\r\\n` at the end of each line, in a text in double quotes"),
        );
    }
}

fn boundary(kind: &str) -> Option<&str> {
    let parameters = kind.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut boundaries = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    boundaries.next().map(|(_, value)| value.trim().trim_matches('"')).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a request, each with its help.
    fn told(request: serde_json::Value, version: &str) -> Vec<String> {
        let request: Request = serde_json::from_value(request).expect("a request");
        let http: Http = serde_json::from_value(serde_json::json!({"version": version})).expect("http");
        let mut problems = Vec::new();
        traps(&request, &http, &Path::root(), &mut problems);
        problems.into_iter().map(|problem| problem.message).collect()
    }

    fn form(kind: &str, body: &str) -> Vec<String> {
        told(
            serde_json::json!({"path": "/", "method": "POST", "headers": {"Content-Type": kind}, "body": body}),
            "1.1",
        )
    }

    #[test]
    fn line_ends_and_boundaries_of_forms_are_told() {
        let part = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX--\r\n";
        assert_eq!(form("multipart/form-data; boundary=XX", part), Vec::<String>::new());
        assert_eq!(form("multipart/form-data; Boundary=\"XX\"", part), Vec::<String>::new());
        let lines = form("multipart/form-data; boundary=XX", &part.replace("\r\n", "\n"));
        assert_eq!(lines, ["the lines of a multipart body end with LF: most servers refuse it"]);
        let none = form("multipart/form-data", part);
        assert_eq!(none, ["`multipart/form-data` without a `boundary`: no server can read the body"]);
        let other = form("multipart/mixed; boundary=YY", part);
        assert_eq!(other, ["the body has no line `--YY`, which begins each of its parts"]);
        let open = form("multipart/form-data; boundary=XX", part.trim_end_matches("--\r\n"));
        assert_eq!(open, ["the body does not end with the line `--XX--`"]);
        let broken = form("application/x-www-form-urlencoded", "name=anna&token=abc\n");
        assert_eq!(broken, ["the form ends with a line break, which becomes part of `token`"]);
        assert_eq!(form("application/x-www-form-urlencoded", "name=anna"), Vec::<String>::new());
        assert_eq!(form("text/csv", "a;b\n1;2\n"), Vec::<String>::new());
    }

    #[test]
    fn headers_that_do_not_do_what_they_do_in_a_browser_are_told() {
        let request = |contains: serde_json::Value| {
            serde_json::json!({"path": "/", "contains": contains, "headers": {
                "Accept-Encoding": "gzip, deflate;q=0.5, br, zstd", "Connection": "close",
            }})
        };
        assert_eq!(
            told(request("hello".into()), "1.1"),
            ["`contains` does not look through `br`, `zstd`: answers that are packed so count as unexpected"]
        );
        assert_eq!(told(request(serde_json::Value::Null), "1.1"), Vec::<String>::new());
        assert_eq!(
            told(request(serde_json::Value::Null), "2"),
            ["HTTP/2 has no header `connection`: it is left out"]
        );
    }
}
