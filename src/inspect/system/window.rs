//! The window that a metric is looked at over: as short as holds enough, as long as there is data.
//!
//! A metric that moves fast is looked at over a minute, which tells how it is now; one that moves slowly over
//! as long as it takes to see it move. A day is the longest.

use serde::Serialize;

/// The windows that are chosen from, in seconds.
pub const LADDER: [u32; 8] = [60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400];

/// How many scrapes a window must span: rates over fewer hang on the chance of when they were.
const SCRAPES: f64 = 4.0;

/// The part of a window that data must fill for the window to be called by its name.
const FILLED: f64 = 0.75;

/// What one window holds of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// The window's length, in seconds.
    pub seconds: u32,
    /// Samples in it, of the series that has the most.
    pub samples: f64,
    /// For how much of it, in seconds, there was at least one series: one may have taken another's place.
    pub present: f64,
    /// How often the metric moved in it: by how much a counter rose, how often a gauge changed.
    pub moves: f64,
}

/// A window, and why it is this one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Window {
    /// Its length, in seconds.
    pub seconds: u32,
    /// Why it was taken.
    pub because: Because,
    /// How much of it data fills, in seconds; less than `seconds` where scraping began later or had gaps.
    pub filled_seconds: u32,
}

/// Why a window was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// By `--time-range`.
    Asked,
    /// It is the shortest in which the metric moved often enough.
    Enough,
    /// The metric moves too slowly for any shorter one, and there is no more data, or a day of it.
    AllThereIs,
}

impl Window {
    /// As PromQL writes its length: `90s`, `5m`, `6h`.
    pub fn promql(&self) -> String {
        in_promql(self.seconds)
    }

    /// Whether data fills it.
    pub fn is_filled(&self) -> bool {
        f64::from(self.filled_seconds) >= FILLED * f64::from(self.seconds)
    }
}

/// A length of time as PromQL writes it, in the largest unit that it is a whole number of.
pub fn in_promql(seconds: u32) -> String {
    match seconds {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// Chooses a window for a metric that is scraped every `interval` seconds: the shortest one that spans four
/// scrapes, is filled with data, and in which the metric moved `wanted` times. Where there is none, the
/// shortest one that holds all the data there is. `None` where no window holds two samples.
///
/// The windows are given from the shortest to the longest, with what they hold.
pub fn choose(windows: &[Held], interval: f64, wanted: f64) -> Option<(usize, Window)> {
    let taken = |i: usize, because| (i, window(&windows[i], because));
    let usable = |held: &Held| {
        held.samples >= 2.0 && f64::from(held.seconds) >= SCRAPES * interval && filled(held) >= FILLED
    };
    if let Some(i) = windows.iter().position(|held| usable(held) && held.moves >= wanted) {
        return Some(taken(i, Because::Enough));
    }
    // Longer windows than the one with the most samples hold nothing more.
    let most = windows.iter().map(|held| held.samples).fold(0.0, f64::max);
    if most < 2.0 {
        return None;
    }
    windows.iter().position(|held| held.samples >= most).map(|i| taken(i, Because::AllThereIs))
}

/// The one window that was asked for. `None` where it does not hold two samples.
pub fn asked(held: &Held) -> Option<Window> {
    (held.samples >= 2.0).then(|| window(held, Because::Asked))
}

fn window(held: &Held, because: Because) -> Window {
    let filled_seconds = (filled(held) * f64::from(held.seconds)).round() as u32;
    Window { seconds: held.seconds, because, filled_seconds }
}

/// The part of a window in which there was data, from 0 to 1.
fn filled(held: &Held) -> f64 {
    (held.present / f64::from(held.seconds)).min(1.0)
}

/// How often series are scraped, in seconds, by the times of one's samples, oldest first: the median of what
/// lies between them. `None` with fewer than two.
pub fn interval(times: &[f64]) -> Option<f64> {
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().filter(|gap| *gap > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the ladder holds of a metric that is scraped every 15 s, moves so often a second, for so long.
    fn steady(per_second: f64, age: f64) -> Vec<Held> {
        LADDER
            .iter()
            .map(|&seconds| {
                let span = f64::from(seconds).min(age);
                Held { seconds, samples: (span / 15.0).floor(), present: span, moves: per_second * span }
            })
            .collect()
    }

    fn chosen(windows: &[Held], wanted: f64) -> (String, Because) {
        let (i, window) = choose(windows, 15.0, wanted).expect("a window");
        assert_eq!(windows[i].seconds, window.seconds);
        (window.promql(), window.because)
    }

    #[test]
    fn the_faster_it_moves_the_shorter() {
        let day = 86_400.0;
        for (per_second, window) in
            [(100.0, "1m"), (4.0, "5m"), (1.0, "1h"), (0.05, "6h"), (1000.0 / day, "1d")]
        {
            assert_eq!(chosen(&steady(per_second, day), 1000.0), (window.into(), Because::Enough));
        }
    }

    #[test]
    fn what_hardly_moves_is_looked_at_for_as_long_as_there_is_data() {
        assert_eq!(chosen(&steady(0.0, 86_400.0), 1.0), ("1d".into(), Because::AllThereIs));
        let young = choose(&steady(0.0, 600.0), 15.0, 1.0).expect("a window").1;
        assert_eq!((young.promql(), young.filled_seconds), ("15m".into(), 600));
        assert!(!young.is_filled());
        assert_eq!(chosen(&steady(0.0, 290.0), 1.0), ("5m".into(), Because::AllThereIs));
    }

    #[test]
    fn a_window_that_data_does_not_fill_is_not_taken_for_what_it_says() {
        // Fast enough for an hour, but there are ten minutes.
        let (window, because) = chosen(&steady(1.0, 600.0), 1000.0);
        assert_eq!((window.as_str(), because), ("15m", Because::AllThereIs));
    }

    #[test]
    fn a_window_spans_four_scrapes() {
        let slow: Vec<Held> = LADDER
            .iter()
            .map(|&seconds| Held {
                seconds,
                samples: f64::from(seconds / 60),
                present: seconds.into(),
                moves: 1e6,
            })
            .collect();
        assert_eq!(choose(&slow, 60.0, 10.0).expect("a window").1.seconds, 300);
    }

    #[test]
    fn one_sample_is_no_window() {
        let once: Vec<Held> =
            LADDER.iter().map(|&seconds| Held { seconds, samples: 1.0, present: 1.0, moves: 0.0 }).collect();
        assert_eq!(choose(&once, 15.0, 1.0), None);
        assert_eq!(asked(&once[0]), None);
        assert_eq!(choose(&[], 15.0, 1.0), None);
    }

    #[test]
    fn what_was_asked_for_is_taken_and_tells_how_much_of_it_there_is() {
        let held = Held { seconds: 3600, samples: 40.0, present: 600.0, moves: 3.0 };
        let window = asked(&held).expect("a window");
        assert_eq!(window, Window { seconds: 3600, because: Because::Asked, filled_seconds: 600 });
    }

    #[test]
    fn the_interval_is_what_mostly_lies_between_samples() {
        assert_eq!(interval(&[0.0, 15.0, 30.0, 90.0, 105.0]), Some(15.0));
        assert_eq!(interval(&[3.0]), None);
        assert_eq!(interval(&[]), None);
    }

    #[test]
    fn lengths_are_written_in_their_largest_unit() {
        assert_eq!([90, 300, 21_600, 86_400].map(in_promql), ["90s", "5m", "6h", "1d"]);
    }
}
