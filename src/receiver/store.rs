//! Where the receiver keeps notifications: one JSON document a line, in the order of arrival.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use jiff::Timestamp;

use super::{Notification, Payload};

/// Notifications, in memory and in a file.
#[derive(Debug)]
pub struct Store {
    file: File,
    kept: Vec<Notification>,
}

impl Store {
    /// Opens the file, and reads what it holds; a line that was broken off by a kill is left out.
    pub fn open(path: &Path) -> io::Result<Store> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = File::options().create(true).append(true).open(path)?;
        let text = std::fs::read_to_string(path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        let kept = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Store { file, kept })
    }

    /// Keeps a notification. It is kept only if it could be written.
    pub fn keep(&mut self, payload: Payload) -> io::Result<()> {
        let id = self.kept.last().map_or(1, |last| last.id + 1);
        let notification = Notification { id, received: Timestamp::now(), payload };
        let mut line = serde_json::to_vec(&notification)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.kept.push(notification);
        Ok(())
    }

    /// Those whose number is greater than `after`.
    pub fn since(&self, after: u64) -> &[Notification] {
        &self.kept[self.kept.partition_point(|notification| notification.id <= after)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(status: &str) -> Payload {
        serde_json::from_value(serde_json::json!({"version": "4", "status": status, "alerts": []}))
            .expect("a payload")
    }

    #[test]
    fn notifications_outlive_the_receiver_and_a_broken_line() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("notifications.ndjson");
        let mut store = Store::open(&path).expect("opened");
        store.keep(payload("firing")).expect("kept");
        drop(store);
        std::fs::write(&path, [std::fs::read(&path).expect("read"), b"{\"id\":2,\"recei".to_vec()].concat())
            .expect("cut");

        let mut store = Store::open(&path).expect("opened again");
        store.keep(payload("resolved")).expect("kept");
        let store = Store::open(&path).expect("and again");
        let statuses =
            |after| store.since(after).iter().map(|n| n.payload.status.as_str()).collect::<Vec<_>>();
        assert_eq!(statuses(0), ["firing", "resolved"]);
        assert_eq!(statuses(1), ["resolved"]);
        assert_eq!(store.kept[0].payload.rest["version"], "4");
    }
}
