//! A server that knows exactly what it was asked and what it answered, and that misbehaves on request.

// Not every test uses all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

type Body = BoxBody<Bytes, io::Error>;

/// What it counted.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Requests by path and the status that they were answered with, complete or not; 0 where no answer began.
    pub answers: BTreeMap<(String, u16), u64>,
    /// Values of `x-request-id`.
    pub ids: Vec<String>,
    /// Connections that it accepted.
    pub connections: u64,
}

impl Counts {
    /// Requests to a path, whatever became of them.
    pub fn path(&self, path: &str) -> u64 {
        self.answers.iter().filter(|((known, _), _)| known == path).map(|(_, count)| count).sum()
    }

    /// All requests.
    pub fn all(&self) -> u64 {
        self.answers.values().sum()
    }
}

/// A server on a free loopback port, until it is dropped.
pub struct ExactServer {
    pub url: url::Url,
    counts: Arc<Mutex<Counts>>,
    frozen: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for ExactServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the connection does besides answering.
#[derive(Default)]
struct Connection {
    /// Ends it without an answer, by a reset.
    reset: Notify,
    /// Ends it after the answer, without having said so.
    leave: Notify,
}

impl ExactServer {
    /// Starts it.
    ///
    /// | path | what it does |
    /// |---|---|
    /// | `/status/N` | answers with that status |
    /// | `/slow/N` | answers 200 after N ms |
    /// | `/drip` | answers 200 in chunks, over 20 ms |
    /// | `/moved` | 302 to `/status/200` |
    /// | `/close` | answers 200 with `connection: close` |
    /// | `/leave` | answers 200 and closes the connection without having said so |
    /// | `/cut` | announces 100 bytes and ends the connection after 10 |
    /// | `/reset` | resets the connection in place of an answer |
    /// | `/never` | never answers |
    pub async fn start() -> ExactServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (frozen, thaw) = watch::channel(false);
        let task = tokio::spawn(accept(listener, counts.clone(), thaw));
        ExactServer { url: format!("http://{address}").parse().expect("a URL"), counts, frozen, task }
    }

    /// What it counted so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().expect("no panic while counting").clone()
    }

    /// Answers nothing from now on, until it is told otherwise.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }
}

async fn accept(listener: TcpListener, counts: Arc<Mutex<Counts>>, thaw: watch::Receiver<bool>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        counts.lock().expect("no panic while counting").connections += 1;
        connections.spawn(serve(stream, counts.clone(), thaw.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, counts: Arc<Mutex<Counts>>, thaw: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let stream = Arc::new(stream);
    let doings = Arc::new(Connection::default());
    let handler = doings.clone();
    let service = service_fn(move |request| answer(request, counts.clone(), thaw.clone(), handler.clone()));
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(Shared(stream.clone())), service);
    tokio::select! {
        _ = connection => {}
        () = doings.reset.notified() => {
            let _ = stream.set_zero_linger();
        }
        () = doings.leave.notified() => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    counts: Arc<Mutex<Counts>>,
    mut thaw: watch::Receiver<bool>,
    connection: Arc<Connection>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let _ = request.into_body().collect().await;
    let _ = thaw.wait_for(|frozen| !frozen).await;
    let mut parts = path.trim_start_matches('/').split('/');
    let kind = parts.next().unwrap_or_default();
    let number: u16 = parts.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let status = match kind {
        "status" => number,
        "moved" => 302,
        "reset" | "never" => 0,
        _ => 200,
    };
    if kind == "slow" {
        tokio::time::sleep(Duration::from_millis(number.into())).await;
    }
    {
        // Before the answer is handed over: whoever has an answer finds it counted.
        let mut counts = counts.lock().expect("no panic while counting");
        *counts.answers.entry((path.clone(), status)).or_insert(0) += 1;
        counts.ids.extend(id);
    }
    let full = |text: &'static str| {
        Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed()
    };
    let mut response = Response::new(full("exactly this"));
    *response.status_mut() = StatusCode::from_u16(status.max(200)).expect("a status");
    match kind {
        "drip" => {
            let chunks = stream::iter(["exac", "tly ", "this"]).then(|chunk| async move {
                tokio::time::sleep(Duration::from_millis(7)).await;
                Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))
            });
            *response.body_mut() = BoxBody::new(StreamBody::new(chunks));
        }
        "moved" => {
            response.headers_mut().insert("location", HeaderValue::from_static("/status/200"));
        }
        "close" => {
            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        "leave" => {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                connection.leave.notify_one();
            });
        }
        "cut" => {
            let parts = stream::iter([
                Ok(Frame::data(Bytes::from_static(b"0123456789"))),
                Err(io::Error::other("cut")),
            ]);
            // Apart, so that the first part has left when the second ends the connection.
            let parts = parts.then(|part| async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                part
            });
            response.headers_mut().insert("content-length", HeaderValue::from_static("100"));
            *response.body_mut() = BoxBody::new(StreamBody::new(parts));
        }
        "reset" => {
            connection.reset.notify_one();
            std::future::pending::<()>().await;
        }
        "never" => std::future::pending::<()>().await,
        _ => {}
    }
    Ok(response)
}

/// A socket that is at hand while a connection uses it, so that it can be reset.
struct Shared(Arc<TcpStream>);

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(bytes) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Closed when the last holder lets go.
        Poll::Ready(Ok(()))
    }
}
