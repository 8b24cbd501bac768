//! The requests that checks ask for one by one, in a run's folder: `requests.ndjson`.

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
    BufReader::new(file)
        .lines()
        .map(|line| {
            let line = line.map_err(|e| failed().because(e))?;
            serde_json::from_str(&line).map_err(|e| failed().because(e))
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

        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, &bytes[..bytes.len() - 9]).expect("written");
        assert_eq!(read_noted(&path).expect_err("damaged").exit().code(), 3);
        assert_eq!(read_noted(&folder.path().join("none")).expect_err("missing").exit().code(), 3);
    }
}
