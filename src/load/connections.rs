//! A user's connections: one to each replica, kept alive as long as the server keeps it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::NotSent;
use super::requests::Ids;
use super::wire::http1::{BUFFER, Http1};
use super::wire::http2::Http2;
use super::wire::{Asked, Connector, End, UNSENT};
use crate::scenario::{Http, HttpVersion};

/// One user's connections.
pub(super) struct Connections {
    connectors: Arc<Vec<Connector>>,
    version: HttpVersion,
    timeout: Duration,
    ids: Ids,
    /// By replica.
    open: Vec<Option<Connection>>,
    /// Whether a request may have left, and its answer has not come.
    asking: bool,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

enum Connection {
    Http1(Http1),
    Http2(Http2),
}

impl Connections {
    pub(super) fn new(connectors: Arc<Vec<Connector>>, http: &Http, ids: Ids) -> Connections {
        Connections {
            open: connectors.iter().map(|_| None).collect(),
            connectors,
            version: http.version,
            timeout: http.timeout.get(),
            ids,
            asking: false,
            request: Vec::new(),
            buffer: vec![0; BUFFER],
        }
    }

    /// Whether a request that was given up in [`exchange`](Connections::exchange) may have left.
    pub(super) fn is_asking(&self) -> bool {
        self.asking
    }

    /// Sends a request to a replica: when it was sent, and how it ended, or why the server certainly did not get it.
    /// Making a connection may take as long as a request, and so may its answer.
    pub(super) async fn exchange(
        &mut self,
        asked: Asked<'_>,
        replica: usize,
    ) -> (Instant, Result<End, NotSent>) {
        self.asking = false;
        let mut unsent = 0;
        let until = Instant::now() + self.timeout;
        loop {
            let connection = match self.connection(replica).await {
                Ok(connection) => connection,
                Err(why) => return (Instant::now(), Err(why)),
            };
            let sent = Instant::now();
            self.asking = true;
            let (end, stays) = self.ask(connection, asked, sent).await;
            self.asking = false;
            self.open[replica] = stays;
            match end {
                End::Unsent if unsent < UNSENT => unsent += 1,
                End::Unsent => return (sent, Err(NotSent::Connect)),
                End::Unprocessed if Instant::now() < until => {}
                End::Unprocessed | End::Refused => return (sent, Err(NotSent::RefusedByServer)),
                end => return (sent, Ok(end)),
            }
        }
    }

    /// The connection to a replica: the one that there is, unless the server has ended it, or a new one.
    async fn connection(&mut self, replica: usize) -> Result<Connection, NotSent> {
        let buffer = &mut self.buffer;
        let over = match &mut self.open[replica] {
            None => true,
            Some(Connection::Http1(connection)) => {
                connection.has_ended() || poll_fn(|cx| connection.is_over(cx, buffer).into()).await
            }
            Some(Connection::Http2(connection)) => poll_fn(|cx| connection.is_over(cx).into()).await,
        };
        match self.open[replica].take() {
            Some(connection) if !over => Ok(connection),
            _ => tokio::time::timeout(self.timeout, self.connect(replica))
                .await
                .unwrap_or(Err(NotSent::ConnectTimeout)),
        }
    }

    async fn connect(&self, replica: usize) -> Result<Connection, NotSent> {
        let stream = self.connectors[replica].connect().await.map_err(|error| error.reason)?;
        Ok(match self.version {
            HttpVersion::Http1 => Connection::Http1(Http1::new(stream, self.timeout)),
            HttpVersion::Http2 => {
                let mut connection = Http2::new(stream).await?;
                // It has to be read from while the user thinks, too.
                connection.spawn();
                Connection::Http2(connection)
            }
        })
    }

    /// Sends a request over a connection: how it ended, and the connection where it takes a further one.
    async fn ask(
        &mut self,
        connection: Connection,
        asked: Asked<'_>,
        now: Instant,
    ) -> (End, Option<Connection>) {
        match connection {
            Connection::Http1(mut connection) => {
                asked.write(&self.ids, &mut self.request);
                let mut exchange = connection.begin(asked, now);
                let (request, buffer) = (&self.request, &mut self.buffer);
                let (end, stays) = poll_fn(|cx| connection.poll(cx, request, &mut exchange, buffer)).await;
                (end, stays.then_some(Connection::Http1(connection)))
            }
            Connection::Http2(mut connection) => {
                let end = match connection.send(asked, &mut self.ids) {
                    Ok(sent) => sent.answer(asked.template.contains.as_deref(), self.timeout).await,
                    Err(end) => end,
                };
                let stays = !matches!(end, End::Unsent | End::Unprocessed);
                (end, stays.then_some(Connection::Http2(connection)))
            }
        }
    }
}
