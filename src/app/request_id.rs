//! The id that a request is known by in answers and logs.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that an id is taken from and returned in.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over, in characters.
const LONGEST: usize = 128;

/// The id that a request is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's id, where it is 1 to 128 letters, digits and `. _ : / + = @ -`; else a new one.
    pub fn of(headers: &HeaderMap) -> RequestId {
        match headers.get(&HEADER) {
            Some(id) if is_sane(id.as_bytes()) => RequestId(id.clone()),
            _ => RequestId::new(),
        }
    }

    fn new() -> RequestId {
        let id = uuid::Uuid::new_v4().to_string();
        RequestId(HeaderValue::from_str(&id).expect("a UUID is hexadecimal digits and dashes"))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("an id is printable ASCII, by construction")
    }

    /// The id as the value of its header.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._:/+=@-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &[u8]) -> RequestId {
        RequestId::of(&HeaderMap::from_iter([(HEADER, HeaderValue::from_bytes(value).unwrap())]))
    }

    #[test]
    fn a_sane_id_is_taken_over() {
        for id in ["a", "run-1/42:7", "0af7651916cd43dd8448eb211c80319c", &"x".repeat(128)] {
            assert_eq!(of(id.as_bytes()).as_str(), id);
        }
    }

    #[test]
    fn any_other_is_replaced_by_a_new_one() {
        for id in [&b""[..], b"two words", b"\"quoted\"", b"{json}", "\u{e9}".as_bytes(), &[b'x'; 129]] {
            assert_eq!(of(id).as_str().len(), 36, "{id:?}");
        }
        let none = HeaderMap::new();
        assert_ne!(RequestId::of(&none), RequestId::of(&none));
    }
}
