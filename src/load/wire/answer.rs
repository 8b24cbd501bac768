//! An answer in HTTP/1.1, read from its bytes in whatever parts they come. Pure.

use std::mem::MaybeUninit;

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, StatusCode};
use httparse::{Error, Header, ParserConfig, Response, Status, parse_chunk_size};

use super::contents::{Coding, Contents};
use crate::load::Unknown;
use crate::load::reason::{LONGEST_HEAD, MOST_HEADERS};

/// Headers of an answer that are read without memory of their own; there may be more.
const HEADERS: usize = 100;

/// A line of a chunked body may be as long as this.
const LINE: usize = 8 * 1024;

/// An answer that is being read.
#[derive(Debug)]
pub(in crate::load) struct Answer {
    next: Next,
    /// Whether the answer has no body whatever its headers say: it answers HEAD.
    bodiless: bool,
    /// What came of a head or line whose end has not come yet.
    begun: Vec<u8>,
    status: StatusCode,
    keeps: bool,
    location: Option<HeaderValue>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Head,
    /// So many bytes of the body.
    Body(u64),
    /// The body, until the connection ends.
    BodyUntilClose,
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    ChunkEnd,
    Trailer,
    Nothing,
}

impl Answer {
    /// Nothing of it has come; `bodiless` where it answers HEAD.
    pub(in crate::load) fn new(bodiless: bool) -> Answer {
        Answer {
            next: Next::Head,
            bodiless,
            begun: Vec::new(),
            status: StatusCode::OK,
            keeps: false,
            location: None,
        }
    }

    /// Takes the next bytes; how many of them belong to it. Fewer than all only where it is complete.
    ///
    /// # Errors
    /// What is no HTTP.
    pub(in crate::load) fn take(
        &mut self,
        bytes: &[u8],
        contents: &mut Contents<'_>,
    ) -> Result<usize, Unknown> {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_complete() {
            let rest = &bytes[taken..];
            taken += match self.next {
                Next::Head => self.head(rest, contents)?,
                Next::Body(left) => {
                    let part = part(rest, left);
                    contents.take(part);
                    self.next = match left - part.len() as u64 {
                        0 => Next::Nothing,
                        left => Next::Body(left),
                    };
                    part.len()
                }
                Next::BodyUntilClose => {
                    contents.take(rest);
                    rest.len()
                }
                Next::Chunk(left) => {
                    let part = part(rest, left);
                    contents.take(part);
                    self.next = match left - part.len() as u64 {
                        0 => Next::ChunkEnd,
                        left => Next::Chunk(left),
                    };
                    part.len()
                }
                Next::ChunkSize | Next::ChunkEnd | Next::Trailer => self.line(rest)?,
                Next::Nothing => break,
            };
        }
        Ok(taken)
    }

    /// The connection ended.
    ///
    /// # Errors
    /// Where the answer had not.
    pub(in crate::load) fn closed(&mut self) -> Result<(), Unknown> {
        match self.next {
            Next::BodyUntilClose | Next::Nothing => {
                self.next = Next::Nothing;
                self.keeps = false;
                Ok(())
            }
            _ => Err(Unknown::Closed),
        }
    }

    /// Whether all of it has come.
    pub(in crate::load) fn is_complete(&self) -> bool {
        self.next == Next::Nothing
    }

    /// Whether the connection takes a further request after it.
    pub(in crate::load) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Its status, and where it redirects to.
    pub(in crate::load) fn end(&mut self) -> (StatusCode, Option<HeaderValue>) {
        (self.status, self.location.take())
    }

    fn head(&mut self, bytes: &[u8], contents: &mut Contents<'_>) -> Result<usize, Unknown> {
        if self.begun.is_empty() {
            return Ok(match self.parse(bytes, contents)? {
                Some(length) => length,
                None => {
                    self.begun.extend_from_slice(bytes);
                    bytes.len()
                }
            });
        }
        let before = self.begun.len();
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend_from_slice(bytes);
        if let Some(length) = self.parse(&begun, contents)? {
            begun.clear();
            self.begun = begun;
            return Ok(length.saturating_sub(before));
        }
        if begun.len() > LONGEST_HEAD {
            return Err(Unknown::HeadTooLong);
        }
        self.begun = begun;
        Ok(bytes.len())
    }

