//! Times in HdrHistograms: exact to merge, written and read as an HdrHistogram V2 interval log.

use std::io::{Read as _, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use indexmap::IndexMap;
use url::form_urlencoded;

use super::{Latency, LoadSummary, Times};
use crate::error::{Error, Result};
use crate::figures;

/// The longest time that is told apart, in microseconds: an hour. Longer ones count as one of an hour.
const LONGEST: u64 = 3_600_000_000;

/// How many significant digits are kept.
const DIGITS: u32 = 3;

/// What a packed histogram begins with (V2, deflate).
const PACKED: u32 = 0x1c84_9314;

/// The largest histogram in bytes, unpacked: one of three digits has 56,320 counts at the most, of up to 9 bytes each.
const LARGEST: u64 = 1 << 20;

/// Which time is measured. Every time ends with the last byte of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timing {
    /// From when the request was due, all complete answers.
    SinceDue,
    /// From when the request was written, all complete answers.
    Service,
    /// As `SinceDue`, expected answers only.
    SinceDueSuccess,
}

impl Timing {
    pub(crate) const ALL: [Timing; 3] = [Timing::SinceDue, Timing::Service, Timing::SinceDueSuccess];

    fn name(self) -> &'static str {
        match self {
            Timing::SinceDue => "since-due",
            Timing::Service => "service",
            Timing::SinceDueSuccess => "since-due-success",
        }
    }
}

/// What a histogram holds the times of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The phase's name.
    pub phase: String,
    /// The request's name.
    pub request: String,
    /// Which time.
    pub timing: Timing,
}

/// An empty histogram of microseconds with 3 significant digits; it grows with the longest time.
pub(super) fn empty() -> Histogram<u64> {
    Histogram::new(3).expect("HdrHistogram takes 3 significant digits")
}

/// Records a time; a longer one than an hour as an hour.
pub(super) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST);
    histogram.record(micros).expect("an empty histogram grows as it must");
}

/// All times of a load, by phase, request name and kind of time, in microseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histograms(IndexMap<Key, Histogram<u64>>);

impl Histograms {
    /// Adds a histogram to what is there under its key.
    pub fn add(&mut self, key: Key, histogram: &Histogram<u64>) -> Result<()> {
        let sum = self.0.entry(key).or_insert_with(empty);
        sum.add(histogram).map_err(|e| Error::target("two histograms cannot be merged").because(e))
    }

    /// Adds everything from another load, or from another part of this one. Exact: any split merges to the same.
    pub fn merge(&mut self, other: &Histograms) -> Result<()> {
        other.0.iter().try_for_each(|(key, histogram)| self.add(key.clone(), histogram))
    }

    /// The times of one request name (of all without one), in one phase (in all without one).
    pub fn select(&self, timing: Timing, request: Option<&str>, phase: Option<&str>) -> Histogram<u64> {
        let mut sum = empty();
        for (key, histogram) in &self.0 {
            let named =
                request.is_none_or(|name| key.request == name) && phase.is_none_or(|name| key.phase == name);
            if named && key.timing == timing {
                sum.add(histogram).expect("an empty histogram grows as it must");
            }
        }
        sum
    }

    /// The figures of one request name (of all without one), in one phase (in all without one).
    pub fn times(&self, request: Option<&str>, phase: Option<&str>) -> Times {
        let figures = |timing| latency(&self.select(timing, request, phase));
        Times {
            since_due: figures(Timing::SinceDue),
            service: figures(Timing::Service),
            since_due_success: figures(Timing::SinceDueSuccess),
        }
    }

    /// Writes an HdrHistogram V2 interval log: one interval a phase, one line a histogram that holds a time.
    /// A line's tag reads `phase=steady&request=list-users&time=since-due`; values are microseconds, maxima milliseconds.
    /// The first line of each phase has no tag and holds the times since due of all its requests: tools that leave tagged
    /// lines out read the whole from these.
    pub fn write(&self, summary: &LoadSummary, out: &mut impl Write) -> Result<()> {
        let problem = || Error::target("the histograms cannot be written");
        let mut serializer = V2DeflateSerializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("Times of requests in microseconds, by sre")
            .with_start_time(summary.started.into())
            .with_base_time(summary.started.into())
            .with_max_value_divisor(1000.0)
            .begin_log_with(out, &mut serializer)
            .map_err(|e| problem().because(e))?;
        let mut start = 0.0;
        for phase in &summary.phases {
            let whole = self.select(Timing::SinceDue, None, Some(&phase.name));
            let of_phase = self.0.iter().filter(|(key, _)| key.phase == phase.name);
            let lines = std::iter::once((None, &whole))
                .chain(of_phase.map(|(key, histogram)| (Some(tag(key)), histogram)))
                .filter(|(_, histogram)| !histogram.is_empty());
            for (tag, histogram) in lines {
                log.write_histogram(
                    histogram,
                    Duration::from_secs_f64(start),
                    Duration::from_secs_f64(phase.seconds),
                    tag.as_deref().and_then(Tag::new),
                )
                .map_err(|e| problem().because_of(format!("{e:?}")))?;
            }
            start += phase.seconds;
        }
        Ok(())
    }

