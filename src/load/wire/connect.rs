//! Connections: TCP, TLS, and a meter of the bytes that were written.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use url::{Host, Url};

use super::addresses::Addresses;
use super::failure::not_connected;
use crate::certificates;
use crate::error::{Error, Result};
use crate::load::NotSent;
use crate::scenario::HttpVersion;

/// Makes connections to one replica.
pub(in crate::load) struct Connector {
    addresses: Addresses,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why no connection came about.
#[derive(Debug)]
pub(in crate::load) struct ConnectError {
    pub reason: NotSent,
    /// What the system said, where this machine was the reason: open files, ports.
    pub limit: Option<String>,
}

impl ConnectError {
    /// For a reason that is no error of the system.
    pub(super) fn of(reason: NotSent) -> ConnectError {
        ConnectError { reason, limit: None }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> ConnectError {
        use rustix::io::Errno;
        let limits = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
        let limited = Errno::from_io_error(&error).is_some_and(|errno| limits.contains(&errno));
        let reason = if limited { NotSent::Limit } else { not_connected(&error) };
        ConnectError { reason, limit: limited.then(|| error.to_string()) }
    }
}

impl Connector {
    /// To a base URL of scheme `http` or `https`. `roots` is asked for only where TLS is spoken.
    pub(in crate::load) fn new(
        url: &Url,
        version: HttpVersion,
        roots: impl FnOnce() -> Result<Arc<RootCertStore>>,
    ) -> Result<Connector> {
        let problem = || Error::usage(format!("load cannot be put on {url}"));
        let host = match url.host() {
            // Without the brackets of a URL.
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(problem().because_of("it names no host")),
        };
        let port = url.port_or_known_default().ok_or_else(|| problem().because_of("it names no port"))?;
        let tls = match url.scheme() {
            "http" => None,
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|e| problem().because(e))?;
                Some((TlsConnector::from(Arc::new(tls(version, roots()?)?)), name))
            }
            scheme => return Err(problem().because_of(format!("`{scheme}` is neither http nor https"))),
        };
        Ok(Connector { addresses: Addresses::new(host, port), tls })
    }

    /// Makes a connection. The caller bounds the time.
    pub(in crate::load) async fn connect(&self) -> Result<Stream, ConnectError> {
        let tcp = self.addresses.connect().await?;
        tcp.set_nodelay(true)?;
        let written = Written::default();
        let tcp = Metered { tcp, written: written.clone() };
        let io = match &self.tls {
            None => Io::Plain(tcp),
            Some((connector, name)) => match connector.connect(name.clone(), tcp).await {
                Ok(tls) => Io::Tls(Box::new(tls)),
                Err(_) => return Err(ConnectError::of(NotSent::Tls)),
            },
        };
        Ok(Stream { io, written })
    }
}

/// The authorities whose word is taken.
pub(in crate::load) fn native_roots() -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates::trusted()?.into_owned());
    Ok(Arc::new(roots))
}

fn tls(version: HttpVersion, roots: Arc<RootCertStore>) -> Result<ClientConfig> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::prerequisite("TLS cannot be spoken").because(e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![match version {
        HttpVersion::Http1 => b"http/1.1".to_vec(),
        HttpVersion::Http2 => b"h2".to_vec(),
    }];
    Ok(config)
}

/// A connection, and how many bytes the system took from it.
///
/// Bytes are counted below TLS: while the count stands still, nothing of a request can have left.
#[derive(Debug)]
pub(in crate::load) struct Stream {
    io: Io,
    pub(super) written: Written,
}

/// How many bytes the system took from a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Written(Arc<AtomicU64>);

impl Written {
    /// So many until now.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
enum Io {
    Plain(Metered),
    Tls(Box<TlsStream<Metered>>),
}

#[derive(Debug)]
struct Metered {
    tcp: TcpStream,
    written: Written,
}

impl Stream {
    /// Asks the system itself whether the server has ended the connection, while nothing is on its way: what the
    /// runtime knows of it is from when it looked last.
    pub(super) fn has_ended(&self) -> bool {
        let (tcp, tls) = match &self.io {
            Io::Plain(io) => (&io.tcp, false),
            Io::Tls(io) => (&io.get_ref().0.tcp, true),
        };
        match SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => true,
            // TLS has things of its own to tell; in plain text nobody asked for anything.
            Ok(_) => !tls,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

impl Metered {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.written.0.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, parts);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Calls the same method on whichever stream it is.
macro_rules! on_io {
    ($self:ident, $method:ident $(, $argument:expr)*) => {
        match &mut $self.get_mut().io {
            Io::Plain(io) => Pin::new(io).$method($($argument),*),
            Io::Tls(io) => Pin::new(io.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_io!(self, poll_read, cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_io!(self, poll_write, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_io!(self, poll_write_vectored, cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_io!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_io!(self, poll_shutdown, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    /// A server that echoes over TLS, and the roots that trust it.
    async fn echo() -> (Url, Arc<RootCertStore>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("its key");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("the certificate and its key");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut bytes = [0; 5];
                let _ = stream.read_exact(&mut bytes).await;
                let _ = stream.write_all(&bytes).await;
            }
        });
        (format!("https://localhost:{port}").parse().expect("a URL"), Arc::new(roots))
    }

    #[tokio::test]
    async fn tls_is_spoken_with_who_is_trusted_and_with_nobody_else() {
        let (url, roots) = echo().await;
        let connector = Connector::new(&url, HttpVersion::Http1, || Ok(roots)).expect("a connector");
        let mut stream = connector.connect().await.expect("a connection");
        let shaken = stream.written.bytes();
        assert!(shaken > 0, "the handshake is written, too");
        stream.write_all(b"hello").await.expect("written");
        assert!(stream.written.bytes() > shaken + 5, "as many bytes as leave, not as were given to TLS");
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await.expect("an echo");
        assert_eq!(&bytes, b"hello");

        let (stranger, _) = echo().await;
        let (_, roots) = echo().await;
        let connector = Connector::new(&stranger, HttpVersion::Http1, || Ok(roots)).expect("a connector");
        let error = connector.connect().await.expect_err("nobody vouches for it");
        assert_eq!((error.reason, error.limit), (NotSent::Tls, None));
    }

    #[test]
    fn what_load_cannot_be_put_on_is_a_usage_error() {
        for url in ["ftp://127.0.0.1/", "unix:/run/app.sock"] {
            let url = url.parse().expect("a URL");
            let error = Connector::new(&url, HttpVersion::Http1, native_roots).err().expect("no load on it");
            assert_eq!(error.exit(), crate::exit::Exit::Usage);
        }
    }

    #[test]
    fn limits_of_this_machine_are_told_from_the_server_s_doing() {
        let error = |errno: rustix::io::Errno| ConnectError::from(io::Error::from(errno));
        assert!(error(rustix::io::Errno::MFILE).limit.is_some_and(|limit| limit.contains("open files")));
        assert!(error(rustix::io::Errno::ADDRNOTAVAIL).limit.is_some());
        let refused = error(rustix::io::Errno::CONNREFUSED);
        assert_eq!((refused.reason, refused.limit), (NotSent::Refused, None));
    }
}
