//! One request and its answer: how it is made, and how it can end.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;

use super::pool::Job;
use crate::load::Unknown;
use crate::load::requests::{Address, Ids, REQUEST_ID, Template};

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
        headers.insert(REQUEST_ID, ids.id(job.number()));
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
