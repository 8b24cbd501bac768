//! A service that counts its requests, and lies about it in one way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How the server lies. `after` counts requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lie {
    /// It does not.
    None,
    /// One in so many requests is not counted.
    Skips(u64),
    /// One in so many requests is counted twice.
    Doubles(u64),
    /// Status 500 is counted as 200.
    ErrorsAsSuccess,
    /// /metrics tells what was true so long ago.
    Lags(Duration),
    /// /metrics never changes again.
    StandsStill { after: u64 },
    /// /metrics answers 503.
    Unavailable { after: u64 },
    /// Nobody listens on the metrics port any more.
    Unscraped { after: u64 },
    /// The counters begin again from 0 between two scrapes, so many requests of them lost.
    Restarts { after: u64, loses: u64 },
    /// The label `code` is called `status` from then on.
    Renames { after: u64 },
    /// One in so many requests is counted without its status, and with it or not.
    Unlabelled { one_in: u64, beside: bool },
    /// One in so many answers is cut off; its request is counted or not.
    Cuts { one_in: u64, counted: bool, twice: bool },
    /// One scrape takes longer than Prometheus waits.
    OneSlowScrape { after: u64 },
    /// Every answer takes so long.
    Slow(Duration),
}

/// How the server's log lies. Every answer with 500 has a line, but for one in so many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LogLie {
    /// It does not.
    None,
    /// It has no line.
    Skips(u64),
    /// It has two, in other words.
    Repeats(u64),
    /// Its line tells 503.
    OtherStatus(u64),
    /// There is a line of a request that nobody sent.
    Invents(u64),
    /// It has no line, and the server says so: `lines_lost_total`.
    GivesUp(u64),
    /// Times in whole seconds: many lines have the same.
    Coarse,
}

#[derive(Debug, Default)]
struct State {
    requests: u64,
    counts: BTreeMap<(String, u16), u64>,
    renamed: BTreeMap<(String, u16), u64>,
    unlabelled: BTreeMap<String, u64>,
    history: Vec<(Instant, String)>,
    frozen: Option<String>,
    /// The counters at the last scrape: a restart between scrapes forgets nothing else.
    scraped: u64,
    restarted: bool,
    slow_scrape_done: bool,
    scrapes: u64,
    errors: u64,
    lost: u64,
}

/// A running liar; it ends with its value.
pub struct Liar {
    /// Where requests go.
    pub address: SocketAddr,
    /// Where Prometheus scrapes.
    pub metrics: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    lie: Lie,
    log: Option<(PathBuf, LogLie)>,
    state: Mutex<State>,
    alarm: AtomicU64,
    ended: AtomicBool,
}

impl Liar {
    pub fn start(lie: Lie) -> Liar {
        Liar::with(lie, None)
    }

    /// One that counts what it answers, and logs its errors to this file.
    pub fn logging(log: PathBuf, lie: LogLie) -> Liar {
        Liar::with(Lie::None, Some((log, lie)))
    }

    fn with(lie: Lie, log: Option<(PathBuf, LogLie)>) -> Liar {
        let shared = Arc::new(Shared {
            lie,
            log,
            state: Mutex::default(),
            alarm: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let address = serve(&shared, Shared::request);
        let metrics = serve(&shared, Shared::scrape);
        Liar { address, metrics, shared }
    }

    /// Sets the gauge `alarm`, which the tests' alert rules look at.
    pub fn alarm(&self, on: bool) {
        self.shared.alarm.store(u64::from(on), Ordering::SeqCst);
    }

    /// Sends it a request of somebody else's.
    pub fn ask(&self, path: &str) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
        let mut first = [0];
        stream.read_exact(&mut first).expect("it answers");
    }

    /// Requests that it got.
    pub fn requests(&self) -> u64 {
        self.shared.state().requests
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // The listeners wake up and see it.
        let _ = TcpStream::connect(self.address);
        let _ = TcpStream::connect(self.metrics);
    }
}

/// Serves connections on a free port, a thread each.
fn serve(shared: &Arc<Shared>, handle: fn(&Shared, TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.ended.load(Ordering::SeqCst) {
                return;
            }
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || handle(&shared, stream.expect("a connection")));
        }
    });
    address
}

