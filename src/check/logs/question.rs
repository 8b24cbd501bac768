//! Which lines are asked for: LogQL from what the stack says of its lines. Pure.

use super::comparison::RequestLine;
use crate::observe::LogLine;
use crate::scenario::Expect;
use crate::stack::{LogFormat, LogLines};

/// The labels that the query makes of a line's fields; no stream has such labels of its own.
const REQUEST_ID: &str = "sre_request_id";
const STATUS: &str = "sre_status";

/// Labels that tell which replica a stream is of, the most certain first.
const SOURCES: [&str; 5] = ["k8s_pod_name", "pod", "service_instance_id", "instance", "host_name"];

/// The lines of one run's requests.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Where the service's lines are.
    pub lines: &'a LogLines,
    /// What the ids of the run's requests begin with: letters, digits, `-`, `_` and `.` only.
    pub prefix: &'a str,
    /// The statuses that are asked for.
    pub status: &'a Expect,
}

impl Question<'_> {
    /// In LogQL. It leaves every line as it is and in its stream: Loki takes lines for one and the same that do not
    /// differ in these.
    pub fn logql(&self) -> String {
        let LogLines { selector, format, request_id, status, .. } = self.lines;
        let extract = |parser: &str| {
            // The id stands in the line as it was sent, so Loki need not look into the others.
            format!(
                "|= {} | {parser} {REQUEST_ID}={}, {STATUS}={}",
                quoted(self.prefix),
                quoted(request_id),
                quoted(status)
            )
        };
        let statuses = |label: &str| format!("{label} =~ {}", quoted(&self.status.regex()));
        match format {
            LogFormat::Json => format!("{selector} {} | {}", extract("json"), statuses(STATUS)),
            LogFormat::Logfmt => format!("{selector} {} | {}", extract("logfmt"), statuses(STATUS)),
            LogFormat::Metadata => {
                let ids = format!("{}.+", self.prefix.replace('.', "\\."));
                format!("{selector} | {request_id} =~ {} | {}", quoted(&ids), statuses(status))
            }
        }
    }

    /// What a line tells of its request; `None` where it is not of this run.
    pub fn read(&self, line: LogLine) -> Option<RequestLine> {
        let (id, status) = match self.lines.format {
            LogFormat::Json | LogFormat::Logfmt => (REQUEST_ID, STATUS),
            LogFormat::Metadata => (self.lines.request_id.as_str(), self.lines.status.as_str()),
        };
        let id = line.labels.get(id).filter(|id| id.starts_with(self.prefix))?.clone();
        Some(RequestLine {
            id,
            status: line.labels.get(status).and_then(|status| status.parse().ok()),
            source: SOURCES.iter().find_map(|label| line.labels.get(*label)).cloned(),
            time: line.time,
            text: line.line,
        })
    }
}

/// LogQL escapes text as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn lines(format: LogFormat) -> LogLines {
        LogLines {
            selector: "{service_name=\"shop\"}".into(),
            format,
            request_id: "request_id".into(),
            status: "status".into(),
            lost: None,
        }
    }

    #[test]
    fn the_query_takes_the_fields_from_where_they_are() {
        let status: Expect = serde_json::from_str(r#"["4xx", 503]"#).expect("statuses");
        let logql = |format| Question { lines: &lines(format), prefix: "42-a.b-", status: &status }.logql();
        insta::assert_snapshot!(logql(LogFormat::Json), @r#"{service_name="shop"} |= "42-a.b-" | json sre_request_id="request_id", sre_status="status" | sre_status =~ "4..|503""#);
        insta::assert_snapshot!(logql(LogFormat::Logfmt), @r#"{service_name="shop"} |= "42-a.b-" | logfmt sre_request_id="request_id", sre_status="status" | sre_status =~ "4..|503""#);
        insta::assert_snapshot!(logql(LogFormat::Metadata), @r#"{service_name="shop"} | request_id =~ "42-a\\.b-.+" | status =~ "4..|503""#);
    }

    #[test]
    fn a_line_of_another_run_is_left_out() {
        let (lines, status) = (lines(LogFormat::Json), Expect::class(5));
        let question = Question { lines: &lines, prefix: "42-run-", status: &status };
        let line = |id: &str| {
            let labels = [(REQUEST_ID, id), (STATUS, "500"), ("pod", "shop-0"), ("instance", "other")];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            LogLine { time: 1, labels: Arc::new(labels), line: "{}".into() }
        };
        let read = question.read(line("42-run-7")).expect("it is of this run");
        assert_eq!(
            (read.id.as_str(), read.status, read.source.as_deref()),
            ("42-run-7", Some(500), Some("shop-0"))
        );
        assert!(question.read(line("42-rum-7")).is_none());
    }
}
