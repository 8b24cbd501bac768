//! How records stand in a file: each with its length and a checksum, one after the other. Pure.
//!
//! A file that was broken off, by a kill or by a power failure, is whole up to its first record that is not.

use std::ops::Range;

/// What every file begins with.
pub const MAGIC: &[u8; 8] = b"srelog1\n";

/// The largest record, in bytes: a line with all that is known of it is smaller.
const LARGEST: usize = 1 << 20;

/// Length and checksum.
const HEAD: usize = 8;

/// Adds a record to what is to be written.
pub fn add(record: &[u8], to: &mut Vec<u8>) {
    debug_assert!((1..=LARGEST).contains(&record.len()));
    let length = (record.len() as u32).to_le_bytes();
    to.extend(length);
    to.extend(checksum(&length, record).to_le_bytes());
    to.extend(record);
}

/// Bytes that a record takes.
pub fn size(record: &[u8]) -> u64 {
    (HEAD + record.len()) as u64
}

/// Where a record that begins at this byte has its content.
pub fn content(at: u64, record: &[u8]) -> (u64, u32) {
    (at + HEAD as u64, record.len() as u32)
}

/// Where the whole records of a file are, and where the file's whole part ends.
pub fn records(file: &[u8]) -> (Vec<Range<usize>>, usize) {
    let mut records = Vec::new();
    if !file.starts_with(MAGIC) {
        return (records, 0);
    }
    let mut at = MAGIC.len();
    while let Some(range) = record(file, at) {
        at = range.end;
        records.push(range);
    }
    (records, at)
}

/// The content of the record at this byte, where it is whole.
fn record(file: &[u8], at: usize) -> Option<Range<usize>> {
    let head = file.get(at..at + HEAD)?;
    let (length, sum) = head.split_at(4);
    let length: [u8; 4] = length.try_into().ok()?;
    let sum = u32::from_le_bytes(sum.try_into().ok()?);
    let size = u32::from_le_bytes(length) as usize;
    if !(1..=LARGEST).contains(&size) {
        return None;
    }
    let range = at + HEAD..at + HEAD + size;
    (checksum(&length, file.get(range.clone())?) == sum).then_some(range)
}

fn checksum(length: &[u8], record: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(length);
    sum.update(record);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for record in records {
            add(record, &mut file);
        }
        file
    }

    proptest! {
        #[test]
        fn a_file_is_whole_up_to_its_first_broken_record(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8),
            cut in any::<prop::sample::Index>(),
            flip in any::<Option<(prop::sample::Index, u8)>>(),
        ) {
            let mut bytes = file(&all);
            bytes.truncate(cut.index(bytes.len() + 1));
            let mut broken = bytes.len();
            if let Some((at, bit)) = flip && !bytes.is_empty() {
                broken = at.index(bytes.len());
                bytes[broken] ^= 1 << (bit % 8);
            }
            let (found, end) = records(&bytes);
            prop_assert!(end <= bytes.len());
            let read: Vec<Vec<u8>> = found.into_iter().map(|range| bytes[range].to_vec()).collect();
            prop_assert!(all.starts_with(&read));
            // All that ends before the damage is read.
            let mut at = MAGIC.len();
            let whole = all.iter().take_while(|record| { at += HEAD + record.len(); at <= broken }).count();
            prop_assert!(broken < MAGIC.len() || read.len() >= whole);
        }
    }

    #[test]
    fn zeros_and_foreign_bytes_are_no_records() {
        let good = file(&[b"one".to_vec()]);
        assert_eq!(records(&[&good[..], &[0; 64]].concat()).1, good.len());
        assert_eq!(records(&[&good[..], &[0xff; 64]].concat()).1, good.len());
        assert_eq!(records(b"something else"), (Vec::new(), 0));
        assert_eq!(records(b""), (Vec::new(), 0));
    }
}