    /// Reads a head, if all of it is there; its length.
    fn parse(&mut self, bytes: &[u8], contents: &mut Contents<'_>) -> Result<Option<usize>, Unknown> {
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS];
        match self.parse_into(bytes, &mut headers, contents) {
            // Rare, and worth memory of its own.
            Err(Unknown::TooManyHeaders) => {
                let mut more = vec![MaybeUninit::uninit(); MOST_HEADERS];
                self.parse_into(bytes, &mut more, contents)
            }
            parsed => parsed,
        }
    }

    fn parse_into<'h, 'b: 'h>(
        &mut self,
        bytes: &'b [u8],
        headers: &'h mut [MaybeUninit<Header<'b>>],
        contents: &mut Contents<'_>,
    ) -> Result<Option<usize>, Unknown> {
        let mut response = Response::new(&mut []);
        let parsed = tolerant().parse_response_with_uninit_headers(&mut response, bytes, headers);
        let Status::Complete(length) = parsed.map_err(unreadable)? else { return Ok(None) };
        // Whatever the parts that it came in.
        if length > LONGEST_HEAD {
            return Err(Unknown::HeadTooLong);
        }
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        self.status = status.ok_or(Unknown::NotHttp)?;
        if self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS {
            // The answer itself follows.
            return Ok(Some(length));
        }
        self.keeps = response.version == Some(1);
        let (mut announced, mut chunked, mut coded) = (None, false, false);
        let mut coding = Coding::None;
        for header in response.headers.iter() {
            let is = |name: &HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
            match header.name.len() {
                8 if is(&LOCATION) && self.status.is_redirection() => {
                    self.location = HeaderValue::from_bytes(header.value).ok();
                }
                10 if is(&CONNECTION) => {
                    for word in words(header.value) {
                        self.keeps = match word {
                            word if word.eq_ignore_ascii_case(b"close") => false,
                            word if word.eq_ignore_ascii_case(b"keep-alive") => true,
                            _ => self.keeps,
                        };
                    }
                }
                14 if is(&CONTENT_LENGTH) => {
                    for length in words(header.value) {
                        let length = length_of(length)?;
                        if announced.is_some_and(|announced| announced != length) {
                            return Err(Unknown::BadLength);
                        }
                        announced = Some(length);
                    }
                }
                16 if is(&CONTENT_ENCODING) => coding = Coding::read(header.value),
                17 if is(&TRANSFER_ENCODING) => {
                    coded = true;
                    chunked =
                        words(header.value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
                }
                _ => {}
            }
        }
        contents.begin(coding);
        let never = self.bodiless
            || self.status.is_informational()
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.next = match (never, chunked, announced) {
            (true, ..) | (false, false, Some(0)) if never || !coded => Next::Nothing,
            (_, true, _) => Next::ChunkSize,
            (_, false, Some(length)) if !coded => Next::Body(length),
            _ => {
                self.keeps = false;
                Next::BodyUntilClose
            }
        };
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            self.keeps = false;
        }
        Ok(Some(length))
    }

    /// Reads on to the end of a line of a chunked body.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, Unknown> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.begun.extend_from_slice(bytes);
            return if self.begun.len() > LINE { Err(Unknown::BadChunk) } else { Ok(bytes.len()) };
        };
        self.begun.extend_from_slice(&bytes[..=end]);
        let empty = matches!(self.begun.as_slice(), b"\r\n" | b"\n");
        self.next = match self.next {
            Next::ChunkSize => match parse_chunk_size(&self.begun) {
                Ok(Status::Complete((_, 0))) => Next::Trailer,
                Ok(Status::Complete((_, size))) => Next::Chunk(size),
                Ok(Status::Partial) | Err(_) => return Err(Unknown::BadChunk),
            },
            Next::ChunkEnd if empty => Next::ChunkSize,
            Next::Trailer if empty => Next::Nothing,
            Next::Trailer => Next::Trailer,
            _ => return Err(Unknown::BadChunk),
        };
        self.begun.clear();
        Ok(end + 1)
    }
}

/// As many bytes as belong to the part of a body of which so many are left.
fn part(bytes: &[u8], left: u64) -> &[u8] {
    &bytes[..usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())]
}

/// The words of a header that is a list.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn length_of(value: &[u8]) -> Result<u64, Unknown> {
    let text = std::str::from_utf8(value).map_err(|_| Unknown::BadLength)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| Unknown::BadLength)
    } else {
        Err(Unknown::BadLength)
    }
}

/// Takes what curl and browsers take: folded lines, as RFC 9112 (5.2) asks of a user agent, spaces before a colon, and
/// lines that are no header, which are left out.
fn tolerant() -> ParserConfig {
    let mut config = ParserConfig::default();
    config
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_space_before_first_header_name(true)
        .ignore_invalid_headers_in_responses(true);
    config
}

/// What could not be read.
fn unreadable(error: Error) -> Unknown {
    match error {
        Error::TooManyHeaders => Unknown::TooManyHeaders,
        Error::HeaderName | Error::HeaderValue => Unknown::BadHeader,
        Error::NewLine | Error::Status | Error::Token | Error::Version => Unknown::NotHttp,
    }
}

/// Status, whether the connection goes on, whether the body contains a text, and how many bytes were over.
#[cfg(any(test, fuzzing))]
pub(crate) type Told = Result<(u16, bool, bool, usize), Unknown>;

