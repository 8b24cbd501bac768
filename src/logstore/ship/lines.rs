//! From bytes of a log to records. Pure.

use jiff::Timestamp;
use serde::Deserialize;

use super::super::otlp::{AnyValue, KeyValue, LogRecord};

/// A longer line becomes several records, of so many bytes each. What is no text grows threefold when it is made one.
pub const LONGEST_PIECE: usize = 64 << 10;

/// How many of these bytes, which begin with a line, can be sent: whole lines, and pieces of a line that is too long for
/// one record. `is_final` tells that nothing follows, so that the last line need not be whole.
pub fn whole(bytes: &[u8], is_final: bool) -> usize {
    if is_final {
        return bytes.len();
    }
    let mut end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    while bytes.len() - end > LONGEST_PIECE {
        end += piece(&bytes[end..]);
    }
    end
}

/// The length of the first piece of a line that is too long: no letter is cut in two.
fn piece(line: &[u8]) -> usize {
    let is_inside = |at: &usize| line[*at] & 0xc0 == 0x80;
    (LONGEST_PIECE - 3..=LONGEST_PIECE).rev().find(|at| !is_inside(at)).unwrap_or(LONGEST_PIECE)
}

/// Records of lines that begin at this byte of a file which is known by `id`, and were read at this time (in nanoseconds
/// since 1970). Of the same bytes it makes the same records. Lines without a letter are left out. Lines without a time are a
/// nanosecond a byte apart: a store gives only so many of one time.
pub fn records(id: &str, start: u64, bytes: &[u8], read_at: i64) -> Vec<LogRecord> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        // The end of the line is no part of it.
        let length = if length > LONGEST_PIECE + 1 { piece(rest) } else { length };
        let line = rest[..length].strip_suffix(b"\n").unwrap_or(&rest[..length]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            records.push(record(format!("{id}-{}", start + at as u64), line, read_at + at as i64));
        }
        at += length;
    }
    records
}

fn record(uid: String, line: &[u8], read_at: i64) -> LogRecord {
    LogRecord {
        time_unix_nano: time(line).unwrap_or(read_at).try_into().unwrap_or_default(),
        body: Some(AnyValue::text(String::from_utf8_lossy(line))),
        attributes: vec![KeyValue::text("log.record.uid", uid)],
        ..LogRecord::default()
    }
}

/// The line's own time, where it is a JSON object with a `timestamp`.
fn time(line: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Timed {
        timestamp: Timestamp,
    }
    if !line.starts_with(b"{") {
        return None;
    }
    let timed: Timed = serde_json::from_slice(line).ok()?;
    i64::try_from(timed.timestamp.as_nanosecond()).ok()
}