    /// Reads what `write` wrote.
    pub fn read(log: &[u8]) -> Result<Histograms> {
        let problem = |why: String| Error::no_data("the histograms cannot be read").because_of(why);
        let mut histograms = Histograms::default();
        let mut deserializer = Deserializer::new();
        for entry in IntervalLogIterator::new(log) {
            let LogEntry::Interval(line) = entry.map_err(|_| problem("it is no log of histograms".into()))?
            else {
                continue;
            };
            // The whole of a phase, which its parts say, too.
            let Some(tag) = line.tag().map(|tag| tag.as_str()) else { continue };
            let key = key(tag).ok_or_else(|| problem(format!("`{tag}` names no phase, request and time")))?;
            let bytes =
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, line.encoded_histogram())
                    .map_err(|e| problem(e.to_string()))?;
            let plain = unpacked(&bytes).map_err(problem)?;
            let histogram: Histogram<u64> =
                deserializer.deserialize(&mut plain.as_slice()).map_err(|e| problem(e.to_string()))?;
            histograms.add(key, &histogram)?;
        }
        Ok(histograms)
    }
}

/// A histogram without its packing, if it is one that [`empty`] can take. The library believes what the bytes say of their
/// own size, and whoever wrote the file, or is a worker, may say 4 GiB.
fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let word = |of: &[u8], at: usize| {
        of.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
    };
    if word(bytes, 0) != Some(PACKED) {
        return Err("it is no packed histogram".into());
    }
    let mut plain = Vec::new();
    let mut packed = flate2::read::ZlibDecoder::new(bytes.get(8..).unwrap_or_default()).take(LARGEST + 1);
    packed.read_to_end(&mut plain).map_err(|e| e.to_string())?;
    let size = u64::from(word(&plain, 4).unwrap_or(u32::MAX)).max(plain.len() as u64);
    if size > LARGEST {
        return Err(format!("a histogram is larger than {}", figures::bytes(LARGEST as f64)));
    }
    match word(&plain, 12) {
        Some(DIGITS) => Ok(plain),
        _ => Err(format!("its values have not {DIGITS} significant digits")),
    }
}

fn tag(key: &Key) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("phase", &key.phase)
        .append_pair("request", &key.request)
        .append_pair("time", key.timing.name())
        .finish()
}

fn key(tag: &str) -> Option<Key> {
    let pairs: IndexMap<_, _> = form_urlencoded::parse(tag.as_bytes()).into_owned().collect();
    Some(Key {
        phase: pairs.get("phase")?.clone(),
        request: pairs.get("request")?.clone(),
        timing: Timing::ALL
            .into_iter()
            .find(|timing| pairs.get("time").is_some_and(|time| time == timing.name()))?,
    })
}

/// The figures of a histogram of microseconds, in milliseconds.
pub(super) fn latency(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    let quantile = |q| histogram.value_at_quantile(q) as f64 / 1000.0;
    Latency {
        count: histogram.len(),
        min: histogram.min() as f64 / 1000.0,
        mean: histogram.mean() / 1000.0,
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        max: histogram.max() as f64 / 1000.0,
    }
}

