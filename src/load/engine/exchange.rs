//! One request and its answer: how it is made, and how it can end.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;

use super::pool::Job;
use crate::load::Unknown;
use crate::load::requests::{Address, Ids, REQUEST_ID, Template, head};

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

/// Writes the request of a job as HTTP/1.1 has it, in place of what is there.
pub(super) fn write(job: &Job, template: &Template, address: &Address, ids: &mut Ids, to: &mut Vec<u8>) {
    to.clear();
    let body = match &job.hop {
        None => {
            to.extend_from_slice(&address.head);
            true
        }
        Some(hop) => {
            let headers = without_body(&address.headers, hop.body);
            head(&hop.method, &hop.uri, &headers, hop.body.then_some(&template.body), to);
            hop.body
        }
    };
    if template.identified {
        to.extend_from_slice(REQUEST_ID.as_str().as_bytes());
        to.extend_from_slice(b": ");
        match job.turn {
            0 => ids.write(job.index, to),
            turn => ids.write(format_args!("{}-{turn}", job.index), to),
        }
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
    if body {
        to.extend_from_slice(&template.framed);
    }
}

/// The headers of a request, those of its body only where it has one.
fn without_body(headers: &HeaderMap, body: bool) -> HeaderMap {
    let mut headers = headers.clone();
    if !body {
        for name in [CONTENT_TYPE, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(name);
        }
    }
    headers
}

/// Makes the request of a job.
pub(super) fn request(
    job: &Job,
    template: &Template,
    address: &Address,
    ids: &mut Ids,
) -> Request<Full<Bytes>> {
    let mut headers = without_body(&address.headers, job.hop.as_ref().is_none_or(|hop| hop.body));
    if template.identified {
        headers.insert(REQUEST_ID, ids.id(job.number()));
    }
    let (method, uri, body) = match &job.hop {
        None => (template.method.clone(), address.uri.clone(), template.body.clone()),
        Some(hop) if hop.body => (hop.method.clone(), hop.uri.clone(), template.body.clone()),
        Some(hop) => (hop.method.clone(), hop.uri.clone(), Bytes::new()),
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
