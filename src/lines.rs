//! Lines of a peer that may be anybody: none is longer than a bound.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The longest line, in bytes: a worker's last one holds all its histograms.
const LONGEST: usize = 64 << 20;

/// The lines of a stream.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    begun: Vec<u8>,
    longest: usize,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Of this stream.
    pub fn new(from: R) -> Lines<R> {
        Lines { from, begun: Vec::new(), longest: LONGEST }
    }

    /// The next line without its end, or `None` after the last one. Where this is dropped before it is done, nothing
    /// is lost.
    ///
    /// # Errors
    /// The stream cannot be read, is no text, or has a line that is too long.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let part = self.from.fill_buf().await?;
            if part.is_empty() && self.begun.is_empty() {
                return Ok(None);
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let is_whole = end.is_some() || part.is_empty();
            self.begun.extend_from_slice(&part[..end.unwrap_or(part.len())]);
            let taken = end.map_or(part.len(), |end| end + 1);
            self.from.consume(taken);
            if self.begun.len() > self.longest {
                let why = format!("a line is longer than {}", crate::figures::bytes(self.longest as f64));
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            if is_whole {
                let mut line = std::mem::take(&mut self.begun);
                if line.ends_with(b"\r") {
                    line.pop();
                }
                return String::from_utf8(line)
                    .map(Some)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.utf8_error()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, BufReader};

    use super::*;

    #[tokio::test]
    async fn lines_are_read_as_they_are_whatever_parts_they_come_in() {
        let mut lines =
            Lines::new(BufReader::with_capacity(3, "a\r\n\nlonger than the buffer\nlast".as_bytes()));
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().await.expect("text") {
            read.push(line);
        }
        assert_eq!(read, ["a", "", "longer than the buffer", "last"]);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_refused_and_not_kept() {
        let mut lines = Lines { longest: 1000, ..Lines::new(BufReader::new(tokio::io::repeat(b'x'))) };
        let error = lines.next_line().await.expect_err("too long");
        assert!(error.to_string().contains("longer than"), "{error}");
    }

    #[tokio::test]
    async fn what_was_given_up_halfway_is_not_lost() {
        let (mut to, from) = tokio::io::duplex(64);
        let mut lines = Lines::new(BufReader::new(from));
        to.write_all(b"half").await.expect("written");
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), lines.next_line()).await;
        assert!(waiting.is_err(), "it has no end yet");
        to.write_all(b" and half\n").await.expect("written");
        assert_eq!(lines.next_line().await.expect("text").as_deref(), Some("half and half"));
    }
}
