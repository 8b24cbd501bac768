//! Figures as screens show them.

/// `12,000`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 scrape`, `12 scrapes`.
pub fn plural(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// A length of time: `0.8 s`, `1 min 31 s`.
pub fn span(seconds: f64) -> String {
    if seconds < 60.0 {
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

/// A time of day on Prometheus' clock: `06:40:31.250Z`.
pub fn clock(seconds: f64) -> String {
    match jiff::Timestamp::from_millisecond((seconds * 1000.0).round() as i64) {
        Ok(time) => time.strftime("%H:%M:%S%.3fZ").to_string(),
        Err(_) => format!("{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "scrape", "scrapes"), "1 scrape");
        assert_eq!(span(0.84), "0.8 s");
        assert_eq!(span(91.0), "1 min 31 s");
        assert_eq!(span(7200.0), "2 h");
        assert_eq!(clock(0.25), "00:00:00.250Z");
    }
}
