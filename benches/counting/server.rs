//! The server that counts: requests that were read to the last byte, and answers that were written to the last byte.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::situations::Frozen;

/// What became of one run's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counted {
    /// Requests that were read to the last byte.
    pub read: u64,
    /// Final answers that were written to the last byte.
    pub answered: u64,
}

type Counts = Arc<Mutex<HashMap<String, Counted>>>;

/// A server on a free loopback port, until it is dropped.
pub struct Server {
    pub url: String,
    counts: Counts,
    frozen: watch::Sender<bool>,
    // What it runs on.
    _runtime: Runtime,
}

impl Server {
    pub fn start() -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let counts = Counts::default();
        let (frozen, thaw) = watch::channel(false);
        let counting = counts.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, counting.clone(), thaw.clone()));
            }
        });
        Server { url: format!("http://{address}"), counts, frozen, _runtime: runtime }
    }

    /// Reads and answers nothing for a while, from a while on.
    pub fn freeze(&self, frozen: Frozen) -> JoinHandle<()> {
        let switch = self.frozen.clone();
        std::thread::spawn(move || {
            std::thread::sleep(frozen.from);
            switch.send_replace(true);
            std::thread::sleep(frozen.until - frozen.from);
            switch.send_replace(false);
        })
    }

    /// What was counted under a mark, once nothing more comes.
    pub fn settled(&self, mark: &str) -> Counted {
        let look =
            || self.counts.lock().expect("no panic while counting").get(mark).copied().unwrap_or_default();
        let (mut seen, mut since) = (look(), Instant::now());
        while since.elapsed() < Duration::from_millis(200) {
            std::thread::sleep(Duration::from_millis(20));
            if look() != seen {
                (seen, since) = (look(), Instant::now());
            }
        }
        seen
    }
}

/// What an answer does besides being one.
struct Answer {
    bytes: Vec<u8>,
    whole: bool,
    close: bool,
    reset: bool,
}

fn answer(kind: &str, mark: &str, keep_alive: &str) -> Answer {
    let full = |status: &str, header: &str| {
        format!("HTTP/1.1 {status}\r\n{header}{keep_alive}Content-Length: 2\r\n\r\nok").into_bytes()
    };
    let plain = |bytes: Vec<u8>| Answer { bytes, whole: true, close: false, reset: false };
    match kind {
        "moved" => plain(full("302 Found", &format!("Location: /landed/{mark}\r\n"))),
        "error" => plain(full("500 Internal Server Error", "")),
        "close" => Answer {
            close: true,
            ..plain(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec())
        },
        "leave" => Answer { close: true, ..plain(full("200 OK", "")) },
        "cut" => Answer {
            whole: false,
            close: true,
            ..plain(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789".to_vec())
        },
        "early" => {
            let mut bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n".to_vec();
            bytes.extend(full("200 OK", ""));
            plain(bytes)
        }
        "reset" => Answer { bytes: Vec::new(), whole: false, close: true, reset: true },
        _ => plain(full("200 OK", "")),
    }
}

async fn serve(mut stream: TcpStream, counts: Counts, mut thaw: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let count = |mark: &str, read: u64, answered: u64| {
        let mut counts = counts.lock().expect("no panic while counting");
        let counted = match counts.get_mut(mark) {
            Some(counted) => counted,
            None => counts.entry(mark.to_owned()).or_default(),
        };
        counted.read += read;
        counted.answered += answered;
    };
    let mut buffer: Vec<u8> = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            let _ = thaw.wait_for(|frozen| !frozen).await;
            match stream.read_buf(&mut buffer).await {
                Ok(bytes) if bytes > 0 => {}
                _ => return,
            }
        };
        // It may have been frozen while it waited to read.
        let _ = thaw.wait_for(|frozen| !frozen).await;
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let mut words = head.lines().next().unwrap_or_default().split(' ').skip(1);
        let path = words.next().unwrap_or_default().to_owned();
        let old = words.next() == Some("HTTP/1.0");
        let kept = head.to_ascii_lowercase().contains("connection: keep-alive");
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (kind, mark) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        count(mark, 1, 0);
        if kind == "slow" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = answer(kind, mark, if old && kept { "Connection: keep-alive\r\n" } else { "" });
        let _ = thaw.wait_for(|frozen| !frozen).await;
        if answer.reset {
            let _ = stream.set_zero_linger();
            return;
        }
        if stream.write_all(&answer.bytes).await.is_err() {
            return;
        }
        count(mark, 0, u64::from(answer.whole));
        if answer.close || (old && !kept) {
            let _ = stream.shutdown().await;
            return;
        }
    }
}
