//! What an answer's body contains: looks for a text in it, through the codings that are read here.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::load::Unexpected;
use crate::load::requests::Search;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    None,
    Gzip,
    Deflate,
    /// One that is not read here, such as `br` and `zstd`, or several.
    Other,
}

impl Coding {
    /// What `content-encoding` says.
    pub(super) fn read(value: &[u8]) -> Coding {
        let is = |name: &str| value.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        if is("identity") || is("") {
            Coding::None
        } else if is("gzip") || is("x-gzip") {
            Coding::Gzip
        } else if is("deflate") {
            Coding::Deflate
        } else {
            Coding::Other
        }
    }
}

/// Looks for a text in a body that comes in parts, without keeping any of it.
pub(in crate::load) struct Contents<'a> {
    /// Whether anything is looked for.
    asked: bool,
    reader: Reader<'a>,
}

enum Reader<'a> {
    Plain(Looking<'a>),
    Gzip(Box<MultiGzDecoder<Looking<'a>>>),
    /// `deflate` of which nothing has come yet: it may be framed by zlib, as it has to, or not.
    Deflate(Looking<'a>),
    Zlib(Box<ZlibDecoder<Looking<'a>>>),
    RawDeflate(Box<DeflateDecoder<Looking<'a>>>),
    Unread,
}

/// Takes what a decoder writes.
struct Looking<'a>(Search<'a>);

impl Write for Looking<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.0.take(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Contents<'a> {
    /// Looks for this text; for nothing without one.
    pub(in crate::load) fn new(wanted: Option<&'a [u8]>) -> Contents<'a> {
        let search = Search::new(wanted);
        Contents { asked: !search.found(), reader: Reader::Plain(Looking(search)) }
    }

    /// The body begins, and is coded like this.
    pub(super) fn begin(&mut self, coding: Coding) {
        if !self.asked {
            return;
        }
        self.reader = match (std::mem::replace(&mut self.reader, Reader::Unread), coding) {
            (Reader::Plain(looking), Coding::Gzip) => Reader::Gzip(Box::new(MultiGzDecoder::new(looking))),
            (Reader::Plain(looking), Coding::Deflate) => Reader::Deflate(looking),
            (reader @ Reader::Plain(_), Coding::None) => reader,
            _ => Reader::Unread,
        };
    }

    /// Takes a part of the body.
    pub(super) fn take(&mut self, part: &[u8]) {
        if !self.asked || part.is_empty() {
            return;
        }
        if matches!(self.reader, Reader::Deflate(_))
            && let Reader::Deflate(looking) = std::mem::replace(&mut self.reader, Reader::Unread)
        {
            // zlib's first byte names the method, 8.
            self.reader = match part[0] & 0x0f {
                8 => Reader::Zlib(Box::new(ZlibDecoder::new(looking))),
                _ => Reader::RawDeflate(Box::new(DeflateDecoder::new(looking))),
            };
        }
        let read = match &mut self.reader {
            Reader::Plain(looking) => looking.write_all(part),
            Reader::Gzip(decoder) => decoder.write_all(part).and_then(|()| decoder.flush()),
            Reader::Zlib(decoder) => decoder.write_all(part).and_then(|()| decoder.flush()),
            Reader::RawDeflate(decoder) => decoder.write_all(part).and_then(|()| decoder.flush()),
            Reader::Deflate(_) | Reader::Unread => Ok(()),
        };
        if self.found() {
            self.asked = false;
        } else if read.is_err() {
            self.reader = Reader::Unread;
        }
    }

    fn found(&self) -> bool {
        match &self.reader {
            Reader::Plain(looking) | Reader::Deflate(looking) => looking.0.found(),
            Reader::Gzip(decoder) => decoder.get_ref().0.found(),
            Reader::Zlib(decoder) => decoder.get_ref().0.found(),
            Reader::RawDeflate(decoder) => decoder.get_ref().0.found(),
            Reader::Unread => false,
        }
    }

    /// Why the body is not what was asked for, once all of it has come; `None` where it is.
    pub(in crate::load) fn missing(&self) -> Option<Unexpected> {
        match (self.asked, &self.reader) {
            (false, _) => None,
            (true, Reader::Unread) => Some(Unexpected::Compressed),
            (true, _) => Some(Unexpected::Text),
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    /// What is told of a body in parts of so many bytes.
    fn told(coding: &str, body: &[u8], parts: usize) -> Option<Unexpected> {
        let mut contents = Contents::new(Some(b"guestbook"));
        contents.begin(Coding::read(coding.as_bytes()));
        body.chunks(parts).for_each(|part| contents.take(part));
        contents.missing()
    }

    /// A text of some length, packed by gzip, zlib and deflate.
    fn packed(text: &str) -> [(&'static str, Vec<u8>); 3] {
        let text = text.as_bytes();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).and_then(|()| zlib.write_all(text)).expect("memory");
        deflate.write_all(text).expect("memory");
        [
            ("gzip", gzip.finish().expect("gzip")),
            ("deflate", zlib.finish().expect("zlib")),
            ("Deflate", deflate.finish().expect("deflate")),
        ]
    }

    #[test]
    fn a_text_is_found_in_what_is_compressed() {
        let filled = format!("{}a guestbook{}", "hello ".repeat(20_000), " world".repeat(20_000));
        for parts in [1, 7, 64 * 1024] {
            for (coding, body) in packed(&filled) {
                assert_eq!(told(coding, &body, parts), None, "{coding} in parts of {parts}");
            }
            for (coding, body) in packed("a book of guests") {
                assert_eq!(told(coding, &body, parts), Some(Unexpected::Text), "{coding}");
            }
        }
        assert_eq!(told("identity", b"guestbook", 2), None);
    }

    #[test]
    fn what_is_not_read_is_told() {
        for (coding, body) in
            [("br", b"guestbook".as_slice()), ("gzip, gzip", b"guestbook"), ("gzip", b"plain text")]
        {
            assert_eq!(told(coding, body, 4), Some(Unexpected::Compressed), "{coding}");
        }
        let mut nothing = Contents::new(None);
        nothing.begin(Coding::Other);
        nothing.take(b"anything");
        assert_eq!(nothing.missing(), None, "where nothing is asked for, nothing is missing");
    }
}