/// The path of one request, and its id; `None` where the connection has ended.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
    let mut length = 0;
    let mut id = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if let Some(value) = line.strip_prefix("x-request-id:") {
            id = value.trim().to_owned();
        }
    }
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
    Some((first.split_whitespace().nth(1)?.to_owned(), id))
}

fn answer(stream: &mut TcpStream, status: u16, kind: &str, body: &str) -> std::io::Result<()> {
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes())
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    fn request(&self, stream: TcpStream) {
        let mut writer = stream.try_clone().expect("a second handle");
        let mut reader = BufReader::new(stream);
        while let Some((path, id)) = read_request(&mut reader) {
            let status = if path.starts_with("/error") { 500 } else { 200 };
            if let Lie::Slow(time) = self.lie {
                std::thread::sleep(time);
            }
            let number = self.count(&path, status);
            if status == 500 {
                self.log(&id);
            }
            match self.lie {
                // The first half of an answer, and then the end.
                Lie::Cuts { one_in, .. } if number.is_multiple_of(one_in) => {
                    let _ = writer.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\nhalf");
                    let _ = writer.shutdown(std::net::Shutdown::Both);
                    return;
                }
                _ if answer(&mut writer, status, "text/plain", "ok").is_err() => return,
                _ => {}
            }
        }
    }

    /// Counts a request, as the lie has it; gives its number.
    fn count(&self, path: &str, status: u16) -> u64 {
        let mut state = self.state();
        if self.lie_begins(&state) && !state.restarted && matches!(self.lie, Lie::Restarts { .. }) {
            self.restart(&mut state);
        }
        if self.lie_begins(&state) && matches!(self.lie, Lie::StandsStill { .. }) && state.frozen.is_none() {
            state.frozen = Some(self.exposition(&state));
        }
        state.requests += 1;
        let number = state.requests;
        let (status, times) = match self.lie {
            Lie::Skips(one_in) if number.is_multiple_of(one_in) => (status, 0),
            Lie::Doubles(one_in) if number.is_multiple_of(one_in) => (status, 2),
            Lie::ErrorsAsSuccess if status == 500 => (200, 1),
            Lie::Unlabelled { one_in, beside } if number.is_multiple_of(one_in) => {
                *state.unlabelled.entry(path.to_owned()).or_default() += 1;
                (status, u64::from(beside))
            }
            Lie::Cuts { one_in, counted, twice } if number.is_multiple_of(one_in) => {
                (status, u64::from(counted) * if twice { 2 } else { 1 })
            }
            _ => (status, 1),
        };
        let renamed = matches!(self.lie, Lie::Renames { after } if number > after);
        let counts = if renamed { &mut state.renamed } else { &mut state.counts };
        *counts.entry((path.to_owned(), status)).or_default() += times;
        if matches!(self.lie, Lie::Lags(_)) {
            let page = self.exposition(&state);
            state.history.push((Instant::now(), page));
        }
        number
    }

    /// Logs an answer with 500, as the lie has it.
    fn log(&self, id: &str) {
        let Some((path, lie)) = &self.log else { return };
        let mut state = self.state();
        state.errors += 1;
        let lies = |one_in: u64| state.errors.is_multiple_of(one_in);
        let now = jiff::Timestamp::now();
        let time = if *lie == LogLie::Coarse { format!("{now:.0}") } else { format!("{now:.6}") };
        let line = |id: &str, status: u16, text: &str| {
            format!(
                "{{\"timestamp\":\"{time}\",\"request_id\":\"{id}\",\"status\":{status},\"message\":\"{text}\"}}\n"
            )
        };
        let honest = line(id, 500, "request");
        let text = match *lie {
            LogLie::Skips(one_in) if lies(one_in) => String::new(),
            LogLie::GivesUp(one_in) if lies(one_in) => {
                state.lost += 1;
                String::new()
            }
            LogLie::Repeats(one_in) if lies(one_in) => honest + &line(id, 500, "once more"),
            LogLie::OtherStatus(one_in) if lies(one_in) => line(id, 503, "request"),
            LogLie::Invents(one_in) if lies(one_in) => honest + &line(&format!("{id}9999"), 500, "request"),
            _ => honest,
        };
        let file = std::fs::File::options().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the log can be written");
    }

    fn lie_begins(&self, state: &State) -> bool {
        match self.lie {
            Lie::StandsStill { after } | Lie::Unavailable { after } | Lie::Unscraped { after } => {
                state.requests >= after
            }
            // Right after a scrape, so that it is known what is lost; some requests later where some are to be.
            Lie::Restarts { after, loses } => {
                state.scraped >= after && state.requests >= state.scraped + loses
            }
            Lie::OneSlowScrape { after } => state.requests >= after,
            _ => false,
        }
    }

    fn restart(&self, state: &mut State) {
        state.counts.clear();
        state.restarted = true;
    }

    fn scrape(&self, stream: TcpStream) {
        let mut writer = stream.try_clone().expect("a second handle");
        let mut reader = BufReader::new(stream);
        while let Some((path, _)) = read_request(&mut reader) {
            let mut state = self.state();
            state.scrapes += 1;
            let begins = self.lie_begins(&state);
            if begins && matches!(self.lie, Lie::Unscraped { .. }) {
                return;
            }
            let slow = begins && matches!(self.lie, Lie::OneSlowScrape { .. }) && !state.slow_scrape_done;
            state.slow_scrape_done |= slow;
            let page = match self.lie {
                Lie::StandsStill { .. } => state.frozen.clone().unwrap_or_else(|| self.exposition(&state)),
                Lie::Lags(by) => {
                    let then = Instant::now().checked_sub(by);
                    let known =
                        state.history.iter().rev().find(|(at, _)| then.is_some_and(|then| *at <= then));
                    known.map_or_else(|| self.exposition(&State::default()), |(_, page)| page.clone())
                }
                _ => self.exposition(&state),
            };
            state.scraped = state.requests;
            drop(state);
            if slow {
                std::thread::sleep(Duration::from_millis(1_500));
            }
            let status = if begins && matches!(self.lie, Lie::Unavailable { .. }) { 503 } else { 200 };
            let _ = path;
            if answer(&mut writer, status, "text/plain; version=0.0.4", &page).is_err() {
                return;
            }
        }
    }

    fn exposition(&self, state: &State) -> String {
        let mut page = format!("# TYPE alarm gauge\nalarm {}\n", self.alarm.load(Ordering::SeqCst));
        let _ = write!(page, "# TYPE lines_lost_total counter\nlines_lost_total {}\n", state.lost);
        page += "# TYPE requests_total counter\n";
        // A family with both names would not be told from an honest one that has both labels.
        let renamed = matches!(self.lie, Lie::Renames { after } if state.requests > after);
        let (label, counts) = if renamed { ("status", &state.renamed) } else { ("code", &state.counts) };
        // Both paths are there from the start, at 0, as a well-behaved service has them.
        let mut counts = counts.clone();
        if !renamed {
            for (path, status) in [("/ok", 200), ("/error", 500)] {
                counts.entry((path.into(), status)).or_default();
            }
        }
        for ((path, status), count) in counts {
            let _ = writeln!(page, "requests_total{{path=\"{path}\",{label}=\"{status}\"}} {count}");
        }
        for (path, count) in &state.unlabelled {
            let _ = writeln!(page, "requests_total{{path=\"{path}\"}} {count}");
        }
        page
    }
}
