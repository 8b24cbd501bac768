//! One request and its answer: how it is made, and how it can end.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};

use crate::load::redirect::Hop;
use crate::load::requests::{Address, Ids, Number, REQUEST_ID, Template, expects_body, head};
use crate::load::{Unexpected, Unknown};

/// How an exchange ended.
#[derive(Debug)]
pub(in crate::load) enum End {
    /// The complete answer came; why its body is not what was asked for, and where it redirects to.
    Answered { status: StatusCode, missing: Option<Unexpected>, location: Option<HeaderValue> },
    /// Nothing of it was written: it may be sent on another connection.
    Unsent,
    /// The server goes, and certainly did not begin with it: it may be sent on another connection.
    Unprocessed,
    /// The server refused it, and certainly did not process it.
    Refused,
    /// It may have been processed, and no complete answer came.
    Unknown(Unknown),
}

/// Which request it is: one of the scenario's, or the hop that a redirect led to.
#[derive(Debug, Clone, Copy)]
pub(in crate::load) struct Asked<'a> {
    pub template: &'a Template,
    pub address: &'a Address,
    pub hop: Option<&'a Hop>,
    pub number: Number,
}

impl Asked<'_> {
    /// The method that it is sent with.
    pub(super) fn method(&self) -> &Method {
        self.hop.map_or(&self.template.method, |hop| &hop.method)
    }

    /// Writes it as HTTP/1.1 has it, in place of what is there.
    pub(in crate::load) fn write(&self, ids: &Ids, to: &mut Vec<u8>) {
        to.clear();
        let body = match self.hop {
            None => {
                to.extend_from_slice(&self.address.head);
                true
            }
            Some(hop) => {
                let headers = without_body(&self.address.headers, hop.body);
                head(&hop.method, &hop.uri, &headers, hop.body.then_some(&self.template.body), to);
                hop.body
            }
        };
        if self.template.identified {
            to.extend_from_slice(REQUEST_ID.as_str().as_bytes());
            to.extend_from_slice(b": ");
            ids.write(self.number, to);
            to.extend_from_slice(b"\r\n");
        }
        to.extend_from_slice(b"\r\n");
        if body {
            to.extend_from_slice(&self.template.framed);
        }
    }

    /// Makes it as HTTP/2 has it: its head, and its body.
    pub(super) fn request(&self, ids: &mut Ids) -> (Request<()>, Bytes) {
        let with_body = self.hop.is_none_or(|hop| hop.body);
        let mut headers = without_body(&self.address.headers, with_body);
        if self.template.identified {
            headers.insert(REQUEST_ID, ids.id(self.number));
        }
        let body = if with_body { self.template.body.clone() } else { Bytes::new() };
        if !body.is_empty() || expects_body(self.method()) {
            headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(body.len()));
        }
        let mut request = Request::new(());
        *request.method_mut() = self.method().clone();
        *request.uri_mut() = self.hop.map_or(&self.address.uri, |hop| &hop.uri).clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        (request, body)
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

/// Where an answer redirects to, if it does.
pub(super) fn location(status: StatusCode, headers: &HeaderMap) -> Option<HeaderValue> {
    if status.is_redirection() { headers.get(LOCATION).cloned() } else { None }
}
