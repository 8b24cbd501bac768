//! Figures as people read them: `12,000`, `1.2 ms`, `1 min 31 s`, `+16.7 %`.

use indicatif::HumanCount;

/// A count with its thousands apart: `12,000`.
pub fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// A count with its noun: `1 check`, `8 checks`.
pub fn counted(number: u64, noun: &str) -> String {
    plural(number, noun, &format!("{noun}s"))
}

/// A count with one of two words: `1 series`, `3 scrapes of every target`.
pub fn plural(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// A latency given in milliseconds: `0.05 ms`, `1.2 ms`, `31 ms`, `1.06 s`.
pub fn latency(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 0.1 => format!("{ms:.2} ms"),
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 9_995.0 => format!("{:.2} s", ms / 1000.0),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// A stretch of time given in seconds: `0.3 s`, `60.0 s`, `1 min 31 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.05 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A time of day, given in seconds since the epoch: `06:40:31.250Z`.
pub fn clock(seconds: f64) -> String {
    match jiff::Timestamp::from_millisecond((seconds * 1000.0).round() as i64) {
        Ok(time) => time.strftime("%H:%M:%S%.3fZ").to_string(),
        Err(_) => format!("{seconds}"),
    }
}

/// How long ago, in one unit: `12 s ago`, `3 min ago`, `2 h ago`, `4 days ago`.
pub fn ago(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        s if s < 60 => format!("{s} s ago"),
        s if s < 3600 => format!("{} min ago", s / 60),
        s if s < 48 * 3600 => format!("{} h ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// Requests a second: `200.0/s`, `12,000/s`.
pub fn rate(per_second: f64) -> String {
    if per_second < 1000.0 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", count(per_second.round() as u64))
    }
}

/// A part of a whole, given from 0 to 1, in percent: `0.40 %`, `95.0 %`, `99.98 %`; what is not quite all or
/// none is never shown as such.
pub fn percent(part: f64) -> String {
    match part * 100.0 {
        p if p == 0.0 || p == 100.0 => format!("{p:.0} %"),
        p if p < 0.01 => "< 0.01 %".into(),
        p if p < 0.995 => format!("{p:.2} %"),
        p if p < 98.95 => format!("{p:.1} %"),
        p => format!("{:.2} %", p.min(99.99)),
    }
}

/// Memory or disk, given in bytes: `900 B`, `1.2 MiB`, `286 MiB`.
pub fn bytes(bytes: f64) -> String {
    let mut value = bytes.max(0.0);
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].iter();
    let mut unit = units.next().unwrap_or(&"B");
    while value >= 1023.5 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    if value < 9.95 && *unit != "B" { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// The bound of a histogram's bucket, given in milliseconds, exactly: `5 ms`, `2.5 ms`, `10 s`.
pub fn bound(milliseconds: f64) -> String {
    if milliseconds < 1000.0 { format!("{milliseconds} ms") } else { format!("{} s", milliseconds / 1000.0) }
}

/// The change from one figure to another, in percent of the first, with its sign: `+16.7 %`.
/// `new` where there was none before, `–` where there is none now or none at all.
pub fn change(before: Option<f64>, after: Option<f64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) if before == after => "=".into(),
        (Some(before), Some(after)) if before > 0.0 => format!("{:+.1} %", (after - before) / before * 100.0),
        (_, Some(_)) => "new".into(),
        (_, None) => NOTHING.into(),
    }
}

/// What stands where there is no figure.
pub const NOTHING: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 2].map(|number| counted(number, "check")), ["0 checks", "1 check", "2 checks"]);
        assert_eq!(plural(2, "series", "series"), "2 series");
    }

    #[test]
    fn a_time_of_day_has_milliseconds() {
        assert_eq!(clock(0.25), "00:00:00.250Z");
    }

    #[test]
    fn latencies_have_two_or_three_digits() {
        for (ms, text) in [
            (0.0, "0.00 ms"),
            (0.05, "0.05 ms"),
            (1.24, "1.2 ms"),
            (9.97, "10 ms"),
            (31.4, "31 ms"),
            (999.7, "1.00 s"),
            (1056.0, "1.06 s"),
            (12_340.0, "12.3 s"),
        ] {
            assert_eq!(latency(ms), text);
        }
    }

    #[test]
    fn a_part_is_never_rounded_to_all_or_none() {
        assert_eq!(
            [0.0, 0.00004, 0.004, 0.0123, 0.95, 0.9999, 0.99999, 1.0].map(percent),
            ["0 %", "< 0.01 %", "0.40 %", "1.2 %", "95.0 %", "99.99 %", "99.99 %", "100 %"]
        );
    }

    #[test]
    fn memory_has_two_or_three_digits() {
        assert_eq!(
            [0.0, 900.0, 1_300_000.0, 3e8, 1.1e12].map(bytes),
            ["0 B", "900 B", "1.2 MiB", "286 MiB", "1.0 TiB"]
        );
        assert_eq!([5.0, 2.5, 10_000.0, 1_200.0].map(bound), ["5 ms", "2.5 ms", "10 s", "1.2 s"]);
    }

    #[test]
    fn durations_are_humane() {
        for (seconds, text) in [
            (0.31, "0.3 s"),
            (60.04, "60.0 s"),
            (61.0, "1 min 1 s"),
            (90.6, "1 min 31 s"),
            (119.7, "2 min"),
            (3_599.9, "1 h"),
            (7_500.0, "2 h 5 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!([ago(59.9), ago(7_300.0), ago(200_000.0)], ["59 s ago", "2 h ago", "2 days ago"]);
    }

    #[test]
    fn changes_carry_their_sign() {
        assert_eq!(change(Some(6.0), Some(7.0)), "+16.7 %");
        assert_eq!(change(Some(2.0), Some(1.0)), "-50.0 %");
        assert_eq!(change(Some(0.0), Some(0.0)), "=");
        assert_eq!(change(Some(0.0), Some(3.0)), "new");
        assert_eq!(change(Some(3.0), None), "–");
    }
}
