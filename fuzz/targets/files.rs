//! Files that are read back, and what stands on objects of a cluster.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault::Entry;
use crate::fault::kubernetes::Record;
use crate::load::{Histograms, Timing};
use crate::logstore::entry;
use crate::logstore::frame;
use crate::logstore::ship::positions::Positions;
use crate::target::Lab;
use crate::target::kubernetes::chart::{Content, Known};

/// What is read and written again is read as the same.
fn kept<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("JSON"), written);
}

/// An entry of the journal of faults.
pub fn journal(data: &[u8]) {
    kept::<Entry>(data);
}

/// `lab.json`.
pub fn lab(data: &[u8]) {
    kept::<Lab>(data);
}

/// The record of a fault in an object's annotation.
pub fn annotation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(record) = Record::read(text) {
        let written = record.annotation();
        let again = Record::read(&written).expect("what was written can be read");
        assert_eq!(again.annotation(), written);
    }
}

/// How far logs were sent.
pub fn positions(data: &[u8]) {
    kept::<Positions>(data);
}

/// A file of the log store: whole up to its first record that is not.
pub fn frames(data: &[u8]) {
    for file in [data.to_vec(), [frame::MAGIC.as_slice(), data].concat()] {
        let (records, whole) = frame::records(&file);
        assert!(whole <= file.len());
        assert!(records.windows(2).all(|pair| pair[0].end < pair[1].start));
        assert_eq!(frame::records(&file[..whole]), (records.clone(), whole), "what is whole stays so");
        for range in records {
            let _ = entry::Entry::decode(&file[range]);
        }
    }
    // Any record that is written is read.
    if !data.is_empty() {
        let mut file = frame::MAGIC.to_vec();
        frame::add(data, &mut file);
        let (records, whole) = frame::records(&file);
        assert_eq!((records.len(), whole), (1, file.len()));
        assert_eq!(&file[records[0].clone()], data);
    }
}

/// The log of times.
pub fn histograms(data: &[u8]) {
    let Ok(read) = Histograms::read(data) else { return };
    for timing in Timing::ALL {
        let all = read.select(timing, None, None);
        let _ = (all.len(), all.value_at_quantile(0.95), all.max());
    }
    let _ = read.times(None, None);
}

/// The archive of a chart: its files are within bounds, and so are the charts in it.
pub fn chart(data: &[u8]) {
    let Ok(content) = Content::unpacked(data) else { return };
    let _ = content.text("values.yaml");
    let names: BTreeSet<&str> = content.below("templates").collect();
    assert!(names.iter().map(|text| text.len()).sum::<usize>() <= 128 << 20);
    if let Ok(known) = Known::of(&content) {
        known.unknown(&serde_json::json!({"a": {"b": 1}, "c": null}));
    }
}
