//! Why a request was not answered, as the errors of the system and of the libraries tell it.

use std::io;

use crate::load::{NotSent, Unknown};

/// Why no complete answer came, where the request may have been written.
pub(super) fn unknown(error: &io::Error) -> Unknown {
    match error.kind() {
        io::ErrorKind::BrokenPipe if error.raw_os_error().is_none() => Unknown::Closed,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            Unknown::Reset
        }
        io::ErrorKind::TimedOut => Unknown::Timeout,
        // What TLS cannot read.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Unknown::NotHttp,
        _ => Unknown::Closed,
    }
}

/// Why no connection came about.
pub(super) fn not_connected(error: &io::Error) -> NotSent {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => NotSent::Refused,
        io::ErrorKind::TimedOut => NotSent::ConnectTimeout,
        _ => NotSent::Connect,
    }
}

/// How a stream of HTTP/2 can end without an answer.
pub(super) enum StreamEnd {
    /// The server had not begun with it, and goes: it may be sent on another connection.
    Unprocessed,
    /// The server refused it.
    Refused,
    /// It may have been processed.
    Unknown(Unknown),
}

/// How a stream of HTTP/2 ended.
pub(super) fn stream_end(error: &h2::Error) -> StreamEnd {
    if let Some(error) = error.get_io() {
        return StreamEnd::Unknown(unknown(error));
    }
    match (error.is_remote(), error.is_go_away(), error.reason()) {
        // The library ends in this way only the streams above the last one that the server names (RFC 9113, 6.8).
        (true, true, _) => StreamEnd::Unprocessed,
        (true, false, Some(h2::Reason::REFUSED_STREAM)) => StreamEnd::Refused,
        (true, false, _) => StreamEnd::Unknown(Unknown::Reset),
        (false, ..) => StreamEnd::Unknown(Unknown::BadFrame),
    }
}
