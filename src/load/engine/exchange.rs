//! One request and its answer: how it is made, and how it can end.

use std::io;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;

use super::pool::{Hop, Job};
use crate::load::Unknown;
use crate::load::requests::{Address, Ids, REQUEST_ID, Template};
use crate::scenario::HttpVersion;

/// How an exchange ended.
#[derive(Debug)]
pub(super) enum End {
    /// The complete answer came; whether its body contained what it had to, and where it redirects to.
    Answered { status: StatusCode, contained: bool, location: Option<HeaderValue> },
    /// Nothing of the request was written: it may be sent on another connection.
    Unsent,
    /// It may have been written, and no complete answer came.
    Unknown(Unknown),
}

/// Makes the request of a job. `headers` is empty; its memory is used again.
pub(super) fn request(
    job: &Job,
    template: &Template,
    address: &Address,
    ids: &mut Ids,
    mut headers: HeaderMap,
) -> Request<Full<Bytes>> {
    for (name, value) in &address.headers {
        headers.append(name.clone(), value.clone());
    }
    if template.identified {
        let id = match job.turn {
            0 => ids.id(job.index),
            turn => ids.id(format_args!("{}-{turn}", job.index)),
        };
        headers.insert(REQUEST_ID, id);
    }
    let (method, uri, body) = match &job.hop {
        None => (template.method.clone(), address.uri.clone(), template.body.clone()),
        Some(hop) if hop.body => (hop.method.clone(), hop.uri.clone(), template.body.clone()),
        Some(hop) => {
            headers.remove(CONTENT_TYPE);
            headers.remove(CONTENT_LENGTH);
            (hop.method.clone(), hop.uri.clone(), Bytes::new())
        }
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// The end of an exchange whose answer came completely.
pub(super) fn answered(status: StatusCode, headers: &HeaderMap, contained: bool) -> End {
    let location = if status.is_redirection() { headers.get(LOCATION).cloned() } else { None };
    End::Answered { status, contained, location }
}

/// Where a redirect leads, if the job may follow it. Only within the same replica.
pub(super) fn redirect(
    job: &Job,
    template: &Template,
    address: &Address,
    version: HttpVersion,
    status: StatusCode,
    location: &HeaderValue,
) -> Option<Box<Hop>> {
    if job.redirects == 0 {
        return None;
    }
    let from = job.hop.as_ref().map_or(&address.url, |hop| &hop.url);
    let url = from.join(location.to_str().ok()?).ok()?;
    if url.origin() != address.url.origin() {
        return None;
    }
    let method = job.hop.as_ref().map_or(&template.method, |hop| &hop.method);
    let kept = job.hop.as_ref().is_none_or(|hop| hop.body);
    let (method, body) = match status.as_u16() {
        303 if *method != Method::HEAD => (Method::GET, false),
        301 | 302 if *method == Method::POST => (Method::GET, false),
        301 | 302 | 303 | 307 | 308 => (method.clone(), kept),
        _ => return None,
    };
    let uri = match version {
        HttpVersion::Http1 => url[url::Position::BeforePath..url::Position::AfterQuery].parse(),
        HttpVersion::Http2 => url.as_str().parse(),
    };
    Some(Box::new(Hop { uri: uri.ok()?, url, method, body }))
}

/// Why no complete answer came.
pub(super) fn unknown(error: &hyper::Error) -> Unknown {
    if error.is_parse() {
        return Unknown::Protocol;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionAborted => {
                    return Unknown::Reset;
                }
                io::ErrorKind::TimedOut => return Unknown::Timeout,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => return Unknown::Protocol,
                _ => {}
            }
        }
        source = cause.source();
    }
    Unknown::Closed
}
