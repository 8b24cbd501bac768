//! Structured logs: one JSON object a line on stdout, written by a thread of its own.
//!
//! Who logs never waits for who reads. Lines are kept in memory while stdout does not take them, up to a
//! bound; lines beyond it, and lines for a stdout that was closed, are lost and counted.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::{Serialize, Serializer};

use super::rotated::Rotated;

/// Bytes that are kept in memory while stdout does not take them.
const KEPT: usize = 64 << 20;

/// Bytes that are written at once.
const BATCH: usize = 64 << 10;

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every request.
    Info,
    /// Requests that ended with a status of 400 or above.
    Warn,
    /// Requests that ended with a status of 500 or above.
    Error,
}

#[derive(Serialize)]
struct Line<'a, F> {
    #[serde(serialize_with = "now")]
    timestamp: (),
    level: Level,
    message: &'a str,
    replica: &'a str,
    #[serde(flatten)]
    fields: F,
}

fn now<S: Serializer>((): &(), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:.6}", jiff::Timestamp::now()))
}

enum Message {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

/// Where lines are logged to.
#[derive(Debug)]
pub struct Log {
    level: Level,
    replica: String,
    messages: Sender<Message>,
    kept: Arc<AtomicUsize>,
    lost: Counter,
}

impl Log {
    /// Logs requests of this level and above to stdout, in this replica's name; `lost` counts lines that are not written.
    /// In a lab the log is put aside once it is long.
    pub fn to_stdout(level: Level, replica: String, lost: Counter) -> std::io::Result<Log> {
        match Rotated::of_stdout() {
            Some(log) => Log::to(log, level, replica, lost),
            None => Log::to(std::io::stdout(), level, replica, lost),
        }
    }

    /// As [`Log::to_stdout`], to any output.
    pub fn to(
        output: impl Write + Send + 'static,
        level: Level,
        replica: String,
        lost: Counter,
    ) -> std::io::Result<Log> {
        let (messages, received) = mpsc::channel();
        let kept = Arc::new(AtomicUsize::new(0));
        let writer = Writer { output, received, kept: kept.clone(), lost: lost.clone() };
        std::thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok(Log { level, replica, messages, kept, lost })
    }

    /// Logs a request with these fields, if its level is logged. Never waits.
    pub fn request(&self, level: Level, fields: impl Serialize) {
        if level >= self.level {
            self.line(level, "request", fields);
        }
    }

    /// Logs something that happened to the service itself, whatever level is logged. Never waits.
    pub fn notice(&self, message: &str, fields: impl Serialize) {
        self.line(Level::Info, message, fields);
    }

    fn line(&self, level: Level, message: &str, fields: impl Serialize) {
        let line = Line { timestamp: (), level, message, replica: &self.replica, fields };
        let Ok(mut line) = serde_json::to_vec(&line) else {
            self.lost.inc();
            return;
        };
        line.push(b'\n');
        let bytes = line.len();
        if self.kept.fetch_add(bytes, Ordering::Relaxed) + bytes > KEPT
            || self.messages.send(Message::Line(line)).is_err()
        {
            self.kept.fetch_sub(bytes, Ordering::Relaxed);
            self.lost.inc();
        }
    }

    /// Waits until every line so far is written, for no longer than `bound`.
    pub async fn flush(&self, bound: Duration) {
        let (done, written) = mpsc::channel();
        if self.messages.send(Message::Flush(done)).is_ok() {
            // The error is that the bound has passed: nobody reads stdout, and nobody will.
            let _ = tokio::task::spawn_blocking(move || written.recv_timeout(bound)).await;
        }
    }
}

struct Writer<W> {
    output: W,
    received: Receiver<Message>,
    kept: Arc<AtomicUsize>,
    lost: Counter,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = self.received.recv() {
            let mut lines = 0;
            let mut flushed = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        batch.extend_from_slice(&line);
                        lines += 1;
                    }
                    Message::Flush(done) => flushed.push(done),
                }
                next = if batch.len() < BATCH { self.received.try_recv().ok() } else { None };
            }
            if self.output.write_all(&batch).and_then(|()| self.output.flush()).is_err() {
                // A closed stdout is no reason to stop serving.
                self.lost.inc_by(lines);
            }
            self.kept.fetch_sub(batch.len(), Ordering::Relaxed);
            batch.clear();
            for done in flushed {
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;

    /// An output that tests can read, or that fails.
    #[derive(Clone, Default)]
    struct Output {
        bytes: Arc<Mutex<Vec<u8>>>,
        closed: bool,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.closed {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            self.bytes.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    async fn logged(level: Level, count: usize) -> Vec<Value> {
        let output = Output::default();
        let log = Log::to(output.clone(), level, "users-api-0".into(), Counter::default()).unwrap();
        for i in 0..count {
            let level = [Level::Info, Level::Warn, Level::Error][i % 3];
            log.request(level, json!({"n": i}));
        }
        log.flush(Duration::from_secs(10)).await;
        let bytes = output.bytes.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn every_line_is_written_in_order_before_a_flush_ends() {
        let lines = logged(Level::Info, 30_000).await;
        assert_eq!(lines.len(), 30_000);
        assert!(lines.iter().enumerate().all(|(i, line)| line["n"] == i));
        let first = &lines[0];
        assert_eq!((&first["level"], &first["message"]), (&json!("info"), &json!("request")));
        assert_eq!(first["replica"], "users-api-0");
        let timestamp: jiff::Timestamp = first["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(timestamp <= jiff::Timestamp::now());
    }

    #[tokio::test]
    async fn requests_below_the_level_are_left_out() {
        assert_eq!(logged(Level::Error, 30).await.len(), 10);
    }

    #[tokio::test]
    async fn lines_for_a_closed_output_are_counted() {
        let lost = Counter::default();
        let output = Output { closed: true, ..Output::default() };
        let log = Log::to(output, Level::Info, String::new(), lost.clone()).unwrap();
        for _ in 0..5 {
            log.notice("stopping", json!({}));
        }
        log.flush(Duration::from_secs(10)).await;
        assert_eq!(lost.get(), 5);
        assert_eq!(log.kept.load(Ordering::Relaxed), 0);
    }
}
