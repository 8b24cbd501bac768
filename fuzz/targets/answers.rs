//! Answers of servers.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::check::Verdict;
use crate::check::reconcile::{Case, Group, Judgement, Key, Ledger, Question, TargetHistory};
use crate::load::read_answer;
use crate::observe::{
    HeldAlert, Labels, Sample, Series, Silence, read_instant, read_json, read_lines, read_matrix,
};
use crate::stack::Counter;

/// Reads an answer as the load does, and as hyper does. How it is cut makes no difference; where both take it they read the
/// same.
pub fn http1(data: &[u8]) {
    let Some((cut, answer)) = data.split_first() else { return };
    let place = usize::from(*cut) * answer.len() / 256;
    let whole = read_answer(&[answer], false, b"guestbook");
    let (first, second) = answer.split_at(place);
    assert_eq!(read_answer(&[first, second], false, b"guestbook"), whole, "cut at {place}");
    let single: Vec<&[u8]> = answer.chunks(1).take(4096).collect();
    if single.len() == answer.len() {
        assert_eq!(read_answer(&single, false, b"guestbook"), whole, "cut at every byte");
    }
    let Ok((status, ..)) = whole else { return };
    let Some((theirs, coded, body)) = of_hyper(answer) else { return };
    assert_eq!(status, theirs);
    // A coded body is looked into, hyper leaves it as it is.
    if !coded && !body.is_empty() {
        let (.., contains, _) = read_answer(&[answer], false, &body).expect("it was read before");
        assert!(contains, "hyper reads {body:?}");
    }
}

/// Status, whether it is coded, and body, as hyper reads an answer to GET.
fn of_hyper(answer: &[u8]) -> Option<(u16, bool, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    runtime.block_on(async {
        let told = Told { answer: Bytes::copy_from_slice(answer), asked: false, reader: None };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(told)).await.ok()?;
        let request = http::Request::get("/").header("host", "x").body(Empty::<Bytes>::new()).ok()?;
        let asking = async {
            let answer = sender.send_request(request).await.ok()?;
            let status = answer.status().as_u16();
            let coded = answer.headers().contains_key(http::header::CONTENT_ENCODING);
            let body = answer.into_body().collect().await.ok()?.to_bytes().to_vec();
            Some((status, coded, body))
        };
        tokio::select! {
            biased;
            read = asking => read,
            _ = connection => None,
        }
    })
}

/// A connection on which an answer comes once something was asked, and then its end.
struct Told {
    answer: Bytes,
    asked: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.asked {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let length = to.remaining().min(self.answer.len());
        to.put_slice(&self.answer.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Told {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What Prometheus answers is refused, or makes sense.
pub fn prometheus(body: &[u8]) {
    if let Ok(all) = read_matrix(body, 90.0..=150.0) {
        let labels: std::collections::BTreeSet<&Labels> = all.iter().map(|series| &series.labels).collect();
        assert_eq!(labels.len(), all.len(), "each series once");
        for series in &all {
            assert!(!series.samples.is_empty());
            assert!(series.samples.windows(2).all(|pair| pair[0].time < pair[1].time));
            assert!(series.samples.iter().all(|s| (90.0..=150.0).contains(&s.time) && s.value.is_finite()));
        }
    }
    let _ = read_instant(body);
}

/// How many answers of each status the client of [`verdict`] has had.
const ANSWERED: [(&str, u64); 2] = [("200", 10), ("500", 2)];

/// Whatever Prometheus answers, there is no pass where the sums of its samples are not those of the client.
pub fn verdict(body: &[u8]) {
    judged(body);
}

/// Whether the answer gives a pass; `None` where it is refused.
pub(super) fn judged(body: &[u8]) -> Option<bool> {
    let series = read_matrix(body, 90.0..=150.0).ok()?;
    let counter: Counter =
        serde_json::from_value(serde_json::json!({"metric": "m", "status": "code"})).expect("a counter");
    let key = |code: &str| -> Key { [("code".to_owned(), code.to_owned())].into() };
    let answered = ANSWERED.iter().map(|(code, count)| (key(code), *count)).collect();
    let ledger = Ledger {
        groups: vec![Group { base: Key::new(), answered, unknown: 0 }],
        raised: Vec::new(),
        unbooked: 0,
    };
    let labels = Labels::from([("job".into(), "j".into()), ("instance".into(), "i".into())]);
    let scrapes = (0..45).map(|second| Sample { time: 99.5 + f64::from(second), value: 1.0 }).collect();
    let history = TargetHistory {
        labels,
        known_before: true,
        scrapes,
        series: series.clone(),
        ..TargetHistory::default()
    };
    let question = Question { counter: &counter, ledger: &ledger, tolerance: 0 };
    let case = Case::of(question, vec![history], 110.0, 140.0, 144.0);
    let Judgement::Final(outcomes) = case.judge() else { return Some(false) };
    let passes = !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.verdict == Verdict::Pass);
    // What comes after a scrape that agreed is of others.
    let scrapes = (0..45).map(|second| 99.5 + f64::from(second)).filter(|time| *time > 110.0);
    assert!(
        !passes || scrapes.into_iter().any(|time| agree(&series, time)),
        "a pass, and at no scrape after the load were all answers counted: {series:?}"
    );
    Some(passes)
}

/// Whether the counters rose until a scrape as the client's answers say.
fn agree(series: &[Series], until: f64) -> bool {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    // What has another name tells of no request of the client's; what has no status may tell of any.
    let of_counter = |one: &&Series| one.labels.get("__name__").is_some_and(|name| name == "m");
    for one in series.iter().filter(of_counter) {
        let code = one.labels.get("code").map_or("", String::as_str);
        *sums.entry(code).or_default() += rise(one, until);
    }
    let same = |(code, count): (&str, u64)| sums.remove(code).unwrap_or(0.0) == count as f64;
    ANSWERED.into_iter().all(same) && sums.values().all(|sum| *sum == 0.0)
}

/// How far a counter rose from the first scrape on, at 99.5; a series that came later began at 0.
fn rise(series: &Series, until: f64) -> f64 {
    let first = series.samples.first().filter(|sample| sample.time <= 99.5);
    let mut last = first.map_or(0.0, |sample| sample.value);
    let mut rise = 0.0;
    for sample in series.samples.iter().take_while(|sample| sample.time <= until) {
        // A value that fell began anew.
        rise += if sample.value >= last { sample.value - last } else { sample.value };
        last = sample.value;
    }
    rise
}

/// What Alertmanager answers is refused, or read.
pub fn alertmanager(body: &[u8]) {
    let _ = read_json::<Vec<HeldAlert>>("Alertmanager", body);
    let _ = read_json::<Silence>("Alertmanager", body);
}

/// Lines come in order, within what was asked for, and what a page leaves is known.
pub fn loki(body: &[u8]) {
    for limit in [1, 3, 1000] {
        if let Ok((lines, _)) = read_lines(body, 0, 1_000_000, limit) {
            assert!(lines.windows(2).all(|pair| pair[0].time <= pair[1].time));
            assert!(lines.iter().all(|line| (0..1_000_000).contains(&line.time)));
        }
    }
}

/// What is sent to the log store is refused, or kept as it came.
pub fn otlp(body: &[u8]) {
    use prost::Message as _;

    use crate::logstore::entry::{Entries, Entry};
    use crate::logstore::otlp::ExportRequest;

    let requests = [ExportRequest::decode(body).ok(), serde_json::from_slice::<ExportRequest>(body).ok()];
    for request in requests.into_iter().flatten() {
        for entry in Entries::of(request, 77).taken {
            assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
        }
    }
}
