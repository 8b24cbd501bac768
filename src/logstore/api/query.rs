//! `/loki/api/v1/query_range`, `/loki/api/v1/labels` and `/loki/api/v1/label/NAME/values`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::entry::{Entry, Labels};
use super::super::logql::Query;
use super::super::store::Direction;
use super::{Api, Refusal, blocking};

type Answer = Result<Json<Value>, Refusal>;

/// Lines of an answer, unless another number is asked for.
const USUAL_LINES: usize = 100;

/// Bytes of the lines and labels of one answer.
const LARGEST_ANSWER: usize = 16 << 20;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;

/// What was asked, by name.
struct Asked(Vec<(String, String)>);

impl Asked {
    /// Of a URL's query, and of a form.
    fn new(query: Option<String>, form: &[u8]) -> Asked {
        let parts = [query.as_deref().unwrap_or_default().as_bytes(), form];
        let pairs = parts.into_iter().flat_map(url::form_urlencoded::parse);
        Asked(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, value)| other == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// `start` and `end`, in nanoseconds; without them, so many up to now.
    fn times(&self, usual: i64) -> Result<(i64, i64), Refusal> {
        if let Some(other) = ["since", "interval"].into_iter().find(|name| self.get(name).is_some()) {
            return Err(Refusal::bad(format!(
                "the parameter `{other}` is not answered here: ask with start and end"
            )));
        }
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let end = self.get("end").map_or(Ok(now), time)?;
        let start = self.get("start").map_or(Ok(end.saturating_sub(usual)), time)?;
        if end < start {
            return Err(Refusal::bad("the end must not be before the start"));
        }
        Ok((start, end))
    }
}

/// Nanoseconds; seconds where it has a point or ten digits at the most; or RFC 3339.
fn time(text: &str) -> Result<i64, Refusal> {
    let number = text
        .parse::<i64>()
        .ok()
        .map(|number| if text.len() <= 10 { number.saturating_mul(SECOND) } else { number });
    let seconds = || {
        text.parse::<f64>()
            .ok()
            .filter(|seconds| seconds.is_finite())
            .map(|seconds| (seconds * SECOND as f64) as i64)
    };
    let date = || text.parse::<Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    number
        .or_else(seconds)
        .or_else(date)
        .ok_or_else(|| Refusal::bad(format!("`{text}` is no time: nanoseconds since 1970, or RFC 3339")))
}

fn unreadable(error: &std::io::Error) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("a file of the log store cannot be read: {error}"))
}

fn too_many(asked: usize, allowed: usize) -> Refusal {
    // As Loki says it: who asks can lower the limit.
    Refusal::bad(format!(
        "max entries limit per query exceeded, limit > max_entries_limit_per_query ({asked} > {allowed})"
    ))
}

/// Lines of a query.
pub async fn range(State(api): State<Arc<Api>>, RawQuery(query): RawQuery, form: Bytes) -> Answer {
    let asked = Asked::new(query, &form);
    let text = asked.get("query").ok_or_else(|| Refusal::bad("the parameter `query` is missing"))?;
    let query =
        Query::parse(text).map_err(|why| Refusal::bad(format!("the query is not answered: {why}")))?;
    let times = asked.times(HOUR)?;
    let limit = match asked.get("limit").map(str::parse::<usize>) {
        None => USUAL_LINES.min(api.most_lines),
        Some(Ok(limit)) if limit > 0 => limit,
        Some(_) => return Err(Refusal::bad("`limit` must be a positive number")),
    };
    if limit > api.most_lines {
        return Err(too_many(limit, api.most_lines));
    }
    let direction = match asked.get("direction").map(str::to_ascii_lowercase).as_deref() {
        Some("forward") => Direction::Forward,
        None | Some("backward") => Direction::Backward,
        Some(_) => return Err(Refusal::bad("`direction` is forward or backward")),
    };
    let found = blocking(&api, move |api| find(api, &query, times, limit, direction)).await??;
    let streams: Vec<Value> =
        found.into_iter().map(|(labels, values)| json!({"stream": labels, "values": values})).collect();
    Ok(Json(json!({"status": "success", "data": {"resultType": "streams", "result": streams, "stats": {}}})))
}

/// Times and lines by their labels.
type Found = BTreeMap<Labels, Vec<(String, String)>>;

fn find(
    api: &Api,
    query: &Query,
    times: (i64, i64),
    limit: usize,
    direction: Direction,
) -> Result<Found, Refusal> {
    let mut found = Found::new();
    let (mut lines, mut bytes) = (0, 0);
    let mut visit = |entry: Entry| {
        let Some(labels) = query.labels(&entry) else { return true };
        bytes +=
            entry.line.len() + labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes > LARGEST_ANSWER && lines > 0 {
            return false;
        }
        found.entry(labels).or_default().push((entry.time.to_string(), entry.line));
        lines += 1;
        lines < limit
    };
    api.store
        .visit(&|stream| query.selects(stream), times, direction, &mut visit)
        .map_err(|e| unreadable(&e))?;
    // So many of these lines fit into one answer.
    if bytes > LARGEST_ANSWER && lines < limit { Err(too_many(limit, lines)) } else { Ok(found) }
}

/// The names of labels that streams have.
pub async fn labels(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Answer {
    let names = of_streams(&api, query, |stream| stream.keys().cloned().collect()).await?;
    Ok(Json(json!({"status": "success", "data": names})))
}

/// The values that a label of streams has.
pub async fn values(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let values =
        of_streams(&api, query, move |stream| stream.get(&name).into_iter().cloned().collect()).await?;
    Ok(Json(json!({"status": "success", "data": values})))
}

async fn of_streams(
    api: &Arc<Api>,
    query: Option<String>,
    take: impl Fn(&Labels) -> Vec<String> + Send + 'static,
) -> Result<BTreeSet<String>, Refusal> {
    let asked = Asked::new(query, b"");
    let times = asked.times(6 * HOUR)?;
    let query = asked
        .get("query")
        .map(Query::parse)
        .transpose()
        .map_err(|why| Refusal::bad(format!("the query is not answered: {why}")))?;
    blocking(api, move |api| {
        let streams = api.store.streams(times);
        let selected =
            streams.iter().filter(|stream| query.as_ref().is_none_or(|query| query.selects(stream)));
        selected.flat_map(|stream| take(stream)).collect()
    })
    .await
}
