//! Why requests count as errors: the same reasons for both executors, HTTP/1.1 and HTTP/2.

use serde::{Deserialize, Serialize};

use super::Fate;

/// Why a request counts as an error. Written as one word: `connect-timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reason {
    /// The server certainly did not process it.
    NotSent(NotSent),
    /// It may have been processed, and no complete answer came.
    Unknown(Unknown),
    /// The complete answer came, and was not the expected one.
    Unexpected(Unexpected),
}

/// Why the server certainly did not process a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotSent {
    /// The connection was refused.
    Refused,
    /// No connection came about in time.
    ConnectTimeout,
    /// The host's name was not resolved.
    Name,
    /// TLS failed: a certificate that is not trusted, another name, no common version.
    Tls,
    /// The server does not speak HTTP/2.
    NoHttp2,
    /// This machine gave no further connection: open files, ports.
    Limit,
    /// No connection came about for another reason.
    Connect,
    /// No connection was free before its time was over: all of them waited for answers.
    Queue,
    /// The server said that it did not process it (HTTP/2: `REFUSED_STREAM`, or above GOAWAY's last stream).
    RefusedByServer,
}

/// Why the fate of a request is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// No complete answer in time.
    Timeout,
    /// The connection, or with HTTP/2 the stream, was reset.
    Reset,
    /// The connection was closed before the answer was complete.
    Closed,
    /// The load was interrupted before the answer was complete.
    Interrupted,
    /// Unreadable: the answer is not HTTP.
    #[serde(alias = "protocol")]
    NotHttp,
    /// Unreadable: the answer's head is too long.
    HeadTooLong,
    /// Unreadable: the answer has too many headers.
    TooManyHeaders,
    /// Unreadable: a header is malformed.
    BadHeader,
    /// Unreadable: `content-length` is no number, or is there twice and differs.
    BadLength,
    /// Unreadable: a chunk of the body is malformed.
    BadChunk,
    /// Unreadable: the answer breaks the rules of HTTP/2.
    BadFrame,
}

/// Why a complete answer was not the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Unexpected {
    /// Its status.
    #[serde(rename = "unexpected-status")]
    Status,
    /// Its body does not contain the text asked for.
    #[serde(rename = "text-missing")]
    Text,
    /// Its body is compressed in a way that is not read, so that nobody knows what it contains.
    #[serde(rename = "body-compressed")]
    Compressed,
}

/// An answer's head may be as long as this.
pub(super) const LONGEST_HEAD: usize = 256 * 1024;

/// An answer may have so many headers.
pub(super) const MOST_HEADERS: usize = 4096;

impl Unknown {
    /// Whether an answer came that could not be read.
    pub fn is_unreadable(self) -> bool {
        !matches!(self, Unknown::Timeout | Unknown::Reset | Unknown::Closed | Unknown::Interrupted)
    }
}

impl Reason {
    /// Why a request with this fate counts as an error; `None` where it was answered.
    pub fn of(fate: Fate) -> Option<Reason> {
        match fate {
            Fate::Answered(_) => None,
            Fate::NotSent(why) => Some(Reason::NotSent(why)),
            Fate::Unknown(why) => Some(Reason::Unknown(why)),
        }
    }

    /// Its one word, as in JSON: `connect-timeout`.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }

    /// As people read it, after a number of requests: `the connection was refused`.
    pub fn words(self) -> &'static str {
        match self {
            Reason::NotSent(why) => match why {
                NotSent::Refused => "the connection was refused",
                NotSent::ConnectTimeout => "no connection in time",
                NotSent::Name => "the host's name was not resolved",
                NotSent::Tls => "TLS failed",
                NotSent::NoHttp2 => "the server does not speak HTTP/2",
                NotSent::Limit => "this machine gave no further connection",
                NotSent::Connect => "no connection",
                NotSent::Queue => "no connection was free in time",
                NotSent::RefusedByServer => "refused by the server, which did not process them",
            },
            Reason::Unknown(why) => match why {
                Unknown::Timeout => "no complete answer in time",
                Unknown::Reset => "the connection was reset before the answer was complete",
                Unknown::Closed => "the connection was closed before the answer was complete",
                Unknown::Interrupted => "the load was interrupted before the answer was complete",
                Unknown::NotHttp => "the answer is not HTTP",
                Unknown::HeadTooLong => "the answer's head is longer than 256 KiB",
                Unknown::TooManyHeaders => "the answer has more than 4,096 headers",
                Unknown::BadHeader => "a header of the answer is malformed",
                Unknown::BadLength => "the answer's content-length is malformed, or contradicts itself",
                Unknown::BadChunk => "a chunk of the answer is malformed",
                Unknown::BadFrame => {
                    "the answer breaks the rules of HTTP/2, or its head is longer than 1 MiB"
                }
            },
            Reason::Unexpected(why) => match why {
                Unexpected::Status => "the status was not expected",
                Unexpected::Text => "the answer does not contain the text asked for",
                Unexpected::Compressed => "the answer was compressed in a way that `contains` does not read",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn reasons_are_words_in_json_and_are_read_again() {
        let reasons = BTreeMap::from([
            (Reason::NotSent(NotSent::ConnectTimeout), 1),
            (Reason::Unknown(Unknown::TooManyHeaders), 2),
            (Reason::Unexpected(Unexpected::Text), 3),
        ]);
        let text = serde_json::to_string(&reasons).expect("JSON");
        assert_eq!(text, r#"{"connect-timeout":1,"too-many-headers":2,"text-missing":3}"#);
        assert_eq!(serde_json::from_str::<BTreeMap<Reason, u64>>(&text).expect("reasons"), reasons);
        let buffered = serde_json::from_value::<BTreeMap<Reason, u64>>(serde_json::json!({"refused": 4}));
        assert_eq!(buffered.expect("reasons"), BTreeMap::from([(Reason::NotSent(NotSent::Refused), 4)]));
    }

    #[test]
    fn the_words_tell_the_true_limits() {
        let kibibytes = format!("longer than {} KiB", LONGEST_HEAD / 1024);
        let headers = format!("more than {} headers", crate::figures::count(MOST_HEADERS as u64));
        assert!(Reason::Unknown(Unknown::HeadTooLong).words().ends_with(&kibibytes));
        assert!(Reason::Unknown(Unknown::TooManyHeaders).words().ends_with(&headers));
    }

    #[test]
    fn a_run_of_before_there_were_more_reasons_is_read() {
        let fate: Fate = serde_json::from_str(r#"{"unknown":"protocol"}"#).expect("a fate");
        assert_eq!(fate, Fate::Unknown(Unknown::NotHttp));
    }
}
