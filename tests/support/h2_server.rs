//! A small HTTP/2 server without TLS that keeps limits and breaks off as it is told, and counts. It knows no HPACK: every
//! request is answered with 200. Libraries do not let one refuse a stream, or go in the middle of a burst.

// Not every test uses all of it.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const REFUSED_STREAM: u32 = 7;

/// How it behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Requests at the same time on a connection, as its settings say.
    pub streams: u32,
    /// Every so many-th stream of a connection is refused.
    pub refuse_each: Option<u64>,
    /// After so many streams of a connection it goes: later ones are not processed, and it ends when the others are
    /// answered.
    pub goes_after: Option<u64>,
    /// What it says arrives so much later.
    pub away: Duration,
    /// How long an answer takes.
    pub answer_in: Duration,
    /// How many headers an answer has beside its status, and of how many bytes each value is.
    pub headers: (usize, usize),
}

impl Default for Manner {
    fn default() -> Manner {
        let answer_in = Duration::from_millis(20);
        let away = Duration::ZERO;
        Manner { streams: 100, refuse_each: None, goes_after: None, away, answer_in, headers: (0, 0) }
    }
}

/// What it counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Requests that it answered.
    pub answered: u64,
    /// Streams that it refused.
    pub refused: u64,
    /// Streams that came after it had said that it goes.
    pub unprocessed: u64,
    pub connections: u64,
    /// Streams that were open at the same time on one connection, at the most.
    pub most_streams: usize,
}

/// A server on a free loopback port, until it is dropped.
pub struct H2Server {
    pub url: url::Url,
    counts: Arc<Mutex<Counts>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for H2Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl H2Server {
    /// Starts it.
    pub async fn start(manner: Manner) -> H2Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let task = tokio::spawn({
            let counts = counts.clone();
            async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    counts.lock().expect("no panic while counting").connections += 1;
                    connections.spawn(serve(stream, manner, counts.clone()));
                }
            }
        });
        H2Server { url: format!("http://{address}").parse().expect("a URL"), counts, task }
    }

    /// What it counted so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().expect("no panic while counting")
    }
}

/// The end of one stream, or of the connection.
type Open = Arc<Mutex<BTreeSet<u32>>>;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

async fn serve(stream: TcpStream, manner: Manner, counts: Arc<Mutex<Counts>>) {
    let _ = stream.set_nodelay(true);
    let (mut from, mut to) = stream.into_split();
    let (say, mut said) = unbounded_channel::<Vec<u8>>();
    let writer = tokio::spawn(async move {
        while let Some(bytes) = said.recv().await {
            // In order, each so much later: what is said at the same time arrives at the same time.
            tokio::time::sleep(manner.away).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let setting = [&3u16.to_be_bytes()[..], &manner.streams.to_be_bytes()].concat();
    let _ = say.send(frame(SETTINGS, 0, 0, &setting));
    let mut preface = [0; 24];
    if from.read_exact(&mut preface).await.is_err() {
        return;
    }
    let open: Open = Arc::default();
    let (mut seen, mut last) = (0, None);
    loop {
        let mut head = [0; 9];
        if from.read_exact(&mut head).await.is_err() {
            break;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let mut payload = vec![0; length as usize];
        if from.read_exact(&mut payload).await.is_err() {
            break;
        }
        match (head[3], head[4] & ACK) {
            (SETTINGS, 0) => drop(say.send(frame(SETTINGS, ACK, 0, &[]))),
            (PING, 0) => drop(say.send(frame(PING, ACK, 0, &payload))),
            (HEADERS, _) if last.is_some() => {
                counts.lock().expect("no panic while counting").unprocessed += 1;
            }
            (HEADERS, _) => {
                seen += 1;
                if manner.refuse_each.is_some_and(|each| seen % each == 0) {
                    counts.lock().expect("no panic while counting").refused += 1;
                    let _ = say.send(frame(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()));
                    continue;
                }
                let now = {
                    let mut open = open.lock().expect("no panic while counting");
                    open.insert(stream);
                    open.len()
                };
                {
                    let mut counts = counts.lock().expect("no panic while counting");
                    counts.most_streams = counts.most_streams.max(now);
                }
                if manner.goes_after == Some(seen) {
                    last = Some(stream);
                    let goes = [stream.to_be_bytes(), 0u32.to_be_bytes()].concat();
                    let _ = say.send(frame(GOAWAY, 0, 0, &goes));
                }
                tokio::spawn(answer(stream, manner, open.clone(), say.clone(), counts.clone()));
            }
            (RST_STREAM, _) => drop(open.lock().expect("no panic while counting").remove(&stream)),
            _ => {}
        }
    }
    drop(say);
    let _ = writer.await;
}

async fn answer(
    stream: u32,
    manner: Manner,
    open: Open,
    say: UnboundedSender<Vec<u8>>,
    counts: Arc<Mutex<Counts>>,
) {
    tokio::time::sleep(manner.answer_in).await;
    if !open.lock().expect("no panic while counting").remove(&stream) {
        return;
    }
    counts.lock().expect("no panic while counting").answered += 1;
    // A head that is longer than a frame goes on in further ones, with nothing in between.
    let block = block(manner.headers);
    let parts: Vec<&[u8]> = block.chunks(LONGEST_FRAME).collect();
    let each = parts.iter().enumerate().flat_map(|(number, part)| {
        let (kind, flags) = if number == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        let end = if number + 1 == parts.len() { END_HEADERS } else { 0 };
        frame(kind, flags | end, stream, part)
    });
    let _ = say.send(each.collect());
}

/// A frame may have so many bytes, unless the other side allows more.
const LONGEST_FRAME: usize = 16_384;

/// The status 200 and so many headers with values of so many bytes, in HPACK.
fn block((headers, bytes): (usize, usize)) -> Vec<u8> {
    // `:status: 200`, of its static table.
    let mut block = vec![0x88];
    for number in 0..headers {
        // A literal that is not indexed, with a name of its own.
        block.push(0);
        text(&mut block, format!("x-{number}").as_bytes());
        text(&mut block, &vec![b'a'; bytes]);
    }
    block
}

/// A string as it is, behind its length: seven bits, and seven more in each further byte.
fn text(block: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 128);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend(bytes);
}
