//! Why a request was not answered, as the errors of the libraries tell it.

use std::error::Error;
use std::io;

use super::{Fate, NotSent, Unknown};

/// Why no complete answer came, where the request may have been written.
pub(super) fn unknown(error: &(dyn Error + 'static)) -> Unknown {
    for cause in causes(error) {
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Unknown::NotHttp;
        }
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted,
            ) => {
                return Unknown::Reset;
            }
            Some(io::ErrorKind::TimedOut) => return Unknown::Timeout,
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => return Unknown::NotHttp,
            _ => {}
        }
    }
    Unknown::Closed
}

/// Why no connection came about.
pub(super) fn not_connected(error: &(dyn Error + 'static)) -> NotSent {
    for cause in causes(error) {
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return NotSent::Refused,
            Some(io::ErrorKind::TimedOut) => return NotSent::ConnectTimeout,
            _ => {}
        }
    }
    NotSent::Connect
}

/// The fate of a request that reqwest could not bring to its end.
pub(super) fn fate(error: &reqwest::Error) -> Fate {
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => Fate::NotSent(NotSent::ConnectTimeout),
        (true, false) => Fate::NotSent(not_connected(error)),
        (false, true) => Fate::Unknown(Unknown::Timeout),
        (false, false) => Fate::Unknown(unknown(error)),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
