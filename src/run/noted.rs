//! The requests that checks ask for one by one, in a run's folder: `requests.ndjson`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::folder::unwritable;
use crate::error::{Error, Result};
use crate::load::NotedRequest;
use crate::target::own_files;

/// Lines at the most: a hundred megabytes. Whoever reads them holds their number against the load's own counts.
const MOST: usize = 1_000_000;

/// Writes the file while the load goes on.
#[derive(Debug)]
pub struct NotedWriter {
    path: PathBuf,
    file: BufWriter<File>,
    written: usize,
}

impl NotedWriter {
    /// Begins the file.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where it cannot be written, as for everything below.
    pub fn create(path: PathBuf) -> Result<NotedWriter> {
        let file = own_files::create(&path).map_err(|cause| unwritable(&path, cause))?;
        Ok(NotedWriter { path, file: BufWriter::new(file), written: 0 })
    }

    /// Adds requests, up to the bound.
    pub fn add(&mut self, requests: impl IntoIterator<Item = NotedRequest>) -> Result<()> {
        for request in requests.into_iter().take(MOST - self.written) {
            let line = serde_json::to_writer(&mut self.file, &request).map_err(io::Error::from);
            line.and_then(|()| self.file.write_all(b"\n")).map_err(|cause| unwritable(&self.path, cause))?;
            self.written += 1;
        }
        Ok(())
    }

    /// Everything is in the file.
    pub fn finish(mut self) -> Result<()> {
        self.file.flush().map_err(|cause| unwritable(&self.path, cause))
    }
}

/// Reads the file.
///
/// # Errors
/// No data (exit 3) where it is missing or damaged.
pub fn read_noted(path: &Path) -> Result<Vec<NotedRequest>> {
    let failed = || Error::no_data(format!("{} cannot be read", path.display()));
    let file = File::open(path).map_err(|e| failed().because(e))?;
    let mut known = HashSet::new();
    BufReader::new(file)
        .lines()
        .map(|line| {
            let line = line.map_err(|e| failed().because(e))?;
            let request: NotedRequest = serde_json::from_str(&line).map_err(|e| failed().because(e))?;
            // A request and the hops that it was redirected to share an id: they differ in more than that.
            match known.insert(line) {
                true => Ok(request),
                false => Err(failed()
                    .because_of(format!("it is damaged: request {} stands in it twice", request.id))
                    .hint("Run it again: which requests were sent is not known any more.")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: usize) -> NotedRequest {
        NotedRequest {
            id: format!("42-run-{number}"),
            request: "a".into(),
            replica: number % 3,
            status: (number.is_multiple_of(2)).then_some(500),
            end: number as f64 / 8.0,
        }
    }

    #[test]
    fn what_was_written_is_read_and_what_was_cut_off_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("requests.ndjson");
        let all: Vec<NotedRequest> = (0..100).map(request).collect();
        let mut writer = NotedWriter::create(path.clone()).expect("a file");
        writer.add(all[..60].to_vec()).and_then(|()| writer.add(all[60..].to_vec())).expect("written");
        writer.finish().expect("written");
        assert_eq!(read_noted(&path).expect("read"), all);

        let text = std::fs::read_to_string(&path).expect("read");
        let mut lines: Vec<&str> = text.lines().collect();
        lines[7] = lines[8];
        std::fs::write(&path, lines.join("\n")).expect("written");
        let error = read_noted(&path).expect_err("a line in place of another");
        assert!(error.exit().code() == 3 && error.to_string().contains("request 42-run-8"), "{error}");

        let bytes = text.into_bytes();
        std::fs::write(&path, &bytes[..bytes.len() - 9]).expect("written");
        assert_eq!(read_noted(&path).expect_err("damaged").exit().code(), 3);
        assert_eq!(read_noted(&folder.path().join("none")).expect_err("missing").exit().code(), 3);
    }
}
