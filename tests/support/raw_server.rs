//! A server that reads requests in HTTP/1.1 and answers with just these bytes, and counts what it read.

// Not every test uses all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it does with a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers, and takes further requests.
    Answer(Vec<u8>),
    /// Answers, and ends the connection after this time.
    AnswerAndClose(Vec<u8>, Duration),
    /// Writes this, and resets the connection.
    Reset(Vec<u8>),
    /// Never answers.
    Silence,
}

/// A request that it read.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// All lines of its head but the first.
    pub headers: Vec<String>,
    pub body: String,
}

type Acts = dyn Fn(&Asked) -> Act + Send + Sync;

/// A server on a free loopback port, until it is dropped.
pub struct RawServer {
    pub url: url::Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawServer {
    /// Starts it.
    pub async fn start(acts: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> RawServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        RawServer::on(listener, acts)
    }

    /// Starts it on this listener.
    pub fn on(listener: TcpListener, acts: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> RawServer {
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let acts: Arc<Acts> = Arc::new(acts);
        let task = tokio::spawn({
            let asked = asked.clone();
            async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, asked.clone(), acts.clone()));
                }
            }
        });
        RawServer { url: format!("http://{address}").parse().expect("a URL"), asked, task }
    }

    /// Everything that it read to the last byte.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic while counting").clone()
    }

    /// How many requests it read, by method and path.
    pub fn counts(&self) -> BTreeMap<(String, String), u64> {
        let mut counts = BTreeMap::new();
        for asked in self.asked() {
            *counts.entry((asked.method, asked.path)).or_insert(0) += 1;
        }
        counts
    }

    /// How many requests to a path it read.
    pub fn path(&self, path: &str) -> u64 {
        self.asked().iter().filter(|asked| asked.path == path).count() as u64
    }
}

/// An answer with this status line, these further lines of its head and this body.
pub fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for header in headers {
        head += header;
        head += "\r\n";
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn serve(stream: TcpStream, counted: Arc<Mutex<Vec<Asked>>>, acts: Arc<Acts>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream).await {
        // Before the answer: whoever has an answer finds it counted.
        counted.lock().expect("no panic while counting").push(asked.clone());
        match acts(&asked) {
            Act::Answer(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::AnswerAndClose(bytes, after) => {
                let _ = stream.write_all(&bytes).await;
                tokio::time::sleep(after).await;
                return;
            }
            Act::Reset(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.get_ref().set_zero_linger();
                return;
            }
            Act::Silence => std::future::pending().await,
        }
    }
}

/// The next request; `None` where the connection ended.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let first = lines.remove(0);
    let mut words = first.split(' ').map(str::to_owned);
    let length = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().expect("a length"))
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked {
        method: words.next()?,
        path: words.next()?,
        headers: lines,
        body: String::from_utf8(body).expect("text"),
    })
}