/// A histogram in JSON: HdrHistogram V2, compressed, in base64.
pub(super) mod as_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
    use serde::de::Error as _;
    use serde::ser::Error as _;

    use super::Histogram;

    /// Writes it.
    pub(in crate::load) fn serialize<S: serde::Serializer>(
        histogram: &Histogram<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(histogram, &mut bytes)
            .map_err(|e| S::Error::custom(e.to_string()))?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads it.
    pub(in crate::load) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Histogram<u64>, D::Error> {
        let text: String = serde::Deserialize::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| D::Error::custom(e.to_string()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::PhaseSummary;

    fn histogram(micros: &[u64]) -> Histogram<u64> {
        let mut histogram = empty();
        for time in micros {
            record(&mut histogram, Duration::from_micros(*time));
        }
        histogram
    }

    fn histograms(times: &[(u8, u8, u64)]) -> Histograms {
        let mut all = Histograms::default();
        for (phase, timing, micros) in times {
            let key = Key {
                phase: format!("phase {phase}, the next"),
                request: "list users/all".into(),
                timing: Timing::ALL[usize::from(*timing)],
            };
            all.add(key, &histogram(&[*micros])).expect("same bounds");
        }
        all
    }

    fn summary(phases: u8) -> LoadSummary {
        LoadSummary {
            started: jiff::Timestamp::from_second(1_800_000_000).expect("a time"),
            seconds: 10.0,
            asked: None,
            tallies: Vec::new(),
            requests: IndexMap::new(),
            total: Default::default(),
            phases: (0..phases)
                .map(|phase| PhaseSummary {
                    name: format!("phase {phase}, the next"),
                    seconds: 5.0,
                    asked: None,
                    requests: IndexMap::new(),
                    total: Default::default(),
                })
                .collect(),
            overload: None,
            interrupted: false,
            lost: Vec::new(),
        }
    }

    #[test]
    fn a_histogram_that_claims_to_be_huge_is_refused_before_there_is_room_for_it() {
        let line = |plain: &[u8]| {
            let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            packer.write_all(plain).expect("packed");
            let packed = packer.finish().expect("packed");
            let mut bytes = PACKED.to_be_bytes().to_vec();
            bytes.extend((packed.len() as u32).to_be_bytes());
            bytes.extend(packed);
            let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
            let tag = "phase=load&request=a&time=service";
            Histograms::read(format!("Tag={tag},0.0,1.0,1.0,{text}\n").as_bytes()).map_err(|e| e.to_string())
        };
        let header = |length: u32, digits: u32| {
            let mut plain = 0x1c84_9313_u32.to_be_bytes().to_vec();
            plain.extend(length.to_be_bytes().into_iter().chain([0; 4]).chain(digits.to_be_bytes()));
            plain.extend(1_u64.to_be_bytes().into_iter().chain(LONGEST.to_be_bytes()));
            plain.extend(1_f64.to_be_bytes());
            plain
        };
        assert_eq!(line(&header(0, DIGITS)).map(|read| read.0.len()), Ok(1), "an empty one");
        let refused = |plain: &[u8]| line(plain).expect_err("it is refused");
        // It says that 4 GiB follow; and what unpacks to 64 MiB.
        assert!(
            refused(&header(u32::MAX, DIGITS)).contains("larger than"),
            "{}",
            refused(&header(u32::MAX, 3))
        );
        let bomb = [header(64 << 20, DIGITS), vec![0; 64 << 20]].concat();
        assert!(refused(&bomb).contains("larger than"));
        assert!(refused(&header(0, 5)).contains("significant digits"));
        assert!(refused(&[]).contains("larger than") && refused(&header(0, 3)[..9]).contains("digits"));
    }

    proptest! {
        // Each case walks histograms of an hour's length.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_split_merges_to_the_same(times in prop::collection::vec((0u8..2, 0u8..3, 0u64..4_000_000_000), 1..60), cut: prop::sample::Index) {
            let (left, right) = times.split_at(cut.index(times.len()));
            let mut merged = histograms(left);
            merged.merge(&histograms(right)).expect("same bounds");
            let whole = histograms(&times);
            for timing in Timing::ALL {
                prop_assert_eq!(merged.select(timing, None, None), whole.select(timing, None, None));
            }
        }

        #[test]
        fn the_log_reads_as_it_was_written(times in prop::collection::vec((0u8..2, 0u8..3, 0u64..4_000_000_000), 1..40)) {
            let all = histograms(&times);
            let mut log = Vec::new();
            all.write(&summary(2), &mut log).expect("a log");
            let read = Histograms::read(&log).expect("the log");
            for (key, histogram) in &all.0 {
                prop_assert_eq!(read.0.get(key), Some(histogram));
            }
        }
    }

    #[test]
    fn each_phase_begins_with_the_whole_for_tools_that_leave_tagged_lines_out() {
        let all = histograms(&[(0, 0, 5), (0, 0, 7), (0, 1, 5), (1, 0, 9)]);
        let mut log = Vec::new();
        all.write(&summary(2), &mut log).expect("a log");
        assert_eq!(log.last(), Some(&b'\n'), "some readers refuse a last line without its end");
        let mut whole = Vec::new();
        for entry in IntervalLogIterator::new(&log) {
            let LogEntry::Interval(line) = entry.expect("a line") else { continue };
            if line.tag().is_none() {
                let engine = base64::engine::general_purpose::STANDARD;
                let bytes = base64::Engine::decode(&engine, line.encoded_histogram()).expect("base64");
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
                whole.push((line.start_timestamp().as_secs(), histogram.len(), histogram.max()));
            }
        }
        assert_eq!(whole, [(0, 2, 7), (5, 1, 9)]);
    }

    #[test]
    fn figures_are_milliseconds() {
        let figures = latency(&histogram(&(1..=1000).map(|ms| ms * 1000).collect::<Vec<_>>()));
        assert_eq!(figures.count, 1000);
        for (figure, expected) in
            [(figures.p50, 500.0), (figures.p90, 900.0), (figures.p99, 990.0), (figures.max, 1000.0)]
        {
            assert!((figure / expected - 1.0).abs() < 0.001, "{figure} is not {expected}");
        }
    }

    #[test]
    fn another_log_is_no_data() {
        let error =
            Histograms::read(b"#[foreign]\nTag=t,0.127,1.007,2.769,abc\n").expect_err("no tag of ours");
        assert_eq!(error.exit(), crate::exit::Exit::NoData);
    }
}