/// Reads an answer that comes in these parts, after which the connection ends.
#[cfg(any(test, fuzzing))]
pub(crate) fn read(parts: &[&[u8]], bodiless: bool, wanted: &[u8]) -> Told {
    let mut answer = Answer::new(bodiless);
    let mut contents = Contents::new(Some(wanted));
    let mut over = 0;
    for part in parts {
        over += part.len() - answer.take(part, &mut contents)?;
    }
    if !answer.is_complete() {
        answer.closed()?;
    }
    Ok((answer.end().0.as_u16(), answer.keeps(), contents.missing().is_none(), over))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Status, whether the connection stays, whether the text was found, and what was left over.
    use super::Told;

    fn read(parts: &[&[u8]], bodiless: bool, wanted: &str) -> Told {
        super::read(parts, bodiless, wanted.as_bytes())
    }

    fn told(text: &str) -> Told {
        read(&[text.as_bytes()], false, "guestbook")
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nguestbook", Ok((200, true, true, 0))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nguestbook", Ok((200, true, false, 5))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nguestbook", Err(Unknown::Closed)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ok((200, true, false, 0))),
            ("HTTP/1.1 200 OK\r\n\r\nguestbook", Ok((200, false, true, 0))),
            ("HTTP/1.1 204 No Content\r\n\r\nHTTP", Ok((204, true, false, 4))),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", Ok((304, true, false, 0))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nguest\r\n4;a=b\r\nbook\r\n0\r\nSum: 1\r\n\r\n",
                Ok((200, true, true, 0)),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
                Ok((200, true, false, 0)),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ncontent-length: 3\r\n\r\nguestbook",
                Ok((200, false, true, 0)),
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nguest\r\n", Err(Unknown::Closed)),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok",
                Ok((201, true, false, 0)),
            ),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Ok((101, false, false, 0))),
            ("HTTP/1.1 200 OK\r\ncontent-le", Err(Unknown::Closed)),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn a_connection_stays_where_the_answer_says_so() {
        for (head, stays) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", false),
            ("HTTP/1.1 200 OK\r\nconnection: upgrade, close\r\n", false),
            ("HTTP/1.0 200 OK\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", true),
        ] {
            let text = format!("{head}content-length: 2\r\n\r\nok");
            assert_eq!(told(&text).map(|(_, stays, ..)| stays), Ok(stays), "{head}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_kind() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        let head = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(LONGEST_HEAD));
        let long = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", "0".repeat(LINE + 1));
        for (text, why) in [
            ("SSH-2.0-OpenSSH_9.2\r\n", Unknown::NotHttp),
            ("HTTP/1.1 99 Low\r\n\r\n", Unknown::NotHttp),
            ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", Unknown::BadLength),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", Unknown::BadLength),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nguest\r\n", Unknown::BadChunk),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n", Unknown::BadChunk),
            (many.as_str(), Unknown::TooManyHeaders),
            (long.as_str(), Unknown::BadChunk),
        ] {
            assert_eq!(told(text), Err(why), "{text}");
        }
        let (one, two) = head.as_bytes().split_at(LONGEST_HEAD / 2);
        assert_eq!(read(&[one, two], false, ""), Err(Unknown::HeadTooLong));
        let whole = format!("{head}\r\n\r\n");
        assert_eq!(read(&[whole.as_bytes()], false, ""), Err(Unknown::HeadTooLong));
    }

    #[test]
    fn odd_heads_are_read_as_other_clients_read_them() {
        let many = "X-Debug: 1\r\n".repeat(HEADERS * 3);
        let large = format!("X-Trace: {}\r\n", "a".repeat(40_000));
        for odd in [
            "Content-Security-Policy: default-src 'self';\r\n  script-src *;\r\n\timg-src *\r\n",
            "X-Frame-Options : DENY\r\n",
            "X-Name: M\u{fc}ller\r\n",
            "no header at all\r\n",
            "X y: z\r\n",
            "Content-Length: 9, 9\r\n",
            "Content-Length:\r\n 9\r\n",
            many.as_str(),
            large.as_str(),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{odd}Content-Length: 9\r\n\r\nguestbook");
            assert_eq!(told(&text), Ok((200, true, true, 0)), "{odd}");
        }
        let lines = "HTTP/1.1 200\nContent-Length: 9\n\nguestbook";
        assert_eq!(told(lines), Ok((200, true, true, 0)));
        let first = "HTTP/1.1 200 OK\r\n X-Space: 1\r\ncontent-length: 9\r\n\r\nguestbook";
        assert_eq!(told(first), Ok((200, true, true, 0)));
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
        assert_eq!(read(&[head], true, "guestbook"), Ok((200, true, false, 0)));
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6), which in 0usize..4) {
            let text: &[u8] = [
                b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\na guestbook!".as_slice(),
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n7\r\na guest\r\n5\r\nbook!\r\n0\r\na: b\r\n\r\n",
                b"HTTP/1.0 404 Not Found\r\nserver: x\r\n\r\nno guestbook here",
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n",
            ][which];
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let parts: Vec<&[u8]> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&parts, false, "guestbook"), read(&[text], false, "guestbook"));
        }
    }
}
