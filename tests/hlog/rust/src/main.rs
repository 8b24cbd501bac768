//! What the crate hdrhistogram reads, by both rank rules.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

/// The value at a rank, counted from 1.
fn at(histogram: &Histogram<u64>, rank: u64) -> u64 {
    let mut seen = 0;
    let values = histogram.iter_recorded();
    for value in values {
        seen += value.count_at_value();
        if seen >= rank {
            return value.value_iterated_to();
        }
    }
    histogram.max()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let log = std::fs::read(std::env::args().nth(1).ok_or("which log?")?)?;
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(line) = entry.map_err(|error| format!("{error:?}"))? else { continue };
        let bytes = base64::engine::general_purpose::STANDARD.decode(line.encoded_histogram())?;
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice())?;
        let shares = [0.5, 0.9, 0.99, 1.0];
        let rounded = shares.map(|share| at(&histogram, ((share * histogram.len() as f64 + 0.5) as u64).max(1)));
        let mut columns = vec![histogram.len()];
        columns.extend(shares.map(|share| histogram.value_at_quantile(share)));
        columns.extend(rounded);
        let columns: Vec<String> = columns.iter().map(u64::to_string).collect();
        println!("{} {}", line.tag().map_or("-", |tag| tag.as_str()), columns.join(" "));
    }
    Ok(())
}
